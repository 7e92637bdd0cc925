"""`upgrade --guard`: watches the app after an upgrade, notifies, and rolls back if that is asked for and safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from .._migrations.guard import verdict_texts
from .._migrations.guard.notify import Incident
from .._migrations.guard.rollback import find_code_mismatch, find_unrehearsed, roll_back
from .._migrations.guard.sample_reader import SampleReader
from .._migrations.guard.signals import SIGNALS, Signals
from .._migrations.guard.watch import WatchResult, recover
from .._migrations.plan import Plan, format_heads
from .._migrations.run import RunResult
from .._migrations.sdk import record_runs
from .._migrations.telemetry import Target
from .._prometheus.http import Access, SourceError
from .._prometheus.selector import Selector
from ..semconv import Signal
from . import project
from .connection import match_option, reads_urls
from .guard_watch import WatchOptions, duration_option, guard_options, open_incident, record_verdict, report
from .migration_options import RunSettings
from .output import FINDING, FINE, INCONCLUSIVE, UsageError, tell


@dataclass(frozen=True, kw_only=True)
class GuardOptions:
    """The options of the guard that `upgrade` has, as the command line names them.

    Attributes:
        guard: Length of the watch, in s; None without a guard.
        prometheus: The URL of the Prometheus.
        selector: Selects the app's series.
        access: How to talk to Prometheus and Alertmanager.
        auto_rollback: Whether a signal that decides may undo the upgrade.
        decide: The signals that may decide.
        export_interval: The export interval of the apps, in s.
        alertmanager: The URL of the Alertmanager; None notifies nobody.
        group_wait: `group_wait` of Alertmanager's route for progress, in s.
    """

    guard: float | None
    prometheus: str | None
    selector: Selector
    access: Access
    auto_rollback: bool
    decide: tuple[Signal, ...]
    export_interval: float
    alertmanager: str | None
    group_wait: float


@dataclass(frozen=True)
class Guard:
    """The guard of an upgrade, prepared before anything is migrated.

    Attributes:
        watch_options: How to watch.
        samples: The app's samples, from before the upgrade.
        auto_rollback: Whether a signal that decides may undo the upgrade.
        misfit: Why the code would not fit the database after a rollback; empty if it does.
    """

    watch_options: WatchOptions
    samples: SampleReader
    auto_rollback: bool
    misfit: str


@dataclass(frozen=True)
class Ending:
    """How a guarded upgrade ended.

    Attributes:
        outcome: The verdict.
        rollback: How the rollback ended; None if nothing was rolled back.
        why_not: Why nothing was rolled back.
        recovery: `recovered`, `failed` or empty.
        phases: Every phase: number, name, summary.
        incident: The id of the incident.
        code: The exit code of the command.
    """

    outcome: WatchResult
    rollback: RunResult | None
    why_not: str
    recovery: str
    phases: list[tuple[int, str, str]]
    incident: str
    code: int

    def as_data(self) -> dict[str, Any]:
        """For machines."""
        return {
            **verdict_texts.document(self.outcome),
            "incident": self.incident,
            "phases": [list(each) for each in self.phases],
            "rolled_back": self.rollback.reached if self.rollback else False,
            "not_rolled_back": self.why_not,
            "recovery": self.recovery or None,
        }


def upgrade_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of the guard that `upgrade` has, as one parameter `guard_options` of the command."""

    @wraps(function)
    def bundled(**options: Any) -> None:
        chosen = GuardOptions(**{each.name: options.pop(each.name) for each in fields(GuardOptions)})
        function(guard_options=chosen, **options)

    decorated: Callable[..., None] = reads_urls(bundled)
    for option in reversed(
        (
            duration_option("--guard", "Watch the app for this long afterwards (10m, 1h, ...), and judge the upgrade."),
            click.option(
                "--prometheus", metavar="URL", help="With --guard: the Prometheus that stores the app's metrics."
            ),
            match_option,
            click.option(
                "--auto-rollback",
                is_flag=True,
                help="With --guard: roll back if the app is degraded, each step can be undone, and the running code "
                "fits the older schema.",
            ),
            guard_options,
        )
    ):
        decorated = option(decorated)
    return decorated


