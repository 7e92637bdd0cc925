"""`otel-schema doctor` finds in a real Prometheus what loses data, each fault made there."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds
from opentelemetry.instrumentation.schema._prometheus.server import Prometheus as Source
from opentelemetry.instrumentation.schema.cli.group import otel_schema
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY, start_http_server

from tests.http_servers import Quiet, serving
from tests.pipeline.programs import STANDALONE, Collector, Program, built, eventually, free_port, get, status

HOST = "127.0.0.1"
HISTOGRAM = semconv.VALIDATION_DURATION.prometheus
EXEMPLARS = "--enable-feature=exemplar-storage"
SCHEMA = 'schema_name="Lead",schema_module="app",schema_library="pydantic"'


def exposition(count: int = 1, **more: str) -> str:
    """What an app exposes after some validations."""
    labels = ",".join([SCHEMA, *(f'{name}="{value}"' for name, value in more.items())])
    return (
        f"# TYPE {HISTOGRAM} histogram\n"
        f'{HISTOGRAM}_bucket{{{labels},le="0.01"}} {count}\n'
        f'{HISTOGRAM}_bucket{{{labels},le="+Inf"}} {count}\n'
        f"{HISTOGRAM}_count{{{labels}}} {count}\n"
        f"{HISTOGRAM}_sum{{{labels}}} {count / 1000}\n"
    )


@contextmanager
def answering(answer: Callable[[str], tuple[int, str, str]]) -> Iterator[int]:
    """A server whose GETs are answered by status, content type and text of a path; gives its port."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            code, kind, text = answer(self.path)
            self.answer(code, text.encode(), kind)

    with serving(Handler) as port:
        yield port


@contextmanager
def endpoint(*texts: str) -> Iterator[int]:
    """A /metrics endpoint that exposes one text after the other, and then again; gives its port."""
    each = itertools.cycle(texts)
    with answering(lambda _: (200, "text/plain; version=0.0.4", next(each))) as port:
        yield port


class Server(Program):
    """A Prometheus that scrapes endpoints: one job `app`, or jobs with their settings."""

    def __init__(
        self,
        home: Path,
        jobs: dict[str, dict[str, object]],
        flags: Sequence[str] = (),
        binary: str = "prometheus",
        interval: str = "1s",
    ) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        home.mkdir(parents=True, exist_ok=True)
        scrapes = [
            {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{job['port']}"]}]}
            | {key: value for key, value in job.items() if key != "port"}
            for name, job in jobs.items()
        ]
        document = {
            "global": {"scrape_interval": interval, "evaluation_interval": "1s"},
            "rule_files": ["rules/*.yml"],
            "scrape_configs": scrapes,
        }
        config = home / "prometheus.yml"
        config.write_text(yaml.safe_dump(document))
        listen = f"--web.listen-address={HOST}:{self.port}"
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}", listen]
        super().__init__("prometheus", [*command, *flags], home)

    def ready(self) -> bool:
        return "Ready" in get(f"{self.url}/-/ready")

    def eventually(self, expression: str, deadline: float = 120) -> None:
        eventually(lambda: Source(self.url).query(expression), expression, deadline)


def doctor(url: str, *arguments: str, milliseconds: str | None = None) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """The exit code and the checks by name; with the app's export interval as if it were the command's."""
    behind = ["--", sys.executable] if milliseconds else []
    with socket.create_server((HOST, 0)) as collector:  # somebody who accepts connections
        environment = {
            "OTEL_METRIC_EXPORT_INTERVAL": milliseconds,
            "OTEL_METRICS_EXPORTER": None,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{collector.getsockname()[1]}",
        }
        result = CliRunner().invoke(otel_schema, ["doctor", "--json", url, *arguments, *behind], env=environment)
    assert result.exit_code in (0, 1, 3), result.output
    found: dict[str, list[dict[str, str]]] = {}
    for check in json.loads(result.stdout)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return result.exit_code, found


def findings(checks: dict[str, list[dict[str, str]]], result: str = "finding") -> set[str]:
    return {name for name, found in checks.items() if any(check["result"] == result for check in found)}


def loaded(home: Path) -> None:
    """Our rules, where the config looks for them."""
    (home / "rules").mkdir(parents=True)
    for name, text in rendering.rules(thresholds.DEFAULTS):
        (home / "rules" / name).write_text(text)


