"""The history of runs: which upgrade a rollback without a target undoes, and what a damaged file may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._migrations.errors import MigrationError
from opentelemetry.instrumentation.schema._migrations.history import HistoryFile, find_last_upgrade

FACTS: dict[str, Any] = {"database": "d", "table": "t", "tool": "alembic", "files": {}, "plan": ""}


@pytest.fixture
def history(tmp_path: Path) -> HistoryFile:
    return HistoryFile(tmp_path / "history.jsonl")


def run(history: HistoryFile, before: str, target: str, outcome: str = "applied", **more: Any) -> None:
    """Record a run; without an outcome it does not end."""
    down = outcome == "rolled_back" or more.get("down")
    revisions = {"before": (before,), "target": (target,), "direction": "downgrade" if down else "upgrade"}
    started = history.record_start(**FACTS, **revisions)
    if outcome:
        after = before if outcome == "failed" else more.get("after", target)
        history.record_finish(started, outcome, (after,), more.get("clean", True), 1)


UNDONE: list[tuple[list[tuple[Any, ...]], str, str | None, str]] = [
    ([("r1", "r2")], "r2", "r1", ""),
    ([("r1", "r2"), ("r2", "r3")], "r2", None, "somebody else has migrated it since"),
    ([("r1", "r2"), ("r2", "r1", "rolled_back")], "r2", None, "somebody else has migrated it since"),
    ([("r1", "r2"), ("r2", "r3"), ("r3", "r2", "rolled_back")], "r2", "r2", ""),  # run twice, it undoes one upgrade
    ([("r1", "r2"), ("r2", "r3"), ("r3", "r2", "rolled_back"), ("r2", "r3")], "r3", "r2", ""),
    ([("r1", "r2"), ("r2", "r3"), ("r3", "r2", "rolled_back"), ("r2", "r3", "failed")], "r2", "r2", ""),
    ([("r1", "r2"), ("r2", "r4", "partial", "r3")], "r3", "r2", ""),
    ([("r1", "r2"), ("r2", "r4", "partial", "r3", False)], "r3", None, "in the middle of a step"),
    ([("r1", "r2"), ("r2", "r3", "partial", "r2", False)], "r2", None, "in the middle of a step"),
    ([("r1", "r2"), ("r2", "r3", "partial", "r2", None)], "r2", None, "in the middle of a step"),
    ([("r1", "r2"), ("r2", "r3", "failed")], "r2", "r2", ""),
    ([("r1", "r2"), ("r2", "r3", "failed"), ("r2", "r3")], "r3", "r2", ""),
    ([("r1", "r2"), ("r2", "r3", "")], "r2", None, "has no recorded end"),
    ([("r1", "r2"), ("r2", "r3", "unknown")], "r2", None, "nobody knows"),
    ([("r1", "r3"), ("r3", "r1", "partial", "r2", True, True)], "r2", None, "stopped halfway"),
    ([("r1", "r3"), ("r3", "r1", "failed", "", True, True)], "r3", "r1", ""),
    ([], "r1", None, "has no upgrade that ended there"),
]


@pytest.mark.parametrize(("runs", "now", "target", "why"), UNDONE)
def test_which_upgrade_is_undone(
    history: HistoryFile, runs: list[tuple[Any, ...]], now: str, target: str | None, why: str
) -> None:
    """A rollback goes to where the last upgrade began, never further, and nowhere if that upgrade left a half step."""
    for each in runs:
        run(history, *each[:3], **dict(zip(("after", "clean", "down"), each[3:], strict=False)))
    found, said = find_last_upgrade(history.runs(), (now,))
    assert (found.undone_to[0] if found else None) == target
    assert why in said
    assert bool(said) == (found is None)


DAMAGED = [
    {"started": 5},
    {"before": None},
    {"before": "r1"},
    {"target": None},
    {"files": [1]},
    {"by": "me"},
    {"tool": 7},
    {"run": None},
    {"by_guard": "yes"},
    {"outcome": 3},
    {"after": 1},
]


@pytest.mark.parametrize("change", DAMAGED, ids=str)
def test_damaged_lines_are_skipped(history: HistoryFile, change: dict[str, Any]) -> None:
    """A line whose fields have other types than ours is no run, and the lines around it still are."""
    run(history, "r0", "r1")
    run(history, "r1", "r2")
    lines = [json.loads(line) for line in history.path.read_text().splitlines()]
    lines[3 if "outcome" in change or "after" in change else 2].update(change)
    texts = [*map(json.dumps, lines), "5", "[]", "null", '"x"', "\x00garbage", '{"version": 1, "event": "started"', ""]
    history.path.write_text("\n".join(texts))
    runs = history.runs()
    assert [each.target for each in runs] == [("r1",)]
    assert [each.label.startswith("the upgrade of 20") for each in runs] == [True]


@pytest.mark.parametrize("files", [5, None, {"a": 1}, "x"])
def test_damaged_rehearsals(history: HistoryFile, files: Any) -> None:
    """A damaged record of a rehearsal is no rehearsal."""
    history.record_rehearsal(["a"])
    with history.path.open("a") as file:
        file.write(json.dumps({"version": 1, "event": "rehearsed", "files": files}))
    assert history.rehearsed_files() == {"a"}


def test_history_of_a_newer_version(history: HistoryFile) -> None:
    """Runs that we cannot read must not be taken for runs that never were."""
    run(history, "r0", "r1")
    with history.path.open("a") as file:
        file.write('{"version": 2, "event": "started"}\n')
    with pytest.raises(MigrationError, match="a newer version of otel-schema wrote in the history"):
        history.runs()


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    """A path that the system refuses is named with the option."""
    with pytest.raises(MigrationError, match=r"File name too long\. Name another file with --history"):
        HistoryFile(tmp_path / ("x" * 300)).runs()
