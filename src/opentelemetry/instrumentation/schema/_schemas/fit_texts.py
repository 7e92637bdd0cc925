"""Finds conflicts between a field and a column of texts or bytes, when values are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from . import describe, fit_numbers, fit_values
from .fields import TypeSpec
from .fit_columns import Capacity, System
from .fit_findings import Conflict

_SIZES: Final = {"integer": 64, "number": 24, "date": 10, "datetime": 32, "time": 21, "uuid": 36}
"""Kind → characters of the longest text that a database makes of a value."""
_NAIVE: Final = 26
_NARROW: Final = ("UTF8MB3", "UTF8", "UCS2")
"""Character sets of MariaDB without the characters after U+FFFF."""
_SAMPLES: Final = ("", " ", "  ")
_LETTERS: Final = "xX0é-"
_TRIED: Final = 16
"""Characters of the longest text that we try."""


def length_text(type_: TypeSpec) -> str:
    """How long a field's texts can be, in words."""
    longest = fit_values.longest(type_)
    return "texts of any length" if longest is None else f"texts of up to {longest} characters"


def check_string(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts of a field with a column of texts."""
    kind, system = type_.kind, column.system
    if kind in ("string", "enum"):
        if column.values and kind == "enum":
            missing = tuple(each for each in type_.values if each not in column.values)
            if missing:
                yield Conflict("enum", "refused", describe.values_text(missing), describe.values_text(column.values))
        elif column.values:
            yield Conflict("enum", "refused", length_text(type_), describe.values_text(column.values))
        yield from _text_length(type_, column)
    elif kind == "bytes":
        if system == "postgresql":
            yield fit_numbers.wrong_type(type_, column, "altered")
        elif system == "mariadb":
            yield fit_numbers.wrong_type(type_, column, "refused")  # bytes that are no text
    elif kind in ("list", "set", "tuple", "map", "object"):
        written = kind == "list" and system != "sqlite"
        yield fit_numbers.wrong_type(type_, column, "altered" if written else "refused")
    elif kind == "duration":
        yield fit_numbers.wrong_type(type_, column, "refused" if system == "sqlite" else "altered")
    elif kind == "datetime" and type_.timezone != "naive" and system != "sqlite":
        yield fit_numbers.wrong_type(type_, column, "altered")
    elif system == "sqlite" and kind in ("decimal", "uuid", "time"):
        yield fit_numbers.wrong_type(type_, column, "refused")
    elif system == "sqlite" and kind == "number":
        yield fit_numbers.wrong_type(type_, column, "altered")
    elif _too_great_for_text(type_, system):
        yield fit_numbers.wrong_type(type_, column, "refused" if system == "sqlite" or kind == "number" else "altered")
    else:
        yield from _as_text(type_, column)


def _too_great_for_text(type_: TypeSpec, system: System) -> bool:
    """Whether numbers are too large for an exact conversion to text: SQLite has 64 bits, MariaDB 65 digits."""
    if type_.kind == "number":
        return system == "mariadb" and fit_values.has_infinity(type_)
    digits = {"sqlite": 18, "mariadb": 65}.get(system)
    if digits is None or type_.kind not in ("integer", "decimal"):
        return False
    least, most = fit_values.low(type_), fit_values.high(type_)
    return least is None or most is None or max(abs(least), abs(most)) >= 10**digits


def _text_length(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    try:
        longest = fit_values.longest(type_)
    except fit_values.UnknownWidthError:
        return
    if column.padded and fit_values.shortest(type_) < (column.max_length or 0):
        why = "The app reads back shorter texts with spaces at the end."
        yield Conflict("length", "altered", length_text(type_), column.sql, why)
    # A pattern or format may leave out the characters that the column's set lacks.
    if column.charset and type_.pattern is None and type_.format is None:
        texts = tuple(map(str, type_.values)) if type_.kind == "enum" else ("\N{GRINNING FACE}",)
        if not all(_has(column.charset, text) for text in texts):
            why = "The database refuses characters that are not in the column's character set."
            yield Conflict("range", "refused", "any character", column.sql, why)
    if column.max_length is not None and (longest is None or longest > column.max_length):
        yield Conflict("length", "refused", length_text(type_), f"{column.sql}, {column.max_length} characters")
    if column.max_bytes is not None:
        if type_.kind == "enum":
            bytes_: int | None = max((len(str(each).encode()) for each in type_.values), default=0)
        else:
            bytes_ = None if longest is None else longest * column.char_bytes
        if bytes_ is None or bytes_ > column.max_bytes:
            yield Conflict("length", "refused", length_text(type_), f"{column.sql}, {column.max_bytes} bytes")
    yield from _checked(type_, column)


def _has(charset: str, text: str) -> bool:
    """Whether a character set of MariaDB has every character of a text."""
    if charset in _NARROW:
        return all(ord(char) <= 0xFFFF for char in text)
    try:
        text.encode(charset)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _checked(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find texts that the field surely accepts and a CHECK surely refuses."""
    texts = [str(each) for each in type_.values] if type_.kind == "enum" else list(_samples(type_, column))
    if any(len(each) < column.min_length for each in texts):
        yield Conflict("length", "refused", "shorter texts", f"a CHECK of at least {column.min_length} characters")
    elif any(len(each.encode()) < column.min_bytes for each in texts):
        yield Conflict("length", "refused", "shorter texts", f"a CHECK of at least {column.min_bytes} bytes")
    elif not column.blank and not all(each.strip(" ") for each in texts):
        yield Conflict("length", "refused", "texts of spaces alone", "a CHECK that refuses them")
    fold = str.lower if column.system == "mariadb" else str
    refused = {fold(each) for each in column.excluded if isinstance(each, str)}
    found = tuple(each for each in texts if fold(each) in refused)
    if found:
        yield Conflict("enum", "refused", describe.values_text(found), "a CHECK that refuses them")
    pattern = next((each for each in column.patterns if any(map(each.refuses, texts))), None)
    if pattern is not None:
        way = "a CHECK that refuses" if pattern.negated else "a CHECK that demands"
        yield Conflict("range", "refused", length_text(type_), f"{way} {pattern.text!r}")


def _samples(type_: TypeSpec, column: Capacity) -> Iterator[str]:
    """Short texts that a field surely accepts."""
    if not column.min_length and not column.min_bytes and column.blank and not column.excluded and not column.patterns:
        return
    least = type_.min_length or 0
    sizes = {least, least + 1, 3, column.min_length - 1, type_.max_length or 1}
    texts = [*_SAMPLES, *(letter * size for letter in _LETTERS for size in sorted(sizes) if 0 < size <= _TRIED)]
    texts += [each for each in column.excluded if isinstance(each, str)]
    yield from (each for each in texts if _accepts(type_, each))


def _accepts(type_: TypeSpec, text: str) -> bool:
    """Whether a field surely accepts a text, and passes it on as it is."""
    most = len(text) if type_.max_length is None else type_.max_length
    if type_.format is not None or type_.checks or not (type_.min_length or 0) <= len(text) <= most:
        return False
    if (type_.strip and text != text.strip()) or (type_.case is not None and text != getattr(text, type_.case)()):
        return False
    try:
        return type_.pattern is None or (len(text) <= _TRIED and re.search(type_.pattern, text) is not None)
    except re.error:
        return False


def _as_text(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts of values that a database converts to text, which the model reads back."""
    size: int | None = _SIZES.get(type_.kind)
    if type_.kind == "integer":
        least, most = fit_values.low(type_), fit_values.high(type_)
        size = None if least is None or most is None else max(len(str(int(least))), len(str(int(most))))
    elif type_.kind == "decimal":
        digits = fit_values.digits(type_)
        size = None if digits is None else digits + 3
    elif type_.kind == "datetime":
        size = _NAIVE
    elif type_.kind == "boolean":
        size = 5 if column.system == "postgresql" else 1
    limits = [each for each in (column.max_length, column.max_bytes) if each is not None]
    if limits and (size is None or size > min(limits)):
        yield Conflict("length", "refused", describe.type_text(type_), column.sql)


def check_object(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts of URLs, addresses and secrets: objects that only some drivers write."""
    name = (type_.format or "").partition(":")[0]
    if column.kind != "string":
        if column.kind != "custom":
            yield fit_numbers.wrong_type(type_, column, "refused")
    elif column.system == "mariadb":
        if name == "password":
            yield fit_numbers.wrong_type(type_, column, "altered")
        elif column.max_length is not None or column.max_bytes is not None:
            yield from _text_length(type_, column)
    else:
        address = name.startswith("ip") and column.system == "postgresql"
        yield fit_numbers.wrong_type(type_, column, "altered" if address else "refused")


def check_bytes(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts of a field with a column of bytes."""
    if type_.kind != "bytes" or type_.format == "password":
        yield fit_numbers.wrong_type(type_, column, "refused")
        return
    if column.padded and (type_.min_length or 0) < (column.max_length or 0):
        why = "The app reads back shorter values with zero bytes at the end."
        yield Conflict("length", "altered", "fewer bytes", column.sql, why)
    if column.max_length is not None and (type_.max_length is None or type_.max_length > column.max_length):
        accepted = "bytes of any length" if type_.max_length is None else f"up to {type_.max_length} bytes"
        yield Conflict("length", "refused", accepted, f"{column.sql}, {column.max_length} bytes")
    elif (type_.min_length or 0) < column.min_length:
        yield Conflict("length", "refused", "fewer bytes", f"a CHECK of at least {column.min_length} bytes")
