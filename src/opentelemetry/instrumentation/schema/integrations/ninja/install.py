"""Django Ninja: names of the models that it makes for parameters, bodies and responses. Its requests are Django's."""

from __future__ import annotations

import sys
from typing import Any, cast

from ... import faults
from ..._recording import framework_names
from ..._recording.recorder import Recorder
from ...patching import Patches

REQUIRES = "django-ninja >= 1, < 2"


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the operations: importing Ninja's top-level module loads them in its own order."""
    patches.on_import("ninja.operation", __name__, lambda module: module.patch(patches))


def patch(patches: Patches) -> None:
    """Name the models that Ninja makes: one for the parameters of each source and operation, one for each response."""
    operation: Any = sys.modules["ninja.operation"].Operation
    signature: Any = sys.modules["ninja.signature.details"].ViewSignature
    parameters: Any = sys.modules["ninja.params.models"].ParamModel
    schema: Any = sys.modules["ninja.schema"].Schema

    def create_models(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        made = wrapped(*args, **kwargs)
        for model in made:
            _label(model)
        return made

    def create_response(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        made = wrapped(*args, **kwargs)
        _label(made)
        return made

    patches.wrap(signature, "_create_models", create_models)
    patches.wrap(operation, "_create_response_model", create_response)
    pending: list[Any] = [parameters, schema]
    while pending:  # those that were made before
        classes: list[Any] = type.__subclasses__(pending.pop())
        pending += classes
        for cls in classes:
            if getattr(cls, "__ninja_param_source__", None) or cls.__name__ == "NinjaResponseSchema":
                _label(cls)


@faults.guarded("ninja", None)
def _label(model: Any) -> None:
    """Such as `body.lead`, `query.limit,offset`, `response.Lead`."""
    if model is None:
        return
    source, fields = getattr(model, "__ninja_param_source__", None), model.model_fields
    if source is not None:
        name = f"{source}.{','.join(fields)}"
    else:
        answered = fields["response"].annotation
        name = f"response.{answered.__qualname__}" if isinstance(answered, type) else "response"
    held = cast("dict[str, Any]", vars(model))
    framework_names.put(held.get("__pydantic_validator__"), framework_names.FrameworkName(name))
