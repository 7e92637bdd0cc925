"""Digests of functions: their source, and what else decides what they do.

Two validators of one source differ if they hold other values: `at_most(5)` and `at_most(3)` are closures, partials or
objects. They also differ if a constant or a function of the application that they use has changed.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import inspect
import re
import sys
import types
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, Final, cast

from . import source
from .defaults import is_computed
from .fields import digest, dumps

_DEEPEST: Final = 4
_PLAIN: Final = (
    bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID, PurePath,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip
_HOLDERS: Final = (dict, list, tuple, set, frozenset)


def code_digest(function: Any) -> str | None:
    """Digest of what a function does, without comments and layout; None where there is no source to read.

    Args:
        function: A function, method, partial, class or object that is called.
    """
    try:
        return _digested(function)
    except TypeError:  # not hashable
        return _Code().digest(function)


@functools.lru_cache(4096)
def _digested(function: Any) -> str | None:
    return _Code().digest(function)


class _Code:
    """Reads a function with all that it uses, each function once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def digest(self, function: Any) -> str | None:
        if id(function) in self._seen:
            return None
        self._seen.add(id(function))
        if _is(function, functools.partial):
            partial = cast("functools.partial[Any]", function)
            return digest(dumps([self.digest(partial.func), self.fact(partial.args), self.fact(partial.keywords)]))
        held: Any = function.__self__ if _is(function, types.MethodType) else None
        function = inspect.unwrap(function.__func__ if held is not None else function)
        if _is(function, type):
            return self._class(function)
        if not _is(function, types.FunctionType):
            return self._object(function)
        found = _source(function)
        used = [[name, fact] for name, fact in self._used(function, held) if fact is not None]
        return digest(dumps([found, used])) if used else found

    def _class(self, cls: Any) -> str | None:
        """A class of the application by its source, by that of its bases, and by what their methods use."""
        top = (cls.__module__ or "").partition(".")[0]
        bases = [each for each in cls.__mro__ if (each.__module__ or "").partition(".")[0] == top]
        sources = [text for each in bases if (text := _source(each)) is not None]
        held = [each for base in bases for each in cast("dict[str, Any]", vars(base)).values()]
        methods = [each for each in held if _is(each, types.FunctionType)]
        used = [[name, fact] for each in methods for name, fact in self._used(each, cls) if fact is not None]
        if used or len(sources) > 1:
            return digest(dumps([sources, used]))
        return sources[0] if sources else None

    def _object(self, value: Any) -> str | None:
        """An object that is called, by its class and its data."""
        if _is(value, types.BuiltinFunctionType, types.MethodWrapperType, types.ModuleType):
            return None
        found = self._class(type(value))
        data = _attributes(value)
        return None if found is None and not data else digest(dumps([found, self.fact(data)]))

    def _used(self, function: types.FunctionType, held: Any) -> Iterator[tuple[str, Any]]:
        """The values that a function holds, and the constants and functions of the application that it names."""
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # it has no value yet
                yield name, None if name == "__class__" else self.fact(cell.cell_contents)
        names = sorted(_names(code))
        module = sys.modules.get(function.__module__ or "")
        top = (function.__module__ or "").partition(".")[0]
        for name in names if module is not None else ():
            value: Any = function.__globals__.get(name)
            if not _is(value, types.ModuleType):
                yield name, self._global(name, module, top)
            elif value.__name__.partition(".")[0] == top:
                yield from ((f"{name}.{each}", self._global(each, value, top)) for each in names)
        owner = _owner(function, module) if held is None else held if _is(held, type) else type(held)
        for name in names if owner is not None else ():
            yield f"self.{name}", self._member(inspect.getattr_static(owner, name, None), top)
        if held is not None and not _is(held, type):
            yield "self", self.fact(_attributes(held))

    def _global(self, name: str, module: Any, top: str) -> Any:
        """A constant by its text, since its value may depend on the machine; a function by its digest."""
        value: Any = cast("dict[str, Any]", vars(module)).get(name)
        if _is(value, types.FunctionType):
            return self._member(value, top)
        if _is(value, type):
            own = (value.__module__ or "").partition(".")[0] == top
            return _source(value) if own and issubclass(value, enum.Enum) else None
        return source.constant(module, name)

    def _member(self, value: Any, top: str) -> Any:
        """A constant of a class, or a function of the application."""
        value = value.__func__ if _is(value, classmethod, staticmethod) else value
        value = value.fget if _is(value, property) else value.func if _is(value, functools.cached_property) else value
        if _is(value, types.FunctionType):
            return self.digest(value) if (value.__module__ or "").partition(".")[0] == top else None
        return self.fact(value) if _is(value, *_PLAIN, *_HOLDERS) else None

    def fact(self, value: Any, depth: int = 0) -> Any:
        """A value as data that is the same in every process."""
        if value is None or _is(value, enum.Enum):
            return str(value)
        if _is(value, *_PLAIN):
            return [type(value).__name__, "" if is_computed(value) else str(value)]
        if _is(value, re.Pattern):
            return [str(value.pattern), int(value.flags)]
        if _is(value, type):
            return value.__qualname__
        name = type(value).__qualname__
        if depth == _DEEPEST:
            return name
        if _is(value, dict):
            pairs = [[self.fact(key, depth + 1), self.fact(each, depth + 1)] for key, each in value.items()]
            return [name, sorted(pairs, key=dumps)]
        if _is(value, *_HOLDERS):
            found = [self.fact(each, depth + 1) for each in value]
            return [name, sorted(found, key=dumps) if _is(value, set, frozenset) else found]
        return [name, self.digest(value)] if callable(value) else name


def _is(value: Any, *classes: Any) -> bool:
    """`isinstance` by the type alone: a proxy such as Flask's `current_app` raises if it is asked for its class."""
    return issubclass(type(value), classes)


def _owner(function: types.FunctionType, module: Any) -> type | None:
    """The class that defines a method."""
    found: Any = module
    for name in function.__qualname__.split(".")[:-1]:
        held = cast("dict[str, Any]", vars(found)) if _is(found, type, types.ModuleType) else {}
        found = held.get(name)
    return found if _is(found, type) else None


def _attributes(value: Any) -> dict[str, Any]:
    """The data of an object, also of one with slots."""
    slots = [name for cls in type(value).__mro__ for name in _slots(cls)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**found, **getattr(value, "__dict__", {})}


def _slots(cls: type) -> tuple[str, ...]:
    slots: Any = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(each for each in slots if not each.startswith("__"))


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names(each)


def _source(function: Any) -> str | None:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    found = source.code_digest(text)
    if found is None and isinstance(function, types.FunctionType):  # a lambda on a line that is no statement
        file = inspect.getsourcefile(function)
        return source.lambdas_digest(Path(file), function.__code__.co_firstlineno) if file else None
    return found
