"""Every library's schemas have the same shape once they are read."""

from __future__ import annotations

import enum
import secrets
import types
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import marshmallow
import pytest
import sqlalchemy as sa
from marshmallow import fields as f
from marshmallow import validate as v
from opentelemetry.instrumentation.schema._schemas import lockfile
from opentelemetry.instrumentation.schema._schemas.compare import compare
from opentelemetry.instrumentation.schema._schemas.fields import Document, FieldSpec, TypeSpec
from opentelemetry.instrumentation.schema.integrations.jsonschema.fields import fields as json_schema
from opentelemetry.instrumentation.schema.integrations.marshmallow.fields import fields as schema
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as model
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import schemas as models
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields as table
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import reflected
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlmodel import Field as ColumnField
from sqlmodel import SQLModel


def only(document: Document) -> dict[str, FieldSpec]:
    """The fields of the schema that was asked for, by name."""
    return {field.name: field for field in next(iter(document.values())).fields}


class Pydantic(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=9)]
    age: Annotated[int, Field(ge=0, le=150)] | None = None
    tags: list[str]


class Marshmallow(marshmallow.Schema):
    class Meta:
        unknown = marshmallow.EXCLUDE

    name = f.String(required=True, validate=v.Length(1, 9))
    age = f.Integer(load_default=None, validate=v.Range(0, 150))
    tags = f.List(f.String(), required=True)


JSON_SCHEMA = {
    "title": "Lead",
    "type": "object",
    "required": ["name", "tags"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 9},
        "age": {"type": ["integer", "null"], "minimum": 0, "maximum": 150, "default": None},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}

ANY_LIBRARY = {"pydantic": model(Pydantic), "marshmallow": schema(Marshmallow), "jsonschema": json_schema(JSON_SCHEMA)}


@pytest.mark.parametrize("library", ANY_LIBRARY)
def test_one_shape(library: str) -> None:
    """The same schema written for three libraries has the same types and presence."""
    found = only(ANY_LIBRARY[library])
    assert found["name"].type == TypeSpec(kind="string", min_length=1, max_length=9)
    assert found["age"].type == TypeSpec(kind="integer", nullable=True, ge=0, le=150)
    assert found["tags"].type == TypeSpec(kind="list", items=TypeSpec(kind="string"))
    assert {name: field.presence for name, field in found.items()} == {
        "name": "required",
        "age": "optional",
        "tags": "required",
    }


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Inner(marshmallow.Schema):
    x = f.Integer(strict=True)


class Outer(marshmallow.Schema):
    a = f.Enum(Color)
    b = f.Enum(Color, by_value=True)
    c = f.Nested(Inner)
    d = f.Nested(Inner, many=True)
    e = f.Nested(Inner(only=("x",)))
    plucked = f.Pluck(Inner, "x")
    g = f.String(data_key="G", attribute="gg")
    h = f.String(load_only=True)
    i = f.String(dump_only=True)
    j = f.Decimal()
    k = f.AwareDateTime()
    m = f.String(validate=[v.OneOf(["x", "y"])])
    n = f.Dict(keys=f.String(), values=f.Integer())
    o = f.String(validate=lambda value: True)
    p = f.Email()
    q = f.UUID()
    r = f.Constant(7)

    @marshmallow.validates_schema
    def whole(self, data: Any, **kwargs: Any) -> None:
        pass


