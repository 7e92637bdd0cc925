"""`schema.db.info`: the revision of each engine's database, read on real servers with each driver."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._live import revisions
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import _drivers, _psycopg2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool, StaticPool

from tests.databases import Server, free_port, missing, postgresql_standby
from tests.telemetry import Telemetry

BUSY = 0.5
"""Seconds that a request takes at most on a busy machine; with a read without a limit it takes more than a second.

The promised 50 ms are measured beside an application without us, in test_revision_side_by_side.py.
"""

INTERVAL = 0.001
"""Seconds between two reads, so that each connection that returns is read."""

MODULES = {
    "sqlite+pysqlite": "sqlite3",
    "sqlite+aiosqlite": "aiosqlite",
    "postgresql+psycopg": "psycopg",
    "postgresql+psycopg2": "psycopg2",
    "postgresql+psycopg_async": "psycopg",
    "postgresql+asyncpg": "asyncpg",
    "mysql+pymysql": "pymysql",
    "mysql+aiomysql": "aiomysql",
}
OLD = sqlalchemy.__version__ < "2"  # has no dialect for psycopg 3, and no pool for a SQLite file
DRIVERS = [
    driver for driver, module in MODULES.items() if find_spec(module) is not None and not (OLD and module == "psycopg")
]
SERVERS = [each for each in DRIVERS if not each.startswith("sqlite")]
ASYNC = {"aiosqlite", "psycopg_async", "asyncpg", "aiomysql"}


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Alembic's files of a project: a, b, c."""
    folder = tmp_path / "alembic/versions"
    folder.mkdir(parents=True)
    for name, down in (("a", None), ("b", "a"), ("c", "b")):
        (folder / f"{name}.py").write_text(f"revision = {name!r}\ndown_revision = {down!r}\n")
    return folder


@pytest.fixture
def telemetry(migrations: Path) -> Iterator[Telemetry]:
    """Switched on for the test."""
    made = Telemetry(revision_interval=INTERVAL, migrations=[str(migrations)])
    yield made
    made.off()


class App:
    """An application with one engine; every request uses a connection and returns it."""

    def __init__(self, driver: str, url: str, **options: Any) -> None:
        self.is_async = driver.rpartition("+")[2] in ASYNC
        self._loop = asyncio.new_event_loop() if self.is_async else None
        self.engine: Any = (create_async_engine if self.is_async else sqlalchemy.create_engine)(url, **options)
        self.sync_engine = self.engine.sync_engine if self.is_async else self.engine

    def run(self, coroutine: Any) -> Any:
        assert self._loop is not None
        return self._loop.run_until_complete(coroutine)

    def request(self, sql: str = "SELECT 1") -> float:
        """Run and commit a statement, and return how long that took, in s."""

        async def request_async() -> None:
            async with self.engine.begin() as connection:
                await connection.execute(text(sql))

        before = time.perf_counter()
        if self.is_async:
            self.run(request_async())
        else:
            with self.engine.begin() as connection:
                connection.execute(text(sql))
        took = time.perf_counter() - before
        time.sleep(2 * INTERVAL)
        return took

    def close(self) -> None:
        if self.is_async:
            self.run(self.engine.dispose())
            assert self._loop is not None
            self._loop.close()
        else:
            self.engine.dispose()


