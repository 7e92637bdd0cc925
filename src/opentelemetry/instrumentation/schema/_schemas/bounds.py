"""Compares two sets of bounds: narrowed, widened, changed (neither of the two), or None (equal).

Each function compares one kind of restriction of an old and a new type.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, time
from itertools import zip_longest
from typing import Final, Literal

from .fields import TypeSpec

Change = Literal["narrowed", "widened", "changed"]
Bound = tuple[float | str, bool] | None
"""A bound, and whether the bound itself is refused."""


def combine(changes: list[Change | None]) -> Change | None:
    """Combine the changes of parts into the change of the whole."""
    found: set[Change] = {change for change in changes if change is not None}
    if len(found) > 1:
        return "changed"
    return found.pop() if found else None


def flag(old: bool, new: bool) -> Change | None:
    """Compare a restriction that is either there or not."""
    return None if old == new else "narrowed" if new else "widened"


def one_of(old: object, new: object) -> Change | None:
    """Compare values that have no order, such as regular expressions; None is no restriction."""
    if old == new:
        return None
    return "narrowed" if old is None else "widened" if new is None else "changed"


def formats(old: str | None, new: str | None, texts: bool = True) -> Change | None:
    """Compare formats. A format of texts may include another one: IP includes IPv4, any URL an https URL."""
    if not texts:
        return None if old == new else "changed"
    if old is None or new is None or old == new:
        return one_of(old, new)
    (one, _, more), (other, _, less) = old.partition(";"), new.partition(";")
    (one, *olds), (other, *news) = one.split(":"), other.split(":")
    if one == other and one in ("url", "urls"):
        # After the semicolon: further URLs that are accepted.
        let = flag_set({*more.split(",")} - {""}, {*less.split(",")} - {""})
        return combine([let, *(_part(a, b) for a, b in zip_longest(olds, news))])
    return "widened" if old in _WITHIN.get(new, ()) else "narrowed" if new in _WITHIN.get(old, ()) else "changed"


def _part(old: str | None, new: str | None) -> Change | None:
    """Compare sets of texts; None or an empty set is every text."""
    if not old or not new or old == new:
        return one_of(old or None, new or None)
    return flag_set({*old.split(",")}, {*new.split(",")})


def flag_set(old: set[str], new: set[str]) -> Change | None:
    """Compare sets of accepted values."""
    if old == new:
        return None
    return "widened" if old < new else "narrowed" if new < old else "changed"


_WITHIN: Final = {
    "uri-reference": ("uri",),
    "ip": ("ipv4", "ipv6"),
    "ip-interface": ("ipv4-interface", "ipv6-interface"),
    "ip-network": ("ipv4-network", "ipv6-network"),
    "uuid": ("uuid1", "uuid3", "uuid4", "uuid5", "uuid6", "uuid7", "uuid8"),
}


def numbers(old: TypeSpec, new: TypeSpec) -> Change | None:
    """Compare lower and upper bounds."""
    return combine([_lower(_low(old), _low(new)), _upper(_high(old), _high(new))])


def whole(type_: TypeSpec) -> TypeSpec:
    """An integer with bounds that are integers and accepted themselves: more than 0 is at least 1."""
    if type_.kind != "integer":
        return type_
    low, high = _low(type_), _high(type_)
    return replace(
        type_,
        ge=low[0] if low else type_.ge,
        gt=None if low else type_.gt,
        le=high[0] if high else type_.le,
        lt=None if high else type_.lt,
    )


def length(old: TypeSpec, new: TypeSpec) -> Change | None:
    """Compare the least and the greatest length."""
    lower = _limit(-(old.min_length or 0), -(new.min_length or 0))
    return combine([lower, _limit(old.max_length, new.max_length)])


def digits(old: TypeSpec, new: TypeSpec) -> Change | None:
    """Compare the digits of decimals: all digits, those after the point, and those before it."""
    before = [
        None if each.max_digits is None or each.decimal_places is None else each.max_digits - each.decimal_places
        for each in (old, new)
    ]
    return combine(
        [
            _limit(old.max_digits, new.max_digits),
            _limit(old.decimal_places, new.decimal_places),
            _limit(before[0], before[1]),
        ]
    )


def multiple(old: float | None, new: float | None) -> Change | None:
    """Compare the numbers of which values must be a multiple."""
    if old is None or new is None or old == new:
        return one_of(old, new)
    if _divides(new, old):
        return "widened"
    return "narrowed" if _divides(old, new) else "changed"


def _divides(part: float, whole: float) -> bool:
    ratio = whole / part if part else math.inf
    return math.isfinite(ratio) and math.isclose(ratio, round(ratio), rel_tol=1e-12) and round(ratio) != 0


def _limit(old: int | None, new: int | None) -> Change | None:
    """Compare an upper limit."""
    if old == new:
        return None
    if new is None:
        return "widened"
    return "narrowed" if old is None or new < old else "widened"


def _low(type_: TypeSpec) -> Bound:
    if type_.kind == "integer":
        found = [math.ceil(type_.ge)] if isinstance(type_.ge, (int, float)) else []
        found += [math.floor(type_.gt) + 1] if isinstance(type_.gt, (int, float)) else []
        return (max(found), False) if found else None
    return _tighter(type_.ge, type_.gt, 1)


def _high(type_: TypeSpec) -> Bound:
    if type_.kind == "integer":
        found = [math.floor(type_.le)] if isinstance(type_.le, (int, float)) else []
        found += [math.ceil(type_.lt) - 1] if isinstance(type_.lt, (int, float)) else []
        return (min(found), False) if found else None
    return _tighter(type_.le, type_.lt, -1)


def _tighter(closed: float | str | None, opened: float | str | None, sign: int) -> Bound:
    if closed is None or opened is None:
        return (closed, False) if closed is not None else None if opened is None else (opened, True)
    return (opened, True) if _order(opened, closed) in (0, sign, None) else (closed, False)


def _order(one: float | str, other: float | str) -> int | None:
    """-1, 0 or 1; None if the two cannot be compared."""
    if isinstance(one, str) and isinstance(other, str):
        try:
            first, second = datetime.fromisoformat(one), datetime.fromisoformat(other)
            order = (first > second) - (first < second)
            # A naive value is compared by the clock of the bound's zone, so both must tell the same.
            clocks = first.replace(tzinfo=None), second.replace(tzinfo=None)
            return order if order == (clocks[0] > clocks[1]) - (clocks[0] < clocks[1]) else None
        except TypeError:  # one has no time zone
            return None
        except ValueError:
            return _times(one, other)
    if isinstance(one, str) or isinstance(other, str):
        return None
    return (one > other) - (one < other)


def _times(one: str, other: str) -> int | None:
    """-1, 0 or 1 for two times of day; None if their offsets differ, or if they are no times."""
    try:
        first, second = time.fromisoformat(one), time.fromisoformat(other)
    except ValueError:
        return None
    same = first.utcoffset() == second.utcoffset()
    return (first > second) - (first < second) if same else None


def _lower(old: Bound, new: Bound) -> Change | None:
    return _bound(old, new, 1)


def _upper(old: Bound, new: Bound) -> Change | None:
    return _bound(old, new, -1)


def _bound(old: Bound, new: Bound, sign: int) -> Change | None:
    """Compare a lower bound (sign 1) or an upper one (-1)."""
    if old == new:
        return None
    if old is None or new is None:
        return "narrowed" if old is None else "widened"
    order = _order(new[0], old[0])
    if order is None:
        return "changed"
    if order == 0 and new[1] == old[1]:
        return None
    if order == 0:
        return "narrowed" if new[1] else "widened"
    return "narrowed" if order == sign else "widened"


def moments(old: TypeSpec, new: TypeSpec) -> Change | None:
    """Compare what a datetime must have: a time zone, a past or future moment."""
    return combine([one_of(old.timezone, new.timezone), one_of(old.precision, new.precision)])


def closed(type_: TypeSpec) -> TypeSpec:
    """An array with its greatest length, where no item may follow the prefix."""
    if type_.items is None or type_.items.kind != "never" or type_.items.nullable:
        return type_
    longest = len(type_.prefix) if type_.max_length is None else min(type_.max_length, len(type_.prefix))
    return replace(type_, max_length=longest)


def rest(type_: TypeSpec) -> TypeSpec:
    """The type of the values of a map, or of the items of an array after its prefix."""
    closed = type_.kind != "map" and type_.items is None and type_.max_length is not None
    if closed and (type_.max_length or 0) <= len(type_.prefix):
        return TypeSpec(kind="never")
    return type_.items or TypeSpec(kind="any")
