"""Which threads are inside the OpenTelemetry SDK for us right now.

Its locks are plain ones, and what interrupts a thread there (a signal handler, a finalizer that the garbage collector
runs, a span processor's own validation) may validate as well: with a second call the thread would wait for itself.
So what interrupts leaves its values to wait in their cells, and makes no span.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

_R = TypeVar("_R")

threads: set[int] = set()
"""`get_ident()` of each. Whoever adds one removes it, and looks before: what comes from within is not to enter."""


def reset_after_fork() -> None:
    """In a forked child only the forking thread lives on."""
    threads.intersection_update({get_ident()})


def call(function: Callable[..., _R], *args: Any) -> _R:
    """`function(*args)`, with the calling thread inside meanwhile."""
    me = get_ident()
    try:  # around both: an exception of a signal handler may come out of any call
        threads.add(me)
        result = function(*args)
    finally:
        threads.discard(me)
    return result
