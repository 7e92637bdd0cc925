"""Whether a schema of the API still fits the table that holds its data.

What the API accepts is compared with what the database keeps, and what the table holds with what the API answers.
Only what both declare is compared: what validators, triggers and rules across fields do is not known, and not guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from . import fit_read, fit_write
from .fields import FieldSpec, SchemaSpec, TypeSpec
from .fit_columns import NAMES, Capacity, System, column_capacity
from .fit_findings import Conflict, Mismatch, Way, explain, severity

_REPLACES: Final = ("before", "plain", "wrap")


def compare(
    schema: SchemaSpec,
    document: Mapping[str, SchemaSpec],
    table: SchemaSpec,
    system: System,
    declared: bool = False,
) -> list[Mismatch]:
    """Find every mismatch between a schema and its table.

    Args:
        schema: Of the API.
        document: Where the schemas that it holds are looked up.
        table: As `integrations.sqlalchemy.fields` reads it, from a model's metadata or from a database.
        system: The kind of database.
        declared: Whether somebody said that the two belong together. Else a field without a column, a column without
            a field and a type that is always refused are warnings: code knows what to do with them, or it would have
            been noticed at once.
    """
    if not declared:
        schema = replace(schema, directions=_directions(schema))
    columns = {each.name: each for each in table.fields}
    checks = tuple(each for each in table.constraints if each.startswith("check"))
    found: list[Mismatch] = []
    builder = _MismatchBuilder(schema, table, system, declared)
    fields = {_column_of(each, table): each for each in schema.fields}
    for name, field in fields.items():
        column = columns.get(name) or table.inherited.get(name)
        if column is None:
            found += () if name in table.attributes else builder.missing(field)
            continue
        kept = column_capacity(column, system, checks)
        for way, conflict in _find_conflicts(schema, field, column, kept, document):
            if conflict.kind == "type" and conflict.effect == "refused" and not declared:
                conflict = replace(conflict, minor=True)
            found.append(builder.mismatch(way, conflict, field.name, column.name))
    if _writes(schema) and any(each.presence == "required" for each in schema.fields):  # else it changes a row
        given = {*fields, *(column for each in schema.fields for column in table.covers.get(column_name(each), ()))}
        found += (builder.required(each) for each in table.fields if each.name not in given and _needed(each))
    return found


def column_name(field: FieldSpec) -> str:
    """The name, in Python, of the column to which a field is written."""
    other = field.attribute
    if other is None or "." in other or field.column is not None or field.name in field.accepts:
        return field.name
    return other


def _column_of(field: FieldSpec, table: SchemaSpec) -> str:
    """The column to which a field is written, under the name that the table's class gives it."""
    name = column_name(field)
    return table.attributes.get(name) or name


_REQUESTS: Final = "In|Create|Update|Patch|Request|Input|Form|Body|Payload"
_RESPONSES: Final = "Out|Read|Public|Response|Output|Summary|Detail|Details|View"
_NAMED: Final = re.compile(rf"(?:({_REQUESTS})|({_RESPONSES}))(?:Minimal|Short|Full|With[A-Z]\w*)*$")


def _directions(schema: SchemaSpec) -> tuple[str, ...]:
    """The directions in which a schema is used, as a framework reports them.

    Its name decides (`LeadIn`, `LeadOut`) where that says both or nothing: what another schema holds in a request is
    looked up more often than it is written.
    """
    if len(schema.directions) == 1:
        return schema.directions
    found = _NAMED.search(schema.name)
    return schema.directions if found is None else ("request",) if found[1] else ("response",)


def _writes(schema: SchemaSpec) -> bool:
    return "request" in schema.directions or not schema.directions


def _reads(schema: SchemaSpec) -> bool:
    """Whether responses are validated; marshmallow does not validate them."""
    return schema.library != "marshmallow" and ("response" in schema.directions or not schema.directions)


def _changes_a_row(schema: SchemaSpec) -> bool:
    """Whether a schema seems to update existing rows: by its name, or since no field is required."""
    return schema.name.endswith(("Update", "Patch")) or all(each.presence != "required" for each in schema.fields)


_TAKEN_FOR_ABSENT: Final = "An INSERT writes the column's default instead of null; the database refuses an UPDATE."


def _filled_by_insert(column: FieldSpec) -> bool:
    """Whether null in a new object of a mapped class becomes the column's default."""
    spec = column.column
    return (
        spec is not None and spec.mapped and (spec.default or spec.server_default is not None or bool(spec.generated))
    )


def _needed(column: FieldSpec) -> bool:
    """Whether an insert must give a column: the server makes no value, and neither does SQLAlchemy."""
    return column.presence == "required" and not (column.column is not None and column.column.generated is not None)


def _find_conflicts(
    schema: SchemaSpec, field: FieldSpec, column: FieldSpec, kept: Capacity, document: Mapping[str, SchemaSpec]
) -> Iterator[tuple[Way, Conflict]]:
    if _writes(schema) and field.presence != "never" and field.written != "never":
        if column.presence == "never":
            generated = column.column.generated if column.column is not None else ""
            yield "write", Conflict("generated-column", "refused", "it can be written", generated or "")
            return
        for each in fit_write.find_conflicts(_loaded(field.type), kept, schema.library, document):
            if each.kind == "nullable" and _filled_by_insert(column):
                if column.column is not None and column.column.primary_key:
                    continue  # an UPDATE selects rows by the primary key
                if not _changes_a_row(schema):
                    each = replace(each, minor=True, why=_TAKEN_FOR_ABSENT)
            yield "write", each
        trap = _default(field, column, kept)
        if trap is not None:
            yield "write", trap
    if _reads(schema) and field.presence != "never":
        for each in fit_read.find_conflicts(field.type, kept, schema.library):
            if each.kind != "range" or not _holds_keys(field, column):
                yield "read", each


