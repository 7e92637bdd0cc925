"""Finds conflicts when a model reads the values of a column.

What a JSON column holds no table says, and what a pattern refuses no column says: neither is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from . import describe, fit_foreign, fit_values
from .fields import TypeSpec, without_null
from .fit_columns import Capacity
from .fit_findings import Conflict


def find_conflicts(type_: TypeSpec, column: Capacity, library: str = "") -> list[Conflict]:
    """Find conflicts when a field reads the values of a column.

    Args:
        type_: What the field accepts.
        column: What the column holds.
        library: Of the schema: it decides what a strict field refuses.
    """
    found: list[Conflict] = []
    if column.nullable and not type_.nullable and type_.kind not in ("any", "custom", "null", "never"):
        found.append(Conflict("nullable", "refused", "null is refused", "nullable"))
    if column.converted or column.kind == "any":
        return found
    plain = without_null(type_)
    if column.kind == "custom":
        return found + list(fit_foreign.find_read(plain, column))
    strict = library == "pydantic" and _is_too_strict(plain, column)
    rest = [_type(plain, column)] if strict else _values(plain, column)
    other = [each for each in rest if each.kind == "type"]
    return found + _distinct(other[:1] or rest)


_STRICT: Final[dict[str, tuple[str, ...]]] = {
    "integer": ("integer",), "number": ("number", "integer"), "decimal": ("decimal",), "boolean": ("boolean",),
    "string": ("string", "enum", "uuid"), "bytes": ("bytes",), "date": ("date",), "datetime": ("datetime",),
    "time": ("time",), "duration": ("duration",), "uuid": ("uuid",), "list": ("list",), "tuple": (), "set": (),
}  # fmt: skip
"""Kind of a strict field → kinds of columns whose values have its type in Python."""


def _is_too_strict(type_: TypeSpec, column: Capacity) -> bool:
    """Whether a field without conversion refuses the type in which the column's values come."""
    if not type_.strict or type_.kind not in _STRICT or type_.checks:
        return False
    kind = "number" if column.python == "float" else "string" if column.python == "text" else column.kind
    return kind not in _STRICT[type_.kind]


def _distinct(found: list[Conflict]) -> list[Conflict]:
    return list({each.kind: each for each in found}.values())


def _values(type_: TypeSpec, column: Capacity) -> list[Conflict]:
    if type_.kind in ("any", "custom", "never", "null") or type_.format == "json":
        return []
    if any(each.startswith(("before", "plain", "wrap")) for each in type_.checks):
        return []
    if type_.kind == "union":
        return _union(type_, column)
    if type_.kind == "enum":
        return list(_enum(type_, column))
    rule = _RULES.get(type_.kind)
    return list(rule(type_, column)) if rule is not None else [_type(type_, column)]


def _union(type_: TypeSpec, column: Capacity) -> list[Conflict]:
    """Find values that no member of a union accepts."""
    each = [_values(member, column) for member in type_.members]
    if not all(each):
        return []
    kinds = {conflict.kind for found in each for conflict in found}
    return each[0][:1] if len(kinds) == 1 else [_type(type_, column)]


def _type(type_: TypeSpec, column: Capacity) -> Conflict:
    return _conflict("type", describe.type_text(type_), column.sql)


def _conflict(kind: str, field: str, column: str) -> Conflict:
    return Conflict(kind, "refused", field, column)


