"""`rehearse` takes every revision up, down and up again, and finds the downgrades that do not bring back what was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.databases import Server
from tests.integration.migrated import KINDS, Folder, Project


@pytest.fixture(params=KINDS)
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/scratch.db"
    server: Server = request.getfixturevalue(request.param)
    return server.fresh()


@pytest.mark.nightly
def test_rehearsed(scratch: str, tmp_path: Path) -> None:
    """A good line comes back; one that does nothing, one that forgets an index and one without downgrade are found."""
    project = Project(tmp_path / "project", scratch)
    project.line()
    project.revision("r4", "r3", 'op.add_column("c", sa.Column("d", sa.Integer()))', "pass")
    project.revision(
        "r5", "r4", 'op.create_index("ix", "c", ["d"])\nop.create_index("iy", "c", ["id"])', 'op.drop_index("ix", "c")'
    )
    project.revision("r6", "r5", 'op.create_table("e", sa.Column("id", sa.Integer()))', None)
    project.revision("r7", "r6", "pass", "pass")
    done = project.do("rehearse", "--url", scratch, "--json")
    assert done.code == 1, done.all
    report = json.loads(done.out)
    found = {(each["subject"], each["code"], each["level"]) for each in report["findings"]}
    assert {("r4", "fake-reversible", "error"), ("r5", "fake-reversible", "error")} <= found
    assert [each for each in found if each[0] in ("r1", "r2", "r3", "r7")] == []
    if ("r5", "not-repeatable", "error") not in found:
        assert ("r6", "no-downgrade", "warning") in found
        assert "7 of 7 revisions rehearsed, 2 did not come back" in report["summary"]
    again = project.do("rehearse", "--url", scratch)
    assert again.code == 2
    assert "is not empty: it contains" in again.err


def test_rehearsed_with_dbmate(scratch: str, tmp_path: Path) -> None:
    """DBMate's files are rehearsed likewise."""
    scheme = scratch.partition(":")[0].partition("+")[0]
    plain = scratch.replace(scratch.partition(":")[0], {"postgresql": "postgres"}.get(scheme, scheme), 1)
    plain += "?sslmode=disable" if scheme == "postgresql" else ""
    folder = Folder(tmp_path / "project", scratch, plain)
    folder.migration("001_a", "CREATE TABLE a (id INTEGER PRIMARY KEY);\nINSERT INTO a VALUES (1);", "DROP TABLE a;")
    folder.migration("002_b", "CREATE TABLE b (id INTEGER PRIMARY KEY);", "DROP TABLE b;")
    done = folder.do("rehearse")
    assert done.code == 0, done.all
    assert "2 of 2 revisions rehearsed" in done.out


def test_a_rehearsal_that_stops(tmp_path: Path) -> None:
    """The last line counts only what was rehearsed, and names the revision at which the rehearsal stopped."""
    scratch = f"sqlite:///{tmp_path}/scratch.db"
    project = Project(tmp_path / "project", scratch)
    project.revision("r1", None, 'op.create_table("a", sa.Column("id", sa.Integer()))', "pass")
    project.revision("r2", "r1", 'op.execute("no sql")', "pass")
    done = project.do("rehearse", "--url", scratch)
    assert done.code == 1
    assert "the upgrade failed: " in done.out
    assert done.out.endswith("1 of 2 revisions rehearsed, 1 of them did not come back; the rehearsal stopped at r2\n")


def test_no_stand_in(tmp_path: Path) -> None:
    """SQLite is refused where the migrations are for PostgreSQL."""
    project = Project(tmp_path / "project", "postgresql+psycopg://leads@127.0.0.1:1/leads")
    project.line()
    done = project.do("rehearse", "--url", f"sqlite:///{tmp_path}/scratch.db")
    assert done.code == 2
    assert "the migrations are for PostgreSQL" in done.err
    assert not (tmp_path / "scratch.db").exists()
