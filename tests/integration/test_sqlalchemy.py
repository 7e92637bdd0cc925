"""SQLAlchemy on real databases: linked queries, their spans, the compiled cache, and nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.instrumentation.schema._recording import stack
from opentelemetry.instrumentation.schema.api import endpoint, validation
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import install as integration
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel, field_validator
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine

from tests.databases import Server

VERSION = tuple(int(part) for part in sa.__version__.split(".")[:2])
ONE = sa.select(sa.literal(1))
ROW = validation("Row", module="app", library="csv")
ROW_SCHEMA = {"schema.name": "Row", "schema.module": "app", "schema.library": "csv"}


class Telemetry:
    """What one instrumented test exported."""

    def __init__(self, sampler: Any = ALWAYS_ON, **settings: Any) -> None:
        self._reader, self._exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracers.get_tracer("app")
        SchemaInstrumentor().instrument(meter_provider=self._meters, tracer_provider=self.tracers, **settings)

    def points(self, name: str) -> dict[frozenset[tuple[str, Any]], float]:
        """Attribute set → value of a counter, count of a histogram."""
        data = self._reader.get_metrics_data()
        return {
            frozenset(point.attributes.items()): getattr(point, "count", None) or getattr(point, "value", 0)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }

    def seconds(self, name: str) -> float:
        """Sum of a histogram with one attribute set."""
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = (metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics)
        (point,) = next(metric for metric in metrics if metric.name == name).data.data_points
        return getattr(point, "sum")  # noqa: B009  # only histograms have one

    def queries(self) -> list[tuple[Any, Any, Any, float]]:
        """(schema, relation, operation, count) of every linked query."""
        return sorted(
            (dict(key)["schema.name"], dict(key)["schema.query.relation"], dict(key).get("db.operation.name"), count)
            for key, count in self.points("schema.query.duration").items()
        )

    def cache(self, system: str = "sqlite") -> tuple[float | None, float | None]:
        """Hits and misses of the compiled cache."""
        key = frozenset({("db.system.name", system)})
        return self.points("schema.query.cache.hits").get(key), self.points("schema.query.cache.misses").get(key)

    def spans(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if kind in (None, span.kind)]

    def span(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans() if span.name == name)
        return span

    def exported(self) -> str:
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans()) + (data.to_json() if data else "")


@pytest.fixture
def instrumented(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Telemetry]]:
    monkeypatch.setattr(faults, "reraise", True)
    yield Telemetry
    if SchemaInstrumentor().is_instrumented_by_opentelemetry:
        SchemaInstrumentor().uninstrument()
    assert not trace.get_current_span().get_span_context().is_valid, "a span was left attached"
    assert not stack.running, "a validation was left running"


@pytest.fixture
def telemetry(instrumented: Callable[..., Telemetry]) -> Telemetry:
    return instrumented()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.engine.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path}/leads.db")
    yield made
    made.dispose()


@pytest.fixture
def contrib(telemetry: Telemetry, tmp_path: Path) -> Iterator[sa.engine.Engine]:
    """An engine that opentelemetry-instrumentation-sqlalchemy traces."""
    SQLAlchemyInstrumentor().instrument(tracer_provider=telemetry.tracers, skip_dep_check=True)
    made = sa.create_engine(f"sqlite:///{tmp_path}/leads.db")
    yield made
    made.dispose()
    SQLAlchemyInstrumentor().uninstrument()


def select_one(engine: Any, statement: Any = ONE) -> None:
    with engine.connect() as connection:
        connection.execute(statement).fetchall()


def unique_email(engine: Any) -> type[BaseModel]:
    class Lead(BaseModel):
        email: str

        @field_validator("email")
        @classmethod
        def unused(cls, value: str) -> str:
            select_one(engine)
            return value

    Lead.__qualname__ = "Lead"
    return Lead


# -- linked queries


def test_a_query_inside_a_validation_is_linked_during(telemetry: Telemetry, engine: Any) -> None:
    """A query that a validator runs is recorded with its schema, `during`, the database system and the verb."""
    unique_email(engine)(email="a@b.c")
    assert telemetry.points("schema.query.duration") == {
        frozenset(
            {
                "schema.name": "Lead",
                "schema.module": __name__,
                "schema.library": "pydantic",
                "schema.query.relation": "during",
                "db.system.name": "sqlite",
                "db.operation.name": "SELECT",
            }.items()
        ): 1
    }


def test_a_query_after_a_validation_of_its_request_is_linked_after(telemetry: Telemetry, engine: Any) -> None:
    """Inside a request a query belongs, as `after`, to the schema validated last."""
    with endpoint("import"):
        select_one(engine)
        with validation("First")():
            pass
        with ROW():
            pass
        select_one(engine)
        select_one(engine, sa.text("/* lead */ SELECT 2"))
    assert telemetry.queries() == [("Row", "after", "SELECT", 2)]


def test_a_query_outside_a_request_is_linked_to_no_earlier_validation(telemetry: Telemetry, engine: Any) -> None:
    """Outside a request no query is `after` anything: what ran before may have served somebody else."""
    with ROW():
        pass
    select_one(engine)
    with endpoint("import"):
        select_one(engine)
    assert telemetry.queries() == []


def test_a_query_in_a_nested_validation_belongs_to_the_outermost(telemetry: Telemetry, engine: Any) -> None:
    """A nested validation is part of the one around it, and so are its queries."""
    with endpoint("import"), ROW():
        unique_email(engine)(email="a@b.c")
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]


def test_a_failed_query_is_timed_and_its_exception_passes(telemetry: Telemetry, engine: Any) -> None:
    """A query that fails is recorded like any other, and the application gets SQLAlchemy's own exception."""
    with ROW(), pytest.raises(sa.exc.OperationalError):
        select_one(engine, sa.text("SELECT x FROM nowhere"))
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]


