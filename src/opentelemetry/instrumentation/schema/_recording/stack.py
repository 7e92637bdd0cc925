"""What is running on this call stack right now.

A validation is synchronous, so "nested" is a property of the stack, not of a context: a flag in a context variable is
copied into tasks started inside a validation, which would then vanish. A thread is a stack; where greenlet is
imported (gevent, eventlet, SQLAlchemy's asyncio), a greenlet is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from .probe import Probe

current_stack: Callable[[], Any] = threading.get_ident
"""The key of the stack that the caller is on."""

running: dict[Any, Any] = {}
"""`current_stack()` → the outermost running validation that can run Python code: `(probe, perf_counter())`, or an
`OpenValidation`.

Python code that runs inside may replace the tuple by an `OpenValidation`; the validation sees it when it ends.
"""


class OpenValidation:
    """A running validation that ran a database query, and so has a span before it ends.

    Attributes:
        probe: Whose validation it is.
        began: `perf_counter()` at its start, in seconds.
        queries: How many queries it ran.
        span: Its span, once made; the queries' spans are its children.
        token: Of the context that makes its span the current one, while a query runs.
    """

    __slots__ = ("began", "probe", "queries", "span", "token")

    def __init__(self, probe: Probe, began: float) -> None:
        self.probe, self.began, self.queries = probe, began, 0
        self.span: Span | None = None
        self.token: Any = None

    def detach(self) -> None:
        """The query ended; or the validation did, where a query's end was never heard of."""
        token, self.token = self.token, None
        if token is not None:
            context.detach(token)


def follow_greenlets(_stack: object = None) -> None:
    """From now on a stack is a greenlet. Called when the app imports greenlet."""
    global current_stack
    from greenlet import getcurrent

    current_stack = getcurrent  # who is inside a validation now takes its entry out under the key it put it in


def forked() -> None:
    """In a forked child only the forking thread lives on; a reused thread id must not read as nested."""
    mine = running.pop(current_stack(), None)
    running.clear()
    if mine is not None:
        running[current_stack()] = mine


def started_ns(seconds_ago: float) -> int:
    """Unix time in ns of a start that lies `seconds_ago` back."""
    return time_ns() - int(seconds_ago * 1e9)
