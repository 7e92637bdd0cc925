"""A pytest plugin: switch on with the real SDK, count what is recorded, and write what became of each test."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

MODE = os.environ["SUITE_MODE"]
"""`plain`, a `SPANS` setting, or `late`."""
LINKED = bool(os.environ.get("SUITE_LINKED"))
EXPORT_INTERVAL = 500  # ms

COUNTED = {
    "schema.validation.duration": "validations",
    "schema.query.duration": "queries",
    "api.requests": "requests",
}

seen: dict[str, Any] = {}
passed: set[str] = set()
failed: set[str] = set()
told: list[str] = []


class Told(logging.Handler):
    """What we log: warnings, and where a fault is."""

    def emit(self, record: logging.LogRecord) -> None:
        told.append(record.getMessage())


def switch_on(spans: str) -> None:
    """Instrument with two readers, of which one exports from a thread of its own all the time, and count spans."""
    from opentelemetry.instrumentation import schema
    from opentelemetry.sdk import metrics
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class CountSpans(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            seen["spans"] += len(spans)
            return SpanExportResult.SUCCESS

    class Drop(export.MetricExporter):
        def export(self, *args: Any, **kwargs: Any) -> export.MetricExportResult:
            return export.MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 0) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
            pass

    logging.getLogger(schema.__name__).addHandler(Told(logging.WARNING))
    delta: dict[type, Any] = dict.fromkeys((metrics.Histogram, metrics.Counter), export.AggregationTemporality.DELTA)
    exporting = export.PeriodicExportingMetricReader(Drop(preferred_temporality=delta), EXPORT_INTERVAL)
    seen["spans"], seen["reader"] = 0, export.InMemoryMetricReader()
    seen["meters"] = metrics.MeterProvider([seen["reader"], exporting], shutdown_on_exit=False)
    seen["tracers"] = TracerProvider(shutdown_on_exit=False)
    seen["tracers"].add_span_processor(SimpleSpanProcessor(CountSpans()))
    schema.SchemaInstrumentor().instrument(
        meter_provider=seen["meters"],
        tracer_provider=seen["tracers"],
        spans=spans,
        cardinality_limit=100_000,
        skip_dep_check=True,
    )
    if LINKED:
        from pydantic import TypeAdapter

        seen["validator"] = TypeAdapter(int)


def recorded() -> dict[str, Any]:
    """Validations, queries, requests, spans and faults of ours."""
    found: Counter[str] = Counter()
    faults: dict[str, int] = {}
    if seen:
        data = seen["reader"].get_metrics_data()
        seen["meters"].shutdown()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        for metric in (metric for scope in scopes for metric in scope.metrics):
            for point in metric.data.data_points:
                if metric.name in COUNTED:
                    found[COUNTED[metric.name]] += getattr(point, "count", getattr(point, "value", 0))
                elif metric.name == "schema.telemetry.errors":
                    faults[" ".join(map(str, point.attributes.values()))] = point.value
        found["spans"] = seen["spans"]
    return {"recorded": found, "faults": faults, "told": told}


def pytest_collection_finish() -> None:
    if MODE == "late":
        switch_on("notable")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Where queries are to be linked, the test is a request with a span, which starts with a validation."""
    with ExitStack() as test:
        if "validator" in seen:
            from opentelemetry.instrumentation.schema import endpoint

            test.enter_context(seen["tracers"].get_tracer("suite").start_as_current_span("test"))
            test.enter_context(endpoint("test"))
            seen["validator"].validate_python(1)
        return (yield)


def pytest_runtest_logreport(report: Any) -> None:
    test = report.nodeid
    if test.startswith("::"):  # of an installed package: pytest leaves out the file
        test = report.location[0] + test
    if report.failed:
        failed.add(test)
    elif report.when == "call" and report.passed:
        passed.add(test)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    outcome = {"passed": sorted(passed - failed), "failed": sorted(failed), **recorded()}
    # Each process of pytest-xdist records by itself.
    Path(os.environ["SUITE_OUT"], f"{os.getpid()}.json").write_text(json.dumps(outcome))


if MODE in ("notable", "all"):
    switch_on(MODE)