def test_validation_of_a_result_value(telemetry: Telemetry, engine: Any) -> None:
    """A validation in a column type runs after its query, which it cannot claim; the next query is `after` it."""

    class Validated(sa.types.TypeDecorator):  # type: ignore[type-arg]
        impl = sa.String
        cache_ok = True

        def process_result_value(self, value: Any, dialect: Any) -> Any:
            with ROW():
                return value

    with endpoint("import"):
        select_one(engine, sa.select(sa.literal("x", Validated())))
        assert telemetry.queries() == []
        select_one(engine)
    assert telemetry.queries() == [("Row", "after", "SELECT", 1)]


def test_another_threads_query_is_not_during(telemetry: Telemetry, engine: Any) -> None:
    """A query of another thread is not part of the validation that waits for it."""
    with ROW():
        thread = threading.Thread(target=select_one, args=(engine,))
        thread.start()
        thread.join()
    assert telemetry.queries() == []
    assert telemetry.cache() == (0, 1)


def test_each_cursor_execute_of_a_batch_is_a_query_and_the_statement_one_lookup(
    telemetry: Telemetry, engine: Any
) -> None:
    """However many batches an INSERT is cut into, it is looked up once in the compiled cache."""
    table = sa.Table("lead", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))
    executes = itertools.count(1)
    sa.event.listen(engine, "before_cursor_execute", lambda *_: next(executes))
    with engine.begin() as connection:
        table.create(connection)
        before, batches = telemetry.cache(), next(executes)
        statement = table.insert().returning(table.c.id) if VERSION >= (2, 0) else table.insert()
        with ROW():
            connection.execute(statement, [{"name": f"n{number}"} for number in range(2500)])
    batches = next(executes) - batches - 1
    assert batches == (1 if VERSION < (2, 0) else 3)  # 2.x: at most 1000 rows a batch
    assert telemetry.queries() == [("Row", "during", "INSERT", batches)]
    assert telemetry.cache() == (before[0], (before[1] or 0) + 1)


# -- engines


def _plain(url: str) -> tuple[Any, Any]:
    engine = sa.create_engine(url)
    return engine, engine


