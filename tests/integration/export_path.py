"""The whole path of the leads API: started under `opentelemetry-instrument`, and compared with its traffic's count."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import Popen
from typing import Any

import processes
from leads_api.truth import Truth
from sink import MetricPoint, Sink

LEADS = Path(__file__).parents[2] / "examples" / "leads_api"


AT_THE_END = {"OTEL_METRIC_EXPORT_INTERVAL": "600000"}
INSTRUMENT = processes.beside_python("opentelemetry-instrument")


@cache
def _database() -> Path:
    """A migrated database, made once: the migration times this machine, to make one look-up slow on it."""
    directory = Path(tempfile.mkdtemp(prefix="leads-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    file = directory / "leads.sqlite3"
    environment = processes.clean_environment() | {"PYTHONPATH": str(LEADS), "LEADS_DATABASE_URL": f"sqlite:///{file}"}
    processes.once("alembic upgrade", [sys.executable, "-m", "alembic", "upgrade", "head"], environment, LEADS)
    return file


def environment(directory: Path, **telemetry: str) -> dict[str, str]:
    """What an app on that path needs: the example on its path, a database of its own, and the given settings only."""
    file = directory / "leads.sqlite3"
    if not file.exists():
        shutil.copyfile(_database(), file)
    return processes.clean_environment() | {
        "PYTHONPATH": f"{LEADS}:{directory}",
        "LEADS_DATABASE_URL": f"sqlite:///{file}",
        "OTEL_SERVICE_NAME": "leads-api",
        "OTEL_LOGS_EXPORTER": "none",
        **telemetry,
    }


def by_otlp(sink: Sink) -> dict[str, str]:
    """Settings that send traces and metrics to a sink, so often that a test need not wait."""
    return {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


def by_otlp_at_the_end(sink: Sink) -> dict[str, str]:
    """The same for a program that ends: its last collection is given as much time as the interval has."""
    return by_otlp(sink) | AT_THE_END


def by_prometheus(port: int) -> dict[str, str]:
    """Settings that publish metrics at a port, and nothing else."""
    return {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": processes.HOST,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }


@contextmanager
def leads(
    directory: Path,
    telemetry: Mapping[str, str],
    command: Callable[[int], list[str]] = lambda port: ["uvicorn", "leads_api.app:app", "--port", str(port)],
    ready: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[str, Popen[bytes]]]:
    """Run the app, or what `command` says, on a free port; its output goes to `app.log`.

    Yields:
        Its URL, and its process. Nothing was asked of it yet.

    Raises:
        processes.ProgramError: if it does not start.
    """
    port = processes.free_port()
    line: list[str | Path] = [INSTRUMENT, sys.executable, "-m", *command(port)]
    log = directory / "app.log"
    with processes.program(
        "the app",
        line,
        log,
        lambda: processes.listens(port) and ready(),
        environment(directory, **telemetry),
        directory,
    ) as process:
        yield f"http://{processes.HOST}:{port}", process


def endpoint(attributes: Mapping[str, Any]) -> str:
    """The endpoint as the truth names it: `POST /leads`, `GET ` where no route matched."""
    return f"{attributes.get('http.request.method', '')} {attributes.get('http.route', '')}"


def latest(points: Iterable[MetricPoint]) -> list[MetricPoint]:
    """The last of each series of cumulative points, by process and attributes."""
    last: dict[Any, MetricPoint] = {}
    for point in points:
        key = process(point), point.scope, tuple(sorted(point.attributes.items()))
        if key not in last or last[key].time_ns <= point.time_ns:
            last[key] = point
    return list(last.values())


def process(point: MetricPoint) -> str:
    """Which process sent it."""
    return str(point.resource["service.instance.id"])


def total(points: Iterable[MetricPoint], *by: str) -> Counter[Any]:
    """Sum the last points of all processes by some attributes; `endpoint` stands for method and route."""
    sums: Counter[Any] = Counter()
    for point in latest(points):
        values = tuple(endpoint(point.attributes) if key == "endpoint" else point.attributes.get(key) for key in by)
        sums[values[0] if len(values) == 1 else values] += (
            point.count if point.kind == "histogram" else int(point.value)
        )
    return sums


def counted(sink: Sink, truth: Truth) -> dict[str, tuple[Counter[Any], Counter[Any]]]:
    """The totals in the sink beside those of the traffic, where they do not depend on the number of processes."""
    points = sink.metric_points
    return {
        "requests": (+total(points("api.requests"), "endpoint"), truth.requests),
        "validations": (
            total(points("schema.validation.duration"), "endpoint", "schema.name"),
            truth.validators + truth.rebuilt,
        ),
        "failures": (+total(points("validation.errors"), "endpoint", "schema.name"), truth.failures),
        "problems": (
            +total(points("schema.validation.problems"), "schema.name", "schema.problem.path", "schema.problem.rule"),
            truth.problems,
        ),
        "queries during": (
            Counter(
                {
                    schema: number
                    for (schema, relation), number in total(
                        points("schema.query.duration"), "schema.name", "schema.query.relation"
                    ).items()
                    if relation == "during"
                }
            ),
            truth.queries,
        ),
        "looked up": (
            Counter({"": total(points("cache.hits")).total() + total(points("cache.misses")).total()}),
            Counter({"": sum(truth.cache)}),
        ),
    }
