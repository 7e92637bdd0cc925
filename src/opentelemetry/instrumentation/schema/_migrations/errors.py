"""Errors that stop a migration command: each message names the thing and the fix; `code` is the exit code."""

from __future__ import annotations

from typing import ClassVar


class MigrationError(Exception):
    """The user can correct this in the environment or on the command line; exit code 2."""

    code: ClassVar[int] = 2


class RefusedError(MigrationError):
    """A step would lose data, or no downgrade can undo it; nothing was changed; exit code 1."""

    code: ClassVar[int] = 1


class UnknownError(MigrationError):
    """The state of the database could not be read; exit code 3."""

    code: ClassVar[int] = 3
