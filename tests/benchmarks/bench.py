"""What one instrumented validation costs, side by side in one run: plain Pydantic, the floor, ours, an SDK record.

    python tests/benchmarks/bench.py

CPU time of the thread, in interleaved rounds, so that a neighbour on the machine slows down all four alike. Ours
includes folding: what a thread buffers it also moves into the SDK, every 512 values.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from statistics import median
from time import thread_time
from types import SimpleNamespace
from typing import Any, NamedTuple

import pydantic
from opentelemetry.instrumentation.schema import SchemaInstrumentor, semconv
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.version import __version__ as sdk_version
from pydantic import BaseModel, TypeAdapter, field_validator

from floor import floor

ROUNDS, CALLS = 15, 2_000
DATA: dict[str, Any] = {"id": 1, "name": "Ada", "email": "ada@example.org", "age": 36, "active": True}
TEXT = json.dumps(DATA)


class Row(NamedTuple):
    """One operation; microseconds a call, the least of all rounds.

    Attributes:
        ratio: What ours adds to plain, in SDK records: the median of the rounds, each taken for itself.
    """

    operation: str
    plain: float
    floor: float
    ours: float
    record: float
    ratio: float


def models() -> tuple[type[BaseModel], type[BaseModel]]:
    """A small model whose core schema runs no code, and one with a validator, in which others could nest."""

    class Lead(BaseModel):
        id: int
        name: str
        email: str
        age: int
        active: bool

    class Checked(Lead):
        @field_validator("age")
        @classmethod
        def positive(cls, age: int) -> int:
            return age

    return Lead, Checked


def operations(model: type[BaseModel], adapter: TypeAdapter[Any], name: str) -> dict[str, Callable[[], object]]:
    return {
        f"{name}(**data)": lambda: model(**DATA),
        f"{name}.model_validate": lambda: model.model_validate(DATA),
        f"{name}.model_validate_json": lambda: model.model_validate_json(TEXT),
        f"TypeAdapter({name})": lambda: adapter.validate_python(DATA),
    }


def put(model: type[BaseModel], adapter: TypeAdapter[Any], variant: str) -> None:
    """Put back the core validator, or put the floor in its place."""
    core = vars(model)["__pydantic_validator__"]._otel_wrapped
    if variant == "floor":
        core = SimpleNamespace(
            validate_python=floor(core.validate_python), validate_json=floor(core.validate_json), title=core.title
        )
    type.__setattr__(model, "__pydantic_validator__", core)
    adapter.validator = core


def measure(rounds: int = ROUNDS, calls: int = CALLS) -> list[Row]:
    """One row an operation."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    histogram = provider.get_meter("bench").create_histogram(
        "sdk", "s", explicit_bucket_boundaries_advisory=semconv.VALIDATION_BUCKETS
    )
    attributes = {
        "schema.name": "Lead", "schema.module": "bench", "schema.library": "pydantic",
        "schema.validation.outcome": "valid", "http.route": "/leads",
    }  # fmt: skip
    instrumentor = SchemaInstrumentor()
    instrumentor.instrument(meter_provider=provider, tracer_provider=TracerProvider(shutdown_on_exit=False))
    try:
        variants: dict[str, dict[str, Callable[[], object]]] = {}
        for variant in ("plain", "floor", "ours"):
            variants[variant] = {}
            for model in models():
                adapter = TypeAdapter(model)
                if variant != "ours":
                    put(model, adapter, variant)
                variants[variant] |= operations(model, adapter, model.__name__)
        return [
            _row(
                operation,
                {
                    **{variant: calls_[operation] for variant, calls_ in variants.items()},
                    "record": lambda: histogram.record(0.001, attributes),
                },
                rounds,
                calls,
            )
            for operation in variants["plain"]
        ]
    finally:
        instrumentor.uninstrument()


def _row(operation: str, functions: dict[str, Callable[[], object]], rounds: int, calls: int) -> Row:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        _time(function, calls // 4)
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(_time(function, calls))
    least = {name: min(seen) for name, seen in times.items()}
    ratios = [
        (ours - plain) / record
        for plain, ours, record in zip(times["plain"], times["ours"], times["record"], strict=True)
    ]
    return Row(operation, least["plain"], least["floor"], least["ours"], least["record"], median(ratios))


def _time(function: Callable[[], object], calls: int) -> float:
    began = thread_time()
    for _ in range(calls):
        function()
    return (thread_time() - began) / calls * 1e6


def table(rows: list[Row]) -> str:
    """The rows as text."""
    head = f"Python {sys.version.split()[0]}, pydantic {pydantic.VERSION}, SDK {sdk_version}; us a call"
    lines = [
        f"{'':30}{'plain':>8}{'floor':>8}{'ours':>8}{'ours adds':>11}{'x floor':>9}{'record':>8}{'ours : record':>15}"
    ]
    for row in rows:
        adds, least = row.ours - row.plain, row.floor - row.plain
        lines.append(
            f"{row.operation:30}{row.plain:8.2f}{row.floor:8.2f}{row.ours:8.2f}{adds:11.2f}{adds / least:9.2f}"
            f"{row.record:8.2f}{f'1 : {1 / row.ratio:.0f}' if row.ratio > 0 else '0':>15}"
        )
    return "\n".join([head, *lines])


if __name__ == "__main__":
    print(table(measure()))
