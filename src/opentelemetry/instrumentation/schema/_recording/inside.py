"""Which threads are inside the OpenTelemetry SDK for us right now.

Its locks are not reentrant. A signal handler, a finalizer that the garbage collector runs, or a span processor may
interrupt a thread there and validate. A second call into the SDK would then make the thread wait for itself. So such
a validation leaves its values in their cells, and makes no span.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

_R = TypeVar("_R")

threads: set[int] = set()
"""`get_ident()` of each. Whoever adds a thread removes it again. Check for the thread before each call into the SDK."""


def reset_after_fork() -> None:
    """In a forked child only the forking thread lives on."""
    threads.intersection_update({get_ident()})


def call(function: Callable[..., _R], *args: Any) -> _R:
    """Return `function(*args)`; the calling thread is in `threads` meanwhile."""
    me = get_ident()
    try:  # around both: an exception of a signal handler may come out of any call
        threads.add(me)
        result = function(*args)
    finally:
        threads.discard(me)
    return result
