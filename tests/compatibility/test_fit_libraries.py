"""What the comparison says of fields of marshmallow and JSON Schema, against what PostgreSQL does with their values."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
from collections.abc import Iterator
from typing import Any

import jsonschema
import marshmallow as ma
import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.schema._schemas.fit import compare
from opentelemetry.instrumentation.schema.integrations.jsonschema.fields import fields as read_json
from opentelemetry.instrumentation.schema.integrations.marshmallow.fields import fields as read_marshmallow
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields as read_table
from sqlalchemy.dialects import postgresql as pg

from tests.databases import Server


class Size(enum.Enum):
    """An enum whose members are no texts."""

    S = "small"
    L = "large"


_f, _range = ma.fields, ma.validate.Range(0, 100)
_hundreds = {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 300}
CASES: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "rounded": (_f.Decimal(places=2, validate=_range), sa.Numeric(5, 2), ("1.239", "99.999")),
    "not rounded": (_f.Decimal(validate=_range), sa.Numeric(5, 2), ("1.239",)),
    "aware": (_f.AwareDateTime(default_timezone=dt.timezone.utc), sa.DateTime(True), ("2026-01-02T12:00:00",)),
    "naive": (_f.NaiveDateTime(timezone=dt.timezone.utc), sa.DateTime(), ("2026-01-02T12:00:00+05:00",)),
    "any moment": (_f.DateTime(), sa.DateTime(), ("2026-01-02T12:00:00+05:00",)),
    "day in text": (_f.Date(), sa.Text(), ("2026-01-02",)),
    "day in moment": (_f.Date(), sa.DateTime(), ("2026-01-02",)),
    "by name": (_f.Enum(Size), sa.Enum(Size), ("S", "L")),
    "by value": (_f.Enum(Size, by_value=True), sa.Enum(Size), ("small",)),
    "member in labels": (_f.Enum(Size, by_value=True), sa.Enum("small", "large", name="sizes"), ("small",)),
    "address": (_f.IP(), pg.INET(), ("10.0.0.1",)),
    "text of an address": ({"type": "string", "format": "ipv4"}, pg.INET(), ("10.0.0.1",)),
    "number in text": ({"type": "integer", "minimum": 0, "maximum": 9}, sa.Text(), (5,)),
    "boolean in integer": ({"type": "boolean"}, sa.Integer(), (True,)),
    "numbers in text": ({"enum": [1, 5]}, sa.Text(), (1, 5)),
    "halves": (_hundreds, sa.Numeric(5, 2), (0.5, 299.5)),
    "object in an address": ({"type": "object"}, pg.INET(), ({"a": "b"},)),
}
"""Case → field, column, and values as they arrive."""


@pytest.fixture
def engine(postgresql: Server) -> Iterator[Any]:
    found = sa.create_engine(postgresql.fresh())
    yield found
    found.dispose()


def _loader(field: Any) -> tuple[Any, Any]:
    """The document of a schema with a field, and what turns values that arrive into those of the app."""
    if isinstance(field, dict):
        schema = {"title": "RowIn", "type": "object", "properties": {"a": field}, "required": ["a"]}
        validator = jsonschema.Draft202012Validator(schema)

        def load(value: Any) -> Any:
            validator.validate({"a": value})
            return value

        return read_json(schema), load
    cls: Any = type("RowIn", (ma.Schema,), {"a": field})
    return read_marshmallow(cls), lambda value: cls().load({"a": value})["a"]


def _is_kept(engine: Any, table: Any, value: Any) -> bool:
    """Whether a database returns the value that it was given."""
    with engine.connect() as connection:
        table.create(connection)
        try:
            connection.execute(table.insert().values(a=value))
            back = connection.execute(sa.select(table.c.a)).scalar_one()
        except Exception:
            return False
        boolean = isinstance(value, bool) or isinstance(back, bool)
        return bool(back == value) and (type(back) is type(value) or not boolean)


def test_fields_of_other_libraries_are_compared_as_they_are_written(engine: Any) -> None:
    """Something is said of writing a field if and only if PostgreSQL refuses or changes one of its values."""
    wrong: dict[str, Any] = {}
    for name, (field, column, arriving) in CASES.items():
        table = sa.Table("rows", sa.MetaData(), sa.Column("a", column, nullable=False))
        if isinstance(column, sa.Enum):
            column.create(engine)
        document, load = _loader(field)
        kept = all(_is_kept(engine, table, load(value)) for value in arriving)
        found = next(iter(read_table(table, dialect=engine.dialect).values()))
        said = compare(next(iter(document.values())), document, found, "postgresql", declared=True)
        if kept == any(each.way == "write" for each in said):
            wrong[name] = (kept, said)
        with contextlib.suppress(AttributeError):
            column.drop(engine)
    assert not wrong
