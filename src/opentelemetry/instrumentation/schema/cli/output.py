"""How commands end: exit codes and the one error for what a user can mend."""

from __future__ import annotations

import click


class UsageError(click.ClickException):
    """A usage or environment error: the message names the thing and the fix; exit code 2."""

    exit_code = 2
