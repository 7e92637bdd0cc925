"""Heads and ancestors of Alembic and DBMate migrations, read from their files' syntax trees without importing them."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

ToolName = Literal["alembic", "dbmate"]


class Revision(NamedTuple):
    """One migration file.

    Attributes:
        id: Its revision.
        down: The revisions that it follows, none of the first.
        file: Where it is.
        depends_on: Revisions or branch labels of other branches that it needs, and that Alembic upgrades before it.
        labels: Names of the branch that starts with it.
    """

    id: str
    down: tuple[str, ...]
    file: Path
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


_DBMATE: Final = re.compile(r"(\d+).*\.sql", re.DOTALL)


def read_alembic(*directories: Path) -> list[Revision]:
    """The revisions in `versions` directories, by file name; files that are none are passed over.

    Raises:
        OSError: if one cannot be read.
    """
    return parse_alembic(
        (file, file.read_bytes()) for directory in directories for file in sorted(directory.rglob("*.py"))
    )


def parse_alembic(files: Iterable[tuple[Path, bytes]]) -> list[Revision]:
    """Likewise from the files' contents, such as Git has them."""
    found: list[Revision] = []
    for file, content in files:
        if file.name.startswith((".#", "__init__")):  # an editor's lock file is no migration
            continue
        try:
            names = dict(read_literals(ast.parse(content, str(file))))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        revision = names.get("revision")
        if isinstance(revision, str):
            others = (_texts(names.get(each)) for each in ("down_revision", "depends_on", "branch_labels"))
            down, depends_on, labels = others
            found.append(Revision(revision, down, file, depends_on, labels))
    return found


def _texts(value: object) -> tuple[str, ...]:
    several = cast("Iterable[object]", value) if isinstance(value, (tuple, list, set)) else (value,)
    return tuple(each for each in several if isinstance(each, str))


def read_literals(module: ast.Module) -> Iterator[tuple[str, object]]:
    """Names that a module gives a literal value, in order."""
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        try:
            literal: object = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError, SyntaxError):  # made by code
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id, literal


def read_dbmate(*directories: Path) -> list[Revision]:
    """DBMate's migrations, each following the one before.

    Raises:
        OSError: if a directory cannot be read.
    """
    for directory in directories:
        next(directory.iterdir(), None)  # `glob` finds nothing where there is no directory
    return parse_dbmate(file for directory in directories for file in directory.glob("*.sql"))


def parse_dbmate(files: Iterable[Path]) -> list[Revision]:
    """Likewise from the files' names; DBMate orders them by name, whatever directory they are in."""
    found: list[Revision] = []
    for file in sorted(files, key=lambda each: each.name):
        match = _DBMATE.fullmatch(file.name)
        if match:
            down = (found[-1].id,) if found else ()
            found.append(Revision(match[1], down, file))
    return found


def heads(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """The revisions that no other follows."""
    revisions = list(revisions)
    followed = {down for each in revisions for down in each.down}
    return tuple(sorted({each.id for each in revisions} - followed))


class RevisionGraph:
    """What the migration files of one tool say about revisions.

    Args:
        tool: Whose files they are.
        revisions: What `alembic` or `dbmate` read; two files of one revision are two of them.
    """

    def __init__(self, tool: ToolName, revisions: Iterable[Revision]) -> None:
        self.tool: ToolName = tool
        self.revisions: tuple[Revision, ...] = tuple(revisions)
        self.by_id: dict[str, Revision] = {each.id: each for each in self.revisions}
        self._labelled = {label: each.id for each in self.revisions for label in each.labels}

    def __contains__(self, revision: object) -> bool:
        return revision in self.by_id

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other follows."""
        return heads(self.revisions)

    @cached_property
    def duplicates(self) -> dict[str, tuple[Path, ...]]:
        """Revisions that several files claim to be, with the files. Which of them a database ran, nobody knows."""
        several = (each for each, number in Counter(each.id for each in self.revisions).items() if number > 1)
        return {each: tuple(one.file for one in self.revisions if one.id == each) for each in several}

    def parents(self, revision: str) -> tuple[str, ...]:
        """The revisions that one needs directly: those it follows and those it depends on."""
        known = self.by_id.get(revision)
        if known is None:
            return ()
        return (*known.down, *(self._resolve(each) for each in known.depends_on))

    def _resolve(self, name: str) -> str:
        """The revision that a name stands for: itself, the branch of that label, or the one that starts so."""
        if name in self.by_id:
            return name
        if name in self._labelled:
            return self._labelled[name]
        starting = [each for each in self.by_id if each.startswith(name)]
        return starting[0] if len(starting) == 1 else name

    def ancestors(self, revisions: Iterable[str]) -> frozenset[str]:
        """Revisions and all that they need, as far as there are files; also where files go round in a circle."""
        found: set[str] = set()
        open_ = list(revisions)
        while open_:
            each = open_.pop()
            if each in self.by_id and each not in found:
                found.add(each)
                open_.extend(self.parents(each))
        return frozenset(found)

    def applied(self, found: Iterable[str]) -> frozenset[str]:
        """The files' revisions that a database has run.

        Args:
            found: What its version table holds: Alembic's heads, or all of DBMate's versions.
        """
        return frozenset(found) & self.by_id.keys() if self.tool == "dbmate" else self.ancestors(found)

    def pending(self, found: Collection[str]) -> tuple[Revision, ...]:
        """The revisions that a database has not run, each after all that it needs.

        None where it holds a revision of Alembic's that no file does: what that one followed is not known.
        """
        if self.tool == "alembic" and self.missing(found):
            return ()
        done = set(self.applied(found))
        ordered: list[Revision] = []
        for start in self.revisions:
            open_ = [start.id]
            while open_:
                each = open_[-1]
                missing = [one for one in self.parents(each) if one in self.by_id and one not in done | {*open_}]
                if missing:
                    open_.append(missing[0])
                    continue
                open_.pop()
                if each not in done:
                    done.add(each)
                    ordered.append(self.by_id[each])
        return tuple(ordered)

    def missing(self, found: Iterable[str]) -> tuple[str, ...]:
        """Revisions that a database holds and no file does."""
        return tuple(sorted(set(found) - self.by_id.keys()))

    @cached_property
    def forks(self) -> bool:
        """Whether two heads grew from one revision without labels of their own, so that `upgrade head` is ambiguous.

        Branches that start apart, or that have labels, are several lines on purpose.
        """
        if self.tool == "dbmate" or len(self.heads) < 2:
            return False
        lines = {head: self._line(head) for head in self.heads}
        for one in self.heads:
            for other in self.heads:
                if one < other and lines[one] & lines[other]:
                    own, others = lines[one] - lines[other], lines[other] - lines[one]
                    if not (self._labels(own) and self._labels(others)):
                        return True
        return False

    def _line(self, head: str) -> frozenset[str]:
        """A head and what it follows, without what it depends on."""
        found: set[str] = set()
        open_ = [head]
        while open_:
            each = open_.pop()
            if each in self.by_id and each not in found:
                found.add(each)
                open_.extend(self.by_id[each].down)
        return frozenset(found)

    def _labels(self, revisions: Iterable[str]) -> bool:
        return any(self.by_id[each].labels for each in revisions)
