"""The roads from an app to Prometheus and a trace store, laid with the configs that are shipped."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from programs import AGENT, GATEWAY, STANDALONE, Collector, Prometheus, built, free_port
from sink import Sink

TARGET = {"job", "instance"}
SCOPE = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
EXTRA_LABELS = {
    "app": TARGET | SCOPE,
    "standalone": TARGET | SCOPE,
    "agent-gateway": TARGET | SCOPE,
    "remote-write": TARGET | SCOPE - {"otel_scope_schema_url"},
    "prometheus3": TARGET,
}
ROADS = ["app", "standalone", "agent-gateway", "remote-write", pytest.param("prometheus3", marks=pytest.mark.nightly)]

EXEMPLARS = "--enable-feature=exemplar-storage"
RECEIVER = "--web.enable-remote-write-receiver"
DROP_SCOPE = "[{regex: otel_scope_.*, action: labeldrop}]"


@dataclass
class Road:
    """What an app sends to, the Prometheus that gets it, one that took the scope off, and the trace store."""

    name: str
    home: Path
    sink: Sink
    prometheus: Prometheus
    scopeless: Prometheus | None
    otlp: str  # host:port, of gRPC
    app_port: int = 0  # of the app's own /metrics; 0 where it exports by OTLP

    @property
    def servers(self) -> list[Prometheus]:
        return [self.prometheus, *([self.scopeless] if self.scopeless else [])]


def lay(name: str, stack: ExitStack, home: Path, prometheus: str) -> Road:
    """Start the programs of one road."""
    sink = stack.enter_context(Sink())
    store = sink.grpc_endpoint.removeprefix("http://")
    to_store = {"OTELCOL_NEXT": store, "OTELCOL_DECISION_WAIT": "1s"}
    if name == "app":
        port = free_port()
        server = stack.enter_context(Prometheus(prometheus, "app.yml", home, {9464: port}))
        scopeless = stack.enter_context(_scopeless(prometheus, "app.yml", home, {9464: port}))
        return Road(name, home, sink, server, scopeless, store, port)
    otelcol = built("small")
    if name == "remote-write":
        ports, flags = {8888: free_port()}, [RECEIVER, EXEMPLARS]
        # Prometheus cannot drop a label of what it is written: it passes it on without
        scopeless = Prometheus(prometheus, "remote-write.yml", home / "scopeless", ports, [RECEIVER])
        stack.enter_context(scopeless)
        passed_on = (
            f"remote_write: [{{url: {scopeless.url}/api/v1/write, write_relabel_configs: {DROP_SCOPE}, "
            "queue_config: {batch_send_deadline: 1s}}]\n"
        )
        server = Prometheus(prometheus, "remote-write.yml", home, ports, flags, lambda text: passed_on + text)
        stack.enter_context(server)
        to_store["OTELCOL_REMOTE_WRITE"] = f"{server.url}/api/v1/write"
        configs = (*STANDALONE, "overlays/remote-write.yaml")
        collector = stack.enter_context(Collector(otelcol, configs, home, **to_store))
        return Road(name, home, sink, server, scopeless, collector.otlp)
    if name == "prometheus3":
        flags = ["--web.enable-otlp-receiver", EXEMPLARS]
        binary = str(built("prometheus3"))
        server = stack.enter_context(Prometheus(binary, "otlp.yml", home, {8888: free_port()}, flags))
        to_store["OTELCOL_PROMETHEUS_OTLP"] = f"{server.url}/api/v1/otlp"
        configs = (*STANDALONE, "overlays/prometheus-otlp.yaml")
        collector = stack.enter_context(Collector(otelcol, configs, home, **to_store))
        return Road(name, home, sink, server, None, collector.otlp)  # it takes no scope in
    configs = STANDALONE if name == "standalone" else GATEWAY
    entry = gateway = stack.enter_context(Collector(otelcol, configs, home, "gateway", **to_store))
    if name == "agent-gateway":
        entry = stack.enter_context(Collector(otelcol, AGENT, home, "agent", OTELCOL_NEXT=gateway.otlp))
    ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
    server = stack.enter_context(Prometheus(prometheus, "collector.yml", home, ports, [EXEMPLARS]))
    scopeless = stack.enter_context(_scopeless(prometheus, "collector.yml", home, ports))
    return Road(name, home, sink, server, scopeless, entry.otlp)


def _scopeless(binary: str, config: str, home: Path, ports: dict[int, int]) -> Prometheus:
    """Return a Prometheus that drops the scope labels, which no query may need, from what it scrapes."""
    drop = f"metric_relabel_configs: {DROP_SCOPE}\n    static_configs"
    return Prometheus(
        binary, config, home / "scopeless", ports, edit=lambda text: text.replace("    static_configs", "    " + drop)
    )
