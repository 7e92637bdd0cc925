"""Reads Git's index, and the commits to compare it with, without a checkout."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from .git import Git, GitError, split

_TRUNKS: Final = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
_FILES: Final = (b"100644", b"100755")


class FileChange(NamedTuple):
    """A file that differs from each commit that we compare with.

    Attributes:
        old: Its blob in each of those commits; None if the commit lacks the file.
        new: Its blob in the index; None if it is deleted.
    """

    old: tuple[str | None, ...]
    new: str | None


class Staged(Git):
    """The index, compared with its parent commits and with the merged commit.

    Args:
        directory: Anywhere in the work tree.
        base: A ref with which all that the index holds is compared, as in a pull request. Without it the index is
            compared with the commit that it will follow, or with both sides of a merge.
        trunk: The ref that merged migrations are on, where `base` is not given; found by its usual names if None.

    Raises:
        GitError: if there is no Git, no work tree, or no commit that is common with `base`.
    """

    def __init__(self, directory: Path, base: str | None = None, trunk: str | None = None) -> None:
        super().__init__(directory)
        self._blobs: dict[str, bytes] = {}
        self.reviews = base is not None
        heads = [each for each in [self.commit("HEAD"), *self._merging()] if each]
        given = base or trunk
        self.trunk = self._named(given) if given else self._usual()
        self.merged: str | None = None
        if self.trunk and heads:
            common = self.run("merge-base", self.trunk, *heads)
            self.merged = os.fsdecode(common).strip() if common else None
            if self.merged is None and given:
                raise GitError(
                    f"{given} and HEAD have no commit in common: fetch more of the history (git fetch --unshallow; "
                    "fetch-depth: 0 in GitHub's checkout)"
                )
        parents = [self.merged] if self.reviews else heads
        self.parents: list[str] = [each for each in parents if each] or [self._empty_tree()]

    # -- files

    def files(self, *directories: str) -> dict[str, str]:
        """Path → blob of the files in the index below some directories."""
        found: dict[str, str] = {}
        for entry in split(self.run_checked("ls-files", "-s", "-z", "--", *directories)):
            mode, blob, rest = entry.split(b" ", 2)
            if mode in _FILES:
                found[os.fsdecode(rest.partition(b"\t")[2])] = blob.decode()
        return found

    def committed(self, commit: str, *directories: str) -> dict[str, str]:
        """Path → blob of the files in a commit below some directories."""
        found: dict[str, str] = {}
        for entry in split(self.run_checked("ls-tree", "-r", "-z", "--full-tree", commit, "--", *directories)):
            facts, _, path = entry.partition(b"\t")
            mode, _, blob = facts.split(b" ")
            if mode in _FILES:
                found[os.fsdecode(path)] = blob.decode()
        return found

    @cached_property
    def changes(self) -> dict[str, FileChange]:
        """Path → change. For a merge: files that differ from both sides."""
        sides = [self._changes(each) for each in self.parents]
        both = set(sides[0]).intersection(*sides[1:])
        return {path: FileChange(tuple(side[path][0] for side in sides), sides[0][path][1]) for path in sorted(both)}

    def _changes(self, commit: str) -> dict[str, tuple[str | None, str | None]]:
        options = ("--cached", "--ita-invisible-in-index", "--no-renames", "--raw", "--no-abbrev", "-z")
        parts = split(self.run_checked("diff-index", *options, commit))
        found: dict[str, tuple[str | None, str | None]] = {}
        for facts in parts:
            old_mode, new_mode, old, new, _ = facts.removeprefix(b":").split(b" ")
            path = os.fsdecode(next(parts))
            found[path] = (
                old.decode() if old_mode in _FILES else None,
                new.decode() if new_mode in _FILES else None,
            )
        return found

    def not_staged(self, *directories: str) -> dict[str, bool]:
        """Files of the work tree that differ from the index → whether the index lacks the file."""
        new = split(self.run_checked("ls-files", "--others", "--exclude-standard", "-z", "--", *directories))
        changed = split(
            self.run_checked("diff", "--no-ext-diff", "--diff-filter=AM", "--name-only", "-z", "--", *directories)
        )
        return {os.fsdecode(each): True for each in new} | {os.fsdecode(each): False for each in changed}

    # -- contents

    def load(self, blobs: Iterable[str]) -> None:
        """Read many blobs at once."""
        wanted = [each for each in dict.fromkeys(blobs) if each not in self._blobs]
        if not wanted:
            return
        answer = self.run_checked("cat-file", "--batch", given="\n".join(wanted).encode() + b"\n")
        position = 0
        for each in wanted:
            end = answer.index(b"\n", position)
            header = answer[position:end].split(b" ")
            if len(header) != 3:
                raise GitError(
                    f"Git does not have the object {each}: fetch it (git fetch), or check the repository (git fsck)"
                )
            size = int(header[2])
            self._blobs[each] = answer[end + 1 : end + 1 + size]
            position = end + size + 2

    def read(self, blob: str) -> bytes:
        """The content of a blob."""
        self.load((blob,))
        return self._blobs[blob]

    # -- Git

    def _usual(self) -> str | None:
        """Find the trunk by its usual names; the current branch does not count."""
        here = self.run("symbolic-ref", "--quiet", "HEAD") or b""
        listed = self.run(
            "for-each-ref", "--format=%(refname:short) %(objectname)",
            "refs/remotes/origin/", "refs/heads/main", "refs/heads/master",
        )  # fmt: skip
        refs = dict(line.split(" ") for line in os.fsdecode(listed or b"").splitlines())
        refs |= {"origin/HEAD": refs["origin"]} if "origin" in refs else {}
        current = os.fsdecode(here).strip().removeprefix("refs/heads/")
        return next((refs[each] for each in _TRUNKS if each in refs and each != current), None)

    def _named(self, ref: str) -> str:
        commit = self.commit(ref)
        if commit is None:
            raise GitError(f"{ref} is not a ref of this repository: fetch it (git fetch origin), or name another")
        return commit

    def _merging(self) -> list[str]:
        """The other parents of a merge. Before Git commits a merge by itself, only the environment names them."""
        file = self.path("MERGE_HEAD")
        if file.is_file():
            return file.read_text().split()
        names = (each.removeprefix("GITHEAD_") for each in os.environ if each.startswith("GITHEAD_"))
        return [each for each in map(self.commit, names) if each and each != self.commit("HEAD")]

    def _empty_tree(self) -> str:
        return os.fsdecode(self.run_checked("hash-object", "-t", "tree", "--stdin", given=b"")).strip()
