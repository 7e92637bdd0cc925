"""`upgrade --guard`: watches the app after an upgrade, notifies, and rolls back if that is asked for and safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from .migrating import Settings
from .output import FINDING, FINE, INCONCLUSIVE, UsageError, echo

_C = TypeVar("_C", bound=Callable[..., None])


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


def upgrade_options(function: _C) -> _C:
    """The options of the guard that `upgrade` has."""
    function = reads_urls(function)
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
        function = option(function)
    return function


def prepare_guard(
    settings: Settings,
    guard: float | None,
    prometheus: str | None,
    selector: Selector,
    access: Access,
    auto_rollback: bool,
    decide: tuple[Signal, ...],
    export_interval: float,
    alertmanager: str | None,
    group_wait: float,
) -> Callable[[Plan], Guard | None]:
    """Check the options before anything is migrated. Returns a function from a plan to its guard; None without --guard.

    Raises:
        UsageError: if options are missing, or the URL is no Prometheus.
        SourceError: if it does not answer.
    """
    if guard is None:
        if auto_rollback or prometheus:
            raise UsageError("--auto-rollback and --prometheus work only with --guard: add it, as in --guard 10m")
        return lambda _plan: None
    if prometheus is None:
        raise UsageError("--guard needs --prometheus: add the URL of the Prometheus that stores the app's metrics")
    watch_options = WatchOptions(
        prometheus, selector, access, guard, export_interval, decide, alertmanager, group_wait, settings.json
    )
    samples = watch_options.samples()

    def of(plan: Plan) -> Guard:
        misfit = ""
        if auto_rollback:
            misfit = find_code_mismatch(plan, project.load(Path.cwd()).serves_by_revision)
            if misfit:
                settings.say(f"warning: --auto-rollback will not roll back: {misfit}")
            for revision in find_unrehearsed(plan, settings.history):
                settings.say(
                    f"warning: {revision} was never rehearsed, and may be rolled back: run otel-schema rehearse"
                )
        return Guard(watch_options, samples, auto_rollback, misfit)

    return of


def watch_upgrade(guard: Guard, settings: Settings, plan: Plan, began: float, ended: float) -> Ending:
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
    guard: Guard, settings: Settings, plan: Plan, outcome: WatchResult, signals: Signals, incident: Incident
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
        echo(f"{number}. {phase}: {summary}")
