"""Sets up the SDK for a command that migrates, and exports within 2 s at its end, even if the collector is down.

People wait for a command to end. By itself, the SDK waits some 10 s at exit for a collector that is down.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from time import monotonic
from typing import Any, Final

from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider

from .. import faults, semconv
from .telemetry import COMPONENT, RunRecorder, call_within

_log = logging.getLogger(__name__)

EXIT: Final = 2.0
"""Seconds that the exports of a command may take, all together."""

_left: Final = [EXIT]

_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


@contextmanager
def record_runs(environment: Mapping[str, str] = os.environ) -> Generator[RunRecorder]:
    """Record the runs of a command, and export them at the end; several calls share the `EXIT` s.

    Under `opentelemetry-instrument` we use its SDK. Otherwise we set up an SDK of our own if the environment names an
    endpoint or an exporter and the SDK is installed; else we export nothing, and do not mention it.

    Args:
        environment: Environment with the `OTEL_*` variables.
    """
    providers: tuple[Any, Any] = get_tracer_provider(), get_meter_provider()
    tracers, meters = providers
    if not hasattr(meters, "force_flush"):  # the API's no-op providers
        tracers, meters = _own(environment) or providers
    installed = version("opentelemetry-instrumentation-schema")
    runs = RunRecorder(tracers.get_tracer(semconv.SCOPE, installed, semconv.SCHEMA_URL))
    runs.publish(meters.get_meter(semconv.SCOPE, installed, semconv.SCHEMA_URL))
    try:
        yield runs
    finally:
        began, flushes = monotonic(), [getattr(each, "force_flush", bool) for each in (meters, tracers)]
        done, _left[0] = call_within(_left[0], *flushes), max(0.0, _left[0] - (monotonic() - began))
        if not done:
            _log.warning("the telemetry of this run was not exported within %g s: is the collector up?", EXIT)


@faults.guarded(COMPONENT, None)
def _own(environment: Mapping[str, str]) -> tuple[Any, Any] | None:
    """Create a tracer provider and a meter provider; None if there is nothing to export to."""
    exporters = {signal: _exporter(signal, environment) for signal in ("traces", "metrics")}
    if not any(exporters.values()):
        return None
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    for noisy in ("opentelemetry.exporter", "opentelemetry.sdk"):  # our own warning replaces theirs
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    named = "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "") or environment.get("OTEL_SERVICE_NAME")
    resource = Resource.create({} if named else {"service.name": "otel-schema"})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    if exporters["traces"] is not None:
        tracers.add_span_processor(BatchSpanProcessor(exporters["traces"]()))
    readers = [] if exporters["metrics"] is None else [PeriodicExportingMetricReader(exporters["metrics"]())]
    return tracers, MeterProvider(readers, resource, shutdown_on_exit=False)


def _exporter(signal: str, environment: Mapping[str, str]) -> Any:
    """The exporter class that the variables name; None if they name none, or if it is not installed."""
    prefix = "OTEL_EXPORTER_OTLP"
    named = environment.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    endpoints = (f"{prefix}_ENDPOINT", f"{prefix}_{signal.upper()}_ENDPOINT")
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if off or not (named or any(environment.get(name) for name in endpoints)):
        return None
    if named in ("", "otlp"):
        protocols = (environment.get(f"{prefix}_{signal.upper()}_PROTOCOL"), environment.get(f"{prefix}_PROTOCOL"))
        named = _PROTOCOLS.get(next(filter(None, protocols), "grpc"), "")
    if not named.startswith("otlp"):  # the console exporter would print into the command's own output
        return None
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=named))
    return found[0].load() if found else None
