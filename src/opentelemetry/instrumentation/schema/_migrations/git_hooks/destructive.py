"""Finds steps of a migration that destroy data, from its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..operations import MigrationScript, Operation, source_text
from . import sql

_DROPS: Final = {"drop_table": "table", "drop_column": "column"}
_TEXTS: Final = frozenset(
    {"String", "Unicode", "VARCHAR", "NVARCHAR", "CHAR", "NCHAR", "Text", "TEXT", "UnicodeText", "CLOB"}
)
_INTEGERS: Final = {
    "SmallInteger": 2, "SMALLINT": 2, "Integer": 4, "INTEGER": 4, "INT": 4, "BigInteger": 8, "BIGINT": 8,
}  # fmt: skip
_EXACT: Final = frozenset({"Numeric", "NUMERIC", "DECIMAL"})
_NUMBERS: Final = _EXACT | {"Float", "FLOAT", "REAL", "Double", "DOUBLE"}
_TIMES: Final = frozenset({"DateTime", "DATETIME", "TIMESTAMP"})
_DATES: Final = frozenset({"Date", "DATE", "Time", "TIME"})


class DestructiveStep(NamedTuple):
    """A step of a migration that destroys data.

    Attributes:
        line: Line number.
        what: What the step does, in words.
    """

    line: int
    what: str


def find_in_script(script: MigrationScript, function: str) -> Iterator[DestructiveStep]:
    """Find the destructive steps in a function of a migration in Python, except on tables that it creates itself."""
    made: set[str] = set()
    for each in script.operations(function):
        if each.alembic and each.name == "create_table":
            made.add(each.argument_text(0, "table_name", "name"))
        elif each.alembic and each.name in _DROPS:
            table = each.table or each.argument_text(0, "table_name", "name")
            if table not in made:
                yield DestructiveStep(each.line, _dropped(each, table))
        elif each.alembic and each.name == "alter_column":
            narrow = _narrower(each.argument(99, "existing_type"), each.argument(99, "type_"))
            if narrow:
                table = each.table or each.argument_text(0, "table_name")
                column = each.argument_text(0 if each.table else 1, "column_name")
                yield DestructiveStep(each.line, f"makes the column {table}.{column} narrower: {narrow}")
        elif each.sql:
            for text in each.sql:
                yield from (DestructiveStep(each.line, loss.what) for loss in find_in_sql(text, made))
        else:
            deleted = _deleted(each)
            if deleted:
                yield DestructiveStep(each.line, deleted)


def find_in_sql(text: str, made: set[str] | None = None) -> Iterator[DestructiveStep]:
    """Find the destructive steps in SQL text, except on tables that it creates itself; lines count from 0.

    Args:
        text: The statements.
        made: Tables that the migration created before; we add those that this text creates.
    """
    made = set[str]() if made is None else made
    for statement in sql.statements(text):
        table = sql.created_table(statement)
        if table is not None:
            made.add(sql.unquote(table))
        for what, of in sql.find_destroyed(statement):
            if of is None or sql.unquote(of) not in made:
                yield DestructiveStep(statement.line, what)


def _dropped(each: Operation, table: str) -> str:
    if each.name == "drop_table":
        return f"drops the table {table}"
    column = each.argument_text(0 if each.table else 1, "column_name")
    return f"drops the column {table}.{column}"


def _deleted(each: Operation) -> str | None:
    """Describe the rows that an expression of SQLAlchemy deletes; None if it deletes none."""
    if each.name in ("execute", "scalar", "scalars") and each.call.args:
        for node in _calls(each.call.args[0]):
            called = node.func
            if isinstance(called, ast.Name) and called.id == "delete" and node.args:
                return f"deletes rows of {source_text(node.args[0])}"
            if isinstance(called, ast.Attribute) and called.attr == "delete":
                of = node.args[0] if node.args else called.value
                return f"deletes rows of {source_text(of)}"
    if each.name == "delete" and isinstance(each.call.func, ast.Attribute):
        on = each.call.func.value
        queried = next((call for call in _calls(on) if getattr(call.func, "attr", "") == "query"), None)
        if queried is not None and queried.args:
            return f"deletes rows of {source_text(queried.args[0])}"
        if isinstance(on, ast.Name) and "session" in on.id.lower() and each.call.args:
            return f"deletes the row {source_text(each.call.args[0])}"
    return None


def _calls(node: ast.expr) -> Iterable[ast.Call]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


class _Type(NamedTuple):
    name: str
    numbers: tuple[int | None, ...]
    timezone: bool
    text: str


def _type(node: ast.expr) -> _Type:
    name, numbers, timezone = "", (), False
    called = node.func if isinstance(node, ast.Call) else node
    if isinstance(called, (ast.Attribute, ast.Name)):
        name = called.attr if isinstance(called, ast.Attribute) else called.id
    if isinstance(node, ast.Call):
        named = {each.arg: each.value for each in node.keywords}
        given = [*node.args, *(named[key] for key in ("length", "precision", "scale") if key in named)]
        numbers = tuple(
            each.value if isinstance(each, ast.Constant) and isinstance(each.value, int) else None for each in given
        )
        zone = named.get("timezone")
        timezone = isinstance(zone, ast.Constant) and zone.value is True
    return _Type(name, numbers, timezone, re.sub(r"\s+", " ", ast.unparse(node)))


def _narrower(old: ast.expr | None, new: ast.expr | None) -> str:
    """How the new type is narrower than the old one; empty if it is not, or if we cannot tell."""
    if old is None or new is None:
        return ""
    before, after = _type(old), _type(new)
    return f"{before.text} → {after.text}" if _loses(before, after) else ""


def _loses(before: _Type, after: _Type) -> bool:
    if {before.name, after.name} <= _TEXTS:
        return _limit(after) < _limit(before)
    if after.name in _INTEGERS:
        return before.name in _NUMBERS or _INTEGERS.get(before.name, 0) > _INTEGERS[after.name]
    if before.name in _NUMBERS and after.name in _EXACT:
        whole_before, whole_after = _digits(before), _digits(after)
        return any(one < other for one, other in zip(whole_after, whole_before, strict=True))
    if before.name in _TIMES:
        return after.name in _DATES or (after.name in _TIMES and before.timezone and not after.timezone)
    return False


def _limit(type_: _Type) -> float:
    """The length of a text type; infinity if none is given."""
    return next((each for each in type_.numbers if each is not None), float("inf"))


def _digits(type_: _Type) -> tuple[float, float]:
    """Digits before and after the point; infinity without a precision."""
    precision, scale = (*type_.numbers, None, None)[:2]
    if precision is None or type_.name not in _EXACT:
        return float("inf"), float("inf")
    return precision - (scale or 0), scale or 0
