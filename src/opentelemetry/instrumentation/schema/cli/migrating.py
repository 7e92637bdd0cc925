"""What `upgrade` and `rollback` share: options, the text of plans and outcomes, exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from .._migrations.database import parse
from .._migrations.errors import MigrationError
from .._migrations.history import NAME, HistoryFile, RunRecord, find_edited_files, find_runs_with, find_unfinished
from .._migrations.plan import DUMP, Direction, Limits, Plan, Tool, format_heads
from .._migrations.process import Interrupts
from .._migrations.run import Options, RunResult, estimate_losses
from . import git
from .output import FINDING, FINE, INCONCLUSIVE, UsageError, echo, echo_json, finish

TOOLS: Final = ("alembic", "dbmate")
_SHOWN: Final = 12  # lines of a schema's difference


@dataclass(frozen=True)
class Settings:
    """The settings of a run, from the command line.

    Attributes:
        tool: The migration tool with its settings.
        history: The file that records runs.
        options: How to run a plan.
        dry_run: Whether to print only what would be done.
        json: Whether to print JSON.
        interrupts: Notes signals.
    """

    tool: Tool
    history: HistoryFile
    options: Options
    dry_run: bool
    json: bool
    interrupts: Interrupts

    def say(self, message: str) -> None:
        """Print progress, on stderr: stdout is for the result."""
        echo(message, err=True)


def tool_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say which database and which migrations."""
    for option in reversed(
        (
            click.option("--tool", type=click.Choice(TOOLS), help="The migration tool.  [default: the one found here]"),
            click.option(
                "--url",
                envvar="OTEL_SCHEMA_DATABASE_URL",
                metavar="URL",
                help="The database: the server itself, not a transaction pooler.  [default: that of env.py, or "
                "DATABASE_URL for DBMate]",
            ),
            click.option(
                "--config",
                type=click.Path(path_type=Path),
                help="alembic.ini, or DBMate's directory of migrations.  [default: alembic.ini, db/migrations]",
            ),
            click.option(
                "-x", "x", multiple=True, metavar="NAME=VALUE", help="Pass this to env.py, as `alembic -x` does."
            ),
            click.option(
                "--history",
                type=click.Path(dir_okay=False, path_type=Path),
                default=NAME,
                show_default=True,
                envvar="OTEL_SCHEMA_HISTORY",
                help="Record runs in this file, as JSON lines. Keep it on a disk that outlives the container.",
            ),
        )
    ):
        function = option(function)
    return function


def run_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say how a plan is run."""
    for option in reversed(
        (
            click.option("--dry-run", is_flag=True, help="Print the plan with its SQL, and run nothing."),
            click.option(
                "--allow-data-loss",
                "lossy",
                multiple=True,
                metavar="TABLE",
                help="Allow this table to lose rows. Repeat it for each table.",
            ),
            click.option(
                "--lock-timeout",
                metavar="SECONDS",
                type=click.FloatRange(min=0.001),
                default=5.0,
                show_default=True,
                help="How long a statement waits for a lock.",
            ),
            click.option(
                "--statement-timeout",
                metavar="SECONDS",
                type=click.FloatRange(min=0.001),
                help="How long a statement may run.  [default: no limit]",
            ),
            click.option(
                "--retries",
                metavar="NUMBER",
                type=click.IntRange(min=0),
                default=3,
                show_default=True,
                help="How often to try again after a lock time-out, 10 s apart.",
            ),
            click.option("--retry-pause", type=click.FloatRange(min=0), default=10.0, hidden=True),
            click.option(
                "--wait",
                metavar="SECONDS",
                type=click.FloatRange(min=0),
                default=30.0,
                show_default=True,
                help="How long to wait for another run on this database.",
            ),
            click.option(
                "--image",
                metavar="NAME",
                envvar="OTEL_SCHEMA_IMAGE",
                help="The image or release that runs the migrations, for the history.",
            ),
            click.option("--json", "json_", is_flag=True, help="Print one JSON object."),
        )
    ):
        function = option(function)
    return function


def find_tool(
    name: str | None, config: Path | None, url: str | None, x: tuple[str, ...], interrupts: Interrupts | None
) -> Tool:
    """The migration tool of the project in the current directory.

    Raises:
        UsageError: if none is found, or two are.
    """
    from .._migrations.tools.alembic import Alembic
    from .._migrations.tools.dbmate import Dbmate

    ini, directory = Path("alembic.ini"), Path("db/migrations")
    if name is None and config is not None:
        name = "dbmate" if config.is_dir() else "alembic"
    if name is None:
        found = [tool for tool, there in (("alembic", ini.exists()), ("dbmate", any(directory.glob("*.sql")))) if there]
        if not found:
            raise UsageError(
                "found neither alembic.ini nor db/migrations here: run this in the directory that contains one of "
                "them, or name alembic.ini or DBMate's directory with --config"
            )
        if len(found) == 2:
            raise UsageError(
                "found both alembic.ini and db/migrations here: choose with --tool alembic or --tool dbmate"
            )
        name = found[0]
    path = config or (ini if name == "alembic" else directory)
    if not path.exists():
        raise UsageError(f"{path} does not exist: name it with --config")
    if name == "dbmate":
        return Dbmate(path, url, interrupts)
    return Alembic(path, x=x, url=url, interrupts=interrupts)


@contextmanager
def one_line_errors(json: bool = False) -> Generator[None]:
    """End with the exit code of a migration's error and one line, with --json also as JSON."""
    try:
        yield
    except MigrationError as error:
        message = " ".join(str(error).split())
        if json:
            echo_json({"version": 1, "result": "error", "exit_code": error.code, "message": message})
        echo(f"Error: {message}", err=True)
        sys.exit(error.code)


