"""What one standalone collector takes: a flood of attribute sets, and a sender at full speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

from sink import Sink
from tests.pipeline.exports import points
from tests.pipeline.load import SCOPE
from tests.pipeline.programs import STANDALONE, Collector, Load, Prometheus, eventually

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

RSS = "otelcol_process_memory_rss_bytes"
Start = Callable[[str], tuple[Collector, Prometheus]]


@pytest.fixture
def start(otelcol: Path, prometheus: str, tmp_path: Path) -> Iterator[Start]:
    """Start a standalone collector, and a Prometheus that scrapes it at the interval that is asked for."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())

        def standalone(interval: str) -> tuple[Collector, Prometheus]:
            hop = sink.grpc_endpoint.removeprefix("http://")
            collector = stack.enter_context(Collector(otelcol, STANDALONE, tmp_path, OTELCOL_NEXT=hop))
            ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"]}
            server = Prometheus(prometheus, "collector.yml", tmp_path, ports, interval=interval)
            return collector, stack.enter_context(server)

        yield standalone


def test_flood_of_attribute_sets_harms_nobody_else(start: Start, tmp_path: Path) -> None:
    """Strangers with 100,000 attribute sets get one true sum each, marked as such, and the app's counts stay exact."""
    collector, server = start("1s")
    with Load(f"http://{collector.otlp}", tmp_path, seconds=3, quiet=0) as app:
        with grpc.insecure_channel(collector.otlp) as channel:
            export = MetricsServiceStub(channel).Export
            with pytest.raises(grpc.RpcError, match="received message larger than max") as refused:
                export(points(0, 100_000, "flood", "stranger"), timeout=30)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # which SDKs log
            for process in range(10):
                export(points(0, 10_000, f"flood-{process}", "stranger"), timeout=30)
        requests = app.truth()["requests"]
        eventually(lambda: server.value('sum(api_requests_total{job="shop/leads"})') == requests, "every request")
    summed = 'sum(api_requests_total{otel_metric_overflow="true"})'
    eventually(lambda: server.value(summed) == 100_000, "every stranger's sum")
    assert server.value('count(api_requests_total{job=~"flood-.*"})') == 10
    assert collector.own("otelcol_receiver_refused_metric_points_total") == 0


@pytest.mark.nightly
def test_full_speed(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """A sender at full speed for 30 s has no point refused or dropped, and memory follows the number of series."""
    collector, server = start("10s")
    with grpc.insecure_channel(collector.otlp) as channel:
        send = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        empty = collector.own(RSS)
        bodies = [points(first, 1000, "fast", SCOPE).SerializeToString() for first in range(0, 10_000, 1000)]
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < 30:
            send(bodies[sent % len(bodies)], timeout=10)
            sent += 1
        rate = sent * 1000 / (time.monotonic() - started)
    eventually(lambda: server.value('sum(api_requests_total{job="fast"})') == 10_000, "every series")
    full = collector.own(RSS)
    refused = collector.own("otelcol_receiver_refused_metric_points_total")
    with capsys.disabled():
        print(f"\n{rate:,.0f} points/s, {refused:.0f} refused, {empty / 2**20:.0f} MiB empty, {full / 2**20:.0f} MiB")
        print(f"with 10,000 series: {(full - empty) / 10 / 1024:,.0f} KiB per 1,000 series")
    assert refused == 0
    assert collector.own("otelcol_receiver_accepted_metric_points_total") == sent * 1000
    assert rate > 1000
