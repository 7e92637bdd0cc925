"""Starlette, and what is built on it: requests and route templates."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import Any

from anyio import CapacityLimiter, to_thread

from ... import faults
from ..._recording import asgi
from ..._recording.recorder import Recorder
from ..._recording.request import NO_REQUEST, ExcludedUrls, Request, current_request, web_endpoint
from ...patching import Patches

REQUIRES = "starlette >= 0.27, < 2"
_AUTOMATIC = {"HEAD", "OPTIONS"}  # frameworks add them to routes: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which route each is for."""
    from starlette import applications, routing

    excluded = ExcludedUrls(os.environ.get("OTEL_PYTHON_EXCLUDED_URLS", ""))
    listed: weakref.WeakSet[Any] = weakref.WeakSet()
    latest: Any = _nobody  # a reference to the app called last, which is most often the only one
    # `applications.Starlette` may be a subclass that another instrumentation put there
    application: Any = next(cls for cls in applications.Starlette.__mro__ if "__call__" in vars(cls))
    original: Any = application.__dict__["__call__"]

    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:  # it replaces that method
        nonlocal latest
        if latest() is not self:
            latest = weakref.ref(self)
            if self not in listed:  # the first call of all is the lifespan's, before any request
                listed.add(self)
                _announce(recorder, self, scope.get(asgi.KEY))
        if scope["type"] == "lifespan":
            send = _flushing(recorder, send)
        request = _open(scope, excluded)
        if request is None:
            await original(self, scope, receive, send)
            return
        token = current_request.set(request)
        try:
            await original(self, scope, receive, send)
        finally:
            current_request.reset(token)
            try:
                recorder.count_request(request)
            except Exception as error:
                faults.swallow("starlette", error)

    patches.replace(application, "__call__", __call__)
    patches.replace(routing.Route, "handle", asgi.located(vars(routing.Route)["handle"]))
    patches.replace(routing.Mount, "handle", _mounted(vars(routing.Mount)["handle"]))


def _nobody() -> None: ...


@faults.guarded("starlette", None)
def _open(scope: Any, excluded: ExcludedUrls) -> Request | None:
    """The holder of a request; None for one that does not count, or is open already (a mounted app's)."""
    if scope["type"] != "http" or asgi.KEY in scope or (excluded and _url(scope) in excluded):
        return None
    request = Request(web_endpoint(scope["method"]))
    scope[asgi.KEY] = asgi.Routing(request)
    return request


def _flushing(recorder: Recorder, send: Any) -> Any:
    """A lifespan's `send` that exports what waits: uvicorn ends by the signal that it got, so `atexit` never runs."""

    async def flush_then_send(message: Any) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            try:  # with a limit of its own: the app may have taken all other threads
                await to_thread.run_sync(recorder.flush, limiter=CapacityLimiter(1))
            except Exception as error:
                faults.swallow("starlette", error)
        await send(message)

    return flush_then_send


def _url(scope: Any) -> str:
    host, port = scope.get("server") or ("localhost", None)
    authority = host if port in (None, 80, 443) else f"{host}:{port}"
    path, prefix = scope["path"], scope.get("root_path", "")
    if not path.startswith(prefix):  # as servers before 2024 have it
        path = prefix + path
    return f"{scope.get('scheme', 'http')}://{authority}{path}"


def _mounted(original: Any) -> Any:
    async def handle(self: Any, scope: Any, receive: Any, send: Any) -> None:
        routing: asgi.Routing | None = scope.get(asgi.KEY)
        if routing is not None:
            try:
                before, routing.prefix = routing.prefix, routing.prefix + _prefix(self)
                if not self.routes:  # an app that has no routes of its own, such as static files
                    routing.request.mount = routing.prefix
                    routing.request.locate(web_endpoint(scope["method"], before + self.path_format))
            except Exception as error:
                faults.swallow("starlette", error)
        await original(self, scope, receive, send)

    return handle


def _prefix(mount: Any) -> str:
    return mount.path_format.removesuffix("/{path}")


@faults.guarded("starlette", None)
def _announce(recorder: Recorder, app: Any, routing: asgi.Routing | None) -> None:
    """Let every counter that the app's routes may come to use exist as 0: the first count is a step then."""
    prefix = routing.prefix if routing is not None else ""
    for methods, template, route in _routes(app.routes, prefix):
        for method in sorted(methods - _AUTOMATIC):
            endpoint = web_endpoint(method, template)
            recorder.count_request(endpoint, 0)
            asgi.reader.declare(route, Request(endpoint))
        if not methods:  # a websocket: no request, but its parameters are schemas
            asgi.reader.declare(route, NO_REQUEST)


def _routes(routes: Any, prefix: str) -> Iterator[tuple[set[str], str, Any]]:
    from starlette.routing import Mount

    for route in asgi.reader.expand(routes):
        path, methods = getattr(route, "path_format", None), getattr(route, "methods", None)
        if isinstance(getattr(route, "route", route), Mount):
            yield from _routes(route.routes, prefix + _prefix(route))
        elif path is not None:
            yield set(methods or ()), prefix + path, route
