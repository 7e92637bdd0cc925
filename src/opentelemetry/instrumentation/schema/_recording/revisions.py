"""The interface between the integration that sees database connections and the watch of their revisions."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any, Protocol

Questions = Generator[str, Sequence[Sequence[Any]], None]
"""Yields one SELECT after another, and is sent its rows."""


class WatchedDatabase:
    """The database of one engine. It is watched as long as this object lives.

    Attributes:
        due: `monotonic()` at which the next read is due, in s.
        reading: Held by the thread that reads.
        tables: The version tables that it has.
        readings: The revisions in them.
        failed: Whether the last read failed.
        asked: Whether there was a read.
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
        """Begin to watch one database, until the caller drops what this returns."""
        ...

    def ask(self, database: WatchedDatabase, dialect: str) -> Questions:
        """Return the questions to ask. The state changes after the last answer only."""
        ...

    def begin_read(self, database: WatchedDatabase) -> None:
        """Note that a read begins: the next one is due an interval later."""

    def finish_read(self, database: WatchedDatabase, took: float) -> None:
        """Note that a read ended after `took` s."""

    def fail_read(self, database: WatchedDatabase) -> None:
        """Note that a read failed or took too long: the state is unknown, and the next read is due later."""

    def last_published(self) -> object:
        """The state that was published last. It changes with each revision or state."""
        ...
