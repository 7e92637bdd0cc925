"""What databases really do with the values that a model accepts, and models with the values that a column holds.

The truth that the comparison of API and database is measured by. A value *fits* if the database takes it and the model
reads the same value back. Else it is `refused`, or `altered`: it comes back as another value without an error.

Run it to write `fit_results.json` anew: `python -m tests.compatibility.fit_truth`.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import types as t
from sqlalchemy.dialects import mysql, postgresql

from tests.compatibility.fit_pairs import FITS, SYSTEMS, Fit
from tests.compatibility.fit_values import PROBES

RESULTS = Path(__file__).with_name("fit_results.json")
_COLUMNS: tuple[tuple[Any, str], ...] = (
    (t.Enum, "enum"), (t.Boolean, "boolean"), (t.Integer, "integer"), (t.Float, "number"), (t.Numeric, "decimal"),
    (t.LargeBinary, "bytes"), (t._Binary, "bytes"), (t.DateTime, "datetime"), (t.Date, "date"), (t.Time, "time"),
    (t.Interval, "duration"), (postgresql.INTERVAL, "duration"), (mysql.YEAR, "integer"),
    (t.JSON, "json"), (t.ARRAY, "list"), (t.Uuid, "uuid"), (t.String, "string"),
)  # fmt: skip
_NUMBERS = ("integer", "number", "decimal")
_READ = {
    "string_too_long": "length", "string_too_short": "length", "bytes_too_long": "length", "bytes_too_short": "length",
    "missing": "length", "too_long": "length", "too_short": "length", "string_pattern_mismatch": "pattern",
    "enum": "enum", "literal_error": "enum", "timezone_aware": "timezone", "timezone_naive": "timezone",
    "decimal_max_digits": "precision", "decimal_max_places": "precision", "decimal_whole_digits": "range",
    "int_from_float": "precision", "int_parsing_size": "range", "finite_number": "range",
    "datetime_past": "range", "datetime_future": "range", "date_past": "range", "date_future": "range",
    "greater_than": "range",
    "greater_than_equal": "range", "less_than": "range", "less_than_equal": "range",
}  # fmt: skip
"""Kinds by Pydantic's error types; all others are about the type."""


def column_kind(type_: Any) -> str:
    """The kind of values that a column holds."""
    type_ = getattr(type_, "data_type", type_)  # of a domain
    return next((kind for cls, kind in _COLUMNS if isinstance(type_, cls)), "other")


