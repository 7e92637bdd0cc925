"""`otel-schema doctor` finds what is wrong around a real Prometheus: retention, clock, names, routes, traffic."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema.cli.checks import stack

from processes import HOST
from tests.pipeline.programs import Program, free_port, get
from tests.pipeline.test_doctor import EXEMPLARS, HISTOGRAM, Server, doctor, endpoint, exposition, findings, loaded

ROUTES = Path(__file__).parents[2] / "collector-config" / "alertmanager"


class Alertmanager(Program):
    """A real Alertmanager with the shipped config, changed."""

    def __init__(self, home: Path, old: str = "", new: str = "") -> None:
        self.port = free_port()
        shutil.copytree(ROUTES, home)
        config = home / "alertmanager.yml"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
        listen = [f"--web.listen-address={HOST}:{self.port}", "--cluster.listen-address="]
        command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={home / 'data'}", *listen]
        super().__init__("alertmanager", command, home)

    def ready(self) -> bool:
        return get(f"http://{HOST}:{self.port}/-/ready") != ""


@pytest.fixture(scope="module")
def text() -> str:
    """What an app exposes."""
    return exposition()


@pytest.fixture
def prometheus() -> str:
    """The binary."""
    if shutil.which("prometheus") is None:
        message = "not on PATH: prometheus (Debian package)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return "prometheus"


@pytest.fixture
def running(tmp_path: Path, prometheus: str) -> Iterator[ExitStack]:
    """Programs that end with the test."""
    with ExitStack() as programs:
        yield programs


def start(running: ExitStack, home: Path, *flags: str, more: str = "", alertmanager: int = 0) -> Server:
    """A Prometheus with our rules that has scraped an app, and knows an Alertmanager."""
    loaded(home)
    port = running.enter_context(endpoint(exposition() + more))
    server = Server(home, {"app": {"port": port}}, [EXEMPLARS, *flags])
    if alertmanager:
        config = home / "prometheus.yml"
        targets = json.dumps([f"{HOST}:{alertmanager}"])
        alerting = f"alerting: {{alertmanagers: [{{static_configs: [{{targets: {targets}}}]}}]}}"
        config.write_text(f"{config.read_text()}{alerting}\n")
    running.enter_context(server)
    server.eventually(f"{HISTOGRAM}_count")
    return server


def test_a_short_retention(running: ExitStack, tmp_path: Path) -> None:
    """A Prometheus that keeps one hour is a finding that names the flag; the default of 15 days is none."""
    code, checks = doctor(start(running, tmp_path / "short", "--storage.tsdb.retention.time=1h").url)
    assert (code, findings(checks)) == (1, {"retention"})
    (check,) = checks["retention"]
    assert "1h" in check["message"]
    assert "--storage.tsdb.retention.time=15d" in check["message"]
    assert doctor(start(running, tmp_path / "usual").url)[0] == 0


def test_old_names_in_a_collectors_config(running: ExitStack, tmp_path: Path) -> None:
    """A collector whose config uses a component's old name is named with the new one."""
    more = 'otelcol_exporter_sent_spans_total{exporter="otlp/traces"} 5\n'
    more += 'otelcol_exporter_sent_spans_total{exporter="otlp_grpc"} 5\n'
    _, checks = doctor(start(running, tmp_path, more=more).url)
    (check,) = checks["collector"]
    assert check["result"] == "note"
    assert "exporter otlp/traces; newer releases say otlp_grpc" in check["message"]


def test_little_traffic(running: ExitStack, tmp_path: Path) -> None:
    """Few requests are said with the rate from which on the guard finds a small rise."""
    server = start(running, tmp_path, more='api_requests_total{http_request_method="GET"} 1\n')
    assert "traffic" not in doctor(server.url)[1], "nothing moved yet"
    counted = 'api_requests_total{http_request_method="GET",n="%d"}'
    with endpoint(*(exposition() + f"{counted % 1} {count}\n" for count in range(1, 40))) as port:
        moving = Server(tmp_path / "moving", {"app": {"port": port}}, [EXEMPLARS], interval="3s")
        loaded(tmp_path / "moving")
        with moving:
            moving.eventually("rate(api_requests_total[10m]) > 0")
            (check,) = doctor(moving.url)[1]["traffic"]
    assert check["result"] == "note"
    assert "1 % to 4 %" in check["message"]


def test_clocks_that_differ(running: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a minute away is a finding."""
    server = start(running, tmp_path)
    assert "clock" not in doctor(server.url)[1]
    real = time.time

    def later() -> float:
        return real() + 60

    monkeypatch.setattr(stack.time, "time", later)
    code, checks = doctor(server.url)
    assert (code, findings(checks)) == (1, {"clock"})
    assert "60 s away" in checks["clock"][0]["message"]


@pytest.mark.parametrize(
    ("old", "new", "result", "said"),
    [
        ("", "", "fine", "has the route"),
        ('notification="progress"', 'notification="other"', "finding", "has no route"),
        ("group_by: [incident_id, phase]", "group_by: [incident_id]", "finding", "does not group"),
        ("      group_by: [incident_id, phase]\n", "", "finding", "does not group"),
    ],
)
def test_routes_for_progress(running: ExitStack, tmp_path: Path, old: str, new: str, result: str, said: str) -> None:
    """The route of an incident's progress is looked up in a real Alertmanager, with what it groups by."""
    if shutil.which("prometheus-alertmanager") is None:
        message = "not on PATH: prometheus-alertmanager (Debian package)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    alertmanager = running.enter_context(Alertmanager(tmp_path / "alertmanager", old, new))
    code, checks = doctor(start(running, tmp_path / "prometheus", alertmanager=alertmanager.port).url)
    (check,) = checks["progress"]
    assert (check["result"], code) == (result, 0 if result == "fine" else 1)
    assert said in check["message"]


def test_no_credential_goes_to_an_alertmanager(running: ExitStack, tmp_path: Path) -> None:
    """What the person sends to Prometheus is not sent to an Alertmanager that Prometheus names."""
    heard: dict[str, str | None] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard[self.path] = self.headers["Authorization"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:  # Prometheus' own alerts
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    alertmanager = running.enter_context(ThreadingHTTPServer((HOST, 0), Handler))
    threading.Thread(target=alertmanager.serve_forever, args=(0.02,), daemon=True).start()
    running.callback(alertmanager.shutdown)
    server = start(running, tmp_path, alertmanager=alertmanager.server_port)
    code, checks = doctor(server.url, "--header", "Authorization=Bearer secret")
    assert [check["result"] for check in checks["progress"]] == ["note"]
    assert heard["/api/v2/status"] is None
    assert code == 0
