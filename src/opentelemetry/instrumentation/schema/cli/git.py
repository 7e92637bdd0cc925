"""Asks Git for commands. Checks out and imports nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .output import UsageError


def show(ref: str, path: Path) -> str:
    """The text of a file at a ref.

    Args:
        ref: Anything that Git takes for a commit.
        path: The file as it is named today.

    Raises:
        UsageError: if Git, the repository, the ref, or the file at that ref is not there.
    """
    directory = path.parent
    commit = _git(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        if _git(directory, "rev-parse", "--git-dir") is None:
            raise UsageError(f"{ref} is not a file, and {directory} is not in a Git repository: give two lock files")
        raise UsageError(
            f"{ref} is neither a ref of this repository nor a file: fetch it (git fetch origin), or name another"
        )
    text = _git(directory, "show", f"{commit.strip()}:./{path.name}")
    if text is None:
        folder = (_git(directory, "rev-parse", "--show-prefix") or "").strip()
        raise UsageError(
            f"{folder}{path.name} is not in {ref}: nothing to compare with. Commit one there first: otel-schema lock"
        )
    return text


def user(directory: Path) -> str | None:
    """Git's `user.name`; None if it is not set."""
    name = _git(directory, "config", "user.name")
    return name.strip() if name else None


def hooks_path(directory: Path) -> str | None:
    """`core.hooksPath`, where Git looks for hooks instead of its own directory; None where it is not set."""
    try:
        path = _git(directory, "config", "--get", "core.hooksPath")
    except UsageError:  # no Git, no hooks
        return None
    return path.strip() if path and path.strip() else None


def head(directory: Path) -> str | None:
    """The commit that is checked out here; None without Git or a repository."""
    try:
        commit = _git(directory, "rev-parse", "--verify", "--quiet", "HEAD")
    except UsageError:
        return None
    return commit.strip() if commit else None


def commit_with(directory: Path, text: str) -> str | None:
    """A commit of any branch that added or removed a text below here: its hash and subject."""
    try:
        found = _git(directory, "log", "--all", "-1", "--format=%h (%s)", f"-S{text}", "--", ".")
    except UsageError:
        return None
    return found.strip() if found and found.strip() else None


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 -- no shell, and refs are kept from being options
            ["git", "-C", str(directory), *arguments],  # noqa: S607 -- whichever Git the user runs
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed, or not on the PATH: give two lock files instead of a ref") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"git {' '.join(arguments)} printed no UTF-8: {error}") from error
    return done.stdout if done.returncode == 0 else None
