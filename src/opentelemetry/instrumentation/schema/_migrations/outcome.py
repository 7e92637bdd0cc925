"""Reads the database after a run, on a fresh connection, and determines the outcome from it, not from the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from . import snapshot
from .database import APPLICATION, Database, VersionTable, read_heads, reason
from .errors import UnknownError
from .plan import Plan, ToolReport
from .snapshot import Snapshot

OutcomeName = Literal["applied", "rolled_back", "partial", "failed", "unknown"]

GONE: Final = 60.0  # s that we wait for the session of a dead process to end
_PATIENCE: Final = 2.0  # s after which we ask the server to end it


@dataclass(frozen=True)
class DatabaseState:
    """Revisions and schema of a database at one moment.

    Attributes:
        heads: Its revisions.
        schema: Its schema.
    """

    heads: tuple[str, ...]
    schema: Snapshot


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        name: `applied` or `rolled_back`: the target was reached. `failed`: the database is unchanged. `partial`: the
            database is between the two. `unknown`: the database could not be read.
        clean: Whether the schema is exactly that of the revisions in the version table; None if that is not known.
        difference: Lines of the schema that those revisions do not explain: added (`+`) or missing (`-`).
    """

    name: OutcomeName
    clean: bool | None
    difference: tuple[str, ...] = ()


def read(database: Database, table: VersionTable, sessions: Sequence[int] = ()) -> DatabaseState:
    """Read a database on a fresh connection, after the sessions of an ended process are gone.

    Raises:
        UnknownError: if it cannot be read, or a session does not end.
    """
    if database.dialect == "sqlite" and not database.file.exists():
        return DatabaseState((), ())
    with database.connect() as connection:
        try:
            _wait_until_gone(connection, database, sessions)
            heads = read_heads(connection, table)
            return DatabaseState(heads, snapshot.take(connection, table))
        except SQLAlchemyError as error:
            raise UnknownError(f"cannot read the schema of {database}: {reason(error)}") from error


def _wait_until_gone(connection: Connection, database: Database, sessions: Sequence[int]) -> None:
    """Wait for sessions to end: a server finishes the statement of a dead client, which still changes the database."""
    if not sessions or database.dialect == "sqlite":
        return
    if database.dialect == "postgresql":
        still, end = _POSTGRESQL
        alive = sa.text(still).bindparams(sa.bindparam("ids", expanding=True), name=f"{APPLICATION}%")
    else:
        still, end = _MYSQL
        alive = sa.text(still).bindparams(sa.bindparam("ids", expanding=True))
    began, ended = time.monotonic(), False
    while True:
        left = [int(row[0]) for row in connection.execute(alive, {"ids": list(sessions)})]
        if not left:
            return
        waited = time.monotonic() - began
        if waited > GONE:
            raise UnknownError(
                f"session {', '.join(map(str, left))} of the migration still runs on {database}, although its process "
                "has ended, so the database may still change. Look again later: otel-schema status --url URL"
            )
        if waited > _PATIENCE and not ended:
            ended = True
            for session in left:
                try:
                    connection.exec_driver_sql(end.format(id=session))
                except SQLAlchemyError:  # it has just ended
                    pass
        time.sleep(0.05)


_POSTGRESQL: Final = (
    "SELECT pid FROM pg_stat_activity WHERE pid IN :ids AND application_name LIKE :name",
    "SELECT pg_terminate_backend({id})",
)
_MYSQL: Final = ("SELECT id FROM information_schema.processlist WHERE id IN :ids", "KILL {id}")


def determine(plan: Plan, before: DatabaseState, report: ToolReport, after: DatabaseState) -> RunOutcome:
    """Determine the outcome of a run by comparing the database before and after it."""
    expected = _schema_of(after.heads, plan, before, report)
    difference = tuple(snapshot.difference(expected, after.schema)) if expected is not None else ()
    clean = None if expected is None else not difference
    if after.heads == tuple(sorted(plan.after)):
        return RunOutcome("applied" if plan.direction == "upgrade" else "rolled_back", clean, difference)
    if report.dirty:
        clean = False
    if after.heads == before.heads and clean:
        return RunOutcome("failed", True)
    return RunOutcome("partial", clean, difference)


def _schema_of(heads: tuple[str, ...], plan: Plan, before: DatabaseState, report: ToolReport) -> Snapshot | None:
    """The expected schema at some revisions: as it was before the run, or after the last step that reached them."""
    if heads == tuple(sorted(before.heads)) and heads != tuple(sorted(plan.after)):
        return before.schema
    lines, found = {*before.schema}, None
    for reached, known, gone, new in report.snapshots:
        if not known:
            return None
        lines = (lines - {*gone}) | {*new}
        if tuple(sorted(reached)) == heads:
            found = tuple(sorted(lines))
    return found
