"""Whether values of an enum are accepted by another type."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from .bounds import Change
from .fields import TypeSpec


def contains(values: tuple[object, ...], value: object) -> bool:
    """Whether a value is among some values; true is not 1."""
    return any(type(each) is type(value) and each == value for each in values)


def enum_change(old: TypeSpec, new: TypeSpec) -> Change:
    """Compare an enum with a type: `widened` if the new type accepts all values of the enum, `narrowed` in reverse."""
    enum, type_ = (old, new) if old.kind == "enum" else (new, old)
    kinds = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}.get(type_.kind, ())
    bounded = replace(type_, strict=False, strip=False, open=False) != TypeSpec(kind=type_.kind)
    fit = all(isinstance(each, kinds) and (type_.kind == "boolean") == isinstance(each, bool) for each in enum.values)
    converts = enum.items is not None and not enum.items.strict and type_.strict and type_.kind != "string"
    if not kinds or not fit or converts or (bounded and not _fit(enum, type_)):
        return "changed"
    return "widened" if enum is old else "narrowed"


def _fit(enum: TypeSpec, type_: TypeSpec) -> bool:
    """Whether every value is within the bounds; False if we cannot tell."""
    if type_.kind in ("integer", "number") and all(_in_range(each, type_) for each in enum.values):
        type_ = replace(type_, ge=None, gt=None, le=None, lt=None)
    if replace(type_, min_length=None, max_length=None, strict=False, strip=False) != TypeSpec(kind=type_.kind):
        return False
    longest = max((len(str(each)) for each in enum.values), default=0)
    shortest = min((len(str(each)) for each in enum.values), default=0)
    return (type_.max_length is None or longest <= type_.max_length) and shortest >= (type_.min_length or 0)


def _in_range(value: object, type_: TypeSpec) -> bool:
    bounds = (type_.ge, type_.gt, type_.le, type_.lt)
    if not isinstance(value, (int, float)) or any(isinstance(each, str) for each in bounds):
        return False
    ge, gt, le, lt = (cast("float | None", each) for each in bounds)
    low = (ge is None or value >= ge) and (gt is None or value > gt)
    return low and (le is None or value <= le) and (lt is None or value < lt)
