"""Django Ninja: names of the models that it makes for parameters, bodies and responses. Its requests are Django's."""

from __future__ import annotations

import functools
import sys
from time import perf_counter
from typing import Any, cast

from ... import faults
from ..._recording import framework_names, problems
from ..._recording.identity import WeakIdMap
from ..._recording.recorder import Recorder
from ..._recording.request import current_request
from ..._recording.schema_cells import SchemaCells
from ...patching import Patches
from ...semconv import VALIDATION_ERROR

REQUIRES = "django-ninja >= 1, < 2"


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the operations: importing Ninja's top-level module loads them in its own order."""
    patches.on_import("ninja.operation", __name__, lambda module: module.patch(patches))


def patch(patches: Patches) -> None:
    """Name the models that Ninja makes for parameters, bodies and responses, and say which of them is the body."""
    operation: Any = sys.modules["ninja.operation"].Operation
    signature: Any = sys.modules["ninja.signature.details"].ViewSignature
    parameters: Any = sys.modules["ninja.params.models"].ParamModel
    schema: Any = sys.modules["ninja.schema"].Schema

    def create_models(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        made = wrapped(*args, **kwargs)
        for model in made:
            _name_validator(model)
        return made

    def create_response(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        made = wrapped(*args, **kwargs)
        _name_validator(made)
        return made

    for cls in vars(sys.modules["ninja.params.models"]).values():
        if isinstance(cls, type) and issubclass(cls, parameters) and "get_request_data" in vars(cls):
            original = vars(cls)["get_request_data"]
            patches.replace(cls, "get_request_data", classmethod(_wrap_get_request_data(original.__func__)))
    declared: WeakIdMap[SchemaCells | None] = WeakIdMap()

    def run(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        _enter(instance, declared)  # before it authenticates
        return wrapped(*args, **kwargs)

    for cls in (operation, sys.modules["ninja.operation"].AsyncOperation):
        patches.wrap(cls, "run", run)
    patches.wrap(signature, "_create_models", create_models)
    patches.wrap(operation, "_create_response_model", create_response)
    pending: list[Any] = [parameters, schema]
    while pending:  # those that were made before
        classes: list[Any] = type.__subclasses__(pending.pop())
        pending += classes
        for cls in classes:
            if getattr(cls, "__ninja_param_source__", None) or cls.__name__ == "NinjaResponseSchema":
                _name_validator(cls)


def _wrap_get_request_data(original: Any) -> Any:
    """Wrap the method that reads a request's data for a model, and refuses a body that is not JSON."""

    @functools.wraps(original)
    def get_request_data(cls: Any, *args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return original(cls, *args, **kwargs)
        except Exception as error:
            if issubclass(type(error.__cause__), ValueError):  # which Ninja's answer was made from
                _malformed(cls, perf_counter() - began)
            raise

    return get_request_data


@faults.guarded("ninja", None)
def _malformed(model: Any, took: float) -> None:
    probe = framework_names.probe_of(cast("dict[str, Any]", vars(model)).get("__pydantic_validator__"))
    if probe is not None:
        probe.failed(took, "invalid", VALIDATION_ERROR, lambda: [problems.MALFORMED])


@faults.guarded("ninja", None)
def _enter(operation: Any, declared: WeakIdMap[SchemaCells | None]) -> None:
    """Before an operation runs: note the schema of its body, and make the counters of all its schemas start at 0."""
    request = current_request.get()
    try:
        request.declared_cells = declared.values[id(operation)]
        return
    except KeyError:
        pass
    bodies: list[SchemaCells] = []
    responses: list[SchemaCells] = []
    for model in [*operation.models, *operation.response_models.values()]:
        held: dict[str, Any] = getattr(model, "__dict__", {})
        probe = framework_names.probe_of(held.get("__pydantic_validator__"))
        if probe is not None:
            probe.schema_cells.expect(request.endpoint)
            source = getattr(model, "__ninja_param_source__", None)
            if source in (None, "body"):
                (responses if source is None else bodies).append(probe.schema_cells)
    request.declared_cells = declared.setdefault(operation, next(iter([*bodies, *responses]), None))


@faults.guarded("ninja", None)
def _name_validator(model: Any) -> None:
    """Name a model's validator, such as `body.lead`, `query.limit,offset`, `response.Lead`."""
    if model is None:
        return
    source, fields = getattr(model, "__ninja_param_source__", None), model.model_fields
    if source is not None:
        name = f"{source}.{','.join(fields)}"
    else:
        answered = fields["response"].annotation
        name = f"response.{answered.__qualname__}" if isinstance(answered, type) else "response"
    held = cast("dict[str, Any]", vars(model))
    framework_names.set_name(
        held.get("__pydantic_validator__"),
        framework_names.FrameworkName(name, source not in (None, "body", "form", "file")),
    )
