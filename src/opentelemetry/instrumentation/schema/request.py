"""Which request, or which `endpoint()` block, the running code serves."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace

from . import semconv

if TYPE_CHECKING:
    from .recorder import Probe


class _Durations(Protocol):
    def append(self, value: float, /) -> object: ...


_IGNORE: _Durations = deque[float](maxlen=0)
"""Takes durations that nobody sums up, so that the hot path appends without asking."""

MAX_NAME = 100


class Request:
    """A mutable holder, reached through one context variable and filled when the framework has found the route.

    Attributes:
        key: Names the endpoint in dictionaries of cells; str, because str-only dictionaries have the faster look-up.
        attributes: ENDPOINT, as on metrics and spans; empty outside a request.
        took: Durations in s of its validations, where a recording server span wants their sum.
        probe: Whose validation ended last.
        counted: Whether it counts in `api.requests` (and its failures in `validation.errors`).
    """

    __slots__ = ("attributes", "counted", "key", "probe", "span", "took")

    def __init__(self, attributes: dict[str, str] | None = None) -> None:
        self.key, self.attributes, self.counted = "", {}, attributes is not None
        self.took: Any = _IGNORE
        self.span: trace.Span | None = None
        self.probe: Probe | None = None
        if attributes is not None:
            self.locate(attributes)

    def locate(self, attributes: dict[str, str]) -> None:
        """Say which endpoint this is, now that it is known."""
        self.attributes, self.key = attributes, key_of(attributes)

    def enter_handler(self) -> None:
        """The route's handler starts: the span current now is the server span."""
        span = trace.get_current_span()
        if self.span is None and span.is_recording():
            self.span, self.took = span, []

    def leave_handler(self) -> None:
        """The route's handler ended: its validations' number and total time go on the server span."""
        if self.span is not None:
            took, self.took = self.took, _IGNORE
            if took and self.span.is_recording():
                self.span.set_attribute(semconv.VALIDATION_COUNT, len(took))
                self.span.set_attribute(semconv.VALIDATION_SECONDS, sum(took))
            self.span = None


OUTSIDE = Request()

current: ContextVar[Request] = ContextVar("schema_request", default=OUTSIDE)


def web(method: str, route: str | None = None) -> dict[str, str]:
    """ENDPOINT of a web request: the method, and the route template once a route matched."""
    attributes = {semconv.HTTP_REQUEST_METHOD: semconv.http_method(method)}
    if route is not None:
        attributes[semconv.HTTP_ROUTE] = route
    return attributes


def block(name: str) -> dict[str, str]:
    """ENDPOINT of an `endpoint(name)` block.

    Raises:
        ValueError: If the name is empty or longer than 100 characters.
    """
    if not name or len(name) > MAX_NAME:
        raise ValueError(
            f"an endpoint's name has 1 to {MAX_NAME} characters, not {len(name)}: name the job, not its data"
        )
    return {semconv.SCHEMA_ENDPOINT: name}


def key_of(attributes: dict[str, str]) -> str:
    """One str per ENDPOINT."""
    return "\0".join(f"{name}={value}" for name, value in attributes.items())
