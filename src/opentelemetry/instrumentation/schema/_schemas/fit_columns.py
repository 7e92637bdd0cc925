"""What a column keeps unchanged, in each kind of database.

Read from the column's SQL text, as its own dialect writes it: `VARCHAR(5)`, `TINYINT UNSIGNED`, `DATETIME(3)`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from . import fit_checks
from .fields import FieldSpec, Scalar, TypeKind, TypeSpec

System = Literal["postgresql", "mariadb", "sqlite"]
SYSTEMS: Final[tuple[System, ...]] = ("postgresql", "mariadb", "sqlite")
NAMES: Final[dict[System, str]] = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}

_ALSO: Final[dict[str, System]] = {"mysql": "mariadb", "cockroachdb": "postgresql"}
_SQL: Final = re.compile(
    r"\s*([A-Za-z_]+(?: PRECISION| VARYING)?)\s*(?:\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\))?(.*)", re.DOTALL
)
_BITS: Final = {
    "TINYINT": 8, "BOOL": 8, "SMALLINT": 16, "SMALLSERIAL": 16, "MEDIUMINT": 24, "INT": 32, "INTEGER": 32,
    "SERIAL": 32, "BIGINT": 64, "BIGSERIAL": 64,
}  # fmt: skip
_BYTES: Final[dict[str, int | None]] = {
    "TINYTEXT": 255, "TEXT": 2**16 - 1, "MEDIUMTEXT": 2**24 - 1, "LONGTEXT": None,
    "TINYBLOB": 255, "BLOB": 2**16 - 1, "MEDIUMBLOB": 2**24 - 1, "LONGBLOB": None,
}  # fmt: skip
"""Bytes that MySQL and MariaDB store in types without a length."""
_NATIONAL: Final = "CHARACTER SET UTF8MB3"
_CHARSETS: Final = {
    "UTF8MB3": 3, "UTF8": 3, "UCS2": 2, "LATIN1": 1, "ASCII": 1, "LATIN2": 1, "CP1250": 1, "CP1251": 1, "KOI8R": 1
}  # fmt: skip
"""Character sets of MySQL and MariaDB that lack characters, and the bytes of a character."""
_CODECS: Final = {"LATIN1": "cp1252", "ASCII": "ascii", "LATIN2": "iso8859_2", "KOI8R": "koi8_r"}
"""Python's name of a character set, if it is another one."""
_YEARS: Final = (1901, 2155)
_BLOBS: Final = (2**8 - 1, 2**16 - 1, 2**24 - 1)
"""BLOB(n) becomes the smallest of these that holds n."""
SINGLE: Final = 3.4028234e38
"""The greatest number of four bytes."""
DOUBLE: Final = 1.7976931348623157e308
_FIRST, _LAST = "1970-01-01", "2038-01-19"
"""Days of a TIMESTAMP of MySQL and MariaDB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The values that a column can store without change.

    Attributes:
        system: The kind of database.
        kind: The kind of values.
        sql: The type as the database writes it.
        nullable: Whether it holds null.
        max_length: In characters or bytes; None where there is no limit.
        max_bytes: Of a text, in bytes.
        padded: Whether shorter texts come back with blanks, and shorter bytes with zeros.
        charset: Its character set, if that lacks characters.
        char_bytes: Bytes of a character.
        low: The least number.
        high: The greatest number.
        digits: Of a decimal, all digits; None where there is no limit.
        places: Of a decimal, digits after the point; None where there is no limit.
        significant: Significant digits of a float: 15 or 6; None for all other types.
        infinite: Whether it keeps infinity.
        nan: Whether it keeps NaN.
        fraction: Digits of a second.
        aware: Whether it stores datetimes with a time zone.
        first: The first day, as ISO 8601 text; None where every one fits.
        last: The last day.
        values: Labels of an enum, or all texts that a CHECK allows.
        numbers: All numbers that a CHECK allows.
        excluded: Texts and numbers that a CHECK refuses.
        patterns: Patterns of a CHECK that texts must match.
        min_length: Characters or bytes that a CHECK demands.
        min_bytes: Bytes that a CHECK demands.
        blank: Whether a CHECK allows texts of spaces alone.
        caseless: Whether it treats texts as equal that differ only in case.
        members: For an enum, the Python values of the labels.
        pure: Whether those members are neither texts nor numbers.
        items: Of an array.
        json_null: Whether null is written as a value of JSON, which NOT NULL takes.
        converted: Whether code of the application converts values.
        python: What SQLAlchemy makes of the values, if not the usual: `float` of a decimal, `text` of a UUID.
    """

    system: System
    kind: TypeKind
    sql: str
    nullable: bool = False
    max_length: int | None = None
    max_bytes: int | None = None
    padded: bool = False
    charset: str = ""
    char_bytes: int = 4
    low: float | None = None
    high: float | None = None
    digits: int | None = None
    places: int | None = None
    significant: int | None = None
    infinite: bool = True
    nan: bool = True
    fraction: int = 6
    aware: bool = False
    first: str | None = None
    last: str | None = None
    values: tuple[Scalar, ...] = ()
    numbers: tuple[float, ...] = ()
    excluded: tuple[str | float, ...] = ()
    patterns: tuple[fit_checks.Pattern, ...] = ()
    min_length: int = 0
    min_bytes: int = 0
    blank: bool = True
    caseless: bool = False
    members: tuple[Scalar, ...] = ()
    pure: bool = False
    items: Capacity | None = None
    json_null: bool = False
    converted: bool = False
    python: str = ""

    @property
    def whole(self) -> int | None:
        """Digits of a decimal before the point; None where there is no limit."""
        return None if self.digits is None else self.digits - (self.places or 0)


