"""Our own errors: kept from the application, counted, logged once.

Every place where our code runs inside somebody's call is guarded by `swallow` or `guarded`. Tests set `reraise`, so
that a fault which production would only count fails them.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_D = TypeVar("_D")

reraise = False
"""Set by tests: a fault is raised instead of swallowed."""

_lock = threading.Lock()
_pending: dict[tuple[str, str], int] = {}
_logged: set[tuple[str, str]] = set()


def swallow(component: str, error: BaseException) -> None:
    """Keep `error` from the application: count it, and log the first of its kind with its traceback.

    Args:
        component: Which part of this package failed, such as `pydantic`.
        error: What was raised. Its message is logged only as part of the traceback of our own code's first failure.
    """
    key = component, type(error).__qualname__
    with _lock:
        _pending[key] = _pending.get(key, 0) + 1
        first = key not in _logged
        _logged.add(key)
    if reraise:
        raise error
    if first:
        # The message may quote a payload, so the log carries the place and the class only.
        _log.error("%s: internal error %s at %s; it is counted, and not logged again", *key, _place(error))


def _place(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "unknown" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"


def guarded(component: str, default: _D) -> Callable[[Callable[_P, _R]], Callable[_P, _R | _D]]:
    """Decorate an observing function: what it raises is swallowed, and `default` returned."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R | _D]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R | _D:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                swallow(component, error)
                return default

        return call

    return decorate


def take() -> dict[tuple[str, str], int]:
    """Faults per (component, error class) since the last call."""
    with _lock:
        taken = dict(_pending)
        _pending.clear()
    return taken


def forked() -> None:
    """Start from zero in a forked child, whose parent reports what it counted."""
    global _lock
    _lock = threading.Lock()
    _pending.clear()
