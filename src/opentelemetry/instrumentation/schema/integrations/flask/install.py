"""Flask: requests and route templates."""

from __future__ import annotations

import functools
from typing import Any

from ... import faults
from ..._recording.application import watched_init
from ..._recording.declared import body_of
from ..._recording.endpoints import web_endpoint
from ..._recording.identity import WeakIdMap
from ..._recording.recorder import Recorder
from ..._recording.request import Request, current_request, enter, leave
from ..._recording.web import KEY, Body, Mark, Requests
from ...patching import Patches

REQUIRES = "flask >= 2.2, < 4"
_COMPONENT = "flask"
_AUTOMATIC = {"HEAD", "OPTIONS"}  # Flask adds them to rules: no request may ever use them


def install(recorder: Recorder, patches: Patches) -> None:
    """Count requests, and say which rule each is for.

    A server calls `__call__`, a dispatcher perhaps `wsgi_app`. If somebody wrapped an application before
    `instrument()`, the wrapper holds the older `wsgi_app`. Code that makes a request by hand calls
    `full_dispatch_request`.
    """
    from flask.app import Flask  # `flask.Flask` may be a subclass that another instrumentation put there

    applications = _Applications(recorder)
    for name in ("__call__", "wsgi_app"):
        patches.replace(Flask, name, _wrap_call(vars(Flask)[name], applications))
    patches.wrap(Flask, "full_dispatch_request", applications.dispatch)
    patches.replace(Flask, "__init__", watched_init(recorder.owned.application.note_maker, vars(Flask)["__init__"]))
    patches.wrap(Flask, "dispatch_request", _handle)


def _wrap_call(original: Any, applications: _Applications) -> Any:
    @functools.wraps(original)
    def call(self: Any, environ: Any, start_response: Any) -> Any:
        request = applications.begin(self, environ)
        if request is None:
            return original(self, environ, start_response)
        token = enter(request)
        try:
            body = original(self, environ, start_response)
        except BaseException:
            applications.requests.close(request, token)
            raise
        if not _streams(environ):
            applications.requests.close(request, token)
            return body
        leave(token)
        return Body(body, request, applications.requests)

    return call


class _Applications:
    """The applications that a server has called, and their requests."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self.requests = recorder, Requests(recorder, _COMPONENT)
        self._listed: WeakIdMap[bool] = WeakIdMap()

    @faults.guarded(_COMPONENT, None)
    def begin(self, app: Any, environ: Any) -> Request | None:
        """Open the request for which an application is called; None if it is open already."""
        if id(app) not in self._listed.values:
            self._listed.setdefault(app, True)
            _announce(self._recorder, app)
            if current_request.get().mount is None:
                self._recorder.owned.application.note_served_app(app, app.view_functions.values(), app.import_name)
        return self.requests.open(environ, environ["REQUEST_METHOD"], lambda: _url(environ))

    def dispatch(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        """Wrap `full_dispatch_request`: it knows the rule, and returns a response that may stream."""
        request = self._opened(instance)
        token = None if request is None else enter(request)
        try:
            _locate(instance)
            response = wrapped(*args, **kwargs)
            _note_stream(response)
            return response
        finally:
            if request is not None:
                self.requests.close(request, token)

    @faults.guarded(_COMPONENT, None)
    def _opened(self, app: Any) -> Request | None:
        from flask import has_request_context, request

        return self.begin(app, request.environ) if has_request_context() else None


@faults.guarded(_COMPONENT, None)
def _locate(app: Any) -> None:
    from flask import request

    holder = current_request.get()
    if holder.counted:
        rule = request.url_rule or _refusing(app, request)
        if rule is not None:
            holder.locate(web_endpoint(request.method, (holder.mount or "") + rule.rule))
            holder.declared_cells = body_of(app.view_functions.get(rule.endpoint))


@faults.guarded(_COMPONENT, None)
def _note_stream(response: Any) -> None:
    from flask import request

    mark: Mark | None = request.environ.get(KEY)
    if mark is not None:  # a file's body validates nothing
        mark.streams = response.is_streamed and not response.direct_passthrough


@faults.guarded(_COMPONENT, False)
def _streams(environ: Any) -> bool:
    mark: Mark | None = environ.get(KEY)
    return mark is not None and mark.streams


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


def _handle(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    holder = current_request.get()
    _enter(holder)
    try:
        return wrapped(*args, **kwargs)
    finally:
        _leave(holder)


@faults.guarded(_COMPONENT, None)
def _enter(holder: Request) -> None:
    holder.enter_handler()


@faults.guarded(_COMPONENT, None)
def _leave(holder: Request) -> None:
    holder.leave_handler()


def _url(environ: Any) -> str:
    authority = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{authority}{path}"


@faults.guarded(_COMPONENT, None)
def _announce(recorder: Recorder, app: Any) -> None:
    """Make the counter of every rule start at 0, so that `rate()` sees the first request."""
    mount = current_request.get().mount or ""
    for rule in app.url_map.iter_rules():
        methods: set[str] = rule.methods or set()
        for method in sorted(methods - _AUTOMATIC):
            recorder.count_request(web_endpoint(method, mount + rule.rule), 0)
