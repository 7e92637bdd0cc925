"""`otel-schema status`: environments side by side, by what their databases hold and what their apps report."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..._prometheus.http import Access
from ..._prometheus.selector import Selector
from ..._schemas.revisions import find_unreadable
from .. import project
from ..connection import match_option, reads_urls
from ..output import FINDING, INCONCLUSIVE, Screen, UsageError, echo, echo_json, finish, text

if TYPE_CHECKING:
    from ..._migrations.environments import TableRevisions
    from ..._migrations.refs import Refs
    from ..._prometheus.deployments import Deployment, Deployments
    from ..._schemas.migrations import Migrations
    from ..._schemas.revisions import RevisionGraph

_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(?=[A-Za-z][A-Za-z0-9+.]*:)")
_REFS: Final = 5
"""Refs that a cell names."""


@dataclass(frozen=True)
class _Row:
    """One version table of one environment, beside the code."""

    environment: str
    database: str
    found: TableRevisions | None
    problem: str = ""
    state: str = "unknown"
    pending: tuple[str, ...] = ()
    refs: dict[str, list[str]] | None = None
    deployment: Deployment | None = None

    @property
    def lost(self) -> list[str]:
        """Revisions that no ref holds."""
        return [each for each, names in (self.refs or {}).items() if not names]


@click.command()
@click.option(
    "--url",
    "urls",
    metavar="[NAME=]URL",
    multiple=True,
    help="An environment's database, such as staging=postgresql://…; repeat it. `$VARIABLE` instead of a URL keeps "
    "passwords out of the process list.",
)
@click.option("--prometheus", metavar="URL", help="A Prometheus that scrapes the environments' apps.")
@click.option(
    "--history",
    "runs",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".otel-schema/history.jsonl"),
    show_default=True,
    envvar="OTEL_SCHEMA_HISTORY",
    help="The file in which `upgrade` and `rollback` recorded their runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@match_option
@reads_urls
def status(
    urls: tuple[str, ...], prometheus: str | None, runs: Path, as_json: bool, selector: Selector, access: Access
) -> None:
    """Show environments side by side: revisions, pending migrations, Git refs, releases and API versions.

    Reads the databases, the migration files of this checkout, and the branches and tags of its repository; writes
    nothing. With --prometheus, the environment NAME has the apps with deployment.environment.name="NAME".

    Exits with 1 if a database has a revision that no Git ref contains, 2 for a usage error, and 3 if it cannot read a
    database.
    """
    if not urls:
        raise UsageError(
            "no database is named: give one --url for each environment, such as --url staging=postgresql://host/name"
        )
    settings = project.load(Path.cwd(), ())
    lines = {line: project.read_history(line) for line in project.migrations_of(settings)}
    if not lines:
        raise UsageError(
            f"found no migrations in {settings.root}: run this in the directory that contains alembic.ini or "
            "db/migrations, or name their directories in pyproject.toml: [tool.otel-schema] migrations"
        )
    deployments = _deployments(prometheus, access, selector)
    refs, notes = _refs(lines)
    for history in lines.values():
        for revision, files in history.duplicates.items():
            notes.append(f"{len(files)} files have the revision {revision}: {', '.join(each.name for each in files)}")
    notes += [
        f"{file.name} is not valid Python, so its revision is left out: correct it, because Alembic loads every file"
        for line in lines
        if line.tool == "alembic"
        for file in find_unreadable(*line.directories)
    ]
    rows = [row for url in urls for row in _read(url, lines, refs, deployments)]
    notes += _ambiguous(rows, deployments)
    notes += [f"{row.environment}: {row.problem}" for row in rows if row.problem]
    for row in rows:
        for each in row.lost:
            notes.append(
                f"{row.environment}: no Git ref contains revision {each}. If its commit is pushed, run: git fetch "
                f"--all --tags. Otherwise find out who migrated {row.database}, and ask them to push it"
            )
    for row in rows:
        notes += _recorded(row, lines, runs)
    if as_json:
        echo_json({"environments": [_document(row) for row in rows], "notes": notes})
    else:
        _print(rows, notes)
    if any(row.lost for row in rows):
        finish(FINDING)
    if any(row.found is None or row.found.revisions is None for row in rows):
        finish(INCONCLUSIVE)


def _deployments(url: str | None, access: Access, selector: Selector) -> Deployments | None:
    if url is None:
        return None
    from ..._prometheus.deployments import Deployments
    from ..._prometheus.server import Prometheus
    from ..._prometheus.sources import open_source

    source = open_source(url, None, access, selector)
    if not isinstance(source, Prometheus):
        raise UsageError(f"{source.name} is not a Prometheus: give its base URL, such as http://host:9090")
    return Deployments(source)


def _refs(lines: dict[Migrations, RevisionGraph]) -> tuple[dict[Migrations, Refs], list[str]]:
    from ..._migrations import refs
    from ..._migrations.git_hooks.git import GitError

    found: dict[Migrations, Refs] = {}
    notes: list[str] = []
    for line in lines:
        try:
            found[line] = refs.read(line, lambda message: echo(message, err=True))
        except GitError as error:
            notes.append(f"the Git refs are unknown: {error}")
            continue
        if found[line].more:
            notes.append(f"status read only the latest {refs.MAX_REFS} Git refs")
    return found, notes


def _read(
    given: str, lines: dict[Migrations, RevisionGraph], refs: dict[Migrations, Refs], deployments: Deployments | None
) -> list[_Row]:
    """The rows of one `--url`."""
    from ..._migrations import database, environments
    from ..._migrations.errors import MigrationError

    match = _NAMED.match(given) or re.match(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(?=\$)", given)
    name, url = (match[1], given[match.end() :]) if match else ("", given)
    url = _from_environment(url)
    try:
        where = database.parse(url)
    except MigrationError as error:
        raise UsageError(f"{name}: {error}" if name else str(error)) from None
    name = name or where.identity
    try:
        every = environments.read(where, dict.fromkeys(line.table for line in lines))
    except MigrationError as error:
        return [_Row(name, str(where), None, str(error))]
    if not every:
        tables = ", ".join(sorted({line.table.name for line in lines}))
        why = f"{where} has no table {tables} that this user can see: no migration ran there, or a privilege is missing"
        return [_Row(name, str(where), None, why)]
    rows: list[_Row] = []
    for found in every:
        mine = [line for line in lines if line.table == found.table]
        line = max(mine, key=lambda one: len(set(found.revisions or ()) & lines[one].by_id.keys()))
        history, known = lines[line], refs.get(line)
        pending = () if found.revisions is None else tuple(each.id for each in history.pending(found.revisions))
        problem = f"cannot read {found.table.name}: {found.problem}" if found.problem else ""
        if history.contradicting(found.revisions or ()):
            both = ", ".join(found.revisions or ())
            problem = (
                f"the rows of {found.table.name} contradict each other ({both}): one of these revisions comes before "
                "another. Delete the row of the older one"
            )
        deployment = None
        if deployments is not None:
            deployment = deployments.of(name if match else None, found.tool, found.namespace)
        rows.append(
            _Row(
                name,
                str(where),
                found,
                problem,
                environments.compare_with_files(history, found, known.parents if known else {}),
                pending,
                {each: known.refs_with.get(each, []) for each in found.heads} if known else None,
                deployment,
            )
        )
    return rows


def _recorded(row: _Row, lines: dict[Migrations, RevisionGraph], path: Path) -> list[str]:
    """What the history of runs knows of a database: runs that did not end, applied files that were edited since."""
    from ..._migrations import history
    from ..._migrations.errors import MigrationError

    found = row.found
    if found is None:
        return []
    try:
        every = history.HistoryFile(path).runs(row.database)
    except MigrationError as error:
        return [str(error)]
    runs = [run for run in every if run.tool == found.tool and run.table.rpartition(".")[2] == found.table.name]
    files = {name: each.file for line in lines.values() for name, each in line.by_id.items()}
    notes = [
        f"{row.environment}: {run.label} has no recorded end: somebody killed it, or it is still running"
        for run in history.find_unfinished(runs)[:1]
    ]
    if runs and runs[-1].left_halfway:
        notes.append(
            f"{row.environment}: {runs[-1].label} stopped in the middle of a step: its changes may still be in the "
            "schema"
        )
    notes += [
        f"{row.environment}: {each.revision} ({each.file.name}) was edited after it was applied. Restore it, "
        "and write the change in a new revision"
        for each in history.find_edited_files(runs, files)
        if each.file is not None
    ]
    return notes


def _from_environment(url: str) -> str:
    if not url.startswith("$"):
        return url
    variable = url[1:].strip("{}")
    value = os.environ.get(variable)
    if not value:
        raise UsageError(
            f"--url {url}: the environment variable {variable} is not set. Export it, or give the URL itself"
        )
    return value


def _ambiguous(rows: list[_Row], deployments: Deployments | None) -> list[str]:
    """What Prometheus could not be asked precisely."""
    if deployments is None:
        return []
    notes: list[str] = []
    for row in rows:
        if row.deployment is not None and not row.deployment.states:
            known = ", ".join(sorted(deployments.environments)) or "none"
            notes.append(
                f"{row.environment}: no app in Prometheus reports this database. status looks for apps whose "
                f"deployment.environment.name is NAME of --url NAME=URL (Prometheus has: {known}), or else for apps "
                "that report a database of this name"
            )
    unnamed = [row for row in rows if row.found is not None and row.environment == row.database]
    spaces = [row.found.namespace for row in unnamed if row.found is not None]
    if len(spaces) != len(set(spaces)):
        notes.append(
            "several databases have the same name, so status cannot tell their apps apart: name the environments, "
            "--url NAME=URL"
        )
    return notes


def _cells(row: _Row) -> dict[str, str]:
    found = row.found
    cells = {
        "database": row.database,
        "tool": found.tool if found else "",
        "revision": found.text if found else "",
        "state": row.state,
        "pending": str(len(row.pending)) if found and found.revisions is not None else "",
        "Git refs": _ref_cell(row),
    }
    if row.deployment is not None:
        seen = sorted(row.deployment.states.items())
        cells |= {
            "release": ", ".join(sorted(row.deployment.releases)),
            "commit": ", ".join(each[:12] for each in sorted(row.deployment.commits)),
            "apps see": ", ".join(f"{revision or '?'} {state} ({number})" for (revision, state), number in seen),
            "API versions": ", ".join(
                f"{name} {'/'.join(sorted(versions))}" for name, versions in sorted(row.deployment.versions.items())
            ),
        }
    return cells


def _ref_cell(row: _Row) -> str:
    if row.refs is None:
        return "unknown"
    parts: list[str] = []
    for revision, names in row.refs.items():
        shown = ", ".join(names[:_REFS]) + (f" and {len(names) - _REFS} more" if len(names) > _REFS else "")
        parts.append(f"{revision}: {shown or 'none'}" if len(row.refs) > 1 else shown or "none")
    return "; ".join(parts)


def _print(rows: list[_Row], notes: list[str]) -> None:
    from rich.table import Table

    table = Table(title="Environments", title_justify="left", title_style="bold cyan", border_style="dim")
    table.add_column("", style="bold")
    for row in rows:
        table.add_column(text(row.environment), overflow="fold")
    columns = [_cells(row) for row in rows]
    for what in dict.fromkeys(key for cells in columns for key in cells):
        values = [cells.get(what, "") for cells in columns]
        differ = len(set(values)) > 1 and what in ("revision", "state", "release", "commit", "API versions")
        table.add_row(what, *(text(value, "yellow" if differ else "") for value in values))
    Screen().print(table)
    for note in notes:
        echo(note)


def _document(row: _Row) -> dict[str, Any]:
    found, deployment = row.found, row.deployment
    document: dict[str, Any] = {
        "environment": row.environment,
        "database": row.database,
        "tool": found.tool if found else None,
        "namespace": found.namespace if found else None,
        "revisions": list(found.heads) if found and found.revisions is not None else None,
        "state": row.state,
        "pending": list(row.pending),
        "refs": row.refs,
        "problem": row.problem or None,
    }
    if deployment is not None:
        document["apps"] = {
            "releases": sorted(deployment.releases),
            "commits": sorted(deployment.commits),
            "states": [
                {"revision": revision, "state": state, "series": number}
                for (revision, state), number in sorted(deployment.states.items())
            ],
            "versions": {name: sorted(versions) for name, versions in sorted(deployment.versions.items())},
        }
    return document
