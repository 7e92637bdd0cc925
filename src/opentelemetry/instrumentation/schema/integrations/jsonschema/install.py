"""jsonschema 4.18 and later: every validator class there is, and those that `create` and `extend` make later.

Every validation ends in `iter_errors`: `validate`, `is_valid` and the function `jsonschema.validate` call it. So we
time that one method, and leave the library's other frames alone: its warnings depend on their number. A validation
lasts while jsonschema looks for errors, not while the caller handles them. We record it when its generator ends or is
closed: `invalid` if it yielded an error, `valid` if not. A generator that was never started validated nothing. Its
first step finds an error or reaches the end, so no started generator is closed without an outcome.

Cache: to build a validator is a miss. `check_schema` counts it; without `check_schema` the first validation builds the
validator, and is the miss. The first validation with a validator is never a hit, every later one is. So
`jsonschema.validate(instance, schema)` is one miss each time, and one checked validator used n times is one miss and
n - 1 hits.

Validators that the library derives while it validates (`evolve`) belong to the validation that runs. If the application
derives one, or if it is older than `instrument()`, we bind it at its first validation.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter
from types import FrameType
from typing import Any

import jsonschema.validators
from jsonschema.exceptions import ValidationError
from referencing import Registry

from ... import faults
from ..._recording import problems, stack
from ..._recording.cells import BUFFER_SIZE
from ..._recording.identity import WeakIdMap
from ..._recording.probe import Probe
from ..._recording.problems import Problem
from ..._recording.recorder import Recorder
from ..._recording.request import current_request
from ..._recording.schema_cells import SchemaCells
from ...patching import ClassMethod, Method, Patches
from ...semconv import VALIDATION_ERROR
from ...text import class_name, clean
from ._problems import Problems, is_object

REQUIRES = "jsonschema >= 4.18, < 5"

_COMPONENT = "jsonschema"
_library: Any = jsonschema.validators
_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]
_MAX_CHECKED = 64
_running, _pop, _clock, _request = stack.running, stack.running.pop, perf_counter, current_request.get


def install(recorder: Recorder, patches: Patches) -> None:
    """Observe every validator class, whether registered or not, and those to come."""
    schemas = _Schemas(recorder)
    patched: weakref.WeakKeyDictionary[type, dict[str, tuple[Any, Any]]] = weakref.WeakKeyDictionary()

    def patch(cls: Any) -> None:
        # Not `Patches.replace`, which would keep every class alive that is made at run time.
        methods: dict[str, tuple[Any, Any]] = {}
        patched[cls] = methods
        for name, wrap in (
            ("iter_errors", _iter_errors),
            ("check_schema", _check_schema),
        ):
            original = cls.__dict__[name]
            ours: Any = wrap(original, schemas)
            if getattr(_library, cls.__name__, None) is not cls:  # made by the app, so it is sent elsewhere by value
                ours = Method(ours, original) if name == "iter_errors" else ClassMethod(ours.__func__, original)
            methods[name] = original, ours
            setattr(cls, name, methods[name][1])

    def restore() -> None:
        for cls, methods in list(patched.items()):
            for name, (original, ours) in methods.items():
                if vars(cls).get(name) is ours:
                    setattr(cls, name, original)

    original_define = _library.define  # attrs', held by name

    @functools.wraps(original_define)
    def define(*args: Any, **kwargs: Any) -> Any:
        made = original_define(*args, **kwargs)
        try:
            if _is_validator(made):
                patch(made)
        except Exception as error:
            faults.swallow(_COMPONENT, error)
        return made

    patches.undo(restore)
    patches.replace(_library, "define", define)
    patches.replace(Registry, "resolver_with_root", _resolver_with_root(Registry.resolver_with_root, schemas))
    classes: Iterable[Any] = type.__subclasses__(object)
    for cls in classes:  # gc.get_objects() lists none of them after gc.freeze()
        if _is_validator(cls):
            patch(cls)


def _is_validator(cls: Any) -> bool:
    held: Mapping[str, Any] = cls.__dict__
    return (
        held.get("__module__") == _library.__name__
        and "__slots__" in held  # the class that attrs made this one from may be alive
        and {"META_SCHEMA", "__attrs_post_init__", "iter_errors", "check_schema"} <= held.keys()
    )


# -- what is patched


def _resolver_with_root(original: Any, schemas: _Schemas) -> Any:
    """Wrap the method of the registry that a validator calls while it is constructed, unless another one derived it.

    The validator's own `__attrs_post_init__` would do as well, but runs for each part of each document.
    """

    @functools.wraps(original)
    def resolver_with_root(self: Any, resource: Any) -> Any:
        resolver = original(self, resource)
        caller = _frame(1)
        if caller.f_code.co_name == "__attrs_post_init__" and stack.current_stack() not in _running:
            schemas.remember_builder(caller)
        return resolver

    return resolver_with_root


def _iter_errors(original: Any, schemas: _Schemas) -> Any:
    known, bind = schemas.bound.values.get, schemas.bind

    @functools.wraps(original)
    def iter_errors(self: Any, instance: Any, _schema: Any = None) -> Iterator[Any]:
        bound = known(id(self))
        if bound is None:
            if stack.current_stack() in _running:  # most often derived for this call alone
                return original(self, instance, _schema)
            bound = bind(self, _frame(1))
        probe, problem = bound
        # `_schema` is deprecated, and its warning names the frame that takes the first error
        if probe is None or _schema is not None:
            return original(self, instance, _schema)
        return _timed(original(self, instance), probe, problem)

    return iter_errors


def _timed(errors: Any, probe: Probe, problem: Callable[[Any], Problem]) -> Iterator[Any]:
    """The errors, timed while they are looked for; marks its stack only then."""
    me = stack.current_stack()
    if me in _running:  # started outside, but drained inside another validation: part of that one
        yield from errors
        return
    schema_cells, began = probe.schema_cells, _clock()
    _running[me] = opened = schema_cells, began
    try:
        error = next(errors, None)
        took = _clock() - began
    except BaseException as raised:
        entry = _pop(me, None)  # first: an exception of a signal handler may come out of any call
        _raised(raised, [], _clock() - began, probe, problem, entry)
        raise
    entry = _pop(me, None)
    if error is not None:
        yield from _invalid(error, errors, took, probe, problem, entry)
        return
    req = _request()  # from here on `Probe.succeeded`, written out: a call costs as much as all the rest
    req.schema_cells, durations = schema_cells, req.durations
    if durations is not None:
        durations.append(took)
    if took > probe.slow or entry is not opened:
        probe.record_slow_path(req, took, entry)
        return
    try:
        values = probe.buffers[req.key]
    except KeyError:
        probe.record_slow_path(req, took)
        return
    values.append(took)
    if len(values) >= BUFFER_SIZE:
        probe.flush_buffer(req)


def _invalid(
    error: Any, errors: Any, took: float, probe: Probe, problem: Callable[[Any], Problem], entry: Any
) -> Iterator[Any]:
    """The first error, and those that the caller goes on to look for."""
    found: list[Problem] = []
    try:
        while error is not None:
            if len(found) <= problems.MAX_PROBLEMS:
                found.append(problem(error))
            yield error
            me = stack.current_stack()
            if me in _running:
                yield from errors
                return
            began = perf_counter()
            _running[me] = entry or (probe.schema_cells, began)
            try:
                error = next(errors, None)
                took += perf_counter() - began
            except BaseException as raised:
                entry = _running.pop(me, None)
                took += perf_counter() - began
                so_far, found = found, []
                _raised(raised, so_far, took, probe, problem, entry)
                raise
            entry = _running.pop(me, None)
    finally:
        if found:
            _failed(found, took, probe, entry)


def _raised(
    raised: BaseException,
    found: list[Problem],
    took: float,
    probe: Probe,
    problem: Callable[[Any], Problem],
    entry: Any,
) -> None:
    # a keyword's function raised what it should have yielded; `isinstance` would ask the error's own `__class__`
    if issubclass(type(raised), ValidationError):
        _failed([*found, problem(raised)], took, probe, entry)
    else:
        probe.failed(took, "error", class_name(raised), None, entry)


def _failed(found: list[Problem], took: float, probe: Probe, entry: Any) -> None:
    listed = [problems.TOO_MANY] if len(found) > problems.MAX_PROBLEMS else found
    probe.failed(took, "invalid", VALIDATION_ERROR, lambda: listed, entry)


def _check_schema(original: Any, schemas: _Schemas) -> Any:
    function = original.__func__

    @functools.wraps(function)
    def check_schema(cls: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(cls, *args, **kwargs)
        if stack.current_stack() not in _running:
            schemas.count_check(cls, args[0] if args else kwargs["schema"], _frame(1))
        return result

    return classmethod(check_schema)


# -- what is known of validators

_Bound = tuple["Probe | None", Callable[[Any], Problem]]
"""A validator's probe, None if it is not observed; and the function from one of its errors to a problem."""