class Outcome:
    """What became of each value, and of the pair as a whole.

    Attributes:
        found: Direction → kind → `refused` or `altered`; of both, `altered`.
        values: Direction, kind, value and outcome of each value that did not fit.
        tried: Values in each direction.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {"write": {}, "read": {}}
        self.values: list[list[str]] = []
        self.tried = {"write": 0, "read": 0}

    def add(self, direction: str, kind: str, effect: str, value: Any, error: str = "") -> None:
        kinds = self.found[direction]
        kinds[kind] = "altered" if "altered" in (effect, kinds.get(kind)) else effect
        if sum(each[:3:2] == [direction, effect] and each[1] == kind for each in self.values) < 2:
            self.values.append([direction, kind, effect, _short(value), error])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:20]}… ({len(text)})"


def try_fit(fit: Fit, engine: Any) -> Outcome:
    """Try every probe in both directions on an empty database."""
    model, table = fit.build()
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.metadata.create_all(engine)
        try:
            with engine.connect() as connection:
                trial = _Trial(model, table, connection, outcome, fit.own_values())
                trial.write()
                if "a" in table.c:
                    trial.read()
                    trial.default()
        finally:
            table.metadata.drop_all(engine)
    return outcome


class _Trial:
    def __init__(self, model: Any, table: Any, connection: Any, outcome: Outcome, own: tuple[Any, ...]) -> None:
        self.own = own
        self.model, self.table, self.connection, self.outcome = model, table, connection, outcome
        self.type = table.c.a.type if "a" in table.c else None
        self.kind = column_kind(self.type)
        info = model.model_fields["a"]
        self.wire = info.alias or "a"
        self.others = {name: 1 for name in model.model_fields if name != "a"}

    def validated(self, value: Any) -> Any:
        return self.model.model_validate({**self.others, self.wire: value})

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        transaction = self.connection.begin()
        try:
            yield
        finally:
            transaction.rollback()

    def stored(self, row: dict[str, Any]) -> Any:
        """The value that comes back.

        Raises:
            Unread: if the row went in and cannot be read.
        """
        with self._transaction():
            self.connection.execute(self.table.insert().values(**row))
            try:
                found = self.connection.execute(sa.select(self.table)).mappings().one()
            except Exception as error:
                raise UnreadableValueError(error) from error
            return found.get("a")

    def write(self) -> None:
        """What the database does with what the model accepts."""
        seen: set[str] = set()
        for value in (None, *self.own, *(each for values in PROBES.values() for each in values)):
            try:
                row = self.validated(value).model_dump()
            except ValidationError:
                continue
            except Exception:
                continue
            key = repr((type(row.get("a")), row.get("a")))
            if key in seen:
                continue
            seen.add(key)
            self.outcome.tried["write"] += 1
            self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        value = row.get("a")
        try:
            back = self.stored(row)
        except UnreadableValueError as error:
            self.outcome.add("write", self._kind(value, None, ""), "altered", value, str(error)[:80])
            return
        except Exception as error:
            said = str(error).split("\n", 1)[0]
            self.outcome.add("write", self._kind(value, None, said), "refused", value, said[:80])
            return
        if "a" in row and not self._same(value, back):
            kinds = self._moments(value, back) or {self._kind(value, back, "")}
            for kind in kinds:
                self.outcome.add("write", kind, "altered", value, f"back as {_short(back)}")

    def _same(self, value: Any, back: Any) -> bool:
        if value == back and type(value) is type(back):
            return True
        if isinstance(value, float) and isinstance(back, float):
            return value == back or (math.isnan(value) and math.isnan(back))
        if isinstance(value, float) and isinstance(back, Decimal):
            return value == float(back) or (math.isnan(value) and back.is_nan())
        try:
            read = self.validated(back).model_dump().get("a")
        except ValidationError:
            return False
        return bool(read == value)

    def _moments(self, value: Any, back: Any) -> set[str]:
        """Which parts of a moment were lost."""
        if not (isinstance(value, datetime) and isinstance(back, datetime)):
            return set()
        found = {"precision"} if value.microsecond != back.microsecond else set()
        one, other = value.replace(microsecond=0), back.replace(microsecond=0)
        if (one.tzinfo is None) != (other.tzinfo is None) or one != other:
            found.add("timezone")
        return found

    def _kind(self, value: Any, back: Any, error: str) -> str:
        """What a value that did not fit shows."""
        low = error.lower()
        if self.type is None:
            return "missing-column"
        if "unconsumed" in low:
            return "missing-column"
        if (
            "generated column" in low
            or "generated always" in low
            or 'column "b" can only be updated to default' in low
            or 'into column "b"' in low
        ):
            return "generated-column"
        if ('"b"' in low or ".b" in low or "'b'" in low) and "b" in self.table.c and "b" not in self.others:
            return "required-column"
        if value is None:
            return "nullable"
        return self._about(value, back, low, self.kind, self.type)

    def _about(self, value: Any, back: Any, error: str, kind: str, type_: Any) -> str:
        text = value.value if isinstance(value, enum.Enum) and isinstance(value, str) else value
        if any(said in error for said in ("not supported", "adapt", "cannot cast", "serializable")):
            return "type"
        if "too long" in error or "malformed array" in error:
            return "length"
        if "not iterable" in error:
            return "type"
        if "incorrect string value" in error and isinstance(text, str) and len(text) <= 20:
            return "range"  # else a text was cut within a character
        if kind == "list" and isinstance(value, list) and value:
            return self._about(value[0], back, error, column_kind(type_.item_type), type_.item_type)
        if kind == "enum" and isinstance(value, (str, enum.Enum)):
            return "enum"
        if "check constraint" in error or ("constraint" in error and "failed" in error and "not null" not in error):
            return self._checked() if isinstance(text, (str, bytes)) else "range"
        if kind == "string" and isinstance(text, str):
            return "length"
        if kind == "bytes" and isinstance(value, bytes):
            return "length"
        if kind in _NUMBERS and isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return "precision" if _near(value, back) else "range"
        if kind in ("datetime", "time") and isinstance(value, (datetime, time)) and not _other_kind(value, kind):
            if value.tzinfo is not None and back is not None:
                return "timezone"
            return "precision" if back is not None else "range"
        if kind == "duration" and isinstance(value, timedelta):
            return "precision" if back is not None and abs(value - back) < timedelta(seconds=1) else "range"
        if kind == "date" and type(value) is date:
            return "range"
        return "type"

    def _ignored(self, column: Any) -> bool:
        """Whether the column is an identity and the database has none."""
        return column.identity is not None and not self.connection.dialect.supports_identity_columns

    def _checked(self) -> str:
        """What a CHECK demands that refuses a text."""
        everywhere = (*self.table.constraints, *self.table.c.a.constraints)
        checks = [str(each.sqltext) for each in everywhere if isinstance(each, sa.CheckConstraint)]
        text = " ".join((*checks, str(getattr(self.type, "check", ""))))
        if re.search(r"length|''|trim\(", text):
            return "length"
        return "range" if re.search(r"~|LIKE|GLOB|REGEXP|lower|upper", text) else "enum"

    def read(self) -> None:
        """What the model does with what the column holds. What a JSON column holds no table says."""
        kinds = {"enum": "string", "other": "", "json": ""}.get(self.kind, self.kind)
        own = tuple(each for each in self.own if self.kind == "other" or kinds in _kinds(each))
        if self.kind == "number":
            own += tuple(float(each) for each in self.own if isinstance(each, (int, Decimal)))
        values = (None, *own, *PROBES.get(kinds, ()))
        seen: set[str] = set()
        base = {
            column.name: 1
            for column in self.table.c
            if column.name == "b" and not column.nullable and (column.server_default is None or self._ignored(column))
        }
        for value in values:
            if value is None and not self.table.c.a.nullable:
                continue
            try:
                back = self.stored({**base, "a": value})
            except Exception:
                continue
            if repr(back) in seen:
                continue
            seen.add(repr(back))
            self.outcome.tried["read"] += 1
            try:
                self.validated(back)
            except ValidationError as error:
                found = {"nullable"} if back is None else {_READ.get(each["type"], "type") for each in error.errors()}
                self.outcome.add(
                    "read", found.pop() if len(found) == 1 else "type", "refused", back, error.errors()[0]["type"]
                )

    def default(self) -> None:
        """Whether a row gets another value by the model's default than by the column's."""
        column = self.table.c.a
        if self.model.model_fields["a"].is_required() or (column.server_default is None and column.default is None):
            return
        made = self.model.model_validate(self.others).model_dump()
        with contextlib.suppress(Exception):
            by_model = self.stored(made)
            by_table = self.stored({name: value for name, value in made.items() if name != "a"})
            if by_model != by_table:
                self.outcome.add("write", "default", "altered", made["a"], f"the table's is {_short(by_table)}")


def _kinds(value: Any) -> tuple[str, ...]:
    """The kinds of columns that a value is natural for."""
    return tuple(kind for kind, values in PROBES.items() if any(type(each) is type(value) for each in values))


class UnreadableValueError(Exception):
    """A value went in and cannot be read."""


def _other_kind(value: Any, kind: str) -> bool:
    return isinstance(value, datetime) != (kind == "datetime")


def _near(value: Any, back: Any) -> bool:
    if back is None or isinstance(back, str):
        return False
    try:
        one, other = float(value), float(back)
    except (OverflowError, ValueError):
        return False
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) <= max(1.0, abs(one) * 1e-3)


def try_fits(fits: list[Fit], engines: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What happened: system → pair → facts."""
    found: dict[str, dict[str, Any]] = {system: {} for system in engines}
    for system, engine in engines.items():
        for fit in fits:
            if system in fit.systems:
                outcome = try_fit(fit, engine)
                found[system][fit.name] = {**outcome.found, "tried": outcome.tried, "values": outcome.values}
    return found


def dumps(found: dict[str, dict[str, Any]]) -> str:
    """One line a pair and system."""
    systems = []
    for system, fits in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(facts)}" for name, facts in fits.items())
        systems.append(f"{json.dumps(system)}: {{\n{lines}\n}}")
    return "{" + ",\n".join(systems) + "}\n"


@contextlib.contextmanager
def engines() -> Iterator[dict[str, Any]]:
    """Empty databases of all three kinds."""
    from tests.databases import mariadb_server, postgresql_server

    with postgresql_server() as first, mariadb_server() as second:
        urls = dict(zip(SYSTEMS, (first.fresh(), second.fresh(), "sqlite://"), strict=True))
        yield {system: sa.create_engine(url) for system, url in urls.items()}


if __name__ == "__main__":
    with engines() as each:
        RESULTS.write_text(dumps(try_fits(FITS, each)))
