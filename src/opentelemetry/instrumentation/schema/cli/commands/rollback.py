"""`otel-schema rollback`: reverts migrations under a lock, and says what the database holds afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..._migrations import run
from ..._migrations.errors import MigrationError, RefusedError
from ..._migrations.history import RunRecord, find_last_upgrade
from ..._migrations.plan import MissingRevisionError, Plan, format_heads
from ..._migrations.process import catch_interrupts
from ..._migrations.run import RunResult
from ..._migrations.sdk import record_runs
from .. import migration_output, project
from ..migration_options import RunSettings, make_settings, run_options, tool_options


@click.command()
@click.argument("target", required=False)
@tool_options
@run_options
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="REVISION",
    help="Roll back this revision, even if its downgrade does nothing or its effect is unknown.",
)
def rollback(target: str | None, tool: str | None, **options: Any) -> None:
    """Revert migrations down to TARGET, by default to where the last recorded upgrade began.

    TARGET is a revision, or what Alembic takes: -1, base, branch@-1. Write -1 as `otel-schema rollback -- -1`.

    Exits with 0 if the database is at TARGET, 1 if it is not (failed, partial, refused), 2 if nothing could be run, 3
    if its state is unknown, 130 or 143 if a signal stopped it.
    """
    with catch_interrupts() as noted:
        settings = make_settings(tool, interrupts=noted, **options)
        _refuse_where_there_are_none(Path.cwd())
        try:
            _rollback(target, settings)
        except MissingRevisionError as error:
            raise migration_output.missing_revision_error(settings.history, error, Path.cwd()) from error


def _refuse_where_there_are_none(directory: Path) -> None:
    """Refuse for a project that says that its migrations have no downgrades."""
    if not project.load(directory).downgrades:
        raise RefusedError(
            "this project has no downgrades (pyproject.toml: [tool.otel-schema] downgrades = false), so nothing can be "
            "rolled back. Write a new migration that undoes the change, or restore a backup"
        )


def _rollback(target: str | None, settings: RunSettings) -> None:
    undone = _last_upgrade(settings) if target is None else None
    if undone is not None:
        target = format_heads(undone.undone_to, undone.tool)
        said = {"failed": "failed and changed nothing", "rolled_back": "has gone back already"}.get(
            undone.outcome or ""
        )
        if said:
            settings.say(
                f"{undone.label} {said}, so there is nothing to undo. To go further back, name the revision, as in "
                "otel-schema rollback REVISION"
            )
    if settings.dry_run:
        migration_output.print_dry_run("rollback", "downgrade", target, settings)
        return
    with run.plan_under_lock(
        settings.tool, "downgrade", target, settings.options, settings.say, settings.interrupts
    ) as plan:
        if undone is not None:
            _require_its_undoing(plan, undone)
        if not plan.steps:
            migration_output.print_nothing_to_do("rollback", plan, settings)
            return
        migration_output.print_warnings(settings, plan)
        if not settings.json:
            migration_output.print_plan(plan, sql=False)
        run.refuse_unsafe(plan, settings.options)
        with record_runs() as runs:
            result = run.execute(
                settings.tool, plan, settings.history, settings.options, settings.say, settings.interrupts, runs
            )
        if result.report.changed:
            raise MigrationError(f"{result.report.message}. Nothing was run. Run the command again")
    migration_output.print_outcome("rollback", settings, result, _next(result))


def _last_upgrade(settings: RunSettings) -> RunRecord:
    """The last recorded upgrade.

    Raises:
        RefusedError: if the history does not say to where a rollback would go.
    """
    database, table, heads, known = settings.tool.read_revisions()
    found, why = find_last_upgrade(settings.history.runs(database.identity, str(table)), heads)
    several = found is not None and len(found.undone_to) > 1 and settings.tool.name == "alembic"
    if found is None or several:
        at = format_heads(heads, settings.tool.name)
        if several:
            why = "the history names several revisions, and a rollback goes to one"
        choice = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
        raise RefusedError(
            f"cannot tell where {database} was before {at} (history {settings.history.path}): {why}. Nothing was run. "
            f"Name the revision to go back to, as in otel-schema rollback {known[0] if known else 'base'}. "
            f"Choose from: {f'{choice}, base' if choice else 'base'}"
        )
    return found


def _require_its_undoing(plan: Plan, undone: RunRecord) -> None:
    """Refuse a plan that would undo something else than this upgrade.

    Raises:
        RefusedError: if another run changed the database meanwhile, or revisions would stay or go that must not.
    """
    if sorted(plan.before) != sorted(undone.after or ()):
        raise RefusedError(
            f"another run has changed {plan.database} meanwhile. Nothing was run. Run the command again, or name the "
            "revision to go back to"
        )
    if sorted(plan.after) != sorted(undone.undone_to):
        applied = ", ".join(sorted(set(plan.before) - set(undone.before)))
        raise RefusedError(
            f"a rollback to a revision cannot undo {undone.label} alone: it applied {applied} beside other revisions. "
            "Nothing was run. Name the revision to go back to"
        )


def _next(result: RunResult) -> str:
    if result.reached:
        return migration_output.command_after_dump(result)
    if result.outcome.name == "unknown":
        return "run otel-schema status --url URL as soon as the database answers again"
    if result.outcome.name == "failed" or result.outcome.clean:
        target = format_heads(result.plan.after, result.plan.tool)
        step = f"the downgrade of {result.report.failed}" if result.report.failed else None
        first = migration_output.remedy(result.report, step)
        return f"{f'{first}, then ' if first else ''}run otel-schema rollback {target}"
    after = format_heads(result.after.heads, result.plan.tool) if result.after else "?"
    return f"change the schema by hand to that of {after}: remove the lines with +, restore the lines with -"
