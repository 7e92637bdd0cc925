"""A pytest plugin: switch on with the real SDK, count what is recorded, and write which tests failed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

MODE = os.environ["SUITE_MODE"]
"""`plain`, a `SPANS` setting, or `late`."""

seen: dict[str, Any] = {}
passed: set[str] = set()
failed: set[str] = set()


def switch_on(spans: str) -> None:
    """Instrument with two readers and an in-memory span exporter."""
    from opentelemetry.instrumentation.schema import SchemaInstrumentor
    from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    delta: dict[type, Any] = dict.fromkeys((Histogram, Counter), AggregationTemporality.DELTA)
    seen["readers"] = [InMemoryMetricReader(), InMemoryMetricReader(delta)]
    seen["spans"] = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(seen["spans"]))
    SchemaInstrumentor().instrument(
        meter_provider=MeterProvider(seen["readers"], shutdown_on_exit=False),
        tracer_provider=tracers,
        spans=spans,
        cardinality_limit=100_000,
        skip_dep_check=True,
    )


def recorded() -> dict[str, Any]:
    """Validations, spans and faults of ours."""
    if not seen:
        return {"validations": 0, "spans": 0, "faults": {}}
    found: dict[str, int] = {}
    faults: dict[str, int] = {}
    for reader in reversed(seen["readers"]):
        found.clear(), faults.clear()
        data = reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        for metric in (metric for scope in scopes for metric in scope.metrics):
            for point in metric.data.data_points:
                found[metric.name] = found.get(metric.name, 0) + getattr(point, "count", getattr(point, "value", 0))
                if metric.name == "schema.telemetry.errors":
                    faults[" ".join(map(str, point.attributes.values()))] = point.value
    validations = found.get("schema.validation.duration", 0)
    return {"validations": validations, "spans": len(seen["spans"].get_finished_spans()), "faults": faults}


def pytest_collection_finish() -> None:
    if MODE == "late":
        switch_on("notable")


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        failed.add(report.nodeid)
    elif report.when == "call" and report.passed:
        passed.add(report.nodeid)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    outcome = {"passed": len(passed - failed), "failed": sorted(failed), **recorded()}
    Path(os.environ["SUITE_OUT"]).write_text(json.dumps(outcome))


if MODE in ("notable", "all"):
    switch_on(MODE)
