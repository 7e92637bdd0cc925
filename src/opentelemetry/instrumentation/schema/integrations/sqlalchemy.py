"""SQLAlchemy 1.4 and later, sync and async: queries linked to a schema, and the compiled cache.

A query is one cursor execute; it is linked `during` the validation that runs it, or `after` the last validation of
its request. The listeners stand on the class `Engine`, so they hear every engine, whenever and however it was made.
Text and parameters of a statement are never kept.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from opentelemetry import context, trace
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from .. import faults, request, semconv, stack
from ..patching import Patches
from ..recorder import Recorder, Series

REQUIRES = "sqlalchemy >= 1.4, < 2.2"

# What `db.system.name` calls the dialects that name themselves otherwise.
_SYSTEMS = {
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "db2": "ibm.db2",
    "ibm_db_sa": "ibm.db2",
    "informix": "ibm.informix",
    "netezza": "ibm.netezza",
    "hana": "sap.hana",
    "redshift": "aws.redshift",
    "spanner": "gcp.spanner",
    "spanner+spanner": "gcp.spanner",
    "firebird": "firebirdsql",
    "teradatasql": "teradata",
}

_OPERATIONS = {
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "CALL", "CLOSE", "COMMENT", "COMMIT", "COPY", "CREATE", "DECLARE",
    "DELETE", "DESCRIBE", "DETACH", "DROP", "EXEC", "EXECUTE", "EXPLAIN", "FETCH", "GRANT", "INSERT", "LOAD", "LOCK",
    "MERGE", "OPTIMIZE", "PRAGMA", "REFRESH", "REINDEX", "RELEASE", "RENAME", "REPLACE", "REVOKE", "ROLLBACK",
    "SAVEPOINT", "SELECT", "SET", "SHOW", "TRUNCATE", "UNLOCK", "UPDATE", "UPSERT", "USE", "VACUUM", "VALUES",
}  # fmt: skip
# Each alternative starts with a character of its own and has one end, so a hostile comment costs linear time.
_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*([a-z]+)", re.IGNORECASE)

_UNSEEN: Any = object()
_QUERY = "_otel_schema_query"
"""On an execution context: the `_Query` that runs, None between queries and for one that is not linked."""


def install(recorder: Recorder, patches: Patches) -> None:
    """Listen to every engine."""
    listeners = _Listeners(recorder)
    for name, listener, options in (
        ("before_cursor_execute", listeners.before, {"retval": True}),  # without it there is one call more in between
        ("after_cursor_execute", listeners.after, {}),
        ("handle_error", listeners.failed, {}),
    ):
        event.listen(Engine, name, listener, **options)
        patches.undo(event.remove, Engine, name, listener)


class _Query:
    """A linked query that runs.

    Attributes:
        began: `perf_counter()` at its start, in s.
        attached: The validation whose span is the current one until the query ends.
    """

    __slots__ = ("attached", "began", "relation", "series")

    def __init__(self, series: Series, relation: semconv.Relation) -> None:
        self.series, self.relation, self.began = series, relation, 0.0
        self.attached: stack.Queried | None = None


class _Listeners:
    """What runs around each cursor execute. Class-level listeners run before those of one engine."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._systems: dict[str, dict[str, Any]] = {}

    def before(
        self, connection: Any, cursor: Any, statement: Any, parameters: Any, execution: Any, many: bool
    ) -> tuple[Any, Any]:
        """A cursor execute starts. `execution` is None where a dialect asks something for itself: not a query."""
        try:
            if execution is not None:
                if getattr(execution, _QUERY, _UNSEEN) is _UNSEEN:
                    self._count_lookup(execution)
                query = self._link()
                setattr(execution, _QUERY, query)
                if query is not None:
                    query.began = perf_counter()
        except Exception as error:
            faults.swallow("sqlalchemy", error)
        return statement, parameters

    def after(self, connection: Any, cursor: Any, statement: Any, parameters: Any, execution: Any, many: bool) -> None:
        """A cursor execute ended."""
        query = getattr(execution, _QUERY, None)
        if query is not None:
            self._ended(query, connection, statement, execution, None)

    @faults.guarded("sqlalchemy", None)
    def failed(self, error: Any) -> None:
        """Something failed: a cursor execute, or (without its execution context, or after its end) anything else."""
        execution = error.execution_context
        query = getattr(execution, _QUERY, None)
        if query is not None:
            error_type = type(error.original_exception).__qualname__
            self._ended(query, error.connection, error.statement, execution, error_type)

    def _link(self) -> _Query | None:
        """The query about to run, if it is linked to a schema."""
        me = stack.here()
        running: Any = stack.running.get(me)
        if running is None:
            req = request.current.get()
            if req.probe is None or not req.counted or req.probe.series.recorder is not self._recorder:
                return None
            return _Query(req.probe.series, "after")
        if type(running) is not stack.Queried:
            if running[0].series.recorder is not self._recorder:
                return None
            running = stack.running[me] = stack.Queried(*running)
        running.queries += 1
        query = _Query(running.probe.series, "during")
        span = self._recorder.spans.began(running, perf_counter())
        if span is not None and running.token is None and span.is_recording() and not _opened_inside(span):
            running.token = context.attach(trace.set_span_in_context(span))
            query.attached = running
        return query

    def _ended(self, query: _Query, connection: Any, statement: Any, execution: Any, error_type: str | None) -> None:
        try:
            took = perf_counter() - query.began
            setattr(execution, _QUERY, None)  # it ends once: what fails later is not the query
            series, system = query.series, _system(execution.dialect)
            operation = _operation(statement, execution)

            def attributes() -> dict[str, Any]:
                described = {semconv.QUERY_RELATION: query.relation, semconv.DB_SYSTEM_NAME: system}
                if operation:
                    described[semconv.DB_OPERATION_NAME] = operation
                return {**series.attributes, **described}

            series.cell(self._recorder.queries, ("query", query.relation, system, operation), attributes).add(took)
            theirs = getattr(execution, "_otel_span", None)  # of opentelemetry-instrumentation-sqlalchemy
            if not (trace.get_current_span() if theirs is None else theirs).is_recording() or self._recorder.spans.off:
                return
            if theirs is not None:
                theirs.set_attributes({**series.attributes, semconv.QUERY_RELATION: query.relation})
            elif not _spans_itself(execution.cursor):
                self._recorder.spans.query(
                    operation, _namespace(connection), attributes(), query.began, took, error_type
                )
        except Exception as error:
            faults.swallow("sqlalchemy", error)
        finally:
            if query.attached is not None:
                query.attached.detach()

    def _count_lookup(self, execution: Any) -> None:
        """Count how the compiled cache answered, once per statement: its batches share one execution context."""
        recorder, system = self._recorder, _system(execution.dialect)
        attributes = self._systems.get(system)
        if attributes is None:
            attributes = self._systems[system] = {semconv.DB_SYSTEM_NAME: system}
            recorder.count(recorder.query_hits, system, attributes, 0)
            recorder.count(recorder.query_misses, system, attributes, 0)
        answer = getattr(execution, "cache_hit", None)
        if answer is DefaultDialect.CACHE_HIT:
            recorder.count(recorder.query_hits, system, attributes)
        elif answer is DefaultDialect.CACHE_MISS:
            recorder.count(recorder.query_misses, system, attributes)


