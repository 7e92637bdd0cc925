"""One shape for the fields of every library's schemas.

A reader (`integrations/<lib>/fields.py`) turns a schema into a `Document`: the schema, and each named schema that it
holds. Types refer to named schemas by reference, so recursive schemas and shared ones need no special care.

This module imports nothing of this package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Any, Final, Literal, cast, get_args

TypeKind = Literal[
    "any", "boolean", "integer", "number", "decimal", "string", "bytes", "date", "time", "datetime", "duration",
    "uuid", "enum", "list", "set", "tuple", "map", "object", "union", "null", "never", "custom",
]  # fmt: skip
"""`object` holds fields, of its own or of a named schema; `map` has keys that no schema declares; `custom` is a class
that decides itself what it accepts, known by its name alone."""

Extra = Literal["ignore", "allow", "forbid"]
"""How a schema treats undeclared keys: it drops, keeps or refuses them."""

Presence = Literal["required", "default", "optional", "never"]
"""Whether an input must hold the field: `default` fills in a value, `optional` leaves it out or null; `never` is a
field that is only written."""

Written = Literal["always", "sometimes", "never"]
"""Whether an output holds the field."""

Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSpec:
    """The type of one value.

    Attributes:
        kind: The type, in the words of this module.
        nullable: Whether null is accepted as well.
        ref: Name in the `Document` of an `object`'s schema; class name of a `custom` type.
        fields: Of an `object` without a name.
        extra: Likewise.
        extra_type: What undeclared keys must hold, where that is restricted.
        values: Of an `enum`.
        names: Of an `enum` whose Python members are neither texts nor numbers: their names, in the order of `values`.
            Of a `tuple`, the keys by which its items may be sent as an object.
        open: Whether the author announces further values (`x-extensible-enum`).
        ge: Lower bound; a date or time as ISO 8601 text, a duration in s.
        gt: Lower bound that is itself refused.
        le: Upper bound.
        lt: Upper bound that is itself refused.
        multiple_of: Which numbers.
        min_length: In characters, bytes or items.
        max_length: Likewise.
        pattern: A regular expression of the library.
        format: Such as `email` or `uri`.
        max_digits: Of a decimal, all digits.
        decimal_places: Of a decimal, those after the point.
        timezone: What a datetime must have: `aware` or `naive`.
        precision: Of a datetime, when restricted: `past`, `future`.
        strict: Whether the value must have the type already, without conversion.
        finite: Whether infinity and NaN are refused.
        unique: Whether items must differ.
        strip: Whether white space around a text is removed first.
        case: `lower` or `upper` where a text is converted.
        items: Of a list, set, map (its values), or of a tuple's rest; of an `enum`, the type that a value is converted
            to before it is looked up.
        keys: Of a map.
        prefix: A tuple's items by position.
        members: Of a union.
        discriminator: The field whose value chooses the union's member.
        checks: Code that decides as well: `mode:name`, with a digest of its source where that was asked for.
        serializers: Code that decides what is written.
        rounded: Of a decimal that is rounded when it is read, its digits after the point. No part of its shape.
        converted: Of a datetime that is converted when it is read, `aware` or `naive`. No part of its shape.
    """

    kind: TypeKind
    nullable: bool = False
    ref: str | None = None
    fields: tuple[FieldSpec, ...] = ()
    extra: Extra | None = None
    extra_type: TypeSpec | None = None
    values: tuple[Scalar, ...] = ()
    names: tuple[str, ...] = ()
    open: bool = False
    ge: float | str | None = None
    gt: float | str | None = None
    le: float | str | None = None
    lt: float | str | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    max_digits: int | None = None
    decimal_places: int | None = None
    timezone: str | None = None
    precision: str | None = None
    strict: bool = False
    finite: bool = False
    unique: bool = False
    strip: bool = False
    case: str | None = None
    items: TypeSpec | None = None
    keys: TypeSpec | None = None
    prefix: tuple[TypeSpec, ...] = ()
    members: tuple[TypeSpec, ...] = ()
    discriminator: str | None = None
    checks: tuple[str, ...] = ()
    serializers: tuple[str, ...] = ()
    rounded: int | None = field(default=None, compare=False)
    converted: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """Properties of a column besides its type.

    Attributes:
        sql: The type's SQL text, as the table's own dialect or the default one writes it.
        primary_key: Whether it is part of the primary key.
        server_default: The expression that the server fills in, as text.
        generated: `computed`, `identity` or `autoincrement` where the server makes the value.
        default: Whether SQLAlchemy fills in a value.
        fills: That value as JSON text, where it is always the same.
        members: Of an enum that a Python class makes: the values of its members, in the order of the labels.
        unique: Whether a constraint on this column alone makes it unique.
        references: `table.column` of a foreign key.
        sql_null: Of JSON, whether None is written as SQL's null, not as that of JSON.
        mapped: Whether a mapped class holds it: its INSERT takes null for a value that was not given. No part of the
            column's shape.
    """

    sql: str
    primary_key: bool = False
    server_default: str | None = None
    generated: str | None = None
    default: bool = False
    fills: str | None = None
    members: tuple[Scalar, ...] = ()
    unique: bool = False
    references: str | None = None
    sql_null: bool = False
    mapped: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field of a schema of any library.

    Attributes:
        name: In Python; of a JSON Schema the property, of a table the column.
        type: What it may hold.
        presence: Whether an input must hold it.
        written: Whether an output holds it.
        accepts: The names that an input may use; a path is written `a.b.0`. Empty where it is `name` alone.
        writes: The name in an output; None where it is `name`.
        default: The default as JSON text; `factory` where code makes it; None where there is none.
        attribute: What is read from an object (`from_attributes`, marshmallow's `attribute`); None where it is `name`.
        column: In a table.
    """

    name: str
    type: TypeSpec
    presence: Presence = "required"
    written: Written = "always"
    accepts: tuple[str, ...] = ()
    writes: str | None = None
    default: str | None = None
    attribute: str | None = None
    column: ColumnSpec | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every name that an input may use."""
        return self.accepts or (self.name,)

    @property
    def output(self) -> str:
        """The name in an output."""
        return self.name if self.writes is None else self.writes


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaSpec:
    """A schema with a name.

    Attributes:
        name: `schema.name`.
        module: `schema.module`; of a table, the module of its class.
        library: `schema.library`, and `sqlalchemy` for tables.
        type: An `object`; of anything else (RootModel, JSON Schema of a list) what it is.
        version: As declared by its author.
        from_attributes: Whether it also reads objects by their attributes.
        directions: Where it is used, as far as a framework says: `request`, `response`; empty where nobody knows.
        constraints: Of a table: unique constraints, checks, indexes, as text.
        table: The table that its author says it belongs to; empty where they say that it belongs to none.
        attributes: Of a mapped class: each attribute → its column, empty for a relationship. No part of its shape.
        inherited: Of a mapped class: columns in the tables of its parents, by attribute, named `table.column`. No part
            of its shape.
        covers: Of a mapped class: the columns that each composite and relationship writes. No part of its shape.
    """

    name: str
    module: str | None
    library: str
    type: TypeSpec
    version: str | None = None
    from_attributes: bool = False
    directions: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    table: str | None = None
    attributes: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    inherited: dict[str, FieldSpec] = field(default_factory=dict[str, FieldSpec], compare=False)
    covers: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]], compare=False)

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """Of an object."""
        return self.type.fields

    @property
    def ref(self) -> str:
        """Its name in a `Document`."""
        return reference(self.module, self.name)


Document = dict[str, SchemaSpec]
"""Named schemas by reference; a reader puts the one that it was asked for first."""

LONGEST_VERSION: Final = 64
"""Characters of a declared version."""


def reference(module: str | None, name: str) -> str:
    """`module:Name`, or the name alone."""
    return f"{module}:{name}" if module else name


def clean_version(value: object) -> str | None:
    """Clean a declared version: printable text of limited length; None if it is not a text or number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = "".join(char for char in str(value) if char.isprintable()).strip()
    return text[:LONGEST_VERSION] or None


