"""Finds conflicts when a database stores the values that a field accepts.

Every rule here was seen on real databases, with the drivers psycopg, PyMySQL and sqlite3 (`tests/compatibility`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from . import describe, fit_foreign, fit_numbers, fit_texts, fit_values
from .fields import SchemaSpec, TypeSpec, without_null
from .fit_columns import Capacity
from .fit_findings import Conflict, Effect

_EMULATED: Final = 60_000 * 86_400.0
"""Seconds around 1970 within which a duration is always a valid datetime."""


def find_conflicts(
    type_: TypeSpec, column: Capacity, library: str, document: Mapping[str, SchemaSpec]
) -> list[Conflict]:
    """Find conflicts when the values of a field are written.

    Args:
        type_: What the field accepts.
        column: What the column keeps.
        library: Of the schema: it decides which objects values are.
        document: Where named schemas are looked up.
    """
    found: list[Conflict] = []
    null = type_.nullable or (type_.kind == "any" and library == "pydantic" and not type_.checks)
    if null and not column.nullable and not column.json_null:
        found.append(Conflict("nullable", "refused", "null is accepted", "NOT NULL"))
    if column.converted:
        return found
    if column.kind == "custom":
        return found + list(fit_foreign.find_written(without_null(type_), column, library))
    rest = _values(without_null(type_), column, library, document)
    other = [each for each in rest if each.kind == "type"]
    return found + _distinct(other or rest)


def _distinct(found: list[Conflict]) -> list[Conflict]:
    """Keep one conflict per kind, preferably one that alters the value."""
    best: dict[str, Conflict] = {}
    for each in found:
        if each.kind not in best or each.effect == "altered":
            best[each.kind] = each
    return list(best.values())


def _values(type_: TypeSpec, column: Capacity, library: str, document: Mapping[str, SchemaSpec]) -> list[Conflict]:
    if type_.kind in ("any", "custom", "never", "null") or type_.format == "json":
        return []
    if _decided_by_code(type_):
        return []
    if type_.kind == "union":
        kinds = {member.kind for member in type_.members}
        if column.kind == "string" and "string" in kinds and kinds & {"integer", "number", "decimal", "date"}:
            return [fit_numbers.wrong_type(type_, column, "altered")]  # a number comes back as text
        return [each for member in type_.members for each in _values(member, column, library, document)]
    if _comes_back_as_another_type(type_, column, library):
        return [fit_numbers.wrong_type(type_, column, "altered")]
    if column.kind == "any":
        return list(_json(type_, column, library, document, frozenset()))
    if column.kind == "enum":
        return list(_labels(type_, column))
    if type_.kind == "enum":
        return _enum(type_, column, library, document)
    if column.kind == "list":
        return list(_array(type_, column, library, document))
    if fit_values.is_object(type_, library):
        return list(fit_texts.check_object(type_, column))
    rule = _RULES.get(column.kind)
    return list(rule(type_, column)) if rule is not None else []


def _comes_back_as_another_type(type_: TypeSpec, column: Capacity, library: str) -> bool:
    """Whether a column returns values of a type that the library does not convert when it writes them."""
    if library == "marshmallow":
        moment = type_.kind in ("date", "datetime", "time", "duration") and column.kind == "string"
        return moment or (type_.kind == "date" and column.kind == "datetime")
    if library != "jsonschema":
        return False
    if column.kind == "string":
        return type_.kind in ("integer", "number", "boolean") or fit_values.as_numbers(type_) is not None
    return type_.kind == "boolean" and column.kind in ("integer", "number", "decimal")


def _decided_by_code(type_: TypeSpec) -> bool:
    """Whether a validator may change or narrow the values, so that the type does not tell them."""
    return bool(type_.checks)


# -- enums


def _enum(type_: TypeSpec, column: Capacity, library: str, document: Mapping[str, SchemaSpec]) -> list[Conflict]:
    """Members or values of an enum in a column of another type."""
    if type_.names:  # members that no driver knows
        return [fit_numbers.wrong_type(type_, column, "refused" if column.system == "sqlite" else "altered")]
    if fit_values.as_numbers(type_) is not None:
        if column.system == "mariadb" and library == "pydantic" and fit_values.has_fractions(type_):
            return [fit_numbers.wrong_type(type_, column, "refused")]  # the driver writes the member's name
        if column.system == "sqlite" and column.kind == "integer" and fit_values.has_fractions(type_):
            return []  # SQLite stores 8-byte floats in any column
        return _values(fit_values.as_numbers(type_) or type_, column, library, document)
    if fit_values.is_texts(type_) and column.kind == "string":
        return list(fit_texts.check_string(type_, column))
    if fit_values.is_texts(type_):
        if column.system == "sqlite" and column.kind == "integer" and not any(map(_numeric_text, type_.values)):
            return []  # SQLite stores texts in any column
        return _values(TypeSpec(kind="string"), column, library, document)
    texts = tuple(each for each in type_.values if isinstance(each, str))
    numbers = tuple(each for each in type_.values if isinstance(each, (int, float)) and not isinstance(each, bool))
    if not texts or not numbers:
        return []
    if column.kind == "string":
        return [fit_numbers.wrong_type(type_, column, "altered")]  # a number comes back as text
    parts = (replace(type_, values=each) for each in (texts, numbers))
    return [each for part in parts for each in _enum(part, column, library, document)]


def _numeric_text(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _labels(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    """Find conflicts with an enum column. SQLAlchemy passes unknown texts on, and the database decides."""
    labels = set(column.values)
    shown = describe.values_text(column.values)
    if type_.kind == "string":
        refuses = column.system == "postgresql"
        yield Conflict("enum", "refused" if refuses else "altered", fit_texts.length_text(type_), shown)
        return
    if type_.kind != "enum":
        yield fit_numbers.wrong_type(type_, column, "refused")
        return
    known = set(column.members)
    if known and type_.names:  # members of the column's own class, most likely
        by_name = type_.values == type_.names  # marshmallow's Enum
        missing = [each for each in type_.values if each not in (labels if by_name else known)]
    elif type_.names:  # members of a class that SQLAlchemy does not know
        missing = list(type_.values)
    elif known and column.pure:
        missing = [each for each in type_.values if each not in labels]
        if not missing:
            why = "The app reads back a member of the enum, not the text that it wrote."
            yield Conflict("enum", "altered", describe.values_text(type_.values), shown, why)
    elif known:
        missing = [each for each in type_.values if each not in known and each not in labels]
    else:
        missing = [each for each in type_.values if each not in labels]
    turned = tuple(each for each in type_.values if known and not type_.names and each in labels and each not in known)
    if turned and not missing and not column.pure:
        why = "The app reads back a member of the enum, not the label that it wrote."
        yield Conflict("enum", "altered", describe.values_text(turned), shown, why)
    if missing:
        effect: Effect = "altered" if column.system == "sqlite" else "refused"
        yield Conflict("enum", effect, describe.values_text(tuple(missing)), shown)


# -- moments


def _date(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if type_.kind == "datetime":
        yield fit_numbers.wrong_type(type_, column, "altered")
    elif type_.kind != "date":
        text = type_.kind == "string" and column.system != "sqlite"
        yield fit_numbers.wrong_type(type_, column, "altered" if text else "refused")
    else:
        yield from _days(type_, column, "days")


def _days(type_: TypeSpec, column: Capacity, what: str) -> Iterator[Conflict]:
    """Find days that a field accepts before or after those of a column."""
    least, most = type_.ge or type_.gt, type_.le or type_.lt
    below = column.first is not None and not (isinstance(least, str) and least[:10] >= column.first)
    above = column.last is not None and not (isinstance(most, str) and most[:10] <= column.last)
    if below or above:
        first, last = column.first or "any", column.last or "any"
        yield Conflict("range", "refused", f"{what} of any year", f"{column.sql}, {first} to {last}")


def _moment(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    fits = ("datetime", "date") if column.kind == "datetime" else ("time",)
    if type_.kind not in fits:
        text = type_.kind == "string" and column.system != "sqlite"
        yield fit_numbers.wrong_type(type_, column, "altered" if text else "refused")
        return
    yield from _days(type_, column, "moments")
    if type_.kind == "date":
        return
    accepted = type_.timezone or "naive and aware"
    if column.aware and type_.timezone in (None, "naive"):
        why = "The server reads the value in the session's time zone."
        yield Conflict("timezone", "altered", f"{accepted} moments", column.sql, why)
    elif not column.aware and type_.timezone != "naive":
        why = "The time zone is lost: a value in another zone than the session's becomes another moment."
        yield Conflict("timezone", "altered", f"{accepted} moments", f"{column.sql}, without time zone", why)
    if column.fraction < 6:
        yield Conflict("precision", "altered", "microseconds", f"{column.sql}, {column.fraction} digits of a second")


def _duration(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    if type_.kind != "duration":
        yield fit_numbers.wrong_type(type_, column, "refused")
        return
    if column.fraction < 6:
        kept = "microseconds" if column.fraction >= 0 else "hours, minutes and seconds"
        yield Conflict("precision", "altered", kept, column.sql)
    if not column.sql.startswith("INTERVAL"):
        least, most = type_.ge or type_.gt, type_.le or type_.lt
        bounded = isinstance(least, (int, float)) and isinstance(most, (int, float))
        if not bounded or max(abs(float(least or 0)), abs(float(most or 0))) > _EMULATED:
            yield Conflict("range", "refused", "durations of any length", f"{column.sql}, a moment around 1970")


def _uuid(type_: TypeSpec, column: Capacity) -> Iterator[Conflict]:
    textual = column.python == "text"
    if type_.kind == "uuid":
        if textual and column.system == "sqlite":
            yield fit_numbers.wrong_type(type_, column, "refused")
        elif column.system == "sqlite" and column.sql in ("UUID", "NUMERIC"):
            why = "SQLite takes this type for a number: texts of digits alone come back as numbers."
            yield Conflict("type", "altered", "uuid", column.sql, why)
    elif not (textual and type_.kind == "string" and (type_.pattern or (type_.format or "").startswith("uuid"))):
        text = type_.kind == "string" and column.system != "sqlite" and not textual
        yield fit_numbers.wrong_type(type_, column, "altered" if text else "refused")


# -- arrays and JSON


def _array(type_: TypeSpec, column: Capacity, library: str, document: Mapping[str, SchemaSpec]) -> Iterator[Conflict]:
    """Find conflicts with an array. PostgreSQL takes any dimensions, but all lists of one must be equally long."""
    depth, inner = 1, list(_items(type_))
    while inner and all(each.kind in _LISTS for each in inner):
        depth, inner = depth + 1, [item for each in inner for item in _items(each)]
    if type_.kind not in _LISTS or depth < column.sql.count("[]"):
        yield fit_numbers.wrong_type(type_, column, "refused")
        return
    if depth > 1 and not all(each.min_length == each.max_length is not None for each in _items(type_)):
        why = "The database refuses an array of lists that are not equally long."
        yield Conflict("length", "refused", "lists of any length", column.sql, why)
    if column.items is not None:
        for item in inner:
            for each in _values(without_null(item), column.items, library, document):
                # SQLAlchemy casts to the array's type, and a cast truncates.
                yield replace(each, effect="altered") if each.kind == "length" else each


_LISTS: Final = ("list", "tuple", "set")


def _items(type_: TypeSpec) -> Iterator[TypeSpec]:
    """The types of a list's items."""
    yield from (type_.prefix if type_.items is None else (type_.items, *type_.prefix))


