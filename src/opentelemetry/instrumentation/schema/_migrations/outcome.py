"""What the database holds after a run, read on a fresh connection, whatever the run said of itself."""

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
from .plan import Ended, Plan
from .snapshot import Snapshot

Outcome = Literal["applied", "rolled_back", "partial", "failed", "unknown"]

GONE: Final = 60.0  # s that a session of a dead process may take to end
_PATIENCE: Final = 2.0  # s until it is ended


@dataclass(frozen=True)
class State:
    """What a database holds.

    Attributes:
        heads: Its revisions.
        schema: Its schema.
    """

    heads: tuple[str, ...]
    schema: Snapshot


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Attributes:
        outcome: `applied` or `rolled_back`: the target was reached. `failed`: the database is as it was. `partial`: it
            is between. `unknown`: it could not be read.
        clean: Whether the schema is exactly that of the revisions that the database holds; None if that is not known.
        difference: Lines of the schema that are there or missing against those revisions.
    """

    outcome: Outcome
    clean: bool | None
    difference: tuple[str, ...] = ()


def read(database: Database, table: VersionTable, sessions: Sequence[int] = ()) -> State:
    """Reads a database on a fresh connection, after the sessions of a process that has ended are gone.

    Raises:
        UnknownError: if it cannot be read, or a session does not end.
    """
    if database.dialect == "sqlite" and not database.file.exists():
        return State((), ())
    with database.connect() as connection:
        try:
            _wait_until_gone(connection, database, sessions)
            heads = read_heads(connection, table)
            return State(heads, snapshot.take(connection, table))
        except SQLAlchemyError as error:
            raise UnknownError(f"cannot read the schema of {database}: {reason(error)}") from error


def _wait_until_gone(connection: Connection, database: Database, sessions: Sequence[int]) -> None:
    """A server finishes the statement of a dead client: until then nobody knows what the database will hold."""
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
                "has ended: what it will leave is not known. Look again when it has ended: otel-schema status --url URL"
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


def judge(plan: Plan, before: State, ended: Ended, after: State) -> Verdict:
    """What a run did, from what the database held before and holds after."""
    expected = _schema_of(after.heads, plan, before, ended)
    difference = tuple(snapshot.difference(expected, after.schema)) if expected is not None else ()
    clean = None if expected is None else not difference
    if after.heads == tuple(sorted(plan.after)):
        return Verdict("applied" if plan.direction == "upgrade" else "rolled_back", clean, difference)
    if ended.dirty:
        clean = False
    if after.heads == before.heads and clean:
        return Verdict("failed", True)
    return Verdict("partial", clean, difference)


def _schema_of(heads: tuple[str, ...], plan: Plan, before: State, ended: Ended) -> Snapshot | None:
    """The schema when the database came to these revisions: before the run, or after the last step that led there."""
    if heads == tuple(sorted(before.heads)) and heads != tuple(sorted(plan.after)):
        return before.schema
    lines, found = {*before.schema}, None
    for reached, known, gone, new in ended.snapshots:
        if not known:
            return None
        lines = (lines - {*gone}) | {*new}
        if tuple(sorted(reached)) == heads:
            found = tuple(sorted(lines))
    return found
