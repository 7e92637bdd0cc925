"""`otel-schema top` against a real /metrics endpoint and a real Prometheus."""

from __future__ import annotations

import fcntl
import http.server
import json
import math
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.quantile import histogram_quantile
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, start_http_server

HOST = "127.0.0.1"
SCHEMA = {"schema.name": "Lead", "schema.module": "app", "schema.library": "pydantic"}
ROUTE = {"http.request.method": "POST", "http.route": "/leads"}

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on this machine")


@contextmanager
def serving(answer):
    """An HTTP server whose every GET is answered by `answer(path)`: (status, content type, text)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, content_type, text = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def prometheus(target: str, directory: Path):
    """A real Prometheus that has scraped `target` at least once; gives its URL."""
    config = directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target.removeprefix('http://')}']}}]}}]\n"
    )
    with socket.create_server((HOST, 0)) as free:
        url = f"http://{HOST}:{free.getsockname()[1]}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    log = (directory / "prometheus.log").open("w")
    with log, subprocess.Popen([*command, f"--web.listen-address={url[7:]}"], stderr=log) as process:
        try:
            wait_for(lambda: process.poll() is not None or up(url))
            yield url
        finally:
            process.terminate()
            process.wait(10)


def up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query=up==1", timeout=2) as answer:
            return json.load(answer)["data"]["result"] != []
    except OSError:
        return False


def wait_for(predicate, deadline: float = 60):
    until = time.monotonic() + deadline
    while not (found := predicate()):
        assert time.monotonic() < until, "nothing within the deadline"
        time.sleep(0.05)
    return found


def otel_schema(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The console script, in a process of its own."""
    command = [str(Path(sys.executable).with_name("otel-schema")), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=os.environ | {"COLUMNS": "140"} | environment
    )


