"""Which schema a view's decorator declares as its JSON body, and which validations are of parameters."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from webargs.core import Parser

from ... import faults
from ..._recording.declared import declare
from ..._recording.recorder import Recorder
from ..._recording.request import current_request
from ..._recording.schema_cells import SchemaCells
from ...patching import Patches

_parser: Any = Parser
_BODIES = ("json", "json_or_form")


def install(recorder: Recorder, patches: Patches) -> None:
    """See each view that is decorated from now on, and which validations are of parameters."""
    original: Any = _parser.__dict__["use_args"]

    def use_args(self: Any, argmap: Any, *args: Any, **kwargs: Any) -> Any:
        decorate = original(self, argmap, *args, **kwargs)
        if not _is_body(self, kwargs):
            return decorate

        def decorate_and_declare(view: Any) -> Any:
            decorated = decorate(view)
            _declare(decorated, argmap, recorder)
            return decorated

        return decorate_and_declare

    def parse(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if _is_body(instance, kwargs):
            return wrapped(*args, **kwargs)
        request = current_request.get()
        before = request.schema_cells
        try:
            return wrapped(*args, **kwargs)
        finally:
            request.parameter_cells, request.schema_cells = request.schema_cells, before

    async def async_parse(wrapped: Any, args: Any, kwargs: Any) -> Any:
        request = current_request.get()
        before = request.schema_cells
        try:
            return await wrapped(*args, **kwargs)
        finally:
            request.parameter_cells, request.schema_cells = request.schema_cells, before

    def start_async_parse(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs) if _is_body(instance, kwargs) else async_parse(wrapped, args, kwargs)

    ours: Any = functools.wraps(original)(use_args)
    patches.undo(_rebind)  # runs once the original is back
    patches.replace(_parser, "use_args", ours)
    _rebind()
    patches.wrap(_parser, "parse", parse)
    patches.wrap(_parser, "async_parse", start_async_parse)


def _rebind() -> None:
    """Each framework's module of webargs holds `use_args` of its parser, bound when the module was imported."""
    for name, module in list(sys.modules.items()):
        if name.startswith("webargs.") and name.endswith("parser"):
            parser: Any = getattr(module, "parser", None)
            if isinstance(parser, _parser) and hasattr(module, "use_args"):
                vars(module)["use_args"] = parser.use_args


def _is_body(parser: Any, arguments: Any) -> bool:
    return (arguments.get("location") or parser.location) in _BODIES


@faults.guarded("webargs", None)
def _declare(view: Any, argmap: Any, recorder: Recorder) -> None:
    schema: Any = argmap if isinstance(argmap, type) else type(argmap)
    if hasattr(schema, "_declared_fields"):  # not a dictionary, nor a function that picks one for each request
        declare(view, _cells(schema, recorder))


def _cells(schema: Any, recorder: Recorder) -> Callable[[], SchemaCells | None]:
    def cells() -> SchemaCells | None:
        module, name = schema.__module__, schema.__qualname__
        owned = not recorder.closed and recorder.owned(module, name)
        return recorder.bind("marshmallow", name, module).schema_cells if owned else None

    return cells
