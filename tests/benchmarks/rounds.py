"""Interleaved rounds: a process for each variant, one running at a time, so that a noisy neighbour slows all alike.

Each round times every case once; what is reported is the median over rounds of what was computed within a round.
Several generations of processes even out where the memory of one of them happens to lie.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from types import TracebackType
from typing import NamedTuple

HERE = Path(__file__).parent
TURN = 0.02  # s of CPU that one case runs in one round
MOST = 50_000  # calls in a turn

Case = tuple[str, str]
"""(variant, scenario)"""

Times = Mapping[str, float]
"""Label of a case → µs a call, within one round; or instructions a call."""


class Comparison(NamedTuple):
    """What is measured side by side.

    Attributes:
        name: Of the row.
        cases: Label → case.
    """

    name: str
    cases: dict[str, Case]


class Workers:
    """One process a variant, started when first asked; ended at the end of the `with` block."""

    def __enter__(self) -> Workers:
        self._stack, self._started = ExitStack(), dict[str, subprocess.Popen[str]]()
        self._calls: dict[Case, int] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, case: Case, calls: int) -> float:
        """µs of CPU a call.

        Raises:
            RuntimeError: If the process ended; what it said is on stderr.
        """
        variant, scenario = case
        process = self._started.get(variant)
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.worker", variant],
                cwd=HERE.parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            self._started[variant] = self._stack.enter_context(process)
            self._stack.callback(process.stdin.close)  # ends it
        process.stdin.write(json.dumps([scenario, calls]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{variant}, {scenario}: the process ended")
        return json.loads(answer)

    def turn(self, case: Case) -> float:
        """µs of CPU a call, in as many calls as a turn has time for."""
        calls = self._calls.get(case)
        if calls is None:
            self.run(case, 1)  # builds it
            calls = 1
            for part in (0.1, 1):  # the first calls are the slowest: a second look
                calls = min(MOST, max(1, int(part * TURN * 1e6 / max(self.run(case, calls), 0.01))))
            self._calls[case] = calls
        return self.run(case, calls)


def measure(workers: Workers, comparison: Comparison, rounds: int) -> list[dict[str, float]]:
    """The rounds of one comparison; every other one goes backwards."""
    labels = list(comparison.cases)
    for label in labels:
        workers.turn(comparison.cases[label])
    return [
        {label: workers.turn(comparison.cases[label]) for label in labels[:: -1 if number % 2 else 1]}
        for number in range(rounds)
    ]


def typical(rounds: Sequence[Times], of: Callable[[Times], float]) -> float:
    """The median over rounds of what `of` makes of each."""
    return median(of(each) for each in rounds)


def spread(values: Iterable[float]) -> float:
    """How far apart the quartiles are, over the median."""
    low, middle, high = quantiles(values, n=4)
    return (high - low) / middle


def environment() -> dict[str, str]:
    """Of a worker: as a user's, but with the same hashes each time, and without what would configure OpenTelemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LOGFIRE_", "PYTHON"))}
    return {**kept, "PYTHONHASHSEED": "0"}


def machine() -> float:
    """µs that a fixed loop takes: the machine's speed at this moment, for the noise to be seen."""
    began = process_time()
    sum(number * number for number in range(20_000))
    return (process_time() - began) * 1e6
