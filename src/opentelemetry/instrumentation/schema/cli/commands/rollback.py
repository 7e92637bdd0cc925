"""`otel-schema rollback`: reverts migrations under a lock, and says what the database holds afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..._migrations import run
from ..._migrations.errors import MigrationError, RefusedError
from ..._migrations.history import find_last_upgrade
from ..._migrations.plan import MissingRevisionError, format_heads
from ..._migrations.process import catch_interrupts
from ..._migrations.run import RunResult
from ..._migrations.sdk import record_runs
from .. import migration_output, project
from ..migration_options import RunSettings, make_settings, run_options, tool_options
from ..output import migration_errors


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
        with migration_errors(settings.json):
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
    if target is None:
        target = _previous(settings)
    if settings.dry_run:
        migration_output.print_dry_run("rollback", "downgrade", target, settings)
        return
    with run.plan_under_lock(settings.tool, "downgrade", target, settings.options, settings.say) as plan:
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


def _previous(settings: RunSettings) -> str:
    """The revision that the last recorded upgrade began at."""
    database, table, heads, known = settings.tool.read_revisions()
    run_ = find_last_upgrade(settings.history.runs(database.identity, str(table)), heads)
    if run_ is None or (len(run_.before) > 1 and settings.tool.name == "alembic"):
        choice = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
        raise RefusedError(
            f"the history {settings.history.path} does not say where {database} was before "
            f"{format_heads(heads, settings.tool.name)}: name the revision to go back to, as in "
            f"otel-schema rollback {known[0] if known else 'base'}. "
            f"Choose from: {f'{choice}, base' if choice else 'base'}"
        )
    return format_heads(run_.before, run_.tool)


def _next(result: RunResult) -> str:
    if result.reached:
        return migration_output.command_after_dump(result)
    if result.outcome.name == "unknown":
        return "run otel-schema status --url URL as soon as the database answers again"
    if result.outcome.name == "failed" or result.outcome.clean:
        target = format_heads(result.plan.after, result.plan.tool)
        return f"correct the downgrade of {result.report.failed}, then run otel-schema rollback {target}"
    after = format_heads(result.after.heads, result.plan.tool) if result.after else "?"
    return f"change the schema by hand to that of {after}: remove the lines with +, restore the lines with -"
