"""The version tables of Alembic and DBMate: SQL to find and read them, and the meaning of their content.

This module opens no connection: callers execute the SQL. Dialects have SQLAlchemy's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from .revisions import RevisionGraph, ToolName

RevisionState = Literal["current", "behind", "ahead", "diverged", "unknown"]

DIALECTS: Final = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})
"""Dialects whose version tables we can read."""

NAMES: Final[dict[ToolName, str]] = {"alembic": "alembic_version", "dbmate": "schema_migrations"}
"""The default names of the tables."""

COLUMNS: Final[dict[ToolName, str]] = {"alembic": "version_num", "dbmate": "version"}
"""The one column of such a table."""

RAILS: Final = "ar_internal_metadata"
"""Rails has this table beside its own `schema_migrations`, whose column looks like DBMate's."""

MAX_ROWS: Final = 5_000
"""Rows that we read: DBMate's table has one row per migration. A table with more rows is not a version table."""

BASE: Final = "base"
"""Alembic's word for the revision of a database without migrations."""

_MAX_HEADS = 5
_TEXT = re.compile(r"(character varying|varchar|nvarchar|character|char|text|citext|longtext|mediumtext)\b", re.I)


class VersionTableName(NamedTuple):
    """The name of a version table to look for.

    Attributes:
        tool: The tool that owns the table.
        name: The table's name.
        schema: Its database schema; None is the connection's default schema.
    """

    tool: ToolName
    name: str
    schema: str | None = None


USUAL: Final = tuple(VersionTableName(tool, name) for tool, name in NAMES.items())


class ExistingTable(NamedTuple):
    """A table that exists under the name of a version table.

    Attributes:
        wanted: The name that we looked for.
        schema: Its database schema.
        namespace: `db.namespace`: the database, and `|schema` outside the default one.
        readable: Whether this user may read it.
        problem: Why it is not the tool's table; empty if it is.
    """

    wanted: VersionTableName
    schema: str
    namespace: str
    readable: bool
    problem: str


def parse_table_name(tool: ToolName, name: str) -> VersionTableName:
    """Parse a setting such as DBMate's `--migrations-table`, which may include a database schema: `app.versions`."""
    schema, _, table = name.rpartition(".")
    return VersionTableName(tool, table, schema or None)


def quote(name: str, dialect: str) -> str:
    """Quote an identifier for SQL."""
    mark = "`" if dialect in ("mysql", "mariadb") else '"'
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def _literal(text: str, dialect: str) -> str:
    if dialect in ("mysql", "mariadb"):
        text = text.replace("\\", "\\\\")
    return "'{}'".format(text.replace("'", "''"))


def catalog_sql(tables: Iterable[VersionTableName], dialect: str) -> str:
    """A SELECT on the catalog: one row per column of the tables, at least one row. It waits for no lock of a table.

    `recognize` reads its rows: database, default schema, schema, table, column, type, in the default schema, readable.
    """
    tables = list(tables)
    every = sorted({each.name for each in tables} | {RAILS})
    names = ", ".join(_literal(each, dialect) for each in every)
    schemas = [_literal(each, dialect) for each in sorted({each.schema for each in tables if each.schema})]
    if dialect == "sqlite":
        return _SQLITE.format(names=names)
    if dialect == "postgresql":
        return _POSTGRESQL.format(names=names, elsewhere="".join(f" OR n.nspname = {each}" for each in schemas))
    # One SELECT per table: with these two constants the server opens only that table, with lists it opens all tables.
    places = [(schema, _literal(name, dialect)) for schema in ("DATABASE()", *schemas) for name in every]
    return _MYSQL.format(tables=" UNION ALL ".join(_MYSQL_TABLE.format(schema=at, name=name) for at, name in places))


_SQLITE: Final = (
    "SELECT '', 'main', 'main', m.name, c.name, c.type, 1, 1 FROM (SELECT 1) LEFT JOIN ("
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name IN ({names})) m "
    "LEFT JOIN pragma_table_info(m.name) c"
)
_POSTGRESQL: Final = (
    "SELECT pg_catalog.current_database(), pg_catalog.current_schema(), t.* FROM (SELECT 1) one LEFT JOIN ("
    "SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), "
    "pg_catalog.pg_table_is_visible(c.oid), pg_catalog.has_table_privilege(c.oid, 'SELECT') "
    "AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname IN ({names}) "
    "AND (pg_catalog.pg_table_is_visible(c.oid){elsewhere})) t ON true"
)
_MYSQL: Final = "SELECT DATABASE(), DATABASE(), t.* FROM (SELECT 1) one LEFT JOIN ({tables}) t ON true"
_MYSQL_TABLE: Final = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, TABLE_SCHEMA = DATABASE(), 1 "
    "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}"
)


