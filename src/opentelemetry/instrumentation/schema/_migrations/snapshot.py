"""A database schema as sorted lines, to compare and to read: tables, columns, constraints, indexes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from .database import VersionTable

Snapshot = tuple[str, ...]
"""Sorted lines, without the version table."""

_POSTGRESQL: Final = """
WITH spaces AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
), relations AS (
  SELECT c.oid, c.relkind, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace
), inside AS (  -- what extensions brought is not the migrations'
  SELECT objid FROM pg_depend WHERE deptype = 'e'
)
SELECT name, 'table' FROM relations WHERE relkind IN ('r', 'p', 'f') AND oid NOT IN (SELECT objid FROM inside)
UNION ALL
SELECT r.name, 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
  || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
  || CASE a.attidentity WHEN '' THEN '' ELSE ' identity ' || a.attidentity::text END
  || CASE a.attgenerated WHEN '' THEN '' ELSE ' generated' END
  || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum WHERE r.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT r.name, 'constraint ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
  || CASE WHEN c.convalidated THEN '' ELSE ' (not validated)' END
  FROM pg_constraint c JOIN relations r ON r.oid = c.conrelid WHERE c.contype NOT IN ('t', 'n')
UNION ALL
SELECT r.name, 'index ' || pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END
  FROM pg_index i JOIN relations r ON r.oid = i.indrelid WHERE r.relkind IN ('r', 'p', 'm')
UNION ALL
SELECT r.name, 'trigger ' || pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
  WHERE NOT t.tgisinternal
UNION ALL
SELECT name, 'view ' || md5(pg_get_viewdef(oid)) FROM relations WHERE relkind IN ('v', 'm')
  AND oid NOT IN (SELECT objid FROM inside)
UNION ALL
SELECT name, 'sequence' FROM relations WHERE relkind = 'S'
UNION ALL
SELECT n.nspname || '.' || t.typname, 'enum ' || string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN spaces n ON n.oid = t.typnamespace
  GROUP BY n.nspname, t.typname
UNION ALL
SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  'function ' || md5(p.prosrc) FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
  WHERE p.oid NOT IN (SELECT objid FROM inside)
UNION ALL
SELECT nspname, 'schema' FROM spaces
UNION ALL
SELECT extname, 'extension' FROM pg_extension
"""

_MYSQL: Final = """
SELECT table_name, concat('table ', lower(table_type), ' ', coalesce(engine, ''), ' ', coalesce(table_collation, ''))
  FROM information_schema.tables WHERE table_schema = database()
UNION ALL
SELECT table_name, concat('column ', column_name, ' ', column_type, if(is_nullable = 'NO', ' not null', ''),
  coalesce(concat(' default ', column_default), ''), ' ', extra, ' ', coalesce(collation_name, ''))
  FROM information_schema.columns WHERE table_schema = database()
UNION ALL
SELECT table_name, concat('index ', index_name, ' (', group_concat(concat(column_name,
  coalesce(concat('(', sub_part, ')'), '')) ORDER BY seq_in_index), ')', if(non_unique, '', ' unique'), ' ', index_type)
  FROM information_schema.statistics WHERE table_schema = database()
  GROUP BY table_name, index_name, non_unique, index_type
UNION ALL
SELECT k.table_name, concat('foreign key ', k.constraint_name, ' ', group_concat(concat(k.column_name, ' -> ',
  k.referenced_table_name, '.', k.referenced_column_name) ORDER BY k.ordinal_position), ' ', r.update_rule, ' ',
  r.delete_rule)
  FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name
  WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL
  GROUP BY k.table_name, k.constraint_name, r.update_rule, r.delete_rule
UNION ALL
SELECT table_name, concat('view ', md5(view_definition)) FROM information_schema.views WHERE table_schema = database()
UNION ALL
SELECT event_object_table, concat('trigger ', trigger_name, ' ', action_timing, ' ', event_manipulation, ' ',
  md5(action_statement)) FROM information_schema.triggers WHERE trigger_schema = database()
UNION ALL
SELECT routine_name, concat('routine ', lower(routine_type), ' ', md5(routine_definition))
  FROM information_schema.routines WHERE routine_schema = database()
