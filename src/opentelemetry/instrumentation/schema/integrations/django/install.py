"""Django: requests and route templates, of both its handlers and its test client.

`http.route` is `resolver_match.route`, as in the spans of opentelemetry-instrumentation-django: the patterns from the
root on, without the slash that every path starts with. The root's own pattern is empty, so its route is `/`: Prometheus
takes an empty label for a missing one, and would mix the root with requests that match no route.

Django looks up all patched methods on the handler's class at each call, so the patches also reach a handler that loaded
its middleware before `instrument()`.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from contextvars import Token
from typing import Any, cast

from ... import faults
from ..._recording.endpoints import web_endpoint
from ..._recording.recorder import Recorder
from ..._recording.request import Request, current_request, enter, leave
from ..._recording.web import AsyncBody, Body, Requests
from ...patching import Patches

REQUIRES = "django >= 4.2, < 7"
# Django REST framework has each route a second time, for `leads.json`, which is hardly ever used
_SUFFIX = re.compile(r"\\\.\(\?P<\w+>\[a-z0-9\]\+\)/\?\$$|<drf_format_suffix\w*:\w+>$")
_COMPONENT = "django"
_AUTOMATIC = {"head", "options", "trace"}  # Django has them for every class: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the request handlers: importing Django alone loads nothing of them."""
    patches.on_import("django.core.handlers.base", __name__, lambda module: module.patch(recorder, patches))


def patch(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which route each is for."""
    handler: Any = sys.modules["django.core.handlers.base"].BaseHandler
    original = dict(cast("dict[str, Any]", vars(handler)))
    requests = _DjangoRequests(recorder)
    recorder.owned.application.expect_urlconf(_root_urlconf())

    @functools.wraps(original["get_response"])
    def get_response(self: Any, request: Any) -> Any:
        holder = requests.open_request(request)
        if holder is None:
            return original["get_response"](self, request)
        token = enter(holder)
        try:
            response = original["get_response"](self, request)
        except BaseException:
            requests.close(holder, token)
            raise
        requests.close_response(holder, token, response)
        return response

    @functools.wraps(original["get_response_async"])
    async def get_response_async(self: Any, request: Any) -> Any:
        holder = requests.open_request(request)
        if holder is None:
            return await original["get_response_async"](self, request)
        token = enter(holder)
        try:
            response = await original["get_response_async"](self, request)
        except BaseException:
            requests.close(holder, token)
            raise
        requests.close_response(holder, token, response)
        return response

    @functools.wraps(original["resolve_request"])
    def resolve_request(self: Any, request: Any) -> Any:
        match = original["resolve_request"](self, request)
        requests.enter_route(request, match)
        return match

    def leaving(name: str) -> Any:
        """Wrap a method that Django calls after the view ended and before the server span ends."""
        function = original[name]

        @functools.wraps(function)
        def leave_first(self: Any, *args: Any, **kwargs: Any) -> Any:
            requests.leave_view()
            return function(self, *args, **kwargs)

        return leave_first

    patches.replace(handler, "get_response", get_response)
    patches.replace(handler, "get_response_async", get_response_async)
    patches.replace(handler, "resolve_request", resolve_request)
    for name in ("check_response", "process_exception_by_middleware"):  # a view returned, a view raised
        patches.replace(handler, name, leaving(name))


class _DjangoRequests(Requests):
    """Django's requests. Nothing here raises into the application."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder, _COMPONENT)
        self._announced = False

    @faults.guarded(_COMPONENT, None)
    def open_request(self, request: Any) -> Request | None:
        """Open a request and return its holder; None if it is open already."""
        made_of: Any = getattr(request, "scope", request.META)
        return self.open(cast("dict[str, Any]", vars(request)), request.method, lambda: _url(request), made_of)

    @faults.guarded(_COMPONENT, None)
    def enter_route(self, request: Any, match: Any) -> None:
        """Note which route matched, before the view runs."""
        holder = current_request.get()
        if not self._announced:  # only now are the app's own modules of routes loaded
            self._announced = True
            views = list(_views())
            self._recorder.owned.application.note_urlconf(_root_urlconf(), [_class(view) or view for view, _ in views])
            for view, route in views:
                for method in () if _SUFFIX.search(route) else _methods(view):
                    self._recorder.count_request(web_endpoint(method, _below(holder.mount, route)), 0)
        holder.locate(web_endpoint(request.method, _below(holder.mount, match.route or "/")))
        holder.enter_handler()

    @faults.guarded(_COMPONENT, None)
    def leave_view(self) -> None:
        """Note that the view ended."""
        current_request.get().leave_handler()

    def close_response(self, holder: Request, token: Token[Request], response: Any) -> None:
        """End the request, or leave that to the body of a response that streams."""
        try:
            if response.streaming and getattr(response, "file_to_stream", None) is None:
                holder.leave_handler()
                body = AsyncBody if getattr(response, "is_async", False) else Body
                response.streaming_content = body(response.streaming_content, holder, self)
                leave(token)
                return
        except Exception as error:
            faults.swallow(_COMPONENT, error)
        self.close(holder, token)


def _root_urlconf() -> str | None:
    settings = sys.modules["django.conf"].settings
    root = getattr(settings, "ROOT_URLCONF", None) if settings.configured else None
    return root if isinstance(root, str) else None


def _below(mount: str | None, route: str) -> str:
    """A route's template below the mount of another framework, whose templates start with a slash."""
    return route if mount is None else f"{mount}/{route.removeprefix('/')}"


def _url(request: Any) -> str:
    # not `build_absolute_uri`, which raises where the host is not one of ALLOWED_HOSTS
    authority = request.META.get("HTTP_HOST") or request.META.get("SERVER_NAME", "localhost")
    return f"{request.scheme}://{authority}{request.path}"


def _views() -> Iterator[tuple[Any, str]]:
    """Every view, and the route that it has."""
    pending: list[tuple[Any, str]] = [(sys.modules["django.urls"].get_resolver(), "")]
    while pending:
        resolver, prefix = pending.pop()
        for pattern in resolver.url_patterns:
            part = str(pattern.pattern)
            route = prefix + (part.removeprefix("^") if prefix else part)
            if hasattr(pattern, "url_patterns"):
                pending.append((pattern, route))
            else:
                yield pattern.callback, route or "/"


def _class(view: Any) -> Any:
    return getattr(view, "view_class", None) or getattr(view, "cls", None)


def _methods(view: Any) -> Iterator[str]:
    """The methods of a class-based view; of a function Django does not know which it takes."""
    # a ViewSet of Django REST framework says which of its methods a route is for
    methods: Any = getattr(view, "actions", None) or [
        name for name in getattr(_class(view), "http_method_names", ()) if hasattr(_class(view), name)
    ]
    for method in methods:
        if method not in _AUTOMATIC:
            yield method.upper()
