"""The output of all commands: printable text, JSON, exit codes, and the one error that a user can fix."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, NoReturn

import click
from rich.console import Console
from rich.text import Text

from .._migrations.errors import MigrationError
from .._prometheus.http import SourceError
from .._prometheus.text import printable

FINE: Final = 0
FINDING: Final = 1
USAGE: Final = 2
INCONCLUSIVE: Final = 3
INTERRUPTED: Final = 130

_HELP: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())  # of click 8.2: the group without a command


class UsageError(click.ClickException):
    """A usage or environment error: the message names the thing and the fix; exit code 2."""

    exit_code = USAGE


def echo(message: str, err: bool = False, nl: bool = True) -> None:
    """Print lines. Only printable text and tabs reach the terminal."""
    click.echo(_lines(message), err=err, nl=nl)


def text(message: str, style: str = "") -> Text:
    """Text for a table or a screen: printable, and no markup."""
    return Text(_lines(message), style=style)


def _lines(message: str) -> str:
    return "".join(part if part in ("\n", "\t") else printable(part) for part in re.split(r"([\n\t])", message))


def echo_json(document: object, indent: int | None = 2) -> None:
    """Print a JSON document in ASCII: every other character is escaped."""
    click.echo(json.dumps(document, indent=indent, allow_nan=False).replace("\x7f", "\\u007f"))


def finish(code: int) -> None:
    """End the command with an exit code."""
    raise click.exceptions.Exit(code)


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say each message the first time only."""
    said: set[str] = set()

    def say_once(message: str) -> None:
        if message not in said:
            said.add(message)
            say(message)

    return say_once


@contextmanager
def migration_errors(json: bool = False) -> Generator[None]:
    """End with the exit code of a migration's error and one line, with --json also as JSON."""
    try:
        yield
    except MigrationError as error:
        message = " ".join(str(error).split())
        if json:
            echo_json({"version": 1, "result": "error", "exit_code": error.code, "message": message})
        echo(f"Error: {message}", err=True)
        sys.exit(error.code)


@contextmanager
def one_line_errors() -> Generator[None]:
    """End with 2 and one line for what a user can mend; never with 1, which is a finding, for anything unforeseen."""
    try:
        yield
    except click.exceptions.Exit:
        raise
    except _HELP as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        of = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
        _fail(error.format_message() + (f" ({of} --help)" if of else ""))
    except SourceError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except OSError as error:
        _fail(str(error))
    except Exception:
        echo(traceback.format_exc(), err=True)
        _fail("this is a bug in otel-schema: please report it with the lines above")


class Screen(Console):
    """A terminal, or a pipe or file in its place."""

    def on_broken_pipe(self) -> None:
        """End with 2; rich would end with 1, which is a finding."""
        read_enough()


def _fail(message: str) -> None:
    echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(USAGE)


def read_enough() -> NoReturn:
    """End with 2 because the reader, such as `head`, has closed the pipe: the last flush must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(USAGE)
