"""What a worker process is: plain, or one way of measuring switched on before it builds a scenario."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, NamedTuple

from tests.benchmarks.floor import floor

ATTRIBUTES = {
    "schema.name": "Lead", "schema.module": "bench", "schema.library": "pydantic",
    "schema.validation.outcome": "valid", "http.route": "/leads",
}  # fmt: skip
# Those of `schema.validation.duration`, written out: a process that is not ours imports nothing of ours.
BUCKETS = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

Timer = Callable[[Callable[..., Any]], Callable[..., Any]]


class Variant(NamedTuple):
    """How a process measures.

    Attributes:
        timer: To be put around a library's validation by the scenario; None where the variant patches by itself, or
            where nothing is measured.
        request: Opens what a web framework would: a request with its server span.
        meters: The process's meter provider; None where there is none.
        flush: Exports what waits.
    """

    timer: Timer | None = None
    request: Callable[[], AbstractContextManager[Any]] = nullcontext
    meters: Any = None
    flush: Callable[[], object] = lambda: None


def enter(name: str) -> Variant:
    """Make this process the variant `name`, one of `VARIANTS`."""
    if not name.startswith("logfire"):
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # logfire's would be in every process
    return VARIANTS[name]()


def _meters() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    return MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)


def _tracers(sampled: bool) -> Any:
    from opentelemetry.sdk.trace import TracerProvider, sampling

    root = sampling.ALWAYS_ON if sampled else sampling.ALWAYS_OFF
    return TracerProvider(sampling.ParentBased(root), shutdown_on_exit=False)


def _sink(put: Callable[[float], object]) -> Timer:
    def timer(inner: Callable[..., Any]) -> Callable[..., Any]:
        def validate(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            result = inner(*args, **kwargs)
            put(perf_counter() - began)
            return result

        return validate

    return timer


def _prometheus() -> Variant:
    from prometheus_client import CollectorRegistry, Histogram

    histogram = Histogram("validation", "s", ["schema", "route"], registry=CollectorRegistry(), buckets=BUCKETS)
    return Variant(_sink(histogram.labels("Lead", "/leads").observe))


def _sdk() -> Variant:
    meters = _meters()
    histogram = meters.get_meter("bench").create_histogram("sdk", "s", explicit_bucket_boundaries_advisory=BUCKETS)
    return Variant(_sink(lambda took: histogram.record(took, ATTRIBUTES)), meters=meters)


def _ours(sampled: bool = True, spans_a_second: int | None = None, **settings: Any) -> Variant:
    from opentelemetry.instrumentation.schema import SchemaInstrumentor
    from opentelemetry.instrumentation.schema._recording import endpoints, request, spans

    meters, tracers = _meters(), _tracers(sampled)
    SchemaInstrumentor().instrument(meter_provider=meters, tracer_provider=tracers, **settings)
    if spans_a_second is not None:
        spans.MAX_FAILED_PER_SECOND = spans_a_second
    tracer = tracers.get_tracer("bench")

    @contextmanager
    def opened() -> Iterator[None]:
        token = request.current_request.set(req := request.Request(endpoints.web_endpoint("POST", "/leads")))
        try:
            with tracer.start_as_current_span("POST /leads"):
                req.enter_handler()
                yield
                req.leave_handler()
        finally:
            request.current_request.reset(token)

    return Variant(request=opened, meters=meters)


_RECEIVER = """
import os, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
def end():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=end).start()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def _sdk_and_exporter(ours: dict[str, Any] | None = None) -> Variant:
    """What any instrumented server has: a span and a duration a request, exported by OTLP; alone, or ours with it."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind

    command = [sys.executable, "-c", _RECEIVER]  # ends when its standard input does, which is with this process
    receiver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{int(receiver.stdout.readline())}/v1/"
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}metrics"), 15_000)])
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}traces")))
    if ours is not None:
        from opentelemetry.instrumentation.schema import SchemaInstrumentor

        SchemaInstrumentor().instrument(meter_provider=meters, tracer_provider=tracers, **ours)
    tracer = tracers.get_tracer("bench")
    durations = meters.get_meter("bench").create_histogram("http.server.request.duration", "s")
    attributes = {"http.request.method": "POST", "http.route": "/leads/{lead_id}", "http.response.status_code": 200}

    @contextmanager
    def served() -> Iterator[None]:
        began = perf_counter()
        with tracer.start_as_current_span("POST /leads/{lead_id}", kind=SpanKind.SERVER, attributes=attributes):
            yield
        durations.record(perf_counter() - began, attributes)

    def flush() -> None:
        assert receiver.poll() is None
        tracers.force_flush()

    return Variant(request=served, meters=meters, flush=flush)


def _contrib(sampled: bool = True) -> Variant:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    meters, tracers = _meters(), _tracers(sampled)
    # It knows no SQLAlchemy 2.1, but works with it.
    SQLAlchemyInstrumentor().instrument(meter_provider=meters, tracer_provider=tracers, skip_dep_check=True)
    tracer = tracers.get_tracer("bench")
    return Variant(request=lambda: tracer.start_as_current_span("POST /leads"), meters=meters)


def _logfire(record: Any, sampled: bool = True) -> Variant:
    import logfire
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=logfire.MetricsOptions(additional_readers=[InMemoryMetricReader()]),
        sampling=logfire.SamplingOptions(head=1.0 if sampled else 0.0),
        inspect_arguments=False,
    )
    logfire.instrument_pydantic(record=record)
    return Variant(request=lambda: logfire.span("POST /leads"))


VARIANTS: dict[str, Callable[[], Variant]] = {
    "plain": Variant,
    "floor": lambda: Variant(floor),
    "ours": _ours,
    "ours, unsampled": lambda: _ours(sampled=False),
    "ours, 9,000 attribute sets": lambda: _ours(cardinality_limit=9_000),
    "ours, a span each": lambda: _ours(spans_a_second=10**9),
    "prometheus_client": _prometheus,
    "SDK instrument": _sdk,
    "SDK and exporter": _sdk_and_exporter,
    "SDK and exporter, ours": lambda: _sdk_and_exporter({}),
    "SDK and exporter, ours without spans": lambda: _sdk_and_exporter({"spans": "off"}),
    "contrib": _contrib,
    "contrib, unsampled": lambda: _contrib(sampled=False),
    "logfire metrics": lambda: _logfire("metrics"),
    "logfire failure": lambda: _logfire("failure"),
    "logfire failure, unsampled": lambda: _logfire("failure", sampled=False),
    "logfire all": lambda: _logfire("all"),
    "logfire all, unsampled": lambda: _logfire("all", sampled=False),
}
