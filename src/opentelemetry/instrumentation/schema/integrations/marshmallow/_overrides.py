"""Schemas with a `load` or `validate` of their own, which may never reach marshmallow's: polymorphic ones, for one.

A call of such a method is one validation of that Schema, with all that it loads for it, unless it reaches
`_do_load` of the same Schema: then that is the validation, and what the method does around it is not.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from time import perf_counter
from types import FunctionType
from typing import Any, cast

from marshmallow import Schema, ValidationError
from marshmallow.schema import SchemaMeta

from ... import faults
from ..._recording import stack
from ..._recording.probe import Probe
from ...patching import Method, Patches
from ...semconv import VALIDATION_ERROR
from ...text import class_name

_METHODS = ("load", "validate")
_meta: Any = SchemaMeta

overriding: dict[Any, Any] = {}
"""Stack → the Schema whose own method is the outermost running validation there."""


_held: Any = vars(BaseException)["__dict__"].__get__


def messages(error: BaseException) -> Any:
    """An error's messages, without running code of a subclass."""
    return _held(error).get("messages", ())


def install(patches: Patches, probe_of: Callable[[Any], Probe | None], problems_of: Callable[[Any, Any], Any]) -> None:
    """Observe the methods of every class of Schemas there is or will be."""
    patched: weakref.WeakKeyDictionary[type, dict[str, tuple[Any, Any]]] = weakref.WeakKeyDictionary()

    def patch(cls: Any) -> None:
        for name in _METHODS:
            original: Any = cast("dict[str, Any]", vars(cls)).get(name)
            if isinstance(original, FunctionType):
                ours = Method(_timed(original, probe_of, problems_of), original)
                patched.setdefault(cls, {})[name] = original, ours
                type.__setattr__(cls, name, ours)

    def restore() -> None:
        for cls, methods in list(patched.items()):
            for name, (original, ours) in methods.items():
                if vars(cls).get(name) is ours:
                    type.__setattr__(cls, name, original)

    made: Any = _meta.__init__

    @functools.wraps(made)
    def __init__(cls: Any, *args: Any, **kwargs: Any) -> None:
        made(cls, *args, **kwargs)
        try:
            patch(cls)
        except Exception as error:
            faults.swallow("marshmallow", error)

    patches.undo(restore)
    patches.replace(_meta, "__init__", __init__)
    pending: list[Any] = type.__subclasses__(Schema)
    while pending:
        cls = pending.pop()
        pending += type.__subclasses__(cls)
        patch(cls)


def _timed(original: Any, probe_of: Callable[[Any], Probe | None], problems_of: Callable[[Any, Any], Any]) -> Any:
    """A Schema's own method, timed where it is the outermost; errors that it gives are problems that it found."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        me = stack.current_stack()
        probe = None if me in stack.running else probe_of(self)
        if probe is None:
            return original(self, *args, **kwargs)
        began = perf_counter()
        stack.running[me], overriding[me] = (probe.schema_cells, began), self
        try:
            result = original(self, *args, **kwargs)
            took = perf_counter() - began
        except BaseException as error:
            entry = stack.running.pop(me, None)  # first: an exception of a signal handler may come out of any call
            if overriding.pop(me, None) is self:
                took, failure = perf_counter() - began, error
                if issubclass(type(error), ValidationError):  # `isinstance` would ask the error's own `__class__`
                    probe.failed(took, "invalid", VALIDATION_ERROR, lambda: problems_of(messages(failure), self), entry)
                else:
                    probe.failed(took, "error", class_name(error), None, entry)
            elif entry is not None:
                stack.running[me] = entry
            raise
        entry = stack.running.pop(me, None)
        if overriding.pop(me, None) is not self:
            if entry is not None:
                stack.running[me] = entry
        else:
            if original.__name__ == "validate" and type(result) in (dict, list) and result:
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: problems_of(result, self), entry)
            else:
                probe.succeeded(took, entry)
        return result

    return method
