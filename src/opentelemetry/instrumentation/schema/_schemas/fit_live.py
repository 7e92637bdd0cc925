"""Compares and merges a table of the model with the same table of a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from . import fit_checks
from .fields import ColumnSpec, FieldSpec, SchemaSpec, TypeKind
from .fit import parse_literal, same_default

_FAMILIES: Final[tuple[frozenset[TypeKind], ...]] = (
    frozenset({"boolean", "integer", "number", "decimal"}),
    frozenset({"string", "enum", "uuid", "any"}),
    frozenset({"datetime", "date", "time", "duration"}),
    frozenset({"bytes", "uuid"}),
    frozenset({"decimal", "uuid"}),
)
"""Groups of kinds that one column type of a database may hold: MariaDB stores JSON and UUIDs as texts, and
SQLite takes the type UUID for NUMERIC."""


@dataclass(frozen=True)
class Drift:
    """A difference between a column of the model and of the database that migration tools do not detect.

    Attributes:
        table: Its table.
        column: Its name.
        what: `labels`, `default` or `check`.
        model: What the model says.
        database: What the database has.
    """

    table: str
    column: str
    what: str
    model: str
    database: str


def merge_tables(model: SchemaSpec | None, live: SchemaSpec) -> SchemaSpec:
    """Merge a table of the model and of the database: the model converts values, the database stores them.

    Args:
        model: As the application's metadata has it; None where it has none.
        live: As the database has it.
    """
    if model is None:
        return live
    columns = {each.name: each for each in model.fields}
    fields = tuple(_column(columns.get(each.name), each) for each in live.fields)
    return replace(
        live,
        type=replace(live.type, fields=fields),
        attributes=model.attributes,
        covers=model.covers,
        inherited=model.inherited,
    )


def _column(model: FieldSpec | None, live: FieldSpec) -> FieldSpec:
    if model is None or model.column is None or live.column is None:
        return live
    kinds = {model.type.kind, live.type.kind}
    if not (len(kinds) == 1 or model.type.checks or any(kinds <= each for each in _FAMILIES)):
        return live  # a wholly different type: the database decides
    type_ = replace(model.type, nullable=live.type.nullable)
    members = model.column.members
    if model.type.kind == "enum" and live.type.kind == "enum":
        kept = [each for each in model.type.values if each in live.type.values]
        if members:
            members = tuple(members[model.type.values.index(each)] for each in kept)
        type_ = replace(type_, values=tuple(kept))
    presence = live.presence
    made = model.column.server_default is None and model.column.generated is None  # by code: a mapper or a dataclass
    if presence == "required" and (model.column.default or (model.presence == "default" and made)):
        presence = "default"
    sql = live.column.sql
    if model.type.kind == "list":  # PostgreSQL knows no dimensions; SQLAlchemy does
        sql = sql.replace("[]", "") + "[]" * model.column.sql.count("[]")
    column = ColumnSpec(
        sql=sql,
        primary_key=live.column.primary_key,
        server_default=live.column.server_default,
        generated=live.column.generated or model.column.generated,
        default=model.column.default,
        fills=model.column.fills,
        members=members,
        unique=live.column.unique,
        references=live.column.references,
        mapped=model.column.mapped,
        sql_null=model.column.sql_null,
    )
    if live.column.generated is None and model.presence == "default" and model.column.generated:
        presence = "default"
    return replace(live, type=type_, presence=presence, column=column)


def find_drift(model: SchemaSpec, live: SchemaSpec) -> Iterator[Drift]:
    """Find differences in enum labels, server defaults and CHECK constraints; Alembic compares none by default."""
    columns = {each.name: each for each in live.fields}
    for each in model.fields:
        other = columns.get(each.name)
        if other is None or each.column is None or other.column is None:
            continue
        if each.type.kind == "enum" and other.type.kind == "enum":
            mine, theirs = set(map(str, each.type.values)), set(map(str, other.type.values))
            if mine != theirs:
                yield Drift(model.name, each.name, "labels", ", ".join(sorted(mine)), ", ".join(sorted(theirs)))
        if each.column.generated is None and other.column.generated is None:
            yield from _default(model.name, each.name, each.column.server_default, other.column.server_default)
        yield from _checks(model, live, each.name)


def _default(table: str, column: str, model: str | None, live: str | None) -> Iterator[Drift]:
    live = None if live is not None and live.strip().upper() == "NULL" else live
    if model is None and live is None:
        return
    if model is not None and live is not None:
        values = parse_literal(model), parse_literal(live)
        if values[0] is None or values[1] is None or same_default(*values):
            return  # an expression: each database writes it in its own way
    yield Drift(table, column, "default", model or "none", live or "none")


def _checks(model: SchemaSpec, live: SchemaSpec, column: str) -> Iterator[Drift]:
    texts = [tuple(each for each in table.constraints if each.startswith("check")) for table in (model, live)]
    mine, theirs = (fit_checks.read_limits(column, each) for each in texts)
    if mine.values is not None and theirs.values is not None and set(mine.values) == set(theirs.values):
        mine = replace(mine, values=theirs.values)
    if mine != theirs:
        yield Drift(model.name, column, "check", _text(mine), _text(theirs))


def _text(check: fit_checks.CheckLimits) -> str:
    parts = [f"one of {', '.join(check.values)}"] if check.values is not None else []
    bounds = [f"from {check.low:g}"] if check.low is not None else []
    bounds += [f"to {check.high:g}"] if check.high is not None else []
    parts += [" ".join(bounds)] if bounds else []
    parts += [f"one of {', '.join(f'{each:g}' for each in check.numbers)}"] if check.numbers is not None else []
    parts += [f"from {check.first}"] if check.first is not None else []
    parts += [f"to {check.last}"] if check.last is not None else []
    parts += [f"at least {check.shortest} characters"] if check.shortest is not None else []
    parts += [f"at most {check.longest} characters"] if check.longest is not None else []
    parts += [f"at least {check.least_bytes} bytes"] if check.least_bytes is not None else []
    parts += [f"at most {check.bytes_} bytes"] if check.bytes_ is not None else []
    parts += [f"not {each!r}" for each in check.excluded]
    parts += ["not of spaces alone"] if not check.blank else []
    parts += [f"{'not ' * each.negated}{each.text!r}" for each in check.patterns]
    parts += ["not null"] if check.filled else []
    return ", ".join(parts) or "none"
