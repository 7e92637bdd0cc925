"""FastAPI: full route templates, and names for the validators of parameters, bodies and responses.

FastAPI builds a Pydantic adapter for each parameter, body and response of each route. The route table says which is
which; it is read when an app is called first, so apps made before `instrument()` are seen. Patched are the entry to a
route, and what FastAPI answers in place of a validator when a required value is missing altogether.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from ... import faults
from ..._recording import framework_names, problems
from ..._recording.request import Request
from ...patching import Patches
from ...semconv import VALIDATION_ERROR

_PARAMETERS = ("path_params", "query_params", "header_params", "cookie_params")


def install(patches: Patches, located: Callable[[Any], Any]) -> None:
    """Patch `APIRoute.handle`, which handles routes of included routers itself (from FastAPI 0.137 on), and the error
    for a missing value."""
    from fastapi.dependencies import utils
    from fastapi.routing import APIRoute

    if "handle" in vars(APIRoute):
        patches.replace(APIRoute, "handle", located(vars(APIRoute)["handle"]))
    original: Any = vars(utils)["get_missing_field_error"]

    def get_missing_field_error(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        error = original(*args, **kwargs)
        _missing(inspect.currentframe(), perf_counter() - began)
        return error

    patches.replace(utils, "get_missing_field_error", get_missing_field_error)


@faults.guarded("fastapi", None)
def _missing(frame: Any, took: float) -> None:
    """FastAPI found a required value missing, which is a failed validation though no validator ran."""
    # What was called is told where the value is missing, but not in which field: its caller holds that by this name.
    probe = framework_names.probe(_validator(frame.f_back.f_locals.get("field")))
    if probe is not None:
        probe.failed(took, "invalid", VALIDATION_ERROR, lambda: [(problems.ROOT, "missing")])


def _validator(field: Any) -> Any:
    return getattr(getattr(field, "_type_adapter", None), "validator", None)


def template(route: Any, scope: Any) -> str:
    """A route's template below its mounts, with the prefixes of the routers that include it."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        return context.path_format
    return route.path_format


def expand(routes: Any) -> Iterator[Any]:
    """Routes, with those of included routers in their place."""
    # looked up, not imported: FastAPI may be installed where the app is Starlette's alone
    contexts = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    if contexts is not None:
        yield from contexts(routes)
        return
    for route in routes:  # to 0.136 included routes are copied into the app's own list
        included = getattr(route, "effective_route_contexts", None)  # 0.137, which has no public way in
        yield from (route,) if included is None else included()


def announce(route: Any, request: Request) -> None:
    """Name a FastAPI route's validators, and let their error counters exist for this endpoint, if it is one."""
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return
    for field, name in _fields(route, dependant):
        validator = _validator(field)
        framework_names.put(validator, framework_names.FrameworkName(name))
        probe = framework_names.probe(validator)
        if probe is not None and request.counted:
            probe.schema_cells.errors(request, VALIDATION_ERROR)


def _fields(route: Any, dependant: Any) -> Iterator[tuple[Any, str | None]]:
    pending = [dependant]
    while pending:
        one = pending.pop()
        pending.extend(one.dependencies)
        for where in _PARAMETERS:
            for field in getattr(one, where):
                place: Any = field.field_info.in_
                yield field, None if _own_name(field) else f"{place.value}.{field.alias}"
        for field in one.body_params:
            yield field, None if _own_name(field) else f"body.{field.alias}"
    for response in (getattr(route, "response_field", None), getattr(route, "stream_item_field", None)):
        if response is not None:
            yield response, None


def _own_name(field: Any) -> bool:
    """Whether a person looks for the type's name: it is, or holds, a class that is not Python's own."""
    pending = [field.field_info.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__"):
            return True
        pending.extend(getattr(annotation, "__args__", ()))
    return False
