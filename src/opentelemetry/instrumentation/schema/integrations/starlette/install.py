"""Starlette, and what is built on it: requests and route templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from anyio import CapacityLimiter, to_thread

from ... import faults
from ..._recording import asgi
from ..._recording.application import watched_init
from ..._recording.endpoints import NO_ENDPOINT, web_endpoint
from ..._recording.identity import WeakIdMap
from ..._recording.recorder import Recorder
from ..._recording.request import Request, enter
from ..._recording.web import KEY, Mark, Requests
from ...patching import Patches

REQUIRES = "starlette >= 0.27, < 2"
_COMPONENT = "starlette"
_AUTOMATIC = {"HEAD", "OPTIONS"}  # frameworks add them to routes: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which route each is for."""
    from starlette import applications, routing

    served = _Applications(recorder)
    # `applications.Starlette` may be a subclass that another instrumentation put there
    application: Any = next(cls for cls in applications.Starlette.__mro__ if "__call__" in vars(cls))
    made = recorder.owned.application.note_maker
    patches.replace(application, "__init__", watched_init(made, vars(application)["__init__"]))
    # and a router may be the whole application
    patches.replace(application, "__call__", _wrap_call(vars(application)["__call__"], served))
    patches.replace(routing.Router, "__call__", _wrap_call(vars(routing.Router)["__call__"], served, router=True))
    patches.replace(routing.Route, "handle", asgi.wrap_handle(vars(routing.Route)["handle"]))
    patches.replace(routing.Mount, "handle", _wrap_mount(vars(routing.Mount)["handle"]))


def _wrap_call(original: Any, applications: _Applications, router: bool = False) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        request, send = applications.begin(self, scope, send, router) or (None, send)
        if request is None:
            await original(self, scope, receive, send)
            return
        token = enter(request)
        try:
            await original(self, scope, receive, send)
        finally:
            applications.requests.close(request, token)

    return __call__


class _Applications:
    """The applications that a server has called, and their requests."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self.requests = recorder, Requests(recorder, _COMPONENT)
        self._listed: WeakIdMap[bool] = WeakIdMap()

    @faults.guarded(_COMPONENT, None)
    def begin(self, app: Any, scope: Any, send: Any, router: bool) -> tuple[Request | None, Any]:
        """Open the request for which an application is called, if it is not open; with the `send` to go on with."""
        kind = scope["type"]
        if not router or "app" not in scope:  # else it is a part of that application
            if id(app) not in self._listed.values:  # the first call of all is the lifespan's, before any request
                self._listed.setdefault(app, True)
                _announce(self._recorder, app, scope.get(KEY))
                if KEY not in scope:
                    self._recorder.owned.application.note_served_app(app, _handlers(app))
            if kind == "lifespan":
                send = _wrap_send(self._recorder, send)
        if kind != "http":
            return None, send
        framework = asgi.reader.framework(app)
        return self.requests.open(scope, scope["method"], lambda: _url(scope), framework=framework), send


@faults.guarded(_COMPONENT, ())
def _handlers(app: Any) -> Sequence[Any]:
    return [handler for _, _, route in _routes(app.routes, "") if (handler := getattr(route, "endpoint", None))]


def _wrap_send(recorder: Recorder, send: Any) -> Any:
    """Wrap a lifespan's `send`: flush telemetry at shutdown.

    uvicorn re-raises the signal that stopped it, so the SDK's flush by `atexit` never runs.
    """

    async def flush_then_send(message: Any) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            try:  # with a limit of its own: the app may have taken all other threads
                await to_thread.run_sync(recorder.flush, limiter=CapacityLimiter(1))
            except Exception as error:
                faults.swallow(_COMPONENT, error)
        await send(message)

    return flush_then_send


def _url(scope: Any) -> str:
    host, port = scope.get("server") or ("localhost", None)
    authority = host if port in (None, 80, 443) else f"{host}:{port}"
    path, prefix = scope["path"], scope.get("root_path", "")
    if not path.startswith(prefix):  # as servers before 2024 have it
        path = prefix + path
    return f"{scope.get('scheme', 'http')}://{authority}{path}"


def _wrap_mount(original: Any) -> Any:
    async def handle(self: Any, scope: Any, receive: Any, send: Any) -> None:
        mark: Mark | None = scope.get(KEY)
        if mark is not None:
            try:
                before, mark.prefix = mark.prefix, mark.prefix + _prefix(self)
                if not self.routes:  # an app that has no routes of its own, such as static files
                    mark.request.mount = mark.prefix
                    mark.request.locate(web_endpoint(scope["method"], before + self.path_format))
            except Exception as error:
                faults.swallow(_COMPONENT, error)
        await original(self, scope, receive, send)

    return handle


def _prefix(mount: Any) -> str:
    return mount.path_format.removesuffix("/{path}")


@faults.guarded(_COMPONENT, None)
def _announce(recorder: Recorder, app: Any, mark: Mark | None) -> None:
    """Make the counters of requests and failed bodies start at 0 for every route, so that `rate()` sees the first.

    Other counters start when a route is first used: an app has many routes that a process never serves.
    """
    prefix = mark.prefix if mark is not None else ""
    for methods, template, route in _routes(app.routes, prefix):
        for method in sorted(methods - _AUTOMATIC):
            endpoint = web_endpoint(method, template)
            recorder.count_request(endpoint, 0)
            asgi.reader.announce(route, endpoint)
        if not methods:  # a websocket: no request, but its parameters are schemas
            asgi.reader.announce(route, NO_ENDPOINT)


def _routes(routes: Any, prefix: str) -> Iterator[tuple[set[str], str, Any]]:
    from starlette.routing import Mount

    for route in asgi.reader.expand(routes):
        path, methods = getattr(route, "path_format", None), getattr(route, "methods", None)
        if isinstance(getattr(route, "route", route), Mount):
            yield from _routes(route.routes, prefix + _prefix(route))
        elif path is not None:
            yield set(methods or ()), prefix + path, route
