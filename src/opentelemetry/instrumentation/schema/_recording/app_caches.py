"""Adds the application's own caches to `cache.hits` and `cache.misses`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from .. import faults
from .app_names import check_name


class _Info(Protocol):
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...


class LruCache(Protocol):
    """A function decorated with `functools.lru_cache`."""

    def cache_info(self) -> _Info: ...


class _Source:
    def __init__(self, read: Callable[[], tuple[int, int]]) -> None:
        self.read = read
        self.last: tuple[int, int] = (0, 0)


_sources: dict[str, _Source] = {}
_lock = threading.RLock()  # a signal handler may observe a cache, too


def observe_cache(name: str, source: LruCache | Callable[[], tuple[int, int]]) -> None:
    """Count a cache's hits and misses in `cache.hits` and `cache.misses`, with `schema.cache.name` = `name`.

    The source is read at each collection, never when the application uses the cache. Totals that fall
    (`cache_clear()`, a fork) count as a restart. A source that raises is counted in `schema.telemetry.errors`, and read
    again next time.

    Args:
        name: The cache's name, 1 to 100 characters that hold no data. Observing a name again replaces its source.
        source: A `functools.lru_cache` function, or a callable returning the total (hits, misses) so far.

    Raises:
        ValueError: If the name is empty or longer than 100 characters.
        TypeError: If the name is no str, or the source is neither.
    """
    name = check_name("a cache's name", name)
    info: Any = getattr(source, "cache_info", None)
    if info is not None:
        read: Callable[[], tuple[int, int]] = lambda: (info().hits, info().misses)  # noqa: E731  # two shapes, one name
    elif callable(source):
        read = source
    else:
        raise TypeError(f"{name}: expected an lru_cache function or a callable, not {type(source).__name__}")
    with _lock:
        _sources[name] = _Source(read)


def take() -> list[tuple[str, int, int]]:
    """(name, hits, misses) of every observed cache since the last call."""
    with _lock:
        sources = list(_sources.items())
    taken: list[tuple[str, int, int]] = []
    for name, source in sources:
        try:
            hits, misses = source.read()
            was_hits, was_misses = source.last
            if hits < was_hits or misses < was_misses:
                was_hits = was_misses = 0
            source.last = hits, misses
            taken.append((name, hits - was_hits, misses - was_misses))
        except Exception as error:
            faults.swallow("cache", error)
    return taken


def reset_after_fork() -> None:
    """In a forked child: what the caches counted so far is the parent's."""
    global _lock
    _lock = threading.RLock()
    take()
