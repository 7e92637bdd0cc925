"""What is lost when a part of the path dies, is away, or is full: only what the documentation says.

`make chaos` runs all of it and ends with the table that docs/pipeline.md shows.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from sink import Sink
from tests.pipeline.exports import points, trace
from tests.pipeline.load import SCOPE
from tests.pipeline.programs import AGENT, GATEWAY, Collector, FaultRow, Load, Prometheus, eventually

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

# an app that is to survive an outage of its agent (docs/pipeline.md)
PATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60", "OTEL_BSP_EXPORT_TIMEOUT": "60000"}
UNSAMPLED = "overlays/unsampled.yaml"


class Store:
    """A trace store on a fixed port that can be away, and remembers what it got in all its lives."""

    def __init__(self) -> None:
        self.sinks = [Sink().start()]
        self.port = int(self.sinks[0].grpc_endpoint.rsplit(":", 1)[1])

    def leave(self) -> None:
        self.sinks[-1].close()

    def come_back(self) -> None:
        self.sinks.append(Sink(grpc_port=self.port).start())

    def arrived(self) -> Counter[str]:
        return Counter(span.span_id for sink in self.sinks for span in sink.spans())


@dataclass
class Chain:
    """app → agent → gateway → store and Prometheus, and what came of a run."""

    agent: Collector
    gateway: Collector
    store: Store
    server: Prometheus
    app: Load
    truth: dict[str, Any] = field(default_factory=dict)

    def finish(self) -> None:
        """Wait for the end of the traffic, and until all has arrived, or nothing more does for 40 seconds.

        After an outage gRPC waits ever longer before it connects again.
        """
        self.truth = self.truth or self.app.truth()
        before, since = self.store.arrived(), time.monotonic()
        while time.monotonic() - since < 40 and before.total() < self.truth["spans"]:
            time.sleep(0.2)
            now = self.store.arrived()
            if now != before:
                before, since = now, time.monotonic()

    @property
    def lost(self) -> int:
        return self.truth["spans"] - len(self.store.arrived())

    @property
    def duplicated(self) -> int:
        return self.store.arrived().total() - len(self.store.arrived())

    def every_count_is_right(self) -> bool:
        counts = {"api_requests_total": "requests", "validation_errors_total": "errors", "cache_hits_total": "hits"}
        return all(self.server.value(f"sum({series})") == self.truth[key] for series, key in counts.items())


@dataclass
class Start:
    """Starts chains, and notes their outcome for the table at the end of the session."""

    otelcol: Path
    prometheus: str
    home: Path
    stack: ExitStack
    row: FaultRow

    def __call__(self, *overlays: str, seconds: float = 12, agent_env: dict[str, Any] | None = None) -> Chain:
        store = Store()
        self.stack.callback(store.leave)
        variables = {"OTELCOL_NEXT": f"127.0.0.1:{store.port}", "OTELCOL_DECISION_WAIT": "2s"}
        gateway = Collector(self.otelcol, (*GATEWAY, *overlays), self.home, "gateway", **variables)
        agent_variables = {"OTELCOL_NEXT": gateway.otlp, **(agent_env or {})}
        agent = Collector(self.otelcol, AGENT, self.home, "agent", **agent_variables)
        ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
        server = Prometheus(self.prometheus, "collector.yml", self.home, ports)
        app = Load(f"http://{agent.otlp}", self.home, PATIENT, seconds=seconds, rate=100, quiet=0)
        for program in (gateway, agent, server, app):
            self.stack.enter_context(program)
        eventually(lambda: gateway.own("otelcol_receiver_accepted_spans_total") > 0, "the first spans")
        return Chain(agent, gateway, store, server, app)

    def note(self, what: str, chain: Chain, metrics_lost: int = 0) -> None:
        sent = chain.truth["spans"]
        self.row((what, sent, sent - chain.lost, chain.lost, chain.duplicated, metrics_lost))


@pytest.fixture
def start(otelcol: Path, prometheus: str, tmp_path: Path, fault_row: FaultRow) -> Iterator[Start]:
    with ExitStack() as stack:
        yield Start(otelcol, prometheus, tmp_path, stack, fault_row)


def kill_gateway_with_a_queue(chain: Chain) -> None:
    chain.store.leave()
    eventually(lambda: chain.gateway.own("otelcol_exporter_queue_size") > 0, "the gateway has spans on disk")
    chain.gateway.kill()
    time.sleep(3)
    chain.gateway.start()
    chain.store.come_back()


def kill_gateway(chain: Chain) -> None:
    chain.gateway.kill()
    time.sleep(5)
    chain.gateway.start()


def kill_agent(chain: Chain) -> None:
    chain.agent.kill()
    time.sleep(5)
    chain.agent.start()


def kill_agent_for_longer_than_the_default(chain: Chain) -> None:
    chain.agent.kill()
    time.sleep(12)
    chain.agent.start()


def kill_agent_with_a_queue(chain: Chain) -> None:
    chain.gateway.kill()
    eventually(lambda: chain.agent.own("otelcol_exporter_queue_size") > 0, "the agent has spans on disk")
    chain.agent.kill()
    time.sleep(2)
    chain.agent.start()
    chain.gateway.start()


def store_away_for_a_minute(chain: Chain) -> None:
    chain.store.leave()
    time.sleep(60)
    chain.store.come_back()


def kill_prometheus(chain: Chain) -> None:
    chain.server.kill()
    time.sleep(3)
    chain.server.start()


def fault(name: str, do: Callable[[Chain], None], seconds: float = 12, ci: bool = False) -> Any:
    return pytest.param(name, do, seconds, id=do.__name__, marks=[] if ci else [pytest.mark.nightly])


@pytest.mark.parametrize(
    ("what", "do", "seconds"),
    [
        fault("kill -9 gateway, 5 s away", kill_gateway),
        fault("store away, kill -9 gateway with its queue", kill_gateway_with_a_queue, seconds=6, ci=True),
        fault("kill -9 agent, 5 s away", kill_agent),
        fault("kill -9 agent, 12 s away", kill_agent_for_longer_than_the_default),
        fault("gateway away, kill -9 agent with its queue", kill_agent_with_a_queue),
        fault("store away for 60 s", store_away_for_a_minute),
        fault("kill -9 Prometheus, 3 s away", kill_prometheus),
    ],
)
def test_nothing_is_lost(start: Start, what: str, do: Callable[[Chain], None], seconds: float) -> None:
    """Without sampling no fault loses a span, duplicates one or makes a count wrong."""
    chain = start(UNSAMPLED, seconds=seconds)
    do(chain)
    chain.finish()
    start.note(what, chain)
    assert (chain.lost, chain.duplicated) == (0, 0)
    eventually(chain.every_count_is_right, f"every count of {chain.truth}")


@pytest.mark.nightly
def test_long_outage_loses_a_batch_at_most(start: Start) -> None:
    """An agent that is away for 25 s costs at most the batch that the app was sending: the SDK tries it six times."""
    chain = start(UNSAMPLED)
    chain.agent.kill()
    time.sleep(25)
    chain.agent.start()
    chain.finish()
    start.note("kill -9 agent, 25 s away", chain)
    assert chain.lost <= 512
    assert chain.duplicated == 0
    eventually(chain.every_count_is_right, "every count")


@pytest.mark.nightly
def test_killed_sampling_gateway_loses_what_waited(start: Start) -> None:
    """With sampling, kill -9 loses only traces that waited for their decision; earlier and later ones arrive."""
    chain = start()
    time.sleep(4)
    killed = time.time_ns()
    kill_gateway(chain)
    chain.finish()
    stored = {span.trace_id for sink in chain.store.sinks for span in sink.spans()}
    lost = set(chain.truth["notable"]) - stored
    start.note("the same with sampling: notable traces only", NotableOnly(chain))
    at = {trace_id: moment for trace_id, moment in chain.truth["times"].items() if trace_id in lost}
    # decision wait (2 s), the SDK's and the agent's batches (0.5 s each), and the sampler's tick of a second
    assert all(killed - 4.5e9 < moment < killed + 0.5e9 for moment in at.values()), (killed, sorted(at.values()))
    eventually(chain.every_count_is_right, "every count")


def settled(ask: Callable[[], float | None], still: float = 3, deadline: float = 20) -> float:
    """The answer of `ask` that stays the same for `still` seconds: three scrapes brought nothing new."""
    last, since, until = ask(), time.monotonic(), time.monotonic() + deadline
    while last is None or time.monotonic() - since < still:
        assert time.monotonic() < until, f"still changing after {deadline} s: {last}"
        time.sleep(0.2)
        now = ask()
        if now != last:
            last, since = now, time.monotonic()
    return last


class NotableOnly:
    """A chain's outcome in notable traces instead of spans, of which sampling drops most on purpose."""

    def __init__(self, chain: Chain) -> None:
        stored = {span.trace_id for sink in chain.store.sinks for span in sink.spans()}
        notable = set(chain.truth["notable"])
        self.truth = {"spans": len(notable)}
        self.lost, self.duplicated = len(notable - stored), chain.duplicated