def system_of(dialect: str) -> System | None:
    """The kind of database by the name of SQLAlchemy's dialect; None of one that is not known."""
    found = _ALSO.get(dialect, dialect)
    return next((each for each in SYSTEMS if each == found), None)


def column_capacity(column: FieldSpec, system: System, checks: tuple[str, ...] = ()) -> Capacity:
    """Compute the values that a column can store without change.

    Args:
        column: As `integrations.sqlalchemy.fields` reads it.
        system: The kind of database.
        checks: Texts of the table's CHECK constraints.
    """
    spec = column.column
    found = _capacity(column.type, spec.sql if spec is not None else "", system)
    members = spec.members if spec is not None else ()
    if found.items is not None and column.type.items is not None:
        found = replace(found, items=replace(found.items, members=members, pure=bool(column.type.items.names)))
    found = replace(
        found,
        nullable=column.type.nullable,
        members=members,
        pure=bool(column.type.names),
        python=column.type.format or "",
        json_null=column.type.kind == "any" and spec is not None and not spec.sql_null,
        converted=bool(column.type.checks),
    )
    return _checked(found, fit_checks.read_limits(column.name, checks, system))


def _checked(found: Capacity, check: fit_checks.CheckLimits) -> Capacity:
    """Narrow a capacity to what CHECK constraints allow."""
    if check.filled:
        found = replace(found, nullable=False)
    if found.kind in ("string", "bytes", "enum"):
        return _checked_texts(found, check)
    if found.kind in ("date", "datetime"):
        first = max((each for each in (found.first, check.first) if each is not None), default=None)
        last = min((each for each in (found.last, check.last) if each is not None), default=None)
        return replace(found, first=first, last=last)
    lows = [each for each in (found.low, check.low) if each is not None]
    highs = [each for each in (found.high, check.high) if each is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if found.kind == "integer":
        low, high = None if low is None else math.ceil(low), None if high is None else math.floor(high)
    endless = found.infinite and (check.low is None or check.high is None)
    return replace(found, low=low, high=high, infinite=endless, numbers=check.numbers or (), excluded=check.excluded)


def _checked_texts(found: Capacity, check: fit_checks.CheckLimits) -> Capacity:
    if check.values is not None and found.kind != "bytes":
        found = replace(found, values=check.values, caseless=found.system == "mariadb" or found.sql == "CITEXT")
    empty = "" in check.excluded
    padded = found.system == "mariadb"  # which ignores spaces at the end
    longest = [each for each in (found.max_length, check.longest) if each is not None]
    in_bytes = [each for each in (found.max_bytes, check.bytes_) if each is not None]
    if found.kind == "bytes":
        longest += in_bytes
    return replace(
        found,
        max_length=min(longest, default=None),
        max_bytes=min(in_bytes, default=None) if found.kind != "bytes" else found.max_bytes,
        min_length=max(check.shortest or 0, int(empty or not check.blank)),
        min_bytes=check.least_bytes or 0,
        blank=check.blank and not (empty and padded),
        excluded=tuple(each for each in check.excluded if each != ""),
        patterns=check.patterns,
    )


def _capacity(type_: TypeSpec, sql: str, system: System) -> Capacity:
    base = Capacity(system=system, kind=type_.kind, sql=sql)
    match = _SQL.match(sql.removeprefix("NATIONAL "))
    if match is None:
        return base
    name, first, second, rest = match[1].upper(), _int(match[2]), _int(match[3]), match[4].upper()
    unsigned = "UNSIGNED" in rest or "ZEROFILL" in rest
    if type_.kind in ("string", "bytes"):
        return _texts(base, name, first, _NATIONAL if sql.startswith(("NATIONAL ", "NCHAR", "NVARCHAR")) else rest)
    if type_.kind in ("integer", "boolean"):
        return _integer(base, name, first, unsigned)
    if type_.kind == "number":
        return _number(replace(base, places=type_.decimal_places), name, first, second, unsigned)
    if type_.kind == "decimal":
        found = _decimal(base, first, second)
        if type_.format == "float":
            found = _as_float(found)
        return replace(found, low=0) if unsigned else found
    if type_.kind in ("datetime", "time", "duration"):
        return _moment(base, name, first, rest, type_)
    if type_.kind == "enum":
        return replace(base, values=type_.values)
    if type_.kind == "list" and type_.items is not None:
        return replace(base, items=_capacity(type_.items, sql.replace("[]", ""), system))
    return base


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def _texts(base: Capacity, name: str, length: int | None, rest: str) -> Capacity:
    if base.system == "sqlite":
        return base
    if base.system == "mariadb" and base.kind == "string":
        named = re.search(r"(?:CHARACTER SET|CHARSET) (\w+)", rest) or re.search(r"COLLATE ([^\W_]+)_", rest)
        if named is not None and named[1] in _CHARSETS:
            base = replace(base, charset=_CODECS.get(named[1], named[1]), char_bytes=_CHARSETS[named[1]])
    if base.system == "mariadb" and name in _BYTES:
        needed = (length or 0) * (base.char_bytes if base.kind == "string" else 1)
        smallest = next((each for each in _BLOBS if each >= needed), None)  # which holds BLOB(5)
        limit = _BYTES[name] if length is None else smallest
        return replace(base, max_bytes=limit) if base.kind == "string" else replace(base, max_length=limit)
    if base.kind == "bytes":
        padded = name == "BINARY"
        return replace(base, max_length=length, padded=padded) if base.system == "mariadb" else base
    padded = name in ("CHAR", "CHARACTER", "BPCHAR", "NCHAR") and base.system == "postgresql"
    return replace(base, max_length=length, padded=padded)


def _integer(base: Capacity, name: str, bits_: int | None, unsigned: bool) -> Capacity:
    if name == "BIT":
        return replace(base, low=0, high=2 ** (bits_ or 1) - 1)
    if name == "YEAR":
        return replace(base, low=_YEARS[0], high=_YEARS[1])
    bits = 64 if base.system == "sqlite" else _BITS.get(name, 32)
    unsigned = unsigned or name == "OID"
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return replace(base, low=low, high=high)


def _number(base: Capacity, name: str, precision: int | None, places: int | None, unsigned: bool) -> Capacity:
    mariadb = base.system == "mariadb"
    single = {"postgresql": name == "REAL" or (name == "FLOAT" and precision is not None and precision < 25),
              "mariadb": name == "FLOAT" and (precision is None or precision < 25),
              "sqlite": False}[base.system]  # fmt: skip
    limit = SINGLE if single else DOUBLE
    if mariadb and precision is not None and places is not None:  # FLOAT(7, 2) is rounded
        limit = 10 ** (precision - places)
        base = replace(base, places=places)
    return replace(
        base,
        low=0 if unsigned else -limit,
        high=limit,
        significant=6 if single else 15,
        infinite=not mariadb,
        nan=base.system == "postgresql",
    )


def _decimal(base: Capacity, digits: int | None, places: int | None) -> Capacity:
    if base.system == "sqlite":  # a number of eight bytes, of which SQLAlchemy shows as many places as the type says
        return replace(
            base,
            places=10 if places is None else places,
            significant=15,
            low=-DOUBLE,
            high=DOUBLE,
            nan=False,
        )
    mariadb = base.system == "mariadb"
    if digits is None and mariadb:
        digits = 10
    if digits is None:
        return base
    bound = 10 ** (digits - (places or 0))
    return replace(base, digits=digits, places=places or 0, low=-bound, high=bound, infinite=False, nan=not mariadb)


def _as_float(found: Capacity) -> Capacity:
    """A decimal that SQLAlchemy returns as a float: as the database has it, but of 15 digits."""
    if found.system == "sqlite":
        return replace(found, places=None, significant=15)
    if found.digits is None or found.digits > _EXACT:
        limit = DOUBLE if found.high is None else found.high
        return replace(found, significant=_EXACT, low=-limit, high=limit)
    return found


_EXACT: Final = 15
"""Digits of a decimal that a float keeps."""


def _moment(base: Capacity, name: str, precision: int | None, rest: str, type_: TypeSpec) -> Capacity:
    if name == "INTERVAL" and base.system == "postgresql":
        cut = re.search(r"\((\d)\)", rest)  # INTERVAL DAY TO SECOND (3)
        if cut is not None:
            precision = int(cut[1])
        elif rest.strip() and "SECOND" not in rest:  # INTERVAL DAY
            precision = -1
        return replace(base, fraction=6 if precision is None else precision)
    if type_.precision == "seconds":
        return replace(base, fraction=0)
    if base.system == "sqlite" or name == "INTERVAL":
        return base
    if base.system == "mariadb":
        stamp = name == "TIMESTAMP"
        first, last = (_FIRST, _LAST) if stamp else (None, None)
        return replace(base, fraction=precision or 0, first=first, last=last)
    aware = "WITH TIME ZONE" in rest or name in ("TIMESTAMPTZ", "TIMETZ") or (not rest and type_.timezone == "aware")
    return replace(base, fraction=6 if precision is None else precision, aware=aware)