@contextmanager
def app(driver: str, url: str, **options: Any) -> Iterator[App]:
    """An application for the time of a test."""
    if OLD and driver not in DRIVERS:
        pytest.skip(f"no {driver} with SQLAlchemy {sqlalchemy.__version__}")
    if OLD and driver.startswith("sqlite") and "pool_size" in options:
        options["poolclass"] = AsyncAdaptedQueuePool if driver.rpartition("+")[2] in ASYNC else QueuePool
    made = App(driver, url, **options)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a fresh database for a driver."""

    def fresh(driver: str) -> str:
        if driver.startswith("sqlite"):
            return f"{driver}:///{tmp_path / 'leads.db'}"
        server: Server = request.getfixturevalue("postgresql" if driver.startswith("postgresql") else "mariadb")
        return server.fresh(driver)

    return fresh


def versioned(one: App, *heads: str) -> None:
    """Alembic's table, with these heads."""
    one.request("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    stamped(one, *heads)


def stamped(one: App, *heads: str) -> None:
    """Other heads in the table."""
    one.request("DELETE FROM alembic_version")
    for head in heads:
        one.request(f"INSERT INTO alembic_version VALUES ('{head}')")
    one.request()


def info(telemetry: Telemetry, zeros: bool = False) -> dict[tuple[Any, Any], float]:
    """(revision, state) → value."""
    return telemetry.by("schema.db.info", semconv.DB_REVISION, semconv.DB_STATE, zeros=zeros)


def soon(telemetry: Telemetry, one: App, expected: set[tuple[Any, Any]], seconds: float = 20) -> None:
    """The gauge says this after some requests."""
    end = time.monotonic() + seconds
    while set(info(telemetry)) != expected:
        assert time.monotonic() < end, info(telemetry)
        for database in databases(one):
            if database.failed:  # a busy machine was slow: not to wait for the long pause
                database.due = min(database.due, time.monotonic() + 0.05)
        one.request()


def databases(one: App) -> list[Any]:
    """What is known of an application's database."""
    watched = getattr(one.sync_engine.dialect, "_otel_schema_watched", None)
    return [watched.database] if watched is not None and watched.database is not None else []


@pytest.mark.parametrize("driver", DRIVERS)
def test_revision_and_state(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """Every driver's engine tells its revision and state, anew when a migration ran, and what ceased is 0."""
    with app(driver, url(driver)) as one:
        versioned(one, "b")
        soon(telemetry, one, {("b", "behind")})
        stamped(one, "c")
        soon(telemetry, one, {("c", "current")})
        assert info(telemetry, zeros=True)["b", "behind"] == 0
        stamped(one, "z")
        soon(telemetry, one, {("z", "ahead")})
        stamped(one, "b", "y")
        soon(telemetry, one, {("b,y", "diverged")})
        stamped(one)
        soon(telemetry, one, {("base", "behind")})
        one.request("DROP TABLE alembic_version")
        soon(telemetry, one, {(None, "unknown")})
        ((attributes, _),) = [each for each in telemetry.points("schema.db.info") if each[1] == 1]
        assert attributes[semconv.MIGRATION_TOOL] == "alembic"


@contextmanager
def locked(one: App, url: str) -> Iterator[None]:
    """Somebody else holds an exclusive lock on the version table."""
    if "sqlite" in url:
        other: Any = sqlite3.connect(url.partition(":///")[2], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()
        other.close()
        return
    sync = re.sub(r"\+(asyncpg|psycopg_async)", "+psycopg", url).replace("aiomysql", "pymysql")
    engine = sqlalchemy.create_engine(sync, poolclass=NullPool)
    with engine.begin() as connection:
        mode = "IN ACCESS EXCLUSIVE MODE" if "postgresql" in url else ""
        connection.execute(text(f"LOCK TABLE alembic_version {mode}" if mode else "LOCK TABLES alembic_version WRITE"))
        yield
        if not mode:
            connection.execute(text("UNLOCK TABLES"))


@pytest.mark.parametrize("driver", SERVERS)
def test_a_locked_version_table(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """No request waits until a lock on the version table is gone, and its connection stays in use."""
    at = url(driver)
    with app(driver, at) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        connected = connections(one)
        with locked(one, at):
            databases(one)[0].due = 0.0
            took = sorted(reading_request(one) for _ in range(5))
            assert set(info(telemetry)) == {(None, "unknown")}
            assert took[0] < BUSY, took  # every one would wait; on a busy machine some take longer
            assert connections(one) < connected + 6000
        soon(telemetry, one, {("c", "current")})


@pytest.mark.parametrize("driver", SERVERS)
def test_what_follows_a_read_has_no_limit_of_it(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """The application's next statement on the connection may take its time: no limit of the read is left there."""
    with app(driver, url(driver), pool_size=1, max_overflow=0) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        reading_request(one)
        one.request("SELECT pg_sleep(0.3)" if driver.startswith("postgresql") else "SELECT SLEEP(0.3)")


def reading_request(one: App) -> float:
    """A request at whose end the revision is read."""
    databases(one)[0].due = 0.0
    took = one.request()
    assert databases(one)[0].due
    return took


def connections(one: App) -> int:
    """How often the pool connected."""
    return one.sync_engine.pool.checkedin() + 1000 * len(_invalidated)


_invalidated: list[Any] = []


@pytest.fixture(autouse=True)
def invalidations() -> Iterator[None]:
    """Count connections that were thrown away."""

    def count(*_: Any) -> None:
        _invalidated.append(1)

    _invalidated.clear()
    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "invalidate", count)
    yield
    sqlalchemy.event.remove(sqlalchemy.pool.Pool, "invalidate", count)


@pytest.mark.parametrize("driver", ["sqlite+pysqlite", "sqlite+aiosqlite"])
def test_sqlite_writer(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """A writer that holds SQLite does not hold the read, and the busy time-out is as before."""
    at = url(driver)
    with app(driver, at) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        assert busy(one) == 5000
        returned = [pausing(one) for _ in range(5)]
        with locked(one, at):
            took = [reading_return(one, each) for each in returned]
        assert min(took) < BUSY, took  # every one would wait; on a busy machine some take longer
        assert set(info(telemetry)) == {(None, "unknown")}
        assert busy(one) == 5000
        soon(telemetry, one, {("c", "current")})


def reading_return(one: App, returned: Callable[[], float]) -> float:
    """Give a connection back, at which the revision is read."""
    databases(one)[0].due = 0.0
    return returned()


def pausing(one: App) -> Callable[[], float]:
    """Take a connection. The function that this returns gives it back, and returns how long that took in s."""
    if not one.is_async:
        connection = one.engine.connect()

        def close() -> float:
            before = time.perf_counter()
            connection.close()
            return time.perf_counter() - before

        return close
    opened = one.run(one.engine.connect().__aenter__())

    def close_async() -> float:
        before = time.perf_counter()
        one.run(opened.close())
        return time.perf_counter() - before

    return close_async


def busy(one: App) -> int:
    """The busy time-out of the connection in the pool, in ms."""
    held: list[int] = []

    async def ask() -> None:
        async with one.engine.connect() as connection:
            held.append((await connection.execute(text("PRAGMA busy_timeout"))).scalar_one())

    if one.is_async:
        one.run(ask())
    else:
        with one.engine.connect() as connection:
            held.append(connection.execute(text("PRAGMA busy_timeout")).scalar_one())
    return held[0]


class Proxy:
    """A TCP proxy to a server that can stop to forward what the server says, or forward a byte at a time."""

    def __init__(self, port: int) -> None:
        self.hangs, self.drips = threading.Event(), threading.Event()
        self._server, self._listener = port, socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each byte at once
            self._sockets += [client, server]
            for source, sink, waits in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink, waits))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, waits: bool) -> None:
        try:
            while data := source.recv(65536):
                while waits and self.hangs.is_set():
                    time.sleep(0.005)
                while waits and self.drips.is_set() and data:
                    sink.sendall(data[:1])
                    data = data[1:]
                    time.sleep(0.01)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self.hangs.clear()
        self.drips.clear()
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize(
    ("driver", "fault"),
    [(each, "hangs") for each in SERVERS]
    + [pytest.param(each, "drips", marks=[] if "pymysql" in each else pytest.mark.nightly) for each in SERVERS],
)
def test_a_server_that_hangs(telemetry: Telemetry, request: pytest.FixtureRequest, driver: str, fault: str) -> None:
    """A server that stops or drips holds a returned connection for less than 50 ms; the next request has a new one."""
    server: Server = request.getfixturevalue("postgresql" if driver.startswith("postgresql") else "mariadb")
    proxy = Proxy(server.port)
    try:
        at = server.fresh(driver).replace(f":{server.port}/", f":{proxy.port}/")
        with app(driver, at) as one:
            versioned(one, "c")
            soon(telemetry, one, {("c", "current")})
            real = DRIVERS_OF[driver]
            original = real.read or real.read_async

            def hang(*arguments: Any) -> Any:
                getattr(proxy, fault).set()  # after the rollback, before the read
                return original(*arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(real, "read" if real.read else "read_async", hang)
                _invalidated.clear()
                returned = pausing(one)
                databases(one)[0].due = 0.0
                took = returned()
            getattr(proxy, fault).clear()
            assert took < BUSY  # the nightly requests side by side say how much of it is the read's
            assert len(_invalidated) == 1
            assert set(info(telemetry)) == {(None, "unknown")}
            one.request()
            soon(telemetry, one, {("c", "current")})
    finally:
        proxy.close()


def test_psycopg2_is_as_it_was(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """A read that goes past psycopg2 leaves its modes, its state and a pending notification, in autocommit too."""
    psycopg2 = pytest.importorskip("psycopg2")
    options = {"client_encoding": "LATIN1", "isolation_level": "AUTOCOMMIT", "pool_size": 1, "max_overflow": 0}
    with app("postgresql+psycopg2", url("postgresql+psycopg2"), **options) as one:
        versioned(one, "c")
        stamped(one, "\xe9")
        soon(telemetry, one, {("\ufffd", "ahead")})  # read, if not decoded
        stamped(one, "c")
        with one.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            connection.execute(text("LISTEN n"))
            connection.execute(text("NOTIFY n, 'x'"))
            raw.notifies.clear()
            connection.execute(text("NOTIFY n, 'y'"))
            before = raw.status, raw.autocommit, raw.get_transaction_status(), raw.encoding
            libpq = _psycopg2.library(psycopg2)
            assert libpq is not None
            waits = libpq.PQisnonblocking(raw.pgconn_ptr)
            databases(one)[0].due = 0.0
        assert databases(one)[0].due
        assert (raw.status, raw.autocommit, raw.get_transaction_status(), raw.encoding) == before
        assert libpq.PQisnonblocking(raw.pgconn_ptr) == waits == 0
        raw.poll()
        assert [each.payload for each in raw.notifies] == ["y"]
        soon(telemetry, one, {("c", "current")})


def test_psycopg2_that_is_closed_meanwhile(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """A connection that is closed while it is read is thrown away, and nothing of it is touched afterwards."""
    pytest.importorskip("psycopg2")
    with app("postgresql+psycopg2", url("postgresql+psycopg2")) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        for moment in ("send_query", "flush", "is_busy", "consume_input", "get_result"):
            original = getattr(_psycopg2.Connection, moment)

            def closed(self: Any, *arguments: Any, original: Any = original) -> Any:
                self._connection.close()
                return original(self, *arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_psycopg2.Connection, moment, closed)
                _invalidated.clear()
                reading_request(one)
            assert len(_invalidated) == 1
            assert set(info(telemetry)) == {(None, "unknown")}
            soon(telemetry, one, {("c", "current")})


@pytest.mark.parametrize("without", ["pgconn_ptr", "libpq", "the same libpq"])
def test_psycopg2_without_a_limit_is_not_read(without: str) -> None:
    """Where psycopg2's own libpq is not surely reached no connection is read: too old, linked in, or another one's."""
    psycopg2 = pytest.importorskip("psycopg2")

    class Extensions:
        connection = object if without == "pgconn_ptr" else psycopg2.extensions.connection
        libpq_version = staticmethod(lambda: psycopg2.extensions.libpq_version() + (without == "the same libpq"))

    class Module:
        __file__ = select.__file__ if without == "libpq" else psycopg2._psycopg.__file__  # any library

    class Dialect:
        driver, is_async = "psycopg2", False
        dbapi: Any = type("dbapi", (), {"extensions": Extensions, "_psycopg": Module})

    assert _drivers.driver_of(Dialect) is None
    Dialect.dbapi = psycopg2
    assert _drivers.driver_of(Dialect) is _drivers.DRIVERS["psycopg2"]


@pytest.mark.parametrize(
    "url", ["mysql+mysqldb://", "mysql+mysqlconnector://", "mysql+asyncmy://", "postgresql+pg8000://"]
)
def test_a_driver_whose_waiting_has_no_limit_is_not_read(url: str) -> None:
    """No connection is read through a driver that we do not know to wait for a limited time."""
    assert _drivers.driver_of(sqlalchemy.engine.make_url(url).get_dialect()) is None


class Enough(Exception):
    """What a signal handler of the application raises."""


@pytest.mark.parametrize("driver", [each for each in SERVERS if each.rpartition("+")[2] not in ASYNC])
def test_a_signal_while_it_reads(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """What a signal handler raises during the read reaches the application, and the pool has its place back."""
    at = url(driver)
    with app(driver, at, pool_size=1, max_overflow=0) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        real = DRIVERS_OF[driver]
        original = real.read

        def interrupted(*arguments: Any) -> Any:
            signal.setitimer(signal.ITIMER_REAL, 0.005)  # it waits for a lock for 20 ms
            return original(*arguments)  # type: ignore[misc]

        def enough(*_: Any) -> None:
            raise Enough

        before = signal.signal(signal.SIGALRM, enough)
        try:
            with locked(one, at), pytest.MonkeyPatch.context() as patch:
                patch.setattr(real, "read", interrupted)
                with pytest.raises(Enough):
                    time.sleep(20 + reading_request(one))
        finally:
            signal.signal(signal.SIGALRM, before)
        assert one.request() < 30  # not the time-out of a pool without a place


DRIVERS_OF = {f"{name}": _drivers.DRIVERS[name.rpartition("+")[2]] for name in DRIVERS}


@pytest.mark.parametrize("driver", DRIVERS)
def test_never_inside_a_transaction(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """Where the pool does not roll back, a connection returns inside a transaction: it is not read, nor rolled back."""
    with app(driver, url(driver), pool_reset_on_return=None, pool_size=1, max_overflow=0) as one:
        versioned(one, "c")
        one.request("CREATE TABLE t (x INTEGER)")
        soon(telemetry, one, {("c", "current")})
        databases(one)[0].due = 0.0
        leave_open(one)
        assert not databases(one)[0].due
        assert count(one) == 1


@pytest.mark.parametrize("driver", [each for each in SERVERS if each.startswith("postgresql")])
def test_an_aborted_transaction(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """A transaction that failed is not read where the pool leaves it as it is; where the pool ends it, it is."""
    at = url(driver)
    for reset in (None, "rollback"):
        with app(driver, at, pool_reset_on_return=reset, pool_size=1, max_overflow=0) as one:
            one.request("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32))")
            soon(telemetry, one, {("base", "behind")})
            databases(one)[0].due = 0.0
            leave_open(one, "SELECT nothing FROM nowhere")
            assert bool(databases(one)[0].due) == (reset is not None)
            assert not databases(one)[0].failed or reset


def leave_open(one: App, sql: str = "INSERT INTO t VALUES (1)") -> None:
    """A statement in a transaction that nobody ends, on the one connection of the pool."""

    def insert(connection: sqlalchemy.Connection) -> None:
        assert connection.connection.dbapi_connection is not None
        cursor = connection.connection.dbapi_connection.cursor()
        with suppress(Exception):
            cursor.execute(sql)
        cursor.close()

    async def work() -> None:
        async with one.engine.connect() as connection:
            await connection.run_sync(insert)

    if one.is_async:
        one.run(work())
    else:
        with one.engine.connect() as connection:
            insert(connection)


def count(one: App) -> int:
    """Rows of t, as the pool's connection sees them."""
    found: list[int] = []

    async def ask() -> None:
        async with one.engine.connect() as connection:
            found.append((await connection.execute(text("SELECT count(*) FROM t"))).scalar_one())

    if one.is_async:
        one.run(ask())
    else:
        with one.engine.connect() as connection:
            found.append(connection.execute(text("SELECT count(*) FROM t")).scalar_one())
    return found[0]


def test_rows_that_wait_are_not_fetched(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """A connection with rows that the application left unfetched is not read: the driver would fetch them all first."""
    at = url("mysql+pymysql")
    options = {"pool_reset_on_return": None, "isolation_level": "AUTOCOMMIT", "pool_size": 1, "max_overflow": 0}
    with app("mysql+pymysql", at, **options) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        with one.engine.connect() as connection:
            cursor = connection.connection.dbapi_connection.cursor(one.engine.dialect.dbapi.cursors.SSCursor)
            cursor.execute("SELECT seq FROM seq_1_to_100000")
            databases(one)[0].due = 0.0
        assert databases(one)[0].due == 0.0
        assert cursor.fetchone() == (1,)
        cursor.close()
        soon(telemetry, one, {("c", "current")})


def test_a_shared_connection_is_not_read(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """The one connection of a StaticPool is never read: somebody else may be using it when it returns."""
    with app("sqlite+pysqlite", url("sqlite+pysqlite"), poolclass=StaticPool) as one:
        versioned(one, "c")
        one.request()
        assert databases(one) == []


def test_a_collected_connection_is_not_read(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """A connection that the garbage collector returns is not read: any code may be running below."""
    with app("sqlite+pysqlite", url("sqlite+pysqlite")) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        database = databases(one)[0]
        connection = one.engine.connect()
        connection.execute(text("SELECT 1"))
        database.due = 0.0
        del connection
        gc.collect()
        assert database.due == 0.0
        one.request()
        assert database.due > 0


def test_an_invalidated_connection_is_not_read(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """A connection that the application invalidated is not read."""
    with app("sqlite+pysqlite", url("sqlite+pysqlite")) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})
        database = databases(one)[0]
        with one.engine.connect() as connection:
            database.due = 0.0
            connection.invalidate()
        assert database.due == 0.0


def test_slow_backs_off_tenfold(
    telemetry: Telemetry, url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that took longer than 20 ms is unknown, and the next comes ten intervals later."""
    monkeypatch.setattr(revisions, "SLOW", 0.0)
    with app("sqlite+pysqlite", url("sqlite+pysqlite")) as one:
        versioned(one, "c")
        database = databases(one)[0]
        database.due = 0.0
        telemetry.instrumentor._recorder.revisions.interval = 100.0  # type: ignore[attr-defined]
        before = time.monotonic()
        one.request()
        assert 999 < database.due - before < 1010
        assert set(info(telemetry)) == {(None, "unknown")}


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg_async", "mysql+aiomysql"])
def test_cancelled_while_it_reads(telemetry: Telemetry, url: Callable[[str], str], driver: str) -> None:
    """A task that is cancelled during the read is cancelled at its next await, and the pool has its place back."""
    at = url(driver)
    with app(driver, at, pool_size=1, max_overflow=0) as one:
        versioned(one, "c")
        soon(telemetry, one, {("c", "current")})

        async def scenario() -> tuple[bool, bool]:
            reached = False
            connection = await one.engine.connect()
            await connection.execute(text("SELECT 1"))
            databases(one)[0].due = 0.0

            async def work() -> None:
                nonlocal reached
                from sqlalchemy.util import greenlet_spawn

                await greenlet_spawn(connection.sync_connection.close)
                reached = True
                await asyncio.sleep(0)

            task = asyncio.create_task(work())
            while databases(one)[0].due == 0.0:
                await asyncio.sleep(0)
            task.cancel("enough")
            try:
                await task
            except asyncio.CancelledError:
                return True, reached
            return False, reached

        with locked(one, at):
            assert one.run(scenario()) == (True, True)
        assert one.request() < 30  # not the time-out of a pool without a place


def test_pgbouncer(telemetry: Telemetry, postgresql: Server) -> None:
    """Behind PgBouncer in transaction mode each driver reads, and leave no setting on a server that others get."""
    binary = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if binary is None:
        missing("no pgbouncer on this machine (apt-get install pgbouncer)")
        return
    base = postgresql.fresh()
    name, port = base.rpartition("/")[2], free_port()
    folder = postgresql.folder
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host=127.0.0.1 port={postgresql.port} user=leads pool_size=1\n[pgbouncer]\n"
        f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=any\npool_mode=transaction\nunix_socket_dir=\n"
        f"logfile={folder / 'pgbouncer.log'}\n"
    )
    command = [binary, str(folder / "pgbouncer.ini")]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *command]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.02)
            options: dict[str, dict[str, Any]] = {
                "postgresql+psycopg": {"connect_args": {"prepare_threshold": None}},
                "postgresql+psycopg2": {},
                "postgresql+asyncpg": {"connect_args": {"statement_cache_size": 0, "prepared_statement_cache_size": 0}},
            }
            for at, more in ((at, more) for at, more in options.items() if at in DRIVERS):
                with app(at, f"{at}://leads@127.0.0.1:{port}/{name}", **more) as one:
                    one.request("DROP TABLE IF EXISTS alembic_version")
                    versioned(one, "b")
                    soon(telemetry, one, {("b", "behind")})
                    idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
                    assert postgresql.run(name, idle) == "0"
            with (
                app("postgresql+psycopg", f"postgresql+psycopg://leads@127.0.0.1:{port}/{name}") as one,
                one.engine.connect() as connection,
            ):
                assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "0"
        finally:
            process.terminate()


def test_a_dialect_travels_without_it(telemetry: Telemetry, url: Callable[[str], str]) -> None:
    """What is on a dialect is neither copied nor pickled with it, and is gone when the instrumentation is."""
    with app("sqlite+pysqlite", url("sqlite+pysqlite")) as one:
        one.request()
        watched = one.engine.dialect._otel_schema_watched
        assert pickle.loads(pickle.dumps(watched)) is None
        telemetry.off()
        assert not hasattr(one.engine.dialect, "_otel_schema_watched")
        one.request()
        assert not hasattr(one.engine.dialect, "_otel_schema_watched")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """A project in the working directory: Alembic's in the schema `app`, DBMate's in a table of its own."""
    versions = tmp_path / "project/alembic/versions"
    versions.mkdir(parents=True)
    (versions / "a.py").write_text("revision = 'a'\ndown_revision = None\n")
    (versions.parent / "env.py").write_text("context.configure(version_table_schema='app')\n")
    (tmp_path / "project/alembic.ini").write_text("[alembic]\nscript_location = alembic\n")
    (tmp_path / "project/db/migrations").mkdir(parents=True)
    (tmp_path / "project/db/migrations/1_x.sql").touch()
    (tmp_path / "project/.env").write_text("DBMATE_MIGRATIONS_TABLE=ran\n")
    monkeypatch.chdir(tmp_path / "project")
    made = Telemetry(revision_interval=INTERVAL)
    yield made
    made.off()


def test_tables_of_ones_own(elsewhere: Telemetry, postgresql: Server) -> None:
    """Tables that the tools' settings name are read in their schema; a stranger's in the usual place is not."""
    at = postgresql.fresh()
    name = at.rpartition("/")[2]
    postgresql.run(
        name,
        "CREATE SCHEMA app; CREATE TABLE app.alembic_version (version_num VARCHAR(32)); "
        "INSERT INTO app.alembic_version VALUES ('a'); CREATE TABLE alembic_version (version_num VARCHAR(32)); "
        "INSERT INTO alembic_version VALUES ('stranger'); CREATE TABLE ran (version VARCHAR(128)); "
        "CREATE TABLE schema_migrations (version BIGINT, dirty BOOLEAN); INSERT INTO schema_migrations VALUES (7)",
    )
    keys = (semconv.MIGRATION_TOOL, semconv.DB_NAMESPACE, semconv.DB_REVISION, semconv.DB_STATE)
    with app("postgresql+psycopg", at) as one:
        soon(elsewhere, one, {("a", "current"), ("base", "behind")})
        assert set(elsewhere.by("schema.db.info", *keys)) == {
            ("alembic", f"{name}|app", "a", "current"),
            ("dbmate", name, "base", "behind"),
        }
        pending = elsewhere.by("schema.migration.pending", semconv.MIGRATION_TOOL, zeros=True)
        assert pending == {"alembic": 0, "dbmate": 1}


def test_what_may_not_be_read(telemetry: Telemetry, postgresql: Server, migrations: Path) -> None:
    """Without the privilege the state is unknown, on a read-only server it is known, and a namesake has no series."""
    at = postgresql.fresh()
    name = at.rpartition("/")[2]
    postgresql.run(
        name, "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('c')"
    )
    postgresql.run(name, "CREATE ROLE watcher LOGIN")
    try:
        with app("postgresql+psycopg", at.replace("leads@", "watcher@")) as one:
            soon(telemetry, one, {(None, "unknown")})
            telemetry.off()
            telemetry.on(revision_interval=INTERVAL, migrations=str(migrations))
        options = {"connect_args": {"options": "-c default_transaction_read_only=on"}}
        with app("postgresql+psycopg", at, **options) as one:
            soon(telemetry, one, {("c", "current")})
    finally:
        postgresql.run(name, "DROP ROLE watcher")
    postgresql.run(name, "DROP TABLE alembic_version; CREATE TABLE alembic_version (version_num INTEGER)")
    with app("postgresql+psycopg", at) as one:
        for _ in range(3):
            one.request()
        assert databases(one)[0].asked
        assert databases(one)[0].readings == ()


@pytest.fixture(scope="module")
def standby(postgresql: Server) -> Iterator[int]:
    """The port of a server that follows the other one."""
    with postgresql_standby(postgresql) as port:
        yield port


@pytest.mark.nightly
@pytest.mark.parametrize("driver", [each for each in SERVERS if each.startswith("postgresql")])
def test_on_a_hot_standby(telemetry: Telemetry, postgresql: Server, standby: int, driver: str) -> None:
    """On a replica that only reads the revision is known, and the next one when that has followed."""
    at = postgresql.fresh(driver)
    name = at.rpartition("/")[2]
    table = "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('b')"
    postgresql.run(name, table)
    end = time.monotonic() + 60
    behind = f"SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= '{postgresql.run('', WRITTEN)}'"
    while postgresql.run("", behind) != "1":
        assert time.monotonic() < end
    with app(driver, at.replace(f":{postgresql.port}/", f":{standby}/")) as one:
        soon(telemetry, one, {("b", "behind")})
        postgresql.run(name, "UPDATE alembic_version SET version_num = 'c'")
        soon(telemetry, one, {("c", "current")})


WRITTEN = "SELECT pg_current_wal_lsn()"


def test_engines_that_are_gone(telemetry: Telemetry, url: Callable[[str], str], postgresql: Server) -> None:
    """Each engine has its series, and that of an engine that is gone is 0."""
    with (
        app("postgresql+psycopg", postgresql.fresh()) as first,
        app("sqlite+pysqlite", url("sqlite+pysqlite")) as second,
    ):
        versioned(first, "b")
        versioned(second, "c")
        soon(telemetry, first, {("b", "behind"), ("c", "current")})
    for one in (first, second):
        del one.engine, one.sync_engine
    gc.collect()
    assert info(telemetry) == {}
    assert info(telemetry, zeros=True).keys() >= {("b", "behind"), ("c", "current")}
