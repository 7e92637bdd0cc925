"""The command group; a command's file is imported when the command is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise, takewhile
from typing import Any, Final

import click

from .output import FINE, one_line_errors, read_enough

COMMANDS: Final = {
    "check": "Compare the schemas of the API with the tables of a database or of the models.",
    "diff": "Say which schema changes break clients, in requests and in responses.",
    "doctor": "Find what loses telemetry in an app's environment, at an endpoint or in a Prometheus.",
    "export": "Write Prometheus rules, Grafana dashboards and Alertmanager's config, with your thresholds.",
    "guard": "Watch an app after a migration or a deployment, and judge whether it made the app worse.",
    "hooks": "Check migrations before a commit and in pull requests; install the Git hooks.",
    "init": "Set up a project: variables, collector, rules, dashboards, hooks, a CI step.",
    "lock": "Write or check schema.lock: the fields of every schema and table, and the heads of the migrations.",
    "rehearse": "Upgrade, downgrade and upgrade each revision again on an empty database.",
    "rollback": "Revert migrations, to where the last upgrade began or to a revision.",
    "status": "Show environments side by side: revisions, pending migrations, Git refs, releases, API versions.",
    "top": "Show validation times, errors, problems, caches and queries of a running app or from a Prometheus.",
    "upgrade": "Apply migrations under a lock, and say at which revision the database is afterwards.",
}
"""Each command is the function of the same name in the file of the same name; its help stands here so that listing the
commands imports none of them."""


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether the command line asks for JSON; what stands behind `--` is somebody else's."""
    own = list(takewhile(lambda word: word != "--", words))
    return bool({"--json", "--format=json"} & {*own}) or ("--format", "json") in pairwise(own)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f".commands.{cmd_name}", __package__), cmd_name)

    def main(self, args: Sequence[str] | None = None, *more: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, *more, standalone_mode=False, **extra)
        with one_line_errors(_asks_for_json(sys.argv[1:] if args is None else args)):
            code = super().main(args, *more, standalone_mode=False, **extra)
            sys.exit(code if isinstance(code, int) else FINE)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, which means a finding
            read_enough()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opentelemetry-instrumentation-schema", prog_name="otel-schema")
def otel_schema() -> None:
    """Show and check what opentelemetry-instrumentation-schema measures.

    Exit codes: 0 fine, 1 a finding, 2 a usage or environment error, 3 inconclusive.
    """
