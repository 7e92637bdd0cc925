"""The output of all commands: printable text, JSON, exit codes, and the one error that a user can fix."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, NoReturn, TextIO

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


def describe(error: Exception) -> str:
    """Describe an error in a line; that of a file by its path, without its number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def echo(message: str, err: bool = False, nl: bool = True) -> None:
    """Print lines. Only printable text and tabs reach the terminal.

    Raises:
        OSError: if stdout cannot be written. If nobody can read stderr, the command goes on.
    """
    try:
        click.echo(_lines(message), err=err, nl=nl)
    except OSError:
        if not err:
            raise
        _silence(sys.stderr)


def tell(message: str) -> None:
    """Print lines of a command that changes things: it goes on, and ends as it would, if nobody can read them."""
    with _unread():
        echo(message)


def print_json(document: object, indent: int | None = 2) -> None:
    """Print a JSON document as `tell` prints lines."""
    with _unread():
        echo_json(document, indent)


@contextmanager
def _unread() -> Generator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader, such as `head`, has read enough
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        echo(f"warning: cannot write to stdout: {error.strerror}", err=True)


def _silence(stream: TextIO) -> None:
    """Send what a stream still holds, and all that follows, nowhere: a last flush that fails changes the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


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
def one_line_errors(json: bool = False) -> Generator[None]:
    """End with one line for what a user can mend, and with 2; never with 1, which is a finding, for the unforeseen.

    Args:
        json: Whether to print the error as a JSON object too.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except _HELP as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        of = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
        _fail(error.format_message() + (f" ({of} --help)" if of else ""), json)
    except SourceError as error:
        _fail(str(error), json)
    except MigrationError as error:
        _fail(str(error), json, error.code)
    except (KeyboardInterrupt, click.Abort):
        if json:
            _echo_error("interrupted", INTERRUPTED)
        sys.exit(INTERRUPTED)
    except OSError as error:
        _fail(describe(error), json)
    except Exception:
        echo(traceback.format_exc(), err=True)
        _fail("this is a bug in otel-schema: please report it with the lines above", json)


class Screen(Console):
    """A terminal, or a pipe or file in its place."""

    def on_broken_pipe(self) -> None:
        """End with 2; rich would end with 1, which is a finding."""
        read_enough()


def _fail(message: str, json: bool, code: int = USAGE) -> NoReturn:
    line = " ".join(message.split())
    if json:
        _echo_error(line, code)
    echo(f"Error: {line}", err=True)
    sys.exit(code)


def _echo_error(message: str, code: int) -> None:
    print_json({"version": 1, "result": "error", "exit_code": code, "message": printable(message)}, indent=None)


def read_enough() -> NoReturn:
    """End with 2 because the reader, such as `head`, has closed the pipe: the last flush must not fail."""
    _silence(sys.stdout)
    sys.exit(USAGE)
