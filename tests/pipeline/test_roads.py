"""Every road from the app to Prometheus gives the same names, the same labels and the true numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import AGENT, GATEWAY, STANDALONE, Collector, Load, Prometheus, built, eventually, free_port

from sink import Sink

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

P95 = "histogram_quantile(0.95, rate(schema_validation_duration_seconds_bucket[5m]))"
ERROR_RATE = "sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))"
HIT_RATE = "sum(cache_hits_total) / (sum(cache_hits_total) + sum(cache_misses_total))"

PROMETHEUS_NAMES = {
    "schema.validation.duration": "schema_validation_duration_seconds",
    "validation.errors": "validation_errors_total",
    "schema.validation.problems": "schema_validation_problems_total",
    "api.requests": "api_requests_total",
    "cache.hits": "cache_hits_total",
    "cache.misses": "cache_misses_total",
    "schema.info": "schema_info",
    "schema.db.info": "schema_db_info",
    "schema.mismatches": "schema_mismatches",
    "schema.migration.pending": "schema_migration_pending",
    "schema.migration.last_run.timestamp": "schema_migration_last_run_timestamp_seconds",
    "schema.migration.last_run.duration": "schema_migration_last_run_duration_seconds",
}
TARGET = {"job", "instance"}
SCOPE = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
EXTRA_LABELS = {
    "app": TARGET | SCOPE,
    "standalone": TARGET | SCOPE,
    "agent-gateway": TARGET | SCOPE,
    "remote-write": TARGET | SCOPE - {"otel_scope_schema_url"},
    "prometheus3": TARGET,
}


@dataclass
class Road:
    """One finished run: what was sent, the Prometheus that got it, one that took the scope off, and the trace sink."""

    name: str
    prometheus: Prometheus
    truth: dict[str, Any]
    sink: Sink
    scopeless: Prometheus | None  # roads that are scraped

    @property
    def servers(self) -> list[Prometheus]:
        return [self.prometheus, *([self.scopeless] if self.scopeless else [])]

    def settled(self, server: Prometheus) -> bool:
        counts = {
            "api_requests_total": "requests",
            "validation_errors_total": "errors",
            "schema_validation_problems_total": "problems",
            "cache_hits_total": "hits",
            "cache_misses_total": "misses",
            "schema_validation_duration_seconds_count": "requests",
        }
        return all(server.value(f"sum({series})") == self.truth[key] for series, key in counts.items())


ROADS = ["app", "standalone", "agent-gateway", "remote-write", pytest.param("prometheus3", marks=pytest.mark.nightly)]


@pytest.fixture(scope="module", params=ROADS)
def road(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prometheus: str) -> Iterator[Road]:
    with ExitStack() as stack:
        yield run_road(request.param, stack, tmp_path_factory.mktemp(request.param), prometheus)


def run_road(name: str, stack: ExitStack, home: Path, prometheus: str) -> Road:
    """Start the programs of one road, drive the load through it, and return when Prometheus has everything."""
    sink = stack.enter_context(Sink())
    to_sink = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
    exemplars = "--enable-feature=exemplar-storage"
    scopeless = None
    if name == "app":
        port = free_port()
        server = stack.enter_context(Prometheus(prometheus, "app.yml", home, {9464: port}))
        scopeless = stack.enter_context(without_scope(prometheus, "app.yml", home, {9464: port}))
        load = stack.enter_context(Load(sink.grpc_endpoint, home, app_port=port))
    else:
        otelcol = built("small")
        if name == "remote-write":
            flags = ["--web.enable-remote-write-receiver", exemplars]
            server = stack.enter_context(Prometheus(prometheus, "remote-write.yml", home, {8888: free_port()}, flags))
            to_sink["OTELCOL_REMOTE_WRITE"] = f"{server.url}/api/v1/write"
            configs = (*STANDALONE, "overlays/remote-write.yaml")
            entry = stack.enter_context(Collector(otelcol, configs, home, **to_sink))
        elif name == "prometheus3":
            flags = ["--web.enable-otlp-receiver", exemplars]
            binary = str(built("prometheus3"))
            server = stack.enter_context(Prometheus(binary, "otlp.yml", home, {8888: free_port()}, flags))
            to_sink["OTELCOL_PROMETHEUS_OTLP"] = f"{server.url}/api/v1/otlp"
            configs = (*STANDALONE, "overlays/prometheus-otlp.yaml")
            entry = stack.enter_context(Collector(otelcol, configs, home, **to_sink))
        else:
            configs = STANDALONE if name == "standalone" else GATEWAY
            entry = gateway = stack.enter_context(Collector(otelcol, configs, home, "gateway", **to_sink))
            if name == "agent-gateway":
                entry = stack.enter_context(Collector(otelcol, AGENT, home, "agent", OTELCOL_NEXT=gateway.otlp))
            ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
            server = stack.enter_context(Prometheus(prometheus, "collector.yml", home, ports, [exemplars]))
            scopeless = stack.enter_context(without_scope(prometheus, "collector.yml", home, ports))
        load = stack.enter_context(Load(f"http://{entry.otlp}", home))
    road = Road(name, server, load.truth(), sink, scopeless)
    for each in road.servers:
        eventually(lambda each=each: road.settled(each), f"{name}: Prometheus has every count of {road.truth}")
    return road


def without_scope(binary: str, config: str, home: Path, ports: dict[int, int]) -> Prometheus:
    """Return a Prometheus that drops the scope labels, which no query may need, from what it scrapes."""
    drop = "metric_relabel_configs: [{regex: otel_scope_.*, action: labeldrop}]\n    "
    home = home / "scopeless"
    return Prometheus(binary, config, home, ports, edit=lambda text: text.replace("static_", drop + "static_"))


def test_hit_rate_is_exact(road: Road) -> None:
    """The promised cache expression gives the generator's own ratio."""
    hits, misses = road.truth["hits"], road.truth["misses"]
    for server in road.servers:
        assert server.value(HIT_RATE) == pytest.approx(hits / (hits + misses), rel=1e-12)


