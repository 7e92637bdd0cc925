"""What it costs to be instrumented: everything side by side in one run.

python -m tests.benchmarks.bench                     measures, and writes results.json and docs/performance.md
python -m tests.benchmarks.bench --check             compares a quick subset with baseline.json
python -m tests.benchmarks.bench --only WORD         rows whose name contains the word; writes nothing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from statistics import median
from time import monotonic
from typing import Any

from tests.benchmarks import instructions, report, scaling
from tests.benchmarks.rounds import HERE, Case, Workers, machine, measure, spread, typical
from tests.benchmarks.rows import ROWS, UNCOUNTED, Row

RESULTS = HERE / "results.json"
GENERATIONS, ROUNDS = 2, 7
_PACKAGES = (
    "pydantic", "jsonschema", "marshmallow", "SQLAlchemy", "fastapi", "opentelemetry-sdk", "logfire",
    "prometheus_client",
)  # fmt: skip


class Progress:
    """A line for each step, with a bar before it."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._began = steps, 0, monotonic()

    def __call__(self, what: str) -> None:
        done = int(20 * self._done / self._steps)
        self._done += 1
        print(
            f"[{'#' * done}{'.' * (20 - done)}] {monotonic() - self._began:4.0f} s  {what}", file=sys.stderr, flush=True
        )


def result(row: Row, rounds: list[dict[str, float]], counts: dict[Case, float]) -> dict[str, Any]:
    """One row of results.json."""
    counted = {label: counts[case] for label, case in row.comparison.cases.items() if case in counts}
    cases: dict[str, Any] = {}
    for label in row.comparison.cases:
        cases[label] = {"us": round(typical(rounds, lambda times, label=label: times[label]), 3)}
        if label in counted:
            cases[label]["instructions"] = round(counted[label])
    goals = []
    for goal in row.goals:
        by_time, by_instructions = typical(rounds, goal.figure), goal.figure(counted) if counted else None
        decides = by_time if by_instructions is None else by_instructions
        goals.append({
            "text": goal.text, "unit": goal.unit, "at_most": goal.at_most, "by_time": round(by_time, 5),
            "by_instructions": None if by_instructions is None else round(by_instructions, 5),
            "reached": decides <= goal.at_most,
        })  # fmt: skip
    return {
        "section": row.section, "name": row.comparison.name, "unit": row.unit, "cases": cases, "goals": goals,
    }  # fmt: skip


def bench(rows: Sequence[Row], generations: int, count: bool) -> dict[str, Any]:
    """Measure the rows."""
    wanted = {
        case: row.counted
        for row in rows
        if row.counted and count
        for label, case in row.comparison.cases.items()
        if label not in UNCOUNTED
    }
    progress = Progress(generations * len(rows) + len({variant for variant, _ in wanted}))
    rounds: dict[str, list[dict[str, float]]] = {row.comparison.name: [] for row in rows}
    loops: list[float] = []
    for generation in range(generations):
        with Workers() as workers:
            for row in rows:
                progress(f"round {generation + 1} of {generations}: {row.comparison.name}")
                loops.append(machine())
                rounds[row.comparison.name] += measure(workers, row.comparison, ROUNDS)
    counts = instructions.count(wanted.items(), progress)
    return {
        "machine": _machine(loops, count),
        "rows": [result(row, rounds[row.comparison.name], counts) for row in rows],
    }


def _machine(loops: list[float], counted: bool) -> dict[str, str]:
    decides = "by instructions (callgrind) where they were counted, else " if counted else ""
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores",
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "Noise": f"a fixed loop took {median(loops) / min(loops):.2f} times its fastest typically, "
        f"{max(loops) / min(loops):.1f} times at worst (quartiles {spread(loops):.0%} apart); "
        f"load average {os.getloadavg()[1]:.1f}",
        "Decided": f"{decides}by the median of {GENERATIONS * ROUNDS} interleaved rounds",
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--time-only", action="store_true", help="count no instructions, which takes valgrind")
    arguments = parser.parse_args()
    count = not arguments.time_only and instructions.available()
    rows = [row for row in ROWS if arguments.only in row.comparison.name or arguments.only == row.section]
    results = bench(rows, GENERATIONS, count)
    print(report.times(results["rows"]), report.goals(results["rows"]), sep="\n\n")
    if not arguments.only:
        results["scaling"] = scaling.run(Progress(len(scaling.SERIES)))
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        report.write(results)


if __name__ == "__main__":
    main()
