"""`otel-schema doctor` finds what loses data in a real environment, at a real endpoint and in a real Prometheus."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus
from opentelemetry.instrumentation.schema.cli.group import otel_schema
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from processes import HOST, answers, free_port, program, until

GOOD = {"OTEL_METRIC_EXPORT_INTERVAL": "15000"}
CLEARED = [
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_EXPORTER",
    "OTEL_SDK_DISABLED",
    "WEB_CONCURRENCY",
    "GUNICORN_CMD_ARGS",
]

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on PATH")


def doctor(*urls: str, **environment: str) -> tuple[int, dict[str, set[str]]]:
    """The exit code, and the results by check."""
    settings: dict[str, str | None] = dict.fromkeys(CLEARED) | environment
    result = CliRunner().invoke(otel_schema, ["doctor", "--json", *urls], env=settings)
    assert result.exit_code in (0, 1, 3), result.output
    found: dict[str, set[str]] = {}
    for check in json.loads(result.output)["checks"]:
        found.setdefault(check["name"], set()).add(check["result"])
    return result.exit_code, found


@contextmanager
def endpoint(buckets: tuple[float, ...] = semconv.VALIDATION_BUCKETS, **labels: str) -> Iterator[int]:
    """A /metrics endpoint with one validation in it, or none if there is no bucket; gives its port."""
    registry = CollectorRegistry()
    if buckets:
        name = semconv.VALIDATION_DURATION.prometheus
        histogram = Histogram(name, "", [*labels], registry=registry, buckets=buckets)
        (histogram.labels(**labels) if labels else histogram).observe(0.02)
    server, thread = start_http_server(0, HOST, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def prometheus(
    port: int, directory: Path, *flags: str, interval: str = "1s", honor_labels: str = "false"
) -> Iterator[str]:
    """A Prometheus that has scraped an endpoint."""
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {interval}}}\n"
        "scrape_configs:\n"
        f"  - {{job_name: app, honor_labels: {honor_labels}, static_configs: [{{targets: ['{HOST}:{port}']}}]}}\n"
    )
    own = free_port()
    url = f"http://{HOST}:{own}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={HOST}:{own}",
        *flags,
    ]
    with program("Prometheus", command, directory / "prometheus.log", lambda: answers(f"{url}/-/ready")):
        server = Prometheus(url)
        assert until(lambda: not server.read().empty, 30)
        yield url


@pytest.mark.parametrize(
    ("environment", "check"),
    [
        ({}, "interval"),  # the SDK's 60 s
        ({"OTEL_METRIC_EXPORT_INTERVAL": "46000"}, "interval"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "often"}, "interval"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "interval"),
        ({**GOOD, "OTEL_SDK_DISABLED": "true"}, "switches"),
        ({**GOOD, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, schema"}, "switches"),
        ({"OTEL_METRICS_EXPORTER": "none"}, "switches"),
        ({**GOOD, "OTEL_METRICS_EXEMPLAR_FILTER": "always_off"}, "switches"),
        ({**GOOD, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA"}, "switches"),
        (
            {
                **GOOD,
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
            },
            "switches",
        ),
        ({**GOOD, "OTEL_TRACES_EXPORTER": "pigeon"}, "packages"),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "WEB_CONCURRENCY": "4"}, "processes"),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "GUNICORN_CMD_ARGS": "--bind :80 --workers=2"}, "processes"),
    ],
)
def test_environment_that_loses_data(environment: dict[str, str], check: str) -> None:
    """Each variable that loses data is one finding, and no other check complains."""
    code, found = doctor(**environment)
    assert code == 1
    assert {name for name, results in found.items() if results != {"fine"}} == {check}


@pytest.mark.parametrize("environment", [GOOD, {"OTEL_METRICS_EXPORTER": "prometheus", "WEB_CONCURRENCY": "1"}])
def test_environment_that_loses_nothing(environment: dict[str, str]) -> None:
    """What the documentation tells to set has no finding."""
    code, found = doctor(**environment)
    assert (code, {*map(frozenset, found.values())}) == (0, {frozenset({"fine"})})


def test_missing_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an SDK the one thing to install is named."""
    monkeypatch.setattr("opentelemetry.instrumentation.schema.cli.commands.doctor.find_spec", lambda _name: None)
    result = CliRunner().invoke(otel_schema, ["doctor"], env=GOOD)
    assert result.exit_code == 1
    assert 'pip install "opentelemetry-instrumentation-schema[quickstart]"' in result.output


@pytest.mark.parametrize(
    ("buckets", "code", "check"),
    [
        (semconv.VALIDATION_BUCKETS, 0, {"telemetry": {"fine"}, "buckets": {"fine"}}),
        ((0.005, 0.025, 1.0), 1, {"telemetry": {"fine"}, "buckets": {"finding"}}),
        ((), 3, {"telemetry": {"unknown"}}),
    ],
)
def test_endpoint(buckets: tuple[float, ...], code: int, check: dict[str, set[str]]) -> None:
    """An endpoint is judged by its buckets, and one that holds nothing of ours is no verdict."""
    with endpoint(buckets) as port:
        assert doctor(f"http://{HOST}:{port}/metrics", **GOOD) == (
            code,
            {"packages": {"fine"}, "switches": {"fine"}, "interval": {"fine"}, **check},
        )


