"""Runs of a migration tool, as spans and gauges, and how long their export may take."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._migrations import provenance
from opentelemetry.instrumentation.schema._migrations.telemetry import MAX_POINTS, RunRecorder, Target
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

LEADS = Target("alembic", "leads", "postgresql")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Recorded:
    """What one process recorded of its runs."""

    def __init__(self) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = tracers.get_tracer("test")
        self.runs = RunRecorder(self.tracer)
        self.runs.publish(MeterProvider([self._reader], shutdown_on_exit=False).get_meter("test"))

    def spans(self) -> dict[str, trace.Span]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def points(self, name: str) -> list[tuple[dict[str, object], float]]:
        data = self._reader.get_metrics_data()
        return [
            (dict(point.attributes), point.value)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_a_run_has_a_child_for_each_step_and_the_statements_below(recorded: Recorded, tmp_path: Path) -> None:
    """A run's span holds a span for each step, and what runs meanwhile is below the step."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text(f"{COMMIT}\n")
    run = recorded.runs.begin(LEADS, "upgrade", tmp_path)
    run.begin_step("a1")
    with recorded.tracer.start_as_current_span("ALTER"):
        pass
    run.end_step()
    run.end("applied")
    spans = recorded.spans()
    assert list(spans) == ["ALTER", "schema.migrate.step a1", "schema.migrate upgrade"]
    assert spans["ALTER"].parent.span_id == spans["schema.migrate.step a1"].context.span_id
    assert spans["schema.migrate.step a1"].parent.span_id == spans["schema.migrate upgrade"].context.span_id
    assert dict(spans["schema.migrate upgrade"].attributes) == {
        "schema.migration.tool": "alembic",
        "db.namespace": "leads",
        "db.system.name": "postgresql",
        "schema.migration.direction": "upgrade",
        "schema.migration.outcome": "applied",
        "vcs.ref.head.revision": COMMIT,
        **({"cicd.pipeline.run.id": provenance.pipeline_run()} if provenance.pipeline_run() else {}),
    }
    assert not trace.get_current_span().get_span_context().is_valid


def test_statements_of_another_process_are_below_the_step(recorded: Recorded) -> None:
    """A statement that the tool's process tells of is a client's span below its step, with the times that it told."""
    run = recorded.runs.begin(LEADS, "upgrade")
    run.begin_step("a1")
    run.record_statement("ALTER", 1_000, 3_000)
    run.record_statement("INSERT", 3_000, 4_000, failed=True)
    run.end_step()
    run.end("failed")
    spans = recorded.spans()
    for verb, times, status in (("ALTER", (1_000, 3_000), "UNSET"), ("INSERT", (3_000, 4_000), "ERROR")):
        span = spans[verb]
        assert span.parent.span_id == spans["schema.migrate.step a1"].context.span_id
        assert ((span.start_time, span.end_time), span.status.status_code.name) == (times, status)
        assert dict(span.attributes) == {
            "db.operation.name": verb,
            "db.system.name": "postgresql",
            "db.namespace": "leads",
        }


def test_gauges_tell_time_and_duration_of_the_last_run_of_each_outcome(recorded: Recorded) -> None:
    """A second run with the same outcome replaces the first; one with another outcome stands beside it."""
    before = time.time()
    for outcome in ("failed", "failed", "applied"):
        recorded.runs.begin(LEADS, "upgrade").end(outcome)
    labels = {"schema.migration.tool": "alembic", "db.namespace": "leads", "schema.migration.direction": "upgrade"}
    points = recorded.points("schema.migration.last_run.timestamp")
    at = {point[semconv.MIGRATION_OUTCOME]: value for point, value in points}
    assert list(at) == ["failed", "applied"]
    assert before <= at["failed"] <= at["applied"] <= time.time()
    took = recorded.points("schema.migration.last_run.duration")
    assert [point for point, _ in took] == [
        labels | {"schema.migration.outcome": each} for each in ("failed", "applied")
    ]
    assert all(0 < value < 1 for _, value in took)


def test_no_more_points_than_the_limit(recorded: Recorded) -> None:
    """An app that migrates each tenant's database does not grow without end; the latest runs are told."""
    for tenant in range(MAX_POINTS + 5):
        recorded.runs.begin(Target("alembic", f"tenant{tenant}"), "upgrade").end("applied")
    told = [point["db.namespace"] for point, _ in recorded.points("schema.migration.last_run.timestamp")]
    assert told == [f"tenant{number}" for number in range(5, MAX_POINTS + 5)]


