"""The leads API over OTLP: several processes, threads, forks and their ends, and the traces of slow validations."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from leads_api import traffic
from leads_api.truth import Truth
from processes import HOST
from sink import Sink, Span
from tests.integration import export_path

pytestmark = pytest.mark.timeout(180)

# longer than the tests: whatever arrives was sent because a process ended


class Silent(threading.Thread):
    """A server that takes one connection and never answers."""

    def __init__(self) -> None:
        super().__init__(name="silent")
        self.server = socket.create_server((HOST, 0))
        self.port = self.server.getsockname()[1]
        self.heard = False
        self.done = threading.Event()

    def run(self) -> None:
        connection, _ = self.server.accept()
        with connection:
            self.heard = True
            self.done.wait()

    def __enter__(self) -> Silent:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()
        self.server.close()


class Run(NamedTuple):
    """What arrived of a run with four workers, one of which was replaced half-way."""

    sink: Sink
    truth: Truth
    workers: set[int]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Four uvicorn workers, eight client threads; SIGTERM to one worker between two stretches of traffic."""

    def command(port: int) -> list[str]:
        return ["uvicorn", "leads_api.app:app", "--port", str(port), "--workers", "4", "--no-access-log"]

    with Sink() as sink:
        telemetry = export_path.by_otlp_at_the_end(sink) | {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}
        with export_path.leads(tmp_path_factory.mktemp("workers"), telemetry, command) as (url, supervisor):
            truth = traffic.run(url, "demo", seed=11, requests=400, threads=8)
            first = servers(supervisor.pid)
            first[0].send_signal(signal.SIGTERM)
            sink.wait_for(lambda: sink.metric_points("api.requests"), 90)
            truth += traffic.run(url, "demo", seed=12, requests=200, threads=8)
            export_path.processes.until(lambda: len(servers(supervisor.pid)) == 4, 90)
            workers = {worker.pid for worker in first + servers(supervisor.pid)}
        yield Run(sink, truth, workers)


