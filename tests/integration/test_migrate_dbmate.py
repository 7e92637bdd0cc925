"""`upgrade` and `rollback` with DBMate's own binary, on PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.databases import Server
from tests.integration.migrated import KINDS, Folder, Project, dbmate_folder


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A project of three migrations on an empty database of each kind."""
    made = dbmate_folder(request.param, request, tmp_path)
    made.migration("001_a", "CREATE TABLE a (id INTEGER PRIMARY KEY);", "DROP TABLE a;")
    made.migration("002_b", "ALTER TABLE a ADD COLUMN b INTEGER;", "ALTER TABLE a DROP COLUMN b;")
    made.migration("003_c", "CREATE TABLE c (id INTEGER PRIMARY KEY);", "DROP TABLE c;")
    return made


def test_dbmate_up_and_down(folder: Folder) -> None:
    """DBMate's migrations go up to a version, up to the end, and back to where the last upgrade began."""
    up = folder.do("upgrade", "001")
    assert up.code == 0, up.all
    assert folder.truth() == (["001"], {"a": {"id"}})
    up = folder.do("upgrade")
    assert up.code == 0, up.all
    assert "is at 003 (was 001)" in up.out
    assert folder.truth() == (["001", "002", "003"], {"a": {"id", "b"}, "c": {"id"}})
    folder.sql("INSERT INTO a (id, b) VALUES (1, 2)")
    refused = folder.do("rollback")
    assert refused.code == 1, refused.all
    assert "002 drops column a.b, which has 1 row with a value" in refused.err
    down = folder.do("rollback", "--allow-data-loss", "a")
    assert down.code == 0, down.all
    assert folder.truth() == (["001"], {"a": {"id"}})
    assert [line.get("outcome") for line in folder.history() if line["event"] == "finished"] == [
        "applied",
        "applied",
        "rolled_back",
    ]


@pytest.mark.nightly
def test_dbmate_step_fails(folder: Folder) -> None:
    """A failed file leaves what the database says: the files before it, and on MariaDB its own first statement."""
    folder.migration("003_c", "ALTER TABLE a ADD COLUMN x INTEGER; DROP TABLE missing_table;", "SELECT 1;")
    up = folder.do("upgrade")
    assert up.code == 1, up.all
    heads, columns = folder.truth()
    assert heads == ["001", "002"]
    assert "partial in 003" in up.out
    if "mysql" in folder.url:
        assert columns == {"a": {"id", "b", "x"}}
        assert "+ a: column x" in up.out
    else:
        assert columns == {"a": {"id", "b"}}
        assert "its schema is exactly that of 002" in up.out
        back = folder.do("rollback")
        assert back.code == 0, back.all
        assert "(was 002)" in back.out
        assert folder.truth() == ([], {})


def test_dbmate_traps(folder: Folder) -> None:
    """Each file is read before the first runs; what DBMate itself would do wrong is refused."""
    file = folder.migration("004_d", "CREATE TABLE d (id INTEGER);", None)
    up = folder.do("upgrade")
    assert up.code == 2
    assert "004_d.sql has no line `-- migrate:down`" in up.err
    assert folder.truth() == ([], {})
    folder.migration("004_d", "CREATE TABLE d (id INTEGER);", "")
    assert folder.do("upgrade").code == 0
    down = folder.do("rollback", "003")
    assert down.code == 1
    assert "its downgrade does nothing" in down.err
    file.unlink()
    down = folder.do("rollback", "001")
    assert down.code == 2
    assert "004, and this checkout has no file of that revision" in down.err
    assert folder.truth()[0] == ["001", "002", "003", "004"]


def test_dbmate_does_not_create_a_database(folder: Folder) -> None:
    """A typo in the URL is an error, not a fresh empty database."""
    if "sqlite" in folder.url:
        pytest.skip("SQLite has no server to ask")
    up = folder.do("upgrade", url=folder.plain.replace("/t", "/typo", 1).replace("//typo", "//t"))
    assert up.code == 3, up.all
    assert "cannot connect to" in up.err


