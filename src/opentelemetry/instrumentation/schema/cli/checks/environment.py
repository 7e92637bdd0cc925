"""Checks an app's packages and variables: what loses data inside the app."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .check import LONGEST, Check
from .command import App

SDK_INTERVAL: Final = 60.0
"""Seconds between exports by default."""

_PIP: Final = 'pip install "opentelemetry-instrumentation-schema[quickstart]"'


@dataclass(frozen=True)
class Export:
    """How an app exports its metrics.

    Attributes:
        exporters: Names as in OTEL_METRICS_EXPORTER.
        interval: Seconds between exports; NaN if it is not a number.
    """

    exporters: tuple[str, ...]
    interval: float

    @classmethod
    def of(cls, app: App) -> Export:
        """Read it from an app's environment."""
        text = app.variables.get("OTEL_METRIC_EXPORT_INTERVAL") or str(SDK_INTERVAL * 1000)
        try:
            interval = float(text) / 1000
        except ValueError:
            interval = math.nan
        return cls(_exporters(app.variables, app.installed, "METRICS"), interval)

    @property
    def pushed(self) -> bool:
        """Whether the app pushes its metrics at an interval; the Prometheus exporter does not."""
        return any(name.startswith("otlp") for name in self.exporters)


def is_an_app(app: App) -> bool:
    """Whether there is anything to observe. With the extra `[cli]` alone there is nothing."""
    return app.installed is None or bool(app.installed["libraries"])


def checks(app: App) -> Iterator[Check]:
    """All checks except `intervals`, for which a Prometheus may know more."""
    if app.instrumented is False:
        message = (
            "the command does not start with opentelemetry-instrument: nothing is measured unless the app itself calls "
            "SchemaInstrumentor().instrument()"
        )
        yield Check("command", "note", message)
    yield packages(app)
    yield from switches(app.variables)
    yield from processes(app)


def packages(app: App) -> Check:
    """Whether what `opentelemetry-instrument` needs is installed where the app runs."""
    where = f" in {app.interpreter}" if app.interpreter else ""
    if app.installed is None:
        return Check("packages", "unknown", app.problem)
    if tuple(app.installed["version"]) < (3, 10):
        version = ".".join(map(str, app.installed["version"]))
        return Check(
            "packages", "finding", f"Python {version}{where} is too old: nothing is measured. Use 3.10 or newer"
        )
    groups = app.installed["groups"]
    if "opentelemetry.sdk" not in app.installed["libraries"]:
        return Check("packages", "finding", f"no OpenTelemetry SDK is installed{where}: nothing is measured. {_PIP}")
    if not groups["opentelemetry_configurator"]:
        message = f"no package{where} configures the SDK: nothing is exported. Install opentelemetry-distro. {_PIP}"
        return Check("packages", "finding", message)
    if "schema" not in groups["opentelemetry_instrumentor"]:
        message = f"opentelemetry-instrumentation-schema is not installed{where}: nothing is measured. {_PIP}"
        return Check("packages", "finding", message)
    missing = [
        f"{name} ({signal.lower()})"
        for signal in ("METRICS", "TRACES")
        for name in _exporters(app.variables, app.installed, signal)
        if name not in groups[f"opentelemetry_{signal.lower()}_exporter"]
    ]
    if missing:
        message = f"no package{where} provides the exporter {', '.join(missing)}: the SDK starts without it. {_PIP}"
        return Check("packages", "finding", message)
    return Check("packages", "fine", f"the SDK, its configurator and the chosen exporters are installed{where}")


