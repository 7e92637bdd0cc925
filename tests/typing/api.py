"""The public API as its users write it: type-checked, never run."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager

from opentelemetry.instrumentation.schema import (
    SchemaInstrumentor,
    ValidationBlock,
    endpoint,
    observe_cache,
    validation,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from typing_extensions import assert_type


class RowError(Exception):
    pass


def switch_on(meters: MeterProvider, tracers: TracerProvider) -> None:
    instrumentor = SchemaInstrumentor()
    instrumentor.instrument()
    instrumentor.instrument(meter_provider=meters, tracer_provider=tracers, spans="all", slow_ms=5, disabled=["flask"])
    instrumentor.instrument(excluded_urls="healthz", include=["shop:*"], cardinality_limit=100)
    instrumentor.instrument(spamns="all")  # type: ignore[call-arg]
    instrumentor.instrument(spans="some")  # type: ignore[arg-type]
    instrumentor.uninstrument()


def job() -> None:
    with endpoint("import-leads") as nothing:
        assert_type(nothing, None)
    block: AbstractContextManager[None] = endpoint("import-leads")
    block.__exit__(None, None, None)


@endpoint("import-leads")
def decorated(number: int) -> str:
    return str(number)


decorated_is: Callable[[int], str] = decorated


@endpoint("import-leads")
async def awaited(number: int) -> str:
    async with endpoint("import-leads"), lead_row() as row:
        assert_type(row, ValidationBlock)
    return str(number)


awaited_is: Callable[[int], Coroutine[object, object, str]] = awaited

lead_row = validation("LeadRow", module=__name__, library="csv", invalid=RowError)
validation("LeadRow")
validation("LeadRow", module=None, invalid=(RowError, ValueError))


def validates(cells: list[str]) -> None:
    with lead_row() as row:
        if not cells[2]:
            row.problem("email", "required")
    assert_type(row, ValidationBlock)
    problem: Callable[[str, str], None] = row.problem
    problem("items.*.price", "min")


@functools.lru_cache(maxsize=8)
def cached(number: int, text: str = "") -> str:
    return text * number


class Pool:
    def totals(self) -> tuple[int, int]:
        return 1, 2


observe_cache("cached", cached)
observe_cache("pool", Pool().totals)
observe_cache("pool", lambda: (1, 2))

# What is wrong is an error; an ignore that nothing needs is one too.
endpoint(3)  # pyright: ignore[reportArgumentType]
endpoint()  # pyright: ignore[reportCallIssue]
validation("LeadRow", "csv")  # pyright: ignore[reportCallIssue]
validation("LeadRow", invalid=ValueError("x"))  # pyright: ignore[reportArgumentType]
lead_row("x")  # pyright: ignore[reportCallIssue]
observe_cache("cached", "cached")  # pyright: ignore[reportArgumentType]
observe_cache("cached", lambda: 1)  # pyright: ignore[reportArgumentType]