def print_plan(plan: Plan, sql: bool) -> None:
    """Print the plan for people."""
    span = {"run": "all in one transaction", "step": "each step in a transaction", "none": "without a transaction"}
    echo(
        f"{plan.direction} {plan.database} ({plan.tool}, table {plan.table}) from "
        f"{format_heads(plan.before, plan.tool)} to {format_heads(plan.after, plan.tool)}, {span[plan.transaction]}:"
    )
    for number, step in enumerate(plan.steps, 1):
        echo(f"  {number}. {step.revision} {step.title}: {step.kind}{f' ({step.why})' if step.why else ''}")
        for note in step.notes:
            echo(f"     {note}")
        if sql:
            text = step.sql if step.sql is not None else "-- not known before it runs"
            for line in text.splitlines() or ["-- nothing"]:
                echo(f"     {line}".rstrip())


def print_dry_run(command: str, direction: Direction, target: str | None, settings: Settings) -> None:
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
        echo(f"{command} would refuse this plan: {sentence}")
    echo(f"dry run: {len(plan.steps)} step{'' if len(plan.steps) == 1 else 's'} planned, none was run")


def print_nothing_to_do(command: str, plan: Plan, settings: Settings) -> None:
    """Say that the database is at the target already."""
    if settings.json:
        _echo_plan(command, "nothing", plan)
    else:
        echo(f"nothing to do: {plan.database} is at {format_heads(plan.before, plan.tool)}")


def _echo_plan(command: str, result: str, plan: Plan, **more: Any) -> None:
    echo_json({"version": 1, "command": command, "result": result, "exit_code": FINE, **more, "plan": plan.as_data()})


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


def print_warnings(settings: Settings, plan: Plan) -> None:
    """Say what the history knows: an earlier run that did not end, applied files that were edited since."""
    runs = settings.history.runs(plan.database.identity, str(plan.table))
    for run in find_unfinished(runs)[:1]:
        settings.say(
            f"the run of {run.started[:19]}Z by {run.by.get('user')}@{run.by.get('host')} "
            f"({format_heads(run.before, run.tool)} to {format_heads(run.target, run.tool)}) has no recorded end: "
            "somebody killed it, or it is still running"
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
    if result.report.killed is not None and result.report.killed in (signal.SIGINT, signal.SIGTERM):
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


def make_settings(
    tool: str | None,
    url: str | None,
    config: Path | None,
    x: tuple[str, ...],
    history: Path,
    interrupts: Interrupts,
    *,
    dry_run: bool,
    lossy: tuple[str, ...],
    lock_timeout: float,
    statement_timeout: float | None,
    retries: int,
    retry_pause: float,
    wait: float,
    image: str | None,
    json_: bool,
    accepted: tuple[str, ...] = (),
) -> Settings:
    """Make the settings of the options."""
    if url is not None:
        with one_line_errors(json_):
            parse(url)
    found = find_tool(tool, config, url, x, interrupts)
    options = Options(
        limits=Limits(lock_timeout=lock_timeout, statement_timeout=statement_timeout, lossy=frozenset(lossy)),
        wait=wait,
        retries=retries,
        pause=retry_pause,
        accepted=frozenset(accepted),
        commit=git.head(Path.cwd()),
        image=image,
    )
    return Settings(found, HistoryFile(history), options, dry_run, json_, interrupts)


def print_outcome(command: str, settings: Settings, result: RunResult, next_: str, undone: bool = False) -> None:
    """Print an outcome and end with its exit code, which is 1 for an upgrade that was undone."""
    code = FINDING if undone and exit_code(result) == FINE else exit_code(result)
    if settings.json:
        echo_json(as_data(command, result, code, next_))
    else:
        for line in outcome_text(result):
            echo(line)
        if next_:
            echo(f"next: {next_}")
    finish(code)