def switches(environment: Mapping[str, str]) -> Iterator[Check]:
    """Variables that switch off, or turn into something else, what rules and dashboards ask for."""
    disabled = [name.strip() for name in environment.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")]
    temporality = environment.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "").lower()
    histogram = environment.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "").lower()
    filtered = environment.get("OTEL_METRICS_EXEMPLAR_FILTER", "").lower()
    findings = {
        "OTEL_SDK_DISABLED=true: nothing is measured": environment.get("OTEL_SDK_DISABLED", "").lower() == "true",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS contains schema: validations are not measured": {"schema", "*"}
        & {*disabled},
        "OTEL_METRICS_EXPORTER=none: no metric leaves the app": environment.get("OTEL_METRICS_EXPORTER") == "none",
        f"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE={temporality}: Prometheus' remote write drops delta sums": (
            temporality in ("delta", "lowmemory")
        ),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: exponential histograms have no _bucket series, "
        "which the promised p95 reads": histogram.startswith("base2"),
        "OTEL_METRICS_EXEMPLAR_FILTER=always_off: there are no exemplars, so no link from a slow bucket to its trace": (
            filtered == "always_off"
        ),
    }
    found = [message for message, holds in findings.items() if holds]
    yield from (Check("switches", "finding", message) for message in found)
    if not found:
        yield Check("switches", "fine", "no environment variable disables anything")


def processes(app: App) -> Iterator[Check]:
    """Whether several worker processes would need the one port of the Prometheus exporter."""
    if "prometheus" not in Export.of(app).exporters:
        return
    if app.workers > 1:
        message = (
            f"{app.workers} workers and OTEL_METRICS_EXPORTER=prometheus: one of them gets the port, the others export "
            "nothing. Export by OTLP to a collector"
        )
        yield Check("processes", "finding", message)
    elif app.child:
        message = (
            f"{app.child}, and OTEL_METRICS_EXPORTER=prometheus: the first process holds the port of /metrics and "
            "shows nothing. Start one process without a reloader, or export by OTLP to a collector"
        )
        yield Check("processes", "finding", message)
    else:
        yield Check("processes", "fine", "the Prometheus exporter serves one process")


def intervals(export: Export, scrape: float | None, where: str) -> Iterator[Check]:
    """Whether exports and scrapes are frequent enough for windows of one minute and for exemplars."""
    if not export.pushed:
        return
    if not export.interval > 0:
        yield Check("interval", "finding", "OTEL_METRIC_EXPORT_INTERVAL is not a number of milliseconds greater than 0")
        return
    set_it = "set OTEL_METRIC_EXPORT_INTERVAL=15000"
    if export.interval + (scrape or 0) > LONGEST:
        both = f" and a scrape every {scrape:g} s" if scrape else ""
        message = (
            f"an export every {export.interval:g} s{both}{where}: some one-minute windows contain no new sample, so "
            f"pending alerts start over. Both intervals together may be at most {LONGEST:g} s: {set_it}, and scrape "
            "every 10 s"
        )
        yield Check("interval", "finding", message)
    elif scrape and export.interval < scrape:
        message = (
            f"an export every {export.interval:g} s and a scrape every {scrape:g} s{where}: an export overwrites the "
            f"exemplars of the one before, which nobody scraped. Scrape at least as often as the app exports: {set_it}"
        )
        yield Check("interval", "finding", message)
    elif scrape is None:
        message = f"an export every {export.interval:g} s; give the URL of the Prometheus to compare with its scrapes"
        yield Check("interval", "fine", message)
    else:
        message = f"an export every {export.interval:g} s and a scrape every {scrape:g} s{where}"
        yield Check("interval", "fine", message)


def _exporters(variables: Mapping[str, str], installed: Mapping[str, Any] | None, signal: str) -> tuple[str, ...]:
    """The exporters of a signal, with `otlp` as the exporter of its protocol; none without the distro's default."""
    default = "otlp" if installed is None or installed["groups"].get("opentelemetry_distro") else ""
    names = [name.strip() for name in (variables.get(f"OTEL_{signal}_EXPORTER") or default).split(",")]
    protocol = variables.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or variables.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    otlp = "otlp_proto_http" if protocol.startswith("http") else "otlp_proto_grpc"
    return tuple(otlp if name == "otlp" else name for name in names if name and name != "none")
