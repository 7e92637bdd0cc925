"""`otel-schema export`: rules, dashboards and Alertmanager's config, with your thresholds, labels and addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from ..._monitoring.rendering import files
from ..._monitoring.thresholds import PARAMETERS, ParameterError, checked
from ..output import UsageError

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _pairs(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} has no value; write name=value")
    return {name: value for name, _, value in pairs}


def _labels(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    labels = _pairs(ctx, param, given)
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or name in ("severity", "long", "short", "alertname"):
            raise click.BadParameter(f"{name!r} is not a label name, or one that the rules set themselves")
        if not value.isprintable() or set(value) & set("\"\\'`{}"):
            raise click.BadParameter(f"{name}: {value!r} has a quote, a brace, a backslash or an unprintable character")
    return labels


def _list(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        width = max(len(parameter.name) for parameter in PARAMETERS)
        for parameter in PARAMETERS:
            click.echo(f"{parameter.name:{width}}  {parameter.default:<12}  {parameter.why}")
        ctx.exit()


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--set", "given", metavar="NAME=VALUE", multiple=True, callback=_pairs, help="A threshold, `for` or address."
)
@click.option(
    "--label", "labels", metavar="NAME=VALUE", multiple=True, callback=_labels, help="A label for every alert."
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="What --set can set.")
def export(directory: Path, given: dict[str, str], labels: dict[str, str]) -> None:
    """Prometheus rules, Grafana dashboards and Alertmanager's config.

    Writes them below DIRECTORY, over what is there. Exits with 2 for a value that cannot be.
    """
    try:
        written = [(directory / path, text) for path, text in files(checked(given), labels)]
        for path, text in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except (ParameterError, OSError) as error:
        raise UsageError(str(error)) from error
    for path, _ in written:
        click.echo(path)
