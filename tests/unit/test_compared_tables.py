"""Tables in `diff`: what a change means for code of the old version, which runs until a deployment has ended."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.schema._schemas.compare import compare
from opentelemetry.instrumentation.schema._schemas.fields import Document
from opentelemetry.instrumentation.schema._schemas.verdicts import TABLES
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields

Column = sa.Column


def table(*columns: object, name: str = "leads") -> Document:
    return fields(sa.Table(name, sa.MetaData(), Column("id", sa.Integer, primary_key=True), *columns))


CASES = {
    "a table added": ({}, table(), {"table-added": ("compatible", "compatible")}),
    "a table removed": (table(), {}, {"table-removed": ("breaking", "breaking")}),
    "a table renamed": (
        table(),
        table(name="people"),
        {"table-removed": ("breaking", "breaking"), "table-added": ("compatible", "compatible")},
    ),
    "nothing": (table(), table(), {}),
    "a nullable column added": (
        table(),
        table(Column("note", sa.Text)),
        {"column-added": ("compatible", "compatible")},
    ),
    "a column added with a default of the database": (
        table(),
        table(Column("score", sa.Integer, nullable=False, server_default="0")),
        {"column-added": ("compatible", "compatible")},
    ),
    "a column added with a default of Python alone": (
        table(),
        table(Column("score", sa.Integer, nullable=False, default=0)),
        {"column-added": ("breaking", "compatible")},
    ),
    "a column removed": (
        table(Column("note", sa.Text)),
        table(),
        {"column-removed": ("breaking", "breaking")},
    ),
    "a computed column removed": (
        table(Column("twice", sa.Integer, sa.Computed("id * 2"))),
        table(),
        {"column-removed": ("compatible", "breaking")},
    ),
    "a column computed from now on": (
        table(Column("twice", sa.Integer)),
        table(Column("twice", sa.Integer, sa.Computed("id * 2"))),
        {"column-generated": ("breaking", "compatible")},
    ),
    "a column no longer computed": (
        table(Column("twice", sa.Integer, sa.Computed("id * 2"))),
        table(Column("twice", sa.Integer)),
        {"column-generated": ("unknown", "compatible")},
    ),
    "a column computed in another way": (
        table(Column("twice", sa.Integer, sa.Computed("id * 2"))),
        table(Column("twice", sa.Integer, sa.Computed("id * 3"))),
        {"column-default": ("compatible", "warning")},
    ),
    "another default of the database": (
        table(Column("score", sa.Integer, nullable=False, server_default="0")),
        table(Column("score", sa.Integer, nullable=False, server_default="1")),
        {"column-default": ("warning", "compatible")},
    ),
    "a key of fewer columns": (
        table(Column("tenant", sa.Integer, primary_key=True)),
        table(Column("tenant", sa.Integer, nullable=False)),
        {"constraint-added": ("unknown", "compatible"), "constraint-removed": ("compatible", "warning")},
    ),
    "a unique index of all rows": (
        table(Column("name", sa.String(9)), sa.Index("one", "name", unique=True, sqlite_where=sa.text("name > ''"))),
        table(Column("name", sa.String(9)), sa.Index("one", "name", unique=True)),
        {"constraint-added": ("unknown", "compatible"), "constraint-removed": ("compatible", "warning")},
    ),
    "another collation": (
        table(Column("name", sa.String(9))),
        table(Column("name", sa.String(9, collation="NOCASE"))),
        {"column-type": ("unknown", "unknown")},
    ),
    "a float of more digits": (
        table(Column("score", sa.REAL)),
        table(Column("score", sa.FLOAT)),
        {"column-type": ("compatible", "compatible")},
    ),
    "no default of the database any more": (
        table(Column("score", sa.Integer, nullable=False, server_default="0")),
        table(Column("score", sa.Integer, nullable=False)),
        {"column-required": ("breaking", "compatible")},
    ),
    "no longer nullable": (
        table(Column("note", sa.Text, default="")),
        table(Column("note", sa.Text, nullable=False)),
        {"null": ("breaking", "compatible")},
    ),
    "nullable from now on": (
        table(Column("note", sa.Text, nullable=False)),
        table(Column("note", sa.Text)),
        {"null": ("compatible", "warning")},
    ),
    "longer texts": (
        table(Column("name", sa.String(20))),
        table(Column("name", sa.String(40))),
        {"length": ("compatible", "compatible")},
    ),
    "shorter texts": (
        table(Column("name", sa.String(40))),
        table(Column("name", sa.String(20))),
        {"length": ("breaking", "compatible")},
    ),
    "larger numbers": (
        table(Column("score", sa.Integer)),
        table(Column("score", sa.BigInteger)),
        {"range": ("compatible", "compatible")},
    ),
    "another type": (
        table(Column("score", sa.Integer)),
        table(Column("score", sa.LargeBinary)),
        {"type": ("breaking", "breaking")},
    ),
    "a value more in an enum": (
        table(Column("kind", sa.Enum("a", "b", name="kind"))),
        table(Column("kind", sa.Enum("a", "b", "c", name="kind"))),
        {"enum": ("compatible", "breaking")},
    ),
    "unique from now on": (
        table(Column("email", sa.Text)),
        table(Column("email", sa.Text, unique=True)),
        {"constraint-added": ("unknown", "compatible")},
    ),
    "a check removed": (
        table(Column("score", sa.Integer), sa.CheckConstraint("score > 0")),
        table(Column("score", sa.Integer)),
        {"constraint-removed": ("compatible", "warning")},
    ),
    "an index": (
        table(Column("email", sa.Text)),
        table(Column("email", sa.Text, index=True)),
        {},
    ),
    "a foreign key": (
        table(Column("company", sa.Integer)),
        table(Column("company", sa.ForeignKey("leads.id"), type_=sa.Integer)),
        {"constraint-added": ("unknown", "compatible")},
    ),
    "keys of a new column that may be null": (
        table(),
        table(
            Column("company", sa.ForeignKey("leads.id"), type_=sa.Integer),
            Column("code", sa.Text),
            sa.UniqueConstraint("id", "code"),
        ),
        {"column-added": ("compatible", "compatible"), "constraint-added": ("compatible", "compatible")},
    ),
    "a key of a new column that the database fills": (
        table(),
        table(Column("code", sa.Text, server_default="x", unique=True)),
        {"column-added": ("compatible", "compatible"), "constraint-added": ("unknown", "compatible")},
    ),
    "a CHECK on a new column": (
        table(),
        table(Column("code", sa.Text), sa.CheckConstraint("code IS NOT NULL")),
        {"column-added": ("compatible", "compatible"), "constraint-added": ("unknown", "compatible")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_change_of_a_table_means(case: str) -> None:
    """Each change is one finding a direction, with the verdict of the table in docs/compatibility.md."""
    old, new, expected = CASES[case]
    found: dict[str, dict[str, str]] = {}
    for each in compare(old, new).findings:
        level = found.setdefault(each.rule, {}).setdefault(each.direction, each.level)
        assert level == each.level, f"two findings of {each.rule} differ"
    levels = {rule: (by.get("request", "compatible"), by.get("response", "compatible")) for rule, by in found.items()}
    assert levels == expected


def test_every_verdict_on_tables_is_tried() -> None:
    """No rule of the tables' verdicts is without a case here."""
    tried = {rule for _, _, expected in CASES.values() for rule in expected}
    assert {rule for rule, _ in TABLES} - {"column-type"} <= tried
