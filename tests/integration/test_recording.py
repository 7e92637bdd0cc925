"""The recorder under every kind of provider: flushed, shut down, several, disabled, none, set later."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.schema import semconv, settings
from opentelemetry.instrumentation.schema._recording import cells, recorder
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from tests.integration.differential import points

ROOT = str(Path(__file__).parents[2])


class Kept(MetricExporter):
    """Keeps what it exports."""

    def __init__(self) -> None:
        super().__init__()
        self.exported: list[dict[str, Any]] = []

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        found = {
            metric.name: metric.data.data_points
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        self.exported.append(found)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def test_flush_and_shutdown_export_what_is_buffered() -> None:
    """A periodic reader's `force_flush()` and `shutdown()` send every value measured before them, not our hook."""
    exporter = Kept()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
    probe = new_recorder(provider).bind("pydantic", "Lead", "app")
    for number in (7, 7):
        for _ in range(number):
            probe.succeeded(0.001)
        provider.force_flush() if len(exporter.exported) == 0 else provider.shutdown()
    assert [seen["schema.validation.duration"][0].count for seen in exporter.exported] == [7, 14]
    assert [seen["cache.hits"][0].value for seen in exporter.exported] == [6, 13]
    assert "schema.telemetry.fold" not in exporter.exported[-1]


def new_recorder(provider: Any) -> recorder.Recorder:
    meter, tracer = provider.get_meter(semconv.SCOPE), trace.NoOpTracer()
    return recorder.Recorder(settings.load({}, {}), meter, tracer)


def total(reader: InMemoryMetricReader) -> tuple[int, int, int]:
    """Validations, cache hits and cache misses that a reader sees."""
    found: dict[str, int] = defaultdict(int)
    for name, _, _, point in points(reader):
        found[name] += getattr(point, "count", None) or getattr(point, "value", 0)
    return found["schema.validation.duration"], found["cache.hits"], found["cache.misses"]


def test_two_providers_each_get_their_own() -> None:
    """Recorders of several providers do not see each other's values, and each provider's collection folds all."""
    readers = InMemoryMetricReader(), InMemoryMetricReader()
    recorders = [new_recorder(MeterProvider([reader], shutdown_on_exit=False)) for reader in readers]
    for number, one in zip((5, 9), recorders, strict=True):
        probe = one.bind("pydantic", "Lead", "app")
        for _ in range(number):
            probe.succeeded(0.001)
    assert [total(reader) for reader in readers] == [(5, 4, 1), (9, 8, 1)]
    assert [total(reader) for reader in readers] == [(5, 4, 1), (9, 8, 1)]


def test_a_recorder_after_a_closed_one_goes_on_counting() -> None:
    """Instrumented again with the same provider: nothing of the first time is lost, and the hook still folds."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    first = new_recorder(provider)
    kept = first.bind("pydantic", "Lead", "app")
    for _ in range(5):
        kept.succeeded(0.001)
    first.close()
    kept.succeeded(0.001)  # a bound method that somebody kept
    second = new_recorder(provider).bind("pydantic", "Lead", "app")
    for _ in range(5):
        second.succeeded(0.001)
    counts = [point.count for name, _, _, point in points(reader) if name == "schema.validation.duration"]
    assert sum(counts) == 10


@pytest.mark.skipif(not hasattr(MeterProvider, "_set_meter_configurator"), reason="this SDK disables no meters")
def test_a_disabled_meter_takes_nothing_and_nothing_grows() -> None:
    """With our meter disabled no value is kept; enabled again, values arrive."""
    from opentelemetry.sdk.metrics._internal import _default_meter_configurator, _disable_meter_configurator

    reader = InMemoryMetricReader()
    provider: Any = MeterProvider([reader], shutdown_on_exit=False)
    probe = new_recorder(provider).bind("pydantic", "Lead", "app")
    for _ in range(5):
        probe.succeeded(0.001)
    assert total(reader)[0] == 5
    provider._set_meter_configurator(meter_configurator=_disable_meter_configurator)
    for _ in range(3 * cells.BUFFER_SIZE):
        probe.succeeded(0.001)
    assert sum(len(buffer) for buffer in probe.buffers.values()) < cells.BUFFER_SIZE
    reader.get_metrics_data()
    provider._set_meter_configurator(meter_configurator=_default_meter_configurator)
    probe.succeeded(0.001)
    assert 6 <= total(reader)[0] < 6 + cells.BUFFER_SIZE  # less than a buffer waited when the meter was enabled again


@pytest.mark.parametrize("how", ["no provider", "no-op provider"])
def test_without_an_sdk_nothing_is_buffered(how: str) -> None:
    """An API-only process keeps no value, and never imports the SDK."""
    code = f"""
import sys
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.schema import semconv, settings
from opentelemetry.instrumentation.schema._recording import recorder
provider = metrics.NoOpMeterProvider() if {how!r} == "no-op provider" else metrics
recorder = recorder.Recorder(settings.load({{}}, {{}}), provider.get_meter("m"), trace.get_tracer("t"))
probe = recorder.bind("pydantic", "Lead", "app")
for _ in range(5):
    probe.succeeded(0.001)
recorder.collect()
durations = recorder.instruments[semconv.VALIDATION_DURATION]
print([len(cell.values) for cell in durations.cells], "opentelemetry.sdk" in sys.modules)
"""
    assert run(code) == "[0] False"


def test_a_provider_that_is_set_later_gets_what_comes_from_then_on() -> None:
    """Instrumented before `set_meter_provider()`: from then on values are buffered, folded and counted."""
    code = f"""
import sys
sys.path.insert(0, {ROOT!r})
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.schema import semconv, settings
from opentelemetry.instrumentation.schema._recording import recorder
recorder = recorder.Recorder(settings.load({{}}, {{}}), metrics.get_meter("m"), trace.get_tracer("t"))
probe = recorder.bind("pydantic", "Lead", "app")
probe.succeeded(0.001)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
for _ in range(5):
    probe.succeeded(0.001)
from tests.integration.test_recording import total
buffered = len(recorder.instruments[semconv.VALIDATION_DURATION].cells[0].values)
print(buffered, total(reader))
"""
    assert run(code) == "4 (5, 5, 0)"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()
