"""The tools without us, after runs with us, show nothing of ours: no table, no change, no line of a dump."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import Server
from tests.integration.migrated import KINDS, Project, dbmate_folder

MODELS = """
import sqlalchemy as sa
target_metadata = sa.MetaData()
sa.Table("a", target_metadata, sa.Column("id", sa.Integer(), primary_key=True), sa.Column("b", sa.Integer()))
sa.Table("c", target_metadata, sa.Column("id", sa.Integer(), primary_key=True))
"""


def programs(folder: Path, *command: str) -> str:
    """What a program beside this Python printed."""
    path = Path(sys.executable).parent / command[0]
    done = subprocess.run([path, *command[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_alembic_finds_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """After upgrade, rollback and upgrade `alembic check` is clean, and `--autogenerate` writes an empty revision."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/app.db"
    else:
        server: Server = request.getfixturevalue(kind)
        url = server.fresh()
    project = Project(tmp_path / "project", url, "target_metadata=target_metadata")
    env = project.path / "migrations/env.py"
    env.write_text(MODELS + env.read_text())
    (project.path / "migrations/script.py.mako").write_text(
        "revision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n"
        "def upgrade():\n    ${upgrades}\ndef downgrade():\n    ${downgrades}\n"
    )
    project.line()
    for command in (["upgrade"], ["rollback", "r1"], ["upgrade"]):
        done = project.do(*command)
        assert done.code == 0, done.all
    assert "No new upgrade operations detected" in programs(project.path, "alembic", "check")
    programs(project.path, "alembic", "revision", "--autogenerate", "--rev-id", "made")
    (made,) = (project.path / "migrations/versions").glob("made*.py")
    assert "op." not in made.read_text()


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_dbmate_dumps_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A dump by dbmate after runs of ours is, but for the versions' order, the dump after its own run."""
    dumps: list[str] = []
    for ours in (True, False):
        (tmp_path / str(ours)).mkdir()
        folder = dbmate_folder(kind, request, tmp_path / str(ours))
        folder.migration("001_a", "CREATE TABLE a (id INTEGER PRIMARY KEY);", "DROP TABLE a;")
        folder.migration("002_b", "ALTER TABLE a ADD COLUMN b INTEGER;", "ALTER TABLE a DROP COLUMN b;")
        url = ["--url", folder.plain]
        if ours:
            for command in (["upgrade"], ["rollback", "001"], ["upgrade"]):
                done = folder.do(*command)
                assert done.code == 0, done.all
        else:
            programs(folder.path, "dbmate", *url, "--no-dump-schema", "migrate")
        programs(folder.path, "dbmate", *url, "dump")
        lines = (folder.path / "db/schema.sql").read_text().splitlines()
        dumps.append("\n".join(line for line in lines if not line.startswith(("--", "\\restrict", "\\unrestrict"))))
    assert dumps[0] == dumps[1]
    assert "otel" not in dumps[0]
