"""What `upgrade` and `rollback` say when they stop: the exit code, the thing, and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tests.databases import Server, mariadb_server
from tests.integration.migrated import TABLE, Folder, Project

ADD = 'op.add_column("a", sa.Column("x", sa.Integer()))'
OTHER = TABLE.replace('"a"', '"b"')


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An Alembic project on SQLite, with nothing applied."""
    made = Project(tmp_path / "project", f"sqlite:///{tmp_path}/app.db")
    made.revision("r1", None, TABLE, 'op.drop_table("a")')
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A DBMate project on SQLite, with nothing applied."""
    made = Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    made.migration("001_a", "CREATE TABLE a (id INTEGER);", "DROP TABLE a;")
    return made


@pytest.mark.nightly
def test_several_heads(project: Project) -> None:
    """Alembic would take one of two heads down and say 0: each direction asks for the branch, and names the heads."""
    project.revision("r2", "r1", OTHER, 'op.drop_table("b")')
    project.revision("s2", "r1", OTHER.replace('"b"', '"c"'), 'op.drop_table("c")')
    up = project.do("upgrade")
    assert up.code == 2, up.all
    assert "Multiple head revisions are present for given argument 'head'" in up.err
    assert "'heads' for all heads" in up.err
    assert project.do("upgrade", "heads").code == 0
    assert project.truth()[0] == ["r2", "s2"]
    down = project.do("rollback", "--", "-1")
    assert down.code == 1, down.all
    assert "the database has 2 heads (r2, s2): name the branch that goes down, as in r2@-1" in down.err
    assert project.truth()[0] == ["r2", "s2"]
    down = project.do("rollback", "--", "r2@-1")
    assert down.code == 0, down.all
    assert project.truth()[0] == ["s2"]


def _two_files(project: Project) -> None:
    file = project.revision("r2", "r1", ADD)
    (file.parent / "copy.py").write_text(file.read_text())


def _several_databases(project: Project) -> None:
    env = project.path / "migrations/env.py"
    body = env.read_text()
    online = body[body.index("    with create_engine") :]
    env.write_text(body + online.replace("url, poolclass", 'url + "2", poolclass'))


def _own_url(project: Project) -> None:
    env = project.path / "migrations/env.py"
    asked = 'context.config.get_main_option("sqlalchemy.url")'
    env.write_text(env.read_text().replace(asked, repr(project.url)))


def _no_migrations(project: Project) -> None:
    (project.path / "migrations/env.py").write_text("")


def _failing_environment(project: Project) -> None:
    (project.path / "migrations/env.py").write_text("import settings_of_the_project\n")


def _broken_file(project: Project) -> None:
    project.revision("r2", "r1", "pass").write_text("revision = 'r2'\ndef upgrade(:\n")


def _file_that_exits(project: Project) -> None:
    file = project.revision("r2", "r1", "pass")
    file.write_text(f"raise SystemExit(0)\n{file.read_text()}")


def _rows(*rows: str) -> Callable[[Project], None]:
    def write(project: Project) -> None:
        project.revision("r2", "r1", "pass")
        project.sql("CREATE TABLE alembic_version (version_num TEXT)")
        project.sql(*(f"INSERT INTO alembic_version VALUES ({each})" for each in rows))

    return write


def _both_tools(project: Project) -> None:
    (project.path / "db/migrations").mkdir(parents=True)
    (project.path / "db/migrations/001_a.sql").write_text("-- migrate:up\n-- migrate:down\n")


def _none(_project: Project) -> None:
    pass


IN_A_PROCESS = [
    (_two_files, [], 2, ["two files have one revision id", "r2", "Give one of them another id"]),
    (_several_databases, [], 2, ["env.py migrates more than one database in one run", "-x"]),
    (_own_url, ["--url", "sqlite:///b.db"], 2, ["app.db, not", "b.db as --url says", "let env.py read"]),
    (_no_migrations, [], 2, ["env.py ran no migrations: it must call context.run_migrations()"]),
    (_failing_environment, [], 2, ["env.py failed", "ModuleNotFoundError", "settings_of_the_project", "env.py:1"]),
    (_broken_file, [], 2, ["a revision file cannot be loaded: SyntaxError", "r2_.py", "Alembic loads every file"]),
    (_file_that_exits, [], 2, ["a revision file cannot be loaded: SystemExit: 0 (r2_.py:1)"]),
    (_rows("NULL"), [], 2, ["table alembic_version has a row without a revision: delete that row"]),
    (_rows("''"), [], 2, ["table alembic_version has a row without a revision"]),
    (_rows("'r1'", "'r2'"), [], 2, ["the rows of table alembic_version contradict each other (r1, r2)", "Delete"]),
    (_none, ["r7"], 2, ["Can't locate revision identified by 'r7'"]),
    (_none, ["--url", "postgresql://leads@127.0.0.1:1/x"], 3, ["127.0.0.1", "refused"]),
]
BEFORE_IT = [
    (_both_tools, [], 2, ["found both alembic.ini and db/migrations here", "--tool alembic or --tool dbmate"]),
    (_none, ["--config", "missing.ini"], 2, ["missing.ini does not exist: name it with --config"]),
    (_none, ["--url", "no url"], 2, ["--url is not a database URL: write it as postgresql://"]),
    (_none, ["--url", "oracle://host/x"], 2, ["oracle is not supported: use PostgreSQL, MariaDB, MySQL or SQLite"]),
    (_none, ["--url", "sqlite://"], 2, ["in memory ends with the process: name a file"]),
]


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "words"),
    [*(pytest.param(*each, marks=pytest.mark.nightly) for each in IN_A_PROCESS), *BEFORE_IT],
)
def test_alembic_stops(
    project: Project, prepare: Callable[[Project], None], arguments: list[str], code: int, words: list[str]
) -> None:
    """Nothing is run, and the message names the thing and the fix."""
    prepare(project)
    done = project.do("upgrade", *arguments)
    assert done.code == code, done.all
    assert done.err.count("\n") == 1, done.err
    for each in words:
        assert each in done.err
    assert not project.history()


def test_nothing_to_migrate(project: Project) -> None:
    """A directory without migrations says where to run, or what to name."""
    (project.path / "alembic.ini").unlink()
    done = project.do("upgrade")
    assert done.code == 2
    assert "found neither alembic.ini nor db/migrations here" in done.err
    assert "--config" in done.err


@pytest.mark.nightly
def test_rollback_without_a_record(project: Project) -> None:
    """Where the history does not say where the database was, the revisions to choose from are named."""
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    assert project.do("upgrade", "--history", "elsewhere").code == 0
    done = project.do("rollback")
    assert done.code == 1, done.all
    assert "(history .otel-schema/history.jsonl): the history has no upgrade that ended there" in done.err
    assert "as in otel-schema rollback r1. Choose from: r1, base" in done.err


@pytest.mark.parametrize(
    ("files", "arguments", "words"),
    [
        (
            {"001_b": ("SELECT 1;", "SELECT 1;")},
            [],
            ["001_a.sql and 001_b.sql have the same version: rename one of them"],
        ),
        ({"002_b": ("", None)}, [], ["002_b.sql has no line `-- migrate:down`", "Add it; nothing was run"]),
        ({}, ["9"], ["there is no version 9 in db/migrations: give the digits at the start of a file's name"]),
        ({}, ["--config", "db/missing"], ["db/missing does not exist: name it with --config"]),
    ],
)
def test_dbmate_stops(
    folder: Folder, files: dict[str, tuple[str, str | None]], arguments: list[str], words: list[str]
) -> None:
    """Nothing is run, and the message names the file and the fix."""
    for name, (up, down) in files.items():
        folder.migration(name, up, down)
    done = folder.do("upgrade", "--tool", "dbmate", *arguments)
    assert done.code == 2, done.all
    for each in words:
        assert each in done.err
    assert not folder.history()


@pytest.mark.parametrize("columns", ["version bigint, dirty boolean", "version bigint", "id integer"])
def test_foreign_table(folder: Folder, columns: str) -> None:
    """golang-migrate's table of the same name, or anybody's, is left alone, and its columns are named."""
    folder.sql(f"CREATE TABLE schema_migrations ({columns})")
    done = folder.do("upgrade")
    assert done.code == 2, done.all
    assert "table schema_migrations is not DBMate's (its columns are " in done.err
    assert "another tool uses the name. Give DBMate a table of its own: set DBMATE_MIGRATIONS_TABLE" in done.err


def test_dbmate_is_asked_for_its_url(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --url and DATABASE_URL it asks which database."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    done = Project.do(folder, "upgrade")
    assert done.code == 2, done.all
    assert "no database is named: give --url, or set DATABASE_URL" in done.err


def test_schema_file_that_cannot_be_written(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """DBMate swallows this: where the project keeps schema.sql, a dump that fails is said, with what to do."""
    schema = folder.path / "db/schema.sql"
    schema.write_text("-- kept\n")
    monkeypatch.setenv("PATH", "/nowhere")  # DBMate dumps with the programs of the database
    done = folder.do("upgrade")
    assert done.code == 1, done.all
    assert "applied: " in done.out
    assert "after that, dbmate failed: db/schema.sql was not written again: " in done.out
    assert "sqlite3" in done.out
    assert "next: correct that, then run dbmate dump. The database is at its target" in done.out
    assert folder.truth() == (["001"], {"a": {"id"}})
    assert schema.read_text() == "-- kept\n"


@pytest.mark.parametrize(
    ("problem", "words"),
    [("missing", "dbmate is not installed: pip install"), ("old", "dbmate 2.20 is too old: 2.36 or later is needed")],
)
def test_dbmate_program(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: str, words: str
) -> None:
    """A dbmate that is missing or too old is named, with the line that installs it."""
    from opentelemetry.instrumentation.schema._migrations.tools import dbmate_files

    program = tmp_path / "bin/dbmate"
    if problem == "old":
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho dbmate version 2.20.0\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(dbmate_files.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(dbmate_files.sysconfig, "get_path", lambda _name: str(tmp_path))
    for cached in (dbmate_files.binary, dbmate_files.binary_version):
        cached.cache_clear()
    try:
        done = folder.do("upgrade")
    finally:
        for cached in (dbmate_files.binary, dbmate_files.binary_version):
            cached.cache_clear()
    assert done.code == 2, done.all
    assert words in done.err
    assert "pip install" in done.err


SURE = {
    "performance schema": ("--performance-schema=ON", "--performance-schema-instrument=wait/lock/metadata/sql/mdl=ON"),
    "plugin": ("--plugin-load-add=metadata_lock_info",),
}


@pytest.fixture(params=SURE)
def knowing(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A MariaDB that can tell who holds a metadata lock."""
    with mariadb_server(*SURE[request.param]) as server:
        yield server


