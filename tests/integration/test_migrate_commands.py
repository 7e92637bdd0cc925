"""`upgrade` and `rollback` with Alembic: the plan, the run, the truth, on PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import Server
from tests.integration.migrated import KINDS, TABLE, Project

Make = Callable[..., Project]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/app.db"
    server: Server = request.getfixturevalue(request.param)
    return server.fresh()


@pytest.fixture
def project(database: str, tmp_path: Path) -> Project:
    """A project on it, of three revisions."""
    made = Project(tmp_path / "project", database)
    made.line()
    return made


def test_up_and_down_again(project: Project) -> None:
    """Upgrade, upgrade again, and rollback say what a fresh connection sees, and the history has it all."""
    up = project.do("upgrade", "r1")
    assert up.code == 0, up.all
    assert "is at r1 (was base)" in up.out
    assert project.truth() == (["r1"], {"a": {"id"}})
    up = project.do("upgrade")
    assert up.code == 0, up.all
    assert "is at r3 (was r1)" in up.out
    assert project.truth() == (["r3"], {"a": {"id", "b"}, "c": {"id"}})
    again = project.do("upgrade")
    assert (again.code, again.out.splitlines()[-1].split(":")[0]) == (0, "nothing to do")
    again = project.do("upgrade", "--dry-run")
    assert (again.code, again.out.splitlines()[-1].split(":")[0]) == (0, "nothing to do")
    project.sql("INSERT INTO a (id, b) VALUES (1, 2), (2, NULL)")
    refused = project.do("rollback")
    assert refused.code == 1
    assert "revision r2 drops column a.b, which has 1 row with a value" in refused.err
    assert "--allow-data-loss a" in refused.err
    assert project.truth()[0] == ["r3"]
    down = project.do("rollback", "--allow-data-loss", "a")
    assert down.code == 0, down.all
    assert "rolled back:" in down.out
    assert "is at r1 (was r3)" in down.out
    assert project.truth() == (["r1"], {"a": {"id"}})
    events = [(line["event"], line.get("outcome")) for line in project.history()]
    assert events == [
        ("started", None),
        ("finished", "applied"),
        ("started", None),
        ("finished", "applied"),
        ("started", None),
        ("finished", "rolled_back"),
    ]
    assert not any("@127" in str(line) for line in project.history())  # neither user nor password


def test_a_step_fails(project: Project) -> None:
    """A failed step is `failed` where its transaction was rolled back, else `partial` with the stray column."""
    project.do("upgrade", "r1")
    project.revision(
        "r3", "r2", 'op.add_column("a", sa.Column("x", sa.Integer()))\nop.drop_table("missing")', 'op.drop_table("c")'
    )
    up = project.do("upgrade")
    assert up.code == 1, up.all
    heads, columns = project.truth()
    if "postgresql" in project.url:
        assert "failed in r3" in up.out
        assert "is unchanged, at r1" in up.out
        assert (heads, columns) == (["r1"], {"a": {"id"}})
    else:
        assert "partial in r3" in up.out
        assert "records r2, but its schema differs" in up.out
        assert "+ a: column x" in up.out
        assert (heads, columns) == (["r2"], {"a": {"id", "b", "x"}})
    assert "r3_.py:" in up.out
    assert project.history()[-1]["after"] == heads


@pytest.mark.nightly
def test_the_rows_of_a_dropped_table(project: Project) -> None:
    """A destructive upgrade is refused with table and number, an empty table is no loss, and nothing has changed."""
    project.do("upgrade")
    project.revision("r4", "r3", 'op.drop_table("c")', TABLE.replace('"a"', '"c"'))
    project.sql("INSERT INTO c (id) VALUES (1), (2), (3)")
    before = project.truth()
    up = project.do("upgrade")
    assert up.code == 1
    assert "drops table c, which has 3 rows" in up.err
    assert project.truth() == before
    project.sql("DELETE FROM c")
    assert project.do("upgrade").code == 0
    assert project.truth()[1] == {"a": {"id", "b"}}