def servers(supervisor: int) -> list[psutil.Process]:
    """The worker processes of a uvicorn."""
    return [child for child in psutil.Process(supervisor).children() if "spawn_main" in _command(child)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended meanwhile, and the supervisor has not asked for its exit code yet
        return ""


def test_sums_over_all_processes_are_the_truth(run: Run) -> None:
    """Every count, summed over five processes each told at its end, equals what clients counted."""
    for what, (seen, sent) in export_path.counted(run.sink, run.truth).items():
        assert seen == sent, what


def test_each_process_is_an_instance(run: Run) -> None:
    """Each worker, the replaced one too, reports under an instance id of its own."""
    points = run.sink.metric_points("api.requests")
    instances = {(export_path.process(point), point.resource["process.pid"]) for point in points}
    served = {pid for _, pid in instances}
    assert len(instances) == len({instance for instance, _ in instances}) == len(served)
    assert len(served & run.workers) >= 4  # a worker that came up last may not have served


def test_the_server_span_sums_its_validations(run: Run) -> None:
    """Server spans carry the number and the time of their validations, which add up to those of the histogram."""
    spans = [span for span in run.sink.spans() if span.kind == "SERVER"]
    assert len(spans) == run.truth.requests.total()
    numbers = [span.attributes.get("schema.validation.count", 0) for span in spans]
    assert sum(numbers) == run.truth.validations.total()
    seconds = sum(span.attributes.get("schema.validation.duration", 0) for span in spans)
    histogram = export_path.latest(run.sink.metric_points("schema.validation.duration"))
    assert seconds == pytest.approx(sum(point.value for point in histogram))


def verified(sink: Sink) -> list[Span]:
    return sink.spans("schema.validate LeadVerified")


def test_a_query_inside_a_validation_hangs_on_its_span(run: Run) -> None:
    """Server span, validation, its one query: each the parent of the next, and each within the time of its parent."""
    assert len(verified(run.sink)) == run.truth.queries["LeadVerified"] > 0
    for validation in verified(run.sink):
        trace = run.sink.trace(validation.trace_id)
        (server,) = (span for span in trace if span.span_id == validation.parent_span_id)
        (query,) = (span for span in trace if span.parent_span_id == validation.span_id)
        assert (server.kind, server.name) == ("SERVER", "POST /leads/verified")
        assert (validation.kind, validation.attributes["schema.query.count"]) == ("INTERNAL", 1)
        assert query.kind == "CLIENT"
        assert query.name.startswith("SELECT")
        times = [server.start_ns, validation.start_ns, query.start_ns, query.end_ns, validation.end_ns, server.end_ns]
        assert times == sorted(times)


def test_the_slow_ones_are_slow_for_their_query(run: Run) -> None:
    """Each look-up of an alias makes a validation of more than 10 ms, the most of which is its SQL span."""
    slow, looked_up = [span for span in verified(run.sink) if span.duration > 0.01], run.truth.slow["LeadVerified"]
    assert len(slow) >= looked_up
    shares = sorted(
        query.duration / span.duration
        for span in slow
        for query in run.sink.trace(span.trace_id)
        if query.parent_span_id == span.span_id
    )
    assert shares[-looked_up // 2] > 0.5  # others are slow on a busy machine


def test_exemplars_lead_to_the_spans_of_slow_validations(run: Run) -> None:
    """Exemplars arrive with the histogram; each is of a validation span that arrived too, and lasted as long."""
    spans = {(span.trace_id, span.span_id): span for span in run.sink.spans() if span.name.startswith("schema.val")}
    points = export_path.latest(run.sink.metric_points("schema.validation.duration"))
    exemplars = [(point, exemplar) for point in points for exemplar in point.exemplars]
    for point, exemplar in exemplars:
        span = spans[exemplar.trace_id, exemplar.span_id]
        assert span.attributes["schema.name"] == point.attributes["schema.name"]
        assert span.duration > exemplar.value - 1e-3  # the span ends later, when its thread gets to that
        assert exemplar.filtered_attributes == {}
    slow = [exemplar for point, exemplar in exemplars if point.attributes["schema.name"] == "LeadVerified"]
    assert any(exemplar.value > 0.01 for exemplar in slow)


FORKING = """
import os, signal, socket, sys
import uvicorn
from leads_api.app import app          # all of it is loaded before the fork
from leads_api.schemas import QuoteOut

QuoteOut(lines=1, total=2)             # and has measured: its children must not report that again
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
workers = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        uvicorn.Server(uvicorn.Config(app, access_log=False)).run(sockets=[listening])
        os._exit(0)
    workers.append(pid)

def end(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
    sys.exit()

signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
"""


def test_a_preloading_fork(tmp_path: Path) -> None:
    """Three children of a parent that loaded the app and measured: each reports its own, and only its own."""
    (tmp_path / "forking.py").write_text(FORKING)
    with Sink() as sink:
        telemetry = export_path.by_otlp_at_the_end(sink)
        with export_path.leads(tmp_path, telemetry, lambda port: ["forking", str(port)]) as (url, _):
            truth = traffic.run(url, "demo", seed=13, requests=200, threads=8)
        outside = export_path.total(sink.metric_points("schema.validation.duration"), "endpoint")[" "]
        truth.validators[" ", "QuoteOut"] += 1
        for what, (seen, sent) in export_path.counted(sink, truth).items():
            assert seen == sent, what
        assert outside == 1
        # a child need not have served: it published its routes all the same
        children = {export_path.process(point) for point in sink.metric_points("api.requests")}
        parent = {
            export_path.process(point)
            for point in sink.metric_points("schema.validation.duration")
            if export_path.endpoint(point.attributes) == " "
        }
        assert (len(children), len(parent), children & parent) == (3, 1, set())


TWO_LEADS = """
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for _ in range(module.TIMES):
        module.Lead(number="1")
        module.ADAPTER.validate_python([{"number": "1"}])
"""
LEAD = """
from pydantic import BaseModel, TypeAdapter

TIMES = {}

class Lead(BaseModel):
    number: int

ADAPTER = TypeAdapter(list[Lead])
"""


def test_the_order_of_imports_changes_no_series(tmp_path: Path) -> None:
    """Two workers that import two modules, each with a class Lead, in opposite order report equal series."""
    (tmp_path / "work.py").write_text(TWO_LEADS)
    for name, times in (("sales", 2), ("support", 3)):
        (tmp_path / f"{name}.py").write_text(LEAD.format(times))
    with Sink() as sink:
        for order in (["sales", "support"], ["support", "sales"]):
            subprocess.run(
                [export_path.INSTRUMENT, sys.executable, "work.py", *order],
                env=export_path.environment(tmp_path, **export_path.by_otlp_at_the_end(sink)),
                cwd=tmp_path,
                check=True,
                timeout=60,
            )
        series: dict[str, dict[tuple[str, ...], float]] = {}
        for metric in ("schema.validation.duration", "cache.hits", "cache.misses"):
            for point in export_path.latest(sink.metric_points(metric)):
                key = (metric, *map(str, sorted(point.attributes.items())))
                series.setdefault(export_path.process(point), {})[key] = point.count or point.value
    first, second = series.values()
    assert first == second
    assert {n for (metric, *_), n in first.items() if metric == "schema.validation.duration"} == {2, 3}
    assert len([key for key in first if key[0] == "schema.validation.duration"]) == 4


def test_a_collector_that_never_answers_does_not_keep_the_app(tmp_path: Path) -> None:
    """With a collector that takes connections and says nothing, the app still ends within seconds of its SIGTERM."""
    with Silent() as silent:
        telemetry = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{silent.port}",
        }
        with export_path.leads(tmp_path, telemetry | export_path.AT_THE_END) as (url, process):
            traffic.run(url, "steady", seed=1, requests=3)
            process.terminate()
            process.wait(9)
            assert silent.heard
