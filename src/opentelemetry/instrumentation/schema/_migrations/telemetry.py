"""Records runs of a migration tool as spans and gauges, whether Alembic itself or `otel-schema` starts them.

A run is a span, and each step is a child span. The span is the current one while the run lasts, so spans of its
statements become its descendants. The outcome of a run is on the span and in the gauges `schema.migration.last_run.*`.
Nothing here raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, perf_counter, time
from typing import Any, Final, NamedTuple

from opentelemetry import context, trace
from opentelemetry.metrics import Meter, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from .. import faults, semconv
from .._schemas.version_tables import namespace
from ..text import class_name, clean
from . import provenance

COMPONENT: Final = "migrations"
_MAX_CAUSES: Final = 10
MAX_POINTS: Final = 200
"""Attribute sets of one gauge, the latest ones: an app that migrates a database per tenant has one per tenant."""


class Target(NamedTuple):
    """The migrated database and the tool.

    Attributes:
        tool: `alembic` or `dbmate`.
        namespace: `db.namespace`; empty if it is not known.
        system: `db.system.name`; empty if it is not known.
    """

    tool: str
    namespace: str = ""
    system: str = ""

    @staticmethod
    def namespaced(database: str, schema: str, default: str) -> str:
        """`db.namespace` of a version table's schema."""
        return namespace(database, schema, default)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that identify the target on a gauge."""
        attributes = {semconv.MIGRATION_TOOL: self.tool}
        return attributes | ({semconv.DB_NAMESPACE: clean(self.namespace)} if self.namespace else {})


class RunRecorder:
    """Records the runs of one process.

    Args:
        tracer: Makes the spans.
        off: Returns whether spans are switched off now.
    """

    def __init__(self, tracer: Tracer, off: Callable[[], bool] = bool) -> None:
        self._tracer, self._off = tracer, off
        self._lock = threading.RLock()
        self._ends: dict[tuple[Any, ...], tuple[dict[str, Any], float, float]] = {}
        self._verdicts: dict[tuple[Any, ...], tuple[dict[str, Any], float]] = {}

    def begin(self, target: Target, direction: semconv.Direction, folder: Path | None = None, **more: Any) -> Run:
        """Begin a run; its span is the current one in the caller's context until the run ends.

        Args:
            target: The migrated database; `set_target` completes it later.
            direction: Direction of the run.
            folder: Folder of the migrations; we look up the commit that is checked out there.
            more: Further attributes of the span, `name` for the span's name instead of `schema.migrate <direction>`.
        """
        tracer = trace.NoOpTracer() if self._off() else self._tracer
        return Run(self, tracer, target, direction, folder, more)

    def record_end(
        self, target: Target, direction: semconv.Direction | None, outcome: semconv.MigrationOutcome, seconds: float
    ) -> None:
        """Record that a run ended now, after `seconds`; a run that had nothing to do has no direction."""
        went = {semconv.MIGRATION_DIRECTION: direction} if direction else {}
        attributes = {**target.attributes, **went, semconv.MIGRATION_OUTCOME: outcome}
        self._keep(self._ends, attributes, (attributes, time(), max(seconds, 1e-6)))  # a duration is never exactly 0

    def record_verdict(self, target: Target, verdict: semconv.Verdict, signal: semconv.Signal) -> None:
        """Record the guard's verdict on one signal."""
        attributes = {**target.attributes, semconv.GUARD_VERDICT: verdict, semconv.GUARD_SIGNAL: signal}
        self._keep(self._verdicts, attributes, (attributes, time()))

    @faults.guarded(COMPONENT, None)
    def record_watch(self, target: Target, verdict: semconv.Verdict, since: float, numbers: dict[str, Any]) -> None:
        """Record the guard's watch as a span, from `since` (Unix time in seconds) until now."""
        attributes = {**_described(target), semconv.GUARD_VERDICT: verdict, **numbers}
        start = int(min(since, time()) * 1e9)
        span = self._tracer.start_span(
            semconv.GUARD_SPAN_NAME, kind=SpanKind.INTERNAL, attributes=attributes, start_time=start
        )
        span.end()

    def _keep(self, points: dict[tuple[Any, ...], Any], attributes: dict[str, Any], point: Any) -> None:
        key = tuple(attributes.items())
        with self._lock:
            points.pop(key, None)  # move it to the end: the oldest is deleted first
            points[key] = point
            while len(points) > MAX_POINTS:
                del points[next(iter(points))]

    def reset_after_fork(self) -> None:
        """In a forked child: forget the runs of the parent, which exports them itself, and renew the lock."""
        self._lock = threading.RLock()
        self._ends.clear()
        self._verdicts.clear()

    @property
    def observers(self) -> dict[str, Callable[[], Iterable[Observation]]]:
        """Name of a gauge → callback that returns its observations."""
        return {
            semconv.MIGRATION_TIMESTAMP.name: lambda: [Observation(at, of) for of, at, _ in [*self._ends.values()]],
            semconv.MIGRATION_DURATION.name: lambda: [Observation(took, of) for of, _, took in [*self._ends.values()]],
            semconv.GUARD_TIMESTAMP.name: lambda: [Observation(at, of) for of, at in [*self._verdicts.values()]],
        }

    def publish(self, meter: Meter) -> None:
        """Create the gauges on a meter, in a process without `instrument()`."""
        specs = {spec.name: spec for spec in semconv.INSTRUMENTS}
        for name, observe in self.observers.items():

            def callback(
                _options: Any, observe: Callable[[], Iterable[Observation]] = observe
            ) -> Iterable[Observation]:
                return observe()

            meter.create_observable_gauge(name, [callback], specs[name].unit, specs[name].description)


