"""Finds conflicts between a field and a column of numbers or booleans."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from . import describe, fit_values
from .fields import TypeSpec
from .fit_columns import DOUBLE, Capacity
from .fit_findings import Conflict, Effect

_EXACT: Final = {6: 2**24, 15: 2**53}
"""Significant digits of a float → the integer up to which it is exact."""


def wrong_type(type_: TypeSpec, column: Capacity, effect: Effect) -> Conflict:
    """The conflict of a field whose values have another type than the column."""
    return Conflict("type", effect, describe.type_text(type_), column.sql)


def check_boolean(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    within = fit_values.low(type_) in (0, 1) and fit_values.high(type_) in (0, 1)
    if type_.kind != "boolean" and not (type_.kind == "integer" and within):
        yield wrong_type(type_, column, "refused")


_NUMBERS: Final = ("boolean", "integer", "number", "decimal")


def check_number(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts of a field with a column of numbers."""
    kind, system = type_.kind, column.system
    if kind not in _NUMBERS:
        yield from _no_number(type_, column)
        return
    if kind == "boolean" and system == "postgresql" and column.sql not in ("INTEGER", "SERIAL"):
        yield wrong_type(type_, column, "refused")  # the server has no such cast
        return
    if kind == "decimal" and system == "sqlite" and column.kind == "integer":
        yield wrong_type(type_, column, "refused")
        return
    yield from _range(type_, column)
    if _loses_digits(type_, column):
        accepted = describe.digits_text(type_) if kind == "decimal" else describe.type_text(type_)
        yield Conflict("precision", "altered", accepted, column.sql)


def _range(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    text = describe.range_text(type_) if fit_values.digits(type_) is None else describe.digits_text(type_)
    accepted = f"{type_.kind}, {text}"
    if type_.kind == "number" and column.system == "sqlite" and column.kind == "integer":
        beyond = False  # SQLite stores 8-byte floats in any column
    else:
        beyond = _beyond(type_, column)
    if beyond:
        floats = column.system == "sqlite" and column.kind in ("number", "decimal") and type_.kind == "decimal"
        yield Conflict("range", "altered" if floats else "refused", accepted, _range_text(column))
    elif _between(type_, column):
        yield Conflict("range", "refused", accepted, "a CHECK that refuses some of them")
    if fit_values.has_infinity(type_) and not column.infinite and not beyond:
        yield Conflict("range", "refused", "infinity", column.sql, minor=True)
    if fit_values.has_nan(type_) and (not column.nan or (column.system == "sqlite" and column.kind == "integer")):
        effect: Effect = "altered" if column.nullable and column.system == "sqlite" else "refused"
        yield Conflict(
            "range", effect, "NaN", column.sql, "SQLite stores NaN as null." if effect == "altered" else "", minor=True
        )


def _range_text(column: Capacity) -> str:
    if column.low is None and column.high is None:
        return column.sql
    return f"{column.sql}, {_short(column.low)} to {_short(column.high)}"


def _short(number: float | None) -> str:
    return "any" if number is None else str(number) if abs(number) < 1e21 else f"{number:g}"


def _beyond(type_: TypeSpec, column: Capacity) -> bool:
    """Whether the field accepts finite values outside the column's range."""
    least, most = fit_values.low(type_), fit_values.high(type_)
    low, high = column.low, column.high
    if type_.kind == "number":  # no float is beyond the greatest one
        low = None if low is not None and low <= -DOUBLE else low
        high = None if high is not None and high >= DOUBLE else high
    strict = column.kind == "decimal" and column.digits is not None
    if high is not None and (most is None or most > high or (strict and most >= 10 ** (column.whole or 0))):
        return True
    return low is not None and (least is None or least < low or (strict and least <= -(10 ** (column.whole or 0))))


def _between(type_: TypeSpec, column: Capacity) -> bool:
    """Whether a CHECK refuses some numbers between the least and the greatest."""
    refused = [each for each in column.excluded if isinstance(each, float)]
    known = fit_values.whole_numbers(type_)
    if known is not None:
        return any(each in refused or (column.numbers and each not in column.numbers) for each in known)
    least, most = fit_values.low(type_), fit_values.high(type_)
    within = any((least is None or least <= each) and (most is None or each <= most) for each in refused)
    return bool(column.numbers) or within


def _loses_digits(type_: TypeSpec, column: Capacity) -> bool:
    """Whether a number comes back with other digits."""
    kind = type_.kind
    if kind == "boolean" or (kind == "integer" and column.kind == "integer"):
        return False
    if column.kind == "integer":
        return column.system != "sqlite" and not (kind == "decimal" and type_.decimal_places == 0)
    if kind == "number":
        if column.python == "float" and column.system == "sqlite":
            return False
        places = fit_values.places(type_) if type_.multiple_of is not None else None
        if column.kind == "decimal" and places is not None and column.places is not None and places <= column.places:
            return False
        return column.kind == "decimal" or column.significant == min(_EXACT) or column.places is not None
    exact = _EXACT.get(column.significant or 0)
    if kind == "integer":
        if (column.places or 0) < 0:  # NUMERIC(5, -2) keeps hundreds
            return True
        return exact is not None and _reach(type_, column) > exact
    digits = fit_values.digits(type_)
    if column.significant is not None and (digits is None or digits > column.significant):
        return True
    places = fit_values.places(type_)
    return column.places is not None and (places is None or places > column.places)


def _reach(type_: TypeSpec, column: Capacity) -> float:
    """The greatest number, of either sign, that the field accepts and the column holds."""
    field, held = (
        math.inf if low is None or high is None else max(abs(low), abs(high))
        for low, high in ((fit_values.low(type_), fit_values.high(type_)), (column.low, column.high))
    )
    return min(field, held)


def _no_number(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    text = type_.kind == "string"
    stored = column.system == "sqlite" and column.kind == "integer" and type_.kind in ("date", "datetime")
    if not stored:
        yield wrong_type(type_, column, "altered" if text and column.kind == "integer" else "refused")
