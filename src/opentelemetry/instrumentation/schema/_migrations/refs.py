"""Finds the Git refs that contain a migration. Reads Git's objects, without a checkout."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from .._schemas import revisions
from .._schemas.migrations import Migrations
from .._schemas.revisions import Revision
from .git_hooks.git import Git, GitError, split

MAX_REFS: Final = 500
"""Refs that we read, the latest first."""


@dataclass(frozen=True)
class Refs:
    """Migrations by ref.

    Attributes:
        refs_with: Revision → names of the refs that contain it, the latest first.
        parents: Revision → its down revisions.
        read: How many refs were read.
        more: Whether the repository has further refs.
    """

    refs_with: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    read: int = 0
    more: bool = False


def read(line: Migrations, say: Callable[[str], None]) -> Refs:
    """Read the migrations of all branches, remote branches and tags, in the directories of today.

    Args:
        line: The project's migrations: tool and directories.
        say: Prints progress.

    Raises:
        GitError: if there is no Git, or no repository.
    """
    git = Git(line.directories[0])
    listed = git.run_checked(
        "for-each-ref", f"--count={MAX_REFS + 1}", "--sort=-committerdate", "--format=%(refname:short)%00%(objectname)",
        "refs/heads", "refs/remotes", "refs/tags",
    )  # fmt: skip
    names = [tuple(row.split("\0")) for row in os.fsdecode(listed).splitlines()]
    names = [each for each in names if not each[0].endswith("/HEAD")]
    if len(names) > 100:
        say(f"reading the migrations of {min(len(names), MAX_REFS)} refs")
    found = Refs(read=min(len(names), MAX_REFS), more=len(names) > MAX_REFS)
    paths = [_below(directory, git.top) for directory in line.directories]
    asked = [(name, f"{commit}:{path}") for name, commit in names[:MAX_REFS] for path in paths]
    trees = _trees(git, [what for _, what in asked])
    known: dict[str, list[Revision]] = {}
    for (name, _), tree in zip(asked, trees, strict=True):
        if tree is None:
            continue
        if tree not in known:
            known[tree] = _revisions(git, line, tree)
        for each in known[tree]:
            holders = found.refs_with.setdefault(each.id, [])
            if name not in holders:
                holders.append(name)
            found.parents.setdefault(each.id, each.down)
    return found


def _below(directory: Path, top: Path) -> str:
    try:
        return directory.resolve().relative_to(top).as_posix()
    except ValueError:
        raise GitError(f"{directory} is not below {top}: its migrations are in no ref") from None


def _trees(git: Git, asked: list[str]) -> list[str | None]:
    """Look up the tree of each `commit:path`; many refs share a tree."""
    if not asked:
        return []
    answer = git.run_checked(
        "cat-file", "--batch-check=%(objectname) %(objecttype)", given="\n".join(asked).encode() + b"\n"
    )
    lines = [os.fsdecode(line) for line in answer.splitlines()]
    return [line.split(" ")[0] if line.endswith(" tree") else None for line in lines]


def _revisions(git: Git, line: Migrations, tree: str) -> list[Revision]:
    entries = [os.fsdecode(each).partition("\t") for each in split(git.run_checked("ls-tree", "-r", "-z", tree))]
    blobs = [(meta.split(" ")[2], PurePosixPath(name)) for meta, _, name in entries]
    if line.tool == "dbmate":
        return revisions.parse_dbmate(Path(name) for _, name in blobs if len(name.parts) == 1)
    python = [(blob, name) for blob, name in blobs if name.suffix == ".py"]
    contents = _contents(git, [blob for blob, _ in python])
    return revisions.parse_alembic((Path(name), content) for (_, name), content in zip(python, contents, strict=True))


def _contents(git: Git, blobs: list[str]) -> list[bytes]:
    if not blobs:
        return []
    answer, found, at = (
        git.run_checked("cat-file", "--batch", given="\n".join(blobs).encode() + b"\n"),
        list[bytes](),
        0,
    )
    for _ in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split(b" ")[2])
        found.append(answer[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
    return found
