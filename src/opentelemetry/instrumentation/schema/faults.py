"""Our own errors: kept from the application, counted, logged once.

Every place where our code runs inside somebody's call is guarded by `swallow` or `guarded`. Tests set `reraise`, so
that a fault which production would only count fails them.
"""

from __future__ import annotations

import functools
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, ParamSpec, TypeVar

from .text import class_name

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_D = TypeVar("_D")

MAX_KINDS = 100
"""Kinds of fault that are counted separately: applications may make error classes without end. Others are `_OTHER`."""

OTHER = "_OTHER"

reraise = False
"""Set by tests: a fault is raised instead of swallowed."""

_lock = threading.RLock()  # a signal handler's or a finalizer's validation may fail in the middle
_pending: dict[tuple[str, str], int] = {}
_logged: set[tuple[str, str]] = set()


def swallow(component: str, error: BaseException) -> None:
    """Keep `error` from the application: count it, and log the first of its kind with its place.

    Args:
        component: Which part of this package failed, such as `pydantic`.
        error: What was raised. Its message is never logged: it may quote a payload.

    Raises:
        BaseException: `error`, if it is no fault but interrupts the application: a signal handler raised it while our
            code ran, or it ends the program.
    """
    if interrupts(error):
        try:
            raise error
        finally:
            del error  # or traceback and frame keep each other, and a connection in a frame below, until a collection
    key = component, class_name(error)
    with _lock:
        if key not in _logged and len(_logged) >= MAX_KINDS:
            key = component, OTHER
        _pending[key] = _pending.get(key, 0) + 1
        first = key not in _logged
        _logged.add(key)
    if reraise:
        raise error
    if first:
        _log.error(
            "%s: internal error %s at %s; further ones of this kind are counted, but not logged", *key, _place(error)
        )


def interrupts(error: BaseException) -> bool:
    """Whether `error` is not our fault: a signal handler raised it while our code ran, or it ends the program."""
    if issubclass(type(error), (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return True
    frames = [each.tb_frame.f_code for each in _traceback(error)]
    return len(frames) > 1 and not _handlers().isdisjoint(frames)


def _handlers() -> set[CodeType]:
    """The code of the signal handlers that are set."""
    found: set[CodeType] = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while type(handler) is functools.partial:
            handler = handler.func
        if type(handler) is MethodType:
            handler = handler.__func__
        if type(handler) is FunctionType:
            found.add(handler.__code__)
    return found


def _traceback(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _place(error: BaseException) -> str:
    at = list(_traceback(error))
    return f"{at[-1].tb_frame.f_code.co_filename}:{at[-1].tb_lineno}" if at else "unknown"


def guarded(component: str, default: _D) -> Callable[[Callable[_P, _R]], Callable[_P, _R | _D]]:
    """Decorate a function of ours: if it raises, swallow the error and return `default`.

    Args:
        component: As for `swallow`.
        default: Returned after an error.
    """

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


def reset_after_fork() -> None:
    """Start from zero in a forked child, whose parent reports what it counted."""
    global _lock
    _lock = threading.RLock()
    _pending.clear()
