"""The watch that `guard` and `upgrade --guard` share: options, live display, record of the verdict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table

from .._migrations.errors import MigrationError
from .._migrations.guard import verdict_texts
from .._migrations.guard.evidence import SETTLING, limit
from .._migrations.guard.notify import GROUP_WAIT, Incident, PhaseRecord
from .._migrations.guard.sample_reader import SampleReader
from .._migrations.guard.samples import Grid
from .._migrations.guard.signals import SIGNALS, Figures, Signals, SignalState
from .._migrations.guard.watch import WatchResult, WatchView, watch
from .._migrations.history import HistoryFile
from .._prometheus.http import Access, masked
from .._prometheus.selector import Selector
from .._prometheus.server import Prometheus, duration
from .._prometheus.sources import open_source
from ..semconv import Signal
from .output import Screen, UsageError, echo, tell, text

_C = TypeVar("_C", bound=Callable[..., None])

LEAST: Final = 16
"""Blocks that a watch has at least. A shorter one leaves under two minutes beside settling and the worst stretch."""

_AHEAD: Final = 20
"""Blocks from now to the end of an incident's alerts: five minutes of 15 s."""

STYLES: Final = {"pass": "green", "degraded": "bold red", "inconclusive": "yellow"}


@dataclass(frozen=True)
class WatchOptions:
    """The options of a watch, from the command line.

    Attributes:
        url: The URL of the Prometheus.
        selector: Selects the app's series.
        access: How to talk to Prometheus and Alertmanager.
        watch: Length of the watch, in s.
        block: Length of a block, in s: the export interval of the apps.
        decide: The signals that may decide.
        alertmanager: The URL of the Alertmanager; None notifies nobody.
        group_wait: `group_wait` of Alertmanager's route for progress, in s.
        quiet: Whether to print nothing but the result.
    """

    url: str
    selector: Selector
    access: Access
    watch: float
    block: float
    decide: tuple[Signal, ...]
    alertmanager: str | None
    group_wait: float
    quiet: bool

    @property
    def blocks(self) -> int:
        """How many blocks the watch has."""
        return round(self.watch / self.block)

    def samples(self) -> SampleReader:
        """The samples of the app.

        Raises:
            UsageError: if the URL is no Prometheus, or the watch is too short.
            SourceError: if it does not answer.
        """
        if self.blocks < LEAST:
            raise UsageError(
                f"a watch of {self.watch:g} s is too short: choose at least {LEAST * self.block:g} s, which is {LEAST} "
                f"export intervals of {self.block:g} s"
            )
        source = open_source(self.url, None, self.access, self.selector)
        if not isinstance(source, Prometheus):
            raise UsageError(
                f"{masked(self.url)} is the endpoint of one process, which has no history: give the URL of a Prometheus"
            )
        return SampleReader(source, self.block, 8 * self.block)

    def signals(self, samples: SampleReader, start: float, end: float, further: int = 0) -> Signals:
        """The signals around a change, with their past read.

        Args:
            samples: Of the app.
            start: When the change started, by the clock of Prometheus.
            end: When it ended, likewise.
            further: Blocks to read beyond the history.

        Raises:
            SourceError: if Prometheus does not answer.
        """
        signals = Signals(samples, Grid(start, end, self.block), self.blocks)
        signals.read_history(lambda what: self.say(f"reading {what}"), further)
        return signals

    def run_watch(self, signals: Signals, incident: Incident, stop: Callable[[], bool] = lambda: False) -> WatchResult:
        """Watch until there is a verdict. Show what is known, and notify of what is degraded."""

        def degraded(figures: Mapping[Signal, Figures], states: Mapping[Signal, SignalState]) -> None:
            sentence = "; ".join(verdict_texts.sentence(states[each], figures[each]) for each in figures)
            incident.enter("degraded", sentence)
            self.say(sentence)

        with self._display() as show:
            return watch(signals, self.decide, show, degraded, stop)

    def say(self, message: str) -> None:
        """Print progress, on stderr: stdout is for the result."""
        if not self.quiet:
            echo(message, err=True)

    @contextmanager
    def _display(self) -> Generator[Callable[[WatchView], None]]:
        console = Screen(stderr=True)
        if self.quiet or not console.is_terminal:
            with _lines(self) as show:
                yield show
            return
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda view: live.update(render_view(view, self), refresh=True)


@contextmanager
def _lines(watch_options: WatchOptions) -> Generator[Callable[[WatchView], None]]:
    """Progress without a terminal: one line a minute, and one for each new reason to wait."""
    last: tuple[int, str] = (-1, "")

    def show(view: WatchView) -> None:
        nonlocal last
        now = view.complete // 4, view.note
        if now != last:
            last = now
            states = ", ".join(f"{verdict_texts.NAMES[each]} {state.verdict}" for each, state in view.states.items())
            watch_options.say(f"{progress(view, watch_options)}: {states}{f'; {view.note}' if view.note else ''}")

    yield show