def declared_version(cls: type) -> str | None:
    """The version that a class declares in its own body: a subclass is another schema."""
    return clean_version(vars(cls).get("__schema_version__"))


def declared_table(cls: type) -> str | None:
    """The table that a class declares in its own body, as `__schema_table__ = "leads"`, or in a base's."""
    found = getattr(cls, "__schema_table__", None)
    return found if isinstance(found, str) else None


def references(type_: TypeSpec) -> Iterator[str]:
    """The named schemas that a type holds directly."""
    if type_.kind == "object" and type_.ref is not None:
        yield type_.ref
    for part in inner_types(type_):
        yield from references(part)


def inner_types(type_: TypeSpec) -> Iterator[TypeSpec]:
    """The types inside a type."""
    yield from (field.type for field in type_.fields)
    yield from (each for each in (type_.items, type_.keys, type_.extra_type) if each is not None)
    yield from (*type_.prefix, *type_.members)


def reachable(ref: str, document: Mapping[str, SchemaSpec]) -> dict[str, SchemaSpec]:
    """A schema and every named schema below it, in the order of first mention."""
    found: dict[str, SchemaSpec] = {}
    pending = [ref]
    while pending:
        each = pending.pop(0)
        if each in document and each not in found:
            found[each] = document[each]
            pending.extend(references(document[each].type))
    return found


