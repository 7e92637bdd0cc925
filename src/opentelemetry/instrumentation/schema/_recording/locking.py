"""Calls a function under a lock that signal handlers, which may raise anywhere, never leave taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def call_locked(lock: Any, wait: float, function: Callable[..., object], *args: Any) -> None:
    """Call `function(*args)` under a `threading.RLock`; do nothing if another thread holds it for longer than `wait` s.

    `acquire` is inside the `try`, since a handler's exception may come when it has just taken the lock. `release` is
    the first call of the `finally` for the same reason.
    """
    try:
        if lock.acquire(timeout=wait):
            function(*args)
    finally:
        try:
            lock.release()
        except RuntimeError:  # another thread holds it
            pass
