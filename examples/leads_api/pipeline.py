"""What `make pipeline` runs: the leads API in four processes, and the whole path behind it with the real programs.

    app (4 workers) ──OTLP──► collector ──scraped by──► Prometheus ──► Alertmanager
                                      └─────OTLP──────► Jaeger

Builds what is missing, drives traffic, and shows the tables of the demo, now from Prometheus through the collector, and
the trace that one exemplar leads to. Then it stays up, with a little traffic, until Ctrl-C, which ends all of it; with
`--end` it ends by itself. What the stores took is gone then. Exits like the demo, with 2 also for a port that is taken.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.report import Report
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus
from opentelemetry.instrumentation.schema.cli.tables import seconds, tables

import service
from addresses import CONFIGS, Addresses, build
from console import Check, console, exit_code, keep, send, show_figures
from figures import counts, figures
from leads_api.truth import Truth
from processes import ProgramError, answers, clean_environment, program, tail, until
from sink import Sink
from stores import Jaeger, exemplars
from trace_tree import draw

WORKERS = 4
SEED = 7
# every client keeps its connections, and the kernel deals them to the workers: several for each
THREADS = 16
MARGIN = 10
"""Seconds: a scrape, and what a busy machine may take longer."""


@dataclass
class Pipeline:
    """The programs that run, each ended when `stack` unwinds."""

    stack: ExitStack
    directory: Path
    addresses: Addresses
    options: argparse.Namespace
    running: dict[str, Popen[str]] = field(default_factory=dict)

    def start(self, name: str, command: list[str | Path], ready: Callable[[], bool], **variables: str) -> None:
        """Start a program whose every address is in its environment.

        Raises:
            ProgramError: if it does not get ready.
        """
        environment = clean_environment() | self.addresses.environment() | variables
        log = self.directory / f"{name}.log"
        with console.status(f"starting {name}"):
            started = program(name, command, log, ready, environment, self.directory)
            self.running[name] = self.stack.enter_context(started)

    def check(self) -> None:
        """Raise ProgramError if a program has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ProgramError(f"{name} ended with {process.returncode}:{tail(self.directory / f'{name}.log')}")

    def start_store(self) -> Sink | Jaeger:
        if self.options.store == "sink":
            return self.stack.enter_context(Sink(grpc_port=self.addresses.port("JAEGER_OTLP_GRPC")))
        store = Jaeger(self.addresses.url("JAEGER_HTTP"))
        command = [build("jaeger"), f"--config={CONFIGS / 'stores' / 'jaeger.yaml'}"]
        directory = str(self.directory / "traces")
        self.start("Jaeger", command, lambda: answers(f"{store.url}/api/services"), JAEGER_DIR=directory)
        return store

    def start_collector(self) -> None:
        configs = [f"--config={CONFIGS / name}" for name in ("base.yaml", "gateway.yaml", "standalone.yaml")]
        self.start(
            "the collector",
            [build("small"), *configs],
            lambda: answers(self.addresses.url("OTELCOL_HEALTH")),
            OTELCOL_NEXT=self.addresses["JAEGER_OTLP_GRPC"],
            OTELCOL_QUEUE_DIR=str(self.directory / "queue"),
        )

    def start_alertmanager(self) -> None:
        binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if binary is None:
            raise ProgramError("no Alertmanager on PATH (Debian: apt-get install prometheus-alertmanager)")
        # the routes as they are shipped, but nobody is mailed or paged because of a demonstration
        routes, _, receivers = (CONFIGS / "alertmanager" / "alertmanager.yml").read_text().partition("\nreceivers:\n")
        silent = "".join(f"  - name: {name}\n" for name in re.findall(r"^  - name: (\S+)", receivers, re.M))
        file = self.directory / "alertmanager.yml"
        file.write_text(routes.replace("[schema.tmpl]", "[]") + "\nreceivers:\n" + silent)
        url = self.addresses.url("PIPELINE_ALERTMANAGER")
        flags = [
            f"--config.file={file}",
            f"--storage.path={self.directory / 'alerts'}",
            f"--web.listen-address={self.addresses['PIPELINE_ALERTMANAGER']}",
            "--cluster.listen-address=",  # one alone, and no port open to the world
        ]
        self.start("Alertmanager", [binary, *flags], lambda: answers(f"{url}/-/ready"))

    def start_prometheus(self) -> Prometheus:
        config = (CONFIGS / "prometheus" / "collector.yml").read_text()
        config = config.replace("_interval: 10s", f"_interval: {self.options.scrape}s")
        config = config.replace("[rules/", f"[{CONFIGS / 'prometheus' / 'rules'}/")
        file = self.directory / "prometheus.yml"
        file.write_text(self.addresses.moved(config))
        url = self.addresses.url("PIPELINE_PROMETHEUS")
        flags = [
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'metrics'}",
            f"--web.listen-address={self.addresses['PIPELINE_PROMETHEUS']}",
            "--enable-feature=exemplar-storage",
        ]
        binary = shutil.which("prometheus") or build("prometheus3")
        self.start("Prometheus", [binary, *flags], lambda: answers(f"{url}/-/ready"))
        return Prometheus(url)

    def start_app(self) -> str:
        telemetry = {
            "OTEL_SERVICE_NAME": "leads-api",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.addresses.url("OTELCOL_OTLP_GRPC"),
            "OTEL_METRIC_EXPORT_INTERVAL": f"{self.options.export * 1000:.0f}",
            "OTEL_LOGS_EXPORTER": "none",
        }
        console.print(
            "The promised expressions look at one minute; with the SDK's 60 s between exports some windows hold no\n"
            "step: OTEL_METRIC_EXPORT_INTERVAL=15000. Faster than the scrape (10 s) would lose exemplars."
        )
        # On a busy machine workers take longer to start than the 5 s after which uvicorn thinks them dead, and a client
        # would send on a connection that uvicorn is just closing: after 5 s too, by default, of both.
        options = ("--workers", str(WORKERS), "--timeout-worker-healthcheck", "60", "--timeout-keep-alive", "60")
        return service.start(self.stack, self.directory, self.addresses.port("PIPELINE_APP"), telemetry, *options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--store", choices=("jaeger", "sink"), default="jaeger", help="sink: traces in memory, no build"
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--export", type=float, default=15, help="seconds between two exports of metrics")
    parser.add_argument("--scrape", type=int, default=10, help="seconds between two scrapes; at most the export's")
    parser.add_argument("--end", action="store_true", help="end after the figures")
    options = parser.parse_args()
    return exit_code(lambda stop: _run(options, stop))


def _run(options: argparse.Namespace, stop: Check) -> bool:
    addresses = Addresses()
    addresses.must_be_free()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leads-pipeline-")))
        pipeline = Pipeline(stack, directory, addresses, options)

        def check() -> None:
            stop()
            pipeline.check()

        store = pipeline.start_store()
        pipeline.start_collector()
        pipeline.start_alertmanager()
        prometheus = pipeline.start_prometheus()
        app = pipeline.start_app()
        right = _show(pipeline, prometheus, store, app, check)
        _show_urls(addresses, options)
        if not options.end:
            with suppress(KeyboardInterrupt):
                keep(app, check, SEED + 1)
        return right


def _show(pipeline: Pipeline, prometheus: Prometheus, store: Sink | Jaeger, app: str, check: Check) -> bool:
    requests, patience = pipeline.options.requests, 20 + pipeline.options.export + 2 * pipeline.options.scrape
    # A rate does not see a series' first value, and reckons too little of one that was 0 when its window began. So each
    # worker first meets each schema, endpoint and failure, and the promised minute begins after that, within MARGIN.
    first = send(app, check, what="first", seed=SEED, requests=800, rate=100, threads=THREADS)
    _wait(prometheus, first, patience, check)
    _pause(MARGIN, check)
    minute = time.monotonic() + 60
    then = send(app, check, what="traffic", seed=SEED + 1, requests=requests, rate=40, threads=THREADS)
    truth = first + then
    _wait(prometheus, truth, patience, check)
    _pause(minute - MARGIN - time.monotonic(), check)
    reading = prometheus.read()
    # at once: the minute ends soon
    rows = [*figures(prometheus, reading, truth, then, WORKERS), *counts(reading, truth, WORKERS)]
    console.rule(f"otel-schema top {prometheus.url}", align="left")
    for table in tables(Report.of(reading)):
        console.print(table)
    followed = _show_exemplar(prometheus, store, patience)
    how = f"Evaluated verbatim by a real Prometheus, {prometheus.url}, through the collector:"
    return show_figures(how, rows) and followed


def _wait(prometheus: Prometheus, truth: Truth, patience: float, check: Check) -> None:
    """Wait until Prometheus has the last request, and with it all that was exported together."""

    def complete() -> bool:
        check()
        return sum(prometheus.read().totals(semconv.API_REQUESTS).values()) >= truth.requests.total()

    with console.status("until it is exported and scraped"):
        until(complete, patience)


def _pause(seconds: float, check: Check) -> None:
    end = time.monotonic() + seconds
    with console.status("until the promised minute holds the traffic alone"):
        while time.monotonic() < end:
            check()
            time.sleep(0.1)


def _show_exemplar(prometheus: Prometheus, store: Sink | Jaeger, patience: float) -> bool:
    """Draw the trace of the slowest validation that Prometheus has an exemplar of; False if there is none."""
    series = f"{semconv.VALIDATION_DURATION.prometheus}_bucket"
    found = exemplars(prometheus.url, series)
    console.rule("From an exemplar to its trace", align="left")
    if not found:
        console.print(f"[red]Prometheus has no exemplar of {series}[/]")
        return False
    slowest = found[0]
    console.print(
        f"{len(found)} exemplars of {series}; the slowest, {seconds(slowest.value)}, is of trace {slowest.trace_id}:",
        highlight=False,
    )
    # it is stored when its sampling is decided
    until(lambda: any(span.span_id == slowest.span_id for span in store.trace(slowest.trace_id)), patience)
    spans = store.trace(slowest.trace_id)
    if spans:
        console.print(draw(spans))
    stored = any(span.span_id == slowest.span_id for span in spans)
    if not stored:
        console.print("[red]its span is not in the trace store[/]")
    return stored


def _show_urls(addresses: Addresses, options: argparse.Namespace) -> None:
    console.rule("Ended" if options.end else "Up until Ctrl-C", align="left")
    rows = {
        "app": addresses.url("PIPELINE_APP") + "/docs",
        "Prometheus": addresses.url("PIPELINE_PROMETHEUS"),
        "Alertmanager": addresses.url("PIPELINE_ALERTMANAGER"),
        "Jaeger": addresses.url("JAEGER_HTTP") if options.store == "jaeger" else "",
        "collector": addresses.url("OTELCOL_METRICS") + "/metrics",
        "its own": addresses.url("OTELCOL_TELEMETRY_PORT") + "/metrics",
        "watch": f"otel-schema top {addresses.url('PIPELINE_PROMETHEUS')} --watch",
    }
    for name, url in rows.items():
        if url:
            console.print(f"  {name:12}  {url}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