def _opened_inside(span: Any) -> bool:
    """Whether the validator's own code opened the current span, which then stays the parent of its queries."""
    return (getattr(trace.get_current_span(), "start_time", None) or 0) > span.start_time


def _spans_itself(cursor: Any) -> bool:
    """Whether the driver is instrumented, so that the cursor makes a span of its own for the query."""
    return any(str(cls.__module__).startswith("opentelemetry.instrumentation.") for cls in type(cursor).__mro__)


def _system(dialect: Any) -> str:
    """`db.system.name`: https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/."""
    if getattr(dialect, "is_mariadb", False):  # also behind a `mysql://` URL
        return "mariadb"
    name = str(dialect.name)
    return _SYSTEMS.get(name, name)


def _operation(statement: Any, execution: Any) -> str:
    """`db.operation.name`: the statement's verb; empty where it has none that is known."""
    match = _FIRST_WORD.match(statement) if isinstance(statement, str) else None
    verb = match[1].upper() if match is not None else ""
    if verb == "WITH":
        compiled = getattr(execution, "compiled", None)
        visited = getattr(getattr(compiled, "statement", None), "__visit_name__", "")
        verb = visited.rpartition("_")[2].upper()  # `select`, `compound_select`, `insert` …
    return verb if verb in _OPERATIONS else ""


def _namespace(connection: Any) -> str:
    """`db.namespace`: the database's name; of SQLite the file's, without its directories. Empty where it has none."""
    engine = getattr(connection, "engine", None)
    name = str(getattr(getattr(engine, "url", None), "database", None) or "")
    if connection.dialect.name == "sqlite":
        name = re.split(r"[/\\]", name)[-1]
    return "" if name == ":memory:" else name