@pytest.mark.nightly
def test_sampling_gateway_ended_in_order_loses_nothing(otelcol: Path, tmp_path: Path) -> None:
    """SIGTERM makes the gateway decide the traces that wait, so that every notable one is stored."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        variables = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "60s"}
        gateway = stack.enter_context(Collector(otelcol, GATEWAY, tmp_path, "gateway", **variables))
        app = stack.enter_context(Load(f"http://{gateway.otlp}", tmp_path, seconds=3, quiet=0))
        notable = set(app.truth()["notable"])
        gateway.stop()
        gateway.start()  # what it had on disk by then goes out now
        sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()})


def test_worker_ended_in_order_loses_nothing(start: Start) -> None:
    """SIGTERM of an app's process loses neither a count nor a span of what it handled."""
    chain = start(UNSAMPLED, seconds=60)
    time.sleep(2)
    chain.app.process.send_signal(signal.SIGTERM)
    chain.finish()
    start.note("SIGTERM of an app's process", chain)
    assert (chain.lost, chain.duplicated) == (0, 0)
    eventually(chain.every_count_is_right, "every count")


@pytest.mark.nightly
def test_killed_worker_loses_its_last_export(start: Start) -> None:
    """kill -9 of an app's process loses at most what it counted and ended since its last export, one second ago."""
    chain = start(UNSAMPLED, seconds=60)
    record = chain.app.home / "handled"
    eventually(lambda: record.exists() and record.stat().st_size >= 300, "three seconds of requests")
    eventually(lambda: chain.server.value("sum(api_requests_total)"), "an export in Prometheus")
    chain.app.kill()
    handled = len(record.read_text())
    seen = settled(lambda: chain.server.value("sum(api_requests_total)"))
    lost = handled - int(seen)
    start.row(("kill -9 of an app's process: requests", handled, int(seen), lost, 0, lost))
    assert 0 <= lost <= 100 * 1.5  # a hundred requests a second


