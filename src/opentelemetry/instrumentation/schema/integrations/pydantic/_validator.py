"""The proxy that stands where Pydantic keeps its core validator, and the timed calls in its slots.

This is the hot path: a validation runs one of the closures here and nothing else of ours. What they do is decided when
the slot is filled, at the validator's first use.
"""

# pyright: reportPrivateUsage=false
# The proxy's slots start with an underscore to keep out of the way of what it wraps; this module is their home.
from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, cast

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from ... import faults, problems, stack
from ...cells import LIMIT
from ...labels import Label
from ...recorder import Probe, Problem, Recorder
from ...request import current
from ...semconv import CUSTOM_RULE, VALIDATION_ERROR
from . import _core_schema

_running, _pop, _request = stack.running, stack.running.pop, current.get
_RULES: frozenset[str] = frozenset(error["type"] for error in list_all_errors())
OPERATIONS = ("validate_python", "validate_json", "validate_strings", "validate_assignment")


class Origin(NamedTuple):
    """What was known when a validator was built."""

    recorder: Recorder
    schema: Any
    type: Any
    module: str | None
    kind: str


class Proxy:
    """Stands for a core validator: every slot holds a closure, everything else is the core validator's.

    It passes for what it wraps: `isinstance`, `repr`, pickles (which hold the plain validator) and copies. There is no
    `__copy__` on purpose: a validator that is still to be built forwards such names, and would find ours. There is no
    `__getattr__` either, which would slow down every look-up, also of what is found: see `Unused`.
    """

    __slots__ = ("_otel_label", "_otel_origin", "_otel_probe", "_otel_runs_code", "_otel_wrapped", *OPERATIONS)

    def __init__(self, wrapped: Any, origin: Origin) -> None:
        self._otel_wrapped, self._otel_origin = wrapped, origin
        self._otel_label: Label | None = None
        self._otel_runs_code: bool | None = None
        self._otel_probe: Probe | None = None

    def _otel_bound(self) -> Probe | None:
        """The probe of an observed schema; binds it if nothing has yet."""
        if self._otel_probe is None:
            fill(self)
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
        return self._otel_wrapped.__reduce_ex__(protocol)

    def __reduce__(self) -> Any:
        return self._otel_wrapped.__reduce__()

    def __dir__(self) -> Any:
        return dir(self._otel_wrapped)


def _forwarded(name: str) -> property:
    return property(lambda proxy: getattr(proxy._otel_wrapped, name))


for _name in dir(SchemaValidator):
    if not _name.startswith("_") and _name not in OPERATIONS:
        setattr(Proxy, _name, _forwarded(_name))


class Unused(Proxy):
    """A proxy whose slots are filled when one is first asked for; also one of something else than a core validator."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_otel_"):
            raise AttributeError(name)
        value = getattr(self._otel_wrapped, name)
        if name in OPERATIONS:
            try:
                fill(self)
                return object.__getattribute__(self, name)
            except AttributeError:
                return value  # this core has no such operation
            except Exception as error:
                faults.swallow("pydantic", error)
        return value


_set_class: Any = vars(object)["__class__"].__set__  # `Proxy` has a property of this name


def fill(proxy: Proxy) -> None:
    """Fill a proxy's slots: with timed calls, or with the core's own where the schema is not observed."""
    wrapped, origin, label = proxy._otel_wrapped, proxy._otel_origin, proxy._otel_label
    recorder = origin.recorder
    name, module = _core_schema.name_and_module(origin.kind, origin.type)
    framework = label is not None
    # A type of no class of anybody's (`list[int]`, `HttpUrl`) belongs to the module that builds the adapter.
    observed = not recorder.closed and recorder.owned(module or _core_schema.owner(origin.module), name, framework)
    if label is not None and label.name is not None:
        name, module = label.name, None
    timed = _timer(proxy, recorder.bind("pydantic", name, module)) if observed else None
    for operation in OPERATIONS:
        inner = getattr(wrapped, operation, None)
        if inner is not None:
            object.__setattr__(proxy, operation, inner if timed is None else timed(operation, inner))
    if type(wrapped) is SchemaValidator:
        _set_class(proxy, Proxy)


def _timer(proxy: Proxy, probe: Probe) -> Callable[[str, Any], Any]:
    """From one of the core's operations to the timed call in its place."""
    proxy._otel_probe = probe
    schema, slow = proxy._otel_origin.schema, proxy._otel_origin.recorder.slow
    failed, fast = _failure(probe, _Problems(schema)), type(proxy._otel_wrapped) is SchemaValidator
    call = _call(schema)
    if call is not None:
        call["function"].probe = probe

    def timed(operation: str, inner: Any) -> Any:
        if call is not None:
            return _timed_call(inner, probe, failed)
        if fast and operation in _FAST:
            return _timed(inner, probe, failed, runs_code(proxy), slow)
        return _timed_any(inner, probe, failed, slow)

    return timed