"""

_MARIADB_CHECKS: Final = """
SELECT table_name, concat('check ', constraint_name, ' ', check_clause)
  FROM information_schema.check_constraints WHERE constraint_schema = database()
"""


def take(connection: Connection, table: VersionTable) -> Snapshot:
    """Read the schema as this connection sees it, without the tool's version table.

    Raises:
        SQLAlchemyError: if the catalog cannot be read.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        with _names_in_full(connection):
            lines = _rows(connection, _POSTGRESQL)
    elif dialect in ("mysql", "mariadb"):
        lines = [*_rows(connection, _MYSQL)]
        if getattr(connection.dialect, "is_mariadb", False):
            lines += _rows(connection, _MARIADB_CHECKS)
    else:
        lines = _sqlite(connection)
    return tuple(sorted({f"{name}: {what}" for name, what in lines if name.rpartition(".")[2] != table.name}))


@contextmanager
def _names_in_full(connection: Connection) -> Generator[None]:
    """Let PostgreSQL print names with their schemas: otherwise the session's search_path decides which names have one.

    If the block fails in a transaction, the rollback to its savepoint restores the setting.
    """
    search_path = sa.text("SELECT set_config('search_path', :value, false)")
    before = connection.exec_driver_sql("SELECT current_setting('search_path')").scalar()
    connection.execute(search_path, {"value": "pg_catalog"})
    try:
        yield
    except SQLAlchemyError:
        with suppress(SQLAlchemyError):
            connection.execute(search_path, {"value": before})
        raise
    connection.execute(search_path, {"value": before})


def application_lines(snapshot: Snapshot) -> list[str]:
    """The lines that belong to an application: all but schemas and extensions, which a server may have by itself."""
    return [line for line in snapshot if not line.endswith((": schema", ": extension"))]


def digest(snapshot: Snapshot) -> str:
    """SHA-256 of a snapshot."""
    return sha256("\n".join(snapshot).encode("utf-8", "surrogatepass")).hexdigest()


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Lines that only one snapshot has: `-` for removed ones, `+` for new ones."""
    gone, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    return [f"- {line}" for line in gone] + [f"+ {line}" for line in new]


def _rows(connection: Connection, sql: str) -> list[tuple[str, str]]:
    return [(str(row[0]), str(row[1])) for row in connection.exec_driver_sql(sql.replace("%", "%%"))]


def _sqlite(connection: Connection) -> Iterator[tuple[str, str]]:
    """Read columns by PRAGMA: a table that batch mode copied has another CREATE text for the same columns."""
    masters = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
    for kind, name, table, sql in masters:
        if name.startswith("sqlite_"):
            continue
        if kind in ("view", "trigger"):
            yield table, f"{kind} {name} {' '.join(sql.split())}"
        elif kind == "table":
            yield name, "table"
            yield from ((name, line) for line in _sqlite_table(connection, name))


def _sqlite_table(connection: Connection, name: str) -> Iterable[str]:
    quoted = '"' + name.replace('"', '""') + '"'

    def pragma(what: str, of: str = quoted) -> list[Any]:
        return list(connection.exec_driver_sql(f"PRAGMA {what}({of})"))

    for _, column, type_, not_null, default, key, hidden in pragma("table_xinfo"):
        extra = f"{' not null' if not_null else ''}{f' default {default}' if default is not None else ''}"
        yield f"column {column} {type_}{extra}{f' key {key}' if key else ''}{f' hidden {hidden}' if hidden else ''}"
    for _, index, unique, origin, partial in pragma("index_list"):
        of = '"' + index.replace('"', '""') + '"'
        columns = ", ".join(str(column) for _, _, column in pragma("index_info", of))
        shown = index if origin == "c" else origin
        yield f"index {shown} ({columns}){' unique' if unique else ''}{' partial' if partial else ''}"
    for key in pragma("foreign_key_list"):
        yield f"foreign key {key[3]} -> {key[2]}.{key[4]} {key[5]} {key[6]}"
    try:
        checks = cast("list[Any]", sa.inspect(connection).get_check_constraints(name))
    except (SQLAlchemyError, NotImplementedError):
        checks = []
    for check in checks:
        yield f"check {check.get('name')} {' '.join(str(check.get('sqltext')).split())}"
