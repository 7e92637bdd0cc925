"""`otel-schema upgrade`: applies migrations under a lock, and says what the database holds afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..._migrations import run
from ..._migrations.errors import MigrationError
from ..._migrations.plan import SAFE, MissingRevisionError, Plan, format_heads
from ..._migrations.process import catch_interrupts
from ..._migrations.run import RunResult
from ..._migrations.sdk import record_runs
from .. import migration_output, upgrade_guard
from ..migration_options import RunSettings, make_settings, run_options, tool_options
from ..output import finish, print_json, tell


@click.command()
@click.argument("target", required=False)
@tool_options
@run_options
@click.option(
    "--on-failure",
    type=click.Choice(("stay", "rollback")),
    default="stay",
    show_default=True,
    help="`rollback`: go back to the revision before the run, if each completed step can be undone without loss.",
)
@upgrade_guard.upgrade_options
def upgrade(
    target: str | None, on_failure: str, tool: str | None, guard_options: upgrade_guard.GuardOptions, **options: Any
) -> None:
    """Apply the pending migrations up to TARGET (default: all).

    TARGET is a revision, or what Alembic takes: head, heads, +1, branch@head.

    Exits with 0 if the database is at TARGET, 1 if it is not (failed, partial, refused), 2 if nothing could be run, 3
    if its state is unknown, 130 or 143 if a signal stopped it. With --guard: 0 for pass, 1 for
    degraded, 3 for inconclusive.
    """
    with catch_interrupts() as noted:
        settings = make_settings(tool, interrupts=noted, **options)
        prepare = upgrade_guard.prepare_guard(settings, guard_options)
        try:
            _upgrade(target, on_failure == "rollback", settings, prepare)
        except MissingRevisionError as error:
            raise migration_output.missing_revision_error(settings.history, error, Path.cwd()) from error


def _upgrade(
    target: str | None, rollback: bool, settings: RunSettings, prepare: Callable[[Plan], upgrade_guard.Guard | None]
) -> None:
    if settings.dry_run:
        migration_output.print_dry_run("upgrade", "upgrade", target, settings)
        return
    with run.plan_under_lock(
        settings.tool, "upgrade", target, settings.options, settings.say, settings.interrupts
    ) as plan:
        if not plan.steps:
            migration_output.print_nothing_to_do("upgrade", plan, settings)
            return
        migration_output.print_warnings(settings, plan)
        if not settings.json:
            migration_output.print_plan(plan, sql=False)
        run.refuse_unsafe(plan, settings.options)
        guard = prepare(plan)
        began = time.time()
        with record_runs() as runs:
            result = run.execute(
                settings.tool, plan, settings.history, settings.options, settings.say, settings.interrupts, runs
            )
        ended = time.time()
        if result.report.changed:
            raise MigrationError(f"{result.report.message}. Nothing was run. Run the command again")
        next_ = _next(result)
        if rollback and not result.reached:
            failed, result = result.report.failed, _back(plan, result, settings)
            if result.plan.direction == "downgrade":
                next_ = f"correct {failed}, then run otel-schema upgrade again" if result.reached else _next(result)
    if guard is None or result.outcome.name != "applied" or migration_output.exit_code(result):
        migration_output.print_outcome("upgrade", settings, result, next_, undone=result.plan.direction == "downgrade")
        return
    if not settings.json:
        for line in migration_output.outcome_text(result):
            tell(line)
    ending = upgrade_guard.watch_upgrade(guard, settings, plan, began, ended)
    if settings.json:
        print_json({**migration_output.as_data("upgrade", result, ending.code, next_), "guard": ending.as_data()})
    else:
        upgrade_guard.print_ending(ending)
    finish(ending.code)


def _next(result: RunResult) -> str:
    if result.reached:
        return migration_output.command_after_dump(result)
    if result.outcome.name == "unknown":
        return "run otel-schema status --url URL as soon as the database answers again"
    first = migration_output.remedy(result.report, result.report.failed)
    again = f"{first}, then run otel-schema upgrade again" if first else "run otel-schema upgrade again"
    if result.report.lock_timeout:
        again = "run otel-schema upgrade again when the blocking session has ended"
    if result.report.refused:
        table = "TABLE"
        step = next((step for step in result.plan.steps if step.revision == result.report.failed), None)
        if step is not None and step.losses:
            table = step.losses[0].name
        again = f"save the rows, or accept the loss: otel-schema upgrade --allow-data-loss {table}"
    if result.outcome.name == "failed":
        return again
    if result.outcome.clean:
        return f"{again}; or go back: otel-schema rollback {format_heads(result.plan.before, result.plan.tool)}"
    after = format_heads(result.after.heads, result.plan.tool) if result.after else "?"
    recorded = f"add it to {result.plan.table}" if result.plan.tool == "dbmate" else "stamp it"
    return (
        f"change the schema by hand to that of {after} (remove the lines with +, restore the lines with -), then run "
        f"otel-schema upgrade again; or complete {result.report.failed or 'the step'} by hand and {recorded}"
    )


def _back(plan: Plan, result: RunResult, settings: RunSettings) -> RunResult:
    """Return to where the run began, if that loses nothing; else says why not."""
    why_not = run.rollback_obstacle(plan, result)
    if settings.interrupts.received is not None:
        why_not = "a signal stopped the command"
    if why_not is None:
        try:
            back = settings.tool.plan("downgrade", format_heads(plan.before, plan.tool))
            unsafe = [step for step in back.steps if step.kind not in SAFE]
            if unsafe:
                why_not = f"{unsafe[0].revision} is {unsafe[0].kind}: {unsafe[0].why}"
            elif back.after != plan.before:
                why_not = f"a rollback would end at {format_heads(back.after, back.tool)}"
            else:
                run.refuse_unsafe(back, settings.options)
                settings.say(
                    f"{' '.join(migration_output.outcome_text(result))}. Rolling back to "
                    f"{format_heads(plan.before, plan.tool)}"
                )
                with record_runs() as runs:
                    back_again = run.execute(
                        settings.tool, back, settings.history, settings.options, settings.say, None, runs
                    )
                return back_again
        except MigrationError as error:
            why_not = str(error)
    settings.say(f"no rollback: {why_not}")
    return result
