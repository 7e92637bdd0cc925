"""What an instrumented test exports, by real SDK providers."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

NEVER_SLOW = 60_000
"""`slow_ms`, unless a test gives its own: on a busy machine any validation may take longer than the usual 10 ms."""


class Telemetry:
    """Switched on from the start to `off()`.

    Args:
        settings: Arguments of `instrument()`.
    """

    def __init__(self, **settings: Any) -> None:
        self.reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("app")
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.instrumentor = SchemaInstrumentor()
        self.on(**settings)

    def on(self, **settings: Any) -> None:
        """Instrument, with the same providers."""
        settings.setdefault("slow_ms", NEVER_SLOW)
        self.instrumentor.instrument(meter_provider=self.meters, tracer_provider=self.tracers, **settings)

    def off(self) -> None:
        """Uninstrument, once."""
        if self.instrumentor.is_instrumented_by_opentelemetry:
            self.instrumentor.uninstrument()

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """(attributes, value of a counter or count of a histogram) of an instrument's data points."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes), point.count if hasattr(point, "count") else point.value)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def by(self, name: str, *keys: str, zeros: bool = False) -> dict[Any, float]:
        """Values of these attributes → the sum; what is 0 is left out unless `zeros`."""
        found: dict[Any, float] = {}
        for attributes, value in self.points(name):
            if value or zeros:
                key = tuple(attributes.get(key) for key in keys) if len(keys) != 1 else attributes.get(keys[0])
                found[key] = found.get(key, 0) + value
        return found

    def total(self, name: str, **attributes: Any) -> float:
        """The sum over the points that have these attributes, written with `_` for `.`."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return sum(value for found, value in self.points(name) if wanted.items() <= found.items())

    def validations(self, **attributes: Any) -> dict[str, float]:
        """Outcome → number of validations."""
        counts: dict[str, float] = {}
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        for found, value in self.points("schema.validation.duration"):
            if wanted.items() <= found.items():
                outcome = found["schema.validation.outcome"]
                counts[outcome] = counts.get(outcome, 0) + value
        return counts

    def problems(self) -> dict[tuple[str, str], float]:
        """(path, rule) → number."""
        return self.by("schema.validation.problems", "schema.problem.path", "schema.problem.rule")

    def requests(self, zeros: bool = False) -> dict[tuple[str, str | None], float]:
        """(method, route) → number of requests."""
        return self.by("api.requests", "http.request.method", "http.route", zeros=zeros)

    def cache(self) -> tuple[float, float]:
        """Hits and misses."""
        return self.total("cache.hits"), self.total("cache.misses")

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Finished spans, in the order of their ends."""
        return self.exporter.get_finished_spans()

    def everything(self) -> str:
        """All that was exported, as text."""
        data = self.reader.get_metrics_data()
        metrics = data.to_json() if data else ""
        return metrics + json.dumps([json.loads(span.to_json()) for span in self.spans()])
