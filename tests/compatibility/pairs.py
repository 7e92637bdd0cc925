"""Pairs of schema versions, as the text of their classes, with what the comparison is to say of them.

`request` and `response` are `breaking`, `unknown` or `compatible`. Issues that a pair is modelled on are cited; the
schemas are our own.
"""

from __future__ import annotations

import sys
import textwrap
from types import ModuleType
from typing import Any, NamedTuple

PRELUDE = """
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union
from uuid import UUID
from pydantic import *
from pydantic import Base64Str, BaseModel
from typing_extensions import NotRequired, TypedDict
"""


class Pair(NamedTuple):
    """Two versions of `Model`, or of a JSON Schema.

    Attributes:
        name: What changes.
        old: Class text, or a JSON Schema.
        new: Likewise.
        request: What is to be said of it as a request.
        response: Likewise as a response.
        cites: Public issue that it is modelled on.
    """

    name: str
    old: Any
    new: Any
    request: str
    response: str
    cites: str = ""

    def models(self) -> tuple[Any, Any]:
        """Both versions, built."""
        return build(self.old), build(self.new)


def build(text: Any) -> Any:
    """A class from its text; a JSON Schema as it is."""
    if not isinstance(text, str):
        return text
    if "class Model" not in text:
        text = "class Model(BaseModel):\n" + textwrap.indent(text, "    ")
    module = ModuleType("app_of_a_pair")
    sys.modules[module.__name__] = module  # where Pydantic looks names up
    exec(compile(PRELUDE + textwrap.dedent(text), "<pair>", "exec", dont_inherit=True), vars(module))
    return module.Model


OK, BREAKS, UNKNOWN = "compatible", "breaking", "unknown"


def extra(kind: str, body: str) -> str:
    return f'model_config = ConfigDict(extra="{kind}")\n{body}'


def enum(values: str) -> str:
    members = "\n".join(f"    {value} = {value!r}" for value in values.split())
    return f"class Kind(str, Enum):\n{members}\nclass Model(BaseModel):\n    a: Kind\n    b: int = 0\n"


FIELDS = [
    Pair(f"{presence} field {change}, {kind}", *(texts if change == "added" else texts[::-1]), request, response)
    for kind in ("ignore", "allow", "forbid")
    for presence, text in (("required", "b: int"), ("default", "b: int = 3"), ("optional", "b: int | None = None"))
    for texts in [(extra(kind, "a: str"), extra(kind, f"a: str\n{text}"))]
    for change, request, response in (
        ("added", BREAKS if presence == "required" else OK, BREAKS if kind == "forbid" else OK),
        ("removed", BREAKS if kind == "forbid" else OK, OK if presence == "optional" else BREAKS),
    )
]
"""{ignore, allow, forbid} × {added, removed} × {required, with default, optional}."""


def both(name: str, old: str, new: str, cites: str = "") -> list[Pair]:
    """A bound that is narrowed from old to new, and widened from new to old."""
    return [
        Pair(f"{name} narrowed", old, new, BREAKS, OK, cites),
        Pair(f"{name} widened", new, old, OK, BREAKS, cites),
    ]


