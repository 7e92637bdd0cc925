"""The proxy that stands where Pydantic keeps its core validator.

Its slots hold timed calls. We choose and bind them at the validator's first use.
"""

# pyright: reportPrivateUsage=false
# The proxy's slots start with an underscore to keep out of the way of what it wraps; this module is their home.
from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from ... import faults
from ..._recording import problems
from ..._recording.factories import base_modules
from ..._recording.framework_names import FrameworkName
from ..._recording.probe import Probe
from ..._recording.problems import Problem
from ..._recording.recorder import Recorder
from ...semconv import VALIDATION_ERROR
from ...text import class_name
from . import _core_schema
from ._timed import KNOWN_SIGNATURE, FailureHandler, original_schema, timed_any, timed_call, timed_fast

_RULES: frozenset[str] = frozenset(error["type"] for error in list_all_errors())
OPERATIONS = ("validate_python", "validate_json", "validate_strings", "validate_assignment")


class Origin(NamedTuple):
    """What is known when a validator is built.

    Attributes:
        made_for: The module on whose behalf a library's function made its class; None elsewhere.
    """

    recorder: Recorder
    schema: Any
    type: Any
    module: str | None
    kind: str
    made_for: str | None = None


class Proxy:
    """Stands for a core validator: every slot holds a closure, everything else is the core validator's.

    It passes for what it wraps: `isinstance`, `repr`, pickles (which hold the plain validator) and copies. There is no
    `__copy__` on purpose: Pydantic's stand-in for a validator that it has not built yet forwards such names, and would
    find ours. There is no `__getattr__` either: it would slow down every look-up. `UnboundProxy` has one.
    """

    __slots__ = (
        "__weakref__", "_otel_framework_name", "_otel_origin", "_otel_probe", "_otel_runs_code", "_otel_wrapped",
        *OPERATIONS,
    )  # fmt: skip

    def __init__(self, wrapped: Any, origin: Origin) -> None:
        self._otel_wrapped, self._otel_origin = wrapped, origin
        self._otel_framework_name: FrameworkName | None = None
        self._otel_runs_code: bool | None = None
        self._otel_probe: Probe | None = None

    def _otel_bound(self) -> Probe | None:
        """The probe of an observed schema, else None. Binds the proxy if nothing has yet."""
        if self._otel_probe is None:
            bind_proxy(self)
        return self._otel_probe

    @property  # type: ignore[misc]  # a class cannot be told from a property: what it wraps is to be seen
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._otel_wrapped.__class__

    @property
    def __pydantic_schema_validator__(self) -> Any:
        # Followed by pydantic-core from 2.14 on, to reuse a nested model's validator.
        inner = self._otel_wrapped
        return inner if type(inner) is SchemaValidator else inner.__pydantic_schema_validator__

    def __repr__(self) -> str:
        return repr(self._otel_wrapped)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain(self, self._otel_wrapped.__reduce_ex__(protocol))

    def __reduce__(self) -> Any:
        return _plain(self, self._otel_wrapped.__reduce__())

    def __dir__(self) -> Any:
        return dir(self._otel_wrapped)


def _plain(proxy: Proxy, reduced: Any) -> Any:
    """A core validator's pickle, with the original function of a `validate_call`."""
    if type(proxy._otel_wrapped) is not SchemaValidator or _call(proxy._otel_origin.schema) is None:
        return reduced
    make, (schema, *rest), *state = reduced
    return make, (original_schema(schema), *rest), *state


def _forwarded(name: str) -> property:
    return property(lambda proxy: getattr(proxy._otel_wrapped, name))


for _name in dir(SchemaValidator):
    if not _name.startswith("_") and _name not in OPERATIONS:
        setattr(Proxy, _name, _forwarded(_name))


