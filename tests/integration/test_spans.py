"""`schema.validate` spans: which validations have one, when it started, what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.schema import endpoint, validation
from opentelemetry.instrumentation.schema._recording import request, spans, stack
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry import Telemetry

LEAD = validation("Lead", module=__name__, library="csv")
SLOW_MS = 250
"""A busy machine may take as long as the usual 10 ms for any validation."""

SCHEMA = {"schema.name": "Lead", "schema.module": __name__, "schema.library": "csv"}


def valid() -> None:
    with LEAD():
        pass


def invalid(problems: int = 1) -> None:
    with LEAD() as row:
        for number in range(problems):
            row.problem(f"field_{number}", "required")


def crash() -> None:
    with pytest.raises(ZeroDivisionError), LEAD():
        raise ZeroDivisionError("secret")


def slow() -> None:
    with LEAD():
        time.sleep(SLOW_MS * 1.2e-3)


def query() -> None:
    """A validation that runs a database query."""
    with LEAD():
        probe, began = stack.running[stack.current_stack()]
        stack.running[stack.current_stack()] = running = stack.OpenValidation(probe, began)
        running.queries = 1


@pytest.fixture
def telemetry(watch: Callable[..., Telemetry]) -> Telemetry:
    """Switched on for the test; a validation is slow as `slow` is."""
    return watch(slow_ms=SLOW_MS)


@pytest.mark.parametrize(
    ("settings", "have_one"),
    [
        ({"slow_ms": SLOW_MS}, {invalid, crash, slow, query}),
        ({"spans": "notable", "slow_ms": 60_000}, {invalid, crash, query}),
        ({"spans": "all"}, {valid, invalid, crash, slow, query}),
        ({"spans": "off"}, set()),
    ],
    ids=["default", "slower", "all", "off"],
)
def test_which_validations_have_a_span(
    settings: dict[str, Any], have_one: set[Callable[[], None]], watch: Callable[..., Telemetry]
) -> None:
    """Notable is what failed, was slow or ran a query; `all` is all and `off` is none. All of them count."""
    telemetry = watch(**settings)
    for validate in (valid, invalid, crash, slow, query):
        telemetry.exporter.clear()
        validate()
        assert len(telemetry.spans()) == (validate in have_one), validate.__name__
    assert telemetry.validations() == {"valid": 3, "invalid": 1, "error": 1}


def test_what_a_span_says(telemetry: Telemetry) -> None:
    """Name, kind and the attributes of schema, endpoint, outcome and problems, and no more; no event, no status."""
    with endpoint("job"):
        invalid(2)
    (span,) = telemetry.spans()
    assert (span.name, span.kind, span.events, span.status.status_code) == (
        "schema.validate Lead", SpanKind.INTERNAL, (), StatusCode.UNSET,
    )  # fmt: skip
    assert dict(span.attributes or {}) == {
        **SCHEMA,
        "schema.endpoint": "job",
        "schema.validation.outcome": "invalid",
        "schema.problem.path": ("field_0", "field_1"),
        "schema.problem.rule": ("required", "required"),
        "schema.problem.count": 2,
    }


def test_a_span_lists_twenty_problems_and_counts_all(telemetry: Telemetry) -> None:
    """Paths and rules are arrays of equal length, of at most twenty."""
    invalid(50)
    attributes = telemetry.spans()[0].attributes or {}
    assert attributes["schema.problem.path"] == tuple(f"field_{number}" for number in range(20))
    assert attributes["schema.problem.rule"] == ("required",) * 20
    assert attributes["schema.problem.count"] == 50


def test_a_crash_is_an_error_without_a_message(telemetry: Telemetry) -> None:
    """An error's span has status ERROR and the exception's class, and neither description nor event."""
    crash()
    (span,) = telemetry.spans()
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert dict(span.attributes or {}) == {
        **SCHEMA, "schema.validation.outcome": "error", "error.type": "ZeroDivisionError",
    }  # fmt: skip


def test_queries_are_counted(telemetry: Telemetry) -> None:
    """A validation that ran queries says how many."""
    query()
    assert (telemetry.spans()[0].attributes or {})["schema.query.count"] == 1


def test_a_span_started_when_its_validation_did(telemetry: Telemetry) -> None:
    """A span is made at the end, with the start of the validation, within its parent and after what came before it."""
    with telemetry.tracer.start_as_current_span("parent"):
        time.sleep(0.01)
        before = time.time_ns()
        slow()
        after = time.time_ns()
    span, parent = telemetry.spans()
    assert span.parent == parent.context
    assert before - 1_000_000 <= span.start_time < span.end_time <= after
    assert SLOW_MS * 1e6 <= span.end_time - span.start_time < 10e9
    assert parent.start_time < span.start_time
    assert span.end_time <= parent.end_time


def test_a_span_says_as_long_as_the_histogram(telemetry: Telemetry) -> None:
    """A span's duration is the duration that was measured, up to what making it takes."""
    slow()
    (span,) = telemetry.spans()
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    (point,) = [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "schema.validation.duration"
        for point in metric.data.data_points
    ]
    measured: Any = point
    assert abs((span.end_time - span.start_time) / 1e9 - measured.sum) < SLOW_MS / 2e3