@pytest.mark.parametrize(
    ("flags", "milliseconds", "interval", "expected"),
    [
        ([EXEMPLARS], "15000", "1s", set()),
        ([], "15000", "1s", {"exemplars"}),
        ([EXEMPLARS], "1000", "2s", {"interval"}),  # an export overwrites unseen exemplars
        ([EXEMPLARS], "44000", "2s", {"interval"}),  # both together take longer than windows of one minute bear
    ],
)
def test_behind_a_collector(
    tmp_path: Path, prometheus: str, flags: list[str], milliseconds: str, interval: str, expected: set[str]
) -> None:
    """A Prometheus that scrapes a collector is asked for its exemplars, and its scrapes are set beside the exports."""
    loaded(tmp_path)
    jobs = {"collector": {"honor_labels": True}}
    with endpoint(exposition(job="shop/leads", instance="one")) as port:
        jobs["collector"]["port"] = port
        with Server(tmp_path, jobs, flags, prometheus, interval) as server:
            server.eventually(f"{HISTOGRAM}_count")
            code, checks = doctor(server.url, milliseconds=milliseconds)
            alone, others = doctor(server.url)
    assert findings(checks) == expected
    assert code == bool(expected)
    # without a command nothing is said of the app's environment, and its interval is not guessed
    assert findings(others) == expected - {"interval"}
    assert others["environment"][0]["result"] == "note"
    assert alone == bool(expected - {"interval"})


def test_an_app_that_is_scraped_too_rarely(tmp_path: Path, prometheus: str) -> None:
    """An app's own endpoint that is scraped every 31 s is a finding, whatever its environment."""
    loaded(tmp_path)
    jobs = {"app": {"port": 0, "scrape_interval": "31s"}}
    with endpoint(exposition()) as port:
        jobs["app"]["port"] = port
        with Server(tmp_path, jobs, [EXEMPLARS], prometheus) as server:
            server.eventually(f"{HISTOGRAM}_count")
            code, checks = doctor(server.url)
            both, others = doctor(server.url, milliseconds="15000")
    assert (code, findings(checks)) == (both, findings(others)) == (1, {"interval"})
    assert "scrapes the app every 31 s" in checks["interval"][0]["message"]


def test_labels_without_honor_labels(tmp_path: Path, prometheus: str) -> None:
    """A Prometheus that renames the apps' own job and instance is told to honor them."""
    loaded(tmp_path)
    with (
        endpoint(exposition(job="shop/leads", instance="one")) as port,
        Server(tmp_path, {"collector": {"port": port}}, [EXEMPLARS], prometheus) as server,
    ):
        server.eventually(f"{HISTOGRAM}_count")
        _, checks = doctor(server.url, milliseconds="15000")
    assert findings(checks) == {"labels"}


def test_one_app_on_two_paths(tmp_path: Path, prometheus: str, otelcol: Path) -> None:
    """A process whose own endpoint is scraped beside the collector that it exports to counts double, and is named."""
    loaded(tmp_path)
    resource = Resource.create({"service.name": "leads", "service.instance.id": "process-1"})
    with ExitStack() as stack:
        collector = stack.enter_context(Collector(otelcol, STANDALONE, tmp_path / "collector", OTELCOL_NEXT="x:1"))
        exporter = OTLPMetricExporter(endpoint=f"http://{collector.otlp}", insecure=True)
        provider = MeterProvider([PrometheusMetricReader(), PeriodicExportingMetricReader(exporter, 500)], resource)
        stack.callback(provider.shutdown)
        row = semconv.VALIDATION_DURATION
        histogram = provider.get_meter(semconv.SCOPE).create_histogram(
            row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=row.buckets
        )
        histogram.record(0.001, {"schema.name": "Lead", "schema.module": "app", "schema.library": "pydantic"})
        own, thread = start_http_server(0, HOST, REGISTRY)
        stack.callback(thread.join)
        stack.callback(own.server_close)
        stack.callback(own.shutdown)
        jobs: dict[str, dict[str, object]] = {
            "app": {"port": own.server_port},
            "collector": {"port": collector.ports["metrics"], "honor_labels": True},
        }
        server = stack.enter_context(Server(tmp_path, jobs, [EXEMPLARS], prometheus))
        server.eventually(f"count(count by (job) ({HISTOGRAM}_count)) == 2 and count(target_info) >= 2")
        code, checks = doctor(server.url)
        one, clean = doctor(server.url, "--match", 'job="app"')
    assert (code, findings(checks)) == (1, {"paths"})
    (message,) = (check["message"] for check in checks["paths"])
    assert "process-1 twice, as job app, instance" in message
    assert "and job leads, instance process-1" in message
    assert (one, findings(clean)) == (0, set())


