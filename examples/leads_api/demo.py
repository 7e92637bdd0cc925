"""What `make demo` runs: the leads API under `opentelemetry-instrument`, traffic, and what its telemetry says of it.

Starts everything on free ports of loopback and ends it again: an OTLP sink for the traces, the app with its Prometheus
endpoint, and a Prometheus that scrapes it if one is installed. Exits with 1 if a figure differs from what the traffic
generator counted, with 2 if something did not start. With KEEP=1 it stays up until Ctrl-C and keeps a little traffic
going.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.reading import Reading
from opentelemetry.instrumentation.schema._prometheus.report import Report, endpoint_name
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus, Scrape
from opentelemetry.instrumentation.schema.cli.tables import seconds, tables
from rich.table import Table

import service
from console import Check, console, exit_code, keep, send, show_figures
from figures import counts, figures
from leads_api.truth import Truth
from processes import HOST, ProgramError, answers, free_port, program, until
from sink import Sink, Span
from trace_tree import draw

REQUESTS = 1000
SEED = 7
# the promised windows are one minute: all of the traffic has to fit in one, with the scrapes around it
RATE = 40.0


@dataclass(frozen=True)
class Stage:
    """What runs while the demo runs."""

    app: str
    sink: Sink
    scrape: Scrape
    prometheus: Prometheus | None


def main() -> int:
    return exit_code(_run)


def _run(check: Check) -> bool:
    with ExitStack() as stack:
        stage = _start(stack, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leads-demo-"))))
        truth = send(stage.app, check, what="traffic", seed=SEED, requests=REQUESTS, rate=RATE, threads=4)
        right = _show(stage, truth)
        if os.environ.get("KEEP", "") not in ("", "0"):
            with suppress(KeyboardInterrupt):
                _keep(stage, check)
        return right


def _start(stack: ExitStack, directory: Path) -> Stage:
    sink = stack.enter_context(Sink())
    metrics_port = free_port()
    scrape = Scrape(f"http://{HOST}:{metrics_port}/metrics")
    telemetry = {
        "OTEL_SERVICE_NAME": "leads-api",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": HOST,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    app = service.start(stack, directory, free_port(), telemetry, ready=lambda: answers(scrape.url))
    return Stage(app, sink, scrape, _start_prometheus(stack, directory, metrics_port))


def _start_prometheus(stack: ExitStack, directory: Path, metrics_port: int) -> Prometheus | None:
    binary = shutil.which("prometheus")
    if binary is None:
        return None
    config = directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: leads-api, static_configs: [{{targets: ['{HOST}:{metrics_port}']}}]}}\n"
    )
    port = free_port()
    url = f"http://{HOST}:{port}"
    stack.enter_context(
        program(
            "Prometheus",
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={HOST}:{port}",
                "--log.level=warn",
            ],
            directory / "prometheus.log",
            lambda: answers(f"{url}/-/ready"),
        )
    )
    prometheus = Prometheus(url)
    if not until(lambda: prometheus.query("up == 1") != [], 15):
        raise ProgramError(f"Prometheus at {url} does not get to scrape the app at port {metrics_port}")
    return prometheus


def _show(stage: Stage, truth: Truth) -> bool:
    source = stage.prometheus or stage.scrape
    reading = _settled(stage, truth)
    console.rule(f"otel-schema top {source.url}", align="left")
    for table in tables(Report.of(reading)):
        console.print(table)
    _show_slowest(stage.sink)

    if stage.prometheus:
        how = f"Evaluated verbatim by a real Prometheus, {stage.prometheus.url}:"
    else:
        how = "Computed from one scrape, since there is no `prometheus` on this machine:"
    return show_figures(how, figures(stage.prometheus, reading, truth) + counts(reading, truth))


def _settled(stage: Stage, truth: Truth) -> Reading:
    """What the source holds once it has seen the last request, or as much as it has after ten seconds."""
    source = stage.prometheus or stage.scrape
    ended = time.time()

    def complete() -> bool:
        # a scrape amid the last request may hold its count but not yet the validation of its response
        seen = sum(source.read().totals(semconv.API_REQUESTS).values()) >= truth.requests.total()
        scraped = stage.prometheus.query("timestamp(up)")[0][1] if stage.prometheus else time.time()
        return seen and scraped > ended + 0.5

    until(complete, 10)
    return source.read()


def _show_slowest(sink: Sink) -> None:
    # a trace is whole when its root, which ends last, has arrived
    whole = {span.trace_id for span in sink.spans() if not span.parent_span_id}
    spans = [span for span in sink.spans() if span.name.startswith(semconv.SPAN_NAME) and span.trace_id in whole]
    spans.sort(key=lambda span: -span.duration)
    table = Table(title="The slowest validations", title_justify="left", title_style="bold cyan", border_style="dim")
    for column in ("Schema", "Endpoint", "Outcome", "Trace id"):
        table.add_column(column, no_wrap=column == "Trace id")
    table.add_column("Queries", justify="right")
    table.add_column("Duration", justify="right", no_wrap=True)
    for span in spans[:5]:
        table.add_row(
            str(span.attributes.get(semconv.SCHEMA_NAME, "")),
            _endpoint(span),
            str(span.attributes.get(semconv.VALIDATION_OUTCOME, "")),
            span.trace_id,
            str(span.attributes.get(semconv.QUERY_COUNT, 0)),
            seconds(span.duration),
        )
    console.print(table)
    if spans:
        console.print("The slowest one's trace:", style="bold cyan")
        console.print(draw(sink.trace(spans[0].trace_id)))


def _endpoint(span: Span) -> str:
    return endpoint_name(*(str(span.attributes.get(key, "")) for key in semconv.ENDPOINT))


def _keep(stage: Stage, check: Check) -> None:
    console.rule("Up until Ctrl-C", align="left")
    console.print(f"  app         {stage.app}/docs\n  metrics     {stage.scrape.url}", highlight=False)
    if stage.prometheus:
        console.print(f"  Prometheus  {stage.prometheus.url}", highlight=False)
    console.print(f"  watch       otel-schema top {(stage.prometheus or stage.scrape).url} --watch", highlight=False)
    keep(stage.app, check, SEED)


if __name__ == "__main__":
    sys.exit(main())