def _nothing(_error: Any) -> Problem:
    return problems.TOO_MANY


_UNOBSERVED: _Bound = None, _nothing


class _Schemas:
    """Names and probes of validators. Nothing here raises into the application.

    Attributes:
        bound: Probe and function of each validator that has validated.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.bound: WeakIdMap[_Bound] = WeakIdMap()
        self._builders: WeakIdMap[str | None] = WeakIdMap()
        # One entry for each miss that a `check_schema` counted, for the validators that are built next.
        self._checked: dict[SchemaCells, deque[None]] = {}
        # Cached: a schema may be built for each request.
        self._owned = functools.lru_cache(1024)(recorder.owned)
        recorder.owned.on_change(self._forget_left_out)

    def _forget_left_out(self) -> None:
        self._owned.cache_clear()
        for key, bound in list(self.bound.values.items()):
            if bound is _UNOBSERVED:
                self.bound.values.pop(key, None)

    @faults.guarded(_COMPONENT, None)
    def remember_builder(self, frame: FrameType) -> None:
        """Remember which module constructs a validator; `frame` is one of the constructor's own."""
        inner, module = _caller(frame)
        if not inner:
            self._builders.setdefault(frame.f_locals["self"], module)

    @faults.guarded(_COMPONENT, None)
    def count_check(self, cls: Any, schema: Any, frame: FrameType) -> None:
        """Count the miss of a `check_schema` that succeeded."""
        inner, module = _caller(frame)
        probe = None if inner else self._probe(cls, schema, None, module)
        if probe is not None:
            probe.count_miss()
            self._checked.setdefault(probe.schema_cells, deque(maxlen=_MAX_CHECKED)).append(None)

    @faults.guarded(_COMPONENT, _UNOBSERVED)
    def bind(self, validator: Any, frame: FrameType) -> _Bound:
        """Bind a validator at its first validation."""
        builders = self._builders.values
        if id(validator) in builders:
            module = builders[id(validator)]
        else:
            inner, module = _caller(frame)
            if inner:
                return _UNOBSERVED  # not stored: derived for one call, by a validation that is not observed
        with self._recorder.binding:
            bound = self.bound.values.get(id(validator))
            if bound is None:
                bound = self.bound.setdefault(validator, self._new_bound(validator, module))
        return bound

    def _new_bound(self, validator: Any, module: str | None) -> _Bound:
        probe = self._probe(type(validator), validator.schema, validator, module)
        if probe is None:
            return _UNOBSERVED
        checked = self._checked.get(probe.schema_cells)
        if checked:
            checked.popleft()
            probe.counted = True
        return probe, Problems(validator.schema, validator._registry)

    def _probe(self, cls: Any, schema: Any, validator: Any, module: str | None) -> Probe | None:
        name = _name(cls, schema, validator, module)
        if self._recorder.closed or not self._owned(module, name):
            return None
        probe = self._recorder.bind("jsonschema", name, module)
        if is_object(schema) and name in (schema.get("title"), cls.ID_OF(schema)):
            probe.version = _version(schema)
            self._recorder.unread_schemas.add(probe.schema_cells, schema, _read)
        return probe


