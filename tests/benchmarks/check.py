"""`make bench-check`: what a validation of ours adds, in SDK records, against baseline.json.

Ratios within one run, never times; a figure fails only if it is over its generous limit in each of several attempts,
since noise on a machine only ever adds.
"""

from __future__ import annotations

import argparse
import json
import sys
from time import monotonic

from rounds import HERE, Comparison, Workers, measure, typical
from rows import RECORDS, ROWS, Row, added, alone, ratio

BASELINE = HERE / "baseline.json"
LIMIT = 2.0  # times the baseline
ATTEMPTS, ROUNDS = 5, 7
_ADDED = ratio(added("ours"), alone("SDK record alone"))


def _comparison(row: Row) -> Comparison:
    cases = {label: row.comparison.cases[label] for label in ("plain", "ours")}
    return Comparison(row.comparison.name, {**cases, **RECORDS})


def attempt(rows: list[Row]) -> dict[str, float]:
    """Name → what ours adds, in SDK records."""
    with Workers() as workers:
        return {row.comparison.name: typical(measure(workers, _comparison(row), ROUNDS), _ADDED) for row in rows}


def main(update: bool = False) -> int:
    """Compare, or write the baseline: the least of all attempts.

    Returns:
        0 if all is within its limit, else 1.
    """
    began = monotonic()
    rows = [row for row in ROWS if row.checked]
    known: dict[str, float] = {} if update else json.loads(BASELINE.read_text())
    best: dict[str, float] = {}
    for number in range(ATTEMPTS):
        pending = [row for row in rows if _over(best, known, row.comparison.name)]
        if not pending:
            break
        print(f"attempt {number + 1}: {len(pending)} rows", flush=True)
        for name, value in attempt(pending).items():
            best[name] = min(value, best.get(name, value))
    if update:
        BASELINE.write_text(json.dumps({name: round(value, 3) for name, value in best.items()}, indent=1) + "\n")
        return 0
    failed = [name for name in best if _over(best, known, name)]
    print(f"{'what ours adds, in SDK records':70}{'now':>8}{'baseline':>10}{'limit':>8}")
    for name, value in best.items():
        limit = known.get(name, 0) * LIMIT
        print(f"{name:70}{value:8.3f}{known.get(name, 0):10.3f}{limit:8.3f}{'  OVER' if name in failed else ''}")
    print(f"{len(failed)} of {len(best)} over their limit, {monotonic() - began:.0f} s")
    return 1 if failed else 0


def _over(best: dict[str, float], known: dict[str, float], name: str) -> bool:
    return name not in best or name not in known or best[name] > known[name] * LIMIT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write baseline.json")
    sys.exit(main(parser.parse_args().update))
