"""FastAPI: full route templates, and names for the validators of parameters, bodies and responses.

FastAPI's class `ModelField` builds a Pydantic adapter for each parameter, body and response. There we name its
validator. Validators that are older than `instrument()` get their names from the route table, or when their route is
first used. FastAPI refuses some requests without a call into a validator: we see those where it makes the error.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import fastapi.routing
from fastapi import _compat
from fastapi.applications import FastAPI
from fastapi.dependencies import utils
from fastapi.exceptions import RequestValidationError
from fastapi.params import Body

from ... import faults
from ..._recording import asgi, framework_names, problems
from ..._recording.application import watched_init
from ..._recording.endpoints import Endpoint
from ..._recording.identity import WeakIdMap
from ..._recording.recorder import Recorder
from ..._recording.request import Request
from ..._recording.schema_cells import SchemaCells
from ...patching import Patches
from ...semconv import VALIDATION_ERROR

REQUIRES = "fastapi >= 0.100, < 1"
_COMPONENT = "fastapi"
_PARAMETERS = ("path_params", "query_params", "header_params", "cookie_params")
# `FastAPI` may be a subclass that another instrumentation put there
_application: Any = next(cls for cls in FastAPI.__mro__ if cls.__module__ == "fastapi.applications")
_route: Any = fastapi.routing.APIRoute
_contexts: Any = getattr(fastapi.routing, "iter_route_contexts", None)


def install(recorder: Recorder, patches: Patches) -> None:
    """Name every field's validator, note who makes an application, and record what FastAPI refuses itself."""
    patches.replace(asgi, "reader", _Routes())
    made = recorder.owned.application.note_maker  # it does not call Starlette's `__init__`
    patches.replace(_application, "__init__", watched_init(made, vars(_application)["__init__"]))
    if "handle" in vars(_route):  # from 0.137 on, for the routes of included routers
        patches.replace(_route, "handle", asgi.wrap_handle(vars(_route)["handle"]))
    field: Any = _compat.ModelField
    built: Any = field.__post_init__

    def __post_init__(self: Any) -> None:
        built(self)
        _name(self)

    patches.replace(field, "__post_init__", __post_init__)
    missing: Any = vars(utils)["get_missing_field_error"]

    def get_missing_field_error(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        error = missing(*args, **kwargs)
        _missing(inspect.currentframe(), perf_counter() - began)
        return error

    patches.replace(utils, "get_missing_field_error", get_missing_field_error)
    answered: Any = vars(RequestValidationError)["__init__"]

    @functools.wraps(answered)
    def __init__(self: Any, errors: Any, *args: Any, **kwargs: Any) -> None:
        began = perf_counter()
        answered(self, errors, *args, **kwargs)
        _malformed(inspect.currentframe(), errors, perf_counter() - began)

    patches.replace(RequestValidationError, "__init__", __init__)


# -- names


@faults.guarded(_COMPONENT, None)
def _name(field: Any) -> None:
    """Name a field's validator: a parameter by its place and alias, others by their type where that has a name."""
    info, name = field.field_info, None
    if not _own_name(field):
        place: Any = getattr(info, "in_", None)
        if place is not None:
            name = f"{place.value}.{field.alias}"
        elif isinstance(info, Body):
            name = f"body.{field.alias}"
    parameter = getattr(info, "in_", None) is not None
    framework_names.set_name(_validator(field), framework_names.FrameworkName(name, parameter))


def _own_name(field: Any) -> bool:
    """Whether the type's own name is the better one: it is, or holds, a class that is not Python's own."""
    pending = [field.field_info.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__"):
            return True
        pending.extend(getattr(annotation, "__args__", ()))
    return False


def _validator(field: Any) -> Any:
    return getattr(getattr(field, "_type_adapter", None), "validator", None)


def _cells(field: Any) -> SchemaCells | None:
    probe = framework_names.probe_of(_validator(field))
    return None if probe is None else probe.schema_cells


def _fields(route: Any) -> Iterator[Any]:
    """All fields of a route: its parameters and bodies, those of its dependencies, and its responses."""
    for one in _dependants(route.dependant):
        for group in (*_PARAMETERS, "body_params"):
            yield from getattr(one, group)
    for response in (getattr(route, "response_field", None), getattr(route, "stream_item_field", None)):
        if response is not None:
            yield response


def _dependants(dependant: Any) -> Iterator[Any]:
    yield dependant
    for each in dependant.dependencies:
        yield from _dependants(each)


# -- routes


class _Routes(asgi.RouteReader):
    """Reads FastAPI's routes, those of included routers too."""

    def __init__(self) -> None:
        self._entered: WeakIdMap[SchemaCells | None] = WeakIdMap()

    def framework(self, app: Any) -> str:
        return _COMPONENT if isinstance(app, _application) else super().framework(app)

    def template(self, route: Any, scope: Any) -> str:
        return _effective(route, scope).path_format

    def expand(self, routes: Any) -> Iterator[Any]:
        if _contexts is not None:
            yield from _contexts(routes)
            return
        for route in routes:  # to 0.136 included routes are copied into the app's own list
            included = getattr(route, "effective_route_contexts", None)  # 0.137, which has no public way in
            yield from (route,) if included is None else included()

    def announce(self, route: Any, endpoint: Endpoint) -> None:
        if getattr(route, "dependant", None) is not None:
            for field in _fields(route):
                _name(field)
            for field in route.dependant.body_params if endpoint.key else ():
                cells = _cells(field)
                if cells is not None:
                    cells.error(endpoint, VALIDATION_ERROR)

    def enter(self, route: Any, scope: Any, request: Request) -> None:
        effective = _effective(route, scope)
        try:
            request.declared_cells = self._entered.values[id(effective)]
        except KeyError:
            request.declared_cells = self._entered.setdefault(effective, self._expect(effective, request.endpoint))

    def _expect(self, route: Any, endpoint: Endpoint) -> SchemaCells | None:
        """At a route's first use: make its counters start at 0. Returns the cells of the schema of its data."""
        if getattr(route, "dependant", None) is None:
            return None
        for field in _fields(route):
            _name(field)
            cells = _cells(field)
            if cells is not None:
                cells.expect(endpoint)
        declared = [*route.dependant.body_params, getattr(route, "response_field", None)]
        return next((cells for field in declared if (cells := _cells(field)) is not None), None)


def _effective(route: Any, scope: Any) -> Any:
    """A route with the prefixes and dependencies of the routers that include it."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    return context if context is not None and context.original_route is route else route


# -- what FastAPI answers itself


@faults.guarded(_COMPONENT, None)
def _missing(frame: Any, took: float) -> None:
    """Record a missing required value: a failed validation, though no validator ran."""
    # The patched function gets the place of the missing value, not its field: its caller has that in this variable.
    probe = framework_names.probe_of(_validator(frame.f_back.f_locals.get("field")))
    if probe is not None:
        probe.failed(took, "invalid", VALIDATION_ERROR, lambda: [(problems.ROOT, "missing")])


@faults.guarded(_COMPONENT, None)
def _malformed(frame: Any, errors: Any, took: float) -> None:
    """Record a body that is not JSON: a failed validation of the body's schema."""
    caller = frame.f_back
    if caller.f_globals.get("__name__") != fastapi.routing.__name__ or errors[0]["type"] != problems.MALFORMED[1]:
        return
    for dependant in _dependants(caller.f_locals["dependant"]):
        for field in dependant.body_params:  # of several, the first stands for the body, as where queries are linked
            probe = framework_names.probe_of(_validator(field))
            if probe is not None:
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: [problems.MALFORMED])
            return