def _options(url: str) -> tuple[Any, Any]:
    engine = sa.create_engine(url)
    return engine, engine.execution_options(isolation_level="AUTOCOMMIT")


def _future(url: str) -> tuple[Any, Any]:
    engine = sa.create_engine(url, future=True)
    return engine, engine


@pytest.mark.parametrize("make", [_plain, _options, _future])
@pytest.mark.parametrize("early", [True, False])
def test_engines_however_and_whenever_made(
    instrumented: Callable[..., Telemetry], tmp_path: Path, make: Any, early: bool
) -> None:
    """Plain, option and future engines are heard, also on a connection that was open before we were switched on."""
    url = f"sqlite:///{tmp_path}/leads.db"
    if not early:
        telemetry = instrumented()
    engine, used = make(url)
    with used.connect() as connection:
        if early:
            telemetry = instrumented()
        with ROW():
            connection.execute(ONE)
    engine.dispose()
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]


def test_async_engine(telemetry: Telemetry) -> None:
    """Queries of an async engine are linked, each to the validation of its own greenlet."""

    async def main() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            inside.set()
            await go_on.wait()

        def validate(connection: Any) -> None:
            with ROW():
                connection.execute(ONE)
                sa.util.await_only(wait())
                connection.execute(ONE)

        async def first() -> None:
            async with engine.connect() as connection:
                await connection.run_sync(validate)

        async def second() -> None:
            await inside.wait()
            async with engine.connect() as connection:
                await connection.execute(ONE)
                assert not trace.get_current_span().is_recording()
                with endpoint("other"):
                    with validation("Other")():
                        pass
                    await connection.execute(ONE)
            go_on.set()

        await asyncio.wait_for(asyncio.gather(first(), second()), 30)
        await engine.dispose()

    asyncio.run(main())
    assert telemetry.queries() == [("Other", "after", "SELECT", 1), ("Row", "during", "SELECT", 2)]
    validate = telemetry.span("schema.validate Row")
    assert [span.parent and span.parent.span_id for span in telemetry.spans(SpanKind.CLIENT)] == (
        [validate.context.span_id] * 2
    )


# -- the compiled cache


def test_compiled_cache(telemetry: Telemetry, engine: Any) -> None:
    """Every look-up counts, linked or not; a statement that cannot be cached is neither hit nor miss."""
    statement = sa.select(sa.literal("some").label("column"))
    with engine.begin() as connection:
        for _ in range(3):
            connection.execute(statement)
        connection.exec_driver_sql("SELECT 1")
        connection.execute(sa.schema.CreateTable(sa.Table("t", sa.MetaData(), sa.Column("c", sa.Integer))))
        connection.execution_options(compiled_cache=None).execute(statement)
    assert telemetry.cache() == (2, 1)


def test_cache_counters_start_at_zero(telemetry: Telemetry, engine: Any) -> None:
    """A database whose statements cannot be cached reads 0 hits and 0 misses, so that a ratio has both sides."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert telemetry.cache() == (0, 0)


# -- spans


def test_query_span_is_a_child_of_its_validation(telemetry: Telemetry, engine: Any) -> None:
    """Without another instrumentation a query has one CLIENT span, inside the validation's, at its true time."""
    began = time.time_ns()
    with telemetry.tracer.start_as_current_span("server") as server:
        unique_email(engine)(email="a@b.c")
    validate, (query,) = telemetry.span("schema.validate Lead"), telemetry.spans(SpanKind.CLIENT)
    assert query.name == "SELECT"  # no file's name: it may be a tenant's
    assert dict(query.attributes or {}) == {
        "schema.name": "Lead",
        "schema.module": __name__,
        "schema.library": "pydantic",
        "schema.query.relation": "during",
        "db.system.name": "sqlite",
        "db.operation.name": "SELECT",
    }
    assert query.parent is not None
    assert query.parent.span_id == validate.context.span_id
    assert validate.parent is not None
    assert validate.parent.span_id == server.get_span_context().span_id
    assert (validate.attributes or {})["schema.query.count"] == 1
    assert began <= validate.start_time <= query.start_time <= query.end_time <= validate.end_time <= time.time_ns()
    assert (query.end_time - query.start_time) / 1e9 == pytest.approx(
        telemetry.seconds("schema.query.duration"), abs=1e-6
    )
    assert query.status.status_code is StatusCode.UNSET


