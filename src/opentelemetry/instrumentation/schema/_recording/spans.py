"""`schema.validate` spans: made when a validation becomes notable, with its true start time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from threading import get_ident
from time import monotonic, perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode

from .. import semconv
from ..text import clean
from . import inside, stack

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from ..settings import Settings
    from .endpoints import Endpoint

MAX_PROBLEMS = 20
MAX_FAILED_PER_SECOND = 100


class Spans:
    """Makes the spans of one recorder.

    Args:
        settings: `spans` says which validations get one.
        tracer: Of this package's scope.

    Attributes:
        slow: Seconds above which a validation has a span.
    """

    slow: float

    def __init__(self, settings: Settings, tracer: Tracer) -> None:
        self._tracer, self._mode, self.slow = tracer, settings.spans, settings.slow
        self.closed = False
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Reset the rate limit and the count of dropped spans."""
        self._lock = threading.RLock()  # a signal handler's or a finalizer's validation may fail in the middle
        self._second, self._failed, self._dropped = 0, 0, 0

    @property
    def off(self) -> bool:
        """Whether no span may be made now."""
        off = self._mode == "off" or self.closed or not is_instrumentation_enabled()
        return off or get_ident() in inside.threads

    def open_span(self, running: stack.OpenValidation, now: float) -> Span | None:
        """Return the span of a running validation. Its first query makes the span; None if spans are off.

        Args:
            running: Its entry on the stack.
            now: `perf_counter()` now, in s.
        """
        if running.span is None and not self.off:
            seconds_ago = now - running.began
            parent = _parent_at(stack.started_ns(seconds_ago))
            running.span = inside.call(self._start, running.schema_cells.attributes, seconds_ago, parent)
        return running.span

    def make_query_span(
        self,
        operation: str,
        namespace: str,
        attributes: dict[str, Any],
        began: float,
        took: float,
        error_type: str | None,
    ) -> None:
        """Make the span of a database query that just ended, as a child of the current span.

        Args:
            operation: `db.operation.name`; empty where it is not known.
            namespace: `db.namespace`; likewise.
            attributes: Of the query's measurement.
            began: `perf_counter()` at its start, in s.
            took: Its duration in s.
            error_type: The class of what it raised.
        """
        if namespace:
            attributes = {**attributes, semconv.DB_NAMESPACE: namespace}
        inside.call(
            self._make_query_span, operation, attributes, stack.started_ns(perf_counter() - began), took, error_type
        )

    def _make_query_span(
        self, operation: str, attributes: dict[str, Any], started: int, took: float, error_type: str | None
    ) -> None:
        # never the namespace: a database may be a tenant's
        name = operation or str(attributes[semconv.DB_SYSTEM_NAME])
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=started)
        if error_type is not None:
            span.set_attribute(semconv.ERROR_TYPE, error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end(started + int(took * 1e9))

    def end_span(
        self,
        schema: dict[str, Any],
        endpoint: Endpoint,
        took: float,
        outcome: semconv.Outcome,
        error_type: str | None,
        problems: Sequence[tuple[str, str]] | None,
        running: stack.Running | None,
        version: str | None,
    ) -> Context | None:
        """End the span of a validation that just ended, or make one if it is notable.

        Args:
            schema: The attributes of `semconv.SCHEMA`.
            endpoint: Of the request or block that it ran in.
            took: Its duration in s.
            outcome: Of the validation.
            error_type: `error.type` where it failed.
            problems: Path and rule of each failed field.
            running: Its entry in `stack.running`; None for a validation that had none.
            version: `schema.version` where its author declared one.

        Returns:
            The context that a measurement needs to offer its exemplar; None where no sampled span was made.
        """
        span, queries = None, 0
        if type(running) is stack.OpenValidation:
            running.detach()
            span, queries = running.span, running.queries
        if get_ident() in inside.threads:
            self._dropped += 1
            return None
        if span is None and not self._notable(took, outcome, queries):
            return None
        described: dict[str, Any] = {semconv.VALIDATION_OUTCOME: outcome, **endpoint.attributes}
        if version is not None:
            described[semconv.SCHEMA_VERSION] = clean(version)
        if queries:
            described[semconv.QUERY_COUNT] = queries
        if problems:
            listed = problems[:MAX_PROBLEMS]
            described[semconv.PROBLEM_PATH] = [path for path, _ in listed]
            described[semconv.PROBLEM_RULE] = [rule for _, rule in listed]
            described[semconv.PROBLEM_COUNT] = len(problems)
        if outcome == "error" and error_type is not None:
            described[semconv.ERROR_TYPE] = error_type
        return inside.call(self._end, span, schema, described, took, outcome)

    def _end(
        self, span: Span | None, schema: dict[str, Any], described: dict[str, Any], took: float, outcome: str
    ) -> Context | None:
        if span is None:
            span = self._start({**schema, **described}, took)
        else:
            span.set_attributes(described)
        recording = span.is_recording()
        if outcome == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end(_ended_ns(span, took))
        return _in_context(span.get_span_context()) if recording else None

    def _notable(self, took: float, outcome: semconv.Outcome, queries: int) -> bool:
        """Whether a validation that just ended gets a span."""
        if took > self.slow or outcome == "error" or queries:
            return not self.off
        if outcome != "invalid" or self._mode == "off":
            return False
        parent = trace.get_current_span()
        if not parent.is_recording() and parent.get_span_context().is_valid:
            return False  # not sampled, so its child would not be either: spare the sampler
        return not self.off and self._admitted()

    def _admitted(self) -> bool:
        """Whether one more failure of this second gets a span: a flood of bad input must not become one of spans."""
        with self._lock:
            second = int(monotonic())
            if second != self._second:
                self._second, self._failed = second, 0
            self._failed += 1
            if self._failed > MAX_FAILED_PER_SECOND:
                self._dropped += 1
                return False
        return True

    def _start(self, attributes: dict[str, Any], seconds_ago: float, parent: Context | None = None) -> Span:
        name = attributes.get(semconv.SCHEMA_NAME)
        return self._tracer.start_span(
            f"{semconv.SPAN_NAME} {name}" if name else semconv.SPAN_NAME,
            parent,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=stack.started_ns(seconds_ago),
        )

    def take_dropped(self) -> int:
        """Return how many spans were dropped since the last call."""
        with self._lock:
            number, self._dropped = self._dropped, 0
        return number


def _in_context(span: SpanContext) -> Context:
    """A context that holds this span alone. It is buffered until a collection, and must keep nothing else alive."""
    return trace.set_span_in_context(NonRecordingSpan(span), Context())


def _parent_at(started: int) -> Context | None:
    """Return the parent context of a validation that started at `started` (Unix time in ns); None for the current one.

    If the current span is younger, the validator's own code opened it: the validation becomes its sibling.
    """
    current = trace.get_current_span()
    if (getattr(current, "start_time", None) or 0) <= started:
        return None
    parent = getattr(current, "parent", None)
    return trace.set_span_in_context(trace.INVALID_SPAN if parent is None else NonRecordingSpan(parent))


def _ended_ns(span: Span, took: float) -> int:
    """Return the Unix time in ns at which a validation of `took` seconds ended. The thread may have waited since."""
    started: int | None = getattr(span, "start_time", None)  # the SDK's; the API has no such attribute
    return time_ns() if started is None else started + int(took * 1e9)
