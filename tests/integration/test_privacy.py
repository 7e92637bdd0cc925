"""No payload value, and no name that a schema does not declare, leaves the process by any signal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from flask import request as flask_request
from hypothesis import HealthCheck, given, seed, settings
from opentelemetry.instrumentation.schema import semconv, text
from opentelemetry.instrumentation.schema._recording import problems
from opentelemetry.instrumentation.schema._recording.endpoints import web_endpoint
from opentelemetry.instrumentation.schema.integrations.fastapi import install as fastapi
from opentelemetry.instrumentation.schema.integrations.flask import install as flask
from opentelemetry.instrumentation.schema.integrations.jsonschema import install as jsonschema
from opentelemetry.instrumentation.schema.integrations.marshmallow import install as marshmallow
from opentelemetry.instrumentation.schema.integrations.pydantic import _core_schema, _validator
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import install as sqlalchemy

from tests.integration.canaries import CALLS, CANARIES, KEY, NUMBER, UNKNOWN, VALUE, found_in, payloads
from tests.telemetry import Telemetry

MODES = list(product(("notable", "all", "off"), ("fold", "sdk")))
PAYLOADS = settings.default.max_examples if settings.default else 50
"""What each integration gets, for each setting of spans and each aggregation."""
SETTINGS: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
APPS_OWN = ("httpx", "asyncio", "test_privacy", "canaries")
"""Loggers that the application's own libraries write the application's data to."""


class Logged(logging.Handler):
    """Everything that is logged, as text, with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(funcName)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] not in APPS_OWN:
            self.lines.append(self.format(record))


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What the root logger and all below it write."""
    root, handler = logging.getLogger(), Logged()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def throw(telemetry: Telemetry, validations: Iterator[Callable[[], object]]) -> None:
    """Run them inside a recording span, whatever they raise."""
    with telemetry.tracer.start_as_current_span("request"):
        for validate in validations:
            with contextlib.suppress(Exception):
                validate()


def just_exported(telemetry: Telemetry, logged: Logged) -> str:
    """All spans and log lines since the last call."""
    spans = [
        repr((span.name, dict(span.attributes or {}), span.status.description, span.links))
        + repr([(event.name, dict(event.attributes or {})) for event in span.events])
        for span in telemetry.spans()
    ]
    telemetry.exporter.clear()
    lines, logged.lines = logged.lines, []
    return "\n".join([*spans, *lines])


@pytest.mark.parametrize(("spans", "aggregation"), MODES)
def test_no_canary_is_exported(spans: str, aggregation: str, watch: Callable[..., Telemetry], logged: Logged) -> None:
    """Thousands of payloads against every integration: no metric, exemplar, span or log line holds a canary."""
    telemetry = watch(spans=spans, aggregation=aggregation)
    every = [make() for make in CALLS.values()]
    ended = 0

    @seed(hash_of(spans, aggregation))
    @settings(**SETTINGS)
    @given(payloads(*CANARIES.values()))
    def run(payload: Any) -> None:
        nonlocal ended
        for calls in every:
            throw(telemetry, calls(payload))
        ended += sum(span.name.startswith("schema.validate") for span in telemetry.spans())
        exported = just_exported(telemetry, logged)
        assert found_in(exported) == set(), next(line for line in exported.splitlines() if found_in(line))

    run()
    exported = telemetry.everything()
    assert found_in(exported) == set(), [text for text in exported.split('"') if found_in(text)]
    libraries = {attributes["schema.library"] for attributes, _ in telemetry.points("schema.validation.duration")}
    assert libraries == {"pydantic", "jsonschema", "marshmallow"}
    assert telemetry.points("schema.query.duration")
    assert sum(telemetry.validations().values()) > PAYLOADS * 30
    assert (ended > PAYLOADS) == (spans != "off")
    assert ("filtered_attributes" in exported) == (spans != "off")


def hash_of(*parts: str) -> int:
    """A seed of each mode's own, the same in every run."""
    return sum(map(ord, "".join(parts)))


# -- the same with nothing templated: what is thrown does reach the places that are searched


def _raw(location: Any) -> str:
    return ".".join(map(str, location))


def _raw_messages(found: Any, path: Any, *_: Any) -> Iterator[Any]:
    if isinstance(found, dict):
        for key, below in found.items():
            yield from _raw_messages(below, (*path, str(key)))
    else:
        yield path, str(found)


def _raw_failure(probe: Any, _problems: Any) -> Any:
    def failed(error: BaseException, took: float, running: Any) -> None:
        listed = getattr(error, "errors", list)()
        found = [(_raw(one["loc"]), f"{one['type']} {one['msg']} {one['input']!r}") for one in listed]
        probe.failed(took, "invalid" if found else "error", repr(error), lambda: found, running)

    return failed


def untemplated(patch: pytest.MonkeyPatch) -> None:
    """Export what somebody would who does not think of privacy."""
    patch.setattr(text, "_cleaned", str)
    patch.setattr(problems, "path", _raw)
    patch.setattr(problems.Templates, "__call__", lambda _, location, rule: (_raw(location), rule))
    patch.setattr(semconv, "http_method", str)
    patch.setattr(_validator, "_failure", _raw_failure)
    patch.setattr(_core_schema, "type_name", repr)
    patch.setattr(jsonschema, "_name", lambda cls, schema, *_: repr(schema))
    patch.setattr(marshmallow, "_failed", _raw_messages)
    patch.setattr(sqlalchemy, "_operation", lambda statement, _: str(statement))
    patch.setattr(fastapi._Routes, "template", lambda _self, _route, scope: scope["path"])
    patch.setattr(flask, "web_endpoint", lambda method, _=None: web_endpoint(method, flask_request.path if _ else None))


FROM_PAYLOADS = {"value", "number", "unknown key", "dictionary key"}
LEAKED = {
    "pydantic": set(CANARIES),
    "jsonschema": {"default", "const", "pattern", "enum member", "discriminator", "error type"} | FROM_PAYLOADS,
    "marshmallow": {"const", "enum member", "message"} | FROM_PAYLOADS,
    "sqlalchemy": {"SQL parameter"},
    "fastapi": set(CANARIES) - {"default", "discriminator", "error type"},
    "flask": {"message", "SQL parameter"} | FROM_PAYLOADS,
}
"""Integration → the classes of canary that its payloads leave behind if nothing is templated."""


@pytest.mark.parametrize("library", CALLS)
def test_without_templating_canaries_are_found(
    library: str, watch: Callable[..., Telemetry], logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same payloads, with our templating switched off, do leave canaries where the other test looks for them."""
    untemplated(monkeypatch)
    telemetry = watch(spans="all", cardinality_limit=10**6)
    calls = CALLS[library]()
    found: set[str] = set()

    @seed(1)
    @settings(max_examples=100, **SETTINGS)
    @given(payloads(VALUE, NUMBER, UNKNOWN, KEY))
    def run(payload: Any) -> None:
        throw(telemetry, calls(payload))
        found.update(found_in(just_exported(telemetry, logged)))

    run()
    assert found >= LEAKED[library]
    assert LEAKED[library] - found_in(telemetry.everything()) <= {"exception argument"}
