"""Instructions a call, where time is too noisy to decide: what valgrind's callgrind counts, the same on any machine.

A worker calls `getppid` before and after its calls; callgrind writes what it counted so far at each of these, so one
process counts many scenarios.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.rounds import HERE, Case, environment

_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def count(cases: Iterable[tuple[Case, int]], progress: Callable[[str], object]) -> dict[Case, float]:
    """Instructions a call, of cases with a number of calls each; one process a variant, side by side.

    Raises:
        subprocess.CalledProcessError: If a process fails.
    """
    wanted: dict[str, dict[str, int]] = {}
    for (variant, scenario), calls in cases:
        wanted.setdefault(variant, {})[scenario] = calls

    def one(variant: str) -> dict[Case, float]:
        progress(f"instructions of {variant}")
        return _count(variant, wanted[variant])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, wanted))
    return {case: number for each in found for case, number in each.items()}


def _count(variant: str, calls: dict[str, int]) -> dict[Case, float]:
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [
                "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={directory}/out",
                "--dump-before=getppid", sys.executable, "-m", "tests.benchmarks.worker", variant,
                *(f"{scenario}={number}" for scenario, number in calls.items()),
            ],
            check=True,
            cwd=HERE.parents[1],
            # everything takes 50 times longer here, and what is slow has a span
            env={**environment(), "OTEL_PYTHON_SCHEMA_SLOW_MS": "60000"},
        )  # fmt: skip
        totals = [_total(Path(directory, f"out.{2 * number}")) for number in range(1, len(calls) + 1)]
    return {(variant, scenario): total / calls[scenario] for scenario, total in zip(calls, totals, strict=True)}


def _total(dump: Path) -> int:
    return int(_TOTAL.findall(dump.read_text())[0])
