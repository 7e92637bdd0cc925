"""What is running on this call stack right now.

A validation is synchronous, so "nested" is a property of the stack, not of a context: a flag in a context variable is
copied into tasks started inside a validation, which would then vanish. A thread is a stack; where greenlet is
imported (gevent, eventlet, SQLAlchemy's asyncio), a greenlet is. A public `validation()` block may await: once there
was one in a task, a task is a stack.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, final

from opentelemetry import context, trace

if TYPE_CHECKING:
    from typing import TypeAlias

    from opentelemetry.trace import Span

    from .schema_cells import SchemaCells

    Running: TypeAlias = "tuple[SchemaCells, float] | OpenValidation"

current_stack: Callable[[], Any] = threading.get_ident
"""The key of the stack that the caller is on."""

running: dict[Any, Running] = {}
"""`current_stack()` → the outermost running validation that can run Python code.

It starts as `(schema_cells, perf_counter())`, which is cheap to make. Its first database query puts an `OpenValidation`
in the tuple's place. The validation takes out its entry when it ends, and so sees whether it ran a query.
"""


@final
class OpenValidation:
    """A running validation that ran a database query, and so has a span before it ends.

    Attributes:
        schema_cells: Of the schema that is validated.
        began: `perf_counter()` at its start, in seconds.
        queries: How many queries it ran.
        span: Its span, once made; the queries' spans are its children.
        before: While a query runs, the context to restore after it; else None.
    """

    __slots__ = ("before", "began", "queries", "schema_cells", "span")

    schema_cells: SchemaCells
    began: float
    queries: int

    def __init__(self, schema_cells: SchemaCells, began: float) -> None:
        self.schema_cells, self.began, self.queries = schema_cells, began, 0
        self.span: Span | None = None
        self.before: context.Context | None = None

    def attach(self, span: Span) -> None:
        """Make the validation's span current while a query runs, so that the query's span becomes its child."""
        self.before = context.get_current()
        context.attach(trace.set_span_in_context(span))

    def detach(self) -> None:
        """Restore the context, after the query or, if we missed its end, after the validation."""
        # No token: an exception of a signal handler could lose it between `attach` and its assignment.
        if self.before is not None and trace.get_current_span() is self.span:
            context.attach(self.before)
        self.before = None


def follow_greenlets(_stack: object = None) -> None:
    """Take each greenlet for a stack from now on. Called when the app imports greenlet."""
    global current_stack, _of_no_task
    from greenlet import getcurrent

    # A running validation keeps the key that it stored its entry under, so it still finds the entry when it ends.
    _of_no_task = getcurrent
    if current_stack is not _task:
        current_stack = getcurrent


def follow_tasks() -> None:
    """Take each task for a stack from now on. Called by a block that may await; does nothing outside an event loop.

    All other validations do not await, so an app without such blocks keeps the cheaper key.
    """
    global current_stack
    if _running_loop() is not None or _trio_task() is not None:
        current_stack = _task


_of_no_task: Callable[[], Any] = threading.get_ident


def _task() -> Any:
    loop = _running_loop()
    task = _trio_task() if loop is None else sys.modules["asyncio"].current_task(loop)
    return _of_no_task() if task is None else task


def _running_loop() -> Any:
    asyncio = sys.modules.get("asyncio")  # without the import no loop runs
    return None if asyncio is None else asyncio._get_running_loop()


def _trio_task() -> Any:
    trio = sys.modules.get("trio")
    try:
        return None if trio is None else trio.lowlevel.current_task()
    except RuntimeError:  # no trio runs here
        return None


def reset_after_fork() -> None:
    """In a forked child: only the forking thread lives on. A reused thread id must not look nested."""
    mine = running.pop(current_stack(), None)
    running.clear()
    if mine is not None:
        running[current_stack()] = mine


def started_ns(seconds_ago: float) -> int:
    """Return the Unix time in ns of `seconds_ago` seconds before now."""
    return time_ns() - int(seconds_ago * 1e9)
