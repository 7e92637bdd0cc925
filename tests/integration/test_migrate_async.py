"""`status`, `upgrade`, `rollback` and `rehearse` where env.py migrates over an asynchronous driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tests.databases import Server, free_port
from tests.integration.migrated import Project

ENV = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine
url = context.config.get_main_option("sqlalchemy.url")

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def online():
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
"""
DRIVERS = [
    pytest.param("asyncpg"),
    pytest.param("aiomysql", marks=pytest.mark.nightly),
    pytest.param("aiosqlite", marks=pytest.mark.nightly),
]


class Async(Project):
    """`theirs` is the URL of env.py; `url` is the same for the test's own look at the database."""

    theirs: str


def asynchronous(driver: str, request: pytest.FixtureRequest, folder: Path) -> Async:
    """A project whose env.py uses an asynchronous driver, on an empty database of its kind."""
    pytest.importorskip(driver)
    if driver == "aiosqlite":
        plain = f"sqlite:///{folder}/app.db"
    else:
        server: Server = request.getfixturevalue({"asyncpg": "postgresql", "aiomysql": "mariadb"}[driver])
        plain = server.fresh()
    scheme, _, rest = plain.partition("://")
    project = Async(folder / "project", f"{scheme.partition('+')[0]}+{driver}://{rest}")
    project.theirs, project.url = project.url, plain
    (project.path / "migrations/env.py").write_text(ENV)
    project.line()
    return project


@pytest.mark.parametrize("driver", DRIVERS)
def test_async_environment(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Upgrade, status, a failed step and rollback are as with any env.py."""
    project = asynchronous(driver, request, tmp_path)
    up = project.do("upgrade", "r2")
    assert up.code == 0, up.all
    assert project.truth() == (["r2"], {"a": {"id", "b"}})
    status = project.do("status", "--url", project.theirs, "--json")
    (row,) = json.loads(status.out)["environments"]
    assert (row["revisions"], row["state"], row["pending"]) == (["r2"], "behind", ["r3"]), status.all
    project.revision(
        "r3",
        "r2",
        'op.add_column("a", sa.Column("x", sa.Integer()))\nop.drop_table("missing")',
        'op.drop_column("a", "x")',
    )
    up = project.do("upgrade")
    assert up.code == 1, up.all
    heads, columns = project.truth()
    assert heads == ["r2"]
    assert ("+ a: column x" in up.out or "+ public.a: column x" in up.out) == ("x" in columns["a"])
    assert "in r3: " in up.out
    if "x" in columns["a"]:
        project.sql("ALTER TABLE a DROP COLUMN x")
    down = project.do("rollback", "base")
    assert down.code == 0, down.all
    assert project.truth() == ([], {})


@pytest.mark.nightly
def test_async_lock_time_out(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """asyncpg's session has the limits of the command too, and whoever blocks it is named."""
    project = asynchronous("asyncpg", request, tmp_path)
    assert project.do("upgrade", "r1").code == 0
    with sa.create_engine(
        project.url, poolclass=NullPool, connect_args={"application_name": "report"}
    ).connect() as one:
        one.exec_driver_sql("SELECT * FROM a")
        done = project.do("upgrade", "--lock-timeout", "1.2", "--retries", "0")
    assert done.code == 1, done.all
    assert "lock time-out after 1.2 s in r2: session" in done.err
    assert "(report, idle in transaction" in done.err
    assert project.truth() == (["r1"], {"a": {"id"}})


@pytest.mark.nightly
@pytest.mark.parametrize("driver", DRIVERS)
def test_async_rehearsed(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each revision goes up, down and up again over the asynchronous driver."""
    project = asynchronous(driver, request, tmp_path)
    done = project.do("rehearse", "--url", project.theirs, "--json")
    assert done.code == 0, done.all
    assert "3 of 3 revisions rehearsed" in json.loads(done.out)["summary"]


@pytest.mark.nightly
def test_async_database_that_cannot_be_read(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """asyncpg's own errors mean that nobody knows what is in the database; a synchronous driver is a usage error."""
    project = asynchronous("asyncpg", request, tmp_path)
    nowhere = f"postgresql+asyncpg://leads@127.0.0.1:{free_port()}/leads"
    for url, words in ((f"{project.theirs.rpartition('/')[0]}/missing", "does not exist"), (nowhere, "Connect")):
        done = project.do("upgrade", "--url", url)
        assert done.code == 3, done.all
        assert words in done.err
    project = asynchronous("aiosqlite", request, tmp_path / "other")
    done = project.do("upgrade", "--url", project.url)
    assert done.code == 2, done.all
    assert "Name env.py's driver in the URL, as in postgresql+asyncpg://" in done.err
