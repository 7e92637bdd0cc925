"""The examples' OTLP sink against the SDK's real exporters."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

PATH = Path(__file__).parents[2] / "examples" / "leads_api" / "sink.py"


@pytest.fixture
def sink():
    spec = importlib.util.spec_from_file_location("leads_sink", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with module.Sink() as running:
        yield running


@pytest.fixture(params=["http/protobuf", "grpc"])
def exporters(request, sink):
    if request.param == "grpc":
        return GrpcSpanExporter(sink.grpc_endpoint), GrpcMetricExporter(sink.grpc_endpoint)
    return (
        OTLPSpanExporter(sink.endpoint + "/v1/traces", compression=Compression.Gzip),
        OTLPMetricExporter(sink.endpoint + "/v1/metrics"),
    )


def test_trace_arrives_whole(sink, exporters):
    """A trace sent by the SDK comes back with its ids, parents, times and attributes, by either protocol."""
    provider = TracerProvider(resource=Resource({"service.name": "leads"}))
    provider.add_span_processor(SimpleSpanProcessor(exporters[0]))
    tracer = provider.get_tracer("a.scope")
    with (
        tracer.start_as_current_span("POST /leads", kind=SpanKind.SERVER) as server,
        tracer.start_as_current_span("schema.validate Lead", attributes={"schema.problem.path": ["a", "b"]}) as inner,
    ):
        pass
    provider.shutdown()

    root, child = sink.trace(format(server.get_span_context().trace_id, "032x"))
    assert (root.name, root.kind, root.parent_span_id) == ("POST /leads", "SERVER", "")
    assert child.span_id == format(inner.get_span_context().span_id, "016x")
    assert (child.parent_span_id, child.status) == (root.span_id, "UNSET")
    assert child.attributes == {"schema.problem.path": ["a", "b"]}
    assert (child.start_ns, child.end_ns) == (inner.start_time, inner.end_time)
    assert (child.scope, child.resource["service.name"]) == ("a.scope", "leads")


def test_metrics_arrive_with_exemplars(sink, exporters):
    """A histogram's buckets and the exemplar of the span that was current come back as the SDK sent them."""
    meters = MeterProvider([PeriodicExportingMetricReader(exporters[1], export_interval_millis=3_600_000)])
    histogram = meters.get_meter("m").create_histogram("h", "s", explicit_bucket_boundaries_advisory=[0.1, 1])
    counter = meters.get_meter("m").create_counter("c", "{hit}")
    with TracerProvider().get_tracer("t").start_as_current_span("slow") as span:
        histogram.record(0.5, {"schema.name": "Lead"})
    counter.add(3)
    meters.shutdown()

    (point,) = sink.metric_points("h")
    assert (point.kind, point.temporality, point.unit) == ("histogram", "CUMULATIVE", "s")
    assert (point.bounds, point.bucket_counts, point.count, point.value) == ((0.1, 1.0), (0, 1, 0), 1, 0.5)
    assert point.attributes == {"schema.name": "Lead"}
    assert [e.trace_id for e in point.exemplars] == [format(span.get_span_context().trace_id, "032x")]
    assert [(p.value, p.kind) for p in sink.metric_points("c")] == [(3, "sum")]


def test_wait_for_says_what_arrived(sink):
    """A wait that ends without its span names the spans that did arrive."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(sink.endpoint + "/v1/traces")))
    provider.get_tracer("t").start_span("other").end()
    provider.shutdown()
    with pytest.raises(TimeoutError, match="arrived: other"):
        sink.wait_for(lambda: sink.spans("wanted"), deadline=0.05)


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status"),
    [
        ("/v1/nothing", "application/x-protobuf", b"", 404),
        ("/v1/traces", "application/json", b"{}", 415),
        ("/v1/traces", "application/x-protobuf", b"\xff", 400),
    ],
)
def test_refuses_what_is_not_otlp(sink, path, content_type, body, status):
    """A request that is not OTLP protobuf is answered with the HTTP status that says so, and stores nothing."""
    answer = httpx.post(sink.endpoint + path, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, sink.spans()) == (status, [])


def test_taken_port_is_an_error(sink):
    """A second sink on a taken port fails with an OSError on either protocol."""
    for taken in ({"port": sink.endpoint}, {"grpc_port": sink.grpc_endpoint}):
        ports = {key: int(url.rsplit(":", 1)[1]) for key, url in taken.items()}
        with pytest.raises(OSError, match=r"in use|cannot listen"):
            type(sink)(**ports)


def test_program_writes_spans_as_lines(tmp_path):
    """Run as a program the sink appends each span as one line of JSON and ends cleanly on SIGTERM."""
    out = tmp_path / "spans.jsonl"
    program = [sys.executable, str(PATH), "--out", str(out)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            endpoint = process.stderr.readline().split()[1]
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint + "/v1/traces")))
            provider.get_tracer("t").start_span("kept").end()
            provider.shutdown()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert [json.loads(line)["name"] for line in out.read_text().splitlines()] == ["kept"]
