"""Reads tables: of a model's metadata, and of a database as it is."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false
from __future__ import annotations

import contextlib
import dataclasses
import enum
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import types as t
from sqlalchemy.exc import SQLAlchemyError

from ..._schemas.defaults import is_computed
from ..._schemas.fields import ColumnSpec, Document, FieldSpec, Presence, Scalar, SchemaSpec, TypeKind, TypeSpec, dumps

_KINDS: Final[tuple[tuple[Any, TypeKind], ...]] = (
    (t.Boolean, "boolean"),
    (t.Integer, "integer"),
    (t.Float, "number"),
    (t.Numeric, "decimal"),
    (t.LargeBinary, "bytes"),
    (t._Binary, "bytes"),  # pyright: ignore[reportPrivateUsage]
    (t.DateTime, "datetime"),
    (t.Date, "date"),
    (t.Time, "time"),
    (t.Interval, "duration"),
    (t.JSON, "any"),
    (t.String, "string"),
)
_INTEGERS: Final = ((t.SmallInteger, 16), (t.BigInteger, 64), (t.Integer, 32))
_LONGEST: Final = 500
"""Characters of an expression."""


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None, dialect: Any = None) -> Document:
    """The columns of a table.

    Args:
        schema: A Table, or a class that is mapped to one.
        digest: Not used: a table has no code.
        dialect: Whose SQL the columns' types are written in; SQLAlchemy's default one where none is given.

    Raises:
        TypeError: if it is neither.
    """
    table: Any = getattr(schema, "__table__", schema)
    if not isinstance(table, sa.Table):
        raise TypeError(f"{type(schema).__qualname__} is no table and no class that is mapped to one")
    made = _made_by_dataclass(schema)
    mapped = isinstance(schema, type)
    columns = tuple(_column(each, table, dialect, each.key in made, mapped) for each in table.columns)
    spec = SchemaSpec(
        name=table.fullname,
        module=None,
        library="sqlalchemy",
        type=TypeSpec(kind="object", fields=columns, extra="forbid"),
        constraints=tuple(sorted({*_constraints(table), *_domains(table), *_indexes(table)})),
        attributes=_attributes(schema, table) if mapped else {},
    )
    return {spec.ref: spec}


def reflected(connection: Any, schema: str | None = None) -> Document:
    """Every table of a database as it is, read through SQLAlchemy's inspection.

    Args:
        connection: A connection or engine.
        schema: The database schema, the default one where none is given.
    """
    metadata = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that SQLAlchemy does not know: they are `custom`
        metadata.reflect(bind=connection, schema=schema)
    checks = _reflected_checks(connection, metadata, schema)
    found: Document = {}
    for table in sorted(metadata.tables.values(), key=lambda each: each.fullname):
        for ref, spec in fields(table, dialect=connection.dialect).items():
            texts = tuple(sorted({*spec.constraints, *(f"check {each}" for each in checks.get(table.name, ()))}))
            found[ref] = _as_json(replace(spec, constraints=texts))
    return found


def _reflected_checks(connection: Any, metadata: Any, schema: str | None) -> dict[str, list[str]]:
    """Texts of CHECK constraints by table, of which SQLAlchemy's `reflect` reads none."""
    found: dict[str, list[str]] = {}
    if getattr(connection.dialect, "is_mariadb", False):  # whose columns have some of their own
        rows = connection.execute(
            sa.text(
                "SELECT table_name, check_clause FROM information_schema.check_constraints "
                "WHERE constraint_schema = coalesce(:name, database())"
            ),
            {"name": schema},
        )
        for table, text in rows:
            found.setdefault(table, []).append(str(text))
        return found
    inspector = sa.inspect(connection)
    for table in metadata.tables.values():
        with contextlib.suppress(NotImplementedError, SQLAlchemyError):
            found[table.name] = [str(each["sqltext"]) for each in inspector.get_check_constraints(table.name, schema)]
    return found


_JSON: Final = re.compile(r"check json_valid\(`(.+)`\)", re.IGNORECASE)


def _as_json(spec: SchemaSpec) -> SchemaSpec:
    """MariaDB's JSON columns, which are texts with a CHECK."""
    names = {match[1] for each in spec.constraints if (match := _JSON.fullmatch(each))}
    columns = tuple(
        replace(each, type=TypeSpec(kind="any", nullable=each.type.nullable)) if each.name in names else each
        for each in spec.fields
    )
    return replace(spec, type=replace(spec.type, fields=columns)) if names else spec


