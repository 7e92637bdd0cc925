"""The path that writes to Prometheus when Prometheus is away and the gateway dies: nothing is lost, nobody is paged."""

from __future__ import annotations

import itertools
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

from sink import Sink
from tests.pipeline.exports import points
from tests.pipeline.load import SCOPE
from tests.pipeline.programs import CONFIGS, STANDALONE, Collector, FaultRow, Load, Prometheus, eventually

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

FAILED = "otelcol_exporter_send_failed_metric_points_total"
PAGES = 'ALERTS{alertstate="firing", alertname=~"Collector.*|SchemaTelemetry.*|MeasurementsDropped"}'


class RemoteWrite:
    """An app, a standalone collector that writes, and a Prometheus with the alerts, for `seconds` of traffic."""

    def __init__(self, otelcol: Path, prometheus: str, home: Path, stack: ExitStack, seconds: float) -> None:
        shutil.copytree(CONFIGS / "prometheus" / "rules", home / "rules")
        own = Collector(otelcol, STANDALONE, home / "ports").ports["telemetry"]
        flags = ["--web.enable-remote-write-receiver"]
        self.server = Prometheus(prometheus, "remote-write.yml", home, {8888: own}, flags)
        variables = {"OTELCOL_REMOTE_WRITE": f"{self.server.url}/api/v1/write", "OTELCOL_TELEMETRY_PORT": own}
        configs = (*STANDALONE, "overlays/unsampled.yaml", "overlays/remote-write.yaml")
        self.collector = Collector(otelcol, configs, home, OTELCOL_NEXT="127.0.0.1:9", **variables)
        self.collector.ports["telemetry"] = own
        self.app = Load(f"http://{self.collector.otlp}", home, seconds=seconds, rate=50, interval=5, quiet=0)
        for program in (self.server, self.collector, self.app):
            stack.enter_context(program)

    def away(self, seconds: float) -> None:
        """Kill Prometheus, and start it again after `seconds`."""
        eventually(lambda: self.server.value("sum(api_requests_total)"), "the first points")
        self.server.kill()
        time.sleep(seconds)
        self.server.start()

    def every_count_is_right(self, truth: dict[str, int]) -> bool:
        counts = {"api_requests_total": "requests", "validation_errors_total": "errors", "cache_hits_total": "hits"}
        return all(self.server.value(f"sum({series})") == truth[key] for series, key in counts.items())

    def longest_gap(self) -> float:
        """The longest time in seconds between two samples of a series that the app exports every 5 s."""
        (series,) = self.server.api("query", query="cache_hits_total[10m]")["result"]
        return max(later - earlier for (earlier, _), (later, _) in itertools.pairwise(series["values"]))

    def paged(self) -> set[str]:
        """The alerts about the pipeline that have fired."""
        fired = self.server.api("query", query=f"last_over_time({PAGES}[10m])")["result"]
        return {alert["metric"]["alertname"] for alert in fired}


@pytest.mark.nightly
def test_restart_and_kill_lose_nothing(otelcol: Path, prometheus: str, tmp_path: Path, fault_row: FaultRow) -> None:
    """A minute without Prometheus leaves no gap; with a killed gateway too, counts are right and nobody is paged."""
    with ExitStack() as stack:
        writer = RemoteWrite(otelcol, prometheus, tmp_path, stack, seconds=190)
        writer.away(60)
        time.sleep(20)
        failed, gap = writer.collector.own(FAILED), writer.longest_gap()
        writer.collector.kill()
        time.sleep(5)
        writer.collector.start()
        truth = writer.app.truth()
        what = "remote write: Prometheus 60 s away, kill -9 gateway: points"
        fault_row((what, "-", "-", failed, 0, f"gap {gap:.0f} s"))
        eventually(lambda: writer.every_count_is_right(truth), f"every count of {truth['requests']}")
        assert (failed, writer.paged()) == (0, set())
        assert gap < 10


@pytest.mark.nightly
def test_four_minutes_are_tried(otelcol: Path, prometheus: str, tmp_path: Path, fault_row: FaultRow) -> None:
    """A Prometheus that is away for four and a half minutes gets every point of that time when it is back."""
    with ExitStack() as stack:
        writer = RemoteWrite(otelcol, prometheus, tmp_path, stack, seconds=330)
        writer.away(270)
        truth = writer.app.truth()
        eventually(lambda: writer.every_count_is_right(truth), f"every count of {truth['requests']}")
        failed, gap = writer.collector.own(FAILED), writer.longest_gap()
        fault_row(("remote write: Prometheus 270 s away: points", "-", "-", failed, 0, f"gap {gap:.0f} s"))
        assert failed == 0
        assert gap < 10


@pytest.mark.parametrize("hours", [-24 * 365, -25, -1, 1, 24 * 365])
def test_wrong_clock_delays_nobody(otelcol: Path, prometheus: str, tmp_path: Path, hours: float) -> None:
    """An app whose clock is wrong by an hour, a day or a year keeps no other app's points from Prometheus."""
    with ExitStack() as stack:
        writer = RemoteWrite(otelcol, prometheus, tmp_path, stack, seconds=15)
        eventually(lambda: writer.server.value("sum(api_requests_total)"), "the app's first points")
        with grpc.insecure_channel(writer.collector.otlp) as channel:
            for _ in range(3):
                request = points(0, 1, "wrong", SCOPE)
                (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
                metric.sum.data_points[0].time_unix_nano += int(hours * 3600 * 1e9)
                MetricsServiceStub(channel).Export(request, timeout=5)
                time.sleep(1)
        requests = writer.app.truth()["requests"]
        right = 'sum(api_requests_total{job="shop/leads"})'
        eventually(lambda: writer.server.value(right) == requests, f"{requests} requests")
        assert "failed to send WriteRequest" not in writer.collector.log.read_text()


@pytest.mark.nightly
def test_sigterm_while_prometheus_is_away_loses_no_span(otelcol: Path, tmp_path: Path) -> None:
    """A collector that still tries to write after SIGTERM, and is killed, has decided and kept every trace before."""
    configs = (*STANDALONE, "overlays/remote-write.yaml")
    with Sink() as sink:
        variables = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "60s"}
        variables["OTELCOL_REMOTE_WRITE"] = "http://127.0.0.1:9/api/v1/write"
        with Collector(otelcol, configs, tmp_path, **variables) as collector:
            with Load(f"http://{collector.otlp}", tmp_path, seconds=3, quiet=0) as app:
                notable = set(app.truth()["notable"])
            assert collector.process is not None
            collector.process.terminate()
            time.sleep(10)
            assert collector.process.poll() is None  # it tries for five minutes
            collector.kill()
            collector.start()
            sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()})
            collector.kill()
