"""What the comparison says of mapped classes, against what a session of SQLAlchemy really does with a new object."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
from opentelemetry.instrumentation.schema._schemas import fit_live
from opentelemetry.instrumentation.schema._schemas.fit import compare
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as read_model
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields as read_table
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import reflected
from pydantic import BaseModel, Field
from sqlalchemy import orm

Digit = Annotated[int, Field(ge=0, le=9)]
Short = Annotated[str, Field(max_length=5)]


@dataclasses.dataclass
class Point:
    """A value of two columns."""

    x: int
    y: int


def _build(name: str) -> Any:
    """The mapped class of a case, in a registry of its own."""
    base: Any = orm.declarative_base()

    def new(table: str, parents: tuple[Any, ...] = (), **members: Any) -> Any:
        return type(table.title(), parents or (base,), {"__tablename__": table, **members})

    def key(*args: Any, **options: Any) -> Any:
        return sa.Column(*(args or (sa.Integer,)), primary_key=True, **options)

    def number() -> Any:
        return sa.Column(sa.Integer, nullable=False)

    kind = sa.Column(sa.String(9), nullable=False)
    if name.startswith("joined"):
        text = sa.CheckConstraint("length(name) <= 5")
        typed = {"polymorphic_on": kind, "polymorphic_identity": "a"}
        parent = new("parents", id=key(), kind=kind, name=sa.Column(sa.String(5), text), __mapper_args__=typed)
        own = sa.Column(sa.ForeignKey("parents.id"), primary_key=True)
        return new("children", (parent,), id=own, level=number(), __mapper_args__={"polymorphic_identity": "b"})
    if name == "one table":
        typed = {"polymorphic_on": kind, "polymorphic_identity": "a"}
        parent = new("parents", id=key(), kind=kind, __mapper_args__=typed)
        more = {"boss": sa.Column("chief", sa.String(5)), "__mapper_args__": {"polymorphic_identity": "b"}}
        return type("Boss", (parent,), more)
    if name == "version":
        version = number()
        return new("rows", id=key(), version=version, level=number(), __mapper_args__={"version_id_col": version})
    if name == "composite":
        x, y = number(), number()
        return new("rows", id=key(), x=x, y=y, point=orm.composite(Point, x, y))
    if name == "without rowid":
        return new("rows", id=key(), level=number(), __table_args__={"sqlite_with_rowid": False})
    if name == "variant":
        return new("rows", id=key(sa.BigInteger().with_variant(sa.Integer(), "sqlite")), level=number())
    if name == "identity":
        return new("rows", id=key(sa.Integer, sa.Identity(always=True)), level=number())
    return new("rows", id=key({"big key": sa.BigInteger}.get(name, sa.SmallInteger)), level=number())


CASES: dict[str, dict[str, tuple[Any, Any]]] = {
    "joined": {"name": (Short, "abc"), "level": (Digit, 1)},
    "one table": {"boss": (Short, "abc")},
    "version": {"level": (Digit, 1)},
    "composite": {"point": (Any, Point(1, 2))},
    "big key": {"level": (Digit, 1)},
    "small key": {"level": (Digit, 1)},
    "variant": {"level": (Digit, 1)},
    "without rowid": {"level": (Digit, 1)},
    "identity": {"id": (Digit, 3), "level": (Digit, 1)},
}
"""Case → field → its type and a value that it accepts."""


@pytest.mark.parametrize("name", CASES)
def test_a_mapped_class_is_compared_as_it_is_written(name: str) -> None:
    """Something is said of writing a mapped class if and only if a session cannot store the object."""
    cls = _build(name)
    annotations = {field: annotation for field, (annotation, _) in CASES[name].items()}
    schema: Any = type("RowIn", (BaseModel,), {"__annotations__": annotations, "__module__": __name__})
    engine = sa.create_engine("sqlite://")
    cls.metadata.create_all(engine)
    document = read_model(schema)
    root = next(iter(document.values()))
    modelled = next(iter(read_table(cls, dialect=engine.dialect).values()))
    with engine.connect() as connection:
        live = next(each for each in reflected(connection).values() if each.name == cls.__table__.name)
    values = {field: value for field, (_, value) in CASES[name].items()}
    refused = False
    with orm.Session(engine) as session:
        try:
            session.add(cls(**schema.model_validate(values).model_dump(exclude={"point"}), **_points(values)))
            session.flush()
        except sa.exc.SQLAlchemyError:
            refused = True
    for table in (modelled, fit_live.merge_tables(modelled, live)):
        said = [each for each in compare(root, document, table, "sqlite", declared=True) if each.way == "write"]
        assert bool(said) == refused, said


def _points(values: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in values.items() if isinstance(value, Point)}


def test_a_column_of_a_parent_is_compared() -> None:
    """A column in the table of a parent is compared with the field that is written to it."""
    cls = _build("joined")
    schema = type("ChildIn", (BaseModel,), {"__annotations__": {"name": str, "level": Digit}, "__module__": __name__})
    document = read_model(schema)
    table = next(iter(read_table(cls, dialect=sa.dialects.postgresql.dialect()).values()))
    (found,) = [
        each
        for each in compare(next(iter(document.values())), document, table, "postgresql", declared=True)
        if each.way == "write"
    ]
    assert (found.kind, found.field, found.column) == ("length", "name", "parents.name")
    assert "parents.name: VARCHAR(5)" in found.message
