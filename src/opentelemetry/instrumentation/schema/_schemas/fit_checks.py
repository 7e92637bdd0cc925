"""What CHECK constraints demand of one column: comparisons with literals, joined by AND.

Everything else says nothing here: it is never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from . import fit_conditions as conditions
from . import fit_values
from .fit_conditions import Among, Both, Call, Column, Comparison, Condition, Either, Matching, Null, Value

_LONGEST: Final = 4000
"""The longest constraint that we read, in characters."""
_LENGTHS: Final = ("LENGTH", "CHAR_LENGTH", "CHARACTER_LENGTH", "LEN")
_BYTES: Final = ("OCTET_LENGTH", "LENGTHB")
_TRIMS: Final = ("TRIM", "BTRIM", "LTRIM", "RTRIM")
_CASES: Final = {"LOWER": "[A-Z]", "UPPER": "[a-z]"}
"""Letters that the function changes."""
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_PLAIN: Final = re.compile(
    r"(?:[\w\s^$.()|?*+,:/@%#=!<>&;~'\"-]|\{\d+(?:,\d*)?\}|\[\^?(?:[^\[\]\\]|\\[dws.\]\\-])+\]|\\[dws.+*?^$()\[\]{}|/-])*"
)
"""Regular expressions that mean the same in Python and in the databases."""
_TRIED: Final = 16
"""Characters of the longest text that we match, so that no pattern takes long."""


@dataclass(frozen=True)
class Pattern:
    """A pattern that texts must match.

    Attributes:
        regex: In Python's syntax.
        caseless: Whether case means nothing.
        negated: Whether texts must not match it.
        text: As the constraint writes it.
    """

    regex: str
    caseless: bool
    negated: bool
    text: str

    def refuses(self, text: str) -> bool:
        """Whether the pattern surely refuses a text."""
        if len(text) > _TRIED:
            return False
        found = re.search(self.regex, text, (re.IGNORECASE if self.caseless else 0) | re.DOTALL)
        return (found is not None) == self.negated

    def width(self, end: int) -> int | None:
        """Characters of the shortest (0) or longest (1) text that matches; None where there is no limit."""
        try:
            return None if self.negated else fit_values.pattern_width(self.regex, end)
        except fit_values.UnknownWidthError:
            return None


@dataclass(frozen=True)
class CheckLimits:
    """The limits that CHECK constraints put on a column.

    Attributes:
        values: All texts that are allowed; None where every one is.
        numbers: All numbers that are allowed.
        excluded: Texts and numbers that are not allowed.
        low: The least number.
        high: The greatest number.
        first: The first day, as ISO 8601 text.
        last: The last day.
        shortest: Characters of the shortest text.
        longest: Characters of the longest text.
        least_bytes: Bytes of the shortest text.
        bytes_: Bytes of the longest text.
        blank: Whether a text may consist of spaces alone.
        patterns: That texts must match.
        filled: Whether it must not be null.
    """

    values: tuple[str, ...] | None = None
    numbers: tuple[float, ...] | None = None
    excluded: tuple[str | float, ...] = ()
    low: float | None = None
    high: float | None = None
    first: str | None = None
    last: str | None = None
    shortest: int | None = None
    longest: int | None = None
    least_bytes: int | None = None
    bytes_: int | None = None
    blank: bool = True
    patterns: tuple[Pattern, ...] = ()
    filled: bool = False


def read_limits(column: str, checks: tuple[str, ...], system: str = "") -> CheckLimits:
    """Read the limits that a table's CHECK constraints put on a column.

    Args:
        column: Its name.
        checks: The constraints' texts, as a database or a model writes them, with or without `check` before them.
        system: The kind of database, of which case, spaces and the length in bytes depend.
    """
    found = _Limits(column, system)
    for text in checks:
        if len(text) <= _LONGEST:
            found.add(conditions.parse(re.sub(r"^\s*check\b", "", text, flags=re.IGNORECASE)))
    return found.result()


@dataclass
class _Limits:
    """Collects what must hold for a column."""

    column: str
    system: str
    values: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    numbers: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])
    excluded: list[str | float] = field(default_factory=list[str | float])
    lows: list[float] = field(default_factory=list[float])
    highs: list[float] = field(default_factory=list[float])
    firsts: list[str] = field(default_factory=list[str])
    lasts: list[str] = field(default_factory=list[str])
    shortest: list[int] = field(default_factory=list[int])
    longest: list[int] = field(default_factory=list[int])
    least_bytes: list[int] = field(default_factory=list[int])
    bytes_: list[int] = field(default_factory=list[int])
    patterns: list[Pattern] = field(default_factory=list[Pattern])
    blank: bool = True
    filled: bool = False

    def result(self) -> CheckLimits:
        values, numbers = _common(self.values), _common(self.numbers)
        return CheckLimits(
            values=values,
            numbers=numbers,
            excluded=tuple(dict.fromkeys(self.excluded)),
            low=max((*self.lows, *((min(numbers),) if numbers else ())), default=None),
            high=min((*self.highs, *((max(numbers),) if numbers else ())), default=None),
            first=max(self.firsts, default=None),
            last=min(self.lasts, default=None),
            shortest=max(self.shortest, default=None),
            longest=min(self.longest, default=None),
            least_bytes=max(self.least_bytes, default=None),
            bytes_=min(self.bytes_, default=None),
            blank=self.blank,
            patterns=tuple(self.patterns),
            filled=self.filled,
        )

    def add(self, condition: Condition) -> None:
        """Add a condition that must hold, or be unknown because the column is null."""
        if isinstance(condition, Both):
            for each in condition.parts:
                self.add(each)
        elif isinstance(condition, Either):
            self._either(condition)
        elif isinstance(condition, Null):
            self.filled = self.filled or (condition.negated and self._is_mine(condition.subject))
        elif isinstance(condition, Among):
            self._among(condition)
        elif isinstance(condition, Matching):
            self._matching(condition)
        elif isinstance(condition, Comparison):
            self._comparison(condition)

    def _is_mine(self, value: Value) -> bool:
        return isinstance(value, Column) and value.name.lower() == self.column.lower()

    def _either(self, condition: Either) -> None:
        """Conditions of which one must hold: all values that are allowed, and whether null is."""
        rest = [
            each
            for each in condition.parts
            if not (isinstance(each, Null) and not each.negated and self._is_mine(each.subject))
        ]
        if len(rest) == 1:
            self.add(rest[0])
            return
        found: list[Value] = []
        for each in rest:
            if isinstance(each, Comparison) and each.sign == "=" and self._is_mine(each.left):
                found.append(each.right)
            elif isinstance(each, Among) and not each.negated and self._is_mine(each.subject):
                found += each.values
            else:
                return
        self._among(Among(Column(self.column), tuple(found), False))

    def _among(self, condition: Among) -> None:
        if not self._is_mine(condition.subject) or not condition.values:
            return
        texts = tuple(each for each in condition.values if isinstance(each, str))
        numbers = tuple(each for each in condition.values if isinstance(each, float))
        if condition.negated:
            self.excluded += (*texts, *numbers)
        elif len(texts) == len(condition.values):
            self.values.append(texts)
        elif len(numbers) == len(condition.values):
            self.numbers.append(numbers)

    def _matching(self, condition: Matching) -> None:
        if not self._is_mine(condition.subject) or not isinstance(condition.pattern, str):
            return
        translate, caseless = _TRANSLATED[condition.how]
        caseless = caseless or (self.system == "mariadb") or (self.system == "sqlite" and condition.how == "like")
        regex = translate(condition.pattern)
        if regex is not None:
            self.patterns.append(Pattern(regex, caseless, condition.negated, condition.pattern))

    def _comparison(self, condition: Comparison) -> None:
        subject, sign, bound = condition.left, condition.sign, condition.right
        if isinstance(subject, Call):
            if sign == "=" and self._is_mine(bound):
                self._case(subject)
            elif isinstance(bound, float):
                self._length(subject, sign, bound)
            elif bound == "" and sign in ("<>", ">") and self._is_trimmed(subject):
                self.blank = False
        elif isinstance(bound, Call) and sign == "=" and self._is_mine(subject):
            self._case(bound)
        elif self._is_mine(subject) and isinstance(bound, (str, float)):
            self._literal(sign, bound)

    def _literal(self, sign: str, bound: str | float) -> None:
        if sign == "=":
            self._among(Among(Column(self.column), (bound,), False))
        elif sign == "<>":
            self.excluded.append(bound)
        elif isinstance(bound, str) and _DAY.match(bound):
            (self.firsts if sign[0] == ">" else self.lasts).append(bound[:10])
        else:
            try:
                number = float(bound)
            except ValueError:
                return
            (self.lows if sign[0] == ">" else self.highs).append(_closed(sign, number))

    def _case(self, call: Call) -> None:
        """Add what `a = lower(a)` demands, where case counts."""
        mine = call.name in _CASES and len(call.arguments) == 1 and self._is_mine(call.arguments[0])
        if mine and self.system in ("postgresql", "sqlite"):
            self.patterns.append(Pattern(_CASES[call.name], False, True, f"{call.name.lower()}()"))

    def _is_trimmed(self, call: Call) -> bool:
        return call.name in _TRIMS and len(call.arguments) == 1 and self._is_mine(call.arguments[0])

    def _length(self, call: Call, sign: str, bound: float) -> None:
        """Find bounds of a text's length; LENGTH() of MariaDB counts bytes."""
        if len(call.arguments) != 1 or bound != int(bound):
            return
        (subject,) = call.arguments
        least = int(bound) + (sign == ">") if sign in ("=", ">", ">=") else 0
        most = int(bound) - (sign == "<") if sign in ("=", "<", "<=") else None
        if sign == "<>" and bound == 0:
            least = 1
        in_bytes = call.name in _BYTES or (call.name == "LENGTH" and self.system == "mariadb")
        if call.name not in (*_LENGTHS, *_BYTES):
            return
        if isinstance(subject, Call) and self._is_trimmed(subject):
            self.blank = self.blank and least == 0
        elif self._is_mine(subject):
            if least:
                (self.least_bytes if in_bytes and least > 1 else self.shortest).append(least)
            if most is not None:
                (self.bytes_ if in_bytes else self.longest).append(most)