def recognize(tables: Iterable[VersionTableName], rows: Iterable[Sequence[Any]]) -> list[ExistingTable]:
    """Find the tables that exist among the wanted ones; a table of another tool is included, with the problem.

    Args:
        tables: The wanted tables.
        rows: Rows of `catalog_sql`.
    """
    columns: dict[tuple[str, str], dict[str, str]] = {}
    default: dict[tuple[str, str], bool] = {}
    readable: dict[tuple[str, str], bool] = {}
    database = home = ""
    for base, current, schema, table, column, kind, visible, may in rows:
        database, home = str(base or ""), str(current or "")
        if table is not None and column is not None:
            key = str(schema), str(table)
            columns.setdefault(key, {})[str(column)] = str(kind)
            default[key], readable[key] = bool(visible), bool(may)
    found: list[ExistingTable] = []
    for each in tables:
        for (schema, table), kinds in sorted(columns.items()):
            here = default[schema, table] if each.schema is None else schema == each.schema
            if table != each.name or not here:
                continue
            problem = _problem(each.tool, kinds, (schema, RAILS) in columns)
            found.append(
                ExistingTable(each, schema, namespace(database, schema, home), readable[schema, table], problem)
            )
    return found


def _problem(tool: ToolName, kinds: dict[str, str], rails: bool) -> str:
    """Why a table is not the tool's own; empty if it is."""
    column = COLUMNS[tool]
    if "dirty" in kinds:
        return "it is golang-migrate's: it has a column dirty"
    if column not in kinds:
        return f"it has no column {column}"
    others = sorted(kinds.keys() - {column})
    if others:
        return f"it is another tool's: it has a column {others[0]}"
    if not _TEXT.match(kinds[column]):
        return f"it is another tool's: {column} is {kinds[column]}, not text"
    if tool == "dbmate":
        if rails:
            return f"it is Rails': the table {RAILS} is beside it"
        if "(" not in kinds[column]:
            return f"it is Rails': {column} is {kinds[column]} without a length"
    return ""


def namespace(database: str, schema: str, default: str) -> str:
    """`db.namespace`: the database's name, and its schema if that is not the default one.

    https://opentelemetry.io/docs/specs/semconv/database/
    """
    return database if not schema or schema in (default, "main", database) else f"{database}|{schema}"


def read_sql(table: ExistingTable, dialect: str) -> str:
    """A SELECT of the versions in a table."""
    column = quote(COLUMNS[table.wanted.tool], dialect)
    name = quote(table.wanted.name, dialect)
    if dialect != "sqlite":
        name = f"{quote(table.schema, dialect)}.{name}"
    return f"SELECT {column} FROM {name} LIMIT {MAX_ROWS + 1}"  # noqa: S608 -- quoted


def format_revision(tool: ToolName, found: Iterable[str]) -> str:
    """Format `schema.db.revision`: Alembic's heads, DBMate's last version, or `base`."""
    ordered = sorted(found)
    if tool == "dbmate":
        ordered = ordered[-1:]
    more = ["…"] if len(ordered) > _MAX_HEADS else []
    return ",".join(ordered[:_MAX_HEADS] + more) or BASE


def compare_with_files(graph: RevisionGraph | None, found: Iterable[str]) -> RevisionState:
    """Compare the revisions of a database with migration files.

    - `unknown`: there are no files to compare with.
    - `diverged`: files or database have several heads instead of one, two files have one revision, or the rows of the
      version table contradict each other.
    - `ahead`: the database ran a revision that no file has.
    - `behind`: the database has not run all revisions of the files.
    - `current`: the database ran all of them.

    Args:
        graph: The revisions of the files.
        found: Revisions in the version table: Alembic's heads, or all of DBMate's versions.
    """
    found = set(found)
    if graph is None or not graph.revisions:
        return "unknown"
    applied = graph.applied(found)
    missing = graph.missing(found)
    if missing:
        known = found - set(missing)
        # A revision replaces the row of its down revision. Both rows exist, so the unknown one is on another branch.
        beside = graph.tool == "alembic" and bool(known) and len(_starts(graph)) < 2
        return "diverged" if beside else "ahead"
    if graph.forks or graph.contradicting(found) or not applied.isdisjoint(graph.duplicates):
        return "diverged"
    return "current" if len(applied) == len(graph.by_id) else "behind"


def _starts(graph: RevisionGraph) -> list[str]:
    return [each.id for each in graph.revisions if not each.down or each.labels]
