"""Projects that Alembic migrates: a stock env.py, sync or async, and revisions written as their statements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import make_url

from tests.databases import Server

INI = """
[alembic]
script_location = {folder}/migrations
sqlalchemy.url = {url}
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = plain
[formatter_plain]
format = %(levelname)s %(name)s %(message)s
"""
SYNC = """
from logging.config import fileConfig
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)

def offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()

def online():
    passed = config.attributes.get("connection")
    if passed is not None:
        context.configure(connection=passed{options})
        with context.begin_transaction():
            context.run_migrations()
        return
    section = config.get_section(config.config_ini_section)
    connectable = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with connectable.connect() as connection:
        context.configure(connection=connection{options})
        with context.begin_transaction():
            context.run_migrations()

offline() if context.is_offline_mode() else online()
"""
ASYNC = """
import asyncio
from logging.config import fileConfig
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)

def run(connection):
    context.configure(connection=connection{options})
    with context.begin_transaction():
        context.run_migrations()

async def online():
    connectable = create_async_engine(config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    async with connectable.connect() as connection:
        await connection.run_sync(run)
    await connectable.dispose()

asyncio.run(online())
"""
REVISION = """
revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = {depends!r}

import sqlalchemy as sa
from alembic import op

def upgrade():
{up}

def downgrade():
{back}
"""


class Project:
    """A folder with alembic.ini and migrations.

    Args:
        folder: Empty.
        url: Of the database.
        env: env.py, `SYNC` or `ASYNC` or another.
        options: Further arguments of `context.configure`, such as `, transaction_per_migration=True`.
    """

    def __init__(self, folder: Path, url: str, env: str = SYNC, options: str = "") -> None:
        self.folder, self.url = folder, url
        self.versions = folder / "migrations/versions"
        self.versions.mkdir(parents=True)
        (folder / "alembic.ini").write_text(INI.format(folder=folder, url=url.replace("%", "%%")))
        (folder / "migrations/env.py").write_text(env.replace("{options}", options))
        (folder / "migrations/script.py.mako").write_text(
            "revision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\ndef upgrade():\n    ${upgrades}\n"
        )
        self._last: str | None = None

    def add(
        self,
        revision: str,
        up: str,
        back: str = "pass",
        down: str | tuple[str, ...] | None = "",
        depends: str | None = None,
    ) -> Project:
        """Add a revision after the last one, unless `down` says after which. `up` and `back` are Python, or SQL."""
        after = self._last if down == "" else down
        bodies = {name: indent(_python(body), "    ") for name, body in {"up": up, "back": back}.items()}
        text = REVISION.format(revision=revision, down=after, depends=depends, **bodies)
        (self.versions / f"{revision}.py").write_text(text)
        self._last = revision
        return self

    @property
    def config(self) -> Config:
        return Config(str(self.folder / "alembic.ini"))


def _python(body: str) -> str:
    body = dedent(body).strip()
    statement = body.split(None, 1)[0].isupper()
    return "\n".join(f"op.execute({line!r})" for line in body.split(";\n")) if statement else body


def leads(project: Project) -> Project:
    """Three revisions that work everywhere."""
    project.add("r1", "CREATE TABLE leads (id INTEGER PRIMARY KEY)", "DROP TABLE leads")
    project.add("r2", "CREATE TABLE notes (id INTEGER PRIMARY KEY)", "DROP TABLE notes")
    return project.add("r3", "CREATE TABLE calls (id INTEGER PRIMARY KEY)", "DROP TABLE calls")


PSYCOPG = "postgresql+psycopg2" if sa.__version__.startswith("1.") else "postgresql+psycopg"
DRIVERS = {
    "sqlite": SYNC,
    "sqlite+aiosqlite": ASYNC,
    PSYCOPG: SYNC,
    "postgresql+asyncpg": ASYNC,
    "mysql+pymysql": SYNC,
    "mysql+aiomysql": ASYNC,
}
SYSTEMS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mariadb"}


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Project]:
    """Make a project on an empty database of a driver."""

    def make(driver: str, env: str | None = None, options: str = "") -> Project:
        kind, _, module = driver.partition("+")
        pytest.importorskip(module or "sqlite3")
        if kind == "sqlite":
            url = f"{driver}:///{tmp_path}/leads.db"
        else:
            server: Server = request.getfixturevalue({"mysql": "mariadb"}.get(kind, kind))
            url = server.fresh(driver)
        return Project(tmp_path / "project", url, env or DRIVERS[driver], options)

    return make


def heads(project: Project) -> set[str]:
    """What the version table holds, by a connection of the test's own."""
    url = make_url(project.url)
    sync = {"sqlite": "sqlite", "postgresql": PSYCOPG, "mysql": "mysql+pymysql"}
    engine = sa.create_engine(url.set(drivername=sync[url.get_backend_name()]))
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_heads()
    engine.dispose()
    return set(found)