def test_an_exemplar_leads_to_the_span(telemetry: Telemetry) -> None:
    """A notable validation offers an exemplar with its span's ids and no attributes; a plain one offers none."""
    valid()
    slow()
    with endpoint("job"):
        invalid()
    ids = {span.context.span_id for span in telemetry.spans()}
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    exemplars = {
        exemplar.span_id: exemplar.filtered_attributes
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "schema.validation.duration"
        for point in metric.data.data_points
        for exemplar in point.exemplars
    }
    assert exemplars == {span_id: {} for span_id in ids}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of the rate limit."""
    now = [1000.0]
    monkeypatch.setattr(spans, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_a_flood_of_bad_input_is_no_flood_of_spans(telemetry: Telemetry, clock: Callable[[float], None]) -> None:
    """Of merely failed validations 100 a second have a span; all count, and the missing spans are in the counter."""
    for _ in range(150):
        invalid()
    assert len(telemetry.spans()) == 100
    dropped = "schema.telemetry.dropped", "schema.telemetry.instrument"
    assert telemetry.by(*dropped) == {"schema.validation.duration": 50}
    for validate in (crash, slow, query):
        validate()
    assert len(telemetry.spans()) == 103, "what crashed, was slow or ran a query always has one"
    clock(1.0)
    invalid()
    assert len(telemetry.spans()) == 104
    assert telemetry.by(*dropped) == {"schema.validation.duration": 50}
    assert telemetry.validations() == {"valid": 2, "invalid": 151, "error": 1}


def test_suppressed_spans_are_not_missing(telemetry: Telemetry, clock: Callable[[float], None]) -> None:
    """Under `suppress_instrumentation` there is no span, no exemplar and nothing dropped; counts go on."""
    with suppress_instrumentation():
        for validate in (valid, invalid, crash, slow, query):
            validate()
    assert telemetry.spans() == ()
    assert telemetry.points("schema.telemetry.dropped") == []
    assert telemetry.validations() == {"valid": 3, "invalid": 1, "error": 1}


def test_an_unsampled_trace_stays_unsampled(telemetry: Telemetry, clock: Callable[[float], None]) -> None:
    """In a request that is not sampled a failure has no span, spends none of the hundred, and drops nothing."""
    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("app")
    with tracer.start_as_current_span("unsampled"):
        for _ in range(200):
            invalid()
        crash()
    assert telemetry.spans() == ()
    assert telemetry.points("schema.telemetry.dropped") == []
    for _ in range(100):
        invalid()
    assert len(telemetry.spans()) == 100


def test_a_span_is_nobodys_current_span(telemetry: Telemetry) -> None:
    """What the caller does after a notable validation is not its child."""
    with telemetry.tracer.start_as_current_span("parent") as parent:
        slow()
        assert trace.get_current_span() is parent


def test_a_span_that_the_validator_opened_is_a_sibling(telemetry: Telemetry) -> None:
    """A span that was opened inside a validation and is still open is younger, so it is not the parent."""
    with telemetry.tracer.start_as_current_span("parent") as parent:
        probe = LEAD()
        with probe:
            running, began = stack.running[stack.current_stack()]
            stack.running[stack.current_stack()] = queried = stack.OpenValidation(running, began)
            with telemetry.tracer.start_as_current_span("inner"):
                assert request.current_request.get() is request.NO_REQUEST
                assert telemetry.instrumentor._recorder.spans.open_span(queried, time.perf_counter()) is queried.span
    made = {span.name: span for span in telemetry.spans()}
    assert made["schema.validate Lead"].parent.span_id == parent.get_span_context().span_id
    assert made["inner"].parent.span_id == parent.get_span_context().span_id


def test_after_uninstrument_there_is_no_span(telemetry: Telemetry) -> None:
    """A validation that was open when `uninstrument()` came has none."""
    with LEAD() as row:
        row.problem("email", "required")
        telemetry.off()
    assert telemetry.spans() == ()