def prepare_guard(settings: RunSettings, options: GuardOptions) -> Callable[[Plan], Guard | None]:
    """Check the options before anything is migrated. Returns a function from a plan to its guard; None without --guard.

    Raises:
        UsageError: if options are missing, or the URL is no Prometheus.
        SourceError: if it does not answer.
    """
    if options.guard is None:
        if options.auto_rollback or options.prometheus:
            raise UsageError("--auto-rollback and --prometheus work only with --guard: add it, as in --guard 10m")
        return lambda _plan: None
    if options.prometheus is None:
        raise UsageError("--guard needs --prometheus: add the URL of the Prometheus that stores the app's metrics")
    watch_options = WatchOptions(
        url=options.prometheus,
        selector=options.selector,
        access=options.access,
        watch=options.guard,
        block=options.export_interval,
        decide=options.decide,
        alertmanager=options.alertmanager,
        group_wait=options.group_wait,
        quiet=settings.json,
    )
    samples = watch_options.samples()

    def of(plan: Plan) -> Guard:
        misfit = ""
        if options.auto_rollback:
            misfit = find_code_mismatch(plan, project.load(Path.cwd()).serves_by_revision)
            if misfit:
                settings.say(f"warning: --auto-rollback will not roll back: {misfit}")
            for revision in find_unrehearsed(plan, settings.history):
                settings.say(
                    f"warning: {revision} was never rehearsed, and may be rolled back: run otel-schema rehearse"
                )
        return Guard(watch_options, samples, options.auto_rollback, misfit)

    return of


def watch_upgrade(guard: Guard, settings: RunSettings, plan: Plan, began: float, ended: float) -> Ending:
    """Watch the app after an upgrade; then notify, and roll back if asked to.

    Args:
        guard: The prepared guard.
        settings: The settings of the upgrade.
        plan: The plan that was run.
        began: When the upgrade began, in Unix time by this machine's clock.
        ended: When it ended, likewise.
    """
    watch_options = guard.watch_options
    target = Target(plan.tool, plan.database.name, plan.database.dialect)
    labels = {name.replace(".", "_"): str(value) for name, value in target.attributes.items()}
    start, end = guard.samples.at(began), guard.samples.at(ended)
    with record_runs() as runs, open_incident(watch_options, labels, settings.history) as incident:
        try:
            signals = watch_options.signals(guard.samples, start, end)
        except SourceError as error:
            outcome, signals = WatchResult.not_started(str(error)), None
        else:
            outcome = watch_options.run_watch(signals, incident, lambda: settings.interrupts.received is not None)
        for signal in SIGNALS:
            if signal in outcome.states:
                runs.record_verdict(target, outcome.states[signal].verdict, signal)
        runs.record_watch(target, outcome.verdict, start, verdict_texts.attributes(outcome))
        record_verdict(settings.history, incident, outcome, plan.database.identity, str(plan.table))
        rollback, why_not, recovery = None, "", ""
        if outcome.verdict == "degraded" and signals is not None:
            rollback, why_not, recovery = _undo(guard, settings, plan, outcome, signals, incident)
        phases = [(each.number, each.phase, each.summary) for each in incident.phases]
    code = {"pass": FINE, "degraded": FINDING, "inconclusive": INCONCLUSIVE}[outcome.verdict]
    if settings.interrupts.received is not None:
        code = 128 + settings.interrupts.received
    return Ending(outcome, rollback, why_not, recovery, phases, incident.id, code)


def _undo(
    guard: Guard, settings: RunSettings, plan: Plan, outcome: WatchResult, signals: Signals, incident: Incident
) -> tuple[RunResult | None, str, str]:
    back_to = format_heads(plan.before, plan.tool)
    why = ""
    if not guard.auto_rollback:
        why = "--auto-rollback was not given"
    elif not outcome.deciding:
        why = f"the degraded signal may not start a rollback; to allow that, add --decide {','.join(outcome.degraded)}"
    elif guard.misfit:
        why = guard.misfit
    result: RunResult | None = None
    if not why:
        result, why = roll_back(
            settings.tool,
            plan,
            settings.history,
            settings.options,
            settings.say,
            lambda back: incident.enter("rolling_back", f"rolling {back.database} back to {back_to}") and None,
        )
    if result is None:
        # the code may need the newer schema: a person decides
        incident.enter(
            "failed", f"nothing was rolled back: {why}. To roll back by hand: otel-schema rollback {back_to}"
        )
        return None, why, ""
    if not result.reached:
        incident.enter("failed", f"the rollback to {back_to} ended as {result.outcome.name}: see otel-schema status")
        return result, "", "failed"
    incident.enter("rolled_back", f"{plan.database} is at {back_to}")
    degraded = [outcome.states[signal] for signal in outcome.deciding]
    recovery, reason = recover(signals, degraded, guard.samples.at(time.time()), settings.say)
    if recovery == "recovered":
        incident.enter("recovered", "the app is as it was before the migration")
    else:
        incident.enter("failed", f"the app has not recovered since the rollback ({reason}): look for another cause")
    return result, "", recovery


def print_ending(ending: Ending) -> None:
    """Print how the upgrade ended, for people."""
    report(ending.outcome)
    for number, phase, summary in ending.phases:
        tell(f"{number}. {phase}: {summary}")