def schemas(modules: Iterable[ModuleType]) -> Iterator[Any]:
    """Every mapped class that modules define, and every other table of their metadata or among their variables."""
    modules = list(modules)
    names = {module.__name__ for module in modules}
    seen: set[Any] = set()
    bases: dict[int, Any] = {}
    for registry in _registries():
        with contextlib.suppress(Exception):
            registry.configure()
        for mapper in sorted(registry.mappers, key=lambda each: each.class_.__qualname__):
            if mapper.class_.__module__ in names:
                bases[id(registry.metadata)] = registry.metadata
                if isinstance(mapper.local_table, sa.Table) and mapper.local_table not in seen:
                    seen.add(mapper.local_table)
                    yield mapper.class_
    for module in modules:
        for value in list(vars(module).values()):
            # By type: a proxy such as Flask's `current_app` raises when it is asked for its class.
            if issubclass(type(value), sa.MetaData):
                bases[id(value)] = value
            elif issubclass(type(value), sa.Table):
                bases[id(value.metadata)] = value.metadata
    for metadata in bases.values():
        for table in sorted(metadata.tables.values(), key=lambda each: each.fullname):
            if table not in seen:
                seen.add(table)
                yield table


def _registries() -> list[Any]:
    from sqlalchemy.orm import mapperlib

    found: Any = getattr(mapperlib, "_all_registries", list)
    return list(found())


def _attributes(cls: Any, table: Any) -> dict[str, str]:
    """What a mapped class can be written through, besides columns: relationships, synonyms, hybrids, proxies."""
    mapper: Any = sa.inspect(cls)
    found = dict.fromkeys(map(str, mapper.all_orm_descriptors.keys()), "")
    for each in mapper.column_attrs:
        found[each.key] = next((column.name for column in each.columns if column.table is table), "")
    for each in mapper.synonyms:
        found[each.key] = found.get(each.name, "")
    return found


def _made_by_dataclass(schema: Any) -> set[str]:
    """Attributes of a class with MappedAsDataclass that its own constructor fills, which the table knows nothing of."""
    missing = dataclasses.MISSING
    found: dict[str, Any] = getattr(schema, "__dataclass_fields__", {})
    return {
        name
        for name, each in found.items()
        if each.default_factory is not missing or not (each.default is missing or each.default is None)
    }


def _column(column: Any, table: Any, dialect: Any, made: bool, mapped: bool) -> FieldSpec:
    type_ = _type(column.type, dialect)
    default: Any = column.server_default
    generated = _generated(column, table)
    filled = made or generated is not None or default is not None or column.default is not None
    presence: Presence = "required"
    if generated in ("computed", "identity always"):
        presence = "never"
    elif filled:
        presence = "default"
    elif column.nullable:
        presence = "optional"
    return FieldSpec(
        name=column.name,
        type=replace(type_, nullable=bool(column.nullable)),
        presence=presence,
        column=ColumnSpec(
            sql=_sql(column.type, dialect),
            primary_key=bool(column.primary_key),
            server_default=_expression(default.arg) if isinstance(default, sa.DefaultClause) else None,
            generated=generated,
            default=column.default is not None,
            fills=_fills(column.default),
            members=_members(column.type),
            unique=bool(column.unique),
            references=next((each.target_fullname for each in sorted(column.foreign_keys, key=str)), None),
            sql_null=isinstance(column.type, t.JSON) and bool(column.type.none_as_null),
            mapped=mapped and type_.kind != "any",  # null is a value of JSON
        ),
    )


def _generated(column: Any, table: Any) -> str | None:
    if column.computed is not None:
        return "computed"
    if column.identity is not None:
        return "identity always" if column.identity.always else "identity"
    counted = getattr(table, "autoincrement_column", None)
    if counted is None:  # to SQLAlchemy 1.4
        counted = getattr(table, "_autoincrement_column", None)
    return "autoincrement" if counted is column else None


def _fills(default: Any) -> str | None:
    """A default that SQLAlchemy fills in, as JSON text; None where code or the server makes it."""
    value = getattr(default, "arg", None)
    if isinstance(value, enum.Enum):
        value = value.value
    return dumps(value) if isinstance(value, (bool, int, float, str)) and not is_computed(value) else None


def _members(type_: Any) -> tuple[Scalar, ...]:
    """The values of the members whose names, or whatever `values_callable` says, are an enum's labels."""
    cls: Any = getattr(type_, "enum_class", None)
    objects: Any = getattr(type_, "_valid_lookup", None)
    if cls is None or not isinstance(objects, dict):
        return ()
    by_label = {label: member.value for member, label in objects.items() if isinstance(member, cls)}
    found = tuple(by_label.get(label) for label in type_.enums)
    return cast("tuple[Scalar, ...]", found) if all(isinstance(each, (str, int)) for each in found) else ()