def test_error_rate_is_true(road: Road) -> None:
    """The promised error expression gives failed validations per request, as every series was seen at 0 first."""
    expected = road.truth["errors"] / road.truth["requests"]
    # remote write and OTLP keep the SDK's times, which differ a little between metrics
    for server in road.servers:
        assert server.value(ERROR_RATE) == pytest.approx(expected, rel=1e-3)


def test_p95_is_in_the_right_bucket(road: Road) -> None:
    """The promised latency expression answers for each series, and for valid traffic inside the true bucket."""
    bucket = road.truth["p95_bucket"]
    for server in road.servers:
        rows = server.query(P95)
        valid = [value for labels, value in rows if labels["schema_validation_outcome"] == "valid"]
        assert len(valid) == 2, rows  # one for each route
        assert all(0.01 < value <= bucket for value in valid), (valid, bucket)


def test_names_and_labels_are_those_of_the_conventions(road: Road) -> None:
    """Each measured attribute set is one series under the conventions' name and labels, and nothing else is."""
    found: dict[str, set[frozenset[tuple[str, str]]]] = {}
    names = "|".join(PROMETHEUS_NAMES.values())
    for labels in road.prometheus.series(f'{{__name__=~"(({names})(_count)?)"}}'):
        name = labels.pop("__name__").removesuffix("_count")
        kept = frozenset((key, value) for key, value in labels.items() if key not in EXTRA_LABELS[road.name])
        found.setdefault(name, set()).add(kept)
    expected = {
        PROMETHEUS_NAMES[name]: {
            frozenset((k.replace(".", "_"), v) for k, v in attributes.items()) for attributes in sets
        }
        for name, sets in road.truth["series"].items()
    }
    assert found == expected


def test_bucket_boundaries_are_those_of_the_conventions(road: Road) -> None:
    """Every road exposes the same 18 boundaries, whatever way it writes them, and 0.01 is written alike on all."""
    bounds = {labels["le"] for labels in road.prometheus.series("schema_validation_duration_seconds_bucket")}
    assert "0.01" in bounds
    assert len(bounds) == len({float(bound) for bound in bounds}) == 18


@pytest.mark.parametrize("road", ROADS[1:], indirect=True, scope="module")  # the app's own endpoint has neither
def test_exemplars_lead_to_stored_traces(road: Road) -> None:
    """Each exemplar's trace is in the store with its validation span, though most ordinary traces are dropped."""
    exemplars = eventually(
        lambda: road.prometheus.exemplars("schema_validation_duration_seconds_bucket"), f"{road.name}: exemplars"
    )
    assert any(float(exemplar["value"]) > 0.01 for exemplar in exemplars)
    assert all(set(exemplar["labels"]) == {"trace_id", "span_id"} for exemplar in exemplars)
    for span_id, trace_id in ((e["labels"]["span_id"], e["labels"]["trace_id"]) for e in exemplars):
        road.sink.wait_for(lambda trace_id=trace_id: road.sink.trace(trace_id), deadline=20)
        spans = {span.span_id: span.name for span in road.sink.trace(trace_id)}
        assert spans.get(span_id) == "schema.validate LeadIn", trace_id


@pytest.mark.parametrize("road", ROADS[1:], indirect=True, scope="module")  # the app's own endpoint has neither
def test_sampling_keeps_what_is_notable(road: Road) -> None:
    """Tail sampling stores every trace with a failed, crashed, slow or querying validation, and few others."""
    notable, ordinary = set(road.truth["notable"]), set(road.truth["ordinary"])
    road.sink.wait_for(lambda: notable <= {span.trace_id for span in road.sink.spans()}, deadline=20)
    stored = {span.trace_id for span in road.sink.spans()}
    assert len(stored & ordinary) < 0.3 * len(ordinary)
