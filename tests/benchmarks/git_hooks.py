"""What the commit hook costs: `git commit` with it, and with an empty hook, beside 50, 500 and 5,000 migrations.

python tests/benchmarks/git_hooks.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COUNTS = (50, 500, 5_000)
ROUNDS = 11
MIGRATION = '''"""change {0}

Revision ID: {0:04}
Revises: {1}
Create Date: 2026-01-01 00:00:00
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{0:04}"
down_revision = {1!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "table_{0}",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_table_{0}_name"), "table_{0}", ["name"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_table_{0}_name"), table_name="table_{0}")
    op.drop_table("table_{0}")
'''


def _write(root: Path, number: int) -> None:
    down = f"{number - 1:04}" if number else None
    (root / f"migrations/versions/{number:04}_change.py").write_text(MIGRATION.format(number, down))


def _repository(root: Path, count: int) -> Callable[..., None]:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)

    (root / "migrations/versions").mkdir(parents=True)
    (root / "migrations/env.py").touch()
    (root / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    for number in range(count):
        _write(root, number)
    git("init", "-q", "-b", "main")
    for key, value in (("user.name", "Ann Lee"), ("user.email", "ann@example.com"), ("gc.auto", "0")):
        git("config", key, value)
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    return git


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _measured(count: int, root: Path) -> tuple[float, float, float]:
    """Medians in seconds of a commit of one migration: with an empty hook, with ours, and of ours alone."""
    git = _repository(root, count)
    program = Path(sys.executable).with_name("otel-schema")

    def check() -> None:
        subprocess.run([str(program), "hooks", "check"], cwd=root, check=True, capture_output=True)

    hook = root / ".git/hooks/pre-commit"
    scripts = {"empty": "#!/bin/sh\nexit 0\n", "ours": f"#!/bin/sh\nexec {program} hooks check\n"}
    times: dict[str, list[float]] = {"empty": [], "ours": [], "alone": []}
    number = count
    for _ in range(ROUNDS):
        for name, script in scripts.items():
            hook.write_text(script)
            hook.chmod(0o755)
            _write(root, number)
            git("add", "-A")
            if name == "ours":
                times["alone"].append(_seconds(check))
            times[name].append(_seconds(lambda: git("commit", "-q", "-m", "one")))
            number += 1
    empty, ours, alone = (statistics.median(each) for each in times.values())
    return empty, ours, alone


def main() -> None:
    """Prints a row for each number of migrations."""
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    print("| migrations | commit, empty hook | commit, our hook | ratio | our part |")
    print("|---|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as directory:
            empty, ours, alone = _measured(count, Path(directory) / "project")
        print(f"| {count:,} | {empty:.3f} s | {ours:.3f} s | {ours / empty:.0f} | {alone:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
