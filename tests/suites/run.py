"""Run libraries' own test suites plain and with us switched on: no test may newly fail.

Without arguments all of them; see `--help`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from environment import CACHE, layer, release, source
from libraries import LATE, ON, SUITES, Suite

HERE = Path(__file__).resolve().parent
# Unlike `python -m pytest` it does not import what lies in the working directory.
PYTEST = "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main())"
PLAIN = "plain"
RUN_TIMEOUT = 1800  # s that one process of pytest may take
RERUN_AT_MOST = 200
# `append`: the tests import what is installed, not what lies beside them.
# The ignored warning is one of newer pytests than those an older release was tested with.
ARGUMENTS = (
    "-q", "-p", "suite_plugin", "-p", "no:cacheprovider", "--tb=short", "--continue-on-collection-errors",
    "--import-mode=append", "--maxfail=0", "-W", "ignore:Passing a non-Collection iterable",
)  # fmt: skip


@dataclass
class Outcome:
    """What became of a suite's tests, and what was recorded meanwhile."""

    passed: set[str] = field(default_factory=set[str])
    failed: set[str] = field(default_factory=set[str])
    recorded: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    told: set[str] = field(default_factory=set[str])
    seconds: float = 0.0

    def add(self, passed: list[str], failed: list[str], told: list[str], **counts: dict[str, int]) -> None:
        """Join what one process wrote."""
        self.passed.update(passed)
        self.failed.update(failed)
        self.told.update(told)
        self.recorded.update(counts["recorded"])
        self.faults.update(counts["faults"])


@dataclass
class Runner:
    """Runs tests of one suite.

    Attributes:
        label: Its key in `SUITES`.
    """

    label: str
    suite: Suite
    source: Path
    layer: Path

    def whole(self, mode: str) -> Outcome:
        """The suite, and what runs apart."""
        suite = self.suite
        left_out = (*suite.ignored, *(arguments[-1] for arguments in suite.apart))
        rest = (*suite.tests, *(f"--ignore={path}" for path in left_out))
        return self.run(mode, (rest, *suite.apart))

    def again(self, mode: str, tests: Iterable[str]) -> Outcome:
        """The files that hold `tests`: a test may fail because of what runs before it."""
        return self.run(mode, [(file,) for file in sorted({test.partition("::")[0] for test in tests})])

    def run(self, mode: str, processes: Sequence[Sequence[str]]) -> Outcome:
        """One process of pytest after the other, each with its arguments."""
        outcome, began = Outcome(), time.monotonic()
        for number, arguments in enumerate(processes):
            out = CACHE / "results" / self.label / f"{mode}-{number}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            environ = {variable: value.format(source=self.source) for variable, value in self.suite.environ.items()}
            with (out / "log").open("w") as log:
                subprocess.run(
                    [sys.executable, "-c", PYTEST, *ARGUMENTS, *self.suite.options, *arguments],
                    cwd=self.source,
                    env={
                        **os.environ,
                        **environ,
                        "PYTHONPATH": f"{HERE}{os.pathsep}{self.layer}",
                        "PYTHONNOUSERSITE": "1",  # SQLAlchemy's tests then leave the unpacked library alone
                        "SUITE_MODE": mode,
                        "SUITE_OUT": str(out),
                        "SUITE_LINKED": "1" if self.suite.linked else "",
                    },
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=RUN_TIMEOUT,
                    check=False,
                )
            written = list(out.glob("*.json"))
            if not written:
                sys.exit(f"pytest did not end as it should: {out / 'log'}")
            for file in written:
                outcome.add(**json.loads(file.read_text()))
        outcome.passed -= outcome.failed
        outcome.seconds = time.monotonic() - began
        return outcome


