"""Reads CHECK constraints on one column, if they are plain comparisons joined by AND.

Everything else says nothing here: it is never guessed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = r"\(?'?(-?\d+(?:\.\d+)?)'?\)?"
_CAST: Final = re.compile(r"::\s*[a-z_]+(?: varying| precision)?(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])?", re.IGNORECASE)
_TEXT: Final = re.compile(r"'((?:[^']|'')*)'")
_CHARSET: Final = re.compile(r"_(?:utf8mb4|utf8mb3|utf8|latin1)(?=\\?')", re.IGNORECASE)
_LONGEST: Final = 4000
"""The longest constraint that we read, in characters."""


@dataclass(frozen=True)
class CheckLimits:
    """The limits that CHECK constraints put on a column.

    Attributes:
        values: All texts that are allowed; None where every one is.
        low: The least number.
        high: The greatest number.
        longest: Characters of the longest text.
        filled: Whether it must not be null.
    """

    values: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    longest: int | None = None
    filled: bool = False


def read_limits(column: str, checks: tuple[str, ...]) -> CheckLimits:
    """Read the limits that a table's CHECK constraints put on a column.

    Args:
        column: Its name.
        checks: The constraints' texts, as a database or a model writes them, with or without `check` before them.
    """
    values: tuple[str, ...] | None = None
    lows, highs, lengths = list[float](), list[float](), list[int]()
    filled = False
    for part in (each for text in checks if len(text) <= _LONGEST for each in _parts(text)):
        name = rf"\(*(?:\w+\.)?{re.escape(column)}\)*"
        if match := re.fullmatch(rf"{name}\s*(?:in\s*\(|=\s*any\s*\(\s*\(?array\[)(.*?)\]?\)*", part, re.I | re.S):
            found = tuple(each.replace("''", "'") for each in _TEXT.findall(match[1]))
            if found and not re.sub(r"[\s,()]", "", _TEXT.sub("", match[1])):
                values = found if values is None else tuple(each for each in values if each in found)
            numbers = [] if found else re.findall(r"-?\d+(?:\.\d+)?", match[1])
            if numbers and not re.sub(r"[\d\s,().-]", "", match[1]):
                lows.append(min(map(float, numbers)))
                highs.append(max(map(float, numbers)))
        elif match := re.fullmatch(rf"{name}\s*(>=|>|<=|<)\s*{_NUMBER}\)*", part, re.I):
            sign, bound = match[1], float(match[2])
            (lows if sign[0] == ">" else highs).append(_closed(sign, bound))
        elif match := re.fullmatch(rf"{_NUMBER}\s*(>=|>|<=|<)\s*{name}", part, re.I):
            sign = match[2].replace("<", "~").replace(">", "<").replace("~", ">")
            (lows if sign[0] == ">" else highs).append(_closed(sign, float(match[1])))
        elif match := re.fullmatch(rf"{name}\s*between\s*{_NUMBER}\s*\x00\s*{_NUMBER}\)*", part, re.I):
            lows.append(float(match[1]))
            highs.append(float(match[2]))
        elif re.fullmatch(rf"{name}\s*\x01\)*", part, re.I):
            filled = True
        elif match := re.fullmatch(rf"\(*(?:char_|character_)?length\s*\({name}\)\s*(<=|<)\s*(\d+)\)*", part, re.I):
            lengths.append(int(match[2]) - (match[1] == "<"))
    return CheckLimits(values, max(lows, default=None), min(highs, default=None), min(lengths, default=None), filled)


def _closed(sign: str, bound: float) -> float:
    """The nearest number that is allowed."""
    if sign in (">=", "<="):
        return bound
    return math.nextafter(bound, math.inf if sign == ">" else -math.inf)


def _parts(text: str) -> list[str]:
    """Split a text into comparisons that must all hold; none if it contains OR or NOT."""
    text = re.sub(r"^\s*check\b", "", text, flags=re.IGNORECASE)
    text = _CHARSET.sub("", _CAST.sub("", text)).replace("`", "").replace('"', "").replace("\\'", "'")
    text = re.sub(r"\bis\s+not\s+null\b", "\x01", text, flags=re.IGNORECASE)
    bare = _TEXT.sub("''", text)
    if re.search(r"\b(or|not|case|like|null|coalesce)\b", bare, re.IGNORECASE):
        return []
    text = re.sub(r"(\bbetween\b\s*\S+)\s+and\b", "\\1 \x00", text, flags=re.IGNORECASE)
    parts = [_stripped(part) for part in re.split(r"\band\b", text, flags=re.IGNORECASE)]
    return [part for part in parts if part]


def _stripped(part: str) -> str:
    """Strip parentheses around a comparison, and unbalanced ones that belong to a neighbour."""
    part = " ".join(part.split())
    while part.startswith("(") and part.count("(") > part.count(")"):
        part = part[1:].strip()
    while part.endswith(")") and part.count(")") > part.count("("):
        part = part[:-1].strip()
    while part.startswith("(") and part.endswith(")") and _encloses(part):
        part = part[1:-1].strip()
    return part


def _encloses(part: str) -> bool:
    depth = 0
    for index, char in enumerate(part):
        depth += (char == "(") - (char == ")")
        if depth == 0 and index < len(part) - 1:
            return False
    return True
