"""`upgrade` and `rollback` with DBMate's own binary, on PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.migrated import KINDS, Folder, dbmate_folder


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
