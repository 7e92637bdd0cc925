"""Which request, or which `endpoint()` block, the running code serves; how that begins and ends."""

from __future__ import annotations

import logging
import re
import threading
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from .. import semconv
from .cells import BUFFER_SIZE
from .endpoints import NO_ENDPOINT, Endpoint

if TYPE_CHECKING:
    from .schema_cells import SchemaCells

_log = logging.getLogger(__name__)

MAX_URL = 1000
"""Characters of a URL that are searched: over a long one `a.*b` takes quadratic time."""


class Request:
    """A mutable holder, reached through one context variable and filled when the framework has found the route.

    A task that a request started keeps its context, and so this holder. It ends when the request is counted: what the
    task validates later is outside.

    Attributes:
        endpoint: What it is for. The hot path reads `key` alone, all other code `endpoint` alone: so nobody sees a new
            one with an old one.
        key: The endpoint's key; empty outside a request.
        mount: The template of the mount that passed it to another application, perhaps of another framework, which
            must not open a request of its own; None elsewhere.
        handled: Whether the handler of its route was entered. From then on a copy of its scope or environ is another
            request.
        schema_cells: Of the schema whose validation ended last, parameters apart.
        parameter_cells: Of the parameter whose validation ended last.
        declared_cells: Of the schema that the route declares: of its body, else of its response.
        durations: In s of its validations that are not summed up yet, while the route's handler runs and the
            server span is recording; else None. An append costs the hot path a fifth of what adding up would.
    """

    __slots__ = (
        "__weakref__", "_ended", "_number", "_seconds", "_span", "declared_cells", "durations", "endpoint", "handled",
        "key", "mount", "parameter_cells", "schema_cells",
    )  # fmt: skip

    endpoint: Endpoint
    key: str
    handled: bool

    def __init__(self, endpoint: Endpoint = NO_ENDPOINT) -> None:
        self.endpoint, self.key = endpoint, endpoint.key
        self.mount: str | None = None
        self.handled = self._ended = False
        self.schema_cells: SchemaCells | None = None
        self.parameter_cells: SchemaCells | None = None
        self.declared_cells: SchemaCells | None = None
        self.durations: list[float] | None = None
        self._span: trace.Span | None = None
        self._number, self._seconds = 0, 0.0

    @property
    def counted(self) -> bool:
        """Whether it counts in `api.requests`, and its failures in `validation.errors`."""
        return self.key != ""

    @property
    def ended(self) -> bool:
        """Whether it has ended, counted or not."""
        return self._ended

    def locate(self, endpoint: Endpoint) -> None:
        """Set the endpoint, once it is known. An excluded request stays excluded."""
        if self.key:
            self.endpoint, self.key = endpoint, endpoint.key

    @property
    def queried_cells(self) -> SchemaCells | None:
        """The cells of the schema that a query is `after`; None before an input was validated.

        It is the schema that the route declares, else the one that was validated last: a token or a page number is most
        often validated before the request's own data.
        """
        last = self.schema_cells or self.parameter_cells
        return None if last is None else self.declared_cells or last

    def add_validation(self, schema_cells: SchemaCells, took: float, parameter: bool = False) -> None:
        """Note a validation of `took` seconds. The hot paths, which validate no parameters, repeat this code."""
        if parameter:
            self.parameter_cells = schema_cells
        else:
            self.schema_cells = schema_cells
        durations = self.durations
        if durations is not None:
            durations.append(took)
            if len(durations) >= BUFFER_SIZE:
                self.sum_up()

    def enter_handler(self) -> None:
        """Note that the route's handler starts: the current span is the server span."""
        self.handled = True
        span = trace.get_current_span()
        if self._span is None and self.key and span.is_recording():
            self._number, self._seconds, self._span, self.durations = 0, 0.0, span, []
            _summed[id(self)] = self

    def leave_handler(self) -> None:
        """Note that the route's handler ended: put number and total time of the validations on the server span."""
        span, self._span = self._span, None
        if span is None:
            return
        _summed.pop(id(self), None)
        self.sum_up()
        self.durations = None
        if self._number and span.is_recording():
            span.set_attribute(semconv.VALIDATION_COUNT, self._number)
            span.set_attribute(semconv.VALIDATION_SECONDS, self._seconds)

    def sum_up(self) -> None:
        """Add up the durations, so that they do not pile up while a stream is open."""
        with _summing:
            batch = (self.durations or ())[:]
            if self.durations:
                del self.durations[: len(batch)]
            self._number, self._seconds = self._number + len(batch), self._seconds + sum(batch)

    def end(self) -> Endpoint:
        """End the request. Code that still runs in its context is outside from now on.

        Returns:
            The endpoint to count it under; `NO_ENDPOINT` where it does not count, or ended before.
        """
        endpoint, self.endpoint = self.endpoint, NO_ENDPOINT
        self._ended, self.key, self.durations = True, "", None
        self.schema_cells = self.parameter_cells = self.declared_cells = None
        return endpoint

    def __reduce__(self) -> Any:
        """Pickle as None: an ASGI scope or a Django request is pickled without it."""
        return type(None), ()

    def __deepcopy__(self, _memo: Any) -> Request:
        return self


_summed: dict[int, Request] = {}
"""`id` → a request whose handler runs in a recording server span."""

_summing = threading.RLock()

NO_REQUEST = Request()

current_request: ContextVar[Request] = ContextVar("schema_request", default=NO_REQUEST)


def sum_up_all() -> None:
    """Add up the durations of every request that is open; called by each collection."""
    for request in list(_summed.values()):
        request.sum_up()


def reset_after_fork() -> None:
    """In a forked child: nobody holds the lock."""
    global _summing
    _summing = threading.RLock()


def enter(request: Request) -> Token[Request]:
    """Make `request` the current one."""
    return current_request.set(request)


def leave(token: Token[Request]) -> None:
    """Restore the request that was current before `enter`. Another context, if it entered, keeps the ended request.

    Each step of a generator may run in a context of its own, and so may its `close()`.
    """
    try:
        current_request.reset(token)
    except (ValueError, RuntimeError):  # another context's; or used before
        pass


class ExcludedUrls:
    """Comma-separated regular expressions, looked for in a URL's first 1,000 characters."""

    def __init__(self, patterns: str) -> None:
        self._regex: re.Pattern[str] | None = None
        listed = [pattern for pattern in (part.strip() for part in patterns.split(",")) if pattern]
        if listed:
            try:
                self._regex = re.compile("|".join(listed))
            except re.error as reason:
                _log.warning("the excluded URLs %r are not a valid pattern (%s): no URL is excluded", patterns, reason)

    def __bool__(self) -> bool:
        return self._regex is not None

    def __contains__(self, url: str) -> bool:
        return self._regex is not None and self._regex.search(url[:MAX_URL]) is not None
