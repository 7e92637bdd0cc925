"""Writes files below one folder. Never replaces a file of somebody else, or one that was edited since.

The first line of each file, in JSON the first key, holds the hash of the rest and of its template.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from .rendering import origin

State = Literal["new", "unchanged", "written", "edited", "foreign"]
"""What is at the path of a file to write: nothing, the same text, a file of ours that nobody edited, one that somebody
edited, or a file of somebody else."""

_SAYS: Final = "otel-schema export, and replaced by it as long as the rest has the hash sha256:"
_OF: Final = ", template "
_SEALS: Final = {".json": ' "__otel_schema_export": "{}",', ".tmpl": "{{{{/* {} */}}}}"}
_COMMENT: Final = "# {}"
_SEAL: Final = re.compile(rf'^(?:# | "__otel_schema_export": "|\{{\{{/\* ){re.escape(_SAYS)}([0-9a-f]{{64}}).*\n', re.M)


class WritingError(Exception):
    """A file that must not be written. The message names it, and says what to do."""


def sealed(name: str, text: str) -> str:
    """A file's text with the hash of the text."""
    suffix, made_of = Path(name).suffix, origin(name)
    said = _SAYS + _hash(text) + (f"{_OF}{made_of}" if made_of else "")
    seal = _SEALS.get(suffix, _COMMENT).format(said) + "\n"
    return text.replace("{\n", "{\n" + seal, 1) if suffix == ".json" else seal + text


def outdated(path: Path) -> bool:
    """Whether a file was written by a package with other templates than this one.

    Raises:
        OSError: if it cannot be read.
    """
    made_of = origin(path.name)
    if not made_of:
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(1000)
    return bool(_SEAL.search(head)) and f"{_OF}{made_of}" not in head


def unsealed(text: str) -> str:
    """A file's text without the hash."""
    return _SEAL.sub("", text, count=1)


def state(path: Path, text: str) -> State:
    """The state of the path where a text is to be written.

    Raises:
        OSError: if it cannot be read.
    """
    if not path.exists():
        return "new"
    there = path.read_text(encoding="utf-8", errors="replace")
    if there == text:
        return "unchanged"
    seal = _SEAL.search(there)
    if not seal:
        return "foreign"
    return "written" if seal[1] == _hash(unsealed(there)) else "edited"


def difference(path: Path, name: str, text: str) -> str:
    """The change to a file as a unified diff; empty if only the hash would change."""
    there = unsealed(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else ""
    lines = difflib.unified_diff(
        there.splitlines(keepends=True), unsealed(text).splitlines(keepends=True), f"there/{name}", f"written/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def check(directory: Path, files: Mapping[str, str], force: bool) -> None:
    """Whether all files may be written.

    Raises:
        WritingError: if one is a symbolic link or below one, is not a file, or is not ours and `force` is off.
        OSError: if one cannot be read.
    """
    for name, text in files.items():
        _refuse_links(directory, name)
        found = state(directory / name, text)
        if force or found not in ("edited", "foreign"):
            continue
        what = "was edited after export wrote it" if found == "edited" else "was not written by otel-schema export"
        raise WritingError(
            f"{directory / name} {what}: see --diff, leave it out with --only, or replace it with --force"
        )


def write(directory: Path, files: Mapping[str, str]) -> Iterable[Path]:
    """Write files that `check` allowed. Each is written whole or not at all.

    Raises:
        OSError: if one cannot be written.
    """
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_links(directory, name)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            draft.replace(path)  # a link would itself be replaced, never its target
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        yield path


def _refuse_links(directory: Path, name: str) -> None:
    path = directory
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            raise WritingError(f"{path} is a symbolic link: nothing is written through one")
    if path.exists() and not path.is_file():
        raise WritingError(f"{path} is not a file")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