def _type(type_: Any, dialect: Any) -> TypeSpec:
    """What a column's type can hold."""
    variant = getattr(type_, "_variant_mapping", {}).get(getattr(dialect, "name", None))
    if variant is not None:
        return _type(variant, dialect)
    name = type(type_).__name__
    if name == "DOMAIN" and hasattr(type_, "data_type"):
        return _type(type_.data_type, dialect)
    if name in ("YEAR", "OID"):
        return TypeSpec(kind="integer")
    if name == "SET":
        return TypeSpec(kind="custom", ref=name)
    if isinstance(type_, t.Interval) or type(type_).__name__ == "INTERVAL":
        return TypeSpec(kind="duration")
    if isinstance(type_, t.TypeDecorator):
        inner = _type(type_.impl_instance if hasattr(type_, "impl_instance") else type_.impl, dialect)
        converts = any(
            getattr(type(type_), name) is not getattr(t.TypeDecorator, name)
            for name in ("process_bind_param", "process_result_value", "bind_processor", "result_processor")
        )
        return replace(inner, checks=(*inner.checks, f"type:{type(type_).__qualname__}")) if converts else inner
    if isinstance(type_, t.Enum):
        values = cast("tuple[Scalar, ...]", tuple(type_.enums))
        cls: Any = type_.enum_class
        plain = cls is None or issubclass(cls, (str, int, float))
        return TypeSpec(kind="enum", values=values, names=() if plain else tuple(getattr(cls, "__members__", ())))
    if isinstance(type_, t.ARRAY):
        return TypeSpec(kind="list", items=_type(type_.item_type, dialect))
    if isinstance(type_, getattr(t, "Uuid", ())) or type(type_).__name__ in ("UUID", "Uuid"):
        return TypeSpec(kind="uuid")
    for cls, kind in _KINDS:
        if isinstance(type_, cls):
            return _bounded(type_, kind)
    return TypeSpec(kind="custom", ref=type(type_).__name__)


def _bounded(type_: Any, kind: TypeKind) -> TypeSpec:
    if kind == "integer":
        bits = next(bits for cls, bits in _INTEGERS if isinstance(type_, cls))
        return TypeSpec(kind=kind, ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)
    if kind in ("string", "bytes"):
        return TypeSpec(kind=kind, max_length=getattr(type_, "length", None))
    if kind == "decimal":
        return TypeSpec(kind=kind, max_digits=type_.precision, decimal_places=type_.scale)
    if kind in ("datetime", "time"):
        return TypeSpec(kind=kind, timezone="aware" if getattr(type_, "timezone", False) else "naive")
    return TypeSpec(kind=kind)


def _sql(type_: Any, dialect: Any) -> str:
    type_ = getattr(type_, "data_type", type_)  # of a domain
    try:
        return str(type_.compile(dialect=dialect) if dialect is not None else type_.compile())
    except Exception:  # a type that only its own dialect can write
        return repr(type_)[:_LONGEST]


def _expression(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)[:_LONGEST]
    try:
        return " ".join(str(value.compile(compile_kwargs={"literal_binds": True})).split())[:_LONGEST]
    except Exception:  # a construct that only one dialect can write
        return f"{type(value).__module__}.{type(value).__qualname__}"


def _constraints(table: Any) -> Iterator[str]:
    for each in (*table.constraints, *(own for column in table.columns for own in column.constraints)):
        columns = ", ".join(column.name for column in getattr(each, "columns", ()))
        if isinstance(each, sa.UniqueConstraint):
            yield f"unique ({columns})"
        elif isinstance(each, sa.CheckConstraint) and not getattr(each, "_type_bound", False):
            yield f"check {_expression(each.sqltext)}"
        elif isinstance(each, sa.ForeignKeyConstraint) and len(each.columns) > 1:
            yield f"foreign key ({columns}) references {each.referred_table.fullname}"


_VALUE: Final = re.compile(r"\bvalue\b", re.IGNORECASE)


def _domains(table: Any) -> Iterator[str]:
    """What domains demand, as CHECK constraints of the columns that have one."""
    for column in table.columns:
        check: Any = getattr(column.type, "check", None)
        if hasattr(column.type, "data_type") and check is not None:
            text = check if isinstance(check, str) else _expression(check)
            yield "check " + _VALUE.sub(column.name, text.strip("'"))


def _indexes(table: Any) -> Iterator[str]:
    for each in table.indexes:
        parts = ", ".join(
            _expression(part) if not isinstance(part, sa.Column) else part.name for part in each.expressions
        )
        yield f"{'unique ' if each.unique else ''}index ({parts})"
