"""Emit the conventions' metrics and spans over OTLP with the plain SDK, and print what was emitted as one line of JSON.

    python -m tests.pipeline.load --otlp http://127.0.0.1:4317 --seconds 6 --rate 50

It knows nothing of the instrumentation, so that a test of the path fails for the path's reasons only. Series that can
be published as 0 are, and stay so for `--quiet` seconds, as `rate()` does not see a series' first value; for the same
reason the histogram then has one plain value of each endpoint for as long. After the line is printed the process lives
on, for its own endpoint to be scraped, until its standard input closes. SIGTERM ends the traffic early: what was
measured by then is sent and printed, as an app server does that shuts down in order.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, set_span_in_context
from prometheus_client import start_http_server

SCOPE = "opentelemetry.instrumentation.schema"
BOUNDS = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
CANARY = "canary-7f3a@example.com"

SCHEMA = {"schema.name": "LeadIn", "schema.module": "leads.schemas", "schema.library": "pydantic"}
CACHE = {**SCHEMA, "schema.cache.name": "validator"}
PROBLEM = {**SCHEMA, "schema.problem.path": "items.*.price", "schema.problem.rule": "greater_than"}
ERRORS = {"invalid": "ValidationError", "error": "ZeroDivisionError"}
ENDPOINTS = [{"http.request.method": "POST", "http.route": route} for route in ("/leads", "/leads/{id}")]
MIGRATION = {"schema.migration.tool": "alembic", "db.namespace": "leads"}
LAST_RUN = {**MIGRATION, "schema.migration.direction": "upgrade", "schema.migration.outcome": "applied"}
COUNTERS = {
    "validation.errors": "{error}",
    "schema.validation.problems": "{problem}",
    "api.requests": "{request}",
    "cache.hits": "{hit}",
    "cache.misses": "{miss}",
}
GAUGES = [
    ("schema.info", "", 1, {**SCHEMA, "schema.version": "2", "schema.fingerprint": "3f1c"}),
    ("schema.db.info", "", 1, {**MIGRATION, "schema.db.revision": "a1b2", "schema.db.state": "current"}),
    (
        "schema.mismatches",
        "{mismatch}",
        2,
        {**SCHEMA, "schema.mismatch.kind": "nullable", "schema.mismatch.severity": "high"},
    ),
    ("schema.migration.pending", "{migration}", 3, MIGRATION),
    ("schema.migration.last_run.timestamp", "s", 1_700_000_000, LAST_RUN),
    ("schema.migration.last_run.duration", "s", 1.5, LAST_RUN),
]


class Traffic:
    """Handles made-up requests and counts them; `truth` is what must arrive over every path."""

    def __init__(self, tracing: TracerProvider, metering: MeterProvider, leak: bool) -> None:
        self.tracer = tracing.get_tracer(SCOPE, "0.1.0")
        meter = metering.get_meter(SCOPE, "0.1.0")
        self.instruments = {
            "schema.validation.duration": meter.create_histogram(
                "schema.validation.duration", "s", "Time of a validation", explicit_bucket_boundaries_advisory=BOUNDS
            )
        }
        self.instruments |= {name: meter.create_counter(name, unit, name) for name, unit in COUNTERS.items()}
        self.instruments |= {name: meter.create_gauge(name, unit, name) for name, unit, _, _ in GAUGES}
        self.leak = leak
        self.random = random.Random(7)
        self.truth: Counter[str] = Counter()
        self.buckets: Counter[float] = Counter()
        self.series: dict[str, list[dict[str, str]]] = {name: [] for name in self.instruments}
        self.notable: list[str] = []
        self.ordinary: list[str] = []
        self.times: dict[str, int] = {}
        for name, _, value, attributes in GAUGES:
            self.measure(name, value, attributes)
        for endpoint in ENDPOINTS:
            self.measure("api.requests", 0, endpoint)
            for error in ERRORS.values():
                self.measure("validation.errors", 0, {**SCHEMA, **endpoint, "error.type": error})
        self.measure("cache.hits", 0, CACHE)
        self.measure("cache.misses", 0, CACHE)
        self.measure("schema.validation.problems", 0, PROBLEM)

    def measure(self, name: str, value: float, attributes: dict[str, str], span: Span = INVALID_SPAN) -> None:
        """Measure outside of any span unless one is given: only what has a span of ours offers an exemplar."""
        if attributes not in self.series[name]:
            self.series[name].append(attributes)
        if self.leak and value and name not in {gauge[0] for gauge in GAUGES}:
            attributes = {**attributes, "lead.email": f"{self.truth['requests'] % 50}-{CANARY}"}
        instrument = self.instruments[name]
        verb = getattr(instrument, "record", None) or getattr(instrument, "add", None) or instrument.set
        verb(value, attributes, set_span_in_context(span))

    def any_request(self) -> None:
        """One request with one validation: most are fast and valid, about one in seven is notable."""
        kinds = ["plain", "slow", "invalid", "error", "query"]
        self.request(self.random.choice(ENDPOINTS), self.random.choices(kinds, [85, 10, 3, 1, 1])[0])

    def request(self, endpoint: dict[str, str], kind: str) -> None:
        """One request with one validation."""
        took = self.random.uniform(0.011, 0.024) if kind == "slow" else self.random.uniform(1e-5, 1e-3)
        outcome = kind if kind in ERRORS else "valid"
        validation = {**SCHEMA, **endpoint, "schema.validation.outcome": outcome}
        now = time.time_ns()
        span = INVALID_SPAN
        with self.tracer.start_as_current_span(
            f"POST {endpoint['http.route']}", kind=SpanKind.SERVER, start_time=now - int(took * 2e9)
        ) as server:
            self.truth["spans"] += 1
            if kind != "plain":
                self.truth["spans"] += 1
                span = self.tracer.start_span(
                    f"schema.validate {SCHEMA['schema.name']}", attributes=validation, start_time=now - int(took * 1e9)
                )
                if kind == "query":
                    span.set_attribute("schema.query.count", 1)
                if kind == "error":
                    span.set_status(StatusCode.ERROR)
                span.end(now)
        trace_id = f"{server.get_span_context().trace_id:032x}"
        (self.ordinary if kind == "plain" else self.notable).append(trace_id)
        self.times[trace_id] = now
        self.measure("schema.validation.duration", took, validation, span)
        self.buckets[min(bound for bound in BOUNDS if took <= bound)] += 1
        self.measure("api.requests", 1, endpoint)
        self.truth["requests"] += 1
        if outcome in ERRORS:
            self.measure("validation.errors", 1, {**SCHEMA, **endpoint, "error.type": ERRORS[outcome]}, span)
            self.truth["errors"] += 1
        if outcome == "invalid":
            self.measure("schema.validation.problems", 1, PROBLEM)
            self.truth["problems"] += 1
        cache = "hits" if self.random.random() < 0.9 else "misses"
        self.measure(f"cache.{cache}", 1, CACHE)
        self.truth[cache] += 1

    def p95_bucket(self) -> float:
        """Return the upper bound of the bucket that holds the 95th percentile."""
        below, wanted = 0, 0.95 * self.truth["requests"]
        return next(bound for bound in BOUNDS if (below := below + self.buckets[bound]) >= wanted)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--otlp", required=True, help="OTLP/gRPC endpoint, http:// or https://")
    options.add_argument("--seconds", type=float, default=6)
    options.add_argument("--rate", type=float, default=50, help="requests a second")
    options.add_argument("--interval", type=float, default=1, help="seconds between exports of metrics")
    options.add_argument("--quiet", type=float, default=3, help="seconds with every counter at 0, then with one value")
    options.add_argument("--app-port", type=int, default=0, help="port of the app's own /metrics, 0: none")
    options.add_argument("--leak", action="store_true", help="add an attribute that no convention knows")
    options.add_argument("--stranger", action="store_true", help="another scope counts cache.hits too")
    chosen = options.parse_args()

    resource = Resource.create({"service.name": "leads", "service.namespace": "shop", "service.version": "1.2.3"})
    insecure = chosen.otlp.startswith("http://")
    tracing = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(chosen.otlp, insecure=insecure)
    tracing.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500, max_queue_size=100_000))
    periodic = PeriodicExportingMetricReader(
        OTLPMetricExporter(chosen.otlp, insecure=insecure), export_interval_millis=chosen.interval * 1000
    )
    readers = [periodic]
    if chosen.app_port:
        readers.append(PrometheusMetricReader())
        start_http_server(chosen.app_port, addr="127.0.0.1")
    # what a view takes off a point still travels in its exemplars
    known = {*SCHEMA, *ENDPOINTS[0], "schema.validation.outcome"}
    views = [View(instrument_name="schema.validation.duration", attribute_keys=known)] if chosen.leak else []
    metering = MeterProvider(readers, resource=resource, views=views)
    if chosen.stranger:
        metering.get_meter("stranger", "9.9").create_counter("cache.hits", "{hit}", "Theirs").add(
            1000, {"colour": "red"}
        )

    traffic = Traffic(tracing, metering, chosen.leak)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait(chosen.quiet)
    if chosen.quiet:
        for endpoint in ENDPOINTS:
            traffic.request(endpoint, "plain")
        ended.wait(chosen.quiet)
    end = time.monotonic() + chosen.seconds
    with Path("handled").open("wb", buffering=0) as handled:  # what a kill -9 leaves of the truth: one byte a request
        while not ended.is_set() and time.monotonic() < end:
            started = time.monotonic()
            traffic.any_request()
            handled.write(b".")
            time.sleep(max(0.0, 1 / chosen.rate - (time.monotonic() - started)))
    metering.force_flush()
    tracing.force_flush(120_000)
    traces = {"notable": traffic.notable, "ordinary": traffic.ordinary, "times": traffic.times}
    truth = {**traffic.truth, **traces, "p95_bucket": traffic.p95_bucket(), "series": traffic.series}
    print(json.dumps(truth), flush=True)
    if not ended.is_set():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdin.read()
    metering.shutdown()
    tracing.shutdown()


if __name__ == "__main__":
    main()
