"""Says what a field class of the app's adds to the field of marshmallow that it is derived from: code and data."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast

import marshmallow.fields
from marshmallow import Schema

from ._validators import facts

_f: Any = marshmallow.fields
_METHODS: Final = ("_deserialize", "_serialize", "deserialize", "serialize", "_validate", "_validated")
_LIBRARIES: Final = ("marshmallow", "webargs", "flask_marshmallow", "apispec")
"""Whose source says nothing: it differs between versions."""


def own_code(field: Any, code: Callable[[str, Any], str]) -> tuple[str, ...]:
    """The code by which a field loads or writes in its own way, with the field's own data; nothing if it does not.

    Args:
        field: The field.
        code: Names a class, with a digest of its source where that was asked for.
    """
    own: list[Any] = []
    for cls in type(field).__mro__:
        if cls.__module__ == "marshmallow.fields":
            break
        own.append(cls)
    if not any(name in vars(cls) for cls in own for name in _METHODS):
        return ()
    names = [
        f"field:{cls.__qualname__}" if cls.__module__.startswith(_LIBRARIES) else code("field", cls)
        for cls in own
        if cls is type(field) or any(name in vars(cls) for name in _METHODS)
    ]
    data = {name: value for name, value in vars(field).items() if name not in _known() and _is_data(value)}
    names[0] += f"({facts(data)})" if data else ""
    return tuple(names)


def _known() -> set[str]:
    """The attributes of marshmallow's own fields."""
    if not _KNOWN:
        plain = ("String", "Integer", "Float", "Decimal", "Boolean", "DateTime", "NaiveDateTime", "AwareDateTime")
        more = ("Time", "Date", "TimeDelta", "Dict", "Method", "Function", "Url", "Email", "UUID", "IP", "Raw")
        made = [getattr(_f, name)() for name in (*plain, *more)]
        made += [_f.List(_f.Raw()), _f.Tuple(()), _f.Nested(Schema), _f.Constant(1), _f.Pluck(Schema, "x")]
        _KNOWN.update({"parent", "name", "root", "enum", "by_value", "field", "choices_text"})
        _KNOWN.update(*(vars(each) for each in made))
    return _KNOWN


_KNOWN: Final[set[str]] = set()


def _is_data(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_data(each) for pair in cast("dict[Any, Any]", value).items() for each in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_data(each) for each in cast("list[Any]", value))
    return value is None or isinstance(value, (bool, int, float, str, re.Pattern))
