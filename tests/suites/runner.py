"""Runs one library's tests with pytest, in processes of their own, and gathers what became of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from environment import CACHE, layer, source
from libraries import Suite

HERE = Path(__file__).resolve().parent
RUN_TIMEOUT = 3600  # s that one process of pytest may take
# Unlike `python -m pytest` it does not import what lies in the working directory.
PYTEST = "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main())"
# `append`: the tests import what is installed, not what lies beside them.
# The ignored warning is one of newer pytests than those an older release was tested with.
ARGUMENTS = (
    "-q", "-p", "suite_plugin", "-p", "no:cacheprovider", "--tb=short", "--continue-on-collection-errors",
    "--import-mode=append", "--maxfail=0", "-W", "ignore:Passing a non-Collection iterable",
)  # fmt: skip


@dataclass
class Outcome:
    """What became of a suite's tests, and what was recorded meanwhile.

    Attributes:
        passed: Tests, by pytest's names.
        failed: Likewise, and files that could not be collected.
        recorded: How many `validations`, `queries`, `requests` and `spans`.
        faults: Our own errors, with their numbers.
        told: What we logged.
        seconds: How long it took.
    """

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


class Runner:
    """Runs tests of one suite, whose source distribution and needs it fetches.

    Args:
        label: Its key in the table.
        suite: Its row.
    """

    def __init__(self, label: str, suite: Suite) -> None:
        self.label, self.suite = label, suite
        self._source = source(suite)
        self._layer = layer(label, suite, self._source)

    def whole(self, mode: str) -> Outcome:
        """The suite, and what runs apart."""
        suite = self.suite
        left_out = (*suite.ignored, *(arguments[-1] for arguments in suite.apart))
        rest = (*suite.tests, *(f"--ignore={path}" for path in left_out))
        return self._run(mode, mode, (rest, *suite.apart))

    def again(self, mode: str, tests: Iterable[str]) -> Outcome:
        """The files that hold `tests`: a test may fail because of what runs before it."""
        files = sorted({test.partition("::")[0] for test in tests})
        return self._run(mode, f"{mode}-again", [(file,) for file in files])

    def _run(self, mode: str, folder: str, processes: Sequence[Sequence[str]]) -> Outcome:
        """One process of pytest after the other, each with its arguments."""
        outcome, began = Outcome(), time.monotonic()
        environ = {variable: value.format(source=self._source) for variable, value in self.suite.environ.items()}
        for number, arguments in enumerate(processes):
            out = CACHE / "results" / self.label / f"{folder}-{number}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            with (out / "log").open("w") as log:
                subprocess.run(
                    [sys.executable, "-c", PYTEST, *ARGUMENTS, f"--rootdir={self._source}", *self.suite.options]
                    + [*arguments],
                    cwd=self._source,
                    env={
                        **os.environ,
                        **environ,
                        "PYTHONPATH": f"{HERE}{os.pathsep}{self._layer}",
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
