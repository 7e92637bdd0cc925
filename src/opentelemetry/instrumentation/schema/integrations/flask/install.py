"""Flask: requests and route templates."""

from __future__ import annotations

import os
import weakref
from typing import Any

from ... import faults
from ..._recording.recorder import Recorder
from ..._recording.request import ExcludedUrls, Request, current_request, web_endpoint
from ...patching import Patches

REQUIRES = "flask >= 2.2, < 4"
_AUTOMATIC = {"HEAD", "OPTIONS"}  # Flask adds them to rules: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which rule each is for."""
    from flask.app import Flask  # `flask.Flask` may be a subclass that another instrumentation put there

    excluded = ExcludedUrls(os.environ.get("OTEL_PYTHON_EXCLUDED_URLS", ""))
    listed: weakref.WeakSet[Any] = weakref.WeakSet()
    wsgi_app: Any = vars(Flask)["wsgi_app"]

    def observed(self: Any, environ: Any, start_response: Any) -> Any:
        if self not in listed:
            listed.add(self)
            _announce(recorder, self)
        request = _open(environ, excluded)
        if request is None:
            return wsgi_app(self, environ, start_response)
        token = current_request.set(request)
        try:
            return wsgi_app(self, environ, start_response)
        finally:
            current_request.reset(token)
            _count(recorder, request)

    patches.replace(Flask, "wsgi_app", observed)
    patches.wrap(Flask, "full_dispatch_request", _locate)
    patches.wrap(Flask, "dispatch_request", _handle)


@faults.guarded("flask", None)
def _open(environ: Any, excluded: ExcludedUrls) -> Request | None:
    """The holder of a request; None for one that does not count, or is open already (another framework's mount)."""
    if current_request.get().mount is not None:
        return None
    return None if excluded and _url(environ) in excluded else Request(web_endpoint(environ["REQUEST_METHOD"]))


def _locate(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    _locate_current(instance, current_request.get())
    return wrapped(*args, **kwargs)


@faults.guarded("flask", None)
def _locate_current(app: Any, holder: Request) -> None:
    from flask import request

    if holder.counted:
        rule = request.url_rule or _refusing(app, request)
        if rule is not None:
            holder.locate(web_endpoint(request.method, (holder.mount or "") + rule.rule))


def _refusing(app: Any, request: Any) -> Any:
    """The rule whose path matched, of a request that will be answered with 405; None for others."""
    from werkzeug.exceptions import HTTPException

    methods: Any = getattr(request.routing_exception, "valid_methods", None)  # of a MethodNotAllowed
    if not methods:
        return None
    try:
        return app.create_url_adapter(request).match(method=min(methods), return_rule=True)[0]
    except HTTPException:  # a path that redirects where the method is right
        return None


def _handle(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    holder = current_request.get()
    if not holder.counted:
        return wrapped(*args, **kwargs)
    _enter(holder)
    try:
        return wrapped(*args, **kwargs)
    finally:
        _leave(holder)


@faults.guarded("flask", None)
def _enter(holder: Request) -> None:
    holder.enter_handler()


@faults.guarded("flask", None)
def _leave(holder: Request) -> None:
    holder.leave_handler()


@faults.guarded("flask", None)
def _count(recorder: Recorder, request: Request) -> None:
    recorder.count_request(request)


def _url(environ: Any) -> str:
    authority = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{authority}{path}"


@faults.guarded("flask", None)
def _announce(recorder: Recorder, app: Any) -> None:
    """Let the counter of every rule exist as 0: the first count is a step then."""
    mount = current_request.get().mount or ""
    for rule in app.url_map.iter_rules():
        methods: set[str] = rule.methods or set()
        for method in sorted(methods - _AUTOMATIC):
            recorder.count_request(web_endpoint(method, mount + rule.rule), 0)
