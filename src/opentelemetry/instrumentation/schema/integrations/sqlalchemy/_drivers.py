"""Reading a few rows from a pooled connection, by driver: bounded beforehand, and leaving no trace on it.

Every function here reads what `questions` asks, within `DEADLINE`, and returns whether it did: a connection that is
inside a transaction is the application's, and is left alone. What raises `Unusable` leaves a connection that must not
go back to the pool; any other exception leaves it as it was.

Two limits hold. The server ends a statement after `SERVER_LIMIT`. The statement itself sets that limit, without an
extra round trip, so a lock does not cost us the connection. And we stop waiting for the server after `DEADLINE`, if the
driver allows it, so a server that hangs does not delay the application.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

from ... import faults
from ..._recording.revisions import Questions
from . import _psycopg2

SERVER_LIMIT: Final = 0.02
"""Seconds after which the server ends a statement."""

DEADLINE: Final = 0.04
"""Seconds after which we stop waiting."""

Rows = Sequence[Sequence[Any]]


class Unusable(Exception):
    """The connection is in the middle of something: it must not go back to the pool."""


class Refused(Exception):
    """The server ended a statement, or refused it; the connection is as before."""


class Driver:
    """How to ask one driver.

    Args:
        read: Of a synchronous driver: reads on its connection, with its DBAPI module and whether it is MariaDB.
        read_async: Likewise, for an asynchronous one.
        discard: Closes an asynchronous driver's connection without asking the server.
    """

    def __init__(
        self,
        read: Callable[[Any, Questions, Any, bool], bool] | None = None,
        read_async: Callable[[Any, Questions, Any, bool], Any] | None = None,
        discard: Callable[[Any], object] = id,
    ) -> None:
        self.read, self.read_async, self.discard = read, read_async, discard


def _answer(questions: Questions, execute: Callable[[str], Rows]) -> None:
    rows: Any = None
    while True:
        try:
            sql = questions.send(rows)
        except StopIteration:
            return
        rows = execute(sql)


async def _answer_async(questions: Questions, execute: Callable[[str], Any]) -> None:
    rows: Any = None
    while True:
        try:
            sql = questions.send(rows)
        except StopIteration:
            return
        rows = await execute(sql)


# -- SQLite: a writer's lock is met at once, for the busy time-out is 0 meanwhile


def _sqlite(connection: Any, questions: Questions, _dbapi: Any, _mariadb: bool) -> bool:
    # With `autocommit=False` there is always a transaction. The pool has just begun a new one, by its rollback.
    explicit = getattr(connection, "autocommit", None) is False
    if connection.in_transaction and not explicit:
        return False
    cursor = connection.cursor()
    cursor.row_factory = None

    def execute(sql: str) -> Rows:
        return cursor.execute(sql).fetchall()  # type: ignore[no-any-return]

    try:
        before = int(execute("PRAGMA busy_timeout")[0][0])
        execute("PRAGMA busy_timeout = 0")
        try:
            _answer(questions, execute)
        finally:
            execute(f"PRAGMA busy_timeout = {before}")
    finally:
        cursor.close()
        if explicit:
            connection.rollback()
    return True


async def _aiosqlite(connection: Any, questions: Questions, _dbapi: Any, _mariadb: bool) -> bool:
    if connection.in_transaction:
        return False

    async def execute(sql: str) -> Rows:
        cursor = await connection.execute(sql)
        try:
            return [tuple(row) for row in await cursor.fetchall()]
        finally:
            await cursor.close()

    before = int((await execute("PRAGMA busy_timeout"))[0][0])
    await execute("PRAGMA busy_timeout = 0")
    try:
        await _answer_async(questions, execute)
    finally:
        await execute(f"PRAGMA busy_timeout = {before}")
    return True


# -- PostgreSQL

_SET = f"SET LOCAL statement_timeout = {int(SERVER_LIMIT * 1e3)}"
_IDLE, _TUPLES, _PIPELINE_OFF = 0, 2, 0  # libpq's PQTRANS_IDLE, PGRES_TUPLES_OK, PQ_PIPELINE_OFF


def _libpq(pgconn: Any, sql: str) -> Generator[tuple[int, bool], None, Rows]:
    """One request of the simple protocol: its statements are one transaction, which is over when it is answered.

    Yields a socket, and whether it is written to, and goes on when that is ready.
    """
    pgconn.send_query(f"{_SET}; {sql}".encode())
    while pgconn.flush():
        yield pgconn.socket, True
    rows: list[tuple[str | None, ...]] | None = None
    while True:
        while pgconn.is_busy():
            yield pgconn.socket, False
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            break
        if result.status == _TUPLES:
            rows = [tuple(_decoded(result, row)) for row in range(result.ntuples)]
    if rows is None:
        raise Refused
    return rows


@contextmanager
def _answered() -> Generator[None, None, None]:
    """Nothing but an answer to the end leaves the connection usable."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        raise Unusable from error


