"""Bounds: what the metadata of an annotation says of a value."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import datetime
import decimal
import re
from dataclasses import replace
from typing import Any

from ..._schemas.fields import TypeKind, TypeSpec

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
    return found


def _bound(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value.pattern if isinstance(value, re.Pattern) else value


def with_limits(type_: TypeSpec, found: dict[str, Any]) -> TypeSpec:
    """A type with further bounds; of a union each member that they can be about."""
    if not found:
        return type_
    if type_.kind == "union":
        return replace(type_, members=tuple(with_limits(each, found) for each in type_.members))
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
        else:
            fits = type_.kind not in ("any", "null")
        if fits:
            kept[name] = value
        elif name in _LIMITS and type_.kind != "null":  # a check all the same: of a class of its own, or of anything
            checks += (f"limit:{name}={value}",)
    return replace(type_, checks=checks, **kept) if kept or checks != type_.checks else type_


def with_url_constraints(type_: TypeSpec, constraints: Any) -> TypeSpec:
    """A URL with the schemes and the length that are allowed, and whether it must name a host."""
    schemes = getattr(constraints, "allowed_schemes", None) or ()
    longest = getattr(constraints, "max_length", None)
    # Without a host of its own it may get one.
    host = getattr(constraints, "host_required", None) and not getattr(constraints, "default_host", None)
    format_ = f"url:{','.join(sorted(schemes))}:{'host' if host else ''}".rstrip(":")
    return replace(type_, kind="string", format=format_, max_length=longest)
