"""The database that is migrated: opened from a URL, named without its password, read on fresh connections."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from .._prometheus.text import cleaned
from .errors import MigrationError, UnknownError

CONNECT_TIMEOUT: Final = 10  # s
READ_TIMEOUT: Final = 30  # s that one of our own reads may take
APPLICATION: Final = "otel-schema"

_DRIVERS: Final = {
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2"), ("pg8000", "pg8000")),
    "mysql": (("pymysql", "pymysql"), ("mysqldb", "MySQLdb"), ("mysqlconnector", "mysql.connector")),
    "sqlite": (("pysqlite", "sqlite3"),),
}
_PIP: Final = {"postgresql": 'pip install "psycopg[binary]"', "mysql": "pip install pymysql", "sqlite": ""}
_DIALECTS: Final = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
}


@dataclass(frozen=True)
class Database:
    """A database.

    Attributes:
        url: With a driver that needs no event loop; holds the password.
        dialect: `postgresql`, `mysql` (MariaDB too) or `sqlite`.
    """

    url: URL
    dialect: str

    @property
    def name(self) -> str:
        """The database's name; of SQLite the name of its file."""
        name = self.url.database or ""
        return Path(name).name if self.dialect == "sqlite" else name

    @property
    def file(self) -> Path:
        """SQLite's file."""
        return Path(self.url.database or "")

    @property
    def identity(self) -> str:
        """Which database it is, without user and password: the same for everyone who reaches it by the same address."""
        if self.dialect == "sqlite":
            return f"sqlite:{self.file}"
        query = self.url.query
        socket = query.get("unix_socket")
        if socket:
            return f"{self.dialect}://{_joined(socket)}/{self.name}"
        host = _joined(query.get("host") or self.url.host or "localhost")
        port = _joined(query.get("port") or str(self.url.port or {"postgresql": 5432, "mysql": 3306}[self.dialect]))
        return f"{self.dialect}://{f'[{host}]' if ':' in host else host}:{port}/{self.name}"

    def __str__(self) -> str:
        return self.identity

    def __repr__(self) -> str:  # the URL holds a password
        return f"Database({self.identity})"

    def engine(self) -> Engine:
        """An engine that keeps no connection; each statement is a transaction of its own."""
        arguments: dict[str, Any] = {}
        if self.dialect == "postgresql" and self.url.get_driver_name() in ("psycopg", "psycopg2"):
            options = f"-c statement_timeout={READ_TIMEOUT * 1000} -c lock_timeout={CONNECT_TIMEOUT * 1000}"
            arguments = {"connect_timeout": CONNECT_TIMEOUT, "application_name": APPLICATION, "options": options}
            given = self.url.query.get("options")
            if given:  # such as a search_path
                arguments["options"] = f"{given} {options}"
        elif self.dialect == "mysql":
            arguments = {"connect_timeout": CONNECT_TIMEOUT}
        elif self.dialect == "sqlite":
            arguments = {"timeout": CONNECT_TIMEOUT}
        engine = sa.create_engine(
            self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments, hide_parameters=True
        )
        if self.dialect == "mysql":
            event.listen(engine, "connect", _bound_reads)
        return engine

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """A fresh connection, closed afterwards.

        Raises:
            UnknownError: if the database cannot be reached. Errors of the block pass through.
        """
        if self.dialect == "sqlite" and not self.file.exists():
            raise UnknownError(f"the SQLite file {self.file} does not exist: check the path")
        engine = self.engine()
        try:
            try:
                connection = engine.connect()
            except SQLAlchemyError as error:
                check = "that the server is running, and check the user and the password"
                check = "that this is a file, and that you may read and write it" if self.dialect == "sqlite" else check
                raise UnknownError(f"cannot connect to {self}: {reason(error)}. Check {check}") from error
            with connection:
                yield connection
        finally:
            engine.dispose()


def _joined(value: str | tuple[str, ...]) -> str:
    """A parameter of a URL, which may be there more than once."""
    return value if isinstance(value, str) else ",".join(value)


