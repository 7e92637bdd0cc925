"""SQLAlchemy 1.4 and later, sync and async: queries linked to a schema, and the compiled cache.

A query is one cursor execute; it is linked `during` the validation that runs it, or `after` the last validation of
its request. We time the dialects' `do_execute` and its variants, which every cursor execute calls. Events would work
too, but one listener makes SQLAlchemy dispatch all of them, which costs a tenth of a query's time.
We never keep the text or the parameters of a statement.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable
from functools import wraps
from time import perf_counter
from types import FunctionType
from typing import Any, NamedTuple, cast

from opentelemetry import trace
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.default import DefaultDialect

from ... import faults, semconv
from ..._recording import request, stack
from ..._recording.cells import Cell
from ..._recording.recorder import Recorder
from ..._recording.schema_cells import SchemaCells, query_attributes
from ...patching import Patches
from ...text import class_name, clean
from . import revision_watch

REQUIRES = "sqlalchemy >= 1.4, < 2.2"

_USUAL = {"SELECT ": "SELECT", "INSERT ": "INSERT", "UPDATE ": "UPDATE", "DELETE ": "DELETE"}
_OPERATIONS = {
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "CALL", "CLOSE", "COMMENT", "COMMIT", "COPY", "CREATE", "DECLARE",
    "DELETE", "DESCRIBE", "DETACH", "DROP", "EXEC", "EXECUTE", "EXPLAIN", "FETCH", "GRANT", "INSERT", "LOAD", "LOCK",
    "MERGE", "OPTIMIZE", "PRAGMA", "REFRESH", "REINDEX", "RELEASE", "RENAME", "REPLACE", "REVOKE", "ROLLBACK",
    "SAVEPOINT", "SELECT", "SET", "SHOW", "TRUNCATE", "UNLOCK", "UPDATE", "UPSERT", "USE", "VACUUM", "VALUES",
}  # fmt: skip
# Each alternative starts with a character of its own and has one end, so a hostile comment costs linear time.
_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*([a-z]+)", re.IGNORECASE)

_MAX_COMMENT = 4096
"""Characters that a statement's first word is looked for in."""

_UNSEEN: Any = object()
_QUERY = "_otel_schema_query"
"""On an execution context: the `_Query` that runs or is about to; None between queries, and for one not linked."""
_DIALECT = "_otel_schema_dialect"
"""On a dialect, which lives as long as its engine: its `_Dialect`."""
_BEFORE = "before_cursor_execute"


def install(recorder: Recorder, patches: Patches) -> None:
    """Observe every dialect, whenever and however its engine was made."""
    queries = _Queries(recorder, patches)
    queries.observe_subclasses(DefaultDialect)
    patches.replace(Connection, "__init__", queries.wrap_connection_init(Connection.__init__))
    patches.undo(queries.forget)
    recorder.tables = queries.tables
    if recorder.revisions is not None:
        revision_watch.install(recorder.revisions, patches)


class _Dialect(NamedTuple):
    """What all queries of a dialect share.

    Attributes:
        recorder: Whose cells these are; a later `instrument()` has its own.
        system: `db.system.name`.
        hits: The compiled cache's hits.
        misses: Likewise its misses.
    """

    recorder: Recorder
    system: str
    hits: Cell
    misses: Cell

    def __reduce__(self) -> Any:
        """Pickle as None: a dialect is pickled without it."""
        return type(None), ()


class _Query:
    """A linked query that runs or is about to.

    Attributes:
        began: `perf_counter()` at its start, in s; 0 until then.
        attached: The validation whose span is the current one until the query ends.
    """

    __slots__ = ("attached", "began", "relation", "schema_cells")

    def __init__(self, schema_cells: SchemaCells, relation: semconv.Relation) -> None:
        self.schema_cells, self.began = schema_cells, 0.0
        self.relation: semconv.Relation = relation
        self.attached: stack.OpenValidation | None = None