def test_query_span_after_a_validation_is_a_child_of_the_current_span(telemetry: Telemetry, engine: Any) -> None:
    """A query `after` a validation is a child of the span that is current, and only where one records."""
    with endpoint("import"):
        with ROW():
            pass
        select_one(engine)
        with telemetry.tracer.start_as_current_span("server") as server:
            select_one(engine)
    (query,) = telemetry.spans(SpanKind.CLIENT)
    assert query.parent is not None
    assert query.parent.span_id == server.get_span_context().span_id
    assert (query.attributes or {})["schema.query.relation"] == "after"


def test_query_that_is_not_linked_has_no_span(telemetry: Telemetry, engine: Any) -> None:
    """Queries that no schema is linked to are left to other instrumentations."""
    with telemetry.tracer.start_as_current_span("server"), endpoint("import"):
        select_one(engine)
    assert telemetry.spans(SpanKind.CLIENT) == []


def test_failed_query_span(telemetry: Telemetry, engine: Any) -> None:
    """A failed query's span says the driver's exception class, and nothing of its message."""
    with ROW(), pytest.raises(sa.exc.OperationalError):
        select_one(engine, sa.text("SELECT secret FROM nowhere"))
    (query,) = telemetry.spans(SpanKind.CLIENT)
    assert query.status.status_code is StatusCode.ERROR
    assert query.status.description is None
    assert (query.attributes or {})["error.type"] == "OperationalError"
    assert list(query.events) == []


@pytest.mark.parametrize("failing", [False, True])
def test_contribs_span_is_enriched_and_stays_the_only_one(telemetry: Telemetry, contrib: Any, failing: bool) -> None:
    """A query that contrib traces keeps contrib's span, as a child of the validation's and with SCHEMA."""
    with telemetry.tracer.start_as_current_span("server"), ROW():
        try:
            select_one(contrib, sa.text("SELECT x FROM nowhere") if failing else ONE)
        except sa.exc.OperationalError:
            assert failing
    queries = [span for span in telemetry.spans(SpanKind.CLIENT) if span.name != "connect"]
    (query,) = queries
    assert query.instrumentation_scope is not None
    assert query.instrumentation_scope.name == "opentelemetry.instrumentation.sqlalchemy"
    expected = {**ROW_SCHEMA, "schema.query.relation": "during"}
    assert {key: value for key, value in (query.attributes or {}).items() if key.startswith("schema.")} == expected
    assert query.parent is not None
    assert query.parent.span_id == telemetry.span("schema.validate Row").context.span_id


def test_contribs_span_of_an_unlinked_query_is_left_alone(telemetry: Telemetry, contrib: Any) -> None:
    """A query that no schema is linked to keeps contrib's span as it is."""
    select_one(contrib)
    (query,) = (span for span in telemetry.spans(SpanKind.CLIENT) if span.name != "connect")
    assert not any(key.startswith("schema.") for key in query.attributes or {})


@pytest.mark.skipif(VERSION < (2, 1), reason="contrib refuses SQLAlchemy from 2.1 on")
def test_where_contrib_refuses_the_version_the_span_is_ours(telemetry: Telemetry) -> None:
    """SQLAlchemy 2.1, which contrib declines to instrument, still has one span per linked query."""
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracers)
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
        pytest.skip("this contrib accepts SQLAlchemy 2.1")
    engine = sa.create_engine("sqlite://")
    with ROW():
        select_one(engine)
    engine.dispose()
    (query,) = telemetry.spans(SpanKind.CLIENT)
    assert query.name == "SELECT"