def test_what_the_app_lost_is_a_finding() -> None:
    """Measurements that the instrumentation dropped or got wrong are told from the app's own endpoint."""
    registry = CollectorRegistry()
    Counter("schema_telemetry_dropped", "", ["schema_telemetry_instrument"], registry=registry).labels("x").inc(3)
    server, thread = start_http_server(0, HOST, registry)
    try:
        code, found = doctor(f"{HOST}:{server.server_port}/metrics", **GOOD)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (code, found["lost"]) == (1, {"finding"})


def test_nobody_there() -> None:
    """A URL that nobody answers at is an environment error, in one line."""
    result = CliRunner().invoke(otel_schema, ["doctor", f"{HOST}:{free_port()}"], env=GOOD)
    assert result.exit_code == 2
    assert "cannot read" in result.output


@needs_prometheus
@pytest.mark.parametrize(
    ("flags", "milliseconds", "interval", "findings"),
    [
        (["--enable-feature=exemplar-storage"], "15000", "1s", set()),
        ([], "15000", "1s", {"exemplars"}),
        (["--enable-feature=exemplar-storage"], "1000", "2s", {"interval"}),  # an export overwrites unseen exemplars
    ],
)
def test_prometheus(tmp_path: Path, flags: list[str], milliseconds: str, interval: str, findings: set[str]) -> None:
    """A real Prometheus is asked for its exemplar storage and for how often it scrapes what exposes our metric."""
    with ExitStack() as stack:
        port = stack.enter_context(endpoint())
        url = stack.enter_context(prometheus(port, tmp_path, *flags, interval=interval))
        code, found = doctor(url, OTEL_METRIC_EXPORT_INTERVAL=milliseconds)
    assert {name for name, results in found.items() if "finding" in results} == findings
    assert code == bool(findings)


@needs_prometheus
def test_slow_road(tmp_path: Path) -> None:
    """An export interval that is fine alone is not with a scrape interval that makes both longer than 45 s."""
    with endpoint() as port, prometheus(port, tmp_path, interval="2s") as url:
        (message,) = (check["message"] for check in _checks(url, "44000") if check["name"] == "interval")
    assert message.startswith("an export every 44 s and a scrape every 2 s")


@needs_prometheus
def test_labels_without_honor_labels(tmp_path: Path) -> None:
    """A Prometheus that renames the apps' own job and instance is told to honor them."""
    with endpoint(job="shop/leads", instance="one") as port, prometheus(port, tmp_path) as url:
        assert [check["result"] for check in _checks(url, "15000") if check["name"] == "labels"] == ["finding"]


class Flipping(Collector):
    """Two processes that share an identity, as a collector shows them: now the counts of one, now of the other."""

    def __init__(self) -> None:
        self.counts = itertools.cycle((100, 1))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(semconv.VALIDATION_DURATION.prometheus, "", labels=["schema_name"])
        count = next(self.counts)
        family.add_metric(["Lead"], [("0.01", count), ("+Inf", count)], count / 1000)
        yield family


@needs_prometheus
def test_processes_with_one_identity(tmp_path: Path) -> None:
    """Counters that start anew in every other scrape are told as several processes with one identity."""
    registry = CollectorRegistry()
    registry.register(Flipping())
    server, thread = start_http_server(0, HOST, registry)
    try:
        with prometheus(server.server_port, tmp_path) as url:
            source = Prometheus(url)
            resets = f"resets({semconv.VALIDATION_DURATION.prometheus}_count[5m]) > 5"
            assert until(lambda: bool(source.query(resets)), 40)
            (message,) = (check["message"] for check in _checks(url, "15000") if check["name"] == "identity")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert f"app {HOST}:{server.server_port} started anew" in message
    assert "several processes have one service.instance.id" in message


@needs_prometheus
def test_processes_without_an_identity(tmp_path: Path) -> None:
    """Series without an instance, as an SDK before 1.44 makes them behind a collector, are a finding."""
    with endpoint(job="leads", instance="") as port, prometheus(port, tmp_path, honor_labels="true") as url:
        (message,) = (check["message"] for check in _checks(url, "15000") if check["name"] == "identity")
    assert "the processes of leads have no instance" in message


def _checks(url: str, milliseconds: str) -> list[dict[str, Any]]:
    environment = {**dict.fromkeys(CLEARED), "OTEL_METRIC_EXPORT_INTERVAL": milliseconds}
    return json.loads(CliRunner().invoke(otel_schema, ["doctor", "--json", url], env=environment).output)["checks"]