@pytest.mark.parametrize(
    ("fixture", "statement", "code"),
    [
        (None, "SELECT nothing", "SQLITE_ERROR" if sys.version_info >= (3, 11) else None),
        ("postgresql", "SELECT nothing", "42703"),
        ("mariadb", "SELECT nothing", "1054"),
    ],
    ids=["sqlite", "postgresql", "mariadb"],
)
def test_a_failed_step_tells_the_status_code(
    recorded: Recorded, request: pytest.FixtureRequest, fixture: str | None, statement: str, code: str | None
) -> None:
    """The step's span and the run's have the database's status code and the error's class, and never its text."""
    engine = create_engine("sqlite://" if fixture is None else request.getfixturevalue(fixture).fresh())
    run = recorded.runs.begin(LEADS, "upgrade")
    run.begin_step("a1")
    with engine.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text(statement))
    engine.dispose()
    run.end("failed", raised.value)
    for span in recorded.spans().values():
        assert span.attributes.get("db.response.status_code") == code
        assert span.attributes["error.type"] == type(raised.value).__qualname__
        assert span.status.status_code is trace.StatusCode.ERROR
        assert not span.events
        assert "nothing" not in span.to_json()


def _git(folder: Path, *arguments: str) -> str:
    base = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run([*base, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("where", ["branch", "detached", "packed", "worktree"])
def test_the_commit_is_the_one_that_is_checked_out(where: str, tmp_path: Path) -> None:
    """The commit is Git's own answer: on a branch, detached, with packed refs, in a linked work tree."""
    folder = tmp_path / "a/migrations"
    folder.mkdir(parents=True)
    _git(tmp_path / "a", "init", "-q", "-b", "main")
    _git(tmp_path / "a", "commit", "-q", "--allow-empty", "-m", "one")
    if where == "detached":
        _git(tmp_path / "a", "checkout", "-q", "--detach")
    elif where == "packed":
        _git(tmp_path / "a", "pack-refs", "--all")
    elif where == "worktree":
        _git(tmp_path / "a", "worktree", "add", "-q", "-b", "other", str(tmp_path / "b"))
        folder = tmp_path / "b"
    assert provenance.commit(folder, {}) == _git(folder, "rev-parse", "HEAD")


def test_without_a_work_tree_the_ci_names_the_commit(tmp_path: Path) -> None:
    """A container without .git takes the CI's variable, and what is no hash is no commit."""
    assert provenance.commit(tmp_path, {"GITHUB_SHA": COMMIT}) == COMMIT
    assert provenance.commit(tmp_path, {"GIT_COMMIT": "latest"}) == ""
    assert provenance.pipeline_run({"CI_PIPELINE_ID": "17"}) == "17"


COMMAND = """
import logging, sys, time
from opentelemetry.instrumentation.schema._migrations.sdk import record_runs
from opentelemetry.instrumentation.schema._migrations.telemetry import Target
for _ in range(2):  # an upgrade, and the way back
  with record_runs() as runs:
    run = runs.begin(Target("dbmate", "leads", "postgresql"), "upgrade")
    run.begin_step("1")
    run.end("applied")
print("ended", flush=True)
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("protocol", ["grpc", pytest.param("http/protobuf", marks=pytest.mark.nightly)])
def test_a_command_waits_two_seconds_for_a_collector_that_does_not_answer(protocol: str, silent: int) -> None:
    """With the collector hung, a command exits with its own code at most 2 s later, and one line says why."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    programs = {
        "off": environment,
        "hung": environment
        | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol},
    }
    took, said = {}, {}
    for name, variables in programs.items():
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND], env=variables, capture_output=True, text=True, check=True
        )
        took[name], said[name] = time.monotonic() - began, done.stderr
        assert done.stdout == "ended\n"
    assert said["off"] == ""
    assert said["hung"] == "the telemetry of this run was not exported within 2 s: is the collector up?\n" * 2
    assert took["hung"] >= 2
    assert took["hung"] - took["off"] < 6  # 2 s, and what importing an exporter takes on a busy machine