def dropping_buckets(port: int) -> dict[str, object]:
    drop = {"source_labels": ["__name__"], "regex": ".*_bucket", "action": "drop"}
    return {"port": port, "metric_relabel_configs": [drop]}


def test_histograms_without_buckets(tmp_path: Path, prometheus: str) -> None:
    """A Prometheus that drops the buckets, as native histograms do, is told that the promised p95 reads them."""
    loaded(tmp_path)
    with (
        endpoint(exposition()) as port,
        Server(tmp_path, {"app": dropping_buckets(port)}, [EXEMPLARS], prometheus) as server,
    ):
        server.eventually(f"{HISTOGRAM}_count")
        _, checks = doctor(server.url)
    assert findings(checks) == {"histograms"}
    assert "of job app" in checks["histograms"][0]["message"]


@pytest.mark.nightly
def test_native_histograms_of_prometheus_3(tmp_path: Path) -> None:
    """A Prometheus 3 that converts buckets to native histograms (NHCB) keeps no `_bucket`, which is a finding."""
    loaded(tmp_path)
    with endpoint(exposition()) as port:
        job = {"port": port, "convert_classic_histograms_to_nhcb": True, "scrape_native_histograms": True}
        flags = [EXEMPLARS, "--enable-feature=native-histograms"]
        with Server(tmp_path, {"app": job}, flags, str(built("prometheus3"))) as server:
            server.eventually(f"count({HISTOGRAM})")
            _, checks = doctor(server.url)
    assert findings(checks) == {"histograms"}


def test_processes_with_one_identity(tmp_path: Path, prometheus: str) -> None:
    """Counters that start anew in every other scrape are told as several processes with one identity."""
    loaded(tmp_path)
    with (
        endpoint(exposition(100), exposition(1)) as port,
        Server(tmp_path, {"app": {"port": port}}, [EXEMPLARS], prometheus) as server,
    ):
        server.eventually(f"resets({HISTOGRAM}_count[5m]) > 5")
        _, checks = doctor(server.url)
    assert findings(checks) == {"identity"}
    (message,) = (check["message"] for check in checks["identity"])
    assert f"app {HOST}:{port} restarted" in message
    assert "several processes share one service.instance.id" in message


def test_processes_without_an_identity(tmp_path: Path, prometheus: str) -> None:
    """Series without an instance, as an SDK before 1.44 makes them behind a collector, are a finding."""
    loaded(tmp_path)
    with (
        endpoint(exposition(job="leads", instance="")) as port,
        Server(tmp_path, {"collector": {"port": port, "honor_labels": True}}, [EXEMPLARS], prometheus) as server,
    ):
        server.eventually(f"{HISTOGRAM}_count")
        _, checks = doctor(server.url)
    assert findings(checks) == {"identity"}
    assert "the processes of leads have no instance" in checks["identity"][0]["message"]


TWO = "(label_replace(vector(1), 'a', '1', '', '') or vector(1))"


def test_rules_that_are_not_loaded_or_fail(tmp_path: Path, prometheus: str) -> None:
    """A Prometheus without our alerts is a finding, and so is an alert of ours that it cannot evaluate."""
    with endpoint(exposition()) as port:
        with Server(tmp_path / "none", {"app": {"port": port}}, [EXEMPLARS], prometheus) as server:
            server.eventually(f"{HISTOGRAM}_count")
            _, checks = doctor(server.url)
        assert findings(checks) == {"rules"}
        assert "otel-schema export DIRECTORY" in checks["rules"][0]["message"]
        rules = tmp_path / "broken" / "rules"
        rules.mkdir(parents=True)
        rule = {"alert": "HighValidationErrorRate", "expr": f"{TWO} + on () {TWO}"}
        (rules / "own.yml").write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [rule]}]}))
        with Server(tmp_path / "broken", {"app": {"port": port}}, [EXEMPLARS], prometheus) as server:
            server.eventually(f"{HISTOGRAM}_count")

            def failed() -> bool:
                groups = Source(server.url).api("rules")["groups"]
                return any(rule.get("lastError") for group in groups for rule in group["rules"])

            eventually(failed, "the rule is evaluated")
            _, checks = doctor(server.url)
    assert findings(checks) == {"rules"}
    assert "cannot evaluate HighValidationErrorRate" in checks["rules"][0]["message"]
    assert "older than this package" in checks["rules"][1]["message"]


