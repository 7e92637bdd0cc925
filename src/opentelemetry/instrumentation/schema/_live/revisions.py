"""`schema.db.info`: which revision the databases of this process have, and how that fits its migration files.

An integration that sees database connections asks here what to read, and when. Migration files are read while metrics
are collected, once, and never in a request.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.metrics import Observation

from .. import faults, semconv
from .._recording.revisions import Questions, WatchedDatabase
from .._schemas import migrations, version_tables
from .._schemas.migrations import Migrations
from .._schemas.revisions import RevisionGraph
from .._schemas.version_tables import ExistingTable, RevisionState, VersionTableName
from ..text import clean

if TYPE_CHECKING:
    from .._recording.recorder import Recorder

MAX_CEASED: Final = 100
"""Former attribute sets that we still publish, as 0."""

SLOW: Final = 0.02
"""Seconds above which a read counts as failed."""

BACK_OFF: Final = 10
"""Intervals until the next read after one that failed."""


class TableReading(NamedTuple):
    """The content of one version table.

    Attributes:
        table: The table.
        found: Alembic's heads, or all of DBMate's versions; None if they could not be read.
    """

    table: ExistingTable
    found: tuple[str, ...] | None


class Revisions:
    """The revisions of the databases that one recorder's integrations see.

    Args:
        recorder: Whose.
        lines: The project's migrations; asked once, at the first read.

    Attributes:
        interval: Seconds between two reads of one database.
    """

    def __init__(self, recorder: Recorder, lines: Callable[[], list[Migrations]]) -> None:
        self.interval = recorder.settings.revision_interval
        self._recorder, self._find = recorder, lines
        self._lines: list[Migrations] | None = None
        self._graphs: dict[Migrations, RevisionGraph] = {}
        self._databases: weakref.WeakSet[WatchedDatabase] = weakref.WeakSet()
        self._current: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        self._ceased: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        self._pending: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    # -- what the integration calls

    def watch_database(self) -> WatchedDatabase:
        """Begin to watch one database; it is watched until the caller drops what it got."""
        made = WatchedDatabase()
        self._databases.add(made)
        return made

    def ask(self, database: WatchedDatabase, dialect: str) -> Questions:
        """What to read, as far as the last answers say. Nothing changes before the last row is there.

        Args:
            database: Which.
            dialect: SQLAlchemy's name of its kind, one of `version_tables.DIALECTS`.
        """
        tables = database.tables
        if not tables or database.failed:
            wanted = self._wanted()
            rows = yield version_tables.catalog_sql(wanted, dialect)
            tables = version_tables.recognize(wanted, rows)
        readings: list[TableReading] = []
        for table in tables:
            if table.problem:
                continue
            found: tuple[str, ...] | None = None
            if table.readable:
                rows = yield version_tables.read_sql(table, dialect)
                if len(rows) <= version_tables.MAX_ROWS:
                    found = tuple(sorted(_text(row[0]) for row in rows if row[0] is not None))
            readings.append(TableReading(table, found))
        database.tables, database.readings, database.failed = tables, tuple(readings), False

    def prepare(self) -> None:
        """Find the project's migrations in advance, so that no request waits for that."""
        self._project()

    def supports(self, dialect: str) -> bool:
        """Whether version tables of such a database can be read."""
        return dialect in version_tables.DIALECTS

    def begin_read(self, database: WatchedDatabase) -> None:
        """A read begins: the next one is due an interval later."""
        database.asked = True
        database.due = monotonic() + self.interval

    def finish_read(self, database: WatchedDatabase, took: float) -> None:
        """A read ended, after `took` s."""
        if took > SLOW:
            self.fail_read(database)

    def fail_read(self, database: WatchedDatabase) -> None:
        """A read failed, or took too long: say unknown, and leave the database alone for longer."""
        database.due = monotonic() + self.interval * BACK_OFF
        database.readings = tuple(TableReading(table, None) for table in database.tables if not table.problem)
        database.failed = True

    def _wanted(self) -> tuple[VersionTableName, ...]:
        """The project's version tables, and the default table of each tool without files in the project."""
        tables = [line.table for line in self._project()]
        used = {table.tool for table in tables}
        return tuple(dict.fromkeys([*tables, *(each for each in version_tables.USUAL if each.tool not in used)]))

    def _project(self) -> list[Migrations]:
        if self._lines is None:
            try:
                self._lines = self._find()
            except OSError:  # not readable: continue without migrations
                self._lines = []
        return self._lines

    # -- what is published

    def observe(self) -> Iterator[Observation]:
        """Observe the revision of each version table as 1, and former ones as 0."""
        if self._recorder.closed:
            return
        with self._lock:
            current = {tuple(sorted(each.items())): each for each in self._attributes()}
            self._ceased.update((key, each) for key, each in self._current.items() if key not in current)
            for key in current:
                self._ceased.pop(key, None)
            while len(self._ceased) > MAX_CEASED:
                del self._ceased[next(iter(self._ceased))]
            self._current, ceased = current, list(self._ceased.values())
        for attributes in current.values():
            yield Observation(1, attributes)
        for attributes in ceased:
            yield Observation(0, attributes)

    def _attributes(self) -> Iterator[dict[str, Any]]:
        limit = self._recorder.settings.cardinality_limit
        for database in list(self._databases):
            for each in database.readings:
                if limit == 0:
                    return
                limit -= 1
                yield _attributes(each, self._state(each))
            if not database.readings and database.asked:
                for tool in sorted({line.tool for line in self._project()}):  # files without a table to compare with
                    yield {semconv.MIGRATION_TOOL: tool, semconv.DB_STATE: "unknown"}

    def last_published(self) -> frozenset[tuple[tuple[str, str], ...]]:
        """What was published last: it changes when a revision or state does."""
        return frozenset(self._current)

    def observe_pending(self) -> Iterator[Observation]:
        """Observe how many migrations each version table lacks, if files and table are known."""
        if self._recorder.closed:
            return
        waiting: dict[tuple[str, str], int] = {}
        for database in list(self._databases):
            for each in database.readings:
                graph = self._files(each)
                if graph is not None and each.found is not None:
                    key = each.table.wanted.tool, each.table.namespace
                    waiting[key] = waiting.get(key, 0) + len(graph.pending(each.found))
        for tool, namespace in self._pending.keys() - waiting.keys():
            waiting[tool, namespace] = 0
        self._pending = dict(list(waiting.items())[-MAX_CEASED:])
        for (tool, namespace), number in self._pending.items():
            attributes = {semconv.MIGRATION_TOOL: tool}
            yield Observation(number, attributes | ({semconv.DB_NAMESPACE: clean(namespace)} if namespace else {}))

    def _state(self, reading: TableReading) -> RevisionState:
        return (
            "unknown"
            if reading.found is None
            else version_tables.compare_with_files(self._files(reading), reading.found)
        )

    def _files(self, reading: TableReading) -> RevisionGraph | None:
        """The migration files that a version table belongs to; None if there are none."""
        lines = [line for line in self._project() if line.table == reading.table.wanted]
        try:
            graphs = [self._graph(line) for line in lines]
        except OSError:
            return None
        # Two projects may use one table name: take the one whose files have most of the revisions.
        found = set(reading.found or ())
        return max(graphs, key=lambda graph: len(found & graph.by_id.keys()), default=None)

    def _graph(self, line: Migrations) -> RevisionGraph:
        graph = self._graphs.get(line)
        if graph is None:
            graph = self._graphs[line] = line.read_graph()
        return graph

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds a lock."""
        self._lock = threading.Lock()
        for database in list(self._databases):
            database.reading = threading.Lock()


def _attributes(reading: TableReading, state: RevisionState) -> dict[str, Any]:
    table = reading.table
    attributes = {semconv.MIGRATION_TOOL: table.wanted.tool, semconv.DB_STATE: state}
    if table.namespace:
        attributes[semconv.DB_NAMESPACE] = clean(table.namespace)
    if reading.found is not None:
        attributes[semconv.DB_REVISION] = clean(version_tables.format_revision(table.wanted.tool, reading.found))
    return attributes


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)


@faults.guarded("revisions", None)
def watch(recorder: Recorder) -> None:
    """Have a recorder's integrations watch the revisions of the databases that they see."""
    if recorder.settings.revision_interval:
        named = recorder.settings.migrations
        made = Revisions(recorder, lambda: _find(named))
        recorder.revisions = made
        recorder.observers[semconv.DB_INFO.name] = made.observe
        recorder.observers[semconv.MIGRATION_PENDING.name] = made.observe_pending
        recorder.after_fork.append(made.reset_after_fork)


def _find(named: tuple[str, ...]) -> list[Migrations]:
    from pathlib import Path

    return [migrations.at(Path(each)) for each in named] or migrations.find(Path.cwd())
