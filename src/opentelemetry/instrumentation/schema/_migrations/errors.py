"""Errors that stop a migration command: each message names the thing and the fix; `code` is the exit code."""

from __future__ import annotations

import signal


class MigrationError(Exception):
    """The user can correct this in the environment or on the command line; exit code 2."""

    code: int = 2


class RefusedError(MigrationError):
    """A step would lose data, or no downgrade can undo it; nothing was changed; exit code 1."""

    code: int = 1


class UnknownError(MigrationError):
    """The state of the database could not be read; exit code 3."""

    code: int = 3


class StoppedBySignalError(MigrationError):
    """A signal came before anything was changed; exit code 128 + its number.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} stopped the command. Nothing was run")
        self.code = 128 + number
