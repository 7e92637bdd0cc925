"""What the version tables of one environment's database hold, and how that fits the project's migration files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from .._schemas import version_tables
from .._schemas.revisions import History, Tool
from .._schemas.version_tables import State, Wanted
from .database import Database, reason
from .errors import UnknownError


class Found(NamedTuple):
    """A version table of a database.

    Attributes:
        tool: Whose.
        table: Its name.
        namespace: `db.namespace`, empty for SQLite.
        revisions: Alembic's heads, or all of DBMate's versions; None if they could not be read.
        problem: Why not, or why the table is not the tool's; empty if all is well.
    """

    tool: Tool
    table: Wanted
    namespace: str
    revisions: tuple[str, ...] | None
    problem: str = ""

    @property
    def shown(self) -> str:
        """The revision in one word."""
        return "" if self.revisions is None else version_tables.shown(self.tool, self.revisions)

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that a ref must hold: Alembic's heads, DBMate's last version."""
        found = self.revisions or ()
        return found[-1:] if self.tool == "dbmate" else found


def read(database: Database, wanted: Iterable[Wanted]) -> list[Found]:
    """The version tables of a database, of those looked for; one that is not there has no entry.

    Raises:
        UnknownError: if the database cannot be reached or read.
    """
    wanted = list(wanted)
    found: list[Found] = []
    with database.connect() as connection:
        try:
            rows = connection.exec_driver_sql(version_tables.catalog_sql(wanted, database.dialect)).fetchall()
        except SQLAlchemyError as error:
            raise UnknownError(f"cannot read which tables {database} has: {reason(error)}") from error
        for table in version_tables.recognize(wanted, rows):
            tool = table.wanted.tool
            if table.problem or not table.readable:
                why = table.problem or f"no privilege: GRANT SELECT ON {table.wanted.name} TO {database.url.username}"
                found.append(Found(tool, table.wanted, table.namespace, None, why))
                continue
            try:
                rows = connection.exec_driver_sql(version_tables.read_sql(table, database.dialect)).fetchall()
            except SQLAlchemyError as error:
                raise UnknownError(f"cannot read {table.wanted.name} of {database}: {reason(error)}") from error
            versions = tuple(sorted(str(row[0]) for row in rows))
            if len(versions) > version_tables.MAX_ROWS:
                why = f"it has more than {version_tables.MAX_ROWS} rows"
                found.append(Found(tool, table.wanted, table.namespace, None, why))
            else:
                found.append(Found(tool, table.wanted, table.namespace, versions))
    return found


def state(history: History | None, found: Found, elsewhere: Mapping[str, Sequence[str]]) -> State:
    """How a database stands to the files, where the files of other refs are known too.

    A revision that the files lack is `ahead` only where it follows them: from one that grew beside them there is no
    way to their head.

    Args:
        history: The project's files.
        found: What the database holds.
        elsewhere: Revision → the revisions that it follows, of all files that are known.
    """
    if found.revisions is None:
        return "unknown"
    plain = version_tables.state(history, found.revisions)
    if plain != "ahead" or history is None or found.tool == "dbmate" or not set(found.revisions) <= elsewhere.keys():
        return plain
    seen: set[str] = set()
    open_ = list(found.revisions)
    while open_:
        each = open_.pop()
        if each not in seen:
            seen.add(each)
            open_.extend(elsewhere.get(each, ()))
    return "ahead" if seen.issuperset(history.heads) else "diverged"
