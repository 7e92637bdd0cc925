"""Runs Git: one process per question, and no checkout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..._prometheus.text import cleaned


class GitError(Exception):
    """Git, the repository or a ref does not exist; the message names it and the fix."""


class Git:
    """The repository of a work tree.

    Args:
        directory: Anywhere in the work tree.

    Attributes:
        top: The work tree's top.

    Raises:
        GitError: if there is no Git, or no work tree.
    """

    _said = ""

    def __init__(self, directory: Path) -> None:
        self.top = directory
        top = self.run("rev-parse", "--show-toplevel")
        if top is None:
            raise GitError(
                f"{directory} is not in a Git work tree ({self._said}): run this in the project, or give --project"
            )
        self.top = Path(os.fsdecode(top.removesuffix(b"\n"))).resolve()

    def path(self, name: str) -> Path:
        """A path below Git's directory, as settings define it; `hooks` honours core.hooksPath."""
        return (self.top / os.fsdecode(self.run_checked("rev-parse", "--git-path", name).removesuffix(b"\n"))).resolve()

    @property
    def directory(self) -> Path:
        """Git's directory that all work trees share."""
        return (self.top / os.fsdecode(self.run_checked("rev-parse", "--git-common-dir").removesuffix(b"\n"))).resolve()

    def commit(self, ref: str) -> str | None:
        """The commit that a ref names; None if there is none."""
        found = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        return os.fsdecode(found).strip() if found else None

    def run_checked(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Run Git and return its output.

        Raises:
            GitError: if it fails.
        """
        answer = self.run(*arguments, given=given)
        if answer is None:
            raise GitError(f"git {' '.join(arguments)} failed: {self._said}")
        return answer

    def run(self, *arguments: str, given: bytes | None = None) -> bytes | None:
        """Run Git and return its output; None if it fails.

        Args:
            arguments: Arguments of Git.
            given: Its stdin.

        Raises:
            GitError: if there is no Git.
        """
        try:
            done = subprocess.run(  # noqa: S603 -- no shell, and refs are kept from being options
                ["git", "--literal-pathspecs", "-C", str(self.top), *arguments],  # noqa: S607 -- the user's Git
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed, or not on the PATH") from error
        self._said = _reason(done.stderr)
        return done.stdout if done.returncode == 0 else None


def _reason(stderr: bytes) -> str:
    """What Git says of an error: the line that begins with `fatal:`, else the last one."""
    lines = [line for line in os.fsdecode(stderr).splitlines() if line.strip()]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    return cleaned((fatal or lines[-1:] or ["Git does not say why"])[0].strip())


def split(text: bytes) -> Iterator[bytes]:
    """Split the output of Git with `-z`."""
    return (each for each in text.split(b"\0") if each)
