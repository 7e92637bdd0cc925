"""Writes the pages of docs/reference from what the code says: the commands' help, the alert rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds
from opentelemetry.instrumentation.schema.cli.group import otel_schema

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `make docs-pages`; a test compares. -->"


def pages() -> dict[str, str]:
    """The pages, by their names."""
    return {"commands.md": "\n".join(_commands()), "rules.md": "\n".join(_rules())}


def _commands() -> Iterator[str]:
    yield f"# Commands\n\n{NOTE}\n"
    yield "Exit codes of every command: 0 fine, 1 a finding, 2 wrong usage or environment, 3 inconclusive.\n"
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
    yield "As `otel-schema export` writes them with the default values. Each name leads to what to do about it.\n"
    yield "| alert | severity | for | what it says |\n|---|---|---|---|"
    for _, text in rendering.rules(thresholds.DEFAULTS):
        groups: list[Any] = yaml.safe_load(text)["groups"]
        for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
            name, summary = rule["alert"], re.sub(r"\{\{.*?\}\}", "…", rule["annotations"]["summary"])
            severity = rule["labels"].get("severity", "none")
            summary = " ".join(summary.replace("|", "\\|").split())
            yield f"| [{name}](../runbooks/{name}.md) | {severity} | {rule.get('for', '0s')} | {summary} |"
    yield ""


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for page, content in pages().items():
        (REFERENCE / page).write_text(content)
        print(REFERENCE / page, file=sys.stderr)
