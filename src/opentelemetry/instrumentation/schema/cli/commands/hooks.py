"""`otel-schema hooks`: what is wrong with migrations, found before they are committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..._migrations.git_hooks import install as installing
from ..._migrations.git_hooks.check import CheckResult, HookScope, check
from ..._migrations.git_hooks.codes import HookFinding
from ..._migrations.git_hooks.git import GitError
from ..._migrations.git_hooks.staged import Staged
from ..._migrations.git_hooks.staged_migrations import MigrationPaths
from .. import project, reporting
from ..output import USAGE, UsageError, echo, finish
from ..reporting import Item, Report


@click.group()
def hooks() -> None:
    """Check migrations in Git hooks and pull requests.

    `install` makes Git run `check` before each commit. docs/git-hooks.md lists what it finds.
    """


def _project_option(function: Any) -> Any:
    return click.option(
        "--project",
        "directory",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=".",
        show_default=True,
        help="The directory of pyproject.toml, alembic.ini and the lock.",
    )(function)


@hooks.command("check")
@click.option(
    "--base", metavar="REF", envvar="PRE_COMMIT_FROM_REF", help="Check all changes of a pull request into this branch."
)
@_project_option
@reporting.format_option
def check_command(base: str | None, directory: Path, format_: str) -> None:
    """Check what is staged: the migrations, and the models that need them.

    Reads Git's index. Imports no application, and needs no database.

    Exits with 1 if there is a finding, and with 2 if it could not run.
    """
    settings = project.load(directory.resolve())
    try:
        staged = Staged(settings.root, base, settings.base)
        scope = _scope(settings, staged)
        result = check(staged, scope)
    except GitError as error:
        raise UsageError(str(error)) from error
    report = _report(result, scope)
    if report.items or result.concerned or format_ != "text":
        echo(reporting.render(report, format_))
    finish(report.exit_code)


def _scope(settings: project.Project, staged: Staged) -> HookScope:
    top = staged.top
    root = settings.root.relative_to(top).as_posix()
    prefix = "" if root == "." else f"{root}/"
    found = tuple(
        MigrationPaths(each.tool, tuple(_below(top, one) for one in each.directories), each.table.name)
        for each in project.migrations_of(settings)
    )
    lock = f"{prefix}{settings.lock}"
    if not found and not settings.lock_path.exists():
        raise UsageError(
            f"found no migrations and no {settings.lock} in {settings.root}: give --project, or name the directories "
            'of the migrations in pyproject.toml, as in [tool.otel-schema] migrations = ["migrations/versions"]'
        )
    return HookScope(root=prefix.rstrip("/"), migrations=found, lock=lock, downgrades=settings.downgrades)


def _below(top: Path, directory: Path) -> str:
    try:
        return directory.resolve().relative_to(top).as_posix()
    except ValueError:
        raise UsageError(
            f"the migrations in {directory} are outside of the Git work tree {top}: correct pyproject.toml, "
            "[tool.otel-schema] migrations"
        ) from None


def _report(result: CheckResult, scope: HookScope) -> Report:
    items = [_item(each) for each in result.findings]
    items += [_item(each, "a comment in the file") for each in result.allowed]
    blocking = sum(each.counts for each in items)
    said = [f"{blocking} finding{'' if blocking == 1 else 's'}" if blocking else "no finding"]
    if result.allowed:
        said.append(f"{len(result.allowed)} allowed")
    migrations = f"{result.migrations} migration{'' if result.migrations == 1 else 's'}"
    return Report(
        command="hooks check",
        result="findings" if blocking else "fine",
        summary=f"otel-schema: {', '.join(said)} in {migrations}",
        items=items,
        details={
            "directories": [one for each in scope.migrations for one in each.directories],
            "merged": result.merged,
        },
        lines=True,
    )


def _item(finding: HookFinding, approval: str | None = None) -> Item:
    return Item(
        code=finding.code,
        level="error" if finding.blocks else "warning",
        subject=finding.file,
        message=finding.what,
        why=finding.fix,
        file=finding.file,
        line=finding.line,
        approval=approval,
        details={"word": "error" if finding.blocks else "warning"},
    )


@hooks.command("install")
@_project_option
def install_command(directory: Path) -> None:
    """Make Git run the checks.

    Writes the hooks pre-commit and pre-merge-commit, and pre-push where there is a lock. A hook that is there stays
    and runs first. Under husky the lines go into its files; for lefthook they are printed.

    Exits with 2 if Git does not run the checks now.
    """
    _finish(installing.install, directory)


@hooks.command("uninstall")
@_project_option
def uninstall_command(directory: Path) -> None:
    """Remove the hooks again, and restore what was there."""
    _finish(installing.uninstall, directory)


def _finish(change: Any, directory: Path) -> None:
    settings = project.load(directory.resolve())
    try:
        done = change(settings.root, settings.lock)
    except (GitError, installing.HookError) as error:
        raise UsageError(str(error)) from error
    for line in done.lines:
        echo(line)
    finish(0 if done.active else USAGE)
