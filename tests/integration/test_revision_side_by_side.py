"""Requests of a small web application while a database has a fault: with the watch of the revision, and without."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.databases import Server, free_port
from tests.integration.test_revision_watch import DRIVERS, SERVERS

LIMIT = 0.05
"""Seconds by which no request may become longer."""

ROUNDS = 9
"""With a hang."""
REQUESTS = 3
"""Of each application in a round with a lock: a few, so that one of the `LOCK_ROUNDS` is quiet on a busy machine."""

LOCK_ROUNDS = 24

PAUSE = 0.3
"""Seconds that a server hangs, or a writer holds SQLite."""

APP = """
import json
import os
import sqlalchemy as sa
from fastapi import FastAPI
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy.ext.asyncio import create_async_engine

SchemaInstrumentor().instrument(meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
app = FastAPI()
engines = {}


@app.get("/reads/{driver}")
async def reads(driver):
    "When the next read is due; None where nothing is read."
    engine = engines[driver]
    watched = getattr(getattr(engine, "sync_engine", engine).dialect, "_otel_schema_watched", None)
    return watched and watched.database and watched.database.due


def serve(driver, url):
    if driver.rpartition("+")[2] in ("aiosqlite", "psycopg_async", "asyncpg", "aiomysql"):
        engine = engines[driver] = create_async_engine(url)

        @app.get(f"/work/{driver}")
        async def work_async():
            async with engine.connect() as connection:
                return (await connection.execute(sa.text("SELECT count(*) FROM leads"))).scalar_one()
    else:
        engine = engines[driver] = sa.create_engine(url)

        @app.get(f"/work/{driver}")
        def work():
            with engine.connect() as connection:
                return connection.execute(sa.text("SELECT count(*) FROM leads")).scalar_one()


for driver, url in json.loads(os.environ["URLS"]).items():
    serve(driver, url)
"""


class App:
    """A served application."""

    def __init__(self, folder: Path, urls: dict[str, str], interval: str) -> None:
        self.port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "URLS": json.dumps(urls),
            "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": interval,
        }
        command = [sys.executable, "-m", "uvicorn", "side:app", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, cwd=folder, env=environment)

    def get(self, path: str) -> object:
        """Its answer. Raises OSError while it does not listen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return json.loads(body)
        finally:
            connection.close()

    def work(self, driver: str) -> float:
        """Seconds that a request took."""
        began = time.perf_counter()
        assert self.get(f"/work/{driver}") == 0
        return time.perf_counter() - began


class Pair:
    """The application with the watch and without, and the databases of both."""

    def __init__(self, on: App, off: App, urls: dict[str, str], servers: dict[str, Server]) -> None:
        self.on, self.off, self.urls, self.servers = on, off, urls, servers

    def in_turn(self, driver: str) -> tuple[float, float]:
        """The longest request with the watch and without, of some that alternate."""
        took: tuple[list[float], list[float]] = [], []
        for _ in range(REQUESTS):
            for app, times in zip((self.on, self.off), took, strict=True):
                times.append(app.work(driver))
            time.sleep(0.012)  # until the next read is due, also after one that failed
        return max(took[0]), max(took[1])

    def beside(self, driver: str, fault: Callable[[], None]) -> tuple[float, float]:
        """The longest request of each that ran while the fault did, and they at once."""
        over, longest = threading.Event(), {self.on: 0.0, self.off: 0.0}

        def ask(app: App) -> None:
            while not over.is_set():
                longest[app] = max(longest[app], app.work(driver))

        threads = [threading.Thread(target=ask, args=(app,)) for app in longest]
        for each in threads:
            each.start()
        time.sleep(0.05)
        try:
            fault()
        finally:
            over.set()
            for each in threads:
                each.join()
        return longest[self.on], longest[self.off]


@pytest.fixture(scope="module")
def pair(postgresql: Server, mariadb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both applications, each driver with a database of its own that has a version table."""
    folder = tmp_path_factory.mktemp("side")
    (folder / "side.py").write_text(APP)
    servers = {"postgresql": postgresql, "mysql": mariadb}
    urls = {each: f"{each}:///{folder / each.rpartition('+')[2]}.db" for each in DRIVERS}
    urls |= {each: servers[each.partition("+")[0]].fresh(each) for each in SERVERS}
    for driver, url in urls.items():
        with connected(url) as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE leads (x INTEGER)"))
            connection.execute(sqlalchemy.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
            connection.execute(sqlalchemy.text("INSERT INTO alembic_version VALUES ('a')"))
        assert driver
    with ExitStack() as ended:
        apps = [App(folder, urls, interval) for interval in ("0.001", "0")]
        for app in apps:
            ended.callback(app.process.wait)
            ended.callback(app.process.terminate)
        for app in apps:
            ready(app)
        yield Pair(*apps, urls, servers)


def ready(app: App) -> None:
    """Return when it answers for each driver, twice: the first request connects."""
    end = time.monotonic() + 120
    while True:
        try:
            for driver in 2 * DRIVERS:
                app.work(driver)
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.2)


@contextmanager
def connected(url: str) -> Iterator[sqlalchemy.Connection]:
    """A connection of one's own in a transaction, with a driver that does not need a loop."""
    for driver, sync in (("aiosqlite", "pysqlite"), ("asyncpg|psycopg_async", "psycopg"), ("aiomysql", "pymysql")):
        url = re.sub(rf"\+({driver}):", f"+{sync}:", url)
    with sqlalchemy.create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


@contextmanager
def locked(url: str, mode: str) -> Iterator[None]:
    """Somebody else holds the version table."""
    with connected(url) as connection:
        mysql = url.startswith("mysql")
        sql = "LOCK TABLES alembic_version WRITE" if mysql else f"LOCK TABLE alembic_version IN {mode}"
        connection.execute(sqlalchemy.text(sql))
        yield
        if mysql:
            connection.execute(sqlalchemy.text("UNLOCK TABLES"))


def judged(fault: str, driver: str, found: list[tuple[float, float]], usual: bool = False) -> None:
    """Print the longest requests, and compare the difference of the quietest or the usual rounds with the limit."""
    times = list(zip(*found, strict=True))  # on a busy machine either application has a round that is long
    on, off = (min(each) * 1e3 for each in times)
    usual_on, usual_off = (statistics.median(each) * 1e3 for each in times)
    print(f"{fault}, {driver}: longest request of a round, the shortest and the median of the rounds: ", end="")
    print(f"{on:.1f} and {usual_on:.1f} ms with the watch, {off:.1f} and {usual_off:.1f} ms without")
    assert (usual_on - usual_off if usual else on - off) < LIMIT * 1e3, found


def is_read(pair: Pair, driver: str, during: Callable[[], list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Measures, and sees that one application read meanwhile and the other did not."""
    before = pair.on.get(f"/reads/{driver}")
    found = during()
    assert pair.on.get(f"/reads/{driver}") != before is not None
    assert pair.off.get(f"/reads/{driver}") is None
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize("mode", ["EXCLUSIVE MODE", "ACCESS EXCLUSIVE MODE"])  # of PostgreSQL; MariaDB has one
def test_a_lock_beside(pair: Pair, driver: str, mode: str) -> None:
    """While the version table is locked the longest request is at most 50 ms longer with the watch."""
    with locked(pair.urls[driver], mode):
        judged(mode.lower(), driver, is_read(pair, driver, lambda: [pair.in_turn(driver) for _ in range(LOCK_ROUNDS)]))


@pytest.mark.nightly
@pytest.mark.parametrize("driver", SERVERS)
def test_a_hang_beside(pair: Pair, driver: str) -> None:
    """While the server's processes are stopped the longest request is at most 50 ms longer with the watch."""
    server = pair.servers[driver.partition("+")[0]]

    def stopped() -> None:
        processes = processes_of(server)
        try:
            for each in processes:
                each.send_signal(signal.SIGSTOP)
            time.sleep(PAUSE)
        finally:
            for each in processes:
                each.send_signal(signal.SIGCONT)

    rounds = is_read(pair, driver, lambda: [pair.beside(driver, stopped) for _ in range(ROUNDS)])
    judged("server stopped", driver, rounds, usual=True)
    assert statistics.median(off for _, off in rounds) > PAUSE / 2  # it did hang


def processes_of(server: Server) -> list[psutil.Process]:
    """A server's processes, the first before those it started."""
    (file,) = [path for name in ("data/postmaster.pid", "pid") if (path := server.folder / name).exists()]
    first = psutil.Process(int(file.read_text().split()[0]))
    return [first, *first.children(recursive=True)]


@pytest.mark.nightly
@pytest.mark.parametrize("driver", [each for each in DRIVERS if each not in SERVERS])
def test_a_writer_beside(pair: Pair, driver: str) -> None:
    """While a writer holds SQLite exclusively the longest request is at most 50 ms longer with the watch."""

    def writer() -> None:
        other = sqlite3.connect(pair.urls[driver].partition(":///")[2], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(PAUSE)
        other.execute("ROLLBACK")
        other.close()

    rounds = is_read(pair, driver, lambda: [pair.beside(driver, writer) for _ in range(ROUNDS)])
    judged("exclusive writer", driver, rounds, usual=True)