def progress(view: WatchView, watch_options: WatchOptions) -> str:
    """How far the watch has come."""
    done = view.complete * watch_options.block
    if view.complete <= SETTLING:
        return f"settling, {done:.0f} of {watch_options.watch:.0f} s"
    return f"{done:.0f} of {watch_options.watch:.0f} s"


def render_view(view: WatchView, watch_options: WatchOptions) -> Group:
    """What is known, and what is missing for a verdict."""
    table = Table(title=f"Guard, {progress(view, watch_options)}", title_justify="left", border_style="dim")
    for name in ("Signal", "Verdict", "Before", "Since", "At most", "Degraded above", "Evidence", "Missing"):
        table.add_column(name, justify="left" if name in ("Signal", "Verdict", "Missing") else "right")
    for signal, state in view.states.items():
        past, judged = state.null, state.overall
        usual, above = (
            (verdict_texts.percent(past.usual), verdict_texts.percent(limit(past.usual))) if past else ("?", "?")
        )
        evidence = "-" if judged.evidence < 0 or past is None else f"{judged.evidence:.1f} of {past.bar:.1f}"
        may = "" if signal in watch_options.decide else " (does not decide)"
        slow = f" above {verdict_texts.duration(state.slow)}" if state.slow is not None else ""
        table.add_row(
            text(f"{verdict_texts.NAMES[signal]}{slow}{may}"),
            text(state.verdict, STYLES[state.verdict]),
            usual,
            verdict_texts.percent(judged.rate),
            verdict_texts.percent(judged.upper_limit),
            above,
            evidence,
            text(state.why or ", ".join(state.degraded)),
        )
    return Group(table, text(view.note, "yellow")) if view.note else Group(table)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _decide(ctx: click.Context, param: click.Parameter, value: str) -> tuple[Signal, ...]:
    named = [each.strip() for each in value.split(",") if each.strip()]
    unknown = [each for each in named if each not in SIGNALS]
    if unknown or not named:
        raise click.BadParameter(f"choose from {', '.join(SIGNALS)}, separated by commas")
    return tuple(signal for signal in SIGNALS if signal in named)


def duration_option(name: str, help: str, default: str | None = None, **more: Any) -> Callable[[_C], _C]:
    """An option that takes 10m or 1h30m, in seconds."""
    return click.option(
        name, metavar="DURATION", default=default, show_default=bool(default), callback=_duration, help=help, **more
    )


def guard_options(function: _C) -> _C:
    """The options of the guard beside the watch's length: `otel-schema guard` and `otel-schema upgrade` have them."""
    for option in reversed(
        (
            click.option(
                "--decide",
                metavar="SIGNALS",
                default="errors",
                show_default=True,
                callback=_decide,
                help="Signals that end the watch if they are degraded, and that may start a rollback: errors, time, "
                "queries, separated by commas. The guard judges all three.",
            ),
            duration_option(
                "--export-interval", "OTEL_METRIC_EXPORT_INTERVAL of the app. The guard counts in blocks of it.", "15s"
            ),
            click.option(
                "--alertmanager", metavar="URL", help="Notify this Alertmanager of each phase of an incident."
            ),
            duration_option(
                "--group-wait", "The `group_wait` of Alertmanager's route for progress.", f"{GROUP_WAIT:.0f}s"
            ),
        )
    ):
        function = option(function)
    return function


@contextmanager
def open_incident(watch_options: WatchOptions, labels: dict[str, str], history: HistoryFile) -> Generator[Incident]:
    """Open an incident. The history gets each phase when it begins, Alertmanager all of them by the end."""

    def record_phase(entered: PhaseRecord) -> None:
        try:
            history.record_phase(incident.id, entered.number, entered.phase, entered.summary)
        except MigrationError as error:
            echo(str(error), err=True)

    incident = Incident(
        watch_options.alertmanager,
        watch_options.access,
        labels,
        lambda message: echo(message, err=True),
        watch_options.group_wait,
        record_phase,
        _AHEAD * watch_options.block,
    )
    try:
        yield incident
    finally:
        if not incident.close():
            echo("warning: Alertmanager was not notified of every phase. The history has all of them", err=True)


def record_verdict(
    history: HistoryFile, incident: Incident, outcome: WatchResult, database: str = "", table: str = ""
) -> None:
    """Write a verdict into the history. If that fails, say so and go on."""
    try:
        history.record_verdict(incident.id, database=database, table=table, **verdict_texts.document(outcome))
    except MigrationError as error:
        echo(str(error), err=True)


def report(outcome: WatchResult, dry_run: bool = False) -> None:
    """Print the verdict for people: one line for each signal, and the verdict itself."""
    for signal, state in outcome.states.items():
        tell(verdict_texts.sentence(state, outcome.figures[signal]))
    rates = outcome.hit_rates
    if outcome.states:
        tell(
            f"cache hit rate {verdict_texts.percent(rates.before)} → {verdict_texts.percent(rates.after)} (not judged)"
        )
    if any(state.null is not None and state.null.short for state in outcome.states.values()):
        tell("short history: the guard has fewer than ten earlier watches to compare with, so it finds less")
    tell(f"{'dry run: ' if dry_run else ''}{outcome.verdict}{f': {outcome.why}' if outcome.why else ''}")