def _decoded(result: Any, row: int) -> Iterator[str | None]:
    for column in range(result.nfields):
        value = result.get_value(row, column)
        yield None if value is None else value.decode("utf-8", "replace")  # in the client's encoding, whichever it is


def _is_idle(pgconn: Any) -> bool:
    return bool(pgconn.transaction_status == _IDLE and getattr(pgconn, "pipeline_status", 0) == _PIPELINE_OFF)


def _psycopg(connection: Any, questions: Questions, _dbapi: Any, _mariadb: bool) -> bool:
    return _answer_libpq(connection.pgconn, questions)


def _psycopg_2(connection: Any, questions: Questions, dbapi: Any, _mariadb: bool) -> bool:
    with _psycopg2.Connection(connection, dbapi) as pgconn:
        return _answer_libpq(pgconn, questions)


def _answer_libpq(pgconn: Any, questions: Questions) -> bool:
    end = monotonic() + DEADLINE
    if not _is_idle(pgconn):
        return False

    def execute(sql: str) -> Rows:
        waits = _libpq(pgconn, sql)
        with _answered(), selectors.DefaultSelector() as selector:
            while True:
                try:
                    socket, writes = next(waits)
                except StopIteration as done:
                    return done.value  # type: ignore[no-any-return]
                key = selector.register(socket, selectors.EVENT_WRITE if writes else selectors.EVENT_READ)
                if not selector.select(max(end - monotonic(), 0)):
                    raise TimeoutError
                selector.unregister(key.fileobj)

    _answer(questions, execute)
    return True


async def _psycopg_async(connection: Any, questions: Questions, _dbapi: Any, _mariadb: bool) -> bool:
    pgconn, loop = connection.pgconn, asyncio.get_running_loop()
    if not _is_idle(pgconn):
        return False

    async def execute(sql: str) -> Rows:
        waits = _libpq(pgconn, sql)
        with _answered():
            while True:
                try:
                    socket, writes = next(waits)
                except StopIteration as done:
                    return done.value  # type: ignore[no-any-return]
                ready = asyncio.Event()
                (loop.add_writer if writes else loop.add_reader)(socket, ready.set)
                try:
                    await ready.wait()
                finally:
                    (loop.remove_writer if writes else loop.remove_reader)(socket)

    await _answer_async(questions, execute)
    return True


async def _asyncpg(connection: Any, questions: Questions, _dbapi: Any, _mariadb: bool) -> bool:
    if connection.is_in_transaction():
        return False

    async def execute(sql: str) -> Rows:
        return [tuple(row) for row in await connection.fetch(sql)]

    async def read() -> None:
        # Behind a pooler that lends servers by the transaction, a statement is prepared and run in one of them.
        await connection.execute(f"BEGIN READ ONLY; {_SET}")
        await _answer_async(questions, execute)

    await _rolled_back_async(read(), lambda: connection.execute("ROLLBACK"))
    return True


# -- MariaDB and MySQL

_IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS


def _limited(sql: str, mariadb: bool) -> str:
    if mariadb:
        return f"SET STATEMENT max_statement_time = {SERVER_LIMIT} FOR {sql}"
    return sql.replace("SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({int(SERVER_LIMIT * 1e3)}) */", 1)