def _enum(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind == "enum":
        held = column.members or column.values
        by_member = column.pure and not type_.names
        missing = tuple(each for each in held if by_member or each not in type_.values)
        if missing:
            yield _conflict("enum", describe.values_text(type_.values), describe.values_text(missing))
        return
    known: tuple[object, ...] = column.values if column.kind == "string" and not column.caseless else ()
    if column.kind == "boolean":
        known = (False, True)
    elif column.numbers:
        known = tuple(each for each in column.numbers if each not in column.excluded)
    if known and all(each in type_.values for each in known):
        return
    yield _conflict("enum", describe.values_text(type_.values), column.sql)


def _string(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind == "enum":
        return
    secret = type_.format == "password"
    if column.python == "text" and (type_.format or "uuid").startswith("uuid"):
        if type_.max_length is not None and type_.max_length < _UUID:
            yield _conflict("length", f"texts of up to {type_.max_length} characters", column.sql)
        return
    if column.kind not in ("string", "bytes") or (type_.format is not None and not secret) or column.kind == "bytes":
        yield _type(type_, column)
        return
    longest, limit = _longest(column), type_.max_length
    if limit is not None and (longest is None or longest > limit):
        yield _conflict("length", f"texts of up to {limit} characters", column.sql)
    if (type_.min_length or 0) > _shortest(column):
        yield _conflict("length", f"texts of at least {type_.min_length} characters", column.sql)


def _longest(column: Capacity) -> int | None:
    """Characters of the longest text that a column can hold; None where there is no limit."""
    if column.values:
        return max(len(str(each)) for each in column.values)
    found = [column.max_length, column.max_bytes, *(each.width(1) for each in column.patterns)]
    return min((each for each in found if each is not None), default=None)


def _shortest(column: Capacity) -> int:
    """Characters of the shortest text that a column can hold."""
    if column.padded:
        return column.max_length or 0
    least = min((len(str(each)) for each in column.values), default=0)
    fewest = -(-column.min_bytes // column.char_bytes)
    return max(least, column.min_length, fewest, *(each.width(0) or 0 for each in column.patterns))


_UUID: Final = 36
"""Characters of a UUID."""


def _bytes(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind not in ("bytes", "string"):
        yield _type(type_, column)
        return
    longest = column.max_length if column.max_length is not None else column.max_bytes
    if type_.max_length is not None and (longest is None or longest > type_.max_length):
        yield _conflict("length", f"up to {type_.max_length} bytes", column.sql)
    if (type_.min_length or 0) > column.min_length:
        yield _conflict("length", f"at least {type_.min_length} bytes", column.sql)


def _boolean(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind != "boolean":
        yield _type(type_, column)


def _integer(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind == "enum" and column.members and not column.pure and all(map(_is_number, column.members)):
        return  # members of an IntEnum
    if column.kind not in ("integer", "number", "decimal", "boolean"):
        yield _type(type_, column)
        return
    yield from _range(type_, column)
    if column.kind == "number" or (column.kind == "decimal" and column.places != 0):
        yield _conflict("precision", "whole numbers", column.sql)
    if column.kind == "number" or _holds_infinity(column):
        yield _conflict("range", "numbers of up to 64 bits", column.sql)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _number(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind not in ("integer", "number", "decimal", "boolean"):
        yield _type(type_, column)
        return
    yield from _range(type_, column)
    if type_.finite and _holds_infinity(column):
        yield _conflict("range", "finite numbers", f"{column.sql} holds infinity")


def _decimal(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind not in ("integer", "number", "decimal"):
        yield _type(type_, column)
        return
    yield from _range(type_, column)
    if _holds_infinity(column):
        yield _conflict("range", "finite numbers", f"{column.sql} holds infinity")
    digits, places, whole = _digits(column)
    most = fit_values.whole_digits(type_) if type_.decimal_places else None
    if most is not None and (whole is None or whole > most):
        yield _conflict("range", describe.digits_text(type_), column.sql)
    if (type_.max_digits is not None and (digits is None or digits > type_.max_digits)) or (
        type_.decimal_places is not None and (places is None or places > type_.decimal_places)
    ):
        yield _conflict("precision", describe.digits_text(type_), column.sql)


def _holds_infinity(column: Capacity) -> bool:
    """Whether the column can hold infinity; SQLite stores decimals as 8-byte floats."""
    return column.infinite and (column.kind == "number" or (column.kind == "decimal" and column.system == "sqlite"))


def _digits(column: Capacity) -> tuple[int | None, int | None, int | None]:
    """The digits that a column can hold: all, after the point, and before it; None is no limit."""
    if column.kind == "integer":
        whole = len(str(int(max(abs(column.low or 0), abs(column.high or 0)))))
        return whole, 0, whole
    if column.kind == "decimal":
        places = column.places
        if column.digits is None and column.low is not None and column.high is not None and abs(column.high) < 1e300:
            whole = len(str(int(max(abs(column.low), abs(column.high)))))
            return None if places is None else whole + places, places, whole
        return column.digits, places, column.whole
    return None, None, None


def _range(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find bounds of the field that the column does not enforce; digits are compared elsewhere."""
    low = type_.ge if isinstance(type_.ge, (int, float)) else type_.gt
    high = type_.le if isinstance(type_.le, (int, float)) else type_.lt
    least, most = (0, 1) if column.kind == "boolean" else (column.low, column.high)
    strict = column.kind == "decimal" and column.digits is not None
    if strict and type_.kind == "integer":  # the whole numbers among them
        least, most, strict = 1 - 10 ** (column.whole or 0), 10 ** (column.whole or 0) - 1, False
    below = isinstance(low, (int, float)) and (least is None or _before(least, low, type_.gt is not None, strict))
    above = isinstance(high, (int, float)) and (most is None or _before(-most, -high, type_.lt is not None, strict))
    if below or above:
        yield _conflict("range", describe.range_text(type_), column.sql)


def _before(held: float, bound: float, excluded: bool, outside: bool) -> bool:
    """Whether a column holds what lies before a bound.

    Args:
        held: The column's own bound.
        bound: The field's.
        excluded: Whether the field refuses its bound itself.
        outside: Whether the column does not hold its own bound: NUMERIC(4, 4) ends before 1.
    """
    if held == bound:
        return excluded and not outside
    return held < bound


def _date(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind != "date":
        yield _type(type_, column)
    elif type_.precision or _beyond_days(type_, column):
        yield _conflict("range", describe.range_text(type_), column.sql)


def _beyond_days(type_: TypeSpec, column: Capacity) -> bool:
    """Whether a column holds days outside a field's bounds."""
    low, high = type_.ge or type_.gt, type_.le or type_.lt
    below = isinstance(low, str) and (column.first is None or column.first < low)
    above = isinstance(high, str) and (column.last is None or column.last > high)
    return below or above


def _datetime(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind not in ("datetime", "date"):
        yield _type(type_, column)
        return
    if type_.timezone not in (None, "naive") and not column.aware:
        yield _conflict("timezone", "aware moments", f"{column.sql}, without time zone")
    elif type_.timezone == "naive" and column.aware:
        yield _conflict("timezone", "naive moments", column.sql)
    if type_.precision or _beyond_days(type_, column):
        yield _conflict("range", describe.moment_text(type_) or describe.range_text(type_), column.sql)


def _time(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind != "time":
        yield _type(type_, column)


_LONGEST: Final = 86_400 * 10**9
"""Seconds of the longest duration."""


def _duration(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind in ("integer", "decimal") and column.high is not None and column.high <= _LONGEST:
        return  # seconds
    if column.kind != "duration":
        yield _type(type_, column)
    elif any(each is not None for each in (type_.ge, type_.gt, type_.le, type_.lt)):
        yield _conflict("range", describe.range_text(type_), column.sql)


def _uuid(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind != "uuid" and not (column.kind == "bytes" and column.max_length == 16):
        yield _type(type_, column)


def _list(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if column.kind != "list":
        yield _type(type_, column)
        return
    if type_.min_length or type_.max_length is not None:
        yield _conflict("length", describe.length_text(type_) + " items", column.sql)
    if column.items is not None:
        for each in type_.prefix if type_.items is None else (type_.items, *type_.prefix):
            nested = each.kind in ("list", "set", "tuple") and column.items.kind != "list"
            yield from _list(each, column) if nested else _values(without_null(each), column.items)


_RULES: Final[Mapping[str, Callable[[TypeSpec, Capacity], Iterator[Conflict]]]] = {
    "string": _string,
    "bytes": _bytes,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "decimal": _decimal,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "duration": _duration,
    "uuid": _uuid,
    "list": _list,
    "set": _list,
    "tuple": _list,
}
"""By the kind of field."""