@pytest.mark.nightly
def test_mariadb_that_can_tell(knowing: Server, tmp_path: Path) -> None:
    """Where MariaDB can tell who holds the table, that session is named, and not as a candidate."""
    project = Project(tmp_path / "project", knowing.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    assert project.do("upgrade").code == 0
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    engine = sa.create_engine(project.url, poolclass=NullPool)
    with engine.connect() as reader, engine.connect() as older:
        number = reader.exec_driver_sql("SELECT connection_id()").scalar_one()
        older.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        older.exec_driver_sql("SELECT * FROM alembic_version")
        reader.exec_driver_sql("SELECT * FROM a")
        done = project.do("upgrade", "--lock-timeout", "2", "--retries", "0")
    assert done.code == 1, done.all
    assert re.search(rf"lock time-out after 2 s in r2: session {number} \(root, Sleep", done.err), done.err


CONNECT = "with create_engine(url, poolclass=pool.NullPool).connect() as connection:\n"
BY_ITSELF = CONNECT.replace("NullPool", 'NullPool, isolation_level="AUTOCOMMIT"')
SET = f"{CONNECT}        connection.exec_driver_sql('SET search_path TO shop'); connection.commit()\n"
SET += "        connection.dialect.default_schema_name = 'shop'\n"
ARGUMENTS = CONNECT.replace("NullPool", 'NullPool, connect_args={"options": "-c search_path=shop"}')


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("connects", "words"),
    [
        (BY_ITSELF, "table alembic_version) from base to r1, without a transaction:"),
        (SET, "table shop.alembic_version) from base to r1, all in one transaction:"),
        (ARGUMENTS, "table shop.alembic_version) from base to r1, all in one transaction:"),
    ],
)
def test_the_session_of_the_environment(postgresql: Server, tmp_path: Path, connects: str, words: str) -> None:
    """What env.py does to its session is known: that it commits by itself, and in which schema its tables are."""
    project = Project(tmp_path / "project", postgresql.fresh())
    project.sql("CREATE SCHEMA shop")
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    env = project.path / "migrations/env.py"
    assert CONNECT in env.read_text()
    env.write_text(env.read_text().replace(CONNECT, connects))
    up = project.do("upgrade")
    assert up.code == 0, up.all
    assert words in up.out
    assert "is at r1 (was base)" in up.out
    assert "differs" not in up.out
    assert "nothing to do" in project.do("upgrade").out
    down = project.do("rollback")
    assert down.code == 0, down.all
    assert "is at base (was r1)" in down.out
    assert "differs" not in down.out


