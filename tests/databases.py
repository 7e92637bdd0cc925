"""Real database servers for tests, one of each kind in a test process, started when a test first asks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

PSYCOPG = "psycopg" if find_spec("psycopg") else "psycopg2"  # SQLAlchemy 1.4 knows the second alone
START = 60.0  # s that a server may take to start on a busy machine


class Server:
    """A running server.

    Attributes:
        host: Where it listens.
        port: Its port.
        user: Who may do everything.
        folder: Its socket, data and log.
        run: Runs one statement of SQL with the server's own client, in a database, and returns what it printed.
    """

    def __init__(self, port: int, user: str, folder: Path, run: Callable[[str, str], str], driver: str) -> None:
        self.host, self.port, self.user, self.folder = "127.0.0.1", port, user, folder
        self.run, self._driver = run, driver
        self._names = count(1)

    def fresh(self, driver: str | None = None) -> str:
        """Create an empty database and return its URL for SQLAlchemy, with a driver such as `postgresql+asyncpg`."""
        name = f"t{os.getpid()}_{next(self._names)}"
        self.run("", f"CREATE DATABASE {name}")
        return self.url(name, driver)

    def url(self, database: str, driver: str | None = None) -> str:
        """The URL of a database of this server."""
        return f"{driver or self._driver}://{self.user}@{self.host}:{self.port}/{database}"


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def missing(what: str) -> None:
    """Skip a test whose server is not on this machine; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def _folder(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A short path, since a socket's may have 107 characters, and how to run as a user that is not root."""
    with tempfile.TemporaryDirectory(prefix="db", ignore_cleanup_errors=True) as name:
        folder, as_server = Path(name), list[str]()
        if os.getuid() == 0:
            as_server = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
            shutil.chown(folder, user, user)
        yield folder, as_server


@contextmanager
def postgresql_server(*options: str) -> Iterator[Server]:
    """A PostgreSQL of its own; options such as `-c lock_timeout=1s`."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        missing("no PostgreSQL on this machine (apt-get install postgresql)")
        raise AssertionError
    with _folder("postgres") as (folder, as_server):
        programs, port, data = Path(found).parent, free_port(), folder / "data"
        quiet = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
        subprocess.run([*as_server, programs / "initdb", "-D", data, "-U", "leads", "-A", "trust", "-N"], **quiet)
        ctl = [*as_server, programs / "pg_ctl", "-D", data, "-w", "-t", str(int(START)), "-l", folder / "log"]
        with (folder / "data/postgresql.auto.conf").open("a") as settings:
            settings.write(
                f"listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{folder}'\nfsync=off\n"
            )
        subprocess.run([*ctl, "-o", " ".join(options), "start"], **quiet)

        def run(database: str, sql: str) -> str:
            base = [
                programs / "psql",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "leads",
                "-XqtA",
                "-v",
                "ON_ERROR_STOP=1",
            ]
            command = [*base, "-d", database or "postgres", "-c", sql]
            return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout.strip()

        try:
            yield Server(port, "leads", folder, run, f"postgresql+{PSYCOPG}")
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=False, cwd=folder, stdout=subprocess.DEVNULL)


@contextmanager
def postgresql_standby(primary: Server) -> Iterator[int]:
    """The port of a hot standby of a PostgreSQL server: a copy that follows it, and only reads."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[-2]))
    if not programs:
        missing("no PostgreSQL on this machine (apt-get install postgresql)")
    with _folder("postgres") as (folder, as_server):
        quiet = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
        copy = ["pg_basebackup", "-h", primary.host, "-p", str(primary.port), "-U", primary.user, "-R", "-c", "fast"]
        data, port = folder / "data", free_port()
        subprocess.run([*as_server, programs[-1] / copy[0], *copy[1:], "-D", data], **quiet)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"port={port}\nunix_socket_directories='{folder}'\n")
        ctl = [*as_server, programs[-1] / "pg_ctl", "-D", data, "-w", "-t", str(int(START)), "-l", folder / "log"]
        subprocess.run([*ctl, "start"], **quiet)
        try:
            yield port
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=False, cwd=folder, stdout=subprocess.DEVNULL)


@contextmanager
def mariadb_server(*options: str) -> Iterator[Server]:
    """A MariaDB of its own; options such as `--lock-wait-timeout=1`."""
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd") or shutil.which("/usr/sbin/mariadbd")
    if install is None or daemon is None:
        missing("no MariaDB on this machine (apt-get install mariadb-server)")
        raise AssertionError
    with _folder("mysql") as (folder, as_server):
        port, at = free_port(), folder / "socket"
        base = ["--no-defaults", f"--datadir={folder / 'data'}"]
        subprocess.run(
            [*as_server, install, *base, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [
                    *as_server,
                    daemon,
                    *base,
                    f"--port={port}",
                    f"--socket={at}",
                    f"--pid-file={folder / 'pid'}",
                    f"--tmpdir={folder}",  # in a shared one, a server that starts deletes the other servers' tables
                    "--bind-address=127.0.0.1",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=32M",
                    "--character-set-server=utf8mb4",
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )

        def run(database: str, sql: str) -> str:
            command = ["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{port}", "-uroot", "-NBe", sql]
            command += [database] if database else []
            return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()

        try:
            end = time.monotonic() + START
            while True:
                try:
                    run("", "SELECT 1")
                    break
                except subprocess.CalledProcessError:
                    if server.poll() is not None or time.monotonic() > end:
                        raise AssertionError((folder / "log").read_text()[-2000:]) from None
                    time.sleep(0.1)
            yield Server(port, "root", folder, run, "mysql+pymysql")
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB server."""
    with mariadb_server() as server:
        yield server
