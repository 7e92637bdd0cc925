"""`otel-schema doctor`: settings that lose data, found in the environment, an endpoint and a Prometheus."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Final, Literal

import click
from rich.console import Console
from rich.text import Text

from ... import semconv
from ..._prometheus.http import SourceError
from ..._prometheus.reading import Reading
from ..._prometheus.report import SLOW, Report
from ..._prometheus.server import Prometheus, duration
from ..._prometheus.sources import open_source
from ..output import UsageError

LONGEST: Final = 45.0
"""Seconds from one export to its scrape that the promised windows of one minute bear."""

RESTARTS: Final = 5
"""More restarts of one process in five minutes are none."""

SDK_INTERVAL: Final = 60.0
"""Seconds between exports where nothing is set."""

_PIP: Final = 'pip install "opentelemetry-instrumentation-schema[quickstart]"'
_MARKS: Final = {"fine": ("✓", "green"), "finding": ("✗", "bold red"), "unknown": ("?", "yellow")}


@dataclass(frozen=True)
class Check:
    """What one check came to.

    Attributes:
        name: Stable, for machines.
        result: `unknown` where it could not be told.
        message: What is so, and for a finding what it loses and what to do.
    """

    name: str
    result: Literal["fine", "finding", "unknown"]
    message: str


@dataclass(frozen=True)
class Export:
    """How the environment has metrics exported.

    Attributes:
        exporters: Names as in OTEL_METRICS_EXPORTER.
        interval: Seconds between exports; NaN if it is not a number.
    """

    exporters: tuple[str, ...]
    interval: float

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Export:
        text = environment.get("OTEL_METRIC_EXPORT_INTERVAL") or str(SDK_INTERVAL * 1000)
        try:
            interval = float(text) / 1000
        except ValueError:
            interval = math.nan
        return cls(_exporters(environment, "METRICS"), interval)

    @property
    def pushed(self) -> bool:
        """Whether there is an interval between exports at all; the Prometheus exporter has none."""
        return any(name.startswith("otlp") for name in self.exporters)


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(urls: tuple[str, ...], as_json: bool) -> None:
    """Find settings that lose data.

    Looks at the packages and the OTEL_* variables of the environment it runs in, which should be the app's, and at each
    URL: a /metrics endpoint, of an app or a collector, or a Prometheus.

    Exits with 1 if something loses data, with 2 if a URL cannot be read, and with 3 if a check could not tell.
    """
    try:
        checks = list(_checks(os.environ, urls))
    except SourceError as error:
        raise UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
    else:
        console = Console()
        for check in checks:
            mark, style = _MARKS[check.result]
            console.print(Text.assemble((mark, style), f" {check.message}"), soft_wrap=True)
    results = {check.result for check in checks}
    code = 1 if "finding" in results else 3 if "unknown" in results else 0
    raise click.exceptions.Exit(code)


def _checks(environment: Mapping[str, str], urls: tuple[str, ...]) -> Iterator[Check]:
    export = Export.of(environment)
    yield from packages(environment)
    yield from switches(environment)
    yield from processes(environment, export)
    sources = [open_source(url) for url in urls]
    servers = [source for source in sources if isinstance(source, Prometheus)]
    if not servers:
        yield from intervals(export, None, "")
    for server in servers:
        yield from roads(server, export)
    for source in sources:
        yield from telemetry(source.read(), source.name)


def packages(environment: Mapping[str, str]) -> Iterator[Check]:
    """Whether what `opentelemetry-instrument` needs is installed where this runs."""
    if find_spec("opentelemetry.sdk") is None:
        yield Check("packages", "finding", f"no OpenTelemetry SDK is installed: nothing is measured. {_PIP}")
        return
    if not entry_points(group="opentelemetry_configurator"):
        yield Check("packages", "finding", f"nothing configures the SDK (opentelemetry-distro): no data. {_PIP}")
        return
    missing = [
        f"{name} ({signal.lower()})"
        for signal in ("METRICS", "TRACES")
        for name in _exporters(environment, signal)
        if not entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=name)
    ]
    if missing:
        message = f"no package provides the exporter {', '.join(missing)}: the SDK starts without it. {_PIP}"
        yield Check("packages", "finding", message)
    else:
        yield Check("packages", "fine", "the SDK, its configurator and the chosen exporters are installed")


def switches(environment: Mapping[str, str]) -> Iterator[Check]:
    """Variables that switch off, or turn into something else, what rules and dashboards ask for."""
    disabled = [name.strip() for name in environment.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")]
    temporality = environment.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "").lower()
    histogram = environment.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "").lower()
    filtered = environment.get("OTEL_METRICS_EXEMPLAR_FILTER", "").lower()
    findings = {
        "OTEL_SDK_DISABLED=true: nothing is measured": environment.get("OTEL_SDK_DISABLED", "").lower() == "true",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS has schema: nothing is measured": {"schema", "*"} & {*disabled},
        "OTEL_METRICS_EXPORTER=none: no metric leaves the app": environment.get("OTEL_METRICS_EXPORTER") == "none",
        f"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE={temporality}: Prometheus' remote write drops delta sums": (
            temporality in ("delta", "lowmemory")
        ),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: exponential histograms have no _bucket series, "
        "which the promised p95 reads": histogram.startswith("base2"),
        "OTEL_METRICS_EXEMPLAR_FILTER=always_off: no exemplar, so no way from a slow bucket to its trace": (
            filtered == "always_off"
        ),
    }
    found = [message for message, holds in findings.items() if holds]
    yield from (Check("switches", "finding", message) for message in found)
    if not found:
        yield Check("switches", "fine", "no variable switches anything off")


def processes(environment: Mapping[str, str], export: Export) -> Iterator[Check]:
    """Whether several worker processes would want the one port of the Prometheus exporter."""
    if "prometheus" not in export.exporters:
        return
    flags = re.search(r"(?:-w|--workers)[ =]?(\d+)", environment.get("GUNICORN_CMD_ARGS", ""))
    workers = flags[1] if flags else environment.get("WEB_CONCURRENCY", "")
    if workers.isdigit() and int(workers) > 1:
        message = (
            f"{workers} workers and OTEL_METRICS_EXPORTER=prometheus: one of them gets the port, the others are not "
            "measured. Export by OTLP to a collector"
        )
        yield Check("processes", "finding", message)
    else:
        yield Check("processes", "fine", "the Prometheus exporter serves one process")


def intervals(export: Export, scrape: float | None, where: str) -> Iterator[Check]:
    """Whether exports and scrapes follow each other as the promised windows and the exemplars need."""
    if not export.pushed:
        return
    if not export.interval > 0:
        yield Check("interval", "finding", "OTEL_METRIC_EXPORT_INTERVAL is not a number of milliseconds above 0")
        return
    set_it = "set OTEL_METRIC_EXPORT_INTERVAL=15000"
    if export.interval + (scrape or 0) > LONGEST:
        both = f" and a scrape every {scrape:g} s" if scrape else ""
        message = (
            f"an export every {export.interval:g} s{both}{where}: windows of one minute hold no step now and then, and "
            f"alerts that wait start anew. Together at most {LONGEST:g} s: {set_it}, and scrape every 10 s"
        )
        yield Check("interval", "finding", message)
    elif scrape and export.interval < scrape:
        message = (
            f"an export every {export.interval:g} s and a scrape every {scrape:g} s{where}: each export overwrites the "
            f"exemplars of the one before, unseen. Scrape at least as often as the app exports: {set_it}"
        )
        yield Check("interval", "finding", message)
    elif scrape is None:
        message = f"an export every {export.interval:g} s; give the Prometheus' URL to compare with its scrapes"
        yield Check("interval", "fine", message)
    else:
        message = f"an export every {export.interval:g} s and a scrape every {scrape:g} s{where}"
        yield Check("interval", "fine", message)


def roads(server: Prometheus, export: Export) -> Iterator[Check]:
    """Whether a Prometheus scrapes what it should as it should, and keeps exemplars.

    Raises:
        SourceError: if it does not answer.
    """
    features = str(server.api("status/flags").get("enable-feature", ""))
    if "exemplar-storage" in features:
        yield Check("exemplars", "fine", f"{server.name} keeps exemplars")
    else:
        message = f"{server.name} drops exemplars: start it with --enable-feature=exemplar-storage"
        yield Check("exemplars", "finding", message)

    name = semconv.VALIDATION_DURATION.prometheus
    exposing = [row["target"] for row in server.api("targets/metadata", metric=name)]
    scrapes = {
        duration(target["scrapeInterval"])
        for target in server.api("targets", state="active")["activeTargets"]
        if target["labels"] in exposing
    }
    for scrape in sorted(scrapes):
        yield from intervals(export, scrape, f" by {server.name}")
    if not scrapes:
        # remote write and OTLP push: there is no scrape to wait for
        yield from intervals(export, None, "")

    renamed = server.query(f'count({name}_count{{exported_instance!=""}} or {name}_count{{exported_job!=""}})')
    if renamed:
        message = (
            f"{server.name} renames the apps' own job and instance to exported_job and exported_instance, by which no "
            "query joins: set honor_labels: true where it scrapes the collector"
        )
        yield Check("labels", "finding", message)

    yield from identities(server)


def identities(server: Prometheus) -> Iterator[Check]:
    """Whether each process has series of its own: counters that several write start anew in every scrape.

    Raises:
        SourceError: if it does not answer.
    """
    name = f"{semconv.VALIDATION_DURATION.prometheus}_count"
    nameless = server.query(f'count by (job) ({name}{{instance=""}})')
    for labels, _ in nameless:
        message = (
            f"{server.name}: the processes of {labels.get('job', 'a job')} have no instance, and write one series: set "
            "service.instance.id in each, or use an SDK since 1.44"
        )
        yield Check("identity", "finding", message)
    resets = f"max by (job, instance) (resets({name}[5m])) > {RESTARTS}"
    for labels, number in server.query(resets):
        message = (
            f"{server.name}: the counters of {labels.get('job', '')} {labels.get('instance', '')} started anew "
            f"{number:g} times in five minutes: several processes have one service.instance.id, or several gateways "
            "are scraped without a label that tells them apart (docs/pipeline.md)"
        )
        yield Check("identity", "finding", message)


def telemetry(reading: Reading, where: str) -> Iterator[Check]:
    """Whether anything is there, with the bucket that the alert needs, and nothing lost inside the app."""
    if reading.empty:
        message = f"{where} holds nothing of schema validation: ask the app something, then see `otel-schema top`"
        yield Check("telemetry", "unknown", message)
        return
    yield Check("telemetry", "fine", f"{where} holds telemetry of schema validation")
    bounds = {bound for counts in reading.series[semconv.VALIDATION_DURATION.name].values() for bound in counts}
    if bounds and SLOW not in bounds:
        message = (
            f"{where}: {SLOW:g} s is no bucket boundary of {semconv.VALIDATION_DURATION.name}, so p95 says nothing "
            "about the promised 10 ms. A view or the SDK's default buckets replaced ours: remove it"
        )
        yield Check("buckets", "finding", message)
    elif bounds:
        yield Check("buckets", "fine", f"{where} has a bucket boundary at {SLOW:g} s")
    for row in Report.of(reading).health:
        yield Check("lost", "finding", f"{where}: {row.what} ({row.where}): {row.count:g}")


def _exporters(environment: Mapping[str, str], signal: str) -> tuple[str, ...]:
    """The exporters of a signal, `otlp` as what the protocol makes of it; without the distro's default none."""
    default = "otlp" if entry_points(group="opentelemetry_distro") else ""
    names = [name.strip() for name in (environment.get(f"OTEL_{signal}_EXPORTER") or default).split(",")]
    protocol = environment.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or environment.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    otlp = "otlp_proto_http" if protocol.startswith("http") else "otlp_proto_grpc"
    return tuple(otlp if name == "otlp" else name for name in names if name and name != "none")
