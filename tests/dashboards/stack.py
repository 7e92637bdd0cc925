"""The whole stack on loopback: leads API with faults, collectors, two Prometheus, Alertmanager, a webhook's receiver.

One app process exports over two paths at once: its own endpoint, scraped by one Prometheus, and OTLP to a standalone
collector, which the other scrapes. An agent beside them has a next hop that refuses everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.instrumentation.schema._monitoring import rendering
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from leads_api import traffic
from tests.pipeline.programs import AGENT, ROOT, STANDALONE, Collector, Program, Prometheus, eventually, free_port, get

HERE = Path(__file__).parent
LEADS = ROOT / "examples" / "leads_api"


class Webhook:
    """Receives Alertmanager's messages, by path."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str, dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.messages.append((time.time(), self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Webhook:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, alert: str, status: str) -> list[tuple[float, dict[str, Any]]]:
        """When messages of one alert's group came, and what they say."""
        return [
            (at, message)
            for at, _, message in self.messages
            if message["groupLabels"].get("alertname") == alert and message["status"] == status
        ]


class Alertmanager(Program):
    """The shipped config, with the receivers' addresses of the test."""

    def __init__(self, binary: str, home: Path, values: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        home.mkdir(parents=True, exist_ok=True)
        for name, text in rendering.alertmanager(values):
            (home / name).write_text(text)
        listen = [f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="]
        config = [f"--config.file={home / 'alertmanager.yml'}", f"--storage.path={home / 'data'}"]
        super().__init__("alertmanager", [binary, *config, *listen], home)

    def ready(self) -> bool:
        return "OK" in get(f"{self.url}/-/ready")


class App(Program):
    """The leads API under `opentelemetry-instrument`, exporting over both paths."""

    patience = 180.0

    def __init__(self, home: Path, otlp: str) -> None:
        self.port, self.metrics = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {
            "PYTHONPATH": os.pathsep.join([str(LEADS), str(HERE)]),
            "LEADS_DATABASE_URL": f"sqlite:///{home / 'leads.sqlite3'}",
            "OTEL_SERVICE_NAME": "leads-api",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_METRICS_EXPORTER": "prometheus,otlp",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.metrics),
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_PYTHON_SCHEMA_MIGRATIONS": str(LEADS / "migrations"),
            "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        serve = [sys.executable, "-m", "uvicorn", "faulty:app", "--host", "127.0.0.1", "--port", str(self.port)]
        instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
        super().__init__("app", [instrument, *serve, "--no-access-log"], home, env)
        self.migration = [sys.executable, "-m", "alembic", "-c", str(LEADS / "alembic.ini"), "upgrade", "head"]

    def start(self) -> None:
        with (self.home / "alembic.log").open("a") as log:
            subprocess.run(self.migration, cwd=LEADS, env=self.env, stderr=log, check=True)
        super().start()

    def ready(self) -> bool:
        return "ok" in get(f"{self.url}/healthz")


@contextmanager
def refusing_hop() -> Iterator[str]:
    """A next hop that knows no service, so that what is sent to it has failed for good."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextmanager
def points(otlp: str) -> Iterator[None]:
    """A sender of metric points to a collector."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"http://{otlp}", insecure=True), 1000)
    provider = MeterProvider([reader])
    provider.get_meter("points").create_counter("points").add(1)
    try:
        yield
    finally:
        provider.shutdown()


@dataclass
class Stack:
    """What runs."""

    app: App
    webhook: Webhook
    alertmanager: Alertmanager
    servers: dict[str, Prometheus]
    values: Mapping[str, str]
    collectors: tuple[Collector, ...]

    def traffic(self, seconds: int) -> None:
        """Every kind of request, and every fault, at 30 requests a second."""
        end = time.monotonic() + seconds
        seed = 1
        while time.monotonic() < end:
            with contextlib.suppress(OSError, httpx.TransportError):  # on a busy machine one is not answered in time
                for path in ("/fragile", "/flood", "/archive"):
                    request = urllib.request.Request(self.app.url + path, method="POST")
                    urllib.request.urlopen(request, timeout=10).close()
                traffic.run(self.app.url, "demo", seed=seed, requests=60, rate=30, threads=2)
            seed += 1


@contextmanager
def stack(home: Path, otelcol: Path, prometheus: str, alertmanager: str, values: Mapping[str, str]) -> Iterator[Stack]:
    """Everything started and ready, with rules and Alertmanager's config rendered with the values."""
    with ExitStack() as programs:
        webhook = programs.enter_context(Webhook())
        values = {
            **values,
            "webhook_url": f"{webhook.url}/alerts",
            "deadman_url": f"{webhook.url}/deadman",
            "progress_url": f"{webhook.url}/progress",
            "smtp": "127.0.0.1:1",
        }
        hop = programs.enter_context(refusing_hop())
        collector = programs.enter_context(
            Collector(otelcol, STANDALONE, home / "collector", OTELCOL_NEXT=hop, OTELCOL_DECISION_WAIT="1s")
        )
        agent = programs.enter_context(Collector(otelcol, AGENT, home / "agent", name="agent", OTELCOL_NEXT=hop))
        programs.enter_context(points(agent.otlp))
        app = programs.enter_context(App(home / "app", collector.otlp))
        manager = programs.enter_context(Alertmanager(alertmanager, home / "alertmanager", values))
        servers: dict[str, Prometheus] = {}
        gateway, beside = collector.ports["telemetry"], agent.ports["telemetry"]
        # only one of the two notifies: for Alertmanager their alerts would be the same ones
        for path, config, ports in (
            ("app", "app.yml", {9464: app.metrics, 9093: free_port()}),
            ("collector", "collector.yml", {8889: collector.ports["metrics"], 8888: gateway, 9093: manager.port}),
        ):
            place = home / path
            (place / "rules").mkdir(parents=True)
            for name, text in rendering.rules(values):
                (place / "rules" / name).write_text(text.replace("interval: 2m", "interval: 2s"))
            flags = ["--enable-feature=exemplar-storage"] if path == "collector" else []

            def with_agent(text: str) -> str:
                return text.replace(f'["127.0.0.1:{gateway}"]', f'["127.0.0.1:{gateway}", "127.0.0.1:{beside}"]')

            servers[path] = programs.enter_context(Prometheus(prometheus, config, place, ports, flags, with_agent))
        for path, server in servers.items():
            eventually(lambda server=server: server.query("target_info") != [], f"{path} has the app's series")
        yield Stack(app, webhook, manager, servers, values, (collector, agent))