BOUNDS = [
    *both("upper bound", "a: Annotated[int, Field(ge=0)]", "a: Annotated[int, Field(ge=0, le=100)]"),
    *both("exclusive bound", "a: Annotated[float, Field(ge=0)]", "a: Annotated[float, Field(gt=0)]"),
    *both("lower bound of a decimal", "a: Annotated[Decimal, Field(ge=0)]", "a: Annotated[Decimal, Field(ge=1)]"),
    *both("multiple", "a: Annotated[int, Field(multiple_of=5)]", "a: Annotated[int, Field(multiple_of=10)]"),
    *both("length", "a: Annotated[str, Field(max_length=20)]", "a: Annotated[str, Field(max_length=10)]"),
    *both("least length", "a: str", "a: Annotated[str, Field(min_length=1)]"),
    *both("number of items", "a: list[int]", "a: Annotated[list[int], Field(max_length=2)]"),
    *both("length of items", "a: list[str]", "a: list[Annotated[str, Field(max_length=3)]]"),
    *both("pattern", "a: str", "a: Annotated[str, Field(pattern='^[a-z]+$')]"),
    *both("digits", "a: Decimal", "a: Annotated[Decimal, Field(max_digits=4, decimal_places=2)]"),
    *both("values of an enum", enum("web fair phone"), enum("web fair")),
    *both("values of a literal", "a: Literal['a', 'b', 'c']", "a: Literal['a', 'b']"),
    *both("text to literal", "a: str", "a: Literal['a', 'b']"),
    *both("null", "a: int | None", "a: int"),
    *both("number to integer", "a: float", "a: int"),
    *both("anything to text", "a: Any", "a: str"),
    *both("member of a union", "a: int | list[int]", "a: int"),
    *both("text to email", "a: str", "a: Annotated[str, Field(pattern='^[^@]+@[^@]+$', max_length=50)]"),
    *both("infinity", "a: float", "a: FiniteFloat"),
    *both("values of a map", "a: dict[str, int | None]", "a: dict[str, int]"),
    *both(
        "bound in a nested model",
        "class Inner(BaseModel):\n    x: int\nclass Model(BaseModel):\n    a: Inner",
        "class Inner(BaseModel):\n    x: Annotated[int, Field(le=9)]\nclass Model(BaseModel):\n    a: Inner",
    ),
    *both(
        "members by tag",
        """
class Cat(BaseModel):
    kind: Literal['cat']
    lives: int
class Dog(BaseModel):
    kind: Literal['dog']
class Model(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator='kind')]
""",
        """
class Cat(BaseModel):
    kind: Literal['cat']
    lives: int
class Model(BaseModel):
    pet: Cat
""",
    ),
]

