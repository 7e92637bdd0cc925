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
    """Reads routes. A framework that builds on another one replaces `reader` by its own."""

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
        """At the application's start: name the validators of a route's schemas, and make their counters start at 0."""

    def enter(self, route: Any, scope: Any, request: Request) -> None:
        """Look at a request that a route is about to handle."""


reader = RouteReader()


def wrap_handle(original: Any) -> Any:
    """Wrap a route's `handle`: set the request's endpoint before the route's own code runs."""

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
            # before the last message: contrib's instrumentation ends the server span when that is sent
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
