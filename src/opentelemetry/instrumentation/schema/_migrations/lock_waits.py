"""Finds sessions that block a migration, and counts sessions that wait behind it."""

from __future__ import annotations

import time
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from .._prometheus.text import cleaned
from .database import Database
from .errors import UnknownError

_EVERY: Final = 0.5  # s between two queries
_MOST: Final = 5  # blockers that are named

_BLOCKERS: Final = """
SELECT b.pid, b.application_name, b.state, extract(epoch FROM now() - b.xact_start)
FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS blocking(pid)
JOIN pg_stat_activity b ON b.pid = blocking.pid WHERE w.pid = ANY(:ours) AND b.pid <> ALL(:ours)
"""
_BEHIND: Final = """
SELECT count(*), max(extract(epoch FROM now() - query_start)) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND pg_blocking_pids(pid) && :ours AND pid <> ALL(:ours)
"""
_METADATA: Final = (
    # MariaDB's performance schema, if it is on
    """
SELECT t.processlist_id, p.user, p.command, timestampdiff(SECOND, x.trx_started, now())
FROM performance_schema.metadata_locks w
JOIN performance_schema.metadata_locks g ON g.object_schema = w.object_schema AND g.object_name = w.object_name
  AND g.lock_status = 'GRANTED' AND g.owner_thread_id <> w.owner_thread_id
JOIN performance_schema.threads o ON o.thread_id = w.owner_thread_id
JOIN performance_schema.threads t ON t.thread_id = g.owner_thread_id
JOIN information_schema.processlist p ON p.id = t.processlist_id
LEFT JOIN information_schema.innodb_trx x ON x.trx_mysql_thread_id = p.id
WHERE w.lock_status = 'PENDING' AND o.processlist_id IN :ours AND p.id NOT IN :ours
""",
    # its plugin metadata_lock_info, if it is installed
    """
SELECT DISTINCT p.id, p.user, p.command, timestampdiff(SECOND, x.trx_started, now())
FROM information_schema.metadata_lock_info g JOIN information_schema.processlist p ON p.id = g.thread_id
LEFT JOIN information_schema.innodb_trx x ON x.trx_mysql_thread_id = p.id
WHERE g.table_schema = database() AND p.id NOT IN :ours AND EXISTS (SELECT 1 FROM information_schema.processlist m
  WHERE m.id IN :ours AND m.state LIKE 'Waiting for table metadata lock%')
""",
    # rows
    """
SELECT b.trx_mysql_thread_id, p.user, p.command, timestampdiff(SECOND, b.trx_started, now())
FROM information_schema.innodb_lock_waits w
JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id
JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id
JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id
WHERE r.trx_mysql_thread_id IN :ours
""",
)
_CANDIDATES: Final = """
SELECT p.id, p.user, p.command, timestampdiff(SECOND, t.trx_started, now()) FROM information_schema.innodb_trx t
JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.id NOT IN :ours ORDER BY t.trx_started
"""
_WAITING: Final = """
SELECT count(*), max(time_ms) / 1000 FROM information_schema.processlist
WHERE state LIKE 'Waiting for table metadata lock%' AND id NOT IN :ours AND EXISTS (
  SELECT 1 FROM (SELECT id, state FROM information_schema.processlist) o
  WHERE o.id IN :ours AND o.state LIKE 'Waiting for table metadata lock%')
"""


class LockWatcher:
    """Queries the locks while a migration runs, and keeps the last answer: after a time-out the blocker may be gone.

    Args:
        database: The migrated database; the watcher opens a connection of its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ours: list[int] = []
        self._connection: Connection | None = None
        self._engine: Engine | None = None
        self._next = 0.0
        self._blockers: list[tuple[Any, ...]] = []
        self._certain = True
        self._behind, self._longest = 0, 0.0

    def on_event(self, name: str, facts: dict[str, Any]) -> None:
        """Handle an event of the run; query the locks at `idle`."""
        if name == "session":
            self._ours.append(int(facts["id"]))
        elif name == "idle" and self._ours and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            try:
                self._look()
            except (SQLAlchemyError, UnknownError):
                self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            try:
                self._connection.close()
            except SQLAlchemyError:
                pass
            self._connection = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def message(self) -> str:
        """Say in one sentence who blocked the migration, and how many sessions waited behind it."""
        if self._database.dialect == "sqlite":
            return "SQLite cannot tell who holds the lock: look for other processes that have the file open"
        if not self._blockers:
            return "no blocking session was found"
        named = "; ".join(self._name(row) for row in self._blockers[:_MOST])
        verb = (
            "blocked the migration"
            if self._certain
            else "may have blocked the migration (this server cannot tell; these have the longest transactions)"
        )
        behind = (
            f". {self._behind} other session{'' if self._behind == 1 else 's'} waited behind the migration, for up to "
            f"{self._longest:.1f} s"
            if self._behind
            else ". No other session waited behind the migration"
        )
        return f"{named} {verb}{behind}"

    @staticmethod
    def _name(row: tuple[Any, ...]) -> str:
        pid, application, state, age = row
        old = f", its transaction is {float(age):.0f} s old" if age is not None else ""
        return f"session {pid} ({cleaned(str(application or 'no application name'))}, {state or 'state hidden'}{old})"

    def _look(self) -> None:
        if self._database.dialect == "sqlite":
            return
        if self._connection is None:
            self._engine = self._database.engine()
            self._connection = self._engine.connect()
        if self._database.dialect == "postgresql":
            self._note(self._rows(_BLOCKERS), True)
            behind = self._rows(_BEHIND)
        else:
            if not self._rows(
                "SELECT 1 FROM information_schema.processlist WHERE id IN :ours AND state LIKE 'Waiting%'"
                " UNION SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id IN :ours"
                " AND trx_state = 'LOCK WAIT'"
            ):
                return
            found: list[tuple[Any, ...]] = []
            for sql in _METADATA:
                try:
                    found = self._rows(sql)
                except SQLAlchemyError:  # a table that this server does not have
                    continue
                if found:
                    break
            self._note(found, True) if found else self._note(self._rows(_CANDIDATES), False)
            behind = self._rows(_WAITING)
        if behind and behind[0][0]:
            self._behind = max(self._behind, int(behind[0][0]))
            self._longest = max(self._longest, float(behind[0][1] or 0))

    def _note(self, rows: list[tuple[Any, ...]], certain: bool) -> None:
        if rows:
            self._blockers, self._certain = rows, certain

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        statement = sa.text(sql)
        if self._database.dialect == "mysql":
            statement = statement.bindparams(sa.bindparam("ours", expanding=True))
        return [tuple(row) for row in self._connection.execute(statement, {"ours": self._ours})]
