"""Why a migration command stops: each error names the thing and the fix, and knows the command's exit code."""

from __future__ import annotations

from typing import ClassVar


class MigrationError(Exception):
    """What a user can correct in the environment or on the command line; exit code 2."""

    code: ClassVar[int] = 2


class RefusedError(MigrationError):
    """A step that would lose data, or that nothing undoes; nothing was changed; exit code 1."""

    code: ClassVar[int] = 1


class UnknownError(MigrationError):
    """What the database holds could not be read; exit code 3."""

    code: ClassVar[int] = 3