class _Queries:
    """What runs around each cursor execute."""

    def __init__(self, recorder: Recorder, patches: Patches) -> None:
        self._recorder, self._patches = recorder, patches
        self._classes: set[Any] = set()
        self._dialects: weakref.WeakSet[Any] = weakref.WeakSet()
        self._initializing: list[Any] = []
        self._listens = False

    # -- where they are seen

    def observe_subclasses(self, cls: Any) -> None:
        """Time the cursor executes of a class of dialects and of its subclasses."""
        self._observe(cls)
        for subclass in type.__subclasses__(cls):
            self.observe_subclasses(subclass)

    def _observe(self, cls: Any) -> None:
        for each in cls.__mro__:
            if each not in self._classes:
                self._classes.add(each)
                for name, patched in _PATCHED.items():
                    function = cast("dict[str, Any]", vars(each)).get(name)
                    if isinstance(function, FunctionType):
                        self._patches.replace(each, name, patched(self, function))

    def wrap_connection_init(self, original: Any) -> Any:
        """Wrap `Connection.__init__`: make sure that we see its engine's queries.

        The dialect's class may be younger than the patches. And if anyone else listens, we listen too, on the class:
        class listeners run before engine listeners, so our validation span exists before theirs starts, and becomes
        its parent.
        """

        @wraps(original)
        def __init__(self_: Any, /, *args: Any, **kwargs: Any) -> None:
            original(self_, *args, **kwargs)
            try:
                engine = self_.engine
                if type(engine.dialect) not in self._classes and self._patches.open:
                    self._observe(type(engine.dialect))
                if engine._has_events and not self._listens and self._patches.open:
                    self._listens = True
                    event.listen(Engine, _BEFORE, self.before, retval=True)
                    self._patches.undo(event.remove, Engine, _BEFORE, self.before)
            except Exception as error:
                faults.swallow("sqlalchemy", error)

        return __init__

    def wrap_dialect_initialize(self, original: Any) -> Any:
        """Wrap a dialect's `initialize`, whose statements are for the dialect itself: no queries of the application."""

        @wraps(original)
        def initialize(dialect: Any, *args: Any, **kwargs: Any) -> Any:
            self._initializing.append(dialect)
            try:
                return original(dialect, *args, **kwargs)
            finally:
                self._initializing.remove(dialect)

        return initialize

    def before(
        self, connection: Any, cursor: Any, statement: Any, parameters: Any, execution: Any, many: bool
    ) -> tuple[Any, Any]:
        """Listen to a cursor execute that is about to start; `execution` is None for a dialect's own statements."""
        try:
            if execution is not None:
                self._prepared(execution)
        except Exception as error:
            faults.swallow("sqlalchemy", error)
        return statement, parameters

    # -- a query

    def begin_query(self, execution: Any) -> _Query | None:
        """Begin the query that starts now; None if it is not linked to a schema."""
        try:
            if execution is None or self._recorder.closed:
                return None
            if self._initializing and execution.dialect in self._initializing:
                return None
            query = self._prepared(execution)
            if query is None or query.began:  # a dialect's `super().do_execute()` is part of the same
                return None
            query.began = perf_counter()
            return query
        except Exception as error:
            faults.swallow("sqlalchemy", error)
            return None

    def _prepared(self, execution: Any) -> _Query | None:
        query = getattr(execution, _QUERY, _UNSEEN)
        if query is None or query is _UNSEEN:
            if query is _UNSEEN:
                self._count_lookup(execution)
            query = self._link()
            setattr(execution, _QUERY, query)
        return query

    def _link(self) -> _Query | None:
        """The query about to run, if it is linked to a schema."""
        me = stack.current_stack()
        running = stack.running.get(me)
        if running is None:
            req = request.current_request.get()
            after = req.queried_cells
            if after is None or not req.counted or after.instruments is not self._recorder.instruments:
                return None
            return _Query(after, "after")
        if type(running) is not stack.OpenValidation:
            if running[0].instruments is not self._recorder.instruments:
                return None
            running = stack.running[me] = stack.OpenValidation(*running)
        running.queries += 1
        query = _Query(running.schema_cells, "during")
        span = self._recorder.spans.open_span(running, perf_counter())
        if span is not None and running.before is None and span.is_recording() and not _opened_inside(span):
            query.attached = running
            running.attach(span)
        return query

    def finish_query(self, query: _Query, statement: Any, execution: Any, error_type: str | None) -> None:
        """End a query. `error_type` is the class of what it raised, if it did."""
        try:
            took = perf_counter() - query.began
            setattr(execution, _QUERY, None)
            schema_cells, system = query.schema_cells, self._dialect(execution.dialect).system
            operation = _operation(statement, execution)
            schema_cells.query(query.relation, system, operation).add(took)
            theirs = getattr(execution, "_otel_span", None)  # of opentelemetry-instrumentation-sqlalchemy
            if not (trace.get_current_span() if theirs is None else theirs).is_recording() or self._recorder.spans.off:
                return
            if theirs is not None:
                theirs.set_attributes({**schema_cells.attributes, semconv.QUERY_RELATION: query.relation})
            elif not _spans_itself(execution.cursor):
                attributes = {**schema_cells.attributes, **query_attributes(query.relation, system, operation)}
                self._recorder.spans.make_query_span(
                    operation, _namespace(execution), attributes, query.began, took, error_type
                )
        except Exception as error:
            faults.swallow("sqlalchemy", error)
        finally:
            if query.attached is not None:
                query.attached.detach()

    def _dialect(self, dialect: Any) -> _Dialect:
        known = getattr(dialect, _DIALECT, None)
        if known is None or known.recorder is not self._recorder:
            recorder, system = self._recorder, _system(dialect)
            attributes = {semconv.DB_SYSTEM_NAME: system}
            hits = recorder.cell(semconv.QUERY_CACHE_HITS, system, attributes)
            known = _Dialect(
                recorder,
                system,
                hits,
                recorder.cell(semconv.QUERY_CACHE_MISSES, system, attributes),
            )
            setattr(dialect, _DIALECT, known)
            self._dialects.add(dialect)
        return known

    def tables(self, packages: Iterable[str]) -> list[Any]:
        """The models' tables, for each dialect in use. Too slow for a request: it reads every column."""
        from .tables import tables  # which reads fields, when it is first asked for

        return tables(list(self._dialects), packages)

    def forget(self) -> None:
        """Remove our attributes from the dialects: they would keep the recorder alive."""
        for dialect in list(self._dialects):
            dialect.__dict__.pop(_DIALECT, None)

    def _count_lookup(self, execution: Any) -> None:
        """Count how the compiled cache answered, once per statement: its batches share one execution context."""
        dialect = self._dialect(execution.dialect)
        answer = getattr(execution, "cache_hit", None)
        if answer is DefaultDialect.CACHE_HIT:
            dialect.hits.add(1)
        elif answer is DefaultDialect.CACHE_MISS:
            dialect.misses.add(1)


