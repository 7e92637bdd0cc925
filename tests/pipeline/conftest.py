"""The binaries that the pipeline's tests need, built or found once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.programs import FaultRow, built


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Instead of the fixture of all tests: nothing is instrumented here, and a module's sinks keep their threads."""


@pytest.fixture
def fault_row(record_property: Callable[[str, object], None]) -> FaultRow:
    """Add a row to the table of faults at the session's end; a property of the test, so from any process."""
    return lambda row: record_property("fault", row)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    called = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    rows = [row for report in called for name, row in report.user_properties if name == "fault"]
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
