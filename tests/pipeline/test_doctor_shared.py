"""`otel-schema` in a shared installation: behind a proxy that asks for a token, and two processes of one identity."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.instrumentation.schema.cli.group import otel_schema

from tests.pipeline.programs import STANDALONE, Collector
from tests.pipeline.test_doctor import (
    EXEMPLARS,
    HISTOGRAM,
    HOST,
    Server,
    doctor,
    endpoint,
    exposition,
    findings,
    loaded,
)


@contextmanager
def asking_for(token: str, url: str) -> Iterator[str]:
    """A proxy in front of a server that lets through who has a bearer token; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _pass(self, body: bytes | None = None) -> None:
            code, answer = 401, b"no"
            if self.headers["Authorization"] == f"Bearer {token}":
                headers = {"Content-Type": self.headers.get("Content-Type", "text/plain")}
                try:
                    with urllib.request.urlopen(urllib.request.Request(url + self.path, body, headers)) as answered:
                        code, answer = answered.status, answered.read()
                except urllib.error.HTTPError as error:
                    code, answer = error.code, error.read()
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            self._pass()

        def do_POST(self) -> None:
            self._pass(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_prometheus_behind_a_bearer_token(tmp_path: Path, prometheus: str) -> None:
    """Commands send the token of --bearer-token-file, name it where it is missing, and never print it."""
    loaded(tmp_path)
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    with endpoint(exposition()) as port, Server(tmp_path, {"app": {"port": port}}, [EXEMPLARS], prometheus) as server:
        server.eventually(f"{HISTOGRAM}_count")
        with asking_for("s3cret-token", server.url) as url:
            code, checks = doctor(url, "--bearer-token-file", str(token))
            top = CliRunner().invoke(otel_schema, ["top", url, "--json", "--bearer-token-file", str(token)])
            refused = [CliRunner().invoke(otel_schema, [command, url]) for command in ("top", "doctor")]
    assert (code, findings(checks), findings(checks, "unknown")) == (0, set(), set())
    assert (top.exit_code, '"schema": "Lead"' in top.output) == (0, True), top.output
    for each in refused:
        assert each.exit_code == 2
        assert "401 Unauthorized" in each.output
        assert "--bearer-token-file" in each.output
    assert "s3cret" not in top.output + "".join(each.output for each in refused)


PROCESS = """
import sys, time
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=sys.argv[1], insecure=True), 400)
resource = Resource.create({"service.name": "leads", "service.instance.id": sys.argv[3]})
SchemaInstrumentor().instrument(meter_provider=MeterProvider([reader], resource))
from pydantic import BaseModel
class Lead(BaseModel):
    number: int
for number in range(int(sys.argv[2])):
    Lead(number=number)
while True:
    time.sleep(0.2)
    Lead(number=1)
"""


@pytest.mark.nightly
@pytest.mark.parametrize(("identities", "expected"), [(("one", "one"), {"identity"}), (("one", "two"), set())])
def test_two_processes_with_one_identity(
    identities: tuple[str, str], expected: set[str], tmp_path: Path, prometheus: str, otelcol: Path
) -> None:
    """Two real processes that export under one service.instance.id are found; with one each, nothing is."""
    loaded(tmp_path)
    with ExitStack() as stack:
        collector = stack.enter_context(Collector(otelcol, STANDALONE, tmp_path / "collector", OTELCOL_NEXT="x:1"))
        for number, identity in zip(("1", "1000"), identities, strict=True):
            command = [sys.executable, "-c", PROCESS, f"http://{collector.otlp}", number, identity]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        jobs: dict[str, dict[str, object]] = {"collector": {"port": collector.ports["metrics"], "honor_labels": True}}
        server = stack.enter_context(Server(tmp_path, jobs, [EXEMPLARS], prometheus))
        if expected:
            server.eventually(f"max(resets({HISTOGRAM}_count[5m])) > 5", 120)
        else:
            server.eventually(
                f"min(count_over_time({HISTOGRAM}_count[5m])) > 20 and count({HISTOGRAM}_count) == 2", 120
            )
        _, checks = doctor(server.url)
    assert findings(checks) & {"identity"} == expected
    if expected:
        assert "several processes share one service.instance.id" in checks["identity"][0]["message"]
