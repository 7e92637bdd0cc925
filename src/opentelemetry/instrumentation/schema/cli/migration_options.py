"""The options of `upgrade` and `rollback`, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from .._migrations.database import parse
from .._migrations.history import NAME, HistoryFile
from .._migrations.plan import Limits, Tool
from .._migrations.process import Interrupts
from .._migrations.run import Options
from . import git
from .output import UsageError, echo

TOOLS: Final = ("alembic", "dbmate")


@dataclass(frozen=True)
class RunSettings:
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
    from .._schemas.migrations import dbmate_settings

    ini = Path("alembic.ini")
    directories, table = dbmate_settings(Path())
    if name is None and config is not None:
        name = "dbmate" if config.is_dir() else "alembic"
    if name is None:
        files = any(any(each.glob("*.sql")) for each in directories)
        found = [tool for tool, there in (("alembic", ini.exists()), ("dbmate", files)) if there]
        place = ", ".join(map(str, directories))
        if not found:
            raise UsageError(
                f"found neither alembic.ini nor {place} here: run this in the directory that contains one of "
                "them, or name alembic.ini or DBMate's directory with --config"
            )
        if len(found) == 2:
            raise UsageError(f"found both alembic.ini and {place} here: choose with --tool alembic or --tool dbmate")
        name = found[0]
    paths = (config,) if config is not None else directories if name == "dbmate" else (ini,)
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist: name it with --config")
    if name == "dbmate":
        return Dbmate(paths, url, interrupts, table)
    return Alembic(paths[0], x=x, url=url, interrupts=interrupts)


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
) -> RunSettings:
    """Make the settings of the options."""
    if url is not None:
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
    return RunSettings(found, HistoryFile(history), options, dry_run, json_, interrupts)
