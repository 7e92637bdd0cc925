"""Adds to a type what marshmallow's validators say of it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, cast

from marshmallow import validate

from ..._schemas.fields import Scalar, TypeKind, TypeSpec, dumps

_WORDS: Final = ("error", "labels", "choices_text", "labels_text", "values_text", "message")
"""Attributes of a validator that are about its messages."""
_UNKNOWN: Final = object()
_SCHEMES: Final = {"http", "https", "ftp", "ftps"}
"""Schemes of a URL where nothing is said."""
_ORDERED: Final[tuple[TypeKind, ...]] = ("integer", "number", "decimal", "date", "time", "datetime", "duration")
_SCALARS: Final[tuple[TypeKind, ...]] = (*_ORDERED, "string", "boolean", "uuid", "enum", "any")
_FIT: Final[dict[Any, tuple[TypeKind, ...]]] = {
    validate.Range: _ORDERED,
    validate.Length: ("string", "list", "tuple", "map"),
    validate.Regexp: ("string",),
    validate.URL: ("string",),
    validate.Email: ("string",),
    validate.OneOf: _SCALARS,
    validate.Equal: _SCALARS,
}
"""The kinds of types whose bounds each validator sets. Of all others its text is noted."""


def validated(type_: TypeSpec, validators: Iterable[Any], code: Callable[[str, Any], str]) -> TypeSpec:
    """A type with what its validators say.

    Args:
        type_: The type.
        validators: Of marshmallow, or functions.
        code: Names a function.
    """
    # Values last: the other validators then filter them.
    for each in sorted(_flat(validators), key=lambda found: type(found) in (validate.OneOf, validate.Equal)):
        type_ = _one(type_, each, code)
    return type_


def base(type_: TypeSpec) -> TypeSpec | None:
    """What a value is converted to before it is looked up among others; None where it stays as it is."""
    plain = replace(type_, nullable=False, checks=(), serializers=())
    return None if plain in (TypeSpec(kind="string"), TypeSpec(kind="any")) else plain


def _flat(validators: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for each in validators:
        found += _flat(each.validators) if type(each) is validate.And else [each]
    return found


def _one(type_: TypeSpec, each: Any, code: Callable[[str, Any], str]) -> TypeSpec:
    cls: Any = type(each)
    if type_.kind not in _FIT.get(cls, (type_.kind,)):  # nothing compares these bounds of such a type
        return _noted(type_, each)
    if cls is validate.Range and all(_bound(value) is not _UNKNOWN for value in (each.min, each.max)):
        low = "ge" if each.min_inclusive else "gt", _bound(each.min), max
        high = "le" if each.max_inclusive else "lt", _bound(each.max), min
        changes = {name: _tighter(getattr(type_, name), value, pick) for name, value, pick in (low, high)}
        return replace(type_, **changes)
    if cls is validate.Length:
        low, high = (each.equal, each.equal) if each.equal is not None else (each.min, each.max)
        return replace(
            type_,
            min_length=_tighter(type_.min_length, low or None, max),
            max_length=_tighter(type_.max_length, high, min),
        )
    if (cls is validate.OneOf and not _parts(each.choices)) or cls is validate.Equal:
        choices: Any = each.choices if cls is validate.OneOf else [each.comparable]
        return _among(type_, choices)
    if cls is validate.Regexp and type_.pattern is None:
        flags = int(each.regex.flags & ~re.UNICODE)
        return replace(type_, pattern=f"(?{flags}){each.regex.pattern}" if flags else each.regex.pattern)
    if cls is validate.URL and type_.format in (None, "url"):
        return replace(type_, format=_url(each))
    if cls is validate.Email and type_.format in (None, "email"):
        return replace(type_, format="email")
    if cls.__module__ == validate.__name__:
        return _noted(type_, each)
    return replace(type_, checks=(*type_.checks, code("validate", each)))


def _parts(choices: Any) -> bool:
    """Whether choices are no list of values: code, or a text, whose parts are accepted."""
    return callable(choices) or isinstance(choices, str)


def _noted(type_: TypeSpec, each: Any) -> TypeSpec:
    """A type with the text of a validator."""
    said = {key: value for key, value in vars(each).items() if key not in _WORDS and not key.startswith("_")}
    return replace(type_, checks=(*type_.checks, f"validate:{type(each).__name__}({facts(said)})"))


def _among(type_: TypeSpec, choices: Iterable[Any]) -> TypeSpec:
    values = tuple(scalar(value) for value in choices)
    if isinstance(choices, (set, frozenset)):
        values = tuple(sorted(values, key=dumps))  # the same in every process
    if type_.kind == "enum":
        return replace(type_, values=tuple(value for value in type_.values if value in values))
    return TypeSpec(
        kind="enum",
        values=values,
        nullable=type_.nullable,
        checks=type_.checks,
        serializers=type_.serializers,
        items=base(type_),
    )


def _url(each: Any) -> str:
    """A URL by its schemes and by what else is let through."""
    schemes = {*each.schemes}
    only = f":{','.join(sorted(schemes))}" if schemes < _SCHEMES else ""
    only = only if getattr(each, "absolute", True) else ":none"
    more = ["relative"] if each.relative else []
    more += [] if each.require_tld else ["local"]
    more += sorted(schemes - _SCHEMES)
    return f"url{only};{','.join(more)}".rstrip(";")


def _tighter(old: Any, new: Any, pick: Callable[..., Any]) -> Any:
    """The bound that both ask for."""
    if old is None or new is None:
        return old if new is None else new
    try:
        return pick(old, new)
    except TypeError:  # a date and a number
        return new


def _bound(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _UNKNOWN
    return int(number) if number.is_integer() else number


def facts(value: Any) -> str:
    """Data of a validator as a text that is the same in every process."""
    return dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(each) for each in cast("set[Any]", value)), key=dumps)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in cast("list[Any]", value)]
    if isinstance(value, re.Pattern):
        return [cast("Any", value).pattern, int(value.flags)]
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return scalar(value)


def scalar(value: Any) -> Scalar:
    """A value as data."""
    if isinstance(value, enum.Enum):
        value = value.value
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
