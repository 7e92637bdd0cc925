"""The short examples, each run as its first lines say, and what its telemetry then tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from opentelemetry.instrumentation.schema._prometheus import exposition

from processes import beside_python, clean_environment, free_port, listens, program, until
from sink import Sink
from tests.integration.export_path import by_otlp, by_prometheus

EXAMPLES = Path(__file__).parents[2] / "examples"
CELERY = beside_python("celery")
INSTRUMENT = beside_python("opentelemetry-instrument")


@contextmanager
def serving(example: str, *run: str | Path, log: Path, **variables: str) -> Iterator[tuple[httpx.Client, int]]:
    """An example that serves HTTP under `opentelemetry-instrument`, and the port of its metrics."""
    port, metrics = free_port(), free_port()
    words = [str(word).replace("PORT", str(port)) for word in run]
    with (
        program(
            example,
            [INSTRUMENT, beside_python(words[0]), *words[1:]],
            log,
            lambda: listens(port),
            {**clean_environment(), **by_prometheus(metrics), **variables},
            EXAMPLES / example,
        ),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client, metrics


def samples(port: int, name: str, **labels: str) -> float | None:
    """The sum of the samples with these labels at an endpoint, None where there is none."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    found = [value for each, have, value in exposition.parse(text) if each == name and labels.items() <= have.items()]
    return sum(found) if found else None


def test_flask(tmp_path: Path) -> None:
    """Flask, marshmallow and SQLAlchemy: an order that is refused counts, and so does the query of its validator."""
    run = ("flask", "--app", "app", "run", "--port", "PORT")
    with serving("flask_orders", *run, log=tmp_path / "log") as (client, metrics):
        assert client.post("/orders", json={"sku": "A-1", "quantity": 2}).status_code == 201
        assert client.post("/orders", json={"sku": "B-2", "quantity": 0}).status_code == 422
        assert client.get("/orders").json() == [{"id": 1, "sku": "A-1", "quantity": 2}]
        order = {"schema_name": "NewOrder", "schema_module": "app"}
        assert samples(metrics, "schema_validation_duration_seconds_count", **order) == 2
        assert samples(metrics, "validation_errors_total", http_route="/orders", **order) == 1
        problems = ("quantity", "Range"), ("sku", "custom")
        for path, rule in problems:
            labels = {"schema_problem_path": path, "schema_problem_rule": rule}
            assert samples(metrics, "schema_validation_problems_total", **labels, **order) == 1
        assert samples(metrics, "schema_query_duration_seconds_count", schema_query_relation="during", **order) == 2


def test_ninja(tmp_path: Path) -> None:
    """Django Ninja: a body and a parameter that are refused are failed validations at their route."""
    run = ("uvicorn", "--port", "PORT", "app:application")
    variables = {"DJANGO_SETTINGS_MODULE": "app"}
    with serving("ninja_tasks", *run, log=tmp_path / "log", **variables) as (client, metrics):
        assert client.post("/api/tasks", json={"title": "write"}).status_code == 201
        assert client.post("/api/tasks", json={"title": ""}).status_code == 422
        assert client.get("/api/tasks", params={"limit": "many"}).status_code == 422
        assert len(client.get("/api/tasks").json()) == 1
        for name in ("body.task", "query.limit"):
            assert samples(metrics, "validation_errors_total", schema_name=name, http_route="api/tasks") == 1
        assert samples(metrics, "api_requests_total", http_route="api/tasks") == 4


def test_celery(tmp_path: Path) -> None:
    """A Celery worker: the job counts as a request, its rows as validations, over OTLP from the child process."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "configured.py").write_text(
        "from worker import app\n"
        "folder = {'data_folder_in': 'queue', 'data_folder_out': 'queue', 'control_folder': 'queue'}\n"
        "app.conf.update(broker_url='filesystem://', broker_transport_options=folder, task_ignore_result=True)\n"
    )
    rows = [{"email": "ann@example.com"}, {"name": "no address"}]
    with Sink() as sink:
        environment = {
            **clean_environment(), **by_otlp(sink), "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "PYTHONPATH": f"{EXAMPLES / 'celery_import'}:{tmp_path}",
        }  # fmt: skip
        worker: list[str | Path] = [
            INSTRUMENT,
            CELERY,
            "-A",
            "configured",
            "worker",
            "--concurrency=1",
            "--loglevel=INFO",
        ]
        with program("worker", worker, tmp_path / "log", lambda: True, environment, tmp_path):
            call = [
                beside_python("celery"),
                "-A",
                "configured",
                "call",
                "worker.contacts",
                "--args",
                json.dumps([rows]),
            ]
            subprocess.run(call, check=True, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, timeout=60)

            errors = sink.wait_for(lambda: [each for each in sink.metric_points("validation.errors") if each.value])
            assert errors[0].value == 1
            assert errors[0].attributes["schema.endpoint"] == "import-contacts"
            assert errors[0].attributes["schema.name"] == "Contact"
            # A child that is ended while it reports its result keeps the queue's lock, and its parent never ends.
            assert until(lambda: "succeeded" in (tmp_path / "log").read_text(), 60)


@pytest.mark.parametrize("instrumented", [True, False])
def test_own_validator(instrumented: bool) -> None:
    """A validator of one's own: counted where the app is instrumented, the same answer and nothing else where not."""
    environment = {
        **clean_environment(), "OTEL_METRICS_EXPORTER": "console", "OTEL_TRACES_EXPORTER": "console",
        "OTEL_LOGS_EXPORTER": "none",
    }  # fmt: skip
    run: list[str | Path] = [INSTRUMENT, sys.executable] if instrumented else [sys.executable]
    done = subprocess.run(
        [*run, "fixed_width.py"], check=True, capture_output=True, text=True, cwd=EXAMPLES / "own_validator",
        env=environment, timeout=60,
    )  # fmt: skip
    first, _, telemetry = done.stdout.partition("\n")
    assert first == "2"
    assert ("schema.validate Payment" in telemetry) is instrumented
    assert telemetry.count('"fixed_width"') > 0 if instrumented else telemetry == ""
