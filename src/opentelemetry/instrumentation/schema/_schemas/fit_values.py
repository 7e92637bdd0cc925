"""Limits of a field's values: the longest text, the greatest number, the most digits."""

from __future__ import annotations

import math
import re
import sys
import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from .fields import TypeSpec

_FORMATS: Final = {"email": 254, "ipv4": 15, "ipv6": 45, "ip": 45, "uuid": 36}
"""Characters of the longest text of some formats."""
_OBJECTS: Final = ("url", "ip", "password", "path", "regex", "fraction", "name-email")
"""Prefixes of formats whose values in Python are objects, not texts."""
_FEW: Final = 1000
"""Numbers that we look at one by one."""


def is_object(type_: TypeSpec, library: str) -> bool:
    """Whether a text's values are objects that a driver must know how to write."""
    if type_.kind == "bytes" and type_.format == "password":
        return library == "pydantic"
    if type_.kind != "string" or type_.format is None:
        return False
    if library == "marshmallow":
        return type_.format.startswith("ip")
    return library == "pydantic" and type_.format.startswith(_OBJECTS)


def longest(type_: TypeSpec) -> int | None:
    """Characters or bytes of the longest value; None where there is no limit that can be known.

    Raises:
        UnknownWidthError: if a regular expression decides, and it is not one of Python's.
    """
    if type_.kind == "enum":
        return max((len(str(each)) for each in type_.values), default=0)
    limits = [type_.max_length]
    if type_.format is not None:
        limits.append(next((size for name, size in _FORMATS.items() if type_.format.startswith(name)), None))
    if type_.pattern is not None:
        limits.append(pattern_width(type_.pattern, 1))
    return min((each for each in limits if each is not None), default=None)


def shortest(type_: TypeSpec) -> int:
    """Characters or bytes of the shortest value, as far as that can be known."""
    if type_.kind == "enum":
        return min((len(str(each)) for each in type_.values), default=0)
    try:
        by_pattern = None if type_.pattern is None else pattern_width(type_.pattern, 0)
    except UnknownWidthError:
        by_pattern = None
    return max(type_.min_length or 0, by_pattern or 0)


class UnknownWidthError(Exception):
    """We cannot tell how long the values are."""


def pattern_width(pattern: str, end: int) -> int | None:
    """Characters of the shortest (0) or longest (1) text that a regular expression matches whole; None for any."""
    if not pattern.startswith(("^", "\\A")) or not pattern.endswith(("$", "\\Z", "\\z")) or "|" in pattern:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if sys.version_info >= (3, 11):
                from re import _parser as parser  # type: ignore[attr-defined]
            else:
                import sre_parse as parser
            found: Any = parser.parse(pattern.removesuffix("\\z"))
            width = int(found.getwidth()[end])
    except (re.error, RecursionError, OverflowError, ImportError) as error:
        raise UnknownWidthError(pattern) from error
    return width if width < 2**16 else None


def low(type_: TypeSpec) -> float | None:
    """The least number that is accepted; None where there is no limit."""
    numbers = [each for each in type_.values if isinstance(each, (int, float))]
    if type_.kind == "enum":
        return min(numbers, default=None)
    if type_.kind == "boolean":
        return 0
    bounds: list[float] = [type_.ge] if isinstance(type_.ge, (int, float)) else []
    if isinstance(type_.gt, (int, float)):
        bounds.append(math.floor(type_.gt) + 1 if type_.kind == "integer" else _next(type_.gt, math.inf))
    if type_.kind == "decimal" and (most := whole_digits(type_)) is not None:
        bounds.append(-_below(most, type_.decimal_places))
    return max(bounds, default=None)


def high(type_: TypeSpec) -> float | None:
    """The greatest number that is accepted; None where there is no limit."""
    numbers = [each for each in type_.values if isinstance(each, (int, float))]
    if type_.kind == "enum":
        return max(numbers, default=None)
    if type_.kind == "boolean":
        return 1
    bounds: list[float] = [type_.le] if isinstance(type_.le, (int, float)) else []
    if isinstance(type_.lt, (int, float)):
        bounds.append(math.ceil(type_.lt) - 1 if type_.kind == "integer" else _next(type_.lt, -math.inf))
    if type_.kind == "decimal" and (most := whole_digits(type_)) is not None:
        bounds.append(_below(most, type_.decimal_places))
    return min(bounds, default=None)


def _below(whole: int, places: int | None) -> float:
    """The greatest number of some digits; below 1 by its places."""
    return 10**whole - 1 if whole > 0 else 10**whole - 10.0 ** -(places or 0)


def _next(bound: float, towards: float) -> float:
    return math.nextafter(bound, towards)


def whole_digits(type_: TypeSpec) -> int | None:
    """Digits of a decimal before its point, as far as `max_digits` limits them."""
    if type_.max_digits is None:
        return None
    return type_.max_digits - (type_.decimal_places or 0)


def places(type_: TypeSpec) -> int | None:
    """Digits of a decimal after its point; None where there is no limit."""
    if type_.decimal_places is not None:
        return type_.decimal_places
    if type_.multiple_of is not None:
        return max(0, -int(Decimal(repr(type_.multiple_of)).as_tuple().exponent))
    return type_.max_digits


def digits(type_: TypeSpec) -> int | None:
    """All digits that a decimal can have; None where there is no limit."""
    if type_.max_digits is not None:
        return type_.max_digits
    least, most = low(type_), high(type_)
    if least is None or most is None or type_.decimal_places is None:
        return None
    return len(str(int(max(abs(least), abs(most))))) + type_.decimal_places


def has_nan(type_: TypeSpec) -> bool:
    """Whether NaN is accepted: no bound holds for it."""
    return type_.kind == "number" and not type_.finite and low(type_) is None and high(type_) is None


def has_infinity(type_: TypeSpec) -> bool:
    """Whether infinity is accepted, of either sign."""
    return type_.kind == "number" and not type_.finite and (low(type_) is None or high(type_) is None)


def as_numbers(type_: TypeSpec) -> TypeSpec | None:
    """An enum of numbers as a range, with its values; None of any other enum."""
    numbers = [each for each in type_.values if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if not numbers or len(numbers) < len(type_.values):
        return None
    if not has_fractions(type_):
        return replace(type_, kind="integer", ge=min(numbers), le=max(numbers))
    places_ = max(-int(Decimal(repr(each)).as_tuple().exponent) for each in numbers)
    return replace(type_, kind="decimal", ge=min(numbers), le=max(numbers), decimal_places=places_)


def has_fractions(type_: TypeSpec) -> bool:
    """Whether an enum holds numbers that are not whole."""
    return any(isinstance(each, float) for each in type_.values)


def whole_numbers(type_: TypeSpec) -> tuple[float, ...] | None:
    """All numbers that a field accepts; None if there are many, or any between two others."""
    if type_.kind == "boolean":
        return 0, 1
    if type_.values:
        return tuple(each for each in type_.values if isinstance(each, (int, float)))
    least, most = low(type_), high(type_)
    if type_.kind != "integer" or least is None or most is None or most - least > _FEW:
        return None
    return tuple(range(math.ceil(least), math.floor(most) + 1))


def is_texts(type_: TypeSpec) -> bool:
    """Whether an enum's values are all texts."""
    return bool(type_.values) and all(isinstance(each, str) for each in type_.values)
