"""Which request, or which `endpoint()` block, the running code serves."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import trace

from .. import semconv

if TYPE_CHECKING:
    from .probe import Probe


_log = logging.getLogger(__name__)


MAX_NAME = 100


class Endpoint(NamedTuple):
    """What a request is for.

    Attributes:
        key: Names it in dictionaries of cells; str, because str-only dictionaries have the faster look-up.
        attributes: ENDPOINT, as on metrics and spans.
    """

    key: str
    attributes: dict[str, str]


class Request:
    """A mutable holder, reached through one context variable and filled when the framework has found the route.

    Attributes:
        key: Its endpoint's key; empty outside a request.
        attributes: Its endpoint's attributes; empty outside a request.
        counted: Whether it counts in `api.requests`, and its failures in `validation.errors`.
        mount: The template of the mount that handed it to an application of perhaps another framework, which then is
            not to open a request of its own; None elsewhere.
        took: Durations in s of its validations, while a recording server span wants their sum; else None.
        probe: Whose validation ended last.
        span: The server span, while the route's handler runs.
    """

    __slots__ = ("attributes", "counted", "key", "mount", "probe", "span", "took")

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self.key, self.attributes = endpoint or ("", {})
        self.counted = endpoint is not None
        self.mount: str | None = None
        self.took: list[float] | None = None
        self.span: trace.Span | None = None
        self.probe: Probe | None = None

    def locate(self, endpoint: Endpoint) -> None:
        """Say which endpoint this is, now that it is known."""
        self.key, self.attributes = endpoint

    def add_validation(self, probe: Probe, took: float) -> None:
        """A validation of `took` seconds ended; the hot paths have this written out."""
        self.probe, durations = probe, self.took
        if durations is not None:
            durations.append(took)

    def enter_handler(self) -> None:
        """The route's handler starts: the span current now is the server span."""
        span = trace.get_current_span()
        if self.span is None and span.is_recording():
            self.span, self.took = span, []

    def leave_handler(self) -> None:
        """The route's handler ended: its validations' number and total time go on the server span."""
        if self.span is not None:
            took, self.took = self.took, None
            if took and self.span.is_recording():
                self.span.set_attribute(semconv.VALIDATION_COUNT, len(took))
                self.span.set_attribute(semconv.VALIDATION_SECONDS, sum(took))
            self.span = None


NO_REQUEST = Request()

current_request: ContextVar[Request] = ContextVar("schema_request", default=NO_REQUEST)


@lru_cache(maxsize=4096)
def web_endpoint(method: str, route: str | None = None) -> Endpoint:
    """The endpoint of a web request: the method, and the route template once a route matched."""
    attributes = {semconv.HTTP_REQUEST_METHOD: semconv.http_method(method)}
    if route is not None:
        attributes[semconv.HTTP_ROUTE] = route
    return _endpoint(attributes)


def block_endpoint(name: str) -> Endpoint:
    """The endpoint of an `endpoint(name)` block.

    Raises:
        ValueError: If the name is empty or longer than 100 characters.
    """
    if not name or len(name) > MAX_NAME:
        raise ValueError(
            f"an endpoint's name has 1 to {MAX_NAME} characters, not {len(name)}: name the job, not its data"
        )
    return _endpoint({semconv.SCHEMA_ENDPOINT: name})


def _endpoint(attributes: dict[str, str]) -> Endpoint:
    return Endpoint("\0".join(f"{name}={value}" for name, value in attributes.items()), attributes)


class ExcludedUrls:
    """`OTEL_PYTHON_EXCLUDED_URLS`: comma-separated regular expressions, looked for in the whole URL."""

    def __init__(self, patterns: str) -> None:
        self._regex: re.Pattern[str] | None = None
        listed = [pattern for pattern in (part.strip() for part in patterns.split(",")) if pattern]
        if listed:
            try:
                self._regex = re.compile("|".join(listed))
            except re.error as reason:
                _log.warning("OTEL_PYTHON_EXCLUDED_URLS=%r is not valid (%s): no URL is excluded", patterns, reason)

    def __bool__(self) -> bool:
        return self._regex is not None

    def __contains__(self, url: str) -> bool:
        return self._regex is not None and self._regex.search(url) is not None
