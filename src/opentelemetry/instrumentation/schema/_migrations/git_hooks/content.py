"""Checks the text of one migration."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from ..operations import MigrationScript, does_nothing
from . import destructive, sql
from .codes import HookFinding

_SECTION: Final = re.compile(r"^--\s*migrate:(?P<name>up|down)\b[^\n]*$", re.MULTILINE)
_ACKNOWLEDGE: Final = (
    "If nothing needs this data any more, say so in this file: {mark} otel-schema: allow destructive REASON"
)
_NO_ROLLBACKS: Final = "if this project never rolls back, set [tool.otel-schema] downgrades = false"
_FROM_MODELS: Final = (
    "Write each table in the migration: if the models change, this migration will create other tables than before"
)
_VERSIONS: Final = "Leave this table to {tool}, which cannot undo what it did not write"


def check_alembic(name: str, text: str, table: str, downgrades: bool) -> Iterator[HookFinding]:
    """Check a migration of Alembic."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        what = f"is not valid Python: {getattr(error, 'msg', error)}"
        yield HookFinding(
            code="unreadable", file=name, line=line, what=what, fix="Correct it, because Alembic loads every file"
        )
        return
    script = MigrationScript(module)
    for up, down in script.pairs():
        for loss in destructive.find_in_script(script, up):
            fix = _ACKNOWLEDGE.format(mark="#")
            yield HookFinding(code="destructive", file=name, line=loss.line, what=loss.what, fix=fix)
        if downgrades:
            yield from _downgrade(name, script, up, down)
    for node in ast.walk(module):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in ("create_all", "drop_all"):
            what = f"calls {called.attr}()"
            yield HookFinding(code="create-all", file=name, line=called.lineno, what=what, fix=_FROM_MODELS)
    for line in sorted(set(_version_table(script, table))):
        what = f"uses {table}, in which Alembic records the revision"
        yield HookFinding(code="version-table", file=name, line=line, what=what, fix=_VERSIONS.format(tool="Alembic"))


def _downgrade(name: str, script: MigrationScript, up: str, down: str) -> Iterator[HookFinding]:
    upgrade, downgrade = script.functions.get(up), script.functions.get(down)
    if upgrade is None or does_nothing(upgrade):
        return
    if downgrade is None and down in script.bound:
        return
    if downgrade is None or does_nothing(downgrade):
        said = f"{down}() is missing" if downgrade is None else f"{down}() does nothing"
        yield HookFinding(
            code="no-downgrade",
            file=name,
            line=(downgrade or upgrade).lineno,
            what=f"{said}, but {up}() changes something: a rollback would leave that change in the database",
            fix=f"Undo each step, or raise NotImplementedError where it cannot be undone; {_NO_ROLLBACKS}",
        )


def _version_table(script: MigrationScript, table: str) -> Iterator[int]:
    for function in script.functions:
        for each in script.operations(function):
            if each.alembic and table in (each.table, each.argument_text(0, "table_name", "name", "old_table_name")):
                yield each.line
            for text in each.sql:
                if any(_names(statement.text, table) for statement in sql.statements(text)):
                    yield each.line


def _names(statement: str, table: str) -> bool:
    return re.search(rf"\b{table}\b", statement, re.IGNORECASE) is not None


def check_dbmate(name: str, text: str, table: str, downgrades: bool) -> Iterator[HookFinding]:
    """Check a migration of DBMate."""
    sections = list(_SECTION.finditer(text))
    ends = [*(each.start() for each in sections[1:]), len(text)]
    bodies = {each["name"]: (each, text[each.end() : end]) for each, end in zip(sections, ends, strict=False)}
    if "up" not in bodies:
        what = "has no line `-- migrate:up`"
        fix = "Write one above the statements: without it DBMate runs the files before this one, and stops here"
        yield HookFinding(code="unreadable", file=name, line=1, what=what, fix=fix)
        return
    start, up = bodies["up"]
    first = text.count("\n", 0, start.end()) + 1
    for loss in destructive.find_in_sql(up):
        fix = _ACKNOWLEDGE.format(mark="--")
        yield HookFinding(code="destructive", file=name, line=first + loss.line, what=loss.what, fix=fix)
    if downgrades and "down" not in bodies:
        what = "has no line `-- migrate:down`"
        fix = f"Write it, and undo each step below it, because DBMate refuses a file without it; {_NO_ROLLBACKS}"
        yield HookFinding(code="no-downgrade", file=name, line=1, what=what, fix=fix)
    elif downgrades and not any(sql.statements(bodies["down"][1])) and any(sql.statements(up)):
        line = text.count("\n", 0, bodies["down"][0].start()) + 1
        what = "has no statement below `-- migrate:down`: a rollback would leave the change in the database"
        fix = f"Undo each step; {_NO_ROLLBACKS}"
        yield HookFinding(code="no-downgrade", file=name, line=line, what=what, fix=fix)
    for section, body in bodies.values():
        for statement in sql.statements(body):
            if _names(statement.text, table):
                line = text.count("\n", 0, section.end()) + 1 + statement.line
                what = f"uses {table}, in which DBMate records the versions"
                yield HookFinding(
                    code="version-table", file=name, line=line, what=what, fix=_VERSIONS.format(tool="DBMate")
                )
