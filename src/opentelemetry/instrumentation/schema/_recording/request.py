"""Which request, or which `endpoint()` block, the running code serves; how that begins and ends."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from .. import semconv
from .endpoints import OUTSIDE, Endpoint

if TYPE_CHECKING:
    from .schema_cells import SchemaCells

_log = logging.getLogger(__name__)


class Request:
    """A mutable holder, reached through one context variable and filled when the framework has found the route.

    A task that a request started keeps its context, and so this holder. It ends when the request is counted: what the
    task validates later is outside.

    Attributes:
        endpoint: What it is for. `key` is that endpoint's, for the hot path; whoever needs more reads this one alone,
            so the two are never told apart.
        key: The endpoint's key; empty outside a request.
        mount: The template of the mount that handed it to an application of perhaps another framework, which then is
            not to open a request of its own; None elsewhere.
        handled: Whether the handler of its route was entered. A copy of its scope or environ is another request then.
        schema_cells: Of the schema whose validation ended last.
        span: The server span, while the route's handler runs and if it is recording.
        validations: How many validations ended meanwhile. Threads of one request may lose one to each other before
            Python 3.11; only the span says this.
        seconds: How long they took together.
    """

    __slots__ = (
        "__weakref__", "_ended", "endpoint", "handled", "key", "mount", "schema_cells", "seconds", "span",
        "validations",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint = OUTSIDE) -> None:
        self.endpoint, self.key = endpoint, endpoint.key
        self.mount: str | None = None
        self.handled = self._ended = False
        self.schema_cells: SchemaCells | None = None
        self.span: trace.Span | None = None
        self.validations, self.seconds = 0, 0.0

    @property
    def counted(self) -> bool:
        """Whether it counts in `api.requests`, and its failures in `validation.errors`."""
        return self.key != ""

    @property
    def ended(self) -> bool:
        """Whether it was counted, or what came instead."""
        return self._ended

    def locate(self, endpoint: Endpoint) -> None:
        """Say which endpoint this is, now that it is known. An excluded request stays one."""
        if self.key:
            self.endpoint, self.key = endpoint, endpoint.key

    def add_validation(self, schema_cells: SchemaCells, took: float) -> None:
        """A validation of `took` seconds ended; the hot paths have this written out."""
        self.schema_cells = schema_cells
        if self.span is not None:
            self.validations += 1
            self.seconds += took

    def enter_handler(self) -> None:
        """The route's handler starts: the span current now is the server span."""
        self.handled = True
        span = trace.get_current_span()
        if self.span is None and self.key and span.is_recording():
            self.validations, self.seconds, self.span = 0, 0.0, span

    def leave_handler(self) -> None:
        """The route's handler ended: its validations' number and total time go on the server span."""
        span, self.span = self.span, None
        if span is not None and self.validations and span.is_recording():
            span.set_attribute(semconv.VALIDATION_COUNT, self.validations)
            span.set_attribute(semconv.VALIDATION_SECONDS, self.seconds)

    def end(self) -> Endpoint:
        """It was served. What still runs in its context is outside from now on.

        Returns:
            The endpoint to count it under; `OUTSIDE` where it does not count, or ended before.
        """
        endpoint, self.endpoint = self.endpoint, OUTSIDE
        self._ended, self.key, self.span, self.schema_cells = True, "", None, None
        return endpoint

    def __reduce__(self) -> Any:
        """What holds it travels without it: an ASGI scope, a Django request."""
        return type(None), ()

    def __deepcopy__(self, _memo: Any) -> Request:
        return self


NO_REQUEST = Request()

current_request: ContextVar[Request] = ContextVar("schema_request", default=NO_REQUEST)


def enter(request: Request) -> Token[Request]:
    """What runs from here on belongs to `request`."""
    return current_request.set(request)


def leave(token: Token[Request]) -> None:
    """Give the context back what it held. Where it was entered in another context, that one keeps an ended request.

    A generator's steps may each have a context of their own, and whoever closes it too.
    """
    try:
        current_request.reset(token)
    except (ValueError, RuntimeError):  # another context's; or used before
        pass


class ExcludedUrls:
    """Comma-separated regular expressions, looked for in the whole URL."""

    def __init__(self, patterns: str) -> None:
        self._regex: re.Pattern[str] | None = None
        listed = [pattern for pattern in (part.strip() for part in patterns.split(",")) if pattern]
        if listed:
            try:
                self._regex = re.compile("|".join(listed))
            except re.error as reason:
                _log.warning("the excluded URLs %r are not valid (%s): no URL is excluded", patterns, reason)

    def __bool__(self) -> bool:
        return self._regex is not None

    def __contains__(self, url: str) -> bool:
        return self._regex is not None and self._regex.search(url) is not None
