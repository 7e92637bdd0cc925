"""Run libraries' own test suites plain and with us switched on: no test may newly fail."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from environment import CACHE, release
from libraries import LATE, ON, SUBSET, SUITES, Suite
from runner import Outcome, Runner

PLAIN = "plain"
RERUN_AT_MOST = 200

COLUMNS = ("suite", "release", "mode", "passed", "failed", "new", "validations", "queries", "requests", "spans", "s")
WIDTHS = (14, 9, 8, 7, 7, 4, 11, 8, 8, 7, 5)


def main() -> int:
    """Return 1 if a test newly fails or does not run, a fault of ours was counted, or too little was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--subset", action="store_true", help="what fits into each change")
    parser.add_argument("--release", help="of the library, for one suite; default: see libraries.py")
    parser.add_argument("--mode", choices=(*ON, LATE), action="append", help="default: see libraries.py")
    chosen = parser.parse_args()
    table = SUBSET if chosen.subset else SUITES
    if unknown := set(chosen.suites) - set(table):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    suites = [(label, table[label]) for label in chosen.suites or table]
    if chosen.release:
        suites = [(label, replace(suite, release=chosen.release)) for label, suite in suites]
    print(line(COLUMNS), flush=True)
    began = time.monotonic()
    with ThreadPoolExecutor(2 if chosen.subset else 1) as pool:  # the subset's suites are light, and wait for pip
        done = list(pool.map(lambda suite: examine(*suite, chosen.mode), suites))
    print("", line(COLUMNS), *(row for rows, _ in done for row in rows), sep="\n")
    fine = all(good for _, good in done)
    verdict = "no test newly fails" if fine else "NOT as it should be, see above"
    print(f"{verdict}; {time.monotonic() - began:.0f} s; logs: {CACHE / 'results'}")
    return 0 if fine else 1


def examine(label: str, suite: Suite, modes: Sequence[str] | None) -> tuple[list[str], bool]:
    """Run one suite in all modes, report at once, and return its lines of the table and whether all passed."""
    runner, rows, fine = Runner(label, suite), list[str](), True

    def tell(mode: str, outcome: Outcome, newly: str, remarks: Iterable[str]) -> None:
        rows.append(row(label, suite, mode, outcome, newly))
        print(rows[-1], *(f"    {remark}" for remark in remarks), sep="\n", flush=True)

    plain = runner.whole(PLAIN)
    tell(PLAIN, plain, "", ())
    for mode in modes or suite.modes:
        ours = runner.whole(mode)
        newly, unsteady = newly_failing(runner, mode, plain, ours)
        complaints = [*(f"newly failing: {test}" for test in newly), *other_complaints(suite, plain, ours)]
        remarks = [
            *(f"known to fail: {test}: {suite.known[test]}" for test in sorted(ours.failed & suite.known.keys())),
            *(f"unsteady: {test}" for test in unsteady),
            *(f"logged: {message}" for message in sorted(ours.told)),
        ]
        tell(mode, ours, str(len(newly)), remarks + complaints)
        fine = fine and not complaints
    return rows, fine


def newly_failing(runner: Runner, mode: str, plain: Outcome, ours: Outcome) -> tuple[list[str], list[str]]:
    """Tests that fail with us and not without; and those that failed, but in a second run do so plain too, or not."""
    suspects = ours.failed - plain.failed - runner.suite.known.keys()
    newly = suspects
    if 0 < len(suspects) <= RERUN_AT_MOST:
        newly = suspects & (runner.again(mode, suspects).failed - runner.again(PLAIN, suspects).failed)
    return sorted(newly), sorted(suspects - newly)


def other_complaints(suite: Suite, plain: Outcome, ours: Outcome) -> Iterator[str]:
    """What else is not as it should be."""
    if not ours.passed:
        yield "no test passed"
    # Their names do not tell: some hold the time of day.
    missing = len(plain.passed | plain.failed) - len(ours.passed | ours.failed)
    if missing:
        yield f"{missing} tests did not run"
    for fault, number in ours.faults.items():
        yield f"fault of ours: {fault} ({number} times)"
    for what, share in suite.least.items():
        least = share * len(ours.passed)
        if ours.recorded[what] < least:
            yield f"fewer than {least:.0f} {what}: was it switched on?"


def row(label: str, suite: Suite, mode: str, outcome: Outcome, newly: str) -> str:
    """A line of the table."""
    counts = ["" if mode == PLAIN else str(outcome.recorded[what]) for what in COLUMNS[6:10]]
    return line((
        label, release(suite), mode, str(len(outcome.passed)), str(len(outcome.failed)), newly,
        *counts, f"{outcome.seconds:.0f}",
    ))  # fmt: skip


def line(cells: Sequence[str]) -> str:
    return " ".join(
        cell.ljust(width) if number < 3 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    )


if __name__ == "__main__":
    sys.exit(main())
