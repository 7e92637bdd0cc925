"""`make bench-check`: what ours adds to a validation, in SDK records, against baseline.json.

Ratios within one run, never times. A figure is over its generous limit only if it is in each of several attempts.
"""

from __future__ import annotations

import argparse
import json
import sys
from statistics import median
from time import monotonic

from tests.benchmarks.rounds import HERE, Comparison, Workers, measure, typical
from tests.benchmarks.rows import RECORDS, ROWS, Row, added, alone, ratio

BASELINE = HERE / "baseline.json"
LIMIT = 2.0  # times the baseline
LEAST, LEAST_OF_A_QUERY = 0.02, 1.0  # SDK records: a baseline below this is noise
ATTEMPTS, ROUNDS = 5, 7
ENOUGH = 40.0  # s after which no further attempt starts, if there were two
_ADDED = ratio(added("ours"), alone("SDK record alone"))


def attempt(rows: list[Row]) -> dict[str, float]:
    """Row's name → what ours adds, in SDK records."""
    with Workers() as workers:
        return {row.comparison.name: typical(measure(workers, _comparison(row), ROUNDS), _ADDED) for row in rows}


def _comparison(row: Row) -> Comparison:
    cases = {label: row.comparison.cases[label] for label in ("plain", "ours")}
    return Comparison(row.comparison.name, cases | RECORDS)


def compare() -> int:
    """Measure until each row was within its limit once, or attempts are used up.

    Returns:
        How many rows never were; a row without a baseline is one of them.
    """
    began, best = monotonic(), dict[str, float]()
    limits = {name: value * LIMIT for name, value in json.loads(BASELINE.read_text()).items()}
    pending = rows = _rows()
    for number in range(ATTEMPTS):
        print(f"attempt {number + 1}: {len(pending)} rows", flush=True)
        for name, value in attempt(pending).items():
            best[name] = min(value, best.get(name, value))
        pending = [row for row in rows if best[row.comparison.name] > limits.get(row.comparison.name, 0)]
        if not pending or (number > 0 and monotonic() - began > ENOUGH):
            break
    print(f"{'ours adds, in SDK records':66}{'now':>8}{'limit':>8}")
    for name, value in best.items():
        limit = limits.get(name, 0)
        print(f"{name:66}{value:8.3f}{limit:8.3f}{'  OVER' if value > limit else ''}")
    print(f"{len(pending)} of {len(rows)} rows over their limit; {monotonic() - began:.0f} s")
    return len(pending)


def update() -> None:
    """Write the baseline: the median of all attempts."""
    attempts = [attempt(_rows()) for _ in range(ATTEMPTS)]
    baseline: dict[str, float] = {}
    for row in _rows():
        name, least = row.comparison.name, LEAST_OF_A_QUERY if row.section == "database" else LEAST
        baseline[name] = round(max(least, median(each[name] for each in attempts)), 3)
    BASELINE.write_text(json.dumps(baseline, indent=1, ensure_ascii=False) + "\n")


def _rows() -> list[Row]:
    return [row for row in ROWS if row.checked]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write baseline.json")
    if parser.parse_args().update:
        update()
    else:
        sys.exit(1 if compare() else 0)
