"""Compares two versions of tables for code of the old version, which runs until the deployment has ended.

The direction `request` means that old code writes, `response` that it reads. We assume that old code names its columns
in each statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from . import describe
from .fields import ColumnSpec, Document, FieldSpec, SchemaSpec, TypeSpec
from .findings import Finding
from .verdicts import DIRECTIONS, TABLES, PayloadDirection

Types = Callable[[str, PayloadDirection, TypeSpec, TypeSpec, str], list[Finding]]
"""Compares two types: the table, the direction, old, new, the column."""

_HARMLESS_TO_READ: Final = {"range", "length", "digits", "multiple", "timezone", "finite"}
"""Rules by which a column may hold more values: code can read a longer text or a larger number, too."""


def compare_tables(old: Document, new: Document, types: Types) -> Iterator[Finding]:
    """Compare tables. We pair them by name, since running code knows a table only by its name."""
    for ref in sorted(old.keys() | new.keys()):
        before, after = old.get(ref), new.get(ref)
        if before is None:
            yield from _both("table-added", "changed", ref, "", "", ref)
        elif after is None:
            yield from _both("table-removed", "changed", ref, "", ref, "")
        else:
            yield from _columns(ref, before, after, types)
            yield from _constraints(ref, before, after)


def _both(rule: str, change: str, table: str, path: str, old: str, new: str) -> Iterator[Finding]:
    for number, direction in enumerate(DIRECTIONS):
        level, why = TABLES[rule, change][number]
        yield Finding(rule=rule, schema=table, direction=direction, path=path, old=old, new=new, level=level, why=why)


def _columns(table: str, before: SchemaSpec, after: SchemaSpec, types: Types) -> Iterator[Finding]:
    olds, news = ({each.name: each for each in schema.type.fields} for schema in (before, after))
    for name in sorted(olds.keys() - news.keys()):
        change = "generated" if _generated(olds[name]) else "written"
        yield from _both("column-removed", change, table, name, describe.column_text(olds[name]), "")
    for name in sorted(news.keys() - olds.keys()):
        change = "filled" if _filled(news[name]) else "required"
        yield from _both("column-added", change, table, name, "", describe.column_text(news[name]))
    for name in sorted(olds.keys() & news.keys()):
        one, other = olds[name], news[name]
        texts = describe.column_text(one), describe.column_text(other)
        if _generated(one) != _generated(other):
            yield from _both("column-generated", "to" if _generated(other) else "from", table, name, *texts)
        elif _filled(one) and not _filled(other) and _may_be_left_out(one):
            yield from _both("column-required", "changed", table, name, *texts)
        elif _default(one) != _default(other) and None not in (_default(one), _default(other)):
            yield from _both("column-default", "computed" if _generated(one) else "changed", table, name, *texts)
        found = [each for direction in DIRECTIONS for each in types(table, direction, one.type, other.type, name)]
        yield from map(_for_code, found)
        sql = [each.column.sql if each.column else "" for each in (one, other)]
        if not found and sql[0] != sql[1]:
            yield from _both("column-type", "wider" if _is_wider(*sql) else "other", table, name, *sql)


def _for_code(found: Finding) -> Finding:
    """Adjust a finding on a column's type: code reads the column, not a client that validates."""
    if found.direction == "response" and found.level == "breaking":
        if found.rule in _HARMLESS_TO_READ:
            level, why = TABLES["column-type", "wider"][1]
            return replace(found, level=level, why=why)
        if found.rule == "null":
            level, why = TABLES["column-type", "nullable"][1]
            return replace(found, level=level, why=why)
    return found


_SIZES: Final = (
    ("TINYINT", "SMALLINT", "MEDIUMINT", "INTEGER", "BIGINT"),
    ("TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"),
    ("TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"),
    ("REAL", "FLOAT", "DOUBLE"),
    ("REAL", "FLOAT", "DOUBLE PRECISION"),
)
"""Types of one kind, from the smallest."""


def _is_wider(old: str, new: str) -> bool:
    """Whether a type holds all values of another one."""
    return any(old in each and new in each and each.index(old) < each.index(new) for each in _SIZES)


def _default(field: FieldSpec) -> str | None:
    """The expression that the database fills in."""
    return field.column.server_default if field.column is not None else None


def _constraints(table: str, before: SchemaSpec, after: SchemaSpec) -> Iterator[Finding]:
    # An index that is not unique refuses nothing.
    olds, news = ({text for text in schema.constraints if not text.startswith("index ")} for schema in (before, after))
    one, other = _key(before), _key(after)
    if one and other and {*one} - {*other}:  # a key of fewer or other columns refuses more rows
        olds, news = olds | {f"primary key ({', '.join(one)})"}, news | {f"primary key ({', '.join(other)})"}
    null = _null_at_first(before, after)
    for text in sorted(news - olds):
        yield from _both("constraint-added", _reach(text, null), table, "", "", text)
    for text in sorted(olds - news):
        yield from _both("constraint-removed", "changed", table, "", text, "")
    olds, news = ({each for field in schema.type.fields for each in _own(field)} for schema in (before, after))
    for text in sorted(news - olds - set(after.constraints)):
        yield from _both("constraint-added", _reach(text, null), table, "", "", text)


def _null_at_first(before: SchemaSpec, after: SchemaSpec) -> set[str]:
    """New columns that are null in each row that old code writes."""
    known = {each.name for each in before.type.fields}
    return {
        each.name
        for each in after.type.fields
        if each.name not in known and each.type.nullable and each.column and not _filled_in(each.column)
    }


def _key(schema: SchemaSpec) -> list[str]:
    return [each.name for each in schema.fields if each.column and each.column.primary_key]


_COLUMNS: Final = re.compile(r"(?:unique|unique index|foreign key) \((.*?)\)|(\S+) references ")


def _reach(text: str, null: set[str]) -> str:
    """Whether a constraint applies to rows of old code; unique and foreign keys do not apply if a column is null."""
    found = _COLUMNS.match(text)
    names = (found[1] or found[2] or "").split(", ") if found else ()
    return "outside" if null.intersection(names) else "changed"


def _own(field: FieldSpec) -> Iterator[str]:
    """The constraints that a column declares itself."""
    if field.column is not None and field.column.unique:
        yield f"unique ({field.name})"
    if field.column is not None and field.column.references is not None:
        yield f"{field.name} references {field.column.references}"


def _generated(field: FieldSpec) -> bool:
    """Whether only the database writes the column."""
    return field.presence == "never"


def _filled(field: FieldSpec) -> bool:
    """Whether code that does not know the column can write a row; a default in Python does not help such code."""
    return field.type.nullable or (field.column is not None and _filled_in(field.column))


def _filled_in(column: ColumnSpec) -> bool:
    """Whether the database fills in a value."""
    return column.server_default is not None or column.generated is not None


def _may_be_left_out(field: FieldSpec) -> bool:
    """Whether old code may leave the column to the database: it has no default in Python."""
    return field.column is None or not field.column.default
