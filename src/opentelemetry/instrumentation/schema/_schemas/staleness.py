"""Checks whether a lock still fits the source, from the text of the source: nothing is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .lockfile import Lock
from .source import Definition, parse_definitions


class StaleEntry(NamedTuple):
    """A schema or table whose source differs from the lock.

    Attributes:
        ref: Its reference.
        file: Its file according to the lock.
        why: The difference.
    """

    ref: str
    file: str
    why: str


def find_stale(lock: Lock, read: Callable[[str], bytes | None]) -> list[StaleEntry]:
    """Find differences between a lock and the source; classes that the lock does not know are not found.

    Args:
        lock: The lock.
        read: Returns a file's content by its path relative to the lock; None if there is no such file.
    """
    files: dict[str, dict[str, Definition] | str] = {}
    found: list[StaleEntry] = []
    for ref, origin in sorted(lock.origins.items()):
        if origin.file is None or origin.tree is None:
            continue
        if origin.file not in files:
            files[origin.file] = _read(origin.file, read)
        classes = files[origin.file]
        if isinstance(classes, str):
            found.append(StaleEntry(ref, origin.file, classes))
            continue
        place = classes.get(origin.name or source_name(lock.schemas[ref].name))
        if place is None:
            found.append(StaleEntry(ref, origin.file, "is no longer there"))
        elif place.tree != origin.tree:
            found.append(StaleEntry(ref, origin.file, "was changed"))
    return found


def source_name(name: str) -> str:
    """The name in the source of a class: a generic one is defined without its parameters."""
    return name.partition("[")[0]


def _read(file: str, read: Callable[[str], bytes | None]) -> dict[str, Definition] | str:
    text = read(file)
    if text is None:
        return "was in a file that no longer exists"
    try:
        return parse_definitions(text, file)
    except SyntaxError as error:
        return f"is in a file that is not valid Python: {error.msg}, line {error.lineno}"