def runs_code(proxy: Proxy) -> bool:
    """Whether validating can run Python code; asked once per validator."""
    if proxy._otel_runs_code is None:
        proxy._otel_runs_code = True  # while it is being found out: a recursive schema
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
    """From a `ValidationError` to problems, by the names that its schema declares."""

    __slots__ = ("_declared", "_memo", "_schema")

    def __init__(self, schema: Any) -> None:
        self._schema, self._declared = schema, None
        self._memo = problems.Memo(self._template)

    def __call__(self, error: ValidationError) -> Sequence[Problem]:
        if error.error_count() > problems.MAX_PROBLEMS:
            return [(problems.ANY, CUSTOM_RULE)]
        listed = error.errors(include_url=False, include_context=False, include_input=False)
        memo, known = self._memo, self._memo.known
        return [known.get((one["loc"], one["type"])) or memo(one["loc"], one["type"]) for one in listed]

    def _template(self, location: tuple[object, ...], rule: str) -> Problem:
        declared: Any = self._declared
        if declared is None:
            declared = self._declared = _core_schema.declared_names(self._schema)
        return problems.path(location, declared), rule if rule in _RULES else CUSTOM_RULE


_Failed = Callable[[BaseException, float, Any], None]


def _failure(probe: Probe, problems_of: _Problems) -> _Failed:
    def failed(error: BaseException, took: float, running: Any) -> None:
        try:
            if isinstance(error, ValidationError):
                probe.failed(took, "invalid", VALIDATION_ERROR, lambda: problems_of(error), running)
            else:
                probe.failed(took, "error", type(error).__qualname__, None, running)
        except Exception as fault:
            faults.swallow("pydantic", fault)

    return failed


# -- timed calls
# Why the odd signature: `*args, **kwargs` costs more than the clock and the buffer together, and keyword-only defaults
# are dictionary look-ups. What was left None is not passed on, so every pydantic-core takes the call. `_none` makes a
# second positional argument the TypeError that it is in pydantic-core. Each call copies the closure's variables and
# clears them, so only what is the validator's own, or used twice, is one.


def _timed(inner: Any, probe: Probe, failed: _Failed, code: bool, slow: float) -> Any:
    """The seam where a native accelerator could stand: everything that a valid validation pays for is behind it."""
    nestable = _timed_nestable(inner, probe, failed, slow)
    return nestable if code else _timed_leaf(inner, probe, failed, slow, nestable)


def _timed_leaf(inner: Any, probe: Probe, failed: _Failed, slow: float, nestable: Any) -> Any:
    """For a schema that runs no code: it can be nested in another validation, nothing can be nested in it.

    With arguments that are rare it goes the longer way: among them is `from_attributes`, which runs code after all
    (properties, a lazy load).
    """
    buffers, clock = probe.buffers, perf_counter

    def validate(
        input: Any, _none: Any = None, self_instance: Any = None, strict: Any = None, extra: Any = None,
        from_attributes: Any = None, context: Any = None, by_alias: Any = None, by_name: Any = None,
        allow_partial: Any = None,
    ) -> Any:  # fmt: skip
        __tracebackhide__ = True
        if (
            strict is not None or from_attributes is not None or context is not None or extra is not None
            or by_alias is not None or by_name is not None or allow_partial or _none is not None
        ):  # fmt: skip
            return nestable(
                input, _none, self_instance, strict, extra, from_attributes, context, by_alias, by_name, allow_partial
            )
        if _running and stack.here() in _running:
            return inner(input, self_instance=self_instance)
        began = clock()
        try:
            result = inner(input, self_instance=self_instance)
        except BaseException as error:
            failed(error, clock() - began, None)
            raise
        took = clock() - began
        req = _request()
        req.probe, durations = probe, req.took
        if durations is not None:
            durations.append(took)
        if took > slow:
            probe.rare(req, took)
            return result
        try:
            values = buffers[req.key]
        except KeyError:
            probe.rare(req, took)
            return result
        values.append(took)
        if len(values) >= LIMIT:
            probe.full(req)
        return result

    return validate