def _common(found: list[tuple[str, ...]] | list[tuple[float, ...]]) -> Any:
    """The values that every list holds; None if there is no list."""
    if not found:
        return None
    return tuple(each for each in found[0] if all(each in other for other in found))


def _closed(sign: str, bound: float) -> float:
    """The nearest number that is allowed."""
    if sign in (">=", "<="):
        return bound
    return math.nextafter(bound, math.inf if sign == ">" else -math.inf)


def _regex(text: str) -> str | None:
    """A regular expression, if it means the same in Python."""
    if not _PLAIN.fullmatch(text) or "(?" in text:
        return None
    try:
        re.compile(text)
    except re.error:
        return None
    return text


def _like(text: str) -> str | None:
    if "\\" in text:
        return None
    return "^" + re.escape(text).replace("%", ".*").replace("_", ".") + r"\Z"


def _glob(text: str) -> str | None:
    parts = re.split(r"(\[[^\]\[\\]+\]|\*|\?)", text)
    known = {"*": ".*", "?": "."}
    return (
        "^" + "".join(known.get(each) or (each if each.startswith("[") else re.escape(each)) for each in parts) + r"\Z"
    )


_TRANSLATED: Final[dict[str, tuple[Callable[[str], str | None], bool]]] = {
    "regex": (_regex, False),
    "iregex": (_regex, True),
    "match": (_regex, True),
    "like": (_like, False),
    "ilike": (_like, True),
    "glob": (_glob, False),
}
"""How a pattern becomes one of Python, and whether case means nothing."""
