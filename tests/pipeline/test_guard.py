"""What no convention knows is summed away or kept apart, and what a payload holds never reaches the far end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import load
from programs import STANDALONE, Collector, Load, Prometheus, eventually
from sink import Sink

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

Leak = tuple[Prometheus, Collector, Sink, dict[str, Any]]


@pytest.fixture(scope="module")
def leak(otelcol: Path, prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leak]:
    """A standalone collector behind an app that puts an e-mail address on each point, and beside a stranger."""
    home = tmp_path_factory.mktemp("leak")
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        collector = stack.enter_context(Collector(otelcol, STANDALONE, home, **hop))
        ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"]}
        flags = ["--enable-feature=exemplar-storage"]
        server = stack.enter_context(Prometheus(prometheus, "collector.yml", home, ports, flags))
        app = stack.enter_context(Load(f"http://{collector.otlp}", home, leak=True, stranger=True))
        truth = app.truth()
        expected = truth["requests"]
        eventually(lambda: server.value("sum(api_requests_total)") == expected, f"{expected} requests")
        eventually(lambda: server.exemplars("schema_validation_duration_seconds_bucket"), "exemplars")
        yield server, collector, sink, truth


def test_unknown_attributes_are_summed_away(leak: Leak) -> None:
    """Fifty values of an attribute that no convention knows make no series, and every count stays exact."""
    server, _, _, truth = leak
    for series, key in (("api_requests_total", "requests"), ("validation_errors_total", "errors")):
        assert server.value(f"sum({series})") == truth[key]
    assert server.value("count(api_requests_total)") == 2  # one for each route
    assert server.value("sum(schema_validation_duration_seconds_count)") == truth["requests"]


def test_strangers_keep_their_own_series(leak: Leak) -> None:
    """Another scope's cache.hits is its own series with its own attributes, and ours counts only ours."""
    server, _, _, truth = leak
    assert server.value(f'sum(cache_hits_total{{otel_scope_name="{load.SCOPE}"}})') == truth["hits"]
    assert server.value('cache_hits_total{otel_scope_name="stranger", colour="red"}') == 1000


def test_canary_is_absent_at_the_far_end(leak: Leak) -> None:
    """What the app put on points and exemplars is in no series, no exemplar, no stored span and no log."""
    server, collector, sink, _ = leak
    everything = [
        server.series('{__name__=~".+"}'),
        server.exemplars('{__name__=~".+"}'),
        sink.spans(),
        collector.log.read_text(),
        server.log.read_text(),
    ]
    assert load.CANARY not in repr(everything)
