"""Which Git refs hold a migration: read from Git's objects, without a checkout."""

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

MOST: Final = 500
"""Refs that are looked at, the latest first."""


@dataclass(frozen=True)
class Refs:
    """Migrations by ref.

    Attributes:
        holding: Revision → the names of the refs that hold it, the latest first.
        before: Revision → the revisions that it follows.
        read: How many refs were read.
        more: Whether there are more than were read.
    """

    holding: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    before: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    read: int = 0
    more: bool = False


def read(line: Migrations, say: Callable[[str], None]) -> Refs:
    """The migrations of all branches, remote branches and tags, in the directories where they are today.

    Args:
        line: Whose directories.
        say: Called with what takes time.

    Raises:
        GitError: if there is no Git, or no repository.
    """
    git = Git(line.directories[0])
    listed = git.must(
        "for-each-ref", f"--count={MOST + 1}", "--sort=-committerdate", "--format=%(refname:short)%00%(objectname)",
        "refs/heads", "refs/remotes", "refs/tags",
    )  # fmt: skip
    names = [tuple(row.split("\0")) for row in os.fsdecode(listed).splitlines()]
    names = [each for each in names if not each[0].endswith("/HEAD")]
    if len(names) > 100:
        say(f"reading the migrations of {min(len(names), MOST)} refs")
    found = Refs(read=min(len(names), MOST), more=len(names) > MOST)
    paths = [_below(directory, git.top) for directory in line.directories]
    asked = [(name, f"{commit}:{path}") for name, commit in names[:MOST] for path in paths]
    trees = _trees(git, [what for _, what in asked])
    known: dict[str, list[Revision]] = {}
    for (name, _), tree in zip(asked, trees, strict=True):
        if tree is None:
            continue
        if tree not in known:
            known[tree] = _revisions(git, line, tree)
        for each in known[tree]:
            holders = found.holding.setdefault(each.id, [])
            if name not in holders:
                holders.append(name)
            found.before.setdefault(each.id, each.down)
    return found


def _below(directory: Path, top: Path) -> str:
    try:
        return directory.resolve().relative_to(top).as_posix()
    except ValueError:
        raise GitError(f"{directory} is not below {top}: its migrations are in no ref") from None


def _trees(git: Git, asked: list[str]) -> list[str | None]:
    """The tree of each `commit:path`; many refs share one."""
    if not asked:
        return []
    answer = git.must("cat-file", "--batch-check=%(objectname) %(objecttype)", given="\n".join(asked).encode() + b"\n")
    lines = [os.fsdecode(line) for line in answer.splitlines()]
    return [line.split(" ")[0] if line.endswith(" tree") else None for line in lines]


def _revisions(git: Git, line: Migrations, tree: str) -> list[Revision]:
    entries = [os.fsdecode(each).partition("\t") for each in split(git.must("ls-tree", "-r", "-z", tree))]
    blobs = [(meta.split(" ")[2], PurePosixPath(name)) for meta, _, name in entries]
    if line.tool == "dbmate":
        return revisions.dbmate_files(Path(name) for _, name in blobs if len(name.parts) == 1)
    python = [(blob, name) for blob, name in blobs if name.suffix == ".py"]
    contents = _contents(git, [blob for blob, _ in python])
    return revisions.alembic_files((Path(name), content) for (_, name), content in zip(python, contents, strict=True))


def _contents(git: Git, blobs: list[str]) -> list[bytes]:
    if not blobs:
        return []
    answer, found, at = git.must("cat-file", "--batch", given="\n".join(blobs).encode() + b"\n"), list[bytes](), 0
    for _ in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split(b" ")[2])
        found.append(answer[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
    return found
