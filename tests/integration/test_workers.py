"""Processes that end without `atexit`: their last interval is exported, and their end waits for no collector."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.schema import SchemaInstrumentor, endpoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from processes import clean_environment
from sink import Sink
from tests.integration.differential import in_child

CHILDREN, TIMES = 6, 3
MODEL = """
from pydantic import BaseModel
class Lead(BaseModel):
    n: int
def work(_=None):
    for n in range({times}): Lead(n=n)
"""
PROGRAMS = {
    "fork": """
import multiprocessing
if __name__ == "__main__":
    from lead import work
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=work) for _ in range({children})]
    for child in children: child.start()
    for child in children: child.join()
    print([child.exitcode for child in children])
""",
    "pool": """
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    from lead import work
    with ProcessPoolExecutor(2) as pool: list(pool.map(work, range({children})))
    print("[]")
""",
    "billiard": """
if __name__ == "__main__":
    from billiard.pool import Pool
    from lead import work
    pool = Pool(1, maxtasksperchild=1)
    for _ in range({children}): pool.apply(work)
    pool.close()
    pool.join()
    print("[]")
""",
}
PROGRAMS["forkserver"] = PROGRAMS["spawn"] = PROGRAMS["fork"]


def run(folder: Path, kind: str, children: int = CHILDREN, **variables: str) -> tuple[str, float]:
    """What a program printed, started by `opentelemetry-instrument`, and how many seconds it took."""
    (folder / "lead.py").write_text(MODEL.format(times=TIMES))
    program = folder / "program.py"
    program.write_text(PROGRAMS[kind].format(method=kind, children=children))
    environment = {
        **clean_environment(), "PYTHONPATH": str(folder), "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "600000", **variables,
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(program)],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - began


@pytest.mark.parametrize("kind", ["fork", "forkserver", "spawn", "pool", "billiard"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_children_measured_last_is_exported(tmp_path: Path, kind: str, protocol: str) -> None:
    """No child waits for the interval, and none ends by `atexit`: all of their validations arrive."""
    with Sink() as sink:
        address = sink.endpoint if protocol.startswith("http") else sink.grpc_endpoint
        run(
            tmp_path, kind, OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=address,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )  # fmt: skip

        def counted() -> int:
            return sum(point.count for point in sink.metric_points("schema.validation.duration"))

        # a fork server ends after the program
        assert sink.wait_for(lambda: counted() >= CHILDREN * TIMES and counted()) == CHILDREN * TIMES


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_child_waits_for_a_collector_that_is_down(tmp_path: Path, protocol: str) -> None:
    """The end of one child takes a second more, and its siblings then do not try."""
    with socket.create_server(("127.0.0.1", 0)) as taken:  # accepts, and never answers
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        down = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        _, plain = run(tmp_path, "fork", OTEL_METRICS_EXPORTER="none")
        out, took = run(tmp_path, "fork", OTEL_EXPORTER_OTLP_ENDPOINT=address, **down)
    assert json.loads(out) == [0] * CHILDREN
    assert took < plain + 15  # the parent's own last export waits for as long as its SDK likes


def test_children_of_a_scraped_process_end_at_once(tmp_path: Path) -> None:
    """With the Prometheus exporter there is nothing to export at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    out, _ = run(tmp_path, "fork", OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=port)
    assert json.loads(out) == [0] * CHILDREN


@pytest.mark.parametrize("exporter", ["prometheus", "memory"])
def test_a_forked_worker_that_nobody_scrapes_says_so_once(exporter: str, tmp_path: Path) -> None:
    """A worker whose only reader is its parent's Prometheus exporter names the fix, at its first request."""
    reader: Any = PrometheusMetricReader() if exporter == "prometheus" else InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    SchemaInstrumentor().instrument(meter_provider=meters)
    log = tmp_path / "log"

    def requests() -> None:
        handler = logging.FileHandler(log)
        logging.getLogger("opentelemetry.instrumentation.schema").addHandler(handler)
        for _ in range(3):
            with endpoint("job"):
                pass

    try:
        with endpoint("job"):
            pass
        in_child(requests)
        said = log.read_text()
        assert said.count("OTEL_METRICS_EXPORTER=otlp") == int(exporter == "prometheus"), said
    finally:
        SchemaInstrumentor().uninstrument()
        meters.shutdown()
    assert os.path.exists(log)
