"""What an integration that sees database connections and who watches their revisions know of each other."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any, Protocol

Questions = Generator[str, Sequence[Sequence[Any]], None]
"""Yields one SELECT after another, and is sent its rows."""


class WatchedDatabase:
    """The database behind one engine, watched as long as somebody holds this.

    Attributes:
        due: `monotonic()` at which the next read is due, in s.
        reading: Held by the thread that reads.
        tables: The version tables that it has.
        readings: What they hold.
        failed: Whether the last read failed.
        asked: Whether there was one.
    """

    def __init__(self) -> None:
        self.due: float = 0.0
        self.reading: threading.Lock = threading.Lock()
        self.tables: list[Any] = []
        self.readings: tuple[Any, ...] = ()
        self.failed: bool = False
        self.asked: bool = False


class Revisions(Protocol):
    """Says what to read of a database, and when; `_live.revisions` is one."""

    def prepare(self) -> None:
        """Find the project's migrations, before a request waits for it."""

    def supports(self, dialect: str) -> bool:
        """Whether version tables of such a database can be read."""
        ...

    def watch_database(self) -> WatchedDatabase:
        """Begin to watch one database; it is watched until the caller drops what it got."""
        ...

    def ask(self, database: WatchedDatabase, dialect: str) -> Questions:
        """What to read. Nothing changes before the last row is there."""
        ...

    def begin_read(self, database: WatchedDatabase) -> None:
        """A read begins: the next one is due an interval later."""

    def finish_read(self, database: WatchedDatabase, took: float) -> None:
        """A read ended, after `took` s."""

    def fail_read(self, database: WatchedDatabase) -> None:
        """A read failed, or took too long: say unknown, and leave the database alone for longer."""

    def last_published(self) -> object:
        """What was published last: it differs when a revision or state does."""
        ...
