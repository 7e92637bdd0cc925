"""Values of JSON Schemas: enums, and the fields that tell objects apart by their values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from ..._schemas.fields import Scalar, TypeSpec, dumps


def enum(values: list[Any]) -> TypeSpec:
    """The type of a value that is one of some values."""
    found = tuple(_distinct([_scalar(each) for each in values if each is not None]))
    if not found:
        return TypeSpec(kind="null" if None in values else "never")
    return TypeSpec(kind="enum", values=found, nullable=None in values)


def _scalar(value: Any) -> Scalar:
    """A value in a form that equals no different value: 1.0 becomes 1, and an object differs from its text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (str, int, float)) else f"json {dumps(_whole(value))}"


def _whole(value: Any) -> Any:
    """The value with whole numbers as integers."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_whole(each) for each in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_enum(members: list[TypeSpec]) -> TypeSpec | None:
    """Members that are all values, as one enum."""
    if len(members) < 2 or any(each.kind != "enum" or each.checks for each in members):
        return None
    values = [value for each in members for value in each.values]
    return replace(members[0], values=tuple(_distinct(values)), nullable=any(each.nullable for each in members))


def _distinct(values: list[Scalar]) -> list[Scalar]:
    """Each value once; 1 and true are two."""
    return [value for _, value in dict.fromkeys((type(each), each) for each in values)]


def apart(groups: list[tuple[Scalar, ...]]) -> bool:
    """Whether no value is in two groups."""
    values = [each for group in groups for each in group]
    return len(_distinct(values)) == len(values)


def tags(type_: TypeSpec) -> dict[str, tuple[Scalar, ...]]:
    """Required fields of an object that allow certain values only, with these values."""
    return {
        each.name: each.type.values
        for each in type_.fields
        if each.presence == "required" and each.type.kind == "enum" and not (each.type.checks or each.type.nullable)
    }