def test_an_instrumented_drivers_cursor_keeps_the_only_span(telemetry: Telemetry) -> None:
    """Where a DB-API instrumentation stands behind SQLAlchemy its cursor makes the span, and we make none."""
    cursor = type("TracedCursor", (sqlite3.Cursor,), {"__module__": "opentelemetry.instrumentation.sqlite3"})
    connection = type("Connection", (sqlite3.Connection,), {"cursor": lambda self: cursor(self)})
    engine = sa.create_engine("sqlite://", connect_args={"factory": connection})
    with ROW():
        select_one(engine)
    engine.dispose()
    assert telemetry.spans(SpanKind.CLIENT) == []
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]


def test_a_span_opened_by_the_validator_stays_its_querys_parent(telemetry: Telemetry, engine: Any) -> None:
    """The application's own span inside a validator keeps its query, and is no parent of the validation around it."""
    with telemetry.tracer.start_as_current_span("server"), ROW():
        time.sleep(0.001)  # the server span and the look-up start at different times on any clock
        with telemetry.tracer.start_as_current_span("look-up"):
            select_one(engine)
            select_one(engine)
    parents = {span.name: span.parent and span.parent.span_id for span in telemetry.spans()}
    server, look_up = telemetry.span("server").context.span_id, telemetry.span("look-up").context.span_id
    assert parents == {"SELECT": look_up, "look-up": server, "schema.validate Row": server, "server": None}


@pytest.mark.parametrize("reason", ["off", "suppressed", "not sampled"])
def test_no_span_where_none_is_wanted(instrumented: Callable[..., Telemetry], engine: Any, reason: str) -> None:
    """With spans off, instrumentation suppressed or the trace not sampled a query is measured, and has no span."""
    if reason == "off":
        telemetry = instrumented(spans="off")
    else:
        telemetry = instrumented(ALWAYS_OFF if reason == "not sampled" else ALWAYS_ON)
    with telemetry.tracer.start_as_current_span("server"), endpoint("import"):
        if reason == "suppressed":
            with suppress_instrumentation():
                with ROW():
                    select_one(engine)
                select_one(engine)
        else:
            with ROW():
                select_one(engine)
            select_one(engine)
    assert [span.name for span in telemetry.spans() if span.name != "server"] == []
    assert telemetry.queries() == [("Row", "after", "SELECT", 1), ("Row", "during", "SELECT", 1)]


@pytest.mark.parametrize("hidden_by", ["another listener", "an execution option"])
def test_a_query_whose_end_is_never_heard_of_leaves_nothing_attached(
    telemetry: Telemetry, engine: Any, hidden_by: str
) -> None:
    """Where SQLAlchemy (1.4 and 2, respectively) hides a query's end, the validation's end restores the context."""

    def refuse(*_: Any) -> None:
        raise LookupError

    with engine.connect() as connection, telemetry.tracer.start_as_current_span("server") as server:
        if hidden_by == "another listener":
            sa.event.listen(engine, "before_cursor_execute", refuse)
        else:
            connection.execution_options(skip_user_error_events=True)
        with ROW(), pytest.raises((LookupError, sa.exc.OperationalError)):
            connection.execute(sa.text("SELECT x FROM nowhere"))
        assert trace.get_current_span() is server


def test_nothing_of_a_statement_is_exported(telemetry: Telemetry, engine: Any) -> None:
    """Neither a statement's text nor its parameters reach a metric or a span, also when it fails."""
    with telemetry.tracer.start_as_current_span("server"), endpoint("import"):
        for statement in ("SELECT :p AS hush_column", "SELECT :p FROM hush_table", "HUSH_verb :p"):
            with ROW():
                try:
                    with engine.connect() as connection:
                        connection.execute(sa.text(statement), {"p": "hush_value"})
                except sa.exc.OperationalError:
                    pass
    assert len(telemetry.spans(SpanKind.CLIENT)) == 3
    assert "hush" not in telemetry.exported().lower()


# -- errors and the end


