"""Values of enums, of literals and of defaults."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ..._schemas.defaults import FACTORY, is_computed
from ..._schemas.fields import Scalar, TypeSpec


def scalar(value: Any) -> Scalar:
    """A value of an enum as data."""
    if isinstance(value, enum.Enum):
        return scalar(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        # a subclass has a text of its own
        return value if type(value) in (bool, int, float, str) or value is None else _plain(value)
    return str(value)


def one_of(values: tuple[Scalar, ...], **more: Any) -> TypeSpec:
    """One of some values; null among them makes it nullable, as `| None` does."""
    rest = tuple(each for each in values if each is not None)
    if not rest:
        return TypeSpec(kind="null", checks=more.get("checks", ()))
    if len(rest) < len(values) and more.get("names"):
        more["names"] = tuple(name for name, value in zip(more["names"], values, strict=True) if value is not None)
    return TypeSpec(kind="enum", values=rest, nullable=len(rest) < len(values), **more)


_PLAIN = (bool, int, float, str, type(None))


def literal(values: tuple[Any, ...]) -> TypeSpec:
    """The values of a Literal. A member of an enum is not read from JSON, unless it is a text or a number itself."""
    members = sorted({type(each).__name__ for each in values if not isinstance(each, _PLAIN)})
    return one_of(tuple(scalar(each) for each in values), checks=tuple(f"values:{name}" for name in members))


def enum_values(cls: type[enum.Enum], checks: tuple[str, ...], **more: Any) -> TypeSpec:
    """The values of an enum. `Decimal("1")` and "1" are written alike, but are not read alike."""
    values = [each.value for each in cls]
    others = sorted({type(each).__name__ for each in values if not isinstance(each, _PLAIN)})
    checks = (*checks, *(f"values:{name}" for name in others))
    return one_of(tuple(scalar(each) for each in values), checks=checks, **more)


def _plain(value: Any) -> Scalar:
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)


def default_text(value: Any) -> str | None:
    """A default as JSON text; FACTORY of what has none that is always the same."""
    if value is PydanticUndefined or value is dataclasses.MISSING:
        return None
    try:
        text = json.dumps(_default(value), sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return FACTORY
    return text if len(text) <= 200 else FACTORY


_TEXTUAL = (decimal.Decimal, uuid.UUID, pathlib.PurePath)


def _default(value: Any) -> Any:
    """A default as JSON data. Not by Pydantic: how it writes a duration depends on its version."""
    if isinstance(value, enum.Enum):
        return _default(value.value)
    if is_computed(value):
        raise TypeError(type(value))
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, _TEXTUAL):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [_default(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_default(each) for each in value), key=repr)
    if isinstance(value, dict):
        return {str(_default(key)): _default(each) for key, each in value.items()}
    if isinstance(value, BaseModel):
        return {name: _default(getattr(value, name)) for name in type(value).model_fields}
    raise TypeError(type(value))  # also a secret