@pytest.mark.parametrize("where", [pytest.param("variables", marks=pytest.mark.nightly), ".env"])
def test_dbmate_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """DBMate's own variables name directory and version table, as they do for DBMate and for `status`."""
    folder = Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    folder.migration("001_a", "CREATE TABLE a (id INTEGER);", "DROP TABLE a;")
    (folder.path / "db").rename(folder.path / "sql")
    settings = {"DBMATE_MIGRATIONS_DIR": "./sql/migrations", "DBMATE_MIGRATIONS_TABLE": "versions"}
    if where == ".env":
        (folder.path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    else:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
    up = folder.do("upgrade")
    assert up.code == 0, up.all
    assert "table versions" in up.out
    assert set(folder.truth()[1]) == {"a", "versions"}
    status = Project.do(folder, "status", "--url", folder.plain)
    assert status.code == 0, status.all
    assert "current" in status.out
    assert folder.do("rollback").code == 0
    assert set(folder.truth()[1]) == {"versions"}
    again = folder.do("rollback")
    assert again.code == 0, again.all
    assert "has gone back already, so there is nothing to undo" in again.err


@pytest.mark.nightly
def test_dbmate_table_in_a_schema(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version table may be in a schema of its own, and `search_path` may say where the others are."""
    url = postgresql.fresh()
    plain = f"{url.replace(url.partition(':')[0], 'postgres')}?sslmode=disable&search_path=shop,public"
    folder = Folder(tmp_path / "project", url, plain)
    folder.sql("CREATE SCHEMA shop")
    folder.migration("001_a", "CREATE TABLE a (id INTEGER);", "DROP TABLE a;")
    monkeypatch.setenv("DBMATE_MIGRATIONS_TABLE", "meta.versions")
    up = folder.do("upgrade")
    assert up.code == 0, up.all
    name = url.rpartition("/")[2]
    assert postgresql.run(name, "SELECT version FROM meta.versions") == "001"
    assert postgresql.run(name, "SELECT count(*) FROM shop.a") == "0"
    again = folder.do("upgrade")
    assert "nothing to do" in again.out, again.all
    assert folder.do("rollback").code == 0
    assert postgresql.run(name, "SELECT count(*) FROM meta.versions") == "0"


@pytest.mark.nightly
@pytest.mark.parametrize("word", ["socket", "unix_socket"])
def test_dbmate_through_a_socket(mariadb: Server, tmp_path: Path, word: str) -> None:
    """MariaDB's socket may be named in DBMate's word and in that of Python's drivers; both reach the same server."""
    url = mariadb.fresh()
    plain = f"mysql://root@/{url.rpartition('/')[2]}?{word}={mariadb.folder}/socket"
    folder = Folder(tmp_path / "project", url, plain)
    folder.migration("001_a", "CREATE TABLE a (id INTEGER);", "DROP TABLE a;")
    up = folder.do("upgrade")
    assert up.code == 0, up.all
    assert f"mysql://{mariadb.folder}/socket/" in up.out
    assert folder.truth() == (["001"], {"a": {"id"}})


def test_dbmate_line_ends(tmp_path: Path) -> None:
    """DBMate runs the file as it is: line ends of Windows stay, also those inside of a text."""
    folder = Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    file = folder.migration("001_a", "CREATE TABLE a (t TEXT);\nINSERT INTO a VALUES ('x\ny');", "DROP TABLE a;")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    up = folder.do("upgrade")
    assert up.code == 0, up.all
    with sqlite3.connect(tmp_path / "app.db") as connection:
        assert connection.execute("SELECT t FROM a").fetchall() == [("x\r\ny",)]
    connection.close()


@pytest.mark.nightly
def test_dbmate_out_of_order(tmp_path: Path) -> None:
    """A late file with an early number cannot be reverted by a version: the rollback without one says so."""
    folder = Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    for name in ("001_a", "003_c", "002_b"):
        folder.migration(name, f"CREATE TABLE {name[-1]} (id INTEGER);", f"DROP TABLE {name[-1]};")
        assert folder.do("upgrade").code == 0
    done = folder.do("rollback")
    assert done.code == 1, done.all
    assert "alone: it applied 002 beside other revisions. Nothing was run. Name the revision" in done.err
    assert folder.truth()[0] == ["001", "002", "003"]