def test_strangers_under_our_names(tmp_path: Path, prometheus: str) -> None:
    """Another program's series under our generic names are named by job, ours past a limit not; --match ends it."""
    loaded(tmp_path)
    more = 'cache_hits_total{otel_metric_overflow="true"} 1\nvalidation_errors_total{schema_name="A"} 1\n'
    theirs = 'api_requests_total{path="/"} 7\ncache_hits_total{cache="x"} 7\nvalidation_errors_total 7\n'
    with ExitStack() as stack:
        ports = [stack.enter_context(endpoint(text)) for text in (exposition() + more, theirs)]
        jobs = {"app": {"port": ports[0]}, "shop": {"port": ports[1]}}
        server = stack.enter_context(Server(tmp_path, jobs, [EXEMPLARS], prometheus))
        server.eventually(f"{HISTOGRAM}_count and on () validation_errors_total{{job='shop'}}")
        _, checks = doctor(server.url)
        code, matched = doctor(server.url, "--match", '{job!~"shop|store"}')
    assert findings(checks) == {"strangers"}
    (message,) = (check["message"] for check in checks["strangers"])
    assert "job shop has a api_requests_total and a cache_hits_total and a validation_errors_total" in message
    assert (code, findings(matched)) == (0, set())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, prometheus: str) -> Iterator[Server]:
    """A Prometheus with our rules and an app, whose API has every part; it stores no exemplars."""
    home = tmp_path_factory.mktemp("whole")
    loaded(home)
    with (
        endpoint(exposition(job="leads", instance="one")) as port,
        Server(home, {"app": {"port": port, "honor_labels": True}}, [], prometheus) as server,
    ):
        server.eventually(f"{HISTOGRAM}_count")
        yield server


@pytest.mark.parametrize(
    ("missing", "check"),
    [
        ("status/flags", "exemplars"),
        ("targets/metadata", "interval"),
        ("targets?", "interval"),
        ("rules", "rules"),
    ],
)
@pytest.mark.parametrize("answer", [(404, "text/plain", "page not found"), (200, "application/json", "[]")])
def test_an_api_that_lacks_a_part(whole: Server, missing: str, check: str, answer: tuple[int, str, str]) -> None:
    """Where one part of the API is missing or odd (Mimir, Thanos) that check is unknown, and every other is made."""

    def lacking(path: str) -> tuple[int, str, str]:
        if f"/api/v1/{missing}" in path:
            return answer
        try:
            with urllib.request.urlopen(whole.url + path) as passed:
                return passed.status, passed.headers["Content-Type"], passed.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    _, expected = doctor(whole.url)
    with answering(lacking) as proxy:
        code, checks = doctor(f"http://{HOST}:{proxy}")
    assert findings(expected) == {"exemplars"}
    assert findings(checks, "unknown") == {check}
    assert findings(checks) == {"exemplars"} - {check}
    assert checks.keys() >= expected.keys() - {check}
    assert code == (3 if check == "exemplars" else 1)


TEST = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"  # bcrypt of `test`


def test_credentials_and_an_own_authority(tmp_path: Path, prometheus: str) -> None:
    """A Prometheus behind TLS and a password is read with `user:password@` and --ca-file, and names what is missing."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    loaded(tmp_path)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    names = ["-addext", f"subjectAltName=IP:{HOST}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*request, *names], check=True, capture_output=True)
    web = {
        "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
        "basic_auth_users": {"operator": TEST},
    }
    (tmp_path / "web.yml").write_text(yaml.safe_dump(web))

    class Guarded(Server):
        def ready(self) -> bool:
            trust = ssl.create_default_context(cafile=str(certificate))
            return status(f"https://{HOST}:{self.port}/-/ready", trust=trust) == 401

    with endpoint(exposition()) as port:
        flags = [EXEMPLARS, f"--web.config.file={tmp_path / 'web.yml'}"]
        with Guarded(tmp_path, {"app": {"port": port}}, flags, prometheus) as server:
            url = f"https://operator:test@{HOST}:{server.port}"
            trusted = ["--ca-file", str(certificate)]

            def validated() -> bool:
                result = CliRunner().invoke(otel_schema, ["top", url, *trusted])
                assert "test@" not in result.output
                return result.exit_code == 0

            eventually(validated, "a scrape")
            code, _ = doctor(url, *trusted)
            for address, options, says in (
                (url, [], "--ca-file"),
                (url.replace(":test@", ":tset@"), trusted, "401 Unauthorized"),
                (url.replace("operator:test@", ""), trusted, "--bearer-token-file"),
            ):
                result = CliRunner().invoke(otel_schema, ["top", address, *options])
                assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
                assert says in result.output
                assert "operator" not in result.output
    assert code == 0