def test_what_fails_after_a_query_is_not_the_query(telemetry: Telemetry, engine: Any) -> None:
    """A query ends once: an error that a later listener raises is neither a second query nor this one's."""

    def refuse(*_: Any) -> None:
        raise LookupError

    sa.event.listen(engine, "after_cursor_execute", refuse)
    with ROW(), pytest.raises(LookupError):
        select_one(engine)
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]
    (query,) = telemetry.spans(SpanKind.CLIENT)
    assert query.status.status_code is StatusCode.UNSET


def test_a_failing_connect_passes_unchanged(telemetry: Telemetry, tmp_path: Path) -> None:
    """A connect error, which has no statement, reaches the application as it is and is not a query."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/missing/leads.db")
    with ROW(), pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert telemetry.queries() == []


def test_a_value_that_cannot_be_bound_passes_unchanged(telemetry: Telemetry, engine: Any) -> None:
    """An error from before the cursor execute is SQLAlchemy's to raise, and not a query."""
    with engine.connect() as connection, ROW(), pytest.raises(sa.exc.StatementError):
        connection.execute(sa.text("SELECT :p"), {"q": 1})
    assert telemetry.queries() == []


def test_our_own_fault_reaches_neither_query_nor_application(
    telemetry: Telemetry, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault around a query is counted, and the query runs as if nobody looked."""
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(sa.engine.Engine, "_has_events", False)  # as if no test before had made us listen
    link = integration._Queries._link

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(integration._Queries, "_link", broken)
    with engine.connect() as connection:
        assert connection.execute(ONE).scalar() == 1
        monkeypatch.setattr(integration._Queries, "_link", link)
        monkeypatch.setattr(integration, "_operation", broken)
        with ROW():
            assert connection.execute(ONE).scalar() == 1
            assert not trace.get_current_span().is_recording()
            with pytest.raises(sa.exc.OperationalError):
                connection.execute(sa.text("SELECT x FROM nowhere"))
            assert not trace.get_current_span().is_recording()
    assert telemetry.points("schema.telemetry.errors") == {
        frozenset({("schema.telemetry.component", "sqlalchemy"), ("error.type", "ZeroDivisionError")}): 3
    }


def test_events_are_left_to_those_who_want_them(
    telemetry: Telemetry, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's listener means none of ours: one makes SQLAlchemy dispatch every event of every query."""
    monkeypatch.setattr(sa.engine.Engine, "_has_events", False)  # SQLAlchemy never takes it back
    with ROW():
        select_one(engine)
    assert not engine._has_events
    assert telemetry.queries() == [("Row", "during", "SELECT", 1)]


@pytest.mark.parametrize("early", [True, False])
def test_a_dialects_own_execute_is_one_query(
    instrumented: Callable[..., Telemetry], early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialect that overrides `do_execute`, and calls what it overrides or not, has one query per execute."""
    calls = itertools.count(1)

    def declare() -> type[Any]:
        base = sa.dialects.registry.load("sqlite")

        class Dialect(base):  # type: ignore[misc, valid-type]
            supports_statement_cache = True

            def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
                if next(calls) % 2:
                    cursor.execute(statement, parameters)
                else:
                    super().do_execute(cursor, statement, parameters, context)

        return Dialect

    dialect = declare() if early else None
    telemetry = instrumented()
    dialect = dialect or declare()
    monkeypatch.setitem(sa.dialects.registry.impls, "sqlite.own", lambda: dialect)
    engine = sa.create_engine("sqlite+own://")
    with ROW():
        select_one(engine)
        select_one(engine)
    engine.dispose()
    assert next(calls) == 3
    assert telemetry.queries() == [("Row", "during", "SELECT", 2)]


def test_uninstrument_leaves_nothing_behind(instrumented: Callable[..., Telemetry], engine: Any) -> None:
    """Uninstrumented, dialects, connections and engines are what they were, also an engine with listeners."""
    sa.event.listen(engine, "before_cursor_execute", lambda *_: None)
    held = (sa.engine.Connection, "__init__"), (DefaultDialect, "do_execute"), (DefaultDialect, "initialize")

    def state() -> list[Any]:
        listeners = list(engine.dispatch.before_cursor_execute)
        return [listeners, [*vars(engine.dialect)], *(vars(cls)[name] for cls, name in held)]

    select_one(engine)  # what SQLAlchemy itself keeps on a dialect

    before = state()
    telemetry = instrumented()
    with engine.connect() as connection:
        connection.execute(ONE)
        assert not any(now == then for now, then in zip(state(), before, strict=True))
        SchemaInstrumentor().uninstrument()
        assert state() == before
        with ROW():
            connection.execute(ONE)
    assert telemetry.queries() == []


# -- names


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("select 1", "SELECT"),
        ("  -- a\n /* b */ (SELECT 1)", "SELECT"),
        ("/* a * b **/INSERT INTO t VALUES (1)", "INSERT"),
        ("PRAGMA foreign_keys", "PRAGMA"),
        ("hush", ""),
        ("/* SELECT", ""),
        ("", ""),
        (b"SELECT 1", ""),
        ("WITH a AS (SELECT 1) SELECT * FROM a", ""),
    ],
)
def test_operation(statement: Any, operation: str) -> None:
    """The operation is the statement's first word, where SQL knows it."""
    assert integration._operation(statement, None) == operation


def test_operation_of_a_common_table_expression(telemetry: Telemetry, engine: Any) -> None:
    """What a WITH does is known where SQLAlchemy built it."""
    query = sa.select(sa.literal(1).label("a")).cte("c")
    with ROW():
        select_one(engine, sa.select(query.c.a))
        select_one(engine, sa.union_all(sa.select(query.c.a), sa.select(query.c.a)))
    assert telemetry.queries() == [("Row", "during", "SELECT", 2)]


@given(st.text(alphabet="/*- \n(aSELECT;é") | st.text())
def test_any_text_gives_a_known_operation_or_none(text: str) -> None:
    """Whatever the text is, only words of SQL come out."""
    assert integration._operation(text, None) in {*integration._OPERATIONS, ""}


def test_a_hostile_comment_costs_linear_time() -> None:
    """Many comments before no statement take milliseconds, not for ever."""
    began = time.thread_time()
    assert integration._operation("/**/" * 50_000 + "/*" + "*" * 50_000, None) == ""
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    ("dialect", "system"),
    [
        ("mssql", "microsoft.sql_server"),
        ("mysql", "mysql"),
        ("oracle", "oracle.db"),
        ("postgresql", "postgresql"),
        ("sqlite", "sqlite"),
    ],
)
def test_system(dialect: str, system: str) -> None:
    """A dialect's database has the name that the semantic conventions give it."""
    assert integration._system(sa.dialects.registry.load(dialect)()) == system


def test_mariadb_behind_a_mysql_url() -> None:
    """A MySQL dialect that found a MariaDB server is `mariadb`."""
    dialect = sa.dialects.registry.load("mysql")(is_mariadb=True)
    assert integration._system(dialect) == "mariadb"


# -- PostgreSQL


def test_postgresql(telemetry: Telemetry, postgresql: Server) -> None:
    """On PostgreSQL a linked query is measured, cached and traced under the names of that system."""
    engine = sa.create_engine(postgresql.url("postgres"))
    unique_email(engine)(email="a@b.c")
    engine.dispose()
    assert telemetry.queries() == [("Lead", "during", "SELECT", 1)]
    assert telemetry.cache("postgresql") == (0, 1)
    query = telemetry.span("SELECT")
    assert (query.attributes or {})["db.system.name"] == "postgresql"
    assert (query.attributes or {})["db.namespace"] == "postgres"


def test_postgresql_async(telemetry: Telemetry, postgresql: Server) -> None:
    """The same over an async driver, inside a request."""

    async def main() -> None:
        engine = create_async_engine(postgresql.url("postgres"))
        with endpoint("import"):
            with ROW():
                pass
            async with engine.connect() as connection:
                await connection.execute(ONE)
        await engine.dispose()

    asyncio.run(main())
    assert telemetry.queries() == [("Row", "after", "SELECT", 1)]