@pytest.mark.nightly
def test_an_environment_that_does_not_commit(postgresql: Server, tmp_path: Path) -> None:
    """Alembic reports success, and nothing is there: the message says what env.py lacks."""
    project = Project(tmp_path / "project", postgresql.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    env = project.path / "migrations/env.py"
    env.write_text(env.read_text().replace("with context.begin_transaction():", "if True:"))
    up = project.do("upgrade")
    assert up.code == 1, up.all
    assert "failed: alembic reported no error" in up.out
    assert "next: let env.py commit: it must call context.run_migrations() in context.begin_transaction()" in up.out


@pytest.mark.nightly
def test_a_role_without_privileges(postgresql: Server, tmp_path: Path) -> None:
    """What a role may not do, and what it may not see, is said; it is never told that an applied database is empty."""
    project = Project(tmp_path / "project", postgresql.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    database = project.url.rpartition("/")[2]
    postgresql.run(database, "CREATE ROLE weak LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
    weak = project.url.replace(f"{postgresql.user}@", "weak@")
    up = project.do("upgrade", "--url", weak)
    assert up.code == 1, up.all
    assert "permission denied for schema public" in up.out
    assert "next: give the database's user that privilege, then run otel-schema upgrade again" in up.out
    assert project.do("upgrade").code == 0
    reads = f"{project.url}?options=-c%20default_transaction_read_only%3Don"
    down = project.do("rollback", "base", "--url", reads)
    assert down.code == 1, down.all
    assert "next: connect to the primary server, because this one only reads, then run otel-schema" in down.out
    postgresql.run(database, "REVOKE USAGE ON SCHEMA public FROM public")
    for command in (["upgrade"], ["rollback", "base"]):
        done = project.do(*command, "--url", weak)
        assert (done.code, "cannot tell whether there is a table alembic_version" in done.err) == (3, True), done.all
    postgresql.run(database, "DROP ROLE weak")


@pytest.mark.nightly
def test_passwords_in_errors_of_others(project: Project) -> None:
    """What env.py says of a URL is shown without the password."""
    env = project.path / "migrations/env.py"
    env.write_text('raise RuntimeError("cannot open postgresql://leads:s3cr@t@host/x today")\n')
    done = project.do("upgrade")
    assert done.code == 2, done.all
    assert "cannot open postgresql://leads:***@host/x today" in done.err
    assert "s3cr" not in done.all
