"""Routes of ASGI frameworks: what Starlette's integration and FastAPI's share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import faults
from .endpoints import Endpoint, web_endpoint
from .request import Request
from .web import KEY, Mark

_COMPONENT = "starlette"


class RouteReader:
    """How to read routes. A framework on top of another puts its own in the place of `reader`."""

    def framework(self, _app: Any) -> str:
        """The framework of an application."""
        return _COMPONENT

    def template(self, route: Any, _scope: Any) -> str:
        """A route's template below its mounts."""
        return route.path_format

    def expand(self, routes: Any) -> Iterator[Any]:
        """Routes, with those of included routers in their place."""
        return iter(routes)

    def announce(self, route: Any, endpoint: Endpoint) -> None:
        """The application starts: name the validators of a route's schemas, and expect requests with a body."""

    def enter(self, route: Any, scope: Any, request: Request) -> None:
        """A route is about to handle a request."""


reader = RouteReader()


def wrap_handle(original: Any) -> Any:
    """A route's `handle`, which says what the request is for before the route's own code runs."""

    async def handle(self: Any, scope: Any, receive: Any, send: Any) -> None:
        mark: Mark | None = scope.get(KEY)
        if mark is None or mark.route is self:  # not a request of ours, or a subclass's `handle` was first
            await original(self, scope, receive, send)
            return
        mark.route = self
        request = mark.request
        request.mount = None
        try:
            request.locate(web_endpoint(scope["method"], mark.prefix + reader.template(self, scope)))
            reader.enter(self, scope, request)
            request.enter_handler()
        except Exception as error:
            faults.swallow(_COMPONENT, error)

        async def leave_then_send(message: Any) -> None:
            # the last message: the span's own instrumentation ends it when that is sent
            if message["type"] == "http.response.body" and not message.get("more_body"):
                _leave(request)
            await send(message)

        try:
            await original(self, scope, receive, leave_then_send if request.durations is not None else send)
        finally:
            if request.durations is not None:
                _leave(request)

    return handle


@faults.guarded(_COMPONENT, None)
def _leave(request: Request) -> None:
    request.leave_handler()