def _loaded(type_: TypeSpec) -> TypeSpec:
    """What a field's values are once they are read: some libraries round decimals and convert time zones."""
    if type_.rounded is not None:
        type_ = replace(type_, decimal_places=type_.rounded)
    return type_ if type_.converted is None else replace(type_, timezone=type_.converted)


def _holds_keys(field: FieldSpec, column: FieldSpec) -> bool:
    """Whether the column has generated keys, or refers to them, and the field accepts all usual keys."""
    spec, type_ = column.column, field.type
    if spec is None or not (spec.generated in ("autoincrement", "identity", "identity always") or spec.references):
        return False
    least, most = (type_.ge, type_.gt), (type_.le, type_.lt)
    return all(each is None or float(each) <= 1 for each in least) and all(
        each is None or float(each) >= 2**31 - 1 for each in most
    )


# -- defaults


def _default(field: FieldSpec, column: FieldSpec, kept: Capacity) -> Conflict | None:
    """Find a default of the field that hides the default of the column."""
    spec = column.column
    if spec is None or field.default in (None, "factory") or (spec.server_default is None and not spec.default):
        return None
    mine = _value(str(field.default))
    shown = spec.fills if spec.fills is not None else spec.server_default
    if mine is None:
        if not kept.nullable or _filled_by_insert(column):
            return None
        text = f"the column's default is {shown}" if shown else "the column has a default"
        return Conflict(
            "default",
            "altered",
            "null by default",
            text,
            "The app writes null, so the column's default is not used.",
            minor=True,
        )
    theirs = _value(spec.fills) if spec.fills is not None else parse_literal(spec.server_default or "")
    if theirs is None or theirs is _UNKNOWN or mine is _UNKNOWN or kept.kind in _OWN_WORDS:
        return None
    if same_default(mine, theirs) or (theirs in column.type.values and mine == _member(str(theirs), column)):
        return None
    text = f"the column's default is {shown}"
    why_ = "Rows get one default from the app and another one from other writers."
    return Conflict("default", "altered", f"{field.default} by default", text, why_, minor=True)


_UNKNOWN: Final = object()
_OWN_WORDS: Final = ("duration", "list", "bytes")
"""Kinds of columns whose defaults are written in the database's own way."""


def _member(label: str, column: FieldSpec) -> object:
    """The value of an enum's member by its label."""
    members = column.column.members if column.column is not None else ()
    return members[column.type.values.index(label)] if members else label


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _UNKNOWN


def parse_literal(text: str) -> Any:
    """Parse a server default that is a literal, as a model or a database writes it; None if it is an expression."""
    bare = text.partition("::")[0].strip().strip("()").strip()
    if len(bare) >= 2 and bare[0] == bare[-1] and bare[0] in "'\"":
        return bare[1:-1].replace("''", "'")
    if bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    try:
        return float(bare)
    except ValueError:
        return None


def same_default(mine: Any, theirs: Any) -> bool:
    """Whether two defaults are equal, although a database may write its own in another type."""
    if isinstance(mine, bool):
        return mine == (str(theirs).lower() in ("1", "1.0", "true", "t"))
    if isinstance(mine, (dict, list)):
        return mine == (_value(theirs) if isinstance(theirs, str) else theirs)
    if str(mine) == str(theirs):
        return True
    try:
        return float(mine) == float(theirs)
    except (TypeError, ValueError):
        return _moment(mine) is not None and _moment(mine) == _moment(theirs)


def _moment(text: Any) -> datetime | None:
    """A text as a moment; None if it is no date and no time."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


class _MismatchBuilder:
    """Builds the mismatches of one schema and one table."""

    def __init__(self, schema: SchemaSpec, table: SchemaSpec, system: System, declared: bool) -> None:
        self.schema, self.table, self.system, self.declared = schema, table, NAMES[system], declared

    def mismatch(self, way: Way, conflict: Conflict, field: str, column: str, message: str = "") -> Mismatch:
        """Make a mismatch from a conflict of a field, a column, or both."""
        place = column if "." in column else f"{self.table.name}.{column}"  # of a parent's table
        both = f"the field: {conflict.field}; {place}: {conflict.column}"
        return Mismatch(
            schema=self.schema.ref,
            table=self.table.name,
            field=field,
            column=column,
            way=way,
            kind=conflict.kind,
            effect=conflict.effect,
            severity=severity(way, conflict),
            message=message or both,
            why=explain(way, conflict, self.system),
        )

    def missing(self, field: FieldSpec) -> Iterator[Mismatch]:
        """Report a field without a column."""
        if not _writes(self.schema) or field.presence == "never" or field.written == "never":
            return
        happens = "The database refuses a row with this field."
        conflict = Conflict("missing-column", "refused", why=happens, minor=not self.declared)
        yield self.mismatch("write", conflict, field.name, "", f"{self.table.name} has no such column")

    def required(self, column: FieldSpec) -> Mismatch:
        """Report a required column without a field."""
        happens = "The database refuses a row without this column."
        conflict = Conflict("required-column", "refused", why=happens, minor=not self.declared)
        text = f"{self.table.name}.{column.name} is NOT NULL and has no default, and no field gives it"
        return self.mismatch("write", conflict, "", column.name, text)