def test_marshmallow() -> None:
    """Fields, nested Schemas, names, validators and hooks of marshmallow are read."""
    document = schema(Outer)
    found = only(document)
    inner = TypeSpec(kind="object", ref=f"{__name__}:Inner")
    types: dict[str, TypeSpec] = {
        "a": TypeSpec(kind="enum", values=("RED", "BLUE"), names=("RED", "BLUE")),
        "b": TypeSpec(kind="enum", values=(1, 2), names=("RED", "BLUE")),
        "c": inner,
        "d": TypeSpec(kind="list", items=inner),
        "plucked": TypeSpec(kind="integer", strict=True),
        "j": TypeSpec(kind="decimal", finite=True),
        "k": TypeSpec(kind="datetime", timezone="aware"),
        "m": TypeSpec(kind="enum", values=("x", "y")),
        "n": TypeSpec(kind="map", keys=TypeSpec(kind="string"), items=TypeSpec(kind="integer")),
        "p": TypeSpec(kind="string", format="email"),
        "q": TypeSpec(kind="uuid"),
        "r": TypeSpec(kind="enum", values=(7,)),
    }
    assert {name: replace(found[name].type, checks=()) for name in types} == types
    assert found["e"].type.kind == "object"
    assert [each.name for each in found["e"].type.fields] == ["x"]
    assert (found["g"].inputs, found["g"].output, found["g"].attribute) == (("G",), "G", "gg")
    assert (found["h"].written, found["i"].presence) == ("never", "never")
    assert found["o"].type.checks[0].startswith("validate:")
    assert next(iter(document.values())).type.checks == ("validates_schema:Outer.whole",)
    assert next(iter(document.values())).type.extra == "forbid"


class Defaults(BaseModel):
    at: datetime = datetime.now()
    day: datetime = datetime(2026, 1, 2, 3, 4)
    longest: datetime = datetime.max
    number: uuid.UUID = uuid.uuid4()
    key: str = secrets.token_urlsafe(32)
    digest: str = secrets.token_hex(16)
    password: str = "hunter2"
    api_key: str = ""
    tokens: int = 100
    name: str = "a-name-of-more-than-22-characters"


def test_defaults_that_are_not_held() -> None:
    """What each process computes anew, and a secret, is in no lock and no fingerprint; a plain default is."""
    found = {name: each.default for name, each in only(model(Defaults)).items()}
    assert found == {
        **dict.fromkeys(("at", "number", "key", "digest", "password"), "factory"),
        "day": '"2026-01-02T03:04:00"',
        "longest": '"9999-12-31T23:59:59.999999"',
        "api_key": '""',
        "tokens": "100",
        "name": '"a-name-of-more-than-22-characters"',
    }

    class Same(marshmallow.Schema):
        key = f.String(load_default=secrets.token_hex(16))
        secret = f.String(load_default="x")
        size = f.Integer(load_default=3)

    assert {name: each.default for name, each in only(schema(Same)).items()} == {
        "key": "factory", "secret": "factory", "size": "3",
    }  # fmt: skip


def test_settings_are_no_schema_of_the_api() -> None:
    """A class of settings is not among the schemas of its module; what it holds is."""
    module = types.ModuleType("shop_of_settings")
    exec(
        "import pydantic, pydantic_settings\n"
        "class Held(pydantic.BaseModel): pass\n"
        "class Settings(pydantic_settings.BaseSettings):\n    held: Held = Held()",
        vars(module),
    )
    assert [each.__name__ for each in models([module])] == ["Held"]


class From(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: Annotated[str, Field(validation_alias="full_name")]


def test_from_attributes() -> None:
    """A model that reads objects says so, and which attribute each field is read from."""
    document = model(From)
    assert next(iter(document.values())).from_attributes
    assert only(document)["name"].attribute == "full_name"


METADATA = sa.MetaData()
TABLE = sa.Table(
    "leads",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(9), nullable=False, unique=True),
    sa.Column("price", sa.Numeric(5, 2), server_default="0"),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("kind", sa.Enum("a", "b", name="kind"), nullable=False),
    sa.Column("color", sa.Enum(Color)),
    sa.Column("total", sa.Integer, sa.Computed("price * 2")),
    sa.Column("other", sa.ForeignKey("leads.id")),
    sa.Column("count", sa.BigInteger, default=0, nullable=False),
    sa.CheckConstraint("price >= 0"),
    sa.UniqueConstraint("name", "kind"),
    sa.Index(None, "at"),
)


