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
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import types as t
from sqlalchemy.exc import SQLAlchemyError

from ..._schemas.defaults import is_computed
from ..._schemas.fields import ColumnSpec, Document, FieldSpec, Presence, SchemaSpec, TypeSpec, dumps
from ._columns import expression, members, read_type, sql_text


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
    mapped = isinstance(schema, type)
    made = _made_by_dataclass(schema) | (_made_by_mapper(schema, table) if mapped else set())
    columns = tuple(_column(each, table, dialect, each.key in made, mapped) for each in table.columns)
    spec = SchemaSpec(
        name=table.fullname,
        module=None,
        library="sqlalchemy",
        type=TypeSpec(kind="object", fields=columns, extra="forbid"),
        constraints=tuple(sorted({*_constraints(table), *_domains(table), *_indexes(table)})),
        attributes=_attributes(schema, table) if mapped else {each.key: each.name for each in table.columns},
        inherited=_inherited(schema, table, dialect) if mapped else {},
        covers=_covers(schema) if mapped else {},
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
    domains = _reflected_domains(connection)
    found: Document = {}
    for table in sorted(metadata.tables.values(), key=lambda each: each.fullname):
        for ref, spec in fields(table, dialect=connection.dialect).items():
            texts = tuple(sorted({*spec.constraints, *(f"check {each}" for each in checks.get(table.name, ()))}))
            columns = tuple(_as_stored(each, table.columns[each.name].type, domains) for each in spec.fields)
            found[ref] = _as_json(replace(spec, type=replace(spec.type, fields=columns), constraints=texts))
    return found


def _reflected_domains(connection: Any) -> dict[str, str]:
    """The types of PostgreSQL's domains, with their lengths, which SQLAlchemy does not read."""
    if connection.dialect.name != "postgresql":
        return {}
    rows = connection.execute(
        sa.text("SELECT typname, format_type(typbasetype, typtypmod) FROM pg_catalog.pg_type WHERE typtype = 'd'")
    )
    return {str(row[0]): str(row[1]).upper() for row in rows}


def _as_stored(column: FieldSpec, type_: Any, domains: dict[str, str]) -> FieldSpec:
    """A column as the database has it, without what SQLAlchemy would do to values."""
    found = column.type
    if found.kind == "number":  # which SQLAlchemy returns as decimals from MariaDB
        column = replace(column, type=replace(found, decimal_places=None))
    sql = domains.get(getattr(type_, "name", None) or "") if hasattr(type_, "data_type") else None
    return column if sql is None or column.column is None else replace(column, column=replace(column.column, sql=sql))


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
    found: dict[str, str] = {}
    mappers: list[Any] = [each for each in sa.inspect(cls).self_and_descendants if each.local_table is table]
    for mapper in reversed(mappers):  # subclasses of the same table, and the class itself
        found |= dict.fromkeys(map(str, mapper.all_orm_descriptors.keys()), "")
        for each in mapper.column_attrs:
            found[each.key] = next((column.name for column in each.columns if column.table is table), "")
        for each in mapper.synonyms:
            found[each.key] = found.get(each.name, "")
    return found


def _inherited(cls: Any, table: Any, dialect: Any) -> dict[str, FieldSpec]:
    """Columns that a class writes to the tables of its parents, by attribute."""
    mapper: Any = sa.inspect(cls)
    found: dict[str, FieldSpec] = {}
    for each in mapper.column_attrs:
        columns = [column for column in each.columns if isinstance(column, sa.Column)]
        if columns and all(column.table is not table for column in columns):
            column = columns[0]
            spec = _column(column, column.table, dialect, False, True)
            found[each.key] = replace(spec, name=f"{column.table.name}.{column.name}")
    return found


def _covers(cls: Any) -> dict[str, tuple[str, ...]]:
    """The columns that composites and relationships of a mapped class write."""
    mapper: Any = sa.inspect(cls)
    found = {each.key: tuple(column.name for column in each.columns) for each in mapper.composites}
    for each in mapper.relationships:
        found[each.key] = tuple(column.name for column in each.local_columns)
    return found


def _made_by_mapper(cls: Any, table: Any) -> set[str]:
    """Columns that SQLAlchemy fills in itself: the kind of row, its version, and a joined table's key."""
    mapper: Any = sa.inspect(cls)
    found = [mapper.polymorphic_on] if mapper.polymorphic_map else []
    if mapper.version_id_generator is not False:
        found.append(mapper.version_id_col)
    keys = {each.key for each in found if getattr(each, "table", None) is table}
    if mapper.inherits is None or mapper.inherits.local_table is table:
        return keys
    for column in table.primary_key.columns:
        for each in column.foreign_keys:
            parent = each.column
            given = parent.default is None and parent.server_default is None and not _generated(parent, parent.table)
            if parent.table in mapper.tables and not given:
                keys.add(column.key)
    return keys


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
    type_ = read_type(column.type, dialect)
    default: Any = column.server_default
    if default is not None and default is column.identity and not getattr(dialect, "supports_identity_columns", True):
        default = None  # as such a database ignores it
    generated = _generated(column, table, dialect)
    counted = isinstance(column.default, sa.Sequence) and getattr(dialect, "name", "") == "sqlite"  # which has none
    filled = made or generated is not None or default is not None or (column.default is not None and not counted)
    presence: Presence = "required"
    if generated in ("computed", "identity always"):
        presence = "never"
    elif filled:
        presence = "default"
    elif column.nullable:
        presence = "optional"
    return FieldSpec(
        name=column.name,
        type=replace(type_, nullable=bool(column.nullable) and not getattr(column.type, "not_null", False)),
        presence=presence,
        column=ColumnSpec(
            sql=sql_text(column.type, dialect),
            primary_key=bool(column.primary_key),
            server_default=_server_default(column, default),
            generated=generated,
            default=column.default is not None and not counted,
            fills=_fills(column.default),
            members=members(column.type),
            unique=bool(column.unique),
            references=next((each.target_fullname for each in sorted(column.foreign_keys, key=str)), None),
            sql_null=isinstance(column.type, t.JSON) and bool(column.type.none_as_null),
            mapped=mapped and type_.kind != "any",  # null is a value of JSON
        ),
    )


def _server_default(column: Any, default: Any) -> str | None:
    """The expression of what the server fills in."""
    if column.computed is not None:
        return expression(column.computed.sqltext)
    return expression(default.arg) if isinstance(default, sa.DefaultClause) else None


def _generated(column: Any, table: Any, dialect: Any = None) -> str | None:
    if column.computed is not None:
        return "computed"
    if column.identity is not None and getattr(dialect, "supports_identity_columns", True):
        return "identity always" if column.identity.always else "identity"
    counted = getattr(table, "autoincrement_column", None)
    if counted is None:  # to SQLAlchemy 1.4
        counted = getattr(table, "_autoincrement_column", None)
    return "autoincrement" if counted is column and _counts(column, table, dialect) else None


def _counts(column: Any, table: Any, dialect: Any) -> bool:
    """Whether a database counts an integer key: SQLite counts a key of the type INTEGER alone."""
    if getattr(dialect, "name", "") != "sqlite":
        return True
    with_rowid: Any = table.dialect_options["sqlite"].get("with_rowid", True)
    return with_rowid is not False and sql_text(column.type, dialect) == "INTEGER" and len(table.primary_key) == 1


def _fills(default: Any) -> str | None:
    """A default that SQLAlchemy fills in, as JSON text; None where code or the server makes it."""
    value = getattr(default, "arg", None)
    if isinstance(value, enum.Enum):
        value = value.value
    return dumps(value) if isinstance(value, (bool, int, float, str)) and not is_computed(value) else None


def _constraints(table: Any) -> Iterator[str]:
    for each in (*table.constraints, *(own for column in table.columns for own in column.constraints)):
        columns = ", ".join(column.name for column in getattr(each, "columns", ()))
        if isinstance(each, sa.UniqueConstraint):
            yield f"unique ({columns}){_reach(each)}"
        elif isinstance(each, sa.CheckConstraint) and not getattr(each, "_type_bound", False):
            yield f"check {expression(each.sqltext)}"
        elif isinstance(each, sa.ForeignKeyConstraint) and len(each.columns) > 1:
            yield f"foreign key ({columns}) references {each.referred_table.fullname}"


_VALUE: Final = re.compile(r"\bvalue\b", re.IGNORECASE)


def _domains(table: Any) -> Iterator[str]:
    """What domains demand, as CHECK constraints of the columns that have one."""
    for column in table.columns:
        check: Any = getattr(column.type, "check", None)
        if hasattr(column.type, "data_type") and check is not None:
            text = check if isinstance(check, str) else expression(check)
            yield "check " + _VALUE.sub(column.name, text)


def _indexes(table: Any) -> Iterator[str]:
    for each in table.indexes:
        parts = ", ".join(
            expression(part) if not isinstance(part, sa.Column) else part.name for part in each.expressions
        )
        yield f"{'unique ' if each.unique else ''}index ({parts}){_reach(each) if each.unique else ''}"


def _reach(constraint: Any) -> str:
    """Which rows a unique constraint or index is about, where that is not all, and whether null is a value to it."""
    said: dict[str, Any] = {}
    for dialect in sorted({key.partition("_")[0] for key in constraint.dialect_kwargs}):
        said |= {key: value for key, value in constraint.dialect_options[dialect].items() if value is not None}
    where = f" where {expression(said['where'])}" if said.get("where") is not None else ""
    return where + (" nulls not distinct" if said.get("nulls_not_distinct") else "")
