"""The timed calls that stand in the place of a core validator's operations.

This is the hot path: a validation runs one of the closures here and nothing else of ours.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from time import perf_counter
from typing import Any

from pydantic_core import SchemaValidator

from ..._recording import stack
from ..._recording.cells import BUFFER_SIZE
from ..._recording.probe import Probe
from ..._recording.recorder import Recorder
from ..._recording.request import current_request

_running, _pop, _request = stack.running, stack.running.pop, current_request.get

FailureHandler = Callable[[BaseException, float, Any], None]
"""Takes what a validation raised, its duration in s, and its entry in `stack.running`."""

# Why the odd signature: `*args, **kwargs` costs more than the clock and the buffer together, and keyword-only defaults
# are dictionary look-ups. Arguments that are None are not passed on, so every pydantic-core takes the call. `_none`
# makes a second positional argument a TypeError, as pydantic-core does. CPython copies every free variable into the
# frame on each call, so these close over only what differs per validator or is read twice. `_leaf` and `_nestable`
# repeat the code around their calls: a call of a shared function would cost more than that code.


def timed_fast(inner: Any, probe: Probe, failed: FailureHandler, code: bool) -> Any:
    """The timed call of an operation. A native accelerator could replace it: a valid validation runs nothing else."""
    nestable = _nestable(inner, probe, failed)
    return nestable if code else _leaf(inner, probe, failed, nestable)


def _leaf(inner: Any, probe: Probe, failed: FailureHandler, nestable: Any) -> Any:
    """For a schema that runs no code: it can be nested in another validation, but none can be nested in it.

    With rare arguments it calls `nestable`. `from_attributes` is one of them: it runs code after all (properties, a
    lazy load).
    """
    schema_cells, buffers, slow, clock = probe.schema_cells, probe.buffers, probe.slow, perf_counter

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
        if _running and stack.current_stack() in _running:
            return inner(input, self_instance=self_instance)
        began = clock()
        try:
            result = inner(input, self_instance=self_instance)
        except BaseException as error:
            failed(error, clock() - began, None)
            raise
        took = clock() - began
        req = _request()
        req.schema_cells, durations = schema_cells, req.durations
        if durations is not None:
            durations.append(took)
        if took > slow:
            probe.record_slow_path(req, took)
            return result
        try:
            values = buffers[req.key]
        except KeyError:
            probe.record_slow_path(req, took)
            return result
        values.append(took)
        if len(values) >= BUFFER_SIZE:
            probe.flush_buffer(req)
        return result

    return validate


def _nestable(inner: Any, probe: Probe, failed: FailureHandler) -> Any:
    """For a schema with validators, default factories, an own `__init__` …: marks its stack while it runs."""
    schema_cells, buffers, slow, clock = probe.schema_cells, probe.buffers, probe.slow, perf_counter

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
        me = stack.current_stack()
        if me in _running:
            return inner(input, self_instance=self_instance) if more is None else inner(input, **more)
        began = clock()
        _running[me] = opened = schema_cells, began
        try:
            result = inner(input, self_instance=self_instance) if more is None else inner(input, **more)
            took = clock() - began  # inside: a signal handler's exception can come out of any call, and must not
        except BaseException as error:  # leave the entry behind (Celery's soft time limit, Ctrl-C): so it goes first
            entry = _pop(me, None)
            failed(error, clock() - began, entry)
            raise
        entry = _pop(me, None)
        req = _request()
        req.schema_cells, durations = schema_cells, req.durations
        if durations is not None:
            durations.append(took)
        if took > slow or entry is not opened:
            probe.record_slow_path(req, took, entry)
            return result
        try:
            values = buffers[req.key]
        except KeyError:
            probe.record_slow_path(req, took)
            return result
        values.append(took)
        if len(values) >= BUFFER_SIZE:
            probe.flush_buffer(req)
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


def timed_any(inner: Any, probe: Probe, failed: FailureHandler) -> Any:
    """Any arguments: `validate_strings`, `validate_assignment`, other plug-ins' validators, and cores to come."""
    schema_cells = probe.schema_cells

    def validate(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.current_stack()
        if me in _running:
            return inner(*args, **kwargs)
        began = perf_counter()
        _running[me] = schema_cells, began
        try:
            result = inner(*args, **kwargs)
            took = perf_counter() - began
        except BaseException as error:
            entry = _pop(me, None)
            failed(error, perf_counter() - began, entry)
            raise
        probe.succeeded(took, _running.pop(me, None))
        return result

    return validate


def timed_call(inner: Any, probe: Probe, failed: FailureHandler, body: Any) -> Any:
    """For a `validate_call`: the validation ends when its `body` begins (see `end_validation_at_call`)."""
    schema_cells, pending = probe.schema_cells, body.pending
    body.probe = probe

    def validate(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.current_stack()
        if me in _running:
            return inner(*args, **kwargs)
        began = pending[me] = perf_counter()
        _running[me] = schema_cells, began
        try:
            result = inner(*args, **kwargs)
        except BaseException as error:
            entry = _pop(me, None)
            if pending.pop(me, None) == began:
                failed(error, perf_counter() - began, entry)
            elif entry is not None:  # the function started, and left a `validation()` block open
                _running[me] = entry
            raise
        return result

    return validate


def end_validation_at_call(schema: Any, recorder: Recorder) -> Any:
    """Wrap the function of a `validate_call` schema, so that its start ends the validation of its arguments."""
    if schema["type"] != "call":
        return {**schema, "schema": end_validation_at_call(schema["schema"], recorder)}
    function = schema["function"]
    pending: dict[Any, float] = {}  # stack → when the validation of its arguments began, until that ends

    def body(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        me = stack.current_stack()
        entry = _running.get(me)
        if entry is not None:
            began = entry.began if type(entry) is stack.OpenValidation else entry[1]
            if pending.get(me) == began:
                del pending[me], _running[me]
                if not recorder.closed:
                    ending.probe.succeeded(perf_counter() - began, entry)
        return function(*args, **kwargs)

    ending: Any = body
    ending.pending, ending.probe = pending, None  # known when the validator is first used
    ending.function = function
    return {**schema, "function": body}


def original_schema(schema: Any) -> Any:
    """The schema that `end_validation_at_call` was given. A pickled validator holds this one."""
    if schema["type"] != "call":
        return {**schema, "schema": original_schema(schema["schema"])}
    return {**schema, "function": schema["function"].function}


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


KNOWN_SIGNATURE = frozenset(op for op in ("validate_python", "validate_json") if _parameters(op) <= _KNOWN)
