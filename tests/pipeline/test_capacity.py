"""What one standalone collector takes: a flood of attribute sets, and a sender at full speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

from load import SCOPE
from programs import STANDALONE, Collector, Load, Prometheus, eventually
from sink import Sink

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

RSS = "otelcol_process_memory_rss_bytes"


@dataclass
class Standalone:
    collector: Collector
    server: Prometheus
    sink: Sink


@pytest.fixture
def standalone(otelcol: Path, prometheus: str, tmp_path: Path) -> Iterator[Standalone]:
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        hop = sink.grpc_endpoint.removeprefix("http://")
        collector = stack.enter_context(Collector(otelcol, STANDALONE, tmp_path, OTELCOL_NEXT=hop))
        ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"]}
        server = stack.enter_context(Prometheus(prometheus, "collector.yml", tmp_path, ports))
        yield Standalone(collector, server, sink)


def points(first: int, count: int, service: str, scope: str) -> ExportMetricsServiceRequest:
    """Return a request with `count` series of api.requests, numbered from `first`, each at 1 and of one time."""
    now = time.time_ns()  # as every SDK does: the guard sums only points of one time
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scoped = resource.scope_metrics.add()
    scoped.scope.name = scope
    metric = scoped.metrics.add(name="api.requests", unit="{request}")
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2  # cumulative
    for number in range(first, first + count):
        point = metric.sum.data_points.add(as_int=1, time_unix_nano=now)
        point.attributes.add(key="http.route").value.string_value = f"/flood/{number}"
        point.attributes.add(key="http.request.method").value.string_value = "GET"
    return request


def test_flood_of_attribute_sets_harms_nobody_else(standalone: Standalone, tmp_path: Path) -> None:
    """Strangers with 100,000 attribute sets get one true sum each, and the app's counts stay exact."""
    with grpc.insecure_channel(standalone.collector.otlp) as channel:
        export = MetricsServiceStub(channel).Export
        with pytest.raises(grpc.RpcError) as refused:
            export(points(0, 100_000, "flood", "stranger"), timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # above 4 MiB in one request
        for process in range(10):
            export(points(0, 10_000, f"flood-{process}", "stranger"), timeout=30)
    with Load(f"http://{standalone.collector.otlp}", tmp_path, seconds=3, quiet=0) as app:
        truth = app.truth()
        value = standalone.server.value
        eventually(lambda: value('sum(api_requests_total{job="shop/leads"})') == truth["requests"], "every request", 60)
        assert value('sum(api_requests_total{job=~"flood-.*"})') == 100_000
        assert value('count(api_requests_total{job=~"flood-.*"})') == 10
        assert standalone.collector.own("otelcol_receiver_refused_metric_points_total") == 0


@pytest.mark.nightly
def test_full_speed(standalone: Standalone, capsys: pytest.CaptureFixture[str]) -> None:
    """A sender at full speed for 30 s has no point refused or dropped, and memory follows the number of series."""
    collector = standalone.collector
    with grpc.insecure_channel(collector.otlp) as channel:
        send = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        empty = collector.own(RSS)
        bodies = [points(first, 1000, "fast", SCOPE).SerializeToString() for first in range(0, 10_000, 1000)]
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < 30:
            send(bodies[sent % len(bodies)], timeout=10)
            sent += 1
        rate = sent * 1000 / (time.monotonic() - started)
    eventually(lambda: standalone.server.value('sum(api_requests_total{job="fast"})') == 10_000, "every series", 30)
    full = collector.own(RSS)
    refused = collector.own("otelcol_receiver_refused_metric_points_total")
    with capsys.disabled():
        print(f"\n{rate:,.0f} points/s, {refused:.0f} refused, {empty / 2**20:.0f} MiB empty, {full / 2**20:.0f} MiB")
        print(f"with 10,000 series: {(full - empty) / 10 / 1024:,.0f} KiB per 1,000 series")
    assert refused == 0
    assert collector.own("otelcol_receiver_accepted_metric_points_total") == sent * 1000
    assert rate > 1000
