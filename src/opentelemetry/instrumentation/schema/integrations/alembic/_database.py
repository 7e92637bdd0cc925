"""One database of a run: what its version table held before, and what it holds afterwards on a fresh connection.

The steps themselves do not show it: a transaction around all of them may be rolled back, a commit may fail, or a failed
step may leave half of its statements.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from ... import faults, semconv
from ..._migrations.telemetry import Target, call_within
from ...text import clean

_QUERY = re.compile(
    r"[\s(]*(SELECT|SHOW|EXPLAIN|DESCRIBE|PRAGMA|SET|USE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.I
)
_IMPLICIT_COMMIT = re.compile(r"[\s(]*(CREATE|ALTER|DROP|TRUNCATE|RENAME|GRANT|REVOKE|ANALYZE|OPTIMIZE|LOAD)\b", re.I)
_LISTENED = "after_cursor_execute"


class MigratedDatabase:
    """The database that one `MigrationContext` migrates.

    Args:
        context: Of Alembic.

    Attributes:
        target: Its name in the gauges.
        before: The heads before the run.
        pick: The context's own function that picks the steps.
        steps: Steps that began.
        exhausted: Whether no further step was to come.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._connection: Connection | None = context.connection if isinstance(context.connection, Connection) else None
        self.target = _target(context, self._connection)
        self.before: frozenset[str] | None = None
        self.pick: Callable[..., Any] | None = None
        self.steps, self.exhausted = 0, False
        self._expected: frozenset[str] | None = None
        self._changed = self._lasting = False

    # -- while it runs

    def begin_step(self) -> None:
        """Begin a step: note each statement that succeeds from now on."""
        if not self.steps and self._connection is not None:
            event.listen(self._connection, _LISTENED, self._note_statement)
        self.steps += 1
        self._changed = self._lasting = False

    def close(self) -> None:
        """Note no further statements."""
        if self._connection is not None and event.contains(self._connection, _LISTENED, self._note_statement):
            event.remove(self._connection, _LISTENED, self._note_statement)

    def end_step(self, heads: Any) -> None:
        """End a step. If all its statements are committed, the version table holds these heads."""
        self._expected = frozenset(map(str, heads))
        self._changed = self._lasting = False

    def note_commit(self) -> None:
        """Note that the step's statements so far are committed, whether or not the rest of it succeeds."""
        self._lasting = self._lasting or self._changed

    @faults.guarded("alembic", None)
    def _note_statement(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _QUERY.match(statement):
            return
        self._changed = True
        dbapi = connection.connection.dbapi_connection
        name = connection.dialect.name
        if name == "sqlite":
            driver = getattr(dbapi, "driver_connection", dbapi)
            lasts = not getattr(driver, "in_transaction", False)
        elif getattr(dbapi, "autocommit", None) is True:
            lasts = True
        else:
            lasts = not self._context.impl.transactional_ddl and _IMPLICIT_COMMIT.match(statement) is not None
        self._lasting = self._lasting or lasts

    # -- afterwards

    def outcome(
        self, error: BaseException | None, direction: semconv.Direction, until: float
    ) -> semconv.MigrationOutcome:
        """The outcome, from the heads that it holds now; from what the steps did if it cannot be asked.

        Args:
            error: What the run raised.
            direction: Of the run.
            until: `monotonic()` until which it may be asked, in s.
        """
        reached: semconv.MigrationOutcome = "applied" if direction == "upgrade" else "rolled_back"
        if not self.steps:
            return "applied" if error is None else "failed"
        holds = self._heads(until)
        complete = self.exhausted and (holds is None or holds == self._expected)
        if complete and (error is None or holds is not None):
            return reached
        moved = holds is not None and self.before is not None and holds != self.before
        if error is None:
            return reached if moved else "failed"  # nothing committed it
        return "partial" if moved or self._lasting else "failed"

    def _heads(self, until: float) -> frozenset[str] | None:
        """The heads on a fresh connection; None if none can be opened, or if the transaction has not ended."""
        connection = self._connection
        if connection is None or (self._context._in_external_transaction and _in_transaction(connection)):
            return None
        engine = connection.engine
        pool: Any = engine.pool
        creator = pool._creator
        if getattr(creator, "__module__", "") != "sqlalchemy.engine.create" or _in_memory(engine):
            return None  # a creator of the application's may give the connection that it has open
        version = self._context._version
        sql = str(select(version.c.version_num).compile(dialect=engine.dialect))
        fresh = NullPool(creator, _dispatch=pool.dispatch, dialect=engine.dialect)
        found: list[frozenset[str]] = []
        errors: Any = getattr(engine.dialect.dbapi, "Error", ())

        def read() -> None:
            connected = fresh.connect()
            try:
                cursor = connected.cursor()
                try:
                    cursor.execute(sql)
                    found.append(frozenset(str(row[0]) for row in cursor.fetchall()))
                except errors:
                    if not self.before:  # the table was made by what was rolled back
                        found.append(frozenset())
                finally:
                    cursor.close()
            finally:
                connected.close()

        call_within(until - monotonic(), _in_a_loop(read) if engine.dialect.is_async else read)
        return found[0] if found else None


def _in_a_loop(function: Callable[[], object]) -> Callable[[], object]:
    import asyncio

    from sqlalchemy.util.concurrency import greenlet_spawn

    async def run() -> None:
        await greenlet_spawn(function)

    return lambda: asyncio.run(run())


def _in_transaction(connection: Any) -> bool:
    return not connection.closed and connection.in_transaction()


def _in_memory(engine: Any) -> bool:
    database = engine.url.database or ""
    return engine.dialect.name == "sqlite" and (database in ("", ":memory:") or "mode=memory" in str(engine.url))


def _target(context: Any, connection: Any) -> Target:
    schema, default = context.version_table_schema, getattr(context.dialect, "default_schema_name", None)
    return _named(context.dialect, None if connection is None else connection.engine, schema or "", default or "")


def _named(dialect: Any, engine: Any, schema: str = "", default: str = "") -> Target:
    system = semconv.db_system(clean(dialect.name), getattr(dialect, "is_mariadb", False))
    if engine is None or dialect.name == "sqlite":  # which has no name but a file, which may be a tenant's
        return Target("alembic", "", system)
    return Target("alembic", Target.namespaced(engine.url.database or "", schema, default), system)


def unreached_target(error: BaseException) -> Target | None:
    """The database of an error that says that nobody could connect to it; None for other errors."""
    entry = error.__traceback__
    while entry is not None:
        frame = entry.tb_frame
        if frame.f_globals.get("__name__") == Engine.__module__:
            engine = frame.f_locals.get("self")
            if isinstance(engine, Engine):
                return _named(engine.dialect, engine)
        entry = entry.tb_next
    return None
