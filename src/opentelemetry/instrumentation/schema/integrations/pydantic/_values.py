"""Values of enums and literals."""

from __future__ import annotations

import enum
from typing import Any

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
        return TypeSpec(kind="null")
    if len(rest) < len(values) and more.get("names"):
        more["names"] = tuple(name for name, value in zip(more["names"], values, strict=True) if value is not None)
    return TypeSpec(kind="enum", values=rest, nullable=len(rest) < len(values), **more)


def _plain(value: Any) -> Scalar:
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)
