"""A dictionary with a limit: it makes a value for each new key, and one that all further keys share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Bounded(Generic[_K, _V]):
    """Values that are made when their key is first asked for; all keys past the limit share one.

    Args:
        share: Makes the value of all keys past the limit.

    Attributes:
        values: Key → value, for a look-up without the lock. Keys past the limit are not in it: they have no end.
    """

    __slots__ = ("_lock", "_share", "_shared", "values")

    def __init__(self, share: Callable[[], _V]) -> None:
        self.values: dict[_K, _V] = {}
        self._share = share
        self._shared: _V | None = None
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds the lock."""
        self._lock = threading.RLock()  # a finaliser that records may run inside

    def get(self, key: _K, make: Callable[[], _V | None]) -> _V:
        """Return the value of `key`. `make` returns a new one, or None past the limit."""
        value = self.values.get(key)
        if value is None:
            with self._lock:
                value = self.values.get(key)
                if value is None:
                    value = make()
                    if value is None:
                        value = self._shared = self._shared or self._share()
                    else:
                        self.values[key] = value
        return value

    def all(self) -> list[_V]:
        """Every value that was made."""
        return [*self.values.values(), *(() if self._shared is None else (self._shared,))]
