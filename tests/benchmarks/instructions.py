"""Instructions a call, where time is too noisy to decide: what valgrind's callgrind counts, the same on any machine.

A worker calls `getppid` before and after its calls; callgrind writes what it counted so far at each of these, so one
process counts many scenarios.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rounds import HERE, Case, environment

_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def count(cases: Iterable[tuple[Case, int]], progress: Callable[[str], object]) -> dict[Case, float]:
    """Instructions a call, of cases with a number of calls each; one process a variant.

    Raises:
        subprocess.CalledProcessError: If a process fails.
    """
    wanted: dict[str, dict[str, int]] = {}
    for (variant, scenario), calls in cases:
        wanted.setdefault(variant, {})[scenario] = calls
    found: dict[Case, float] = {}
    for variant, scenarios in wanted.items():
        progress(f"instructions of {variant}")
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(
                [
                    "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={directory}/out",
                    "--dump-before=getppid", sys.executable, str(HERE / "worker.py"), variant,
                    *(f"{scenario}={calls}" for scenario, calls in scenarios.items()),
                ],
                check=True,
                env=environment(),
            )  # fmt: skip
            for number, (scenario, calls) in enumerate(scenarios.items(), 1):
                dump = Path(directory, f"out.{2 * number}").read_text()
                found[variant, scenario] = int(_TOTAL.findall(dump)[0]) / calls
    return found