@pytest.fixture
def app():
    """An endpoint of the real SDK and exporter with a little of every instrument; gives its URL and instruments."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    meter = provider.get_meter(semconv.SCOPE)
    instruments = {
        row.name: meter.create_histogram(
            row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=row.buckets
        )
        if row.kind == "histogram"
        else meter.create_counter(row.name, row.unit, row.description)
        for row in semconv.INSTRUMENTS
    }
    for value in [20e-6] * 90 + [30e-3] * 10:
        instruments["schema.validation.duration"].record(
            value, {**SCHEMA, **ROUTE, "schema.validation.outcome": "valid"}
        )
    instruments["validation.errors"].add(5, SCHEMA | ROUTE | {"error.type": "ValidationError"})
    instruments["api.requests"].add(100, ROUTE)
    problem = {"schema.problem.path": "phones.*.number", "schema.problem.rule": "missing"}
    instruments["schema.validation.problems"].add(7, SCHEMA | problem)
    instruments["cache.hits"].add(19, SCHEMA | {"schema.cache.name": "validator"})
    instruments["cache.misses"].add(1, SCHEMA | {"schema.cache.name": "validator"})
    query = {"schema.query.relation": "during", "db.system.name": "sqlite", "db.operation.name": "SELECT"}
    instruments["schema.query.duration"].record(0.02, SCHEMA | query)
    instruments["schema.query.cache.hits"].add(3, {"db.system.name": "sqlite"})
    server, thread = start_http_server(0, HOST, REGISTRY)
    yield f"http://{HOST}:{server.server_port}", instruments
    server.shutdown()
    server.server_close()
    thread.join()
    provider.shutdown()


def test_tables_of_an_endpoint(app):
    """Each figure of an endpoint stands in a table that a person can read."""
    run = otel_schema("top", f"{app[0]}/metrics")
    assert (run.returncode, run.stderr) == (0, "")
    rows = [" ".join(line.replace("│", " ").split()) for line in run.stdout.splitlines()]
    assert "Validations by schema, pydantic" in rows  # which leaves its column to the names
    assert "Lead 100 0 18.3 µs 37.5 ms 47.5 ms 10.00 %" in rows
    assert "POST /leads 100 5 5.00 % ValidationError 5" in rows
    assert "Lead phones.*.number missing 7" in rows
    assert "all 19 1 95.00 %" in rows
    assert "Lead during SELECT sqlite 1 17.5 ms 24.2 ms 100.00 %" in rows
    assert "The telemetry itself" not in run.stdout


def test_health_appears_with_the_first_loss(app):
    """A lost measurement shows in a table of its own."""
    app[1]["schema.telemetry.dropped"].add(2, {"schema.telemetry.instrument": "validation.errors"})
    assert "dropped measurement" in otel_schema("top", app[0]).stdout


@needs_prometheus
def test_prometheus_and_endpoint_agree(app, tmp_path):
    """The report of a Prometheus equals that of the endpoint that it scrapes."""
    with prometheus(app[0], tmp_path) as url:
        scraped = json.loads(otel_schema("top", f"{app[0]}/metrics", "--json").stdout)
        queried = json.loads(otel_schema("top", f"{url}/", "--json").stdout)
    assert scraped.pop("source") == f"endpoint {app[0]}/metrics"
    assert queried.pop("source") == f"Prometheus {url}"
    assert queried == scraped
    assert scraped["endpoints"][0]["error_rate"] == 0.05


@needs_prometheus
def test_window_shows_only_what_is_new(app, tmp_path):
    """With --window a Prometheus tells what was counted in that window, not since the start."""
    requests = app[1]["api.requests"]
    with prometheus(app[0], tmp_path) as url:
        requests.add(40, ROUTE)

        def windowed():
            document = json.loads(otel_schema("top", url, "--json", "--window", "1m").stdout)
            return document if document["endpoints"] and document["endpoints"][0]["requests"] else None

        document = wait_for(windowed)
    # increase() extrapolates, the further the longer a busy machine takes between two scrapes; 140 is since the start
    assert 40 <= document["endpoints"][0]["requests"] < 140
    assert document["seconds"] == 60


@needs_prometheus
def test_quantile_is_that_of_prometheus(tmp_path):
    """For random histograms, empty, sparse and with an overflowing last bucket, quantiles equal Prometheus's."""
    rng = random.Random(3)
    bounds = [*semconv.VALIDATION_BUCKETS, math.inf]
    histograms: list[dict[float, float]] = []
    lines = ["# TYPE h histogram"]
    for number in range(60):
        total, counts = 0, {}
        for bound in bounds:
            total += rng.choice((0, 0, 1, rng.randrange(1000)))
            counts[bound] = total if number else 0
            lines.append(f'h_bucket{{n="{number}",le="{"+Inf" if bound == math.inf else bound}"}} {counts[bound]}')
        histograms.append(counts)
    text = "\n".join(lines) + "\n"
    with serving(lambda _: (200, "text/plain; version=0.0.4", text)) as target, prometheus(target, tmp_path) as url:
        source = Prometheus(url)
        for q in (0, 0.01, 0.5, 0.95, 0.99, 0.999, 1, -1, 2):
            answer = {int(labels["n"]): value for labels, value in source.query(f"histogram_quantile({q}, h_bucket)")}
            assert len(answer) == len(histograms)
            for number, counts in enumerate(histograms):
                ours = histogram_quantile(q, counts)
                assert ours == pytest.approx(answer[number], rel=1e-12, nan_ok=True), (q, counts)


@needs_prometheus
def test_a_selector_chooses_series(app, tmp_path):
    """With --match only the series are read that it matches, of a Prometheus and of an endpoint."""

    def endpoints(url, match):
        run = otel_schema("top", url, "--json", "--match", match)
        assert run.returncode in (0, 3), run.stderr
        return [row["endpoint"] for row in json.loads(run.stdout)["endpoints"]]

    app[1]["api.requests"].add(1, {"http.request.method": "GET", "http.route": '/a"b'})
    with prometheus(app[0], tmp_path) as url:
        for source in (url, f"{app[0]}/metrics"):
            assert endpoints(source, 'http_route=~"/l.*"') == ["POST /leads"]
            assert endpoints(source, '{http_route!="/leads"}') == ['GET /a"b']
            assert endpoints(source, r"""http_request_method!~"POST|PUT", http_route='/a"b'""") == ['GET /a"b']
            assert endpoints(source, 'http_route="none"') == []
        assert endpoints(url, 'job="app"') == ["POST /leads", 'GET /a"b']


