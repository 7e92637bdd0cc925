"""Pydantic 2.5 and later: every call into a core validator, wherever it comes from.

Pydantic builds all of its core validators with one function, which five of its modules hold by name. Ours replaces it,
lets the original build the validator (so other plug-ins still wrap it), and returns a proxy. `pydantic.v1` stays as
it is.
"""

# pyright: reportPrivateUsage=false
# The proxy's slots start with an underscore to keep out of the way of what it wraps.
from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from ... import faults
from ..._recording.factories import customer
from ..._recording.recorder import Recorder
from ...patching import Patches
from . import _core_schema
from ._timed import end_validation_at_call
from ._validator import Origin, Proxy, UnboundProxy, forget_left_out

REQUIRES = "pydantic >= 2.5, < 3"
_frame = sys._getframe
_MAKING = ("__new__", "create_dataclass")
_SLOT = "__pydantic_validator__"
_class_dict: Any = vars(type)["__dict__"].__get__  # any class there is may have a metaclass that answers nothing
# Reads `cls.__pydantic_validator__` of the exact type, to reuse it inside other validators; later ones follow
# `__pydantic_schema_validator__`, earlier ones reuse nothing.
_REUSE_NEEDS_EXACT = ((2, 11), (2, 14))


def install(recorder: Recorder, patches: Patches) -> None:
    """Observe every validator built from now on, and those that exist."""
    late = "pydantic.main" in sys.modules
    from pydantic import VERSION, type_adapter
    from pydantic._internal import _dataclasses, _model_construction, _validate_call
    from pydantic.plugin import _schema_validator

    version = tuple(int(part) for part in VERSION.split(".")[:2])
    exact = _REUSE_NEEDS_EXACT[0] <= version < _REUSE_NEEDS_EXACT[1]
    original: Any = _schema_validator.create_schema_validator

    def create_schema_validator(
        schema: Any, schema_type: Any, schema_type_module: Any, schema_type_name: Any, schema_kind: Any,
        *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        try:
            if schema_kind == "validate_call" and "call" in (
                schema.get("type"),
                schema.get("type") == "definitions" and schema["schema"].get("type"),
            ):
                schema = end_validation_at_call(schema, recorder)
            nested = _nested_proxies(schema, schema_type) if exact else ()
            made_for = _made_for(schema_type, _frame(1))
        except Exception as error:
            faults.swallow("pydantic", error)
            nested, made_for = (), None
        try:
            for cls, proxy in nested:
                type.__setattr__(cls, _SLOT, proxy._otel_wrapped)
            built = original(schema, schema_type, schema_type_module, schema_type_name, schema_kind, *args, **kwargs)
        finally:
            for cls, proxy in nested:
                type.__setattr__(cls, _SLOT, proxy)
        return UnboundProxy(built, Origin(recorder, schema, schema_type, schema_type_module, schema_kind, made_for))

    recorder.owned.on_change(forget_left_out)
    patches.undo(_unwrap_all)
    for module in (_schema_validator, _model_construction, _dataclasses, _validate_call, type_adapter):
        patches.replace(module, "create_schema_validator", create_schema_validator)
    # Not `__copy__` on the class: see `Proxy`.
    for table, copier in (("_copy_dispatch", _same_object), ("_deepcopy_dispatch", _same_object)):
        dispatch: dict[Any, Any] = getattr(copy, table)
        for cls in (Proxy, UnboundProxy):
            dispatch[cls] = copier
            patches.undo(dispatch.pop, cls, None)
    if late:
        _wrap_all(recorder, patches)


def _made_for(cls: Any, frame: Any) -> str | None:
    """On whose behalf a class is made; None if Pydantic only completes it, now that its types are known."""
    generic: dict[str, Any] = getattr(cls, "__pydantic_generic_metadata__", None) or {}
    if generic.get("origin") or frame.f_back.f_code.co_name not in _MAKING:
        return None  # a `Page[Lead]` belongs to its parts, not to the code that wrote it first
    return customer(frame)


def _same_object(thing: Any, _memo: Any = None) -> Any:
    return thing


def _own_attributes(holder: Any) -> Any:
    """The attributes of a class or adapter itself, without those that it inherits."""
    return cast("dict[str, Any]", vars(holder))


def _nested_proxies(schema: Any, own: Any) -> list[tuple[Any, Proxy]]:
    """The classes nested in a schema whose validator is a proxy."""
    found: list[tuple[Any, Any]] = [
        (cls, _own_attributes(cls).get(_SLOT)) for cls in _core_schema.nested_classes(schema, own)
    ]
    return [(cls, proxy) for cls, proxy in found if isinstance(proxy, Proxy)]


def _holders() -> Iterator[Any]:
    """Every class, TypeAdapter and `validate_call` that holds a validator."""
    from pydantic import BaseModel, TypeAdapter
    from pydantic._internal._validate_call import ValidateCallWrapper

    seen: set[int] = set()
    pending: list[Any] = [BaseModel]
    while pending:  # after gc.freeze() (a preloading server) the collector lists nothing
        for cls in type.__subclasses__(pending.pop()):
            if id(cls) not in seen:
                seen.add(id(cls))
                pending.append(cls)
                if _SLOT in _class_dict(cls):
                    yield cls
    for thing in gc.get_objects():
        kind = cast("Any", type(thing))
        if (
            kind is TypeAdapter
            or kind is ValidateCallWrapper
            or (issubclass(kind, type) and id(thing) not in seen and _SLOT in _class_dict(thing))
        ):
            yield thing


def _wrap_all(recorder: Recorder, patches: Patches) -> None:
    """Put proxies around validators that were built before us."""
    from pydantic import TypeAdapter
    from pydantic._internal._validate_call import ValidateCallWrapper
    from pydantic.plugin._schema_validator import PluggableSchemaValidator
    from pydantic_core import SchemaValidator

    built: tuple[Any, ...] = (SchemaValidator, PluggableSchemaValidator)  # else Pydantic has not built it yet
    proxies: dict[int, Proxy] = {}  # an adapter of a class shares the class's validator

    def put_proxies(holder: Any, schema: Any, kind: str, what: Callable[[Any], Any], module: str | None) -> None:
        for slot, validator in _validators(holder):
            if type(validator) not in built or not isinstance(schema, dict):
                continue
            if id(validator) not in proxies:
                proxies[id(validator)] = UnboundProxy(validator, Origin(recorder, schema, what(holder), module, kind))
            _put(holder, slot, proxies[id(validator)])

    adapters: list[Any] = []
    for holder in _holders():
        try:
            if isinstance(holder, TypeAdapter):
                adapters.append(holder)  # after the classes, which know more of a validator that they share
            elif isinstance(holder, ValidateCallWrapper):
                _rebuild(holder, patches)
            else:
                schema = _own_attributes(holder).get("__pydantic_core_schema__")
                put_proxies(holder, schema, "BaseModel", _same_object, holder.__module__)
        except Exception as error:
            faults.swallow("pydantic", error)
    for adapter in adapters:
        try:
            held = _own_attributes(adapter)
            schema = held.get("core_schema", held.get("_core_schema"))
            put_proxies(adapter, schema, "TypeAdapter", _adapted, getattr(adapter, "_module_name", None))
        except Exception as error:
            faults.swallow("pydantic", error)


def _validators(holder: Any) -> list[tuple[str, Any]]:
    """Where a class, an adapter or a `validate_call` holds its validator, and what stands there."""
    if not hasattr(holder, "__dict__"):
        return [(_SLOT, getattr(holder, _SLOT, None))]
    held = _own_attributes(holder)
    # 2.8 and 2.9 build an adapter's in `_validator`, and keep it in `validator` once it was used
    slots = (_SLOT,) if isinstance(holder, type) else ("validator", "_validator", _SLOT)
    return [(slot, held[slot]) for slot in slots if slot in held]


def _put(holder: Any, slot: str, validator: Any) -> None:
    put: Any = type.__setattr__ if isinstance(holder, type) else object.__setattr__
    put(holder, slot, validator)


def _adapted(adapter: Any) -> Any:
    """The type that an adapter is for. Pydantic up to 2.7 keeps only the validator."""
    if hasattr(adapter, "_type"):
        return adapter._type
    title = str(adapter.validator.title)  # "list[int]", but "literal['a']", and names hold no values
    return adapter.core_schema.get("cls") or SimpleNamespace(__qualname__="Literal" if "literal[" in title else title)


def _rebuild(wrapper: Any, patches: Patches) -> None:
    """Build a `validate_call` again: only then can we separate its function from its validation.

    Up to 2.10 it does not keep its schema: one that existed before us is not observed there.
    """
    build = getattr(wrapper, "_create_validators", None)
    if build is None or not getattr(wrapper, "__pydantic_complete__", True):
        return
    validator, returned = wrapper.__pydantic_validator__, wrapper.__return_pydantic_validator__
    if isinstance(validator, Proxy):
        return
    build()

    def restore() -> None:
        wrapper.__pydantic_validator__, wrapper.__return_pydantic_validator__ = validator, returned

    patches.undo(restore)


def _unwrap_all() -> None:
    """Put back what each proxy stands for."""
    for holder in _holders():
        try:
            for slot, validator in _validators(holder):
                if isinstance(validator, Proxy):
                    _put(holder, slot, validator._otel_wrapped)
        except Exception as error:
            faults.swallow("pydantic", error)
