"""The topologies from an app to Prometheus and a trace store, made of the configs that are shipped."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sink import Sink
from tests.pipeline.programs import AGENT, GATEWAY, STANDALONE, Collector, Prometheus, built, free_port

TARGET = {"job", "instance"}
SCOPE = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
EXTRA_LABELS = {
    "app": TARGET | SCOPE,
    "standalone": TARGET | SCOPE | {"gateway"},
    "agent-gateway": TARGET | SCOPE | {"gateway"},
    "remote-write": TARGET | SCOPE - {"otel_scope_schema_url"},
    "prometheus3": TARGET | SCOPE,
}
TOPOLOGIES = [
    "app",
    "standalone",
    "agent-gateway",
    "remote-write",
    pytest.param("prometheus3", marks=pytest.mark.nightly),
]

EXEMPLARS = "--enable-feature=exemplar-storage"
RECEIVER = "--web.enable-remote-write-receiver"
DROP_SCOPE = "[{regex: otel_scope_.*, action: labeldrop}]"


@dataclass
class Topology:
    """What an app sends to, the Prometheus that gets it, one that took the scope off, and the trace store."""

    name: str
    home: Path
    sink: Sink
    prometheus: Prometheus
    scopeless: Prometheus
    otlp: str  # host:port, of gRPC
    app_port: int = 0  # of the app's own /metrics; 0 where it exports by OTLP

    @property
    def servers(self) -> list[Prometheus]:
        return [self.prometheus, self.scopeless]

    def far_end(self) -> dict[str, str]:
        """All that is held behind the app, as text: in Prometheus, in the trace store, and in logs."""
        everything = '{__name__=~".+"}'
        return {
            "series": repr([server.series(everything) for server in self.servers]),
            "exemplars": repr([server.exemplars(everything) for server in self.servers]),
            "spans": repr(self.sink.spans()),
            "logs": "".join(path.read_text() for path in self.home.glob("**/*.log")),
        }


def start_all(names: Iterable[str], stack: ExitStack, home: Path, prometheus: str) -> list[Topology]:
    """Start the programs of several topologies at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: start(name, stack, home / name, prometheus), names))


def start(name: str, stack: ExitStack, home: Path, prometheus: str) -> Topology:
    """Start the programs of one topology."""
    sink = stack.enter_context(Sink())
    store = sink.grpc_endpoint.removeprefix("http://")
    to_store = {"OTELCOL_NEXT": store, "OTELCOL_DECISION_WAIT": "1s"}
    if name == "app":
        port = free_port()
        server, scopeless = _scraping(stack, prometheus, "app.yml", home, {9464: port})
        return Topology(name, home, sink, server, scopeless, store, port)
    otelcol = built("small")
    if name in ("standalone", "agent-gateway"):
        configs = STANDALONE if name == "standalone" else GATEWAY
        entry = gateway = stack.enter_context(Collector(otelcol, configs, home, "gateway", **to_store))
        if name == "agent-gateway":
            entry = stack.enter_context(Collector(otelcol, AGENT, home, "agent", OTELCOL_NEXT=gateway.otlp))
        ports = {8889: gateway.ports["metrics"], 8888: gateway.ports["telemetry"]}
        server, scopeless = _scraping(stack, prometheus, "collector.yml", home, ports)
        return Topology(name, home, sink, server, scopeless, entry.otlp)
    own = free_port()
    if name == "remote-write":
        server, scopeless = _passing_on(stack, prometheus, prometheus, "remote-write.yml", home, own, RECEIVER)
        to_store["OTELCOL_REMOTE_WRITE"] = f"{server.url}/api/v1/write"
        overlay = "overlays/remote-write.yaml"
    else:
        receiver = "--web.enable-otlp-receiver"
        third = str(built("prometheus3"))
        server, scopeless = _passing_on(stack, third, prometheus, "otlp.yml", home, own, receiver)
        to_store["OTELCOL_PROMETHEUS_OTLP"] = f"{server.url}/api/v1/otlp"
        overlay = "overlays/prometheus-otlp.yaml"
    to_store["OTELCOL_TELEMETRY_PORT"] = str(own)
    collector = stack.enter_context(Collector(otelcol, (*STANDALONE, overlay), home, **to_store))
    return Topology(name, home, sink, server, scopeless, collector.otlp)


def _scraping(
    stack: ExitStack, binary: str, config: str, home: Path, ports: dict[int, int]
) -> tuple[Prometheus, Prometheus]:
    """Start a Prometheus, and one that drops the scope labels, which no query may need, from what it scrapes."""
    drop = f"metric_relabel_configs: {DROP_SCOPE}\n    static_configs"
    server = Prometheus(binary, config, home, ports, [EXEMPLARS])
    scopeless = Prometheus(
        binary, config, home / "scopeless", ports, edit=lambda text: text.replace("    static_configs", "    " + drop)
    )
    return stack.enter_context(server), stack.enter_context(scopeless)


def _passing_on(
    stack: ExitStack, binary: str, second: str, config: str, home: Path, own: int, receiver: str
) -> tuple[Prometheus, Prometheus]:
    """Start a Prometheus that is written to, and one that it passes all of it on to without the scope labels.

    It cannot drop a label of what it is written. The second scrapes nothing: it would have the collector's own series
    twice at one time, for which it refuses whole batches. It ends last, as the first waits for it with what is left.
    """
    scopeless = Prometheus(
        second, "remote-write.yml", home / "scopeless", {}, [RECEIVER], lambda text: text.partition("scrape_configs")[0]
    )
    passed_on = (
        f"remote_write: [{{url: {scopeless.url}/api/v1/write, write_relabel_configs: {DROP_SCOPE}, "
        "queue_config: {batch_send_deadline: 1s}}]\n"
    )
    flags = [receiver, EXEMPLARS]
    server = Prometheus(binary, config, home, {8888: own}, flags, lambda text: passed_on + text)
    stack.enter_context(scopeless)
    return stack.enter_context(server), scopeless
