"""Where validations run: threads, tasks, processes however they start, workers. Counts are exact in each."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from pydantic import BaseModel
from websockets.sync.client import connect

from sink import Sink
from tests.integration import export_path
from tests.integration.differential import in_child
from tests.integration.export_path import processes

pytestmark = pytest.mark.timeout(120)

WORK = """
import contextlib, os, sys, time
import netrc  # requests imports it when it first sends: a child that is forked meanwhile would wait for ever
import jsonschema, marshmallow
from opentelemetry import metrics
from opentelemetry.instrumentation.schema import endpoint
from pydantic import BaseModel, field_validator

class Company(BaseModel):
    name: str

class Lead(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def known(cls, name):
        time.sleep(0.001)                # a thread or a greenlet may be switched here
        return Company(name=name).name   # part of the validation that runs

class LeadSchema(marshmallow.Schema):
    name = marshmallow.fields.String(required=True)

document = jsonschema.Draft202012Validator({"title": "Lead", "properties": {"name": {"type": "string"}}})

def job(number=1):
    "`number` jobs, each of which validates once well and once badly with each library"
    for _ in range(number):
        with endpoint("import-leads"):
            for name in ("Ann", 1):
                with contextlib.suppress(ValueError):
                    Lead(name=name)
                LeadSchema().validate({"name": name})
                document.is_valid({"name": name})

def end():
    "what a worker does that ends without `atexit`: a child of multiprocessing or of os.fork"
    metrics.get_meter_provider().force_flush()
"""

IN_PROCESS = {
    "threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    list(pool.map(job, [10] * 40))
""",
    "asyncio": """
import asyncio
async def one():
    for _ in range(10):
        job()
        await asyncio.sleep(0)
async def main():
    await asyncio.gather(*(one() for _ in range(20)), *(asyncio.to_thread(job, 10) for _ in range(20)))
asyncio.run(main())
""",
    "anyio": """
import anyio
from anyio import to_thread
async def one():
    for _ in range(10):
        job()
        await anyio.sleep(0)
async def main():
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
            group.start_soon(to_thread.run_sync, job, 10)
anyio.run(main)
""",
    "a collection at any time": """
import threading
from opentelemetry import metrics
done = threading.Event()
def collect():
    while not done.is_set():
        metrics.get_meter_provider().force_flush()
collector = threading.Thread(target=collect)
collector.start()
threads = [threading.Thread(target=job, args=(100,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
done.set()
collector.join()
""",
}

_POOL = """
import multiprocessing
def part(number):
    job(number)
    end()
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    job(100)
    workers = [context.Process(target=part, args=(100,)) for _ in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    sys.exit(max(worker.exitcode for worker in workers))
"""
PROCESSES = {
    "multiprocessing fork": _POOL.format(method="fork"),
    "multiprocessing spawn": _POOL.format(method="spawn"),
    "workers that wait for jobs": """
import signal
job(100)                                  # before the workers are forked, as at import
reading, writing = os.pipe()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os.close(writing)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while os.read(reading, 1):
            job()
        end()
        os._exit(0)
    children.append(child)
os.close(reading)
os.write(writing, b"." * 300)
os.close(writing)
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
""",
}
JOBS = 400
"""How many jobs each of these programs runs."""


def telemetry(sink: Sink) -> dict[str, str]:
    """Settings of a program that sends to the sink when it ends, and when it says so."""
    return processes.clean_environment() | export_path.by_otlp_at_the_end(sink)


def check(sink: Sink, jobs: int, route: str | None = None) -> None:
    """Hold what arrived to that number of jobs, each in a block or request of its own."""
    points = sink.metric_points
    where = "http.route" if route else "schema.endpoint"
    name = route or "import-leads"
    libraries = ("pydantic", "jsonschema", "marshmallow")
    assert +export_path.total(points("api.requests"), where) == {name: jobs}
    assert export_path.total(
        points("schema.validation.duration"), "schema.library", "schema.validation.outcome", where
    ) == {(library, outcome, name): jobs for library in libraries for outcome in ("valid", "invalid")}
    assert +export_path.total(points("validation.errors"), "schema.library", where) == {
        (library, name): jobs for library in libraries
    }
    hits, misses = (export_path.total(points(f"cache.{which}"), "schema.library") for which in ("hits", "misses"))
    assert hits + misses == Counter(dict.fromkeys(libraries, 2 * jobs))