class UnboundProxy(Proxy):
    """A proxy that fills its slots when one is first used. It may also wrap something else than a core validator."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_otel_"):
            raise AttributeError(name)
        value = getattr(self._otel_wrapped, name)
        if name in OPERATIONS:
            try:
                bind_proxy(self)
                return object.__getattribute__(self, name)
            except AttributeError:
                return value  # this core has no such operation
            except Exception as error:
                faults.swallow("pydantic", error)
        return value


_set_class: Any = vars(object)["__class__"].__set__  # `Proxy` has a property of this name


def bind_proxy(proxy: Proxy) -> None:
    """Fill a proxy's slots, if they are empty: with timed calls, or the core's own if the schema is not observed."""
    with proxy._otel_origin.recorder.binding:
        if not _is_bound(proxy):
            _bind_proxy(proxy)


def _is_bound(proxy: Proxy) -> bool:
    try:
        object.__getattribute__(proxy, "validate_python")
    except AttributeError:
        return False
    return True


def _bind_proxy(proxy: Proxy) -> None:
    wrapped, origin, label = proxy._otel_wrapped, proxy._otel_origin, proxy._otel_framework_name
    recorder = origin.recorder
    name, module = _core_schema.name_and_module(origin.kind, origin.type)
    framework = label is not None
    # A type of no class of anybody's (`list[int]`, `HttpUrl`) belongs to the module that builds the adapter.
    holder = module or _core_schema.owner(origin.module)
    behalf = origin.made_for, *base_modules(origin.type)
    observed = not recorder.closed and recorder.owned(holder, name, framework, behalf)
    if label is not None and label.name is not None:
        name, module = label.name, None
    timed = None
    if observed:
        probe = recorder.bind("pydantic", name, module)
        probe.parameter = label is not None and label.parameter
        timed = _timer(proxy, probe)
        cls = _core_schema.unannotated(origin.type)  # frameworks annotate the classes of bodies
        if isinstance(cls, type) and module is not None and origin.kind != "validate_call":
            probe.version = _version(cls)
            recorder.unread_schemas.add(probe.schema_cells, cls, _read)
    else:
        _left_out.add(proxy)
    for operation in reversed(OPERATIONS):  # `validate_python` last: `_is_bound` looks for it
        inner = getattr(wrapped, operation, None)
        if inner is not None:
            object.__setattr__(proxy, operation, inner if timed is None else timed(operation, inner))
    if type(wrapped) is SchemaValidator:
        _set_class(proxy, Proxy)


def _read(cls: Any) -> Any:
    from .fields import fields  # at the first collection

    return fields(cls)


def _version(cls: type) -> str | None:
    if "__schema_version__" not in vars(cls):
        return None
    from ..._schemas.fields import declared_version  # where there is one to read

    return declared_version(cls)


_left_out: weakref.WeakSet[Proxy] = weakref.WeakSet()


def forget_left_out() -> None:
    """Decide again, at their next use, about schemas that are not observed."""
    for proxy in list(_left_out):
        _left_out.discard(proxy)
        _set_class(proxy, UnboundProxy)  # first: `UnboundProxy` finds what is missing in a slot
        for operation in OPERATIONS:
            try:
                object.__delattr__(proxy, operation)
            except AttributeError:
                pass  # this core has no such operation


def _timer(proxy: Proxy, probe: Probe) -> Callable[[str, Any], Any]:
    """Return the function that wraps one of the core's operations in a timed call."""
    proxy._otel_probe = probe
    schema = proxy._otel_origin.schema
    failed, fast = _failure(probe, _Problems(schema)), type(proxy._otel_wrapped) is SchemaValidator
    call = _call(schema)
    body = None if call is None else call["function"]

    def timed(operation: str, inner: Any) -> Any:
        if body is not None:
            return timed_call(inner, probe, failed, body)
        if fast and operation in KNOWN_SIGNATURE and not probe.parameter:
            return timed_fast(inner, probe, failed, runs_code(proxy))
        return timed_any(inner, probe, failed)

    return timed


def runs_code(proxy: Proxy) -> bool:
    """Whether validating can run Python code; asked once per validator."""
    if proxy._otel_runs_code is None:
        proxy._otel_runs_code = True  # until it is known: a recursive schema asks again
        own = proxy._otel_origin.type

        def known(cls: Any) -> bool | None:
            nested = cast("dict[str, Any]", vars(cls)).get("__pydantic_validator__")
            if cls is own or not isinstance(nested, Proxy):
                return None
            return nested._otel_runs_code

        proxy._otel_runs_code = _core_schema.runs_code(proxy._otel_origin.schema, known)
    return proxy._otel_runs_code


def _call(schema: Any) -> Any:
    """The `call` schema of a `validate_call`, which may stand under `definitions`; None for others."""
    if schema.get("type") == "definitions":
        schema = schema["schema"]
    return schema if schema.get("type") == "call" else None


# -- failures


class _Problems:
    """Turns a `ValidationError` into problems, with the names that its schema declares."""

    __slots__ = ("_templates",)

    def __init__(self, schema: Any) -> None:
        self._templates = problems.Templates(lambda: _core_schema.declared_names(schema), _RULES)

    def __call__(self, error: ValidationError) -> Sequence[Problem]:
        if error.error_count() > problems.MAX_PROBLEMS:
            return [problems.TOO_MANY]
        listed, template = error.errors(include_url=False, include_context=False, include_input=False), self._templates
        return [template(one["loc"], one["type"]) for one in listed]


def _failure(probe: Probe, problems_of: _Problems) -> FailureHandler:
    def failed(error: BaseException, took: float, running: Any) -> None:
        try:
            if type(error) is ValidationError:  # final; `isinstance` would ask the error's own `__class__`
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: problems_of(error), running)
            else:
                probe.failed(took, "error", class_name(error), None, running)
        except Exception as fault:
            faults.swallow("pydantic", fault)

    return failed
