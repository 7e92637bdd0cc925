"""The binaries that the pipeline's tests need, built or found once."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from programs import ROOT, built

sys.path.insert(0, str(ROOT / "examples" / "leads_api"))


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Instead of the fixture of all tests: nothing is instrumented here, and a module's sinks keep their threads."""


CHAOS: pytest.StashKey[list[tuple[object, ...]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def chaos_table(pytestconfig: pytest.Config) -> list[tuple[object, ...]]:
    """Rows that the faults add to the table at the end of the session."""
    return pytestconfig.stash.setdefault(CHAOS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(CHAOS, [])
    if rows:
        terminalreporter.section("faults")
        for row in [("fault", "spans sent", "received", "lost", "duplicated", "counts lost"), ("---",) * 6, *rows]:
            terminalreporter.line(f"| {' | '.join(str(cell) for cell in row)} |")


@pytest.fixture(scope="session")
def otelcol() -> Path:
    return built("small")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Debian's Prometheus 2.42, or whatever is on PATH."""
    binary = shutil.which("prometheus")
    if binary is None:
        message = "no prometheus on PATH (Debian: apt install prometheus)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return binary
