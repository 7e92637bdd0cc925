"""The `alembic` command under SIGTERM: what is exported, and when and how the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processes import until
from sink import Sink
from tests.integration import export_path
from tests.integration.alembic_project import PSYCOPG, Project, heads, project

__all__ = ["project"]  # a fixture

TIMESTAMP = "schema.migration.last_run.timestamp"
SLEEPS = """
    op.execute("CREATE TABLE half (id INTEGER)")
    import pathlib; pathlib.Path("started").touch()
    op.execute("SELECT pg_sleep(60)")
"""
COUNTS = """
    op.execute("INSERT INTO leads VALUES (1)")
    import pathlib; pathlib.Path("started").touch()
    op.execute("WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c")
"""


@contextmanager
def upgrading(project: Project, telemetry: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The `alembic` command under the wrapper, in the middle of its last step."""
    programs = Path(sys.executable).parent
    with subprocess.Popen(
        [str(programs / "opentelemetry-instrument"), str(programs / "alembic"), "upgrade", "head"],
        cwd=project.folder,
        env={**os.environ, **telemetry},
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert until((project.folder / "started").exists, 60), process.communicate(timeout=5)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("driver", "step", "stays"),
    [
        pytest.param(
            PSYCOPG, SLEEPS, set(), marks=pytest.mark.skipif(PSYCOPG.endswith("2"), reason="that waits in C, as SQLite")
        ),
        ("sqlite", COUNTS, {"r0"}),
    ],
    ids=["a driver that listens to signals", "a driver that waits in C"],
)
def test_a_run_that_sigterm_ends_is_told(
    driver: str, step: str, stays: set[str], project: Callable[..., Project]
) -> None:
    """Under SIGTERM `alembic` exports spans and gauges and dies of the signal, also in the middle of a statement."""
    made = project(driver).add("r0", "CREATE TABLE leads (id INTEGER)").add("r1", step)
    with Sink() as sink, upgrading(made, export_path.by_otlp_at_the_end(sink)) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGTERM
        (point,) = export_path.latest(sink.metric_points(TIMESTAMP))
        found = point.attributes
        outcome = "partial" if stays else "failed"
        assert (found["schema.migration.direction"], found["schema.migration.outcome"]) == ("upgrade", outcome)
        assert {"schema.migrate upgrade", "schema.migrate.step r1"} <= {span.name for span in sink.spans()}
    assert heads(made) == stays


@pytest.mark.nightly
def test_sigterm_with_the_collector_down_ends_the_run_soon(project: Callable[..., Project]) -> None:
    """Where nobody takes the telemetry, SIGTERM ends the run some 2 s later than without us, or 4 s inside a driver."""
    made = project("sqlite").add("r0", "CREATE TABLE leads (id INTEGER)").add("r1", COUNTS)
    with upgrading(made, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGTERM
        assert time.monotonic() - began < 10