def _timed_nestable(inner: Any, probe: Probe, failed: _Failed, slow: float) -> Any:
    """For a schema with validators, default factories, an own `__init__` …: marks its stack while it runs."""
    buffers, clock = probe.buffers, perf_counter

    def validate(
        input: Any, _none: Any = None, self_instance: Any = None, strict: Any = None, extra: Any = None,
        from_attributes: Any = None, context: Any = None, by_alias: Any = None, by_name: Any = None,
        allow_partial: Any = None,
    ) -> Any:  # fmt: skip
        __tracebackhide__ = True
        if (
            strict is None and context is None and extra is None and by_alias is None and by_name is None
            and not allow_partial and _none is None and (from_attributes is None or self_instance is None)
        ):  # fmt: skip
            more: Any = None if from_attributes is None else {"from_attributes": from_attributes}  # FastAPI's call
        else:
            more = _given(
                _none, self_instance, strict, extra, from_attributes, context, by_alias, by_name, allow_partial
            )
        me = stack.here()
        if me in _running:
            return inner(input, self_instance=self_instance) if more is None else inner(input, **more)
        began = clock()
        _running[me] = opened = probe, began
        try:
            result = inner(input, self_instance=self_instance) if more is None else inner(input, **more)
            took = clock() - began  # inside: a signal handler's exception can come out of any call, and must not
        except BaseException as error:  # leave the entry behind (Celery's soft time limit, Ctrl-C)
            failed(error, clock() - began, _pop(me, None))
            raise
        entry = _pop(me, None)
        req = _request()
        req.probe, durations = probe, req.took
        if durations is not None:
            durations.append(took)
        if took > slow or entry is not opened:
            probe.rare(req, took, entry)
            return result
        try:
            values = buffers[req.key]
        except KeyError:
            probe.rare(req, took)
            return result
        values.append(took)
        if len(values) >= LIMIT:
            probe.full(req)
        return result

    return validate


def _given(
    _none: Any, self_instance: Any, strict: Any, extra: Any, from_attributes: Any, context: Any, by_alias: Any,
    by_name: Any, allow_partial: Any,
) -> dict[str, Any]:  # fmt: skip
    """The keywords that a caller gave."""
    if _none is not None:
        raise TypeError("validate_python() takes 1 positional argument but 2 were given")
    given = {
        "self_instance": self_instance, "strict": strict, "extra": extra, "from_attributes": from_attributes,
        "context": context, "by_alias": by_alias, "by_name": by_name, "allow_partial": allow_partial or None,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _timed_any(inner: Any, probe: Probe, failed: _Failed, slow: float) -> Any:
    """Any arguments: `validate_strings`, `validate_assignment`, other plug-ins' validators, and cores to come."""

    def validate(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.here()
        if me in _running:
            return inner(*args, **kwargs)
        began = perf_counter()
        _running[me] = probe, began
        try:
            result = inner(*args, **kwargs)
            took = perf_counter() - began
        except BaseException as error:
            failed(error, perf_counter() - began, _running.pop(me, None))
            raise
        probe.ok(took, _running.pop(me, None))
        return result

    return validate


def _timed_call(inner: Any, probe: Probe, failed: _Failed) -> Any:
    """A `validate_call`: ends when the arguments are valid, since what runs then is the function (see `untimed`)."""

    def validate(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.here()
        if me in _running:
            return inner(*args, **kwargs)
        began = perf_counter()
        _running[me] = opened = probe, began
        try:
            return inner(*args, **kwargs)
        except BaseException as error:
            entry = _running.get(me)
            if entry is opened or (type(entry) is stack.Queried and entry.probe is probe and entry.began == began):
                failed(error, perf_counter() - began, entry)
            raise
        finally:
            entry = _running.get(me)
            if entry is opened or (type(entry) is stack.Queried and entry.began == began):
                del _running[me]

    return validate


def untimed(schema: Any, recorder: Recorder) -> Any:
    """A `validate_call` schema whose function, once reached, ends the validation that led to it."""
    if schema["type"] != "call":
        return {**schema, "schema": untimed(schema["schema"], recorder)}
    function = schema["function"]

    def body(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.here()
        entry = _running.get(me)
        if entry is not None and not recorder.closed:
            queried = type(entry) is stack.Queried
            probe, began = (entry.probe, entry.began) if queried else entry
            if probe is ending.probe:
                del _running[me]
                probe.ok(perf_counter() - began, entry)
        return function(*args, **kwargs)

    ending: Any = body
    ending.probe = None  # known when the validator is first used
    return {**schema, "function": body}


# -- which signature has this pydantic-core?

_KNOWN = {
    "self", "input", "strict", "extra", "from_attributes", "context", "self_instance", "allow_partial", "by_alias",
    "by_name",
}  # fmt: skip


def _parameters(operation: str) -> set[str]:
    try:
        return set(inspect.signature(getattr(SchemaValidator, operation)).parameters)
    except (TypeError, ValueError):
        text = getattr(getattr(SchemaValidator, operation), "__text_signature__", None) or "(unknown)"
        return set(re.findall(r"\w+(?==|,|\)|$)", text))


_FAST = frozenset(op for op in ("validate_python", "validate_json") if _parameters(op) <= _KNOWN)
