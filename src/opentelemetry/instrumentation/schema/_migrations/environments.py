"""Reads the version tables of a database, and compares their revisions with the project's migration files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from .._schemas import version_tables
from .._schemas.revisions import RevisionGraph, ToolName
from .._schemas.version_tables import RevisionState, VersionTableName
from .database import Database, reason
from .errors import UnknownError


class TableRevisions(NamedTuple):
    """The revisions that one version table of a database holds.

    Attributes:
        tool: The tool that owns the table.
        table: Name of the table.
        namespace: `db.namespace`, empty for SQLite.
        revisions: Alembic's heads, or all of DBMate's versions; None if they could not be read.
        problem: Why we could not read the table, or why it is not the tool's; empty otherwise.
    """

    tool: ToolName
    table: VersionTableName
    namespace: str
    revisions: tuple[str, ...] | None
    problem: str = ""

    @property
    def text(self) -> str:
        """The revision as one word, as `schema.db.revision` shows it."""
        return "" if self.revisions is None else version_tables.format_revision(self.tool, self.revisions)

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that a ref must hold: Alembic's heads, DBMate's last version."""
        found = self.revisions or ()
        return found[-1:] if self.tool == "dbmate" else found


def read(database: Database, wanted: Iterable[VersionTableName]) -> list[TableRevisions]:
    """Read the wanted version tables of a database; a table that does not exist has no entry.

    Raises:
        UnknownError: if the database cannot be reached or read.
    """
    wanted = list(wanted)
    found: list[TableRevisions] = []
    with database.connect() as connection:
        try:
            rows = connection.exec_driver_sql(version_tables.catalog_sql(wanted, database.dialect)).fetchall()
        except SQLAlchemyError as error:
            raise UnknownError(f"cannot list the tables of {database}: {reason(error)}") from error
        for table in version_tables.recognize(wanted, rows):
            tool = table.wanted.tool
            if table.problem or not table.readable:
                why = (
                    table.problem
                    or f"the user has no privilege: GRANT SELECT ON {table.wanted.name} TO {database.url.username}"
                )
                found.append(TableRevisions(tool, table.wanted, table.namespace, None, why))
                continue
            try:
                rows = connection.exec_driver_sql(version_tables.read_sql(table, database.dialect)).fetchall()
            except SQLAlchemyError as error:
                raise UnknownError(f"cannot read {table.wanted.name} of {database}: {reason(error)}") from error
            versions = tuple(sorted(str(row[0] or "") for row in rows))
            if "" in versions:
                found.append(
                    TableRevisions(tool, table.wanted, table.namespace, None, "it has a row without a revision")
                )
            elif len(versions) > version_tables.MAX_ROWS:
                why = f"it has more than {version_tables.MAX_ROWS} rows"
                found.append(TableRevisions(tool, table.wanted, table.namespace, None, why))
            else:
                found.append(TableRevisions(tool, table.wanted, table.namespace, versions))
    return found


def compare_with_files(
    graph: RevisionGraph | None, found: TableRevisions, parents: Mapping[str, Sequence[str]]
) -> RevisionState:
    """Compare the revisions of a database with the project's files and with the files of other Git refs.

    A database is `ahead` only if its unknown revision descends from every head of the files. Otherwise the revision is
    on another branch: the state is `diverged`.

    Args:
        graph: The project's files.
        found: Revisions of the database.
        parents: Revision → its down revisions, from the files of all refs.
    """
    if found.revisions is None:
        return "unknown"
    plain = version_tables.compare_with_files(graph, found.revisions)
    if plain != "ahead" or graph is None or found.tool == "dbmate" or not set(found.revisions) <= parents.keys():
        return plain
    seen: set[str] = set()
    open_ = list(found.revisions)
    while open_:
        each = open_.pop()
        if each not in seen:
            seen.add(each)
            open_.extend(parents.get(each, ()))
    return "ahead" if seen.issuperset(graph.heads) else "diverged"
