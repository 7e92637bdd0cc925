"""The links from panels to traces, followed: what a person who clicks would find."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.dashboards.test_dashboards import DASHBOARDS
from tests.pipeline.programs import CONFIGS, Program, built, eventually, free_port, get

SLOW, QUICK = 12_500_000, 9_500_000  # ns


def links(title: str) -> list[str]:
    return [
        link["url"]
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
        if link["title"] == title
    ]


def followed(url: str, **labels: str) -> str:
    """The address that Grafana makes of a link, on a point with these labels, in the last hour."""
    now = int(time.time() * 1000)
    values = {"__from": str(now - 3_600_000), "__to": str(now + 1000)}
    for name, value in labels.items():
        values[f"__field.labels.{name}:percentencode"] = quote(value, safe="")
    for name, value in values.items():
        url = url.replace(f"${{{name}}}", value)
    assert "${" not in url, url
    return url


@pytest.mark.parametrize("url", links("Traces in Tempo"))
def test_tempo(url: str) -> None:
    """The link to Tempo holds whole JSON with a TraceQL query by span name, duration and schema."""
    query = parse_qs(urlsplit(followed(url, schema_name="list[a b & c]", job="shop")).query)
    (pane,) = json.loads(query["panes"][0]).values()
    (asked,) = pane["queries"]
    assert pane["datasource"] == asked["datasource"]["uid"] == "tempo"
    assert asked["query"] == (
        '{ name =~ "schema.validate .*" && duration > 10ms && span.schema.name = "list[a b & c]" }'
    )


@pytest.mark.parametrize("url", links("Traces in Jaeger, in Grafana"))
def test_jaeger_in_grafana(url: str) -> None:
    """The link to Grafana's Jaeger data source holds whole JSON with a search by service, tag and duration."""
    query = parse_qs(urlsplit(followed(url, schema_name="list[a b & c]", job="shop")).query)
    (pane,) = json.loads(query["panes"][0]).values()
    (asked,) = pane["queries"]
    assert pane["datasource"] == asked["datasource"]["uid"] == "jaeger"
    assert (asked["queryType"], asked["service"], asked["minDuration"]) == ("search", "shop", "10ms")
    assert asked["tags"] == 'schema.name="list[a b & c]"'


class Jaeger(Program):
    def __init__(self, home: Path) -> None:
        ports = {name: free_port() for name in ("HTTP", "GRPC", "OTLP_GRPC")}
        self.url, self.otlp = f"http://127.0.0.1:{ports['HTTP']}", f"http://127.0.0.1:{ports['OTLP_GRPC']}"
        env = {f"JAEGER_{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
        env |= {"JAEGER_DIR": str(home / "data"), "JAEGER_TELEMETRY_PORT": str(free_port())}
        super().__init__("jaeger", [str(built("jaeger")), f"--config={CONFIGS / 'stores' / 'jaeger.yaml'}"], home, env)

    def ready(self) -> bool:
        return "data" in get(f"{self.url}/api/services")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_jaeger(tmp_path: Path) -> None:
    """The link to Jaeger finds the slow validations of the point's schema, and no quick one and no other schema's."""
    with Jaeger(tmp_path) as jaeger:
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=jaeger.otlp, insecure=True)))
        tracer, now = provider.get_tracer("test"), time.time_ns()
        wanted = None
        for schema, duration in (("list[Lead]", SLOW), ("list[Lead]", QUICK), ("Other", SLOW)):
            span = tracer.start_span(f"schema.validate {schema}", start_time=now, attributes={"schema.name": schema})
            span.end(now + duration)
            wanted = wanted or f"{span.get_span_context().trace_id:032x}"
        provider.shutdown()
        for url in links("Traces in Jaeger"):
            query = parse_qs(urlsplit(followed(url, schema_name="list[Lead]", job="shop")).query)
            # the page asks its own API with what is in its address
            asked = f"{jaeger.url}/api/traces?{urlencode({name: values[0] for name, values in query.items()})}"
            found = eventually(lambda asked=asked: json.loads(get(asked))["data"], "the trace")
            assert [trace["traceID"] for trace in found] == [wanted]