@pytest.mark.parametrize("context", IN_PROCESS | PROCESSES)
def test_every_job_is_counted_once(context: str, tmp_path: Path) -> None:
    """Requests, outcomes, failures and look-ups of 400 jobs, summed over the processes that ran them, are exact."""
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "main.py").write_text("from work import *\n" + (IN_PROCESS | PROCESSES)[context])
    with Sink() as sink:
        processes.once(context, [export_path.INSTRUMENT, sys.executable, "main.py"], telemetry(sink), tmp_path)
        check(sink, JOBS)
        seen = {export_path.process(point) for point in sink.metric_points("api.requests")}
        assert len(seen) == (1 if context in IN_PROCESS else 4)


APP = """
from flask import Flask
import work

app = Flask(__name__)

@app.post("/jobs/<int:number>")
def run(number):
    work.validate()
    return str(work.os.getpid())
"""
VALIDATE = """
def validate():
    "one job, in the request that the caller is in"
    for name in ("Ann", 1):
        with contextlib.suppress(ValueError):
            Lead(name=name)
        LeadSchema().validate({"name": name})
        document.is_valid({"name": name})
"""


THREADS, GEVENT, PRELOAD = ["--threads", "2"], ["--worker-class", "gevent"], ["--preload"]
PATCHED_FIRST = {"OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": "patch_all"}
ENDS_WITHOUT_EXPORT = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="it starts no thread at exit, and gevent looks up the sink's host in one"
)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        pytest.param(THREADS, {}, id="threads"),
        pytest.param(THREADS + PRELOAD, {}, id="threads, preloaded"),
        pytest.param(GEVENT, {}, id="gevent", marks=ENDS_WITHOUT_EXPORT),
        pytest.param(GEVENT + PRELOAD, PATCHED_FIRST, id="gevent, patched first, preloaded"),
    ],
)
def test_gunicorns_workers(options: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    """Three workers, of threads or greenlets, forked before or after the app is loaded: their sum is what was sent."""
    (tmp_path / "work.py").write_text(WORK + VALIDATE)
    (tmp_path / "app.py").write_text(APP)
    port = processes.free_port()
    line: list[str | Path] = [export_path.INSTRUMENT, processes.beside_python("gunicorn"), "app:app", "--bind"]
    line += [f"{processes.HOST}:{port}", "--workers", "3", *options]

    def post(number: int) -> str:
        request = urllib.request.Request(f"http://{processes.HOST}:{port}/jobs/{number}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    with Sink() as sink:
        environment = telemetry(sink) | environment
        with processes.program(
            "gunicorn", line, tmp_path / "log", lambda: processes.listens(port), environment, tmp_path
        ) as arbiter:
            assert processes.until(lambda: len(psutil.Process(arbiter.pid).children()) == 3, 30)
            with ThreadPoolExecutor(8) as pool:
                served = set(pool.map(post, range(300)))
        check(sink, 300, "/jobs/<int:number>")
        assert len({export_path.process(point) for point in sink.metric_points("api.requests")}) >= len(served)


SOCKETS = {
    "starlette": """
import work
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
async def talk(websocket):
    await websocket.accept()
    async for _ in websocket.iter_text():
        work.validate()
        await websocket.send_text("done")
app = Starlette(routes=[Mount("/shops/{shop}", routes=[WebSocketRoute("/rooms/{room}", talk)])])
""",
    "fastapi": """
import work
from fastapi import APIRouter, FastAPI, WebSocket
app, router = FastAPI(), APIRouter(prefix="/shops/{shop}")
@router.websocket("/rooms/{room}")
async def talk(websocket: WebSocket):
    await websocket.accept()
    async for _ in websocket.iter_text():
        work.validate()
        await websocket.send_text("done")
app.include_router(router)
""",
}


@pytest.mark.parametrize("framework", SOCKETS)
def test_websockets(framework: str, tmp_path: Path) -> None:
    """What websockets validate counts for no endpoint and no request, and the path they were opened with is nowhere."""
    (tmp_path / "work.py").write_text(WORK + VALIDATE)
    (tmp_path / "app.py").write_text(SOCKETS[framework])
    port = processes.free_port()
    line: list[str | Path] = [export_path.INSTRUMENT, sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]

    def talk(_number: int) -> None:
        with connect(f"ws://{processes.HOST}:{port}/shops/secret/rooms/secret") as socket:
            for _ in range(10):
                socket.send("job")
                assert socket.recv(timeout=30) == "done"

    with Sink() as sink:
        with (
            processes.program(
                "uvicorn", line, tmp_path / "log", lambda: processes.listens(port), telemetry(sink), tmp_path
            ),
            ThreadPoolExecutor(8) as pool,
        ):
            list(pool.map(talk, range(16)))
        points = sink.metric_points
        assert export_path.total(points("schema.validation.duration"), "schema.library", "http.route") == {
            (library, None): 320 for library in ("pydantic", "jsonschema", "marshmallow")
        }
        assert (+export_path.total(points("api.requests")), points("validation.errors")) == (Counter(), [])
        spans = [span for span in sink.spans() if span.name.startswith("schema.validate ")]
        assert spans
        assert "secret" not in str([one.attributes for one in (*points("schema.validation.duration"), *spans)])


class Kept(MetricExporter):
    """Keeps what a reader collected last."""

    last: MetricsData

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: object) -> MetricExportResult:
        self.last = metrics_data
        time.sleep(0.002)  # as long as a collection: a fork falls into either
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: object) -> None: ...