_PLAIN: Final = ("boolean", "integer", "number", "string", "any", "custom", "null", "never")


def _json(
    type_: TypeSpec, column: Capacity, library: str, document: Mapping[str, SchemaSpec], seen: frozenset[str]
) -> Iterator[Conflict]:
    """Find values that Python's JSON encoder does not know."""
    if type_.ref is not None and type_.kind == "object":
        if type_.ref in seen or type_.ref not in document:
            return
        seen = seen | {type_.ref}
        type_ = replace(document[type_.ref].type, nullable=False)
    if type_.checks and type_.kind != "object":
        return
    inner = [each for each in (type_.items, type_.keys, *type_.prefix, *type_.members) if each is not None]
    inner += [each.type for each in type_.fields if each.written != "never"]
    if type_.kind == "enum":
        if type_.names:
            yield fit_numbers.wrong_type(type_, column, "refused")
    elif fit_values.has_infinity(type_) and column.system != "sqlite":
        yield Conflict("range", "refused", "infinity and NaN", column.sql, minor=True)
    elif fit_values.is_object(type_, library):
        yield fit_numbers.wrong_type(type_, column, "refused")
    elif type_.kind in ("list", "tuple", "map", "object", "union"):
        for each in inner:
            yield from _json(each, column, library, document, seen)
    elif type_.kind not in _PLAIN:
        yield fit_numbers.wrong_type(type_, column, "refused")


_RULES: Final[Mapping[str, Callable[[TypeSpec, Capacity], Iterator[Conflict]]]] = {
    "string": fit_texts.check_string,
    "bytes": fit_texts.check_bytes,
    "boolean": fit_numbers.check_boolean,
    "integer": fit_numbers.check_number,
    "number": fit_numbers.check_number,
    "decimal": fit_numbers.check_number,
    "date": _date,
    "datetime": _moment,
    "time": _moment,
    "duration": _duration,
    "uuid": _uuid,
}
"""By the kind of column."""