OTHERS = [
    Pair("type", "a: int", "a: str", BREAKS, BREAKS),
    Pair("type of items", "a: list[int]", "a: list[str]", BREAKS, BREAKS),
    Pair("scalar to list", "a: int", "a: list[int]", BREAKS, BREAKS),
    Pair("date to datetime", "a: date", "a: datetime", OK, BREAKS),
    Pair("object to scalar", "class In(BaseModel):\n    x: int\nclass Model(BaseModel):\n    a: In", "a: int", BREAKS, BREAKS),
    Pair("uuid to text", "a: UUID", "a: str", OK, BREAKS),
    Pair("text to uuid", "a: str", "a: UUID", BREAKS, OK),
    Pair("integer to decimal", "a: int", "a: Decimal", BREAKS, BREAKS),
    Pair("strict", "a: int", "a: StrictInt", BREAKS, OK),
    Pair("no longer strict", "a: StrictInt", "a: int", OK, OK),
    Pair("bound moved", "a: Annotated[int, Field(ge=0, le=10)]", "a: Annotated[int, Field(ge=5, le=20)]", BREAKS, BREAKS),
    Pair("pattern changed", "a: Annotated[str, Field(pattern='^a+$')]", "a: Annotated[str, Field(pattern='^b+$')]", BREAKS, BREAKS),
    Pair("digits moved", "a: Annotated[Decimal, Field(max_digits=5, decimal_places=2)]",
         "a: Annotated[Decimal, Field(max_digits=5, decimal_places=3)]", BREAKS, BREAKS),
    Pair("gt 0 to ge 1 of an integer", "a: Annotated[int, Field(gt=0)]", "a: Annotated[int, Field(ge=1)]", OK, OK),
    Pair("union in another order", "a: int | str", "a: str | int", OK, OK),
    Pair("optional spelt otherwise", "a: int | None = None", "a: Union[None, int] = None", OK, OK),
    Pair("fields in another order", "a: int\nb: str", "b: str\na: int", OK, OK),
    Pair("doc and title", "a: int", "a: Annotated[int, Field(description='x', title='A')]", OK, OK),
    Pair("became required", "a: int\nb: int = 1", "a: int\nb: int", BREAKS, OK),
    Pair("became optional", "a: int\nb: int", "a: int\nb: int = 1", OK, OK),
    Pair("default changed", "a: int = 1", "a: int = 2", OK, OK),
    Pair("renamed, required", "name: str\nage: int", "full_name: str\nage: int", BREAKS, BREAKS),
    Pair("renamed, optional", "name: str | None = None\nage: int", "full_name: str | None = None\nage: int", OK, OK),
    Pair("renamed in Python alone", "name: str", "full_name: Annotated[str, Field(alias='name')]", OK, OK),
    Pair("alias added", "name: str", "name: Annotated[str, Field(alias='fullName')]", BREAKS, BREAKS),
    Pair("alias choices", "name: str", "name: Annotated[str, Field(validation_alias=AliasChoices('fullName', 'name'))]", OK, OK),
    Pair("alias choice removed", "name: Annotated[str, Field(validation_alias=AliasChoices('fullName', 'name'))]", "name: str", BREAKS, OK),
    Pair("by name as well", "n: Annotated[str, Field(alias='name')]",
         "model_config = ConfigDict(populate_by_name=True)\nn: Annotated[str, Field(alias='name')]", OK, OK),
    Pair("serialization alias", "a: int", "a: Annotated[int, Field(serialization_alias='b')]", OK, BREAKS),
    Pair("computed field added", "a: int", "a: int\n@computed_field\n@property\ndef b(self) -> int:\n    return 1", OK, OK),
    Pair("computed field removed", "a: int\n@computed_field\n@property\ndef b(self) -> int:\n    return 1", "a: int", OK, BREAKS),
    Pair("excluded", "a: int\nb: int = 1", "a: int\nb: Annotated[int, Field(exclude=True)] = 1", OK, BREAKS),
    Pair("extra ignored to forbidden", extra("ignore", "a: int"), extra("forbid", "a: int"), BREAKS, OK),
    Pair("extra forbidden to ignored", extra("forbid", "a: int"), extra("ignore", "a: int"), OK, OK),
    Pair("extra forbidden to allowed", extra("forbid", "a: int"), extra("allow", "a: int"), OK, BREAKS),
    Pair("extra allowed to ignored", extra("allow", "a: int"), extra("ignore", "a: int"), OK, OK),
    Pair("validator added", "a: str", "a: str\n@field_validator('a')\n@classmethod\ndef short(cls, v):\n    assert len(v) < 5\n    return v", UNKNOWN, UNKNOWN),
    Pair("stripped before a length", "a: Annotated[str, Field(min_length=1)]",
         "a: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]", BREAKS, OK),
    Pair("aware datetimes", "a: datetime", "a: AwareDatetime", BREAKS, OK),
    Pair("open enum", "a: Annotated[Literal['a', 'b'], Field(json_schema_extra={'x-extensible-enum': True})]",
         "a: Annotated[Literal['a', 'b', 'c'], Field(json_schema_extra={'x-extensible-enum': True})]", OK, OK),
    Pair("discriminator", """
class Cat(BaseModel):
    kind: Literal['cat']
    type: Literal['c']
class Dog(BaseModel):
    kind: Literal['dog']
    type: Literal['d']
class Model(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator='kind')]
""", """
class Cat(BaseModel):
    kind: Literal['cat'] = 'cat'
    type: Literal['c']
class Dog(BaseModel):
    kind: Literal['dog'] = 'dog'
    type: Literal['d']
class Model(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator='type')]
""", OK, OK),
    Pair("discriminator that was optional", """
class Cat(BaseModel):
    kind: Literal['cat']
    type: Literal['c'] = 'c'
class Dog(BaseModel):
    kind: Literal['dog']
    type: Literal['d'] = 'd'
class Model(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator='kind')]
""", """
class Cat(BaseModel):
    type: Literal['c']
class Dog(BaseModel):
    type: Literal['d']
class Model(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator='type')]
""", BREAKS, BREAKS),
    Pair("recursive model", "class Model(BaseModel):\n    x: int\n    below: 'list[Model]' = []",
         "class Model(BaseModel):\n    x: int\n    below: 'list[Model]' = []\n    y: int | None = None", OK, OK),
    Pair("field of a recursive model", "class Model(BaseModel):\n    x: int\n    below: 'list[Model]' = []",
         "class Model(BaseModel):\n    x: Annotated[int, Field(ge=0)]\n    below: 'list[Model]' = []", BREAKS, OK),
    Pair("key of a typed dict", "class T(TypedDict):\n    x: int\n    y: NotRequired[int]\nclass Model(BaseModel):\n    a: T",
         "class T(TypedDict):\n    x: int\n    y: int\nclass Model(BaseModel):\n    a: T", BREAKS, OK),
    Pair("tuple grew", "a: tuple[int, int]", "a: tuple[int, int, int]", BREAKS, BREAKS),
    Pair("bound on an optional", "a: int | None = None", "a: Annotated[int, Field(ge=0)] | None = None", BREAKS, OK),
    Pair("duration bound", "a: timedelta", "a: Annotated[timedelta, Field(ge=timedelta(0))]", BREAKS, OK),
    Pair("root model", "class Model(RootModel[list[int]]):\n    pass", "class Model(RootModel[list[float]]):\n    pass", OK, BREAKS),
]  # fmt: skip


