"""What `upgrade` and `rollback` print: plans, warnings and outcomes, with their exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from .._migrations.errors import MigrationError
from .._migrations.history import HistoryFile, RunRecord, find_edited_files, find_runs_with, find_unfinished
from .._migrations.plan import DUMP, Direction, Plan, ToolReport, format_heads
from .._migrations.process import SIGNALS
from .._migrations.run import RunResult, estimate_losses
from . import git
from .migration_options import RunSettings
from .output import FINDING, FINE, INCONCLUSIVE, finish, print_json, tell

_SHOWN: Final = 12  # lines of a schema's difference


def print_plan(plan: Plan, sql: bool) -> None:
    """Print the plan for people."""
    span = {"run": "all in one transaction", "step": "each step in a transaction", "none": "without a transaction"}
    tell(
        f"{plan.direction} {plan.database} ({plan.tool}, table {plan.table}) from "
        f"{format_heads(plan.before, plan.tool)} to {format_heads(plan.after, plan.tool)}, {span[plan.transaction]}:"
    )
    for number, step in enumerate(plan.steps, 1):
        tell(f"  {number}. {step.revision} {step.title}: {step.kind}{f' ({step.why})' if step.why else ''}")
        for note in step.notes:
            tell(f"     {note}")
        if sql:
            text = step.sql if step.sql is not None else "-- not known before it runs"
            for line in text.splitlines() or ["-- nothing"]:
                tell(f"     {line}".rstrip())


def print_dry_run(command: str, direction: Direction, target: str | None, settings: RunSettings) -> None:
    """Print the plan with its SQL and what would be refused. Run nothing.

    Raises:
        MigrationError: as `Tool.plan` does.
    """
    plan = settings.tool.plan(direction, target)
    lost = [sentence for sentence, _ in estimate_losses(plan, settings.options.limits)]
    if settings.json:
        _echo_plan(command, "planned", plan, would_lose=lost)
        return
    if not plan.steps:
        print_nothing_to_do(command, plan, settings)
        return
    print_plan(plan, sql=True)
    for sentence in lost:
        tell(f"{command} would refuse this plan: {sentence}")
    tell(f"dry run: {len(plan.steps)} step{'' if len(plan.steps) == 1 else 's'} planned, none was run")


def print_nothing_to_do(command: str, plan: Plan, settings: RunSettings) -> None:
    """Say that the database is at the target already."""
    if settings.json:
        _echo_plan(command, "nothing", plan)
    else:
        tell(f"nothing to do: {plan.database} is at {format_heads(plan.before, plan.tool)}")


def _echo_plan(command: str, result: str, plan: Plan, **more: Any) -> None:
    print_json({"version": 1, "command": command, "result": result, "exit_code": FINE, **more, "plan": plan.as_data()})


def missing_revision_error(history: HistoryFile, error: Any, directory: Path) -> MigrationError:
    """The error of a revision that this checkout does not have, with what history and Git know of it."""
    runs = history.runs(error.database.identity, str(error.table))
    said: list[str] = []
    for revision in error.missing:
        found = next((run for run in find_runs_with(runs, revision) if run.commit or run.image), None)
        if found is not None:
            said.append(f"{revision} was applied by {_origin(found)}")
        elif commit := git.commit_with(directory, revision):
            said.append(f"{revision} is in commit {commit}")
        else:
            said.append(f"neither the history {history.path} nor Git contains {revision}")
    return MigrationError(f"{error}. {'; '.join(said)}. Nothing was run. Run this command from the code with that file")


def _origin(run: RunRecord) -> str:
    places = [f"image {run.image}" if run.image else "", f"commit {run.commit}" if run.commit else ""]
    return f"{' and '.join(filter(None, places))} on {run.started[:19]}Z by {run.by.get('user')}@{run.by.get('host')}"


def print_warnings(settings: RunSettings, plan: Plan) -> None:
    """Say what the history knows: an earlier run that did not end, applied files that were edited since."""
    runs = settings.history.runs(plan.database.identity, str(plan.table))
    for run in find_unfinished(runs)[:1]:
        settings.say(
            f"{run.label} ({format_heads(run.before, run.tool)} to {format_heads(run.target, run.tool)}) has no "
            "recorded end: somebody killed it, or it is still running"
        )
    if runs and runs[-1].left_halfway:
        settings.say(
            f"{runs[-1].label} stopped in the middle of a step: if nobody has removed its changes since, they stay in "
            "the schema"
        )
    for each in find_edited_files(runs, settings.tool.files()):
        if each.file is not None:
            settings.say(
                f"{each.revision} ({each.file.name}) was edited after it was applied: the database has the effect of "
                "the old file"
            )


def outcome_text(result: RunResult) -> list[str]:
    """How a run ended, for people: what the database holds, what failed, and what to do."""
    plan, report, outcome = result.plan, result.report, result.outcome
    was, target = format_heads(plan.before, plan.tool), format_heads(plan.after, plan.tool)
    failed = f" in {report.failed}" if report.failed else ""
    said = f"{report.refused or report.message}" if (report.refused or report.message) else ""
    lines: list[str] = []
    if outcome.name in ("applied", "rolled_back"):
        lines.append(
            f"{outcome.name.replace('_', ' ')}: {plan.database} is at {target} (was {was}), after "
            f"{result.duration:.1f} s"
        )
        if said:
            lines.append(f"after that, {plan.tool} failed: {said}")
        if outcome.difference:
            lines.append("its schema differs from the one after the last step: something else changes it too")
            lines += _lines(outcome.difference)
    elif outcome.name == "unknown":
        lines.append(f"unknown: {said or plan.tool + ' ended'}{failed}. {result.unread}")
    else:
        after = format_heads(result.after.heads, plan.tool) if result.after else "?"
        what = "refused" if report.refused else outcome.name
        lines.append(f"{what}{failed}: {said or f'{plan.tool} reported no error'}")
        if outcome.name == "failed":
            lines.append(f"{plan.database} is unchanged, at {after}")
        elif outcome.clean:
            lines.append(
                f"{plan.database} is at {after}, between {was} and {target}; its schema is exactly that of {after}"
            )
        else:
            lines.append(f"{plan.database} records {after}, but its schema differs:")
            lines += _lines(outcome.difference)
            if report.dirty:
                lines.append(f"  rows that {report.failed or 'the step'} changed before it failed may be committed")
            if outcome.clean is None:
                lines.append("  otel-schema does not know how")
    if result.unrecorded:
        lines.append(f"the history does not contain this run: {result.unrecorded}")
    return lines


_PRIVILEGE: Final = ("42501", "1044", "1142", "1227", "1370")
_READ_ONLY: Final = ("25006", "1290", "1792", "1836")


def remedy(report: ToolReport, step: str | None) -> str:
    """What to do before the command can succeed; empty if nothing.

    Args:
        report: Of the run that failed.
        step: What failed, for people; None if no step did.
    """
    code = (report.error or "").rpartition(" ")[2]
    if code in _PRIVILEGE:
        return "give the database's user that privilege"
    if code in _READ_ONLY:
        return "connect to the primary server, because this one only reads"
    if report.ok:  # and nothing has changed
        return "let env.py commit: it must call context.run_migrations() in context.begin_transaction()"
    if step is not None:
        return f"correct {step}"
    return "" if report.killed is not None else "correct that"


def command_after_dump(result: RunResult) -> str:
    """The next command where the migrations are done and only the dump of the schema failed."""
    dumped = result.report.error != DUMP
    return "" if dumped else "correct that, then run dbmate dump. The database is at its target"


def _lines(difference: tuple[str, ...]) -> list[str]:
    more = len(difference) - _SHOWN
    shown = [f"  {line}" for line in difference[:_SHOWN]]
    return [*shown, f"  … {more} more"] if more > 0 else shown


def exit_code(result: RunResult) -> int:
    """The exit code of an outcome: 0 target reached, 1 not reached, 3 unknown, 128 + n if signal n interrupted it."""
    if result.report.killed is not None and result.report.killed in SIGNALS:
        return 128 + result.report.killed
    if result.outcome.name == "unknown":
        return INCONCLUSIVE
    return FINE if result.reached and result.report.ok else FINDING


def as_data(command: str, result: RunResult, code: int, next_: str) -> dict[str, Any]:
    """The outcome for machines."""
    return {
        "version": 1,
        "command": command,
        "result": result.outcome.name,
        "exit_code": code,
        "before": list(result.before.heads),
        "after": list(result.after.heads) if result.after else None,
        "target": list(result.plan.after),
        "clean": result.outcome.clean,
        "difference": list(result.outcome.difference),
        "failed": result.report.failed,
        "error": result.report.error,
        "refused": result.report.refused,
        "message": " ".join(outcome_text(result)),
        "duration": round(result.duration, 3),
        "next": next_,
        "plan": result.plan.as_data(),
    }


def print_outcome(command: str, settings: RunSettings, result: RunResult, next_: str, undone: bool = False) -> None:
    """Print an outcome and end with its exit code, which is 1 for an upgrade that was undone."""
    code = FINDING if undone and exit_code(result) == FINE else exit_code(result)
    if settings.json:
        print_json(as_data(command, result, code, next_))
    else:
        for line in outcome_text(result):
            tell(line)
        if next_:
            tell(f"next: {next_}")
    finish(code)