def test_watch_streams_rates_and_ends_on_interrupt(app):
    """With --json each look is a line, of what was counted since watching began, and Ctrl-C ends it with 0."""
    command = [Path(sys.executable).with_name("otel-schema"), "top", app[0], "--watch", "0.2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["endpoints"][0]["requests"] == 100
            app[1]["api.requests"].add(7, ROUTE)
            seen = json.loads(process.stdout.readline())
            while seen["endpoints"][0]["requests"] == 0:
                seen = json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert (seen["endpoints"][0]["requests"], seen["seconds"] > 0) == (7, True)


def test_watch_is_a_live_screen(app):
    """On a terminal the tables are redrawn with a rate per second."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 140, 0, 0))
    command = [Path(sys.executable).with_name("otel-schema"), "top", app[0], "--watch", "0.2"]
    shown = ""

    def sees(text: str) -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 65536).decode(errors="replace")
        return text in shown

    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        try:
            for text in ("Validations by schema", "Per s"):
                wait_for(lambda text=text: sees(text), 15)
        finally:
            process.send_signal(signal.SIGINT)
        # a full terminal would block its end
        wait_for(lambda: sees("never") or process.poll() is not None, 10)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Traceback" not in shown


def test_empty_endpoint_says_what_to_check():
    """An endpoint without our metrics is inconclusive, and names what to check."""
    with serving(lambda _: (200, "text/plain; version=0.0.4", "python_info 1\n")) as url:
        run = otel_schema("top", f"{url}/metrics")
    assert run.returncode == 3
    assert "OTEL_METRICS_EXPORTER" in run.stdout


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, "text/html", "<html>hello</html>"), "text/html that is not the Prometheus text format"),
        ((404, "text/plain", "no"), "answers 404 Not Found"),
        ((200, "application/json", '{"data": 1}'), "application/json that is not"),
    ],
)
@pytest.mark.parametrize("path", ["", "/metrics"])
def test_strangers_are_named_in_one_line(answer, says, path):
    """A server that is neither endpoint nor Prometheus ends with 2 and one line that names what answered."""
    with serving(lambda _: answer) as url:
        run = otel_schema("top", url + path)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)
    assert says in run.stderr
    assert url in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp://host/metrics"], "is not an http:// or https:// URL"),
        (["http://"], "is not an http:// or https:// URL"),
        (["http://127.0.0.1:99999"], "port from 1 to 65535"),
        (["127.0.0.1:1/metrics"], "Connection refused"),
        (["http://no-such-host.invalid/metrics"], "check the host and the port"),
        (["--watch", "http://127.0.0.1:1"], "the URL goes first"),
        (["http://127.0.0.1:1", "--window", "5"], "not a duration"),
        (["http://127.0.0.1:1/metrics", "--window", "5m"], "use --watch instead of --window"),
    ],
)
def test_mistakes_are_explained(arguments, says):
    """A wrong argument or an absent server ends with 2 and says what to do, without a traceback."""
    run = otel_schema("top", *arguments)
    assert run.returncode == 2
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_a_reader_that_has_read_enough_is_no_finding(app):
    """A pipe that is closed early ends the command without a word and not with 1."""
    command = [str(Path(sys.executable).with_name("otel-schema")), "top", app[0]]
    for more in ([], ["--json"], ["--watch", "0.1", "--json"]):
        ours, theirs = os.pipe()
        os.close(ours)
        with os.fdopen(theirs, "w") as pipe:
            run = subprocess.run([*command, *more], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=30)
        assert (run.returncode, run.stderr) == (2, "")


def test_a_terminal_without_our_characters_shows_their_numbers(app):
    """What the terminal's encoding lacks is escaped, and no error."""
    run = otel_schema("top", app[0], PYTHONIOENCODING="ascii")
    assert run.returncode == 0, run.stderr
    assert r"18.3 \xb5s" in run.stdout


def test_an_interrupt_before_the_first_answer_is_no_finding():
    """Ctrl-C while a server keeps it waiting ends with 130 at once."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        command = [str(Path(sys.executable).with_name("otel-schema")), "top", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            peer, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=10)
            peer.close()
    assert (process.returncode, "Traceback" in said) == (130, False)


def test_without_the_extra_names_the_install_line(tmp_path):
    """Without the packages of the extra the command prints the pip line and exits with 2."""
    # a finder in front that knows no rich
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'rich' else find(name, *rest)\n"
    )
    run = otel_schema("top", PYTHONPATH=str(tmp_path))
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == 'otel-schema needs rich: pip install "opentelemetry-instrumentation-schema[cli]"\n'
