"""Schemas that were used and whose fields nobody has read yet."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .schema_cells import SchemaCells


MAX_DATA = 100
"""JSON Schemas that are kept."""


class UnreadSchema(NamedTuple):
    """A schema as its library knows it.

    Attributes:
        cells: Where its measurements are.
        schema: The schema: a class, or the data of a JSON Schema.
        read: Reads its fields.
    """

    cells: SchemaCells
    schema: Any
    read: Callable[[Any], Any]


class UnreadSchemas:
    """A queue with at most one schema for each schema's cells, in the order in which they were bound.

    A class is held weakly. Data cannot be, so the last JSON Schema of each name is kept, for the `MAX_DATA` latest
    names: a tenant's may be large. One that was dropped is queued again when it is bound again.
    """

    def __init__(self) -> None:
        self._waiting: dict[SchemaCells, Callable[[Any], Any]] = {}
        self._schemas: dict[SchemaCells, Callable[[], Any]] = {}
        self._data: dict[SchemaCells, Any] = {}
        self._lock = threading.RLock()  # a finaliser that binds may run inside

    def add(self, cells: SchemaCells, schema: Any, read: Callable[[Any], Any]) -> None:
        """Queue a schema, unless it was queued before and no other one of its name since."""
        known = self._schemas.get(cells)
        if known is not None and known() is schema:
            return
        with self._lock:
            if isinstance(schema, type):
                self._schemas[cells] = weakref.ref(schema)
            else:
                self._data.pop(cells, None)  # the latest stands last
                self._data[cells] = schema
                self._schemas[cells] = lambda: self._data.get(cells)
                while len(self._data) > MAX_DATA:
                    del self._data[next(iter(self._data))]
            self._waiting[cells] = read

    def take(self) -> UnreadSchema | None:
        """The next schema that was used and still exists; None if there is none.

        A web framework binds the bodies of all its routes at its start; those that nobody sends wait here.
        """
        with self._lock:
            for cells in [each for each in self._waiting if each.used]:
                read, schema = self._waiting.pop(cells), self._schemas[cells]()
                if schema is not None:
                    return UnreadSchema(cells, schema, read)
        return None

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds the lock."""
        self._lock = threading.RLock()
