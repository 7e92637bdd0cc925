"""What is lost when a process of the road dies: only what the documentation says."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from programs import AGENT, GATEWAY, Collector, Load, Prometheus, eventually

from sink import Sink

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector


def test_gateway_killed_with_its_queue_on_disk(otelcol: Path, prometheus: str, tmp_path: Path) -> None:
    """kill -9 of the gateway while its trace store is away loses no span, duplicates none, and no count is wrong."""
    with ExitStack() as stack:
        away = Sink()  # holds its port, and answers nobody until it is started
        hop = away.grpc_endpoint.removeprefix("http://")
        configs = (*GATEWAY, "overlays/unsampled.yaml")
        gateway = stack.enter_context(Collector(otelcol, configs, tmp_path, "gateway", OTELCOL_NEXT=hop))
        agent = stack.enter_context(Collector(otelcol, AGENT, tmp_path, "agent", OTELCOL_NEXT=gateway.otlp))
        ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
        server = stack.enter_context(Prometheus(prometheus, "collector.yml", tmp_path, ports))
        app = stack.enter_context(Load(f"http://{agent.otlp}", tmp_path, seconds=12))
        eventually(lambda: gateway.own("otelcol_exporter_queue_size") > 0, "the gateway has spans on disk")
        gateway.kill()
        time.sleep(2)  # the outage itself: the app goes on, the agent queues
        gateway.start()
        sink = stack.enter_context(away)
        truth = app.truth()

        sink.wait_for(lambda: len(sink.spans()) >= truth["spans"], deadline=60)
        arrived = Counter(span.span_id for span in sink.spans())
        assert len(arrived) == truth["spans"]
        assert max(arrived.values()) == 1
        eventually(lambda: server.value("sum(api_requests_total)") == truth["requests"], "every request is counted")
        assert server.value("sum(validation_errors_total)") == truth["errors"]
        assert gateway.own("otelcol_exporter_enqueue_failed_spans_total") == 0


def test_sampling_gateway_ended_in_order_loses_nothing(otelcol: Path, tmp_path: Path) -> None:
    """SIGTERM makes the gateway decide the traces that wait, so that every notable one is stored."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        variables = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "60s"}
        gateway = stack.enter_context(Collector(otelcol, GATEWAY, tmp_path, "gateway", **variables))
        app = stack.enter_context(Load(f"http://{gateway.otlp}", tmp_path, seconds=3, quiet=0))
        truth = app.truth()
        gateway.stop()
        gateway.start()  # what it had on disk by then goes out now
        notable = set(truth["notable"])
        sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()}, deadline=30)