def _read(schema: Any) -> Any:
    from .fields import fields  # at the first collection, not before

    return fields(schema)


def _version(schema: Any) -> str | None:
    if "version" not in schema:
        return None
    from ..._schemas.fields import clean_version  # where there is one to read

    return clean_version(schema["version"])


def _caller(frame: FrameType | None) -> tuple[bool, str | None]:
    """Who called into jsonschema: whether that was jsonschema itself while it validates, and the module."""
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == _library.__name__:
            if frame.f_code.co_name == "check_schema":
                return True, module
        elif module is not None and module != __name__:  # attrs' __init__ has none
            return module.startswith("jsonschema._"), module
        frame = frame.f_back
    return False, None


def _name(cls: Any, schema: Any, validator: Any, module: str | None) -> str:
    """Its `title`, else its `$id`, else the module's variable that holds the schema or validator."""
    if is_object(schema):
        for name in (schema.get("title"), cls.ID_OF(schema)):
            if isinstance(name, str) and name:
                return clean(name)
    held: dict[str, Any] = getattr(sys.modules.get(module or ""), "__dict__", {})
    for name, value in list(held.items()):
        if (value is schema and not isinstance(schema, bool)) or (value is validator and validator is not None):
            return clean(name)
    return clean(f"schema of {module}") if module else "schema"
