"""`otel-schema init`: looks at a project and writes what it needs to be measured."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from ..._monitoring import writing
from ..._monitoring.values import ParameterError
from ..output import UsageError, describe, echo
from ..setup.files import FOLDER, ONE_PROCESS, Answers, compose_command, render_files, variables
from ..setup.found import FoundProject, look

LONG: Final = 25
"""Lines of a new file of which no more than the number is shown."""

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_HOW_TO: Final = "docs/how-to (FastAPI, Flask, Django, workers, Kubernetes)"


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--service", metavar="NAME", help="The service's name.  [default: that of the directory]")
@click.option("--where", type=click.Choice(["bare", "compose", "kubernetes"]), help="Where the app runs.")
@click.option(
    "--workers/--one-process", "several", default=None, help="Whether the server starts more than one process."
)
@click.option("--environment", metavar="NAME", help="Such as prod. Alerts and panels show each environment separately.")
@click.option("--hooks/--no-hooks", default=None, help="Whether Git checks migrations before each commit.")
@click.option("-y", "--yes", is_flag=True, help="Ask no question, and write.")
@click.option("--diff", "only_show", is_flag=True, help="Show what would be written, and write nothing.")
def init(
    directory: Path,
    service: str | None,
    where: str | None,
    several: bool | None,
    environment: str | None,
    hooks: bool | None,
    yes: bool,
    only_show: bool,
) -> None:
    """Set up a project: environment variables, collector, rules, dashboards, hooks, a CI step.

    Looks at the project in DIRECTORY without importing it, asks at most five questions, shows what it would write, and
    writes below DIRECTORY/otel. Runs doctor at the end. Exits with 2 if it cannot tell what the project is.
    """
    project = look(directory)
    if not project.framework or not project.command:
        raise UsageError(
            f"found no FastAPI, Flask or Django application in {directory}. To set it up by hand, see {_HOW_TO}"
        )
    ask = sys.stdin.isatty() and not yes and not only_show
    echo(_said(project))
    answers = _answers(project, ask, service, where, several, environment, hooks)
    try:
        files = {name: writing.sealed(name, text) for name, text in render_files(project, answers).items()}
        writing.check(directory, files, force=False)
        changes = {name: writing.difference(directory / name, name, text) for name, text in files.items()}
    except (ParameterError, writing.WritingError, OSError) as error:
        raise UsageError(describe(error)) from error
    _show(directory, files, changes)
    if only_show:
        raise click.exceptions.Exit(1 if any(changes.values()) else 0)
    if ask and any(changes.values()) and not click.confirm("Write these files?", default=True):
        echo("nothing was written")
        return
    try:
        written = list(writing.write(directory, {name: text for name, text in files.items() if changes[name]}))
    except (writing.WritingError, OSError) as error:
        raise UsageError(describe(error)) from error
    echo(f"wrote {len(written)} files" if written else "nothing to write: all files exist already")
    _next(directory, project, answers)


def _said(project: FoundProject) -> str:
    where = "" if project.root == "." else f" in {project.root}"
    parts = [project.framework, f"started by `{project.command}`{where}"]
    if project.migrations:
        parts.append(f"migrations by {project.migrations}")
    if project.service:
        parts.append(f"service {project.service} in {project.compose[0]}")
    return f"found: {', '.join(parts)}"


def _answers(
    project: FoundProject,
    ask: bool,
    service: str | None,
    where: str | None,
    several: bool | None,
    environment: str | None,
    hooks: bool | None,
) -> Answers:
    usual = re.sub(r"[^A-Za-z0-9._-]+", "-", project.name).strip("._-")[:64] or "app"
    if service is None:
        service = click.prompt("Service name", default=usual) if ask else usual
    if not _NAME.fullmatch(service):
        raise UsageError(f"--service {service!r}: use at most 64 letters, digits, dots and dashes")
    there = "compose" if project.service else "bare"
    if where is None:
        choices = click.Choice(["bare", "compose", "kubernetes"])
        where = click.prompt("Where does the app run", default=there, type=choices) if ask else there
    if where == "compose" and not project.service:
        raise UsageError(
            "--where compose: no compose file here has a service with build:, and init can extend only such a service"
        )
    if several is None and project.workers:
        several = project.workers > 1
    if several is None:
        several = click.confirm("Does the app run in more than one process (workers)?", default=False) if ask else False
    if environment is None:
        environment = click.prompt("Environment (empty for none)", default="", show_default=False) if ask else ""
    if environment and not _NAME.fullmatch(environment):
        raise UsageError(f"--environment {environment!r}: use at most 64 letters, digits, dots and dashes")
    possible = bool(project.migrations) and project.git
    if hooks and not possible:
        raise UsageError("--hooks: this is not a Git repository with Alembic or DBMate migrations")
    if hooks is None:
        hooks = possible and ask and click.confirm("Shall Git check migrations before each commit?", default=True)
    return Answers(service, where, several, environment, hooks)


def _show(directory: Path, files: dict[str, str], changes: dict[str, str]) -> None:
    for name, change in changes.items():
        if change and not (directory / name).exists() and files[name].count("\n") > LONG:
            echo(f"new file {name}, {files[name].count(chr(10)):,} lines")
        elif change:
            echo(change, nl=False)


def _next(directory: Path, project: FoundProject, answers: Answers) -> None:
    if answers.hooks:
        _run("hooks", "install", "--project", str(directory / project.root))
    if answers.where == "compose":
        echo(f"\nstart:    {compose_command(project)}")
        echo("numbers:  otel-schema top http://localhost:9090; dashboards: http://localhost:3000")
        return
    if answers.where == "kubernetes":
        echo(f"\nstart:    kubectl apply -f {FOLDER}/kubernetes/, and the annotation that its first lines name")
        return
    variables_of = f"set -a; . {shlex.quote(f'{FOLDER}/schema.env')}; set +a; "
    go = "" if project.root == "." else f"cd {shlex.quote(project.root)}; "
    command = _instrumented(project.command if answers.several else project.single)
    echo("\npackages: pip install 'opentelemetry-instrumentation-schema[quickstart]', where the app runs")
    if answers.collected:
        once = " ".join(f"{name}={value}" for name, value in ONE_PROCESS.items())
        configs = " ".join(f"--config {FOLDER}/collector/{name}.yaml" for name in ("base", "gateway", "standalone"))
        echo(f"try:      {variables_of}{go}{once} {_instrumented(project.single)}")
        echo("          then: otel-schema top http://localhost:9464/metrics")
        echo(f"start:    {variables_of}{go}{command}")
        echo(f"          OTELCOL_QUEUE_DIR=/tmp/otelcol-queue otelcol-contrib {configs}")
        echo(
            f"          prometheus --config.file {FOLDER}/prometheus/collector.yml --storage.tsdb.path /tmp/prometheus "
            "--enable-feature=exemplar-storage"
        )
        echo("numbers:  otel-schema top http://localhost:9090")
    else:
        echo(f"start:    {variables_of}{go}{command}")
        echo("numbers:  otel-schema top http://localhost:9464/metrics")
    os.environ.update(variables(project, answers))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    echo("\notel-schema doctor says:")
    _run("doctor", "--", *shlex.split(command))


def _instrumented(command: str) -> str:
    """A command under the wrapper, which would take `--config` for an option of its own."""
    own = "-- " if re.search(r" --config\b", command) else ""
    return f"opentelemetry-instrument {own}{command}"


def _run(*arguments: str) -> None:
    """Another command, whose findings are for the person to read and not for the exit code of this one."""
    from ..group import otel_schema

    try:
        otel_schema.main(list(arguments), standalone_mode=False)
    except click.exceptions.Exit:
        pass
    except click.ClickException as error:
        echo(error.format_message(), err=True)