def obj(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"title": "Model", "type": "object", "properties": properties, "required": list(required), **more}


S, I, N = {"type": "string"}, {"type": "integer"}, {"type": "number"}

CITED = [
    Pair("optional property added to an open model", obj({"a": S}), obj({"a": S, "b": I}), OK, OK, "confluentinc/schema-registry#1458"),
    Pair("nullable property added to an open model", obj({"a": S}, ("a",), additionalProperties=True),
         obj({"a": S, "b": {"oneOf": [{"type": "null"}, S]}}, ("a",), additionalProperties=True), OK, OK, "confluentinc/schema-registry#1490"),
    Pair("property with default added to an open model", obj({"a": I}, ("a",)), obj({"a": I, "b": {**I, "default": 0}}, ("a",)), OK, OK,
         "confluentinc/schema-registry#1529"),
    Pair("required property added to a closed model", obj({"a": S}, ("a",), additionalProperties=False),
         obj({"a": S, "b": S}, ("a", "b"), additionalProperties=False), BREAKS, BREAKS, "confluentinc/schema-registry#1617"),
    Pair("optional property added to a closed model", obj({"a": S}, ("a",), additionalProperties=False),
         obj({"a": S, "b": {"oneOf": [S, {"type": "null"}], "default": "x"}}, ("a",), additionalProperties=False), OK, BREAKS,
         "confluentinc/schema-registry#1778"),
    Pair("optional property removed from a closed model", obj({"a": S, "b": I}, additionalProperties=False),
         obj({"a": S}, additionalProperties=False), BREAKS, OK, "confluentinc/schema-registry#2121"),
    Pair("optional property removed from an open model", obj({"a": S, "b": I}), obj({"a": S}), OK, OK, "confluentinc/schema-registry#2927"),
    Pair("property of a partially open model removed", obj({"a": S, "b": S}, additionalProperties=I),
         obj({"a": S}, additionalProperties=I), BREAKS, OK, "confluentinc/schema-registry#2927"),
    Pair("required property with default added to an open model", obj({"a": S}, ("a",)),
         obj({"a": S, "b": {**S, "default": "x"}}, ("a", "b")), BREAKS, OK, "confluentinc/schema-registry#4292"),
    Pair("closed", obj({"a": S}), obj({"a": S}, additionalProperties=False), BREAKS, OK, "confluentinc/schema-registry#4292"),
    Pair("text became an enum", obj({"a": S}), obj({"a": {**S, "enum": ["article", "user", "image"]}}), BREAKS, OK, "oasdiff/oasdiff#224"),
    Pair("enum value removed", obj({"a": {**S, "enum": ["x", "y", "z"]}}), obj({"a": {**S, "enum": ["x", "y"]}}), BREAKS, OK,
         "oasdiff/oasdiff#205"),
    Pair("enum value removed at the root", {"title": "Model", "enum": ["x", "y", "z"]}, {"title": "Model", "enum": ["x", "y"]}, BREAKS, OK,
         "oasdiff/oasdiff#595"),
    Pair("enum value replaced", obj({"a": {"enum": ["NORMAL", "CRITICAL"]}}), obj({"a": {"enum": ["NORMAL", "BREAKING"]}}), BREAKS, BREAKS,
         "oasdiff/oasdiff#639"),
    Pair("required property with default added", obj({"a": S}), obj({"a": S, "b": {**I, "default": 1}}, ("b",)), BREAKS, OK,
         "oasdiff/oasdiff#549"),
    Pair("maxProperties set", obj({"a": S, "b": S}), obj({"a": S, "b": S}, maxProperties=1), BREAKS, OK, "oasdiff/oasdiff#1157"),
    Pair("minProperties lowered", obj({"a": S, "b": S}, minProperties=2), obj({"a": S, "b": S}, minProperties=1), OK, BREAKS,
         "oasdiff/oasdiff#1157"),
    Pair("member of a oneOf removed", obj({"a": {"oneOf": [S, I, {"type": "boolean"}]}}), obj({"a": {"oneOf": [S, I]}}), BREAKS, OK,
         "oasdiff/oasdiff#348"),
    Pair("oneOf of overlapping members got a member", obj({"a": {"oneOf": [{"type": "integer", "minimum": 5}]}}),
         obj({"a": {"oneOf": [{"type": "integer", "minimum": 5}, {"type": "integer", "maximum": 9}]}}), UNKNOWN, BREAKS,
         "oasdiff/oasdiff#348"),
    Pair("integer became text", obj({"age": {**I, "minimum": 0}}), obj({"age": {**S, "minimum": 0}}), BREAKS, BREAKS,
         "Apicurio/apicurio-registry#712"),
    Pair("text became integer", obj({"limit": S}), obj({"limit": I}), BREAKS, BREAKS, "Apicurio/apicurio-registry#8661"),
    Pair("property described further", obj({"foo": {"type": "object"}}), obj({"foo": {"type": "object", "properties": {"bar": S}}}), OK, OK,
         "Apicurio/apicurio-registry#4965"),
    Pair("optional property added beside required ones", obj({"x": N, "y": N}, ("x", "y")), obj({"x": N, "y": N, "z": S}, ("x", "y")), OK, OK,
         "Apicurio/apicurio-registry#2135"),
    Pair("reference to a definition instead of a copy", obj({"a": {"type": "object", "properties": {"x": I}}}),
         obj({"a": {"$ref": "#/$defs/In"}}, **{"$defs": {"In": {"type": "object", "properties": {"x": I}}}}), OK, OK),
    Pair("const instead of an enum of one", obj({"a": {"enum": ["x"]}}), obj({"a": {"const": "x"}}), OK, OK),
    Pair("integer to number of a property", obj({"a": I}, ("a",)), obj({"a": N}, ("a",)), OK, BREAKS),
    Pair("property no longer required", obj({"a": S, "b": I}, ("a", "b")), obj({"a": S, "b": I}, ("a",)), OK, BREAKS),
    Pair("not added", obj({"a": I}), obj({"a": {**I, "not": {"const": 3}}}), UNKNOWN, UNKNOWN),
    Pair("uniqueItems", obj({"a": {"type": "array", "items": I}}), obj({"a": {"type": "array", "items": I, "uniqueItems": True}}), BREAKS, OK),
]  # fmt: skip
"""After public issues: what their authors ran into, written anew."""

PAIRS = [*FIELDS, *BOUNDS, *OTHERS, *CITED]