class Lead(BaseModel):
    name: str


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_a_collection_holds_any_lock() -> None:
    """A child is not stopped by a lock that another thread of its parent held, of our instruments or of the app's."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("the app's own")
    orders = meter.create_counter("orders")
    meter.create_observable_gauge("queue", [lambda _: [Observation(1)]])
    instrumentor = SchemaInstrumentor()
    instrumentor.instrument(meter_provider=provider)

    def child() -> None:
        Lead(name="Ann")
        orders.add(1)
        collected = reader.get_metrics_data()
        assert collected is not None
        names = {metric.name for scope in collected.resource_metrics[0].scope_metrics for metric in scope.metrics}
        assert {"orders", "queue", "schema.validation.duration"} <= names

    try:
        for _ in range(2):  # the second collection has what the first one told of
            Lead(name="Ann")
            orders.add(1)
            reader.get_metrics_data()
        (storage,) = provider._measurement_consumer._reader_storages.values()
        matches = [match for each in storage._instrument_view_instrument_matches.values() for match in each]
        held = [aggregation for match in matches for aggregation in match._attributes_aggregation.values()]
        locked = [*matches, *held, *(one._reservoir for one in held)]
        assert len(matches) > 3
        with contextlib.ExitStack() as stack:
            for one in locked:
                if hasattr(one, "_lock"):
                    stack.enter_context(one._lock)
            in_child(child)
    finally:
        instrumentor.uninstrument()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_in_the_middle_of_a_collection() -> None:
    """A child of a process whose other thread was collecting and exporting collects its own validations, exactly."""
    exporter = Kept()
    reader = PeriodicExportingMetricReader(exporter, math.inf)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrumentor, done = SchemaInstrumentor(), threading.Event()

    def validations() -> int:
        reader.collect()
        metrics = exporter.last.resource_metrics[0].scope_metrics[0].metrics
        (histogram,) = (metric for metric in metrics if metric.name == "schema.validation.duration")
        return sum(point.count for point in histogram.data.data_points)

    def collect() -> None:
        while not done.is_set():
            reader.collect()

    def child() -> None:
        for _ in range(3):
            Lead(name="Ann")
        assert validations() == 3

    instrumentor.instrument(meter_provider=provider)
    collector = threading.Thread(target=collect)
    try:
        Lead(name="Ann")
        collector.start()
        for _ in range(20):
            Lead(name="Ann")
            in_child(child)
        done.set()
        collector.join()
        assert validations() == 21
    finally:
        done.set()
        instrumentor.uninstrument()
