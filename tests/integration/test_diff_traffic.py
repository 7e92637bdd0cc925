"""`otel-schema diff --prometheus`: what a real Prometheus says beside each breaking finding."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.schema._prometheus.http import Access
from opentelemetry.instrumentation.schema._prometheus.selector import Selector
from opentelemetry.instrumentation.schema._schemas.compare import compare
from opentelemetry.instrumentation.schema._schemas.fields import FieldSpec, SchemaSpec, TypeSpec
from opentelemetry.instrumentation.schema._schemas.findings import Comparison
from opentelemetry.instrumentation.schema.cli import traffic
from opentelemetry.instrumentation.schema.cli.output import UsageError
from prometheus_client import CollectorRegistry, start_http_server

from processes import HOST, answers, free_port, program

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="no prometheus on PATH"
)
DAY = 86400
ENDPOINT = 'http_request_method="POST",http_route="/leads"'
COUNTS = {
    f'schema_validation_duration_seconds_count{{schema_name="Lead",schema_module="app",{ENDPOINT}}}': 12_000,
    'schema_validation_duration_seconds_count{schema_name="list[Lead]",schema_module="w",schema_endpoint="import"}': 30,
    f'schema_validation_duration_seconds_count{{schema_name="Leader",schema_module="app",{ENDPOINT}}}': 7,
    f"api_requests_total{{{ENDPOINT}}}": 12_500,
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One whose counters grew evenly over the last three days."""
    home = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    lines: list[str] = []
    for name in sorted({selector.partition("{")[0].removesuffix("_total") for selector in COUNTS}):
        lines.append(f"# TYPE {name} {'counter' if name == 'api_requests' else 'unknown'}")
        for selector, total in COUNTS.items():
            if selector.startswith(name):
                step = 3 * DAY // 72
                lines += [f"{selector} {total * n / 72} {now - 3 * DAY + n * step}" for n in range(73)]
    (home / "data.om").write_text("\n".join([*lines, "# EOF", ""]))
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", home / "data.om", home / "data"]
    subprocess.run(backfill, check=True, capture_output=True)
    (home / "prometheus.yml").write_text("")
    url = f"http://{HOST}:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--storage.tsdb.retention.time=30d",
    ]
    with program("Prometheus", command, home / "prometheus.log", lambda: answers(f"{url}/-/ready")):
        yield url


def schema(name: str, *fields: FieldSpec) -> SchemaSpec:
    return SchemaSpec(name=name, module="app", library="pydantic", type=TypeSpec(kind="object", fields=fields))


def comparison() -> Comparison:
    """Company, which Lead holds, and Idle, which nobody uses, break."""
    held = FieldSpec(name="company", type=TypeSpec(kind="object", ref="app:Company"))
    documents = [
        {each.ref: each for each in (schema("Company", a), schema("Lead", held), schema("Idle", a))}
        for a in (FieldSpec(name="a", type=TypeSpec(kind=kind)) for kind in ("string", "integer"))
    ]
    return compare(*documents)


@needs_prometheus
def test_traffic_beside_breaking_findings(prometheus: str) -> None:
    """A schema that others hold has their endpoints' requests, a list of it counts, and no data is said as no data."""
    found = comparison()
    said = traffic.remarks(found, prometheus, "7d", Access(), Selector())
    lines = {finding.schema: said[finding.fingerprint] for finding in found.findings if finding.direction == "request"}
    assert lines["app:Company"] == (
        "POST /leads: 12,500 requests, 12,000 validations in the last 7d",
        "import: unknown number of requests, 30 validations in the last 7d",
    )
    assert lines["app:Idle"] == ("traffic unknown: Prometheus has no validation of Idle in the last 7d",)


@needs_prometheus
def test_the_window_counts(prometheus: str) -> None:
    """What is older than --since is not counted."""
    found = comparison()
    said = traffic.remarks(found, prometheus, "1d", Access(), Selector())
    first = said[next(each.fingerprint for each in found.findings if each.schema == "app:Company")][0]
    requests = int(first.split(": ")[1].split()[0].replace(",", ""))
    assert 12_500 / 3 * 0.9 < requests < 12_500 / 3 * 1.1


def test_an_endpoint_is_no_prometheus() -> None:
    """The endpoint of one process is refused: it knows no past."""
    port = free_port()
    server, thread = start_http_server(port, HOST, registry=CollectorRegistry())
    try:
        with pytest.raises(UsageError, match="has no history: give the URL of a Prometheus"):
            traffic.remarks(comparison(), f"http://{HOST}:{port}", "7d", Access(), Selector())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
