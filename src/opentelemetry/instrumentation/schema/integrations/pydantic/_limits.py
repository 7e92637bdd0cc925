"""Bounds: what the metadata of an annotation says of a value."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..._schemas.fields import TypeKind, TypeSpec
from ._config import COERCES

_LENGTHS: frozenset[TypeKind] = frozenset({"string", "bytes", "list", "set", "tuple", "map"})
_ORDERED: frozenset[TypeKind] = frozenset({"integer", "number", "decimal", "date", "time", "datetime", "duration"})
_LIMITS = (
    "ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern", "max_digits", "decimal_places",
)  # fmt: skip


def limits(each: Any) -> dict[str, Any]:
    """The bounds that one piece of metadata sets, whichever class it is of."""
    if type(each).__name__ == "Timezone":
        zone = each.tz
        return {"timezone": "naive" if zone is None else "aware" if zone is ... else str(zone)}
    found: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in (*_LIMITS, "strip_whitespace", "to_lower", "to_upper", "strict", "allow_inf_nan"):
        value = getattr(each, name, None)
        if value is not None:
            values[name] = value
    for name in _LIMITS:
        if name in values:
            found[name] = _bound(values[name])
    if found.get("min_length") == 0:
        del found["min_length"]
    if values.get("strip_whitespace"):
        found["strip"] = True
    if values.get("to_lower") or values.get("to_upper"):
        found["case"] = "lower" if values.get("to_lower") else "upper"
    if "strict" in values:
        found["strict"] = bool(values["strict"])
    if "allow_inf_nan" in values:
        found["finite"] = not values["allow_inf_nan"]
    if getattr(each, "ascii_only", None):
        found["format"] = "ascii"
    return found


def _bound(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        number = int(value) if value == value.to_integral_value() else float(value)
        return number if decimal.Decimal(repr(number)) == value else f"{value:f}"
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, re.Pattern):
        flags = int(value.flags & ~re.UNICODE)
        return f"(?{flags}){value.pattern}" if flags else value.pattern
    return value


def with_limits(type_: TypeSpec, found: dict[str, Any], config: Mapping[str, Any]) -> TypeSpec:
    """A type with further bounds; of a union each member that they can be about."""
    if not found:
        return type_
    if type_.kind == "union":
        return replace(type_, members=tuple(with_limits(each, found, config) for each in type_.members))
    if found.get("strict") and COERCES in type_.checks:  # a strict text is not made of a number
        type_ = replace(type_, checks=tuple(each for each in type_.checks if each != COERCES))
    if found.get("pattern") is not None and config.get("regex_engine") == "python-re":
        type_ = replace(type_, checks=(*type_.checks, "config:regex_engine=python-re"))
    if type_.kind == "enum" and type_.items is not None and "strict" in found:
        type_ = replace(type_, items=replace(type_.items, strict=found["strict"]))
    kept: dict[str, Any] = {}
    checks = type_.checks
    for name, value in found.items():
        if name in ("min_length", "max_length"):
            fits = type_.kind in _LENGTHS
        elif name in ("ge", "gt", "le", "lt", "multiple_of"):
            fits = type_.kind in _ORDERED
        elif name in ("pattern", "strip", "case"):
            fits = type_.kind == "string"
        elif name in ("max_digits", "decimal_places"):
            fits = type_.kind == "decimal"
        elif name == "strict":  # in JSON, an array is one for each of these
            fits = type_.kind not in ("any", "null", "list", "set", "tuple", "map")
            checks += ("limit:strict",) if value and type_.kind == "custom" else ()
        elif name == "format":
            fits = type_.kind == "string" and type_.format is None
        else:
            fits = type_.kind not in ("any", "null")
        if any(not each.startswith("config:") for each in type_.checks) and getattr(type_, name) not in (None, value):
            fits = fits and name not in _LIMITS  # code stands between two limits of one kind: both hold
        if fits:
            kept[name] = value
        elif (
            name in (*_LIMITS, "format") and type_.kind != "null"
        ):  # a check all the same: of a class of its own, or of anything
            checks += (f"limit:{name}={value}",)
    return replace(type_, checks=checks, **kept) if kept or checks != type_.checks else type_


def with_url_constraints(type_: TypeSpec, constraints: Any) -> TypeSpec:
    """A URL with the schemes and the length that are allowed, and whether it must name a host.

    What these constraints leave open stays as it is.
    """
    form, schemes, host = (f"{type_.format or 'url'}::").split(":")[:3]
    if getattr(constraints, "allowed_schemes", None) is not None:
        schemes = ",".join(sorted(constraints.allowed_schemes))
    longest = getattr(constraints, "max_length", None)
    # Without a host of its own it may get one.
    if getattr(constraints, "host_required", None) is not None:
        host = "host" if constraints.host_required and not getattr(constraints, "default_host", None) else ""
    elif getattr(constraints, "default_host", None):
        host = ""
    format_ = f"{form}:{schemes}:{host}".rstrip(":")
    return replace(type_, kind="string", format=format_, max_length=type_.max_length if longest is None else longest)