def without_null(type_: TypeSpec) -> TypeSpec:
    """The type as not nullable."""
    return replace(type_, nullable=False) if type_.nullable else type_


def union(members: list[TypeSpec], discriminator: str | None = None) -> TypeSpec:
    """A union, without nested unions and with null as a property of the whole."""
    flat: list[TypeSpec] = []
    nullable = False
    for member in members:
        if member.kind == "null":
            nullable = True
            continue
        nullable = nullable or member.nullable
        inner = without_null(member)
        nested = inner.members if inner.kind == "union" and inner.discriminator is None and not inner.checks else None
        flat.extend(each for each in nested or (inner,) if each not in flat)
    if not flat:
        return TypeSpec(kind="null")
    if len(flat) == 1:
        return replace(flat[0], nullable=True) if nullable else flat[0]
    return TypeSpec(kind="union", members=tuple(flat), nullable=nullable, discriminator=discriminator)


# -- as plain data

DIGITS: Final = 12
"""Hexadecimal digits of a fingerprint, and of a digest of source."""


def digest(text: str) -> str:
    """The first digits of a text's SHA-256."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def dumps(data: Any) -> str:
    """Serialize to canonical JSON."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


_Spec = TypeSpec | FieldSpec | ColumnSpec
DEFAULTS: Final[dict[Any, tuple[tuple[str, Any], ...]]] = {
    cls: tuple((each.name, each.default) for each in fields(cls) if each.compare)
    for cls in (TypeSpec, FieldSpec, ColumnSpec)
}
"""Class of a spec → its attributes, with their defaults."""


def as_data(spec: _Spec) -> dict[str, Any]:
    """Convert a spec to JSON data, without attributes that have their default."""
    data: dict[str, Any] = {}
    for name, default in DEFAULTS[type(spec)]:
        value = getattr(spec, name)
        if value is default or value == default:
            continue
        if isinstance(value, tuple):
            data[name] = [_part(each) for each in cast("tuple[Any, ...]", value)]
        else:
            data[name] = _part(value)
    return data


def _part(value: Any) -> Any:
    return as_data(value) if isinstance(value, (TypeSpec, FieldSpec, ColumnSpec)) else value


def type_from(data: Mapping[str, Any]) -> TypeSpec:
    """The reverse of `as_data`.

    Raises:
        TypeError: if the data names an unknown attribute.
        KeyError: if the data lacks an attribute.
        ValueError: if an attribute has a value of another kind.
    """
    found = dict(data)
    for name in ("items", "keys", "extra_type"):
        if name in found:
            found[name] = type_from(found[name])
    for name in ("prefix", "members"):
        if name in found:
            found[name] = tuple(type_from(each) for each in found[name])
    if "fields" in found:
        found["fields"] = tuple(field_from(each) for each in found["fields"])
    return TypeSpec(**_tuples(found))


def field_from(data: Mapping[str, Any]) -> FieldSpec:
    """The reverse of `as_data`; raises as `type_from` does."""
    found = dict(data)
    found["type"] = type_from(found["type"])
    if "column" in found:
        found["column"] = ColumnSpec(**_tuples(found["column"]))
    return FieldSpec(**_tuples(found))


_KINDS: Final = frozenset(get_args(TypeKind))
_LISTS: Final = {"fields", "values", "names", "prefix", "members", "checks", "serializers", "accepts"}


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    for name, value in data.items():
        wrong = isinstance(value, (list, tuple)) != (name in _LISTS)
        if wrong or (name == "kind" and value not in _KINDS):
            raise ValueError(f"{name} cannot be {value!r}")
    return {key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in data.items()}