def _timed(queries: _Queries, original: Any) -> Any:
    begin_query, finish_query = queries.begin_query, queries.finish_query

    @wraps(original)
    def do_execute(dialect: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        query = begin_query(context)
        if query is None:
            return original(dialect, cursor, statement, parameters, context)
        try:
            result = original(dialect, cursor, statement, parameters, context)
        except BaseException as error:
            finish_query(query, statement, context, class_name(error))
            raise
        finish_query(query, statement, context, None)
        return result

    return do_execute


def _timed_no_params(queries: _Queries, original: Any) -> Any:
    def with_params(dialect: Any, cursor: Any, statement: Any, _parameters: Any, context: Any) -> Any:
        return original(dialect, cursor, statement, context)

    timed = _timed(queries, with_params)

    @wraps(original)
    def do_execute_no_params(dialect: Any, cursor: Any, statement: Any, context: Any = None) -> Any:
        return timed(dialect, cursor, statement, None, context)

    return do_execute_no_params


_PATCHED: dict[str, Callable[[_Queries, Any], Any]] = {
    "initialize": _Queries.wrap_dialect_initialize,
    "do_execute": _timed,
    "do_executemany": _timed,
    "do_execute_no_params": _timed_no_params,
}


def _opened_inside(span: Any) -> bool:
    """Whether the validator's own code opened the current span, which then stays the parent of its queries."""
    return (getattr(trace.get_current_span(), "start_time", None) or 0) > span.start_time


def _spans_itself(cursor: Any) -> bool:
    """Whether the driver is instrumented, so that the cursor makes a span of its own for the query."""
    return any(str(cls.__module__).startswith("opentelemetry.instrumentation.") for cls in type(cursor).__mro__)


def _system(dialect: Any) -> str:
    """`db.system.name`."""
    return semconv.db_system(clean(dialect.name), getattr(dialect, "is_mariadb", False))


def _operation(statement: Any, execution: Any) -> str:
    """`db.operation.name`: the statement's verb; empty where it has none that is known."""
    if not isinstance(statement, str):
        return ""
    usual = _USUAL.get(statement[:7])
    if usual is not None:
        return usual
    match = _FIRST_WORD.match(statement, 0, _MAX_COMMENT)
    verb = match[1].upper() if match is not None else ""
    if verb == "WITH":
        compiled = getattr(execution, "compiled", None)
        visited = getattr(getattr(compiled, "statement", None), "__visit_name__", "")
        verb = visited.rpartition("_")[2].upper()  # `select`, `compound_select`, `insert` …
    return verb if verb in _OPERATIONS else ""


def _namespace(execution: Any) -> str:
    """`db.namespace`: the database's name on its server. SQLite has none, but a file, which may be a tenant's."""
    engine = getattr(execution.root_connection, "engine", None)
    name = getattr(getattr(engine, "url", None), "database", None)
    return "" if not name or execution.dialect.name == "sqlite" else clean(name)
