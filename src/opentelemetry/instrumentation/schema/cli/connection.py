"""The options with which every command reaches an endpoint, a Prometheus or an Alertmanager."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from .._prometheus.http import TIMEOUT, Access
from .._prometheus.selector import Selector, parse_selector
from .output import UsageError, echo, once

_C = TypeVar("_C", bound=Callable[..., None])

_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*[:=][ \t]*([\x20-\x7e]*)")
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def _seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not 0.1 <= value <= 3600:
        raise click.BadParameter("choose from 0.1 to 3600 seconds")
    return value


_OPTIONS: Final = (
    click.option(
        "--header", "headers", metavar="NAME=VALUE", multiple=True, help="Send this HTTP header to every URL."
    ),
    click.option("--bearer-token-file", "token", type=_FILE, help="Send the token in this file to every URL."),
    click.option(
        "--ca-file", "authority", type=_FILE, help="Trust certificates signed by this authority (a PEM file)."
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        show_default=True,
        callback=_seconds,
        help="How long to wait for a complete answer.",
    ),
)


def reads_urls(command: _C) -> _C:
    """Add the options to a command, which takes an `access` instead; `https://user:password@host` needs none."""

    @wraps(command)
    def with_access(
        headers: tuple[str, ...], token: Path | None, authority: Path | None, timeout: float, **given: Any
    ) -> None:
        sent = dict(map(_header, headers))
        if token is not None:
            if "authorization" in map(str.lower, sent):
                raise UsageError(
                    "--bearer-token-file and --header Authorization both set a token: use only one of them"
                )
            sent["Authorization"] = f"Bearer {_token(token)}"
        access = Access(sent, _trust(authority), timeout, once(partial(echo, err=True)))
        command(access=access, **given)

    decorated: Any = with_access
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _selector(ctx: click.Context, param: click.Parameter, value: str | None) -> Selector:
    if value is None:
        return Selector()
    try:
        return parse_selector(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


match_option: Final = click.option(
    "--match",
    "selector",
    metavar="SELECTOR",
    callback=_selector,
    help="""Read only these series: 'environment="prod", team=~"leads|crm"'.""",
)
"""The option of a command that reads series, as its argument `selector`."""


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        # its value may be secret
        name = f" {re.split('[:=]', text)[0]!r}" if re.search("[:=]", text) else ""
        raise UsageError(f"--header{name}: write it as NAME=VALUE, in ASCII and on one line")
    return found[1], found[2]


def _token(file: Path) -> str:
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeError):
        token = ""
    if not token.isprintable() or not token or " " in token:
        raise UsageError(f"--bearer-token-file {file}: it must be readable and contain one token in ASCII, on one line")
    return token


def _trust(authority: Path | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(authority))
    except (OSError, ValueError) as error:
        raise UsageError(f"--ca-file {authority} contains no certificates in PEM ({error})") from error
