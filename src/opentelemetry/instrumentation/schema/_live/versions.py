"""`schema.info`: which version of each schema is in use.

Fields are read while metrics are collected, a few schemas each time, and never in a request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation

from .. import faults, semconv
from .._recording.locking import call_locked
from ..text import clean

if TYPE_CHECKING:
    from .._recording.recorder import Recorder
    from .._recording.schema_cells import SchemaCells
    from .._recording.unread_schemas import UnreadSchema

BUDGET: Final = 0.02
"""Seconds that one collection may spend on reading; it always reads one schema."""

MAX_CEASED: Final = 100
"""Former versions that we still publish, as 0."""


class Versions:
    """The versions of the schemas that one recorder saw.

    Args:
        recorder: Whose.

    Attributes:
        on_read: Called with each schema that was read.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._unread, self._recorder = recorder.unread_schemas, recorder
        self._current: dict[SchemaCells, tuple[tuple[str, str], dict[str, Any]]] = {}
        self._ceased: dict[tuple[SchemaCells, tuple[str, str]], dict[str, Any]] = {}
        self._lock = threading.RLock()
        self.on_read: Callable[[SchemaCells, Any], None] | None = None

    def observe(self) -> Iterator[Observation]:
        """Observe every version in use as 1, and former ones as 0."""
        if self._recorder.closed:
            return
        call_locked(self._lock, 0, self._read_some)  # if another reader is collecting, that one reads them
        for _, attributes in list(self._current.values()):
            yield Observation(1, attributes)
        for attributes in list(self._ceased.values()):
            yield Observation(0, attributes)

    def _read_some(self) -> None:
        end = perf_counter() + BUDGET
        while (source := self._unread.take()) is not None:
            try:
                self._read(source)
            except Exception as error:
                faults.swallow("versions", error)
            if perf_counter() >= end:
                return

    def _read(self, source: UnreadSchema) -> None:
        from .._schemas.versions import version  # at the first collection, not when the application starts

        document = source.read(source.schema)
        if self.on_read is not None:
            self.on_read(source.cells, document)
        found = version(next(iter(document.values())), document)
        cells = source.cells
        before = self._current.get(cells)
        if before is not None and before[0] != found:
            self._ceased[cells, before[0]] = before[1]
            while len(self._ceased) > MAX_CEASED:
                del self._ceased[next(iter(self._ceased))]
        self._ceased.pop((cells, found), None)
        attributes = {**cells.attributes, semconv.SCHEMA_VERSION: clean(found[0]), semconv.SCHEMA_FINGERPRINT: found[1]}
        self._current[cells] = found, attributes

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds the lock."""
        self._lock = threading.RLock()
