"""The revision graph of Alembic and DBMate migrations, from the syntax trees of the files, without importing them."""

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
        down: Its down revisions; empty for the first migration.
        file: Its path.
        depends_on: Revisions or branch labels of other branches, which Alembic upgrades first.
        labels: Labels of the branch that starts with it.
    """

    id: str
    down: tuple[str, ...]
    file: Path
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


_DBMATE: Final = re.compile(r"(\d+).*\.sql", re.DOTALL)


def read_alembic(*directories: Path) -> list[Revision]:
    """Read the revisions in `versions` directories, by file name; skip other files.

    Raises:
        OSError: if one cannot be read.
    """
    return parse_alembic(
        (file, file.read_bytes()) for directory in directories for file in sorted(directory.rglob("*.py"))
    )


def parse_alembic(files: Iterable[tuple[Path, bytes]]) -> list[Revision]:
    """Read Alembic's revisions from the contents of files, such as Git's blobs."""
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


def find_unreadable(*directories: Path) -> list[Path]:
    """The files in `versions` directories that are not valid Python: Alembic cannot load any migration beside one.

    Raises:
        OSError: if one cannot be read.
    """
    found: list[Path] = []
    for file in (each for directory in directories for each in sorted(directory.rglob("*.py"))):
        try:
            ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            found.append(file)
    return found


def _texts(value: object) -> tuple[str, ...]:
    several = cast("Iterable[object]", value) if isinstance(value, (tuple, list, set)) else (value,)
    return tuple(each for each in several if isinstance(each, str))


def read_literals(module: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield the literal assignments of a module: name and value, in order."""
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
    """Read DBMate's migrations; each one follows the one before.

    Raises:
        OSError: if a directory cannot be read.
    """
    for directory in directories:
        next(directory.iterdir(), None)  # `glob` finds nothing where there is no directory
    return parse_dbmate(file for directory in directories for file in directory.glob("*.sql"))


def parse_dbmate(files: Iterable[Path]) -> list[Revision]:
    """Read DBMate's migrations from file names; DBMate orders them by name across directories."""
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
    """The graph of the revisions in the migration files of one tool.

    Args:
        tool: The tool.
        revisions: The result of `read_alembic` or `read_dbmate`; two files of one revision are two items.
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
        """Revision → its files, for revisions with several files: nobody knows which of them a database ran."""
        several = (each for each, number in Counter(each.id for each in self.revisions).items() if number > 1)
        return {each: tuple(one.file for one in self.revisions if one.id == each) for each in several}

    def parents(self, revision: str) -> tuple[str, ...]:
        """The revisions that must run directly before one: its down revisions and its dependencies."""
        known = self.by_id.get(revision)
        if known is None:
            return ()
        return (*known.down, *(self._resolve(each) for each in known.depends_on))

    def _resolve(self, name: str) -> str:
        """Resolve a name to a revision: by id, by branch label, or by a unique prefix of an id."""
        if name in self.by_id:
            return name
        if name in self._labelled:
            return self._labelled[name]
        starting = [each for each in self.by_id if each.startswith(name)]
        return starting[0] if len(starting) == 1 else name

    @cached_property
    def unresolved(self) -> dict[str, tuple[str, ...]]:
        """Revision → the down revisions and dependencies that no file has."""
        lacking = {each.id: tuple(one for one in self.parents(each.id) if one not in self) for each in self.revisions}
        return {each: names for each, names in lacking.items() if names}

    @cached_property
    def cycle(self) -> frozenset[str]:
        """The revisions that follow each other in a circle, and those between two circles."""
        left = {each.id: {one for one in each.down if one in self} for each in self.revisions}
        while True:
            followed = {one for down in left.values() for one in down}
            inside = {
                each: down & left.keys() for each, down in left.items() if down & left.keys() and each in followed
            }
            if len(inside) == len(left):
                return frozenset(left)
            left = inside

    def ancestors(self, revisions: Iterable[str]) -> frozenset[str]:
        """Revisions and all that must run before them, as far as there are files; files may form a cycle."""
        found: set[str] = set()
        open_ = list(revisions)
        while open_:
            each = open_.pop()
            if each in self.by_id and each not in found:
                found.add(each)
                open_.extend(self.parents(each))
        return frozenset(found)

    def applied(self, found: Iterable[str]) -> frozenset[str]:
        """The revisions of the files that a database has run.

        Args:
            found: Revisions in its version table: Alembic's heads, or all of DBMate's versions.
        """
        return frozenset(found) & self.by_id.keys() if self.tool == "dbmate" else self.ancestors(found)

    def pending(self, found: Collection[str]) -> tuple[Revision, ...]:
        """The revisions that a database has not run, in an order in which they can run.

        Empty if no file has an Alembic revision of the database: then we do not know what that revision follows.
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

    def contradicting(self, found: Collection[str]) -> bool:
        """Whether one of Alembic's rows comes before another: a database has run each of them, or none."""
        return self.tool == "alembic" and any(one in self._line(other) - {other} for one in found for other in found)

    def missing(self, found: Iterable[str]) -> tuple[str, ...]:
        """Revisions of a database that no file has."""
        return tuple(sorted(set(found) - self.by_id.keys()))

    @cached_property
    def forks(self) -> bool:
        """Whether two heads descend from one revision without branch labels, so that `upgrade head` is ambiguous.

        Branches without a common revision, or with labels, are separate on purpose.
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
        """A head and all revisions that it follows, without dependencies."""
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
