"""What the commit hook costs: `git commit` with it, and with an empty hook, beside 50, 500 and 5,000 migrations.

python -m tests.benchmarks.git_hooks
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
from typing import NamedTuple

COUNTS = (50, 500, 5_000)
ROUNDS = 7
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


class Cost(NamedTuple):
    """Seconds."""

    processor: float
    clock: float


def _cost(run: Callable[[], object]) -> Cost:
    before, start = os.times(), time.perf_counter()
    run()
    clock, after = time.perf_counter() - start, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(processor, clock)


def _median(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def _measured(count: int, root: Path) -> tuple[Cost, Cost, Cost]:
    """Medians of a commit of one migration: with an empty hook, with ours, and of ours alone."""
    git = _repository(root, count)
    program = Path(sys.executable).with_name("otel-schema")

    def check() -> None:
        subprocess.run([str(program), "hooks", "check"], cwd=root, check=True, capture_output=True)

    hook = root / ".git/hooks/pre-commit"
    scripts = {"empty": "#!/bin/sh\nexit 0\n", "ours": f"#!/bin/sh\nexec {program} hooks check\n"}
    times: dict[str, list[Cost]] = {"empty": [], "ours": [], "alone": []}
    number = count
    for _ in range(ROUNDS):
        for name, script in scripts.items():
            hook.write_text(script)
            hook.chmod(0o755)
            _write(root, number)
            git("add", "-A")
            if name == "ours":
                times["alone"].append(_cost(check))
            times[name].append(_cost(lambda: git("commit", "-q", "-m", "one")))
            number += 1
    empty, ours, alone = map(_median, times.values())
    return empty, ours, alone


def main() -> None:
    """Print a row for each number of migrations."""
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    print("processor time (time on the clock)\n")
    print("| migrations | commit, empty hook | commit, our hook | ratio | our part alone |")
    print("|---|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as directory:
            empty, ours, alone = _measured(count, Path(directory) / "project")
        texts = [f"{each.processor:.2f} s ({each.clock:.2f} s)" for each in (empty, ours, alone)]
        texts.insert(2, f"{ours.processor / empty.processor:.0f} ({ours.clock / empty.clock:.0f})")
        print(f"| {count:,} | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
