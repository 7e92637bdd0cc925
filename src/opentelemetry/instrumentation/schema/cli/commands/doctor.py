"""`otel-schema doctor`: what loses data, found in an app's environment, an endpoint and a Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.text import Text

from ..._prometheus.http import Access
from ..._prometheus.selector import Selector
from ..._prometheus.server import Prometheus
from ..._prometheus.sources import Source, open_source
from ..checks import command, environment, exporting, libraries, measured, project, server
from ..checks.check import Check
from ..connection import match_option, reads_urls
from ..output import FINDING, FINE, INCONCLUSIVE, Screen, UsageError, echo_json, finish, text

_MARKS: Final = {
    "fine": ("✓", "green"),
    "finding": ("✗", "bold red"),
    "unknown": ("?", "yellow"),
    "note": ("i", "cyan"),
}


class _BehindDashes(click.Command):
    """Takes what stands behind `--` as a command, whatever options it has."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.obj = tuple(args[at + 1 :])
            args = args[:at]
            if not ctx.obj:
                raise click.UsageError("found no command after --: add it, as in -- opentelemetry-instrument …", ctx)
        return super().parse_args(ctx, args)


@click.command(cls=_BehindDashes, options_metavar="[OPTIONS]", epilog="doctor reads COMMAND; it does not run it.")
@click.argument("urls", metavar="[URL]... [-- COMMAND]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@match_option
@reads_urls
@click.pass_obj
def doctor(
    behind: tuple[str, ...] | None, urls: tuple[str, ...], as_json: bool, selector: Selector, access: Access
) -> None:
    """Find what loses telemetry.

    Checks each URL: the /metrics endpoint of an app or a collector, or a Prometheus. After --, give the command that
    starts the app: doctor checks its interpreter and its OTEL_* variables. Without URL and COMMAND, doctor checks the
    environment in which it runs itself.

    Exits with 1 if something loses telemetry, with 2 if it cannot read a URL, and with 3 if a check has no result.
    """
    checks = list(_checks(os.environ, urls, behind or (), access, selector))
    if as_json:
        echo_json({"checks": [asdict(check) for check in checks]})
    else:
        screen = Screen()
        for check in checks:
            screen.print(Text.assemble(_MARKS[check.result], " ", text(check.message)), soft_wrap=True)
    results = {check.result for check in checks}
    finish(FINDING if "finding" in results else INCONCLUSIVE if "unknown" in results else FINE)


def _checks(
    variables: Mapping[str, str], urls: tuple[str, ...], behind: tuple[str, ...], access: Access, selector: Selector
) -> Iterator[Check]:
    sources = [open_source(url, None, access, selector) for url in urls]
    export = None
    app = command.of(behind, variables) if behind else None if urls else command.this_process(variables)
    if app is None:
        message = (
            "the app's environment was not checked: give the command that starts the app after --, as in "
            "otel-schema doctor URL -- opentelemetry-instrument uvicorn app:app"
        )
        yield Check("environment", "note", message)
    elif not behind and not environment.is_an_app(app):
        raise UsageError(
            "found no app in the environment of otel-schema, so there is nothing to check: give URLs, give the command "
            "that starts the app after --, or run otel-schema in the app's environment"
        )
    else:
        export = environment.Export.of(app)
        yield from environment.checks(app)
        yield from libraries.checks(app)
        yield from exporting.checks(app)
        yield from project.checks(Path.cwd(), app.variables)
        if not any(isinstance(source, Prometheus) for source in sources):
            yield from environment.intervals(export, None, "")
    for source in sources:
        yield from _of(source, export)


def _of(source: Source, export: environment.Export | None) -> Iterator[Check]:
    if isinstance(source, Prometheus):
        yield from server.checks(source, export)
    yield from measured.checks(source.read(), source.name)
