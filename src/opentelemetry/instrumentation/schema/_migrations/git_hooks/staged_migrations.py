"""The migrations of one tool, in the index and in the merged commit."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from ..._schemas.revisions import Revision, RevisionGraph, ToolName, parse_alembic, parse_dbmate
from ..._schemas.source import tree_digest
from . import sql
from .staged import Staged

_BODY: Final = re.compile(rb"^(?:async )?(?:def|class) ", re.MULTILINE)


class MigrationPaths(NamedTuple):
    """Where the migrations of one tool are.

    Attributes:
        tool: The tool.
        directories: Directories relative to the top of the work tree, with `/`.
        table: Name of the version table.
    """

    tool: ToolName
    directories: tuple[str, ...]
    table: str

    def contains(self, name: str) -> bool:
        """Whether a file is in one of the directories and may be a migration; DBMate does not read subdirectories."""
        if self.tool == "dbmate":
            return name.endswith(".sql") and str(PurePosixPath(name).parent) in self.directories
        return name.endswith(".py") and self.is_below(name)

    def is_below(self, name: str) -> bool:
        """Whether a file is in one of the directories."""
        return any(each == "." or name.startswith(f"{each}/") for each in self.directories)


class StagedMigrations:
    """The staged migrations of one tool.

    Args:
        paths: Where the migrations are.
        staged: The index.
        files: Path → blob of the files in the index.
        before: Path → blob of the files in the merged commit; None if no merged commit is known.
    """

    def __init__(
        self, place: MigrationPaths, staged: Staged, files: Mapping[str, str], before: Mapping[str, str] | None
    ) -> None:
        self.paths = place
        self.tool = place.tool
        self._staged = staged
        self.files = {name: blob for name, blob in files.items() if place.contains(name)}
        staged.load(self.files.values())
        self.graph = RevisionGraph(self.tool, self._revisions(self.files))
        self.by_file = {each.file.as_posix(): each for each in self.graph.revisions}
        self._before = before

    def _revisions(self, files: Mapping[str, str]) -> list[Revision]:
        return self._alembic(files) if self.tool == "alembic" else parse_dbmate(map(Path, files))

    def _alembic(self, files: Mapping[str, str]) -> list[Revision]:
        """Read Alembic's revisions. The text before the first function names them, and is a tenth of the file."""
        python = [(Path(name), self._staged.read(blob)) for name, blob in sorted(files.items())]
        heads = [(file, text[: match.start()] if (match := _BODY.search(text)) else text) for file, text in python]
        found = parse_alembic(heads)
        seen = {each.file for each in found}
        found += parse_alembic((file, text) for file, text in python if file not in seen and b"revision" in text)
        return sorted(found, key=lambda each: each.file)

    @cached_property
    def merged_files(self) -> dict[str, str]:
        """Path → blob of the merged migrations that the index lacks or has with another content."""
        before = self._before or {}
        return {
            name: blob for name, blob in before.items() if self.paths.contains(name) and self.files.get(name) != blob
        }

    @cached_property
    def merged(self) -> dict[str, str | None]:
        """Revision → blob of its merged text, for every merged migration; None if the index has the same text."""
        if self._before is None:
            return {}
        found: dict[str, str | None] = {
            each.id: None for name, each in self.by_file.items() if self._before.get(name) == self.files[name]
        }
        self._staged.load(self.merged_files.values())
        return found | {each.id: self.merged_files[each.file.as_posix()] for each in self._revisions(self.merged_files)}

    @cached_property
    def changed(self) -> list[str]:
        """Paths of the migrations that this change adds or edits; a merged migration that only moved does not count."""
        return [
            name
            for name, each in self.by_file.items()
            if name in self._staged.changes and not self.is_unchanged(name, self.merged.get(each.id))
        ]

    def is_unchanged(self, name: str, blob: str | None) -> bool:
        """Whether a staged migration equals its merged text, apart from comments and layout."""
        if blob is None or blob == self.files[name]:
            return blob is not None
        return self._digest(name, self.files[name]) == self._digest(name, blob)

    def _digest(self, name: str, blob: str) -> str:
        text = self._staged.read(blob)
        if name.endswith(".sql"):
            return sql.normalize(decode(text))
        try:
            return tree_digest(ast.Module(_without_docstring(ast.parse(text).body), []))
        except (SyntaxError, ValueError):
            return blob

    def text(self, name: str) -> str:
        """The staged text of a file."""
        return decode(self._staged.read(self.files[name]))

    def line_of(self, name: str, variable: str) -> int:
        """Line number of a module's variable; 1 if it has none."""
        match = re.search(rf"^{variable}\b", self.text(name), re.MULTILINE)
        return self.text(name).count("\n", 0, match.start()) + 1 if match else 1

    def format_revisions(self, revisions: Iterable[str]) -> str:
        """Format revisions with the names of their files."""
        return ", ".join(
            f"{each} ({self.graph.by_id[each].file.name})" if each in self.graph.by_id else each for each in revisions
        )


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    return body[1:] if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else body


def decode(text: bytes) -> str:
    """Decode UTF-8, and replace invalid bytes."""
    return text.decode("utf-8-sig", "replace")
