"""`otel-schema export`: rules, dashboards and configs, with your thresholds, labels and addresses."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import click

from ..._monitoring import writing
from ..._monitoring.rendering import RECEIVERS, configs, files
from ..._monitoring.thresholds import PARAMETERS
from ..._monitoring.values import ParameterError, check_labels, check_values
from ..output import UsageError, describe, echo


def _pairs(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} has no value; write name=value")
    return {name: value for name, _, value in pairs}


def _list(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        width = max(len(parameter.name) for parameter in PARAMETERS)
        for parameter in PARAMETERS:
            echo(f"{parameter.name:{width}}  {parameter.default:<12}  {parameter.why}")
        ctx.exit()


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--set", "given", metavar="NAME=VALUE", multiple=True, callback=_pairs, help="Set a parameter; --list shows all."
)
@click.option(
    "--label",
    "labels",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="Add a label to every alert about an app.",
)
@click.option("--only", metavar="PATTERN", multiple=True, help="Write only files whose path below DIRECTORY matches.")
@click.option(
    "--diff", is_flag=True, help="Show what would change and write nothing; exit with 1 if something would change."
)
@click.option("--force", is_flag=True, help="Also replace files that somebody edited or that others wrote.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="List the parameters of --set, with defaults and reasons.",
)
def export(
    directory: Path, given: dict[str, str], labels: dict[str, str], only: tuple[str, ...], diff: bool, force: bool
) -> None:
    """Write rules, dashboards, and the configs of collector, Prometheus, Alertmanager.

    Writes them below DIRECTORY. Replaces a file only if export wrote it and nobody edited it since. Exits with 2 if a
    value is not valid, or if it must not replace a file.
    """
    if "secrets_dir" in given:
        given = {**given, "secrets_dir": str(Path(given["secrets_dir"]).absolute())}
    try:
        values = check_values(given)
        receivers = _edited_receivers(directory / "alertmanager" / RECEIVERS)
        texts = dict([*files(values, check_labels(labels, values), receivers), *configs()])
        if receivers is not None:
            _check_receivers(directory, texts["alertmanager/alertmanager.yml"], receivers)
            del texts[f"alertmanager/{RECEIVERS}"]
        chosen = {
            name: writing.sealed(name, text)
            for name, text in texts.items()
            if not only or any(fnmatchcase(name, pattern) for pattern in only)
        }
        if not chosen:
            raise UsageError(f"--only: no file matches; there are {', '.join(texts)}")
        if diff:
            changes = [writing.difference(directory / name, name, text) for name, text in chosen.items()]
            echo("".join(changes), nl=False)
            raise click.exceptions.Exit(1 if any(changes) else 0)
        writing.check(directory, chosen, force)
        for path in writing.write(directory, chosen):
            echo(str(path))
    except (ParameterError, writing.WritingError, OSError) as error:
        raise UsageError(describe(error)) from error


def _edited_receivers(path: Path) -> str | None:
    """The receivers that somebody edited, None if there are none or they are as written."""
    return None if writing.state(path, "") in ("new", "written") else writing.unsealed(path.read_text(encoding="utf-8"))


def _check_receivers(directory: Path, config: str, receivers: str) -> None:
    routed = re.findall(r"^ +receiver: (\S+)$", config.partition("\ninhibit_rules:")[0], re.M)
    there = re.findall(r"^ *- name: [\"']?([^\s\"']+)", receivers, re.M)
    if missing := sorted(set(routed) - set(there)):
        raise UsageError(
            f"{directory / 'alertmanager' / RECEIVERS}: a route names {missing[0]}, a receiver that is not in this file"
        )