def test_table() -> None:
    """Columns have type, bounds, presence, and what only a column has; constraints and indexes are text."""
    document = table(TABLE)
    found = only(document)
    assert found["name"].type == TypeSpec(kind="string", max_length=9)
    assert found["price"].type == TypeSpec(kind="decimal", max_digits=5, decimal_places=2, nullable=True)
    assert found["at"].type.timezone == "aware"
    assert found["kind"].type.values == ("a", "b")
    assert found["count"].type.le == 2**63 - 1
    assert {name: field.presence for name, field in found.items()} == {
        "id": "default",
        "name": "required",
        "price": "default",
        "at": "optional",
        "kind": "required",
        "color": "optional",
        "total": "never",
        "other": "optional",
        "count": "default",
    }
    columns = {name: field.column for name, field in found.items() if field.column is not None}
    assert (columns["id"].generated, columns["total"].generated) == ("autoincrement", "computed")
    assert (columns["price"].server_default, columns["other"].references) == ("'0'", "leads.id")
    assert (found["color"].type.values, columns["color"].members) == (("RED", "BLUE"), (1, 2))
    assert next(iter(document.values())).constraints == (
        "check price >= 0", "index (at)", "unique (name)", "unique (name, kind)",
    )  # fmt: skip


def test_reflected() -> None:
    """A database's own tables have the same columns, as far as its dialect keeps them."""
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    found = only(reflected(engine))
    assert found["name"].type == TypeSpec(kind="string", max_length=9)
    assert found["price"].type == TypeSpec(kind="decimal", max_digits=5, decimal_places=2, nullable=True)
    assert found["kind"].type == TypeSpec(kind="string", max_length=1), "SQLite has no enum"
    assert found["total"].presence == "never"
    engine.dispose()


class Hero(SQLModel, table=True):
    id: int | None = ColumnField(default=None, primary_key=True)
    name: str = ColumnField(max_length=5)
    price: Annotated[float, Field(ge=0)] = 1


def test_sqlmodel() -> None:
    """A SQLModel is read as a model, and as the table that it makes."""
    as_model, as_table = only(model(Hero)), only(table(Hero))
    assert as_model["name"].type == TypeSpec(kind="string", max_length=5)
    assert as_table["name"].type == TypeSpec(kind="string", max_length=5)
    assert (as_model["id"].presence, as_table["id"].presence) == ("optional", "default")


def test_every_library_in_a_lock() -> None:
    """What any reader gives is the same after it was written to a lock and read back."""
    document: Document = {}
    for each in (*ANY_LIBRARY.values(), schema(Outer), model(From), table(TABLE), model(Hero), table(Hero)):
        document |= each
    lock = lockfile.Lock(("app",), document)
    text = lockfile.dumps(lock)
    assert lockfile.loads(text).schemas == document
    assert lockfile.dumps(lockfile.loads(text)) == text


def _marshmallow(**body: Any) -> Document:
    return schema(type("Lead", (marshmallow.Schema,), {"__module__": "app", **body}))


@pytest.mark.parametrize(
    ("old", "new", "request_", "response"),
    [
        (f.String(), f.String(validate=v.Length(max=3)), "breaking", "compatible"),
        (f.Integer(), f.Integer(strict=True), "breaking", "compatible"),
        (f.String(), f.Integer(), "breaking", "breaking"),
        (f.String(required=True), f.String(), "compatible", "breaking"),
        (f.String(), f.String(required=True), "breaking", "compatible"),
        (f.String(), f.String(allow_none=True), "compatible", "breaking"),
        (f.String(validate=v.OneOf(["a"])), f.String(validate=v.OneOf(["a", "b"])), "compatible", "breaking"),
        (f.String(), f.String(data_key="B"), "breaking", "breaking"),  # unknown keys are refused
        (f.String(), f.String(validate=print), "unknown", "unknown"),
    ],
)
def test_marshmallow_compared(old: Any, new: Any, request_: str, response: str) -> None:
    """Changes of marshmallow Schemas get the verdicts of the table."""
    comparison = compare(_marshmallow(a=old), _marshmallow(a=new))
    assert comparison.level("app:Lead", "request") == request_, comparison.findings
    assert comparison.level("app:Lead", "response") == response, comparison.findings


def test_a_mapped_dataclass_fills_its_columns() -> None:
    """What the constructor of a mapped dataclass fills in is never required, although its table has no default."""

    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Parcel(Base):
        __tablename__ = "parcels_of_dataclasses"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        name: Mapped[str]
        code: Mapped[str] = mapped_column(default_factory=str)

    found = {each.name: each.presence for each in next(iter(table(Parcel).values())).fields}
    assert found == {"id": "default", "name": "required", "code": "default"}