def _bound_reads(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET SESSION lock_wait_timeout={CONNECT_TIMEOUT}")
    cursor.close()


def reason(error: BaseException) -> str:
    """Describe an error in one printable line, without SQL and parameters."""
    said = getattr(error, "orig", None) or error
    arguments = getattr(said, "args", ())
    if len(arguments) == 2 and isinstance(arguments[0], int):  # MySQL's number and text
        return cleaned(without_password(f"{arguments[1]} ({arguments[0]})"))
    return cleaned(without_password(str(said).strip().partition("\n")[0]) or type(said).__name__)


def without_password(text: str) -> str:
    """A text in which the passwords of URLs are stars."""
    return _PASSWORD.sub(r"\1***@", text)


_PASSWORD: Final = re.compile(r"(://[^:/@\s]*:)\S+@")


def parse(url: str | URL, root: Path | None = None) -> Database:
    """Parse a URL as SQLAlchemy or DBMate writes it.

    Args:
        url: Such as `postgresql+asyncpg://…`, `postgres://…`, `mysql://…`, `sqlite:///app.db`, `sqlite:app.db`.
        root: What SQLite's file is relative to; the current directory by default.

    Raises:
        MigrationError: if it is no URL, of another database, of one in memory, or if its driver is not installed.
    """
    try:
        found = url if isinstance(url, URL) else make_url(_slashed(url))
    except (ArgumentError, ValueError) as error:
        raise MigrationError(
            "--url is not a database URL: write it as postgresql://user:password@host:5432/name"
        ) from error
    if "@" in (found.host or ""):  # the rest of a password, so no message may show it
        raise MigrationError("the password in the database URL contains @: write it as %40")
    backend, _, driver = found.drivername.partition("+")
    dialect = _DIALECTS.get(backend)
    if dialect is None:
        raise MigrationError(f"{cleaned(backend)} is not supported: use PostgreSQL, MariaDB, MySQL or SQLite")
    if dialect == "sqlite":
        return Database(_sqlite(found, root), dialect)
    usable = [name for name, module in _DRIVERS[dialect] if _installed(module)]
    if not usable:
        raise MigrationError(
            f"reading {dialect} needs a driver without an event loop beside {driver or 'none'}: {_PIP[dialect]}"
        )
    query = dict(found.query)
    if dialect == "postgresql" and "search_path" in query:  # DBMate's driver takes a server's setting, libpq does not
        setting = f"-c search_path={_joined(query.pop('search_path')).replace(' ', '')}"
        query["options"] = f"{_joined(query['options'])} {setting}" if "options" in query else setting
    if dialect == "mysql" and "socket" in query:  # DBMate's word
        query["unix_socket"] = query.pop("socket")
    if driver not in usable:
        driver = usable[0]
        if dialect == "postgresql" and "ssl" in query:  # asyncpg's word
            query["sslmode"] = query.pop("ssl")
        if dialect == "mysql":  # Go's words mean nothing to Python's drivers
            query = {key: value for key, value in query.items() if key in ("charset", "unix_socket")}
    return Database(found.set(drivername=f"{dialect}+{driver}", query=query), dialect)


def _slashed(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    if colon and scheme in ("sqlite", "sqlite3") and not rest.startswith("//"):
        return f"sqlite:///{rest}"
    return f"sqlite:{rest}" if scheme == "sqlite3" else url


def _sqlite(url: URL, root: Path | None) -> URL:
    name = url.database or ""
    if not name or name == ":memory:" or "mode=memory" in name or url.query.get("mode") == "memory":
        raise MigrationError("an SQLite database in memory ends with the process: name a file, as in sqlite:///app.db")
    if name.startswith("file:"):
        name = name.removeprefix("file:").partition("?")[0]
    path = (root or Path.cwd()) / name
    return URL.create("sqlite+pysqlite", database=str(path.resolve()))


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class VersionTable:
    """The table in which a tool keeps the database's revision.

    Attributes:
        name: `alembic_version`, `schema_migrations`, or what the project calls it.
        schema: Its schema; None is the connection's default.
        column: Which column holds revisions.
    """

    name: str = "alembic_version"
    schema: str | None = None
    column: str = "version_num"

    def in_schema(self, schema: str | None) -> VersionTable:
        """The same table in another schema."""
        return replace(self, schema=schema)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def read_heads(connection: Connection, table: VersionTable) -> tuple[str, ...]:
    """Read the revisions from a version table, sorted; none if the table does not exist.

    Raises:
        UnknownError: if the table exists and cannot be read.
    """
    try:
        if not sa.inspect(connection).has_table(table.name, table.schema):
            if (
                connection.dialect.name == "postgresql"
                and table.schema is None
                and connection.exec_driver_sql("SELECT current_schema()").scalar() is None
            ):
                raise unseen_error(table)
            return ()
        columns = sa.table(table.name, sa.column(table.column), schema=table.schema)
        return tuple(sorted(str(row[0]) for row in connection.execute(sa.select(columns.c[table.column]))))
    except SQLAlchemyError as error:
        raise UnknownError(f"cannot read the revision from table {table}: {reason(error)}") from error


def unseen_error(table: VersionTable) -> UnknownError:
    """The error of a database in which the user may use no schema: there may be a version table in one."""
    return UnknownError(
        f"cannot tell whether there is a table {table}: the user may use no schema of its search_path. "
        "GRANT USAGE ON SCHEMA … TO the user, or correct the search_path"
    )