@pytest.mark.nightly
def test_full_queue_is_counted(start: Start) -> None:
    """A queue that is full refuses, and what the app gives up then is at most what the refusals' series counts."""
    chain = start(UNSAMPLED, agent_env={"OTELCOL_QUEUE_SIZE": "1000"}, seconds=25)
    chain.gateway.kill()
    full = eventually(lambda: chain.agent.own("otelcol_exporter_enqueue_failed_spans_total"), "the queue is full")
    assert full > 0
    chain.gateway.start()
    chain.finish()
    start.note("gateway away until the agent's queue (1,000) is full", chain)
    assert chain.lost <= chain.agent.own("otelcol_exporter_enqueue_failed_spans_total")
    eventually(chain.every_count_is_right, "every count")


@pytest.mark.nightly
def test_full_disk_is_survived(start: Start, tmp_path: Path) -> None:
    """An agent whose disk is full refuses, says so, and takes data again when the gateway has emptied its queue."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    start.stack.callback(lambda: subprocess.run(["umount", "-l", str(disk)], check=True))
    chain = start(UNSAMPLED, agent_env={"OTELCOL_QUEUE_DIR": str(disk)}, seconds=20)
    chain.gateway.kill()
    eventually(lambda: "no space left on device" in chain.agent.log.read_text(), "the disk is full")
    chain.gateway.start()
    chain.finish()
    start.note("gateway away until the agent's disk is full", chain)
    eventually(chain.every_count_is_right, "every count")


@pytest.mark.nightly
def test_memory_limit_is_said(otelcol: Path, tmp_path: Path) -> None:
    """A collector above its memory limit refuses with UNAVAILABLE, counts it and says so."""
    variables = {"OTELCOL_MEMORY_MIB": 5, "OTELCOL_NEXT": "127.0.0.1:9"}  # 4 MiB soft: always above it
    with (
        Collector(otelcol, AGENT, tmp_path, **variables) as agent,
        Load(f"http://{agent.otlp}", tmp_path, seconds=3, quiet=0) as app,
    ):
        app.truth()
        assert agent.own("otelcol_receiver_refused_spans_total") > 0
        assert "soft limit" in agent.log.read_text()
        assert "UNAVAILABLE" in app.log.read_text()


@pytest.mark.nightly
def test_memory_limit_is_recovered_from(otelcol: Path, tmp_path: Path) -> None:
    """A gateway whose memory waiting traces filled takes spans again once they are decided, and loses none then."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        variables = {
            "OTELCOL_MEMORY_MIB": 75,  # 60 MiB soft
            "OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"),
            "OTELCOL_DECISION_WAIT": "10s",
            "OTELCOL_KEEP_PERCENT": 0,
        }
        gateway = stack.enter_context(Collector(otelcol, GATEWAY, tmp_path, "gateway", **variables))
        with grpc.insecure_channel(gateway.otlp) as channel:
            export = TraceServiceStub(channel).Export

            def answer(size: int) -> grpc.StatusCode:
                try:
                    export(trace("ballast", size), timeout=5)
                except grpc.RpcError as refused:
                    return refused.code()
                return grpc.StatusCode.OK

            codes = (answer(2**20) for _ in range(400))
            assert next(code for code in codes if code is not grpc.StatusCode.OK) is grpc.StatusCode.UNAVAILABLE
            assert gateway.own("otelcol_receiver_refused_spans_total") > 0
            eventually(lambda: answer(1) is grpc.StatusCode.OK, "it takes spans again")
        app = stack.enter_context(Load(f"http://{gateway.otlp}", tmp_path, seconds=2, quiet=0))
        notable = set(app.truth()["notable"])
        sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()})


@pytest.mark.nightly
@pytest.mark.parametrize(("step", "blind"), [(30, 30), (3600, 120)])
def test_clock_stepped_back(otelcol: Path, prometheus: str, tmp_path: Path, step: int, blind: int) -> None:
    """An app whose clock steps back is seen again after as many seconds, or after two minutes, whichever is less."""
    with ExitStack() as stack:
        gateway = stack.enter_context(Collector(otelcol, GATEWAY, tmp_path, "gateway", OTELCOL_NEXT="127.0.0.1:9"))
        ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
        server = stack.enter_context(Prometheus(prometheus, "collector.yml", tmp_path, ports))
        channel = stack.enter_context(grpc.insecure_channel(gateway.otlp))

        def count(value: int, behind: int) -> float | None:
            request = points(0, 1, "app", SCOPE)
            (point,) = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
            point.as_int, point.time_unix_nano = value, point.time_unix_nano - int(behind * 1e9)
            MetricsServiceStub(channel).Export(request, timeout=5)
            return server.value("sum(api_requests_total)")

        eventually(lambda: count(1, 0) == 1, "the count before")
        since = time.monotonic()
        eventually(lambda: count(2, step) == 2, "the count after", blind + 20)
        assert time.monotonic() - since > blind - 5