class Run:
    """One run from start to end; `RunRecorder.begin` creates it."""

    def __init__(
        self,
        runs: RunRecorder,
        tracer: Tracer,
        target: Target,
        direction: semconv.Direction,
        folder: Path | None,
        more: dict[str, Any],
    ) -> None:
        self._runs, self._tracer = runs, tracer
        self._direction: semconv.Direction = direction
        self._target, self._began = target, perf_counter()
        self._span: Span = trace.INVALID_SPAN
        self._token: Any = None
        self._step: tuple[Span, Any] | None = None
        self._moved = True
        self._open(folder, more)

    @faults.guarded(COMPONENT, None)
    def _open(self, folder: Path | None, more: dict[str, Any]) -> None:
        name = more.pop("name", f"{semconv.MIGRATION_SPAN_NAME} {self._direction}")
        attributes = {**_described(self._target), semconv.MIGRATION_DIRECTION: self._direction, **more}
        commit = provenance.commit(folder) if folder is not None else ""
        known = {semconv.VCS_REVISION: commit, semconv.PIPELINE_RUN_ID: clean(provenance.pipeline_run())}
        attributes |= {key: value for key, value in known.items() if value}
        self._span = self._tracer.start_span(name, kind=SpanKind.INTERNAL, attributes=attributes)
        self._token = context.attach(trace.set_span_in_context(self._span))

    @faults.guarded(COMPONENT, None)
    def begin_step(self, revision: str, direction: semconv.Direction | None = None) -> None:
        """Begin the step of one revision; its span is current until the step ends or the next one begins."""
        self.end_step()
        attributes = {
            **_described(self._target),
            semconv.MIGRATION_REVISION: clean(revision),
            semconv.MIGRATION_DIRECTION: direction or self._direction,
        }
        name = f"{semconv.MIGRATION_STEP_SPAN_NAME} {clean(revision)}"
        above = trace.set_span_in_context(self._span)  # also where the run began in another context
        span = self._tracer.start_span(name, above, kind=SpanKind.INTERNAL, attributes=attributes)
        self._step = span, context.attach(trace.set_span_in_context(span))

    @faults.guarded(COMPONENT, None)
    def end_step(self, error: BaseException | None = None) -> None:
        """End the current step, with the error that it raised; do nothing if there is no step."""
        if self._step is not None:
            (span, token), self._step = self._step, None
            if token is not None:
                context.detach(token)
            _end(span, error)

    @faults.guarded(COMPONENT, None)
    def record_statement(self, verb: str, began: int, ended: int, failed: bool = False) -> None:
        """Record a statement that ran in the tool's own process; `began` and `ended` are Unix time in ns."""
        above = trace.set_span_in_context(self._step[0] if self._step is not None else self._span)
        attributes = {**_system(self._target), semconv.DB_OPERATION_NAME: clean(verb)}
        span = self._tracer.start_span(
            clean(verb), above, kind=SpanKind.CLIENT, attributes=attributes, start_time=began
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def leave_context(self) -> None:
        """Leave the context alone at the end: another thread ends this run, in another context."""
        self._token = None
        if self._step is not None:
            self._step = self._step[0], None

    def set_target(self, target: Target, direction: semconv.Direction | None = None, moved: bool = True) -> None:
        """Set the target once it is known; `moved` says whether there was anything to do."""
        self._target, self._moved = target, moved
        self._direction = direction or self._direction

    @faults.guarded(COMPONENT, None)
    def end(
        self,
        outcome: semconv.MigrationOutcome | None,
        error: BaseException | None = None,
        others: Iterable[tuple[Target, semconv.MigrationOutcome]] = (),
    ) -> None:
        """End the run.

        Args:
            outcome: What the database says; None if no database was involved (Alembic printed SQL only).
            error: What the run raised.
            others: Further databases that the same run migrated.
        """
        self.end_step(error)
        if self._token is not None:
            context.detach(self._token)
            self._token = None
        took = perf_counter() - self._began
        direction = self._direction if self._moved or outcome != "applied" else None
        if outcome is not None:
            self._runs.record_end(self._target, direction, outcome, took)
        for target, theirs in others:
            self._runs.record_end(target, direction, theirs, took)
        self._span.set_attributes({**_described(self._target), semconv.MIGRATION_DIRECTION: self._direction})
        if outcome:
            self._span.set_attribute(semconv.MIGRATION_OUTCOME, outcome)
        _end(self._span, error, outcome in ("failed", "partial"))


def _system(target: Target) -> dict[str, Any]:
    return {
        **({semconv.DB_SYSTEM_NAME: target.system} if target.system else {}),
        **({semconv.DB_NAMESPACE: clean(target.namespace)} if target.namespace else {}),
    }


def _described(target: Target) -> dict[str, Any]:
    return {**target.attributes, **_system(target)}


def _end(span: Span, error: BaseException | None, failed: bool = False) -> None:
    if error is not None:  # neither its message nor its traceback: they may quote a row
        span.set_attribute(semconv.ERROR_TYPE, class_name(error))
        code = status_code(error)
        if code:
            span.set_attribute(semconv.DB_STATUS_CODE, clean(code))
    if error is not None or failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def status_code(error: BaseException) -> str:
    """`db.response.status_code`: the SQLSTATE of PostgreSQL, the number of MariaDB, the name of SQLite; else empty."""
    at: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if at is None:
            break
        driver: Any = getattr(at, "orig", None)  # SQLAlchemy's error holds the driver's
        arguments = getattr(driver, "args", ())
        if arguments and type(arguments[0]) is int:
            return str(arguments[0])
        for each in (driver, at):
            for name in ("sqlstate", "pgcode", "sqlite_errorname"):
                found = getattr(each, name, None)
                if type(found) is str and found:
                    return found
        at = driver if isinstance(driver, BaseException) else at.__cause__
    return ""


def call_within(limit: float, *calls: Callable[[], object]) -> bool:
    """Call several functions at once, for at most `limit` seconds; return whether all of them finished.

    An exporter may retry for minutes, and a server may not answer. So each call has a daemon thread, which ends with
    the process.
    """
    threads = [
        threading.Thread(target=faults.guarded(COMPONENT, None)(each), name="schema-migrations", daemon=True)
        for each in calls
    ]
    for thread in threads:
        thread.start()
    until = monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))
    return not any(thread.is_alive() for thread in threads)
