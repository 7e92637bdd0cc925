"""A lock per database: one migration at a time. The server or the operating system frees it when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from .._prometheus.text import cleaned
from .database import APPLICATION, Database, reason
from .errors import MigrationError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

POLL: Final = 0.5  # s between tries while another run holds the lock
_IDLE: Final = 7 * 24 * 3600  # s that the lock's connection may be idle


class HeldLock(Protocol):
    """A lock that this process holds."""

    def still_held(self) -> bool:
        """Whether we still hold it: a restart of the server frees it."""
        ...


@contextmanager
def hold(
    database: Database,
    wait: float = 0.0,
    waiting: Callable[[str], None] | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Generator[HeldLock]:
    """Hold the database's lock for the block: an advisory lock, or for SQLite a locked file beside the database.

    Args:
        database: The database.
        wait: Seconds to wait for another run.
        waiting: Called once with the holder, if we wait.
        go_on: Called before each further try; it may raise to stop waiting.

    Raises:
        MigrationError: if another run still holds the lock; the message names the holder.
        UnknownError: if the server cannot be reached.
    """
    take = _file if database.dialect == "sqlite" else _server
    with take(database, wait, waiting, go_on) as held:
        yield held


def key(database: str) -> int:
    """PostgreSQL's key of the advisory lock: 63 bits of a hash of the database's name."""
    return int.from_bytes(sha256(_name(database).encode()).digest()[:8], "big") >> 1


def _name(database: str) -> str:
    name = f"{APPLICATION}:{database}"
    return name if len(name) <= 64 else f"{APPLICATION}:{sha256(database.encode()).hexdigest()[:40]}"  # MariaDB's limit


class _ServerLock:
    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection, self._database = connection, database
        self._postgresql = database.dialect == "postgresql"

    def take(self) -> bool:
        if self._postgresql:
            return bool(self._ask("SELECT pg_try_advisory_lock(:key)"))
        return self._ask("SELECT GET_LOCK(:name, 0)") == 1

    def still_held(self) -> bool:
        try:
            if self._postgresql:
                return bool(
                    self._ask(
                        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                        " AND pid = pg_backend_pid() AND objsubid = 1"
                        " AND (classid::bigint << 32) + objid::bigint = :key"
                    )
                )
            return bool(self._ask("SELECT IS_USED_LOCK(:name) = CONNECTION_ID()"))
        except SQLAlchemyError:
            return False

    def holder(self) -> str:
        try:
            row = self._connection.execute(sa.text(_WHO[self._database.dialect]), self._names()).first()
        except SQLAlchemyError:
            row = None
        if row is None:
            return "another session"
        pid, application, age = row
        return f"session {pid} ({cleaned(str(application or 'no application name'))}), connected for {age} s"

    def _ask(self, sql: str) -> object:
        names = {name: value for name, value in self._names().items() if f":{name}" in sql}
        return self._connection.execute(sa.text(sql), names).scalar()

    def _names(self) -> dict[str, object]:
        if self._postgresql:
            return {"key": key(self._database.name)}
        return {"name": _name(self._database.name)}


_WHO: Final = {
    "postgresql": (
        "SELECT a.pid, a.application_name || coalesce(' from ' || host(a.client_addr), ''),"
        " extract(epoch FROM now() - a.backend_start)::int FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (l.classid::bigint << 32) + l.objid::bigint = :key"
    ),
    "mysql": (
        "SELECT id, concat(user, ' from ', host), time FROM information_schema.processlist"
        " WHERE id = IS_USED_LOCK(:name)"
    ),
}


@contextmanager
def _server(
    database: Database, wait: float, waiting: Callable[[str], None] | None, go_on: Callable[[], None]
) -> Generator[HeldLock]:
    with database.connect() as connection:
        try:
            for statement in _KEEP[database.dialect]:
                try:
                    connection.exec_driver_sql(statement)
                except SQLAlchemyError:  # of an older server, which has no such time-out
                    pass
            lock = _ServerLock(connection, database)
            _until_taken(lock.take, lock.holder, database, wait, waiting, go_on)
            pooled = not lock.still_held()
        except SQLAlchemyError as error:
            raise MigrationError(f"cannot take the lock of {database}: {reason(error)}") from error
        if pooled:
            raise MigrationError(
                f"{database} gave the lock to another session than the one that asked for it, as a transaction pooler "
                "does: give --url the server itself"
            )
        yield lock  # freed with the connection


_KEEP: Final = {
    "postgresql": ("SET idle_session_timeout = 0",),
    "mysql": (f"SET SESSION wait_timeout = {_IDLE}",),
}


def _until_taken(
    take: Callable[[], bool],
    holder: Callable[[], str],
    database: Database,
    wait: float,
    waiting: Callable[[str], None] | None,
    go_on: Callable[[], None],
) -> None:
    end = time.monotonic() + wait
    called = False
    while not take():
        go_on()
        if time.monotonic() >= end:
            raise MigrationError(
                f"another run migrates {database}: {holder()} holds the lock. "
                f"Run this again when it has ended, or wait longer with --wait SECONDS (waited {wait:g} s)"
            )
        if waiting is not None and not called:
            waiting(f"{holder()} holds the lock of {database}: waiting up to {wait:g} s")
            called = True
        time.sleep(max(0.0, min(POLL, end - time.monotonic())))


class _FileLock:
    """Locks a file beside the database. To lock and close the database file itself would free SQLite's own locks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def take(self) -> bool:
        assert fcntl is not None
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        if not self.still_held():  # whoever held it has removed the file meanwhile
            os.close(file)
            return False
        os.ftruncate(file, 0)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        os.pwrite(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode(), 0)
        return True

    def still_held(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return False

    def holder(self) -> str:
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
            return cleaned(f"process {said['pid']} on {said['host']}, since {said['since']},")
        except (OSError, ValueError, LookupError, TypeError):
            return "another process"

    def free(self) -> None:
        self._path.unlink(missing_ok=True)  # unlink while locked: who opened the file checks its identity after locking
        os.close(self._file)


@contextmanager
def _file(
    database: Database, wait: float, waiting: Callable[[str], None] | None, go_on: Callable[[], None]
) -> Generator[HeldLock]:
    if fcntl is None:
        raise MigrationError("locking an SQLite database needs flock, which this system lacks: use Linux or macOS")
    lock = _FileLock(database.file.with_name(f"{database.file.name}.{APPLICATION}.lock"))
    try:
        _until_taken(lock.take, lock.holder, database, wait, waiting, go_on)
    except OSError as error:
        raise MigrationError(f"cannot lock {database}: {error}") from error
    try:
        yield lock
    finally:
        lock.free()
