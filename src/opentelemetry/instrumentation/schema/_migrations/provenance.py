"""Finds the commit and the CI run that a migration comes from, without running Git."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_FILE: Final = 10_000_000
"""Bytes of `packed-refs` that we read; for a larger one the commit comes from the CI's variables, or is unknown."""

_COMMITS: Final = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",  # GitLab
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",  # Azure Pipelines
    "DRONE_COMMIT_SHA",
    "TRAVIS_COMMIT",
    "GIT_COMMIT",  # Jenkins
)
_RUNS: Final = (
    "GITHUB_RUN_ID",
    "CI_PIPELINE_ID",
    "BUILDKITE_BUILD_ID",
    "CIRCLE_WORKFLOW_ID",
    "BITBUCKET_PIPELINE_UUID",
    "BUILD_BUILDID",
    "DRONE_BUILD_NUMBER",
    "TRAVIS_BUILD_ID",
    "BUILD_TAG",
)


def commit(folder: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the commit that is checked out in a folder, else the one that the CI names; empty if both are unknown.

    Args:
        folder: A folder, in a Git work tree or not.
        environment: Environment with the CI's variables.
    """
    try:
        found = _checked_out(folder.resolve())
    except (OSError, UnicodeDecodeError):
        found = ""
    if found:
        return found
    return next((value for name in _COMMITS if _HASH.fullmatch(value := environment.get(name, "").lower())), "")


def pipeline_run(environment: Mapping[str, str] = os.environ) -> str:
    """Return the id of the CI run of this process; empty outside a CI run."""
    return next((value for name in _RUNS if (value := environment.get(name, ""))), "")


def _checked_out(folder: Path) -> str:
    git = next((each / ".git" for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if git is None:
        return ""
    if git.is_file():  # of a linked work tree, or of a submodule
        git = git.parent / git.read_text().partition("gitdir:")[2].strip()
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head if _HASH.fullmatch(head) else ""
    ref = head.removeprefix("ref: ")
    shared = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
    for at in (git / ref, shared / ref):
        if at.is_file():
            found = at.read_text().strip()
            return found if _HASH.fullmatch(found) else ""
    packed = shared / "packed-refs"
    if packed.is_file() and packed.stat().st_size <= _MAX_FILE:
        for line in packed.read_text().splitlines():
            if line.endswith(f" {ref}"):
                return line.partition(" ")[0]
    return ""
