"""`otel-schema top`: the tables of an app or a Prometheus, once or live."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..._prometheus.http import Access, SourceError
from ..._prometheus.reading import Reading
from ..._prometheus.report import Report
from ..._prometheus.selector import Selector
from ..._prometheus.server import duration
from ..._prometheus.sources import Source, open_source
from ..connection import match_option, reads_urls
from ..output import INCONCLUSIVE, Screen, echo, echo_json, finish, text
from ..tables import tables

TRAILING: Final = 60.0
"""Seconds that the live tables look back, as far as there are samples."""

CHECKS: Final = """There is no telemetry of schema validation yet. Check in this order:
  1. the app has handled at least one request since it started;
  2. it runs under `opentelemetry-instrument`, and `schema` is not in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS;
  3. OTEL_METRICS_EXPORTER is `prometheus` (this endpoint) or `otlp` (towards a collector), not `none`;
  4. the models belong to the app: OTEL_PYTHON_SCHEMA_INCLUDE adds those of installed distributions;
  5. with a Prometheus: its /targets page shows the target as up, and one export and one scrape have passed;
  6. with --match: the series have these labels and values."""


def _interval(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a number of seconds; the URL goes first: otel-schema top URL --watch"
        ) from None
    if not 0.1 <= seconds <= 3600:
        raise click.BadParameter("choose from 0.1 to 3600 seconds")
    return seconds


def _window(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    try:
        if value is not None:
            duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.argument("url", default="http://localhost:9464/metrics")
@click.option(
    "--watch",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value="2",
    callback=_interval,
    help="Refresh every 2 seconds, or every SECONDS.",
)
@click.option(
    "--window", metavar="DURATION", callback=_window, help="With a Prometheus: count only the last 5m, 1h, ..."
)
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(min=1), default=20, show_default=True, help="Rows per table."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one per line. Times are in seconds."
)
@match_option
@reads_urls
def top(
    url: str,
    watch: float | None,
    window: str | None,
    limit: int,
    as_json: bool,
    selector: Selector,
    access: Access,
) -> None:
    """Show validation times, errors, problems, caches and queries.

    URL is a /metrics endpoint (default: the Python exporter's, http://localhost:9464/metrics) or a Prometheus,
    http://host:9090; https://user:password@host works for both. Counts are totals since each process started; with
    --watch they cover the last minute. The tables leave out rows that are zero.

    Exits with 2 if it cannot read the URL, and with 3 if there is no telemetry of schema validation.
    """
    source = open_source(url, window, access, selector)
    first = source.read()
    try:
        if watch is None:
            _once(source, first, limit, as_json)
        elif as_json:
            _stream(source, first, watch)
        else:
            _live(source, first, watch, limit)
    except KeyboardInterrupt:
        pass


def _once(source: Source, reading: Reading, limit: int, as_json: bool) -> None:
    if as_json:
        echo_json(_document(source, reading))
    else:
        Screen().print(_screen(source, reading, limit))
    if reading.empty:
        finish(INCONCLUSIVE)


def _stream(source: Source, reading: Reading, interval: float) -> None:
    recent = _Recent(reading)
    while True:
        echo_json(_document(source, reading), indent=None)
        time.sleep(interval)
        try:
            reading = recent.add(source.read())
        except SourceError as error:
            echo(f"Error: {error}", err=True)


def _live(source: Source, reading: Reading, interval: float, limit: int) -> None:
    console = Screen()
    recent = _Recent(reading)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal, vertical_overflow="crop") as live:
        while True:
            live.update(_screen(source, reading, limit), refresh=True)
            time.sleep(interval)
            try:
                reading = recent.add(source.read())
            except SourceError as error:
                # an app that restarts comes back
                live.update(Group(text(str(error), "red"), _screen(source, reading, limit)), refresh=True)
                time.sleep(interval)


class _Recent:
    """The last minute of a source that only knows totals."""

    def __init__(self, first: Reading) -> None:
        self._samples = deque([(time.monotonic(), first)])

    def add(self, reading: Reading) -> Reading:
        """What was counted during the last minute, or since the first reading if that is nearer."""
        if reading.seconds is not None:
            return reading
        now = time.monotonic()
        while len(self._samples) > 1 and now - self._samples[1][0] >= TRAILING:
            self._samples.popleft()
        then, earlier = self._samples[0]
        self._samples.append((now, reading))
        return reading.since(earlier, now - then)


def _screen(source: Source, reading: Reading, limit: int) -> Group:
    covered = "since the start" if reading.seconds is None else f"the last {reading.seconds:.0f} s"
    title = text(source.name, "bold").append(f", {covered}", "not bold")
    if reading.empty:
        return Group(title, Text(CHECKS))
    return Group(title, *([*tables(Report.of(reading), limit)] or [Text("All counts are zero.")]))


def _document(source: Source, reading: Reading) -> dict[str, Any]:
    return {"source": source.name, **Report.of(reading).as_dict()}
