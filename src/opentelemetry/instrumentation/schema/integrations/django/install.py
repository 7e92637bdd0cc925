"""Django: requests and route templates, of both its handlers and its test client.

`http.route` is `resolver_match.route`, as in the spans of opentelemetry-instrumentation-django: the patterns from the
root on, without the slash that every path starts with. Only the root itself, whose pattern is empty, is `/`: an empty
label is none in Prometheus, which would make it one series with the requests that match nothing.

All of what is patched is looked up on the handler's class when it is called, so a handler that loaded its middleware
before `instrument()` is seen too.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

from ... import faults
from ..._recording.recorder import Recorder
from ..._recording.request import ExcludedUrls, Request, current_request, web_endpoint
from ...patching import Patches

REQUIRES = "django >= 4.2, < 7"
_COMPONENT = "django"
_AUTOMATIC = {"head", "options", "trace"}  # Django has them for every class: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the request handlers: importing Django alone loads nothing of them."""
    patches.on_import("django.core.handlers.base", __name__, lambda module: module.patch(recorder, patches))


def patch(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which route each is for."""
    handler: Any = sys.modules["django.core.handlers.base"].BaseHandler
    original = dict(cast("dict[str, Any]", vars(handler)))
    requests = _Requests(recorder)

    @functools.wraps(original["get_response"])
    def get_response(self: Any, request: Any) -> Any:
        holder = requests.open_request(request)
        token = current_request.set(holder)
        try:
            return original["get_response"](self, request)
        finally:
            current_request.reset(token)
            requests.close_request(holder)

    @functools.wraps(original["get_response_async"])
    async def get_response_async(self: Any, request: Any) -> Any:
        holder = requests.open_request(request)
        token = current_request.set(holder)
        try:
            return await original["get_response_async"](self, request)
        finally:
            current_request.reset(token)
            requests.close_request(holder)

    @functools.wraps(original["resolve_request"])
    def resolve_request(self: Any, request: Any) -> Any:
        match = original["resolve_request"](self, request)
        requests.enter_route(request, match)
        return match

    def leaving(name: str) -> Any:
        """A method that is called when the view has ended, and before the server span does."""
        function = original[name]

        @functools.wraps(function)
        def leave(self: Any, *args: Any, **kwargs: Any) -> Any:
            requests.leave_view()
            return function(self, *args, **kwargs)

        return leave

    patches.replace(handler, "get_response", get_response)
    patches.replace(handler, "get_response_async", get_response_async)
    patches.replace(handler, "resolve_request", resolve_request)
    for name in ("check_response", "process_exception_by_middleware"):  # a view returned, a view raised
        patches.replace(handler, name, leaving(name))


_NOT_COUNTED = Request()


class _Requests:
    """What happens to a request. Nothing here raises into the application."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._excluded = ExcludedUrls(os.environ.get("OTEL_PYTHON_EXCLUDED_URLS", ""))
        self._announced = False

    @faults.guarded(_COMPONENT, _NOT_COUNTED)
    def open_request(self, request: Any) -> Request:
        """The holder of a request; one that is excluded shares the holder of those, a mounted one has the mount's."""
        if current_request.get().mount is not None:
            return current_request.get()
        excluded = self._excluded and _url(request) in self._excluded
        return _NOT_COUNTED if excluded else Request(web_endpoint(request.method))

    @faults.guarded(_COMPONENT, None)
    def enter_route(self, request: Any, match: Any) -> None:
        """A route matched; the view is about to run."""
        holder = current_request.get()
        if not self._announced:  # now the app's own modules of routes are loaded
            self._announced = True
            for method, route in _routes():
                self._recorder.count_request(web_endpoint(method, _below(holder.mount, route)), 0)
        if holder.counted:
            holder.locate(web_endpoint(request.method, _below(holder.mount, match.route or "/")))
            holder.enter_handler()

    @faults.guarded(_COMPONENT, None)
    def leave_view(self) -> None:
        """The view ended."""
        current_request.get().leave_handler()

    @faults.guarded(_COMPONENT, None)
    def close_request(self, holder: Request) -> None:
        """The response, or what came instead of it, leaves the handler."""
        if holder.counted:
            holder.leave_handler()
        if holder.counted and holder.mount is None:
            self._recorder.count_request(holder)


def _below(mount: str | None, route: str) -> str:
    """A route's template below the mount of another framework, whose templates start with a slash."""
    return route if mount is None else f"{mount}/{route.removeprefix('/')}"


def _url(request: Any) -> str:
    # not `build_absolute_uri`, which raises where the host is not one of ALLOWED_HOSTS
    authority = request.META.get("HTTP_HOST") or request.META.get("SERVER_NAME", "localhost")
    return f"{request.scheme}://{authority}{request.path}"


def _routes() -> Iterator[tuple[str, str]]:
    """Methods and routes of all class-based views; of a function Django does not know which methods it takes."""
    pending: list[tuple[Any, str]] = [(sys.modules["django.urls"].get_resolver(), "")]
    while pending:
        resolver, prefix = pending.pop()
        for pattern in resolver.url_patterns:
            part = str(pattern.pattern)
            route = prefix + (part.removeprefix("^") if prefix else part)
            if hasattr(pattern, "url_patterns"):
                pending.append((pattern, route))
                continue
            view = pattern.callback
            cls = getattr(view, "view_class", None) or getattr(view, "cls", None)
            # a ViewSet of Django REST framework says which of its methods a route is for
            methods: Any = getattr(view, "actions", None) or [
                name for name in getattr(cls, "http_method_names", ()) if hasattr(cls, name)
            ]
            for method in methods:
                if method not in _AUTOMATIC:
                    yield method.upper(), route or "/"