def main() -> int:
    """Returns 1 if a test newly fails or does not run, a fault of ours was counted, or too little was recorded."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--subset", action="store_true", help="what fits into each change")
    parser.add_argument("--release", help="of the library, for one suite; default: see libraries.py")
    parser.add_argument("--mode", choices=(*ON, LATE), action="append", help="default: see libraries.py")
    chosen = parser.parse_args()
    if unknown := set(chosen.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    suites = {label: SUITES[label] for label in chosen.suites or SUITES}
    if chosen.release:
        suites = {label: replace(suite, release=chosen.release) for label, suite in suites.items()}
    if chosen.subset:
        suites = {
            label: replace(suite, tests=suite.subset, apart=(), modes=ON)
            for label, suite in suites.items()
            if suite.subset
        }
    began = time.monotonic()
    rows: list[str] = []
    bad = False
    for runner in prepared(suites):
        plain = runner.whole(PLAIN)
        row(rows, runner, PLAIN, plain, "")
        for mode in chosen.mode or runner.suite.modes:
            ours = runner.whole(mode)
            newly, complaints = judged(runner, mode, plain, ours)
            row(rows, runner, mode, ours, str(len(newly)))
            for remark in (*(f"logged: {message}" for message in sorted(ours.told)), *complaints):
                print(f"    {remark}", flush=True)
            bad = bad or bool(complaints)
    print(f"\n{HEADING}", *rows, sep="\n")
    print(f"{'NOT ' if bad else ''}as it should be, {time.monotonic() - began:.0f} s; logs: {CACHE / 'results'}")
    return int(bad)


def prepared(suites: dict[str, Suite]) -> list[Runner]:
    """Source distributions and what the tests need, fetched side by side."""
    print(f"preparing {', '.join(suites)} in {CACHE} ...", flush=True)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        runners = list(pool.map(_prepared, suites.items()))
    print(f"prepared, {time.monotonic() - began:.0f} s\n{HEADING}", flush=True)
    return runners


def _prepared(labelled: tuple[str, Suite]) -> Runner:
    label, suite = labelled
    unpacked = source(suite)
    return Runner(label, suite, unpacked, layer(label, suite, unpacked))


def judged(runner: Runner, mode: str, plain: Outcome, ours: Outcome) -> tuple[list[str], list[str]]:
    """The newly failing tests, and everything that is not as it should be."""
    suspects = ours.failed - plain.failed
    newly, complaints = sorted(suspects), list[str]()
    if 0 < len(suspects) <= RERUN_AT_MOST:
        again, without = runner.again(mode, suspects), runner.again(PLAIN, suspects)
        newly = sorted(suspects & again.failed - without.failed)
        for test in sorted(suspects - set(newly)):
            print(f"    unsteady: {test} ({'fails plain too' if test in without.failed else 'passed again'})")
    complaints += (f"newly failing: {test}" for test in newly)
    # Their names do not tell: some hold the time of day.
    if missing := len(plain.passed | plain.failed) - len(ours.passed | ours.failed):
        complaints.append(f"{missing} tests did not run")
    complaints += (f"fault of ours: {fault} ({count} times)" for fault, count in ours.faults.items())
    for what, share in runner.suite.least.items():
        if ours.recorded[what] < (least := share * len(ours.passed)):
            complaints.append(f"fewer than {least:.0f} {what}: was it switched on?")
    return newly, complaints


COLUMNS = ("suite", "release", "mode", "passed", "failed", "new", "validations", "queries", "requests", "spans", "s")
WIDTHS = (14, 9, 8, 7, 7, 4, 11, 8, 8, 7, 5)


def row(rows: list[str], runner: Runner, mode: str, outcome: Outcome, newly: str) -> None:
    """Print a line of the table, and keep it for the end."""
    counts = [str(outcome.recorded[what] if mode != PLAIN else "") for what in COLUMNS[6:10]]
    cells = (
        runner.label, release(runner.suite), mode, str(len(outcome.passed)), str(len(outcome.failed)), newly,
        *counts, f"{outcome.seconds:.0f}",
    )  # fmt: skip
    rows.append(line(cells))
    print(rows[-1], flush=True)


def line(cells: Sequence[str]) -> str:
    return " ".join(
        cell.ljust(width) if number < 3 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    )


HEADING = line(COLUMNS)

if __name__ == "__main__":
    sys.exit(main())
