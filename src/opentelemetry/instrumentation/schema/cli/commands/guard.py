"""`otel-schema guard`: judges a deployment or a migration by what production does after it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import click

from ..._migrations.guard import verdict_texts
from ..._migrations.guard.backtest import Backtest, backtest
from ..._migrations.guard.signals import SIGNALS
from ..._migrations.history import NAME, HistoryFile
from ..._migrations.sdk import record_runs
from ..._migrations.telemetry import Target
from ..._prometheus.http import Access
from ..._prometheus.selector import Selector
from ..._prometheus.server import duration
from ...semconv import Signal, Verdict
from ..connection import match_option, reads_urls
from ..guard_watch import WatchOptions, duration_option, guard_options, open_incident, record_verdict, report
from ..output import FINDING, FINE, INCONCLUSIVE, UsageError, echo, finish, print_json

CODES: dict[Verdict, int] = {"pass": FINE, "degraded": FINDING, "inconclusive": INCONCLUSIVE}


@click.command()
@click.option("--prometheus", "url", metavar="URL", required=True, help="The Prometheus that stores the app's metrics.")
@match_option
@duration_option("--watch", "How long to watch the app after the change.", "10m")
@click.option(
    "--changed", metavar="TIME", help="The time of the change: 5m (ago), or 2026-11-29T05:00:00Z.  [default: now]"
)
@guard_options
@duration_option("--backtest", "Judge each past watch in this time (24h, 7d, ...) as if there had been a change.")
@click.option("--dry-run", is_flag=True, help="Watch and print the verdict; always exit with 0.")
@click.option("--tool", metavar="NAME", default="", help="The migration tool, as gauges and messages name it.")
@click.option(
    "--database", "namespace", default="", metavar="NAME", help="The database, as gauges and messages name it."
)
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    default=NAME,
    show_default=True,
    envvar="OTEL_SCHEMA_HISTORY",
    help="Record the verdict in this file, as a JSON line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@reads_urls
def guard(
    url: str,
    selector: Selector,
    watch: float,
    changed: str | None,
    decide: tuple[Signal, ...],
    export_interval: float,
    alertmanager: str | None,
    group_wait: float,
    backtest: float | None,
    dry_run: bool,
    tool: str,
    namespace: str,
    history: Path,
    as_json: bool,
    access: Access,
) -> None:
    """Watch an app after a change, and judge whether the change made it worse.

    The guard compares errors, validation time and linked queries with the hours before the change. Run it right after
    a deployment, or judge an earlier change with --changed.

    Exits with 0 for pass, 1 for degraded, 3 for inconclusive, 2 if it cannot read Prometheus.
    """
    watch_options = WatchOptions(
        url, selector, access, watch, export_interval, decide, alertmanager, group_wait, as_json
    )
    samples = watch_options.samples()
    if backtest is not None:
        _backtest(watch_options, samples.now(), backtest, as_json)
        return
    at = samples.at(_time(changed))
    target = Target(tool, namespace)
    labels = {name.replace(".", "_"): str(value) for name, value in target.attributes.items() if value}
    with record_runs() as runs, open_incident(watch_options, labels, HistoryFile(history)) as incident:
        outcome = watch_options.run_watch(watch_options.signals(samples, at, at), incident)
        for signal in SIGNALS:
            runs.record_verdict(target, outcome.states[signal].verdict, signal)
        runs.record_watch(target, outcome.verdict, at, verdict_texts.attributes(outcome))
        record_verdict(HistoryFile(history), incident, outcome, namespace)
    code = FINE if dry_run else CODES[outcome.verdict]
    if as_json:
        print_json(
            {
                "version": 1,
                "command": "guard",
                "exit_code": code,
                "changed": _iso(at),
                "dry_run": dry_run,
                **verdict_texts.document(outcome),
                "incident": incident.id if incident.phases else None,
                "phases": [[each.number, each.phase, each.summary] for each in incident.phases],
            }
        )
    else:
        report(outcome, dry_run)
    finish(code)


def _backtest(watch_options: WatchOptions, now: float, length: float, as_json: bool) -> None:
    blocks = round(length / watch_options.block) // watch_options.blocks * watch_options.blocks
    if blocks < watch_options.blocks:
        raise UsageError(f"--backtest of {length:g} s is shorter than one watch of {watch_options.watch:g} s")
    signals = watch_options.signals(watch_options.samples(), now, now, blocks)
    found = backtest(signals, blocks, lambda i, n: watch_options.say(f"watch {i} of {n}") if i % 36 == 0 else None)
    if as_json:
        print_json(
            {
                "version": 1,
                "command": "guard --backtest",
                "watches": found.watches,
                "short_history": found.short,
                "alarms": [{**alarm._asdict(), "at": _iso(alarm.at)} for alarm in found.alarms],
            }
        )
    else:
        _report_backtest(found, watch_options)
    finish(FINE if found.watches else INCONCLUSIVE)


def _report_backtest(found: Backtest, watch_options: WatchOptions) -> None:
    if not found.watches:
        echo("cannot judge any past watch: Prometheus has less than one hour of samples of this app")
        return
    for alarm in found.alarms:
        where = f" at {alarm.endpoint}" if alarm.endpoint else ""
        rates = f"{verdict_texts.percent(alarm.before)} → {verdict_texts.percent(alarm.after)}"
        may = "" if alarm.signal in watch_options.decide else ", does not decide"
        echo(f"{_iso(alarm.at)} {verdict_texts.NAMES[alarm.signal]}{where}, bad events {rates}{may}")
    fired = {alarm.at for alarm in found.alarms if alarm.signal in watch_options.decide}
    echo(f"{len(fired)} of {found.watches} watches without a change would have had the verdict degraded")
    if found.short:
        echo(f"{found.short} of them had a short history, so the guard finds less in them")


def _time(changed: str | None) -> float:
    if changed is None:
        return time.time()
    try:
        return time.time() - duration(changed)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(changed.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"--changed {changed!r} is neither a duration such as 5m nor an ISO 8601 time") from None
    if at.tzinfo is None:
        raise UsageError(f"--changed {changed!r} has no time zone: write {changed}Z for UTC")
    if at.timestamp() > time.time():
        raise UsageError(f"--changed {changed!r} is in the future")
    return at.timestamp()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