def _streams(connection: Any) -> bool:
    """Whether rows wait that the application did not fetch: the driver would fetch them all first."""
    return bool(getattr(connection._result, "unbuffered_active", False))


class _Until:
    """Reads from pymysql's socket until a moment, however slowly the bytes come: its own limit is for one of them."""

    def __init__(self, connection: Any, end: float) -> None:
        self._socket, self._file, self._end = connection._sock, connection._rfile, end

    def read(self, size: int) -> bytes:
        """As that of a file."""
        data = b""
        while len(data) < size:
            self._socket.settimeout(max(self._end - monotonic(), 0.001))
            more = self._file.read1(size - len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """The driver closes what is broken."""
        self._file.close()


def _pymysql(connection: Any, questions: Questions, dbapi: Any, mariadb: bool) -> bool:
    if connection._sock is None or connection.server_status & _IN_TRANSACTION or _streams(connection):
        return False
    before, limit = connection._rfile, connection._sock.gettimeout()

    def execute(sql: str) -> Rows:
        with connection.cursor(dbapi.cursors.Cursor) as cursor:
            cursor.execute(_limited(sql, mariadb))
            return cursor.fetchall()  # type: ignore[no-any-return]

    connection._rfile = _Until(connection, monotonic() + DEADLINE)
    try:
        _rolled_back(lambda: _answer(questions, execute), connection.rollback)
    finally:
        if connection._sock is not None:  # else the driver has closed both
            connection._rfile = before
            # The driver sets the socket's limit only where it is not what it set last.
            connection._sock.settimeout(getattr(connection, "_current_timeout", limit))
    return True


async def _aiomysql(connection: Any, questions: Questions, dbapi: Any, mariadb: bool) -> bool:
    if connection.get_transaction_status() or _streams(connection):
        return False

    async def execute(sql: str) -> Rows:
        cursor = await connection.cursor(dbapi.aiomysql.Cursor)
        await cursor.execute(_limited(sql, mariadb))
        return await cursor.fetchall()  # type: ignore[no-any-return]

    await _rolled_back_async(_answer_async(questions, execute), connection.rollback)
    return True


def _rolled_back(read: Callable[[], object], rollback: Callable[[], object]) -> None:
    try:
        read()
    except Exception as error:
        if not faults.interrupts(error):  # else the connection is in the middle of an answer, and thrown away
            _undone(rollback)
        raise
    _undone(rollback)


def _undone(rollback: Callable[[], object]) -> None:
    try:
        rollback()
    except Exception as error:
        raise Unusable from error


async def _rolled_back_async(read: Coroutine[Any, Any, None], rollback: Callable[[], Any]) -> None:
    try:
        await read
    except Exception as error:  # not where we were cancelled: as above
        if not faults.interrupts(error):
            await _undone_async(rollback)
        raise
    await _undone_async(rollback)


async def _undone_async(rollback: Callable[[], Any]) -> None:
    try:
        await rollback()
    except Exception as error:
        raise Unusable from error


DRIVERS: Final[dict[str, Driver]] = {
    "pysqlite": Driver(_sqlite),
    "aiosqlite": Driver(read_async=_aiosqlite),
    "psycopg": Driver(_psycopg),
    "psycopg_async": Driver(read_async=_psycopg_async, discard=lambda connection: connection.pgconn.finish()),
    "psycopg2": Driver(_psycopg_2),
    "asyncpg": Driver(read_async=_asyncpg, discard=lambda connection: connection.terminate()),
    "pymysql": Driver(_pymysql),
    "aiomysql": Driver(read_async=_aiomysql, discard=lambda connection: connection.close()),
}
"""Driver by name. We ask no others: nothing can limit how long they wait."""


def driver_of(dialect: Any) -> Driver | None:
    """How to ask the driver of a dialect; None if we do not."""
    name = f"{dialect.driver}_async" if dialect.driver == "psycopg" and dialect.is_async else dialect.driver
    if name == "psycopg2" and _psycopg2.library(dialect.dbapi) is None:
        return None
    return DRIVERS.get(name)
