"""Finds conflicts between a field and a column of a type that only one database has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from . import describe, fit_numbers, fit_values
from .fields import TypeSpec, without_null
from .fit_columns import Capacity
from .fit_findings import Conflict

_WRITTEN: Final[dict[str, tuple[str, ...]]] = {
    "INET": ("ip", "ipv4", "ipv6", "ip-interface", "ipv4-interface", "ipv6-interface", "ip-network", "ipv4-network",
             "ipv6-network"),
    "CIDR": ("ip-network", "ipv4-network", "ipv6-network"),
    "HSTORE": ("map",), "MACADDR": (), "MACADDR8": (), "BIT": (), "MONEY": (), "TSVECTOR": (), "TSQUERY": (),
}  # fmt: skip
"""Types of PostgreSQL that take no plain text or number, with the formats and kinds of fields that fit them."""
_READ: Final[dict[str, tuple[str, ...]]] = {
    "INET": ("ip-interface",), "CIDR": ("ip-network",), "HSTORE": ("map",), "MACADDR": ("string",),
    "MACADDR8": ("string",), "BIT": ("string",), "MONEY": ("string",), "TSVECTOR": ("string",), "TSQUERY": ("string",),
}  # fmt: skip
"""The fields that can read every value of these types."""
_OBJECTS: Final = ("any", "custom", "never", "null", "union")
"""Kinds of fields that we cannot tell about."""
_LABEL: Final = re.compile(r"'((?:[^']|'')*)'")


def find_written(type_: TypeSpec, column: Capacity, library: str) -> Iterator[Conflict]:
    """Find conflicts when the values of a field are written."""
    name = _name(column)
    if type_.kind in _OBJECTS or type_.checks:
        return
    if name == "SET":
        yield from _set(type_, column, "write")
    elif name in ("INET4", "INET6"):
        if _is_plain(type_):
            yield fit_numbers.wrong_type(type_, column, "refused")
    elif name.endswith("RANGE"):
        yield fit_numbers.wrong_type(type_, column, "refused" if type_.kind == "list" else "altered")
    elif name in _WRITTEN:
        what = type_.format or type_.kind
        if type_.kind == "map" and name == "HSTORE":
            if type_.items is not None and type_.items.kind not in ("string", "enum", "any", "custom", "union"):
                yield fit_numbers.wrong_type(type_, column, "refused")
        elif type_.kind == "object" and name == "HSTORE":
            return
        elif (what not in _WRITTEN[name] or _is_text(type_, library)) and type_.pattern is None:
            plain = _is_plain(type_) or fit_values.is_object(type_, library)
            yield fit_numbers.wrong_type(type_, column, "altered" if plain else "refused")


def find_read(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts when a field reads the values of a column."""
    name = _name(column)
    if type_.kind in _OBJECTS:
        return
    if name == "SET":
        yield from _set(type_, column, "read")
    elif name.endswith("RANGE") or (name in _READ and (type_.format or type_.kind) not in _READ[name]):
        yield fit_numbers.wrong_type(type_, column, "refused")


def _name(column: Capacity) -> str:
    """The type's name; empty for one of another database."""
    name = re.split(r"[^A-Z0-9]", column.sql.upper(), maxsplit=1)[0]
    if column.system == "postgresql":
        return name if name in _WRITTEN or name.endswith("RANGE") else ""
    return name if column.system == "mariadb" and name in ("SET", "INET4", "INET6") else ""


def _is_plain(type_: TypeSpec) -> bool:
    return type_.kind in ("string", "integer", "number", "decimal", "boolean", "bytes") and type_.pattern is None


def _is_text(type_: TypeSpec, library: str) -> bool:
    """Whether a field of addresses holds texts, not objects."""
    return type_.kind == "string" and not fit_values.is_object(type_, library)


def _set(type_: TypeSpec, column: Capacity, way: str) -> Iterator[Conflict]:
    """Compare a set's items with the labels of a SET of MariaDB."""
    labels = tuple(each.replace("''", "'") for each in _LABEL.findall(column.sql))
    if type_.kind != "set":
        yield fit_numbers.wrong_type(type_, column, "altered" if way == "write" else "refused")
        return
    items = without_null(type_.items) if type_.items is not None else TypeSpec(kind="any")
    if items.checks or items.kind not in ("string", "enum"):
        return
    if items.kind == "string":
        if way == "write" and items.pattern is None:
            yield Conflict("enum", "refused", "any text", describe.values_text(labels))
        return
    held, taken = (items.values, labels) if way == "write" else (labels, items.values)
    missing = tuple(each for each in held if each not in taken)
    if missing:
        yield Conflict("enum", "refused", describe.values_text(missing), describe.values_text(taken))
