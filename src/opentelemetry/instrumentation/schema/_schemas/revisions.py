"""Heads of Alembic and DBMate migrations, read from their files without importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, cast


class Revision(NamedTuple):
    """One migration file.

    Attributes:
        id: Its revision.
        down: The revisions that it follows, none of the first.
        file: Where it is.
    """

    id: str
    down: tuple[str, ...]
    file: Path


_DBMATE: Final = re.compile(r"(\d+).*\.sql")


def alembic(directory: Path) -> list[Revision]:
    """The revisions in a `versions` directory, by file name; files that are none are passed over.

    Raises:
        OSError: if it cannot be read.
    """
    found: list[Revision] = []
    for file in sorted(directory.rglob("*.py")):
        try:
            names = dict(_assigned(ast.parse(file.read_bytes(), str(file))))
        except (SyntaxError, ValueError):
            continue
        revision, down = names.get("revision"), names.get("down_revision")
        if isinstance(revision, str):
            downs = cast("tuple[object, ...]", down) if isinstance(down, (tuple, list)) else (down,)
            found.append(Revision(revision, tuple(each for each in downs if isinstance(each, str)), file))
    return found


def _assigned(module: ast.Module) -> Iterator[tuple[str, object]]:
    for node in module.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name):
            try:
                yield target.id, ast.literal_eval(value)
            except ValueError:  # made by code
                continue


def dbmate(directory: Path) -> list[Revision]:
    """DBMate's migrations, each following the one before.

    Raises:
        OSError: if the directory cannot be read.
    """
    found: list[Revision] = []
    for file in sorted(directory.glob("*.sql")):
        match = _DBMATE.fullmatch(file.name)
        if match:
            down = (found[-1].id,) if found else ()
            found.append(Revision(match[1], down, file))
    return found


def heads(revisions: list[Revision]) -> tuple[str, ...]:
    """The revisions that no other follows."""
    followed = {down for each in revisions for down in each.down}
    return tuple(sorted({each.id for each in revisions} - followed))
