"""Schemas and payloads full of canaries: texts that no telemetry may hold, a different one for each class of secret.

A canary stands in a schema (a default, a pattern) or in what comes with a request. Payloads use them all, as values and
as keys, so that a name which a schema holds but does not declare would be taken for a declared one here.
"""

from __future__ import annotations

import contextlib
import enum
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, Literal, TypeVar

import jsonschema
import marshmallow
from fastapi import Body, FastAPI, Header
from flask import Flask, request
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import endpoint
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    validate_call,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

CANARIES = {
    "value": "zqvaluezq",
    "number": "918273645546372819",
    "unknown key": "zqunknownzq",
    "dictionary key": "zqdictkeyzq",
    "message": "zqmessagezq",
    "error type": "zqerrortypezq",
    "exception argument": "zqargumentzq",
    "SQL parameter": "zqparameterzq",
    "default": "zqdefaultzq",
    "discriminator": "zqtagzq",
    "enum member": "zqmemberzq",
    "const": "zqconstzq",
    "pattern": "zqpatternzq",
}
VALUE, NUMBER, UNKNOWN, KEY, MESSAGE, TYPE, ARGUMENT, *_held = CANARIES.values()
PARAMETER, DEFAULT, TAG, MEMBER, CONST, PATTERN = _held


def found_in(exported: str) -> set[str]:
    """The classes of canary that a text holds."""
    lower = exported.lower()
    return {kind for kind, canary in CANARIES.items() if canary in lower}


# -- payloads

DECLARED = ("name", "amount", "pet", "kind", "extra", "items", "secret", "fixed", "state", "code", "act")
ACTS = ("fine", "message", "type", "argument", "crash", "query", "broken query")


def payloads(*canaries: str) -> st.SearchStrategy[Any]:
    """JSON values that hold these as values and keys; most are objects that have some of the declared names."""
    texts = st.sampled_from([*canaries, "", *ACTS]) | st.text(max_size=3).map(lambda more: VALUE + more)
    scalars = texts | st.sampled_from([-5, 0, 2.5, int(NUMBER), True, False, None])
    keys = st.sampled_from([*canaries, *DECLARED])

    def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)

    nested = st.recursive(scalars, deeper, max_leaves=6)
    objects = st.dictionaries(keys, nested, max_size=7)
    acting = st.tuples(objects, st.sampled_from(ACTS)).map(lambda two: {**two[0], "act": two[1]})
    return objects | acting | nested


def misbehave(what: object) -> object:
    """A validator of the application, which fails as it is told to, and gives away all it can."""
    if what == "message":
        raise ValueError(MESSAGE, what)
    if what == "type":
        raise PydanticCustomError(TYPE, MESSAGE + " {given}", {"given": VALUE})
    if what == "argument":
        raise LookupError(ARGUMENT)
    if what == "crash":
        raise type("Crash", (RuntimeError,), {"__str__": lambda _: MESSAGE})(ARGUMENT)
    if what in ("query", "broken query"):
        ask(PARAMETER, broken=what == "broken query")
    return what


engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def ask(parameter: str, broken: bool = False) -> None:
    """Query the database with a parameter and with the same as literal text, comment and verb."""
    with engine.connect() as connection:
        connection.execute(text("SELECT :given"), {"given": parameter})
        connection.exec_driver_sql(f"/* {parameter} */ SELECT '{parameter}' -- {parameter}")
        if broken:
            with contextlib.suppress(SQLAlchemyError):
                connection.exec_driver_sql(f"{parameter} {parameter}")
            with contextlib.suppress(SQLAlchemyError):
                connection.execute(text(f"SELECT {parameter} FROM nowhere WHERE a = :given"), {"given": parameter})


# -- Pydantic


class State(enum.Enum):
    OPEN = MEMBER
    NESTED = ({"fields": {MEMBER: 1}, "name": MEMBER}, 1)  # a member may hold anything


class Cat(BaseModel):
    kind: Literal["zqtagzq"]
    name: str


class Dog(BaseModel):
    kind: Literal["dog"]
    name: int


class Entry(BaseModel, extra="forbid"):
    name: Annotated[str, StringConstraints(pattern=PATTERN)] = DEFAULT
    amount: int = Field(default=0, le=3)


class Lead(BaseModel):
    model_config = ConfigDict(extra="forbid", title=None)

    name: Annotated[str, Field(pattern=PATTERN, examples=[VALUE])] = DEFAULT
    amount: int = 0
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    secret: dict[str, int] = {"name": DEFAULT, "alias": DEFAULT, "fields": {DEFAULT: 1}}  # type: ignore[dict-item]
    items: list[Entry] = []
    fixed: Literal["zqconstzq"] = CONST
    state: State = State.OPEN
    act: Annotated[Any, AfterValidator(misbehave)] = None


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    name: T


class Metadata(BaseModel):
    """A field that is called as a part of core schemas is."""

    metadata: dict[str, Entry] = {}
    default: Entry | None = None


def _tag(value: Any) -> str:
    return str(value.get("kind") if isinstance(value, dict) else value)


Tagged = Annotated[
    Annotated[Cat, Tag(TAG)] | Annotated[Dog, Tag("dog")],
    Discriminator(_tag, custom_error_type=TYPE, custom_error_message=MESSAGE),
]


@validate_call
def called(name: Annotated[str, Field(pattern=PATTERN)] = DEFAULT, amount: int = 0, **extra: int) -> None:
    """Called with a payload as its arguments."""


_BOXES: list[Any] = [
    Box[Literal["zqconstzq"]],
    Box[Annotated[str, Field(default=DEFAULT, pattern=PATTERN)]],
    Box[State],
]
_ADAPTED: list[Any] = [
    Lead,
    list[Lead],
    dict[str, Entry],
    dict[Literal["zqconstzq"], int],
    Tagged,
    list["Literal['zqconstzq']"],
    Annotated[dict[str, int], Field(default={"name": DEFAULT})],
    Metadata,
    State,
    Literal["zqmemberzq"] | int,
    *_BOXES,
]


def pydantic_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """Adapters, models and calls of functions."""
    adapters = [TypeAdapter(annotation) for annotation in _ADAPTED]

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        for adapter in adapters:
            yield lambda adapter=adapter: adapter.validate_python(payload)
        if isinstance(payload, dict):
            yield lambda: Lead(**payload)
            yield lambda: called(**payload)

    return calls


# -- jsonschema


def _forbid(validator: Any, declared: Any, instance: Any, schema: Any) -> Iterator[Any]:
    given = instance.get("act") if isinstance(instance, dict) else None
    misbehave(given)
    if instance != declared:
        yield jsonschema.ValidationError(f"{MESSAGE} {instance!r}")


DOCUMENT: dict[str, Any] = {
    "title": "Lead",
    "type": "object",
    "default": {"required": [DEFAULT], "properties": {DEFAULT: {}}},
    "examples": [{"required": [VALUE], "properties": {VALUE: {}}}],
    "properties": {
        "name": {"type": "string", "pattern": PATTERN, "default": DEFAULT},
        "amount": {"type": "integer"},
        "pet": {"oneOf": [{"properties": {"kind": {"const": TAG}}}, {"properties": {"kind": {"const": "dog"}}}]},
        "secret": {"type": "object", "additionalProperties": {"type": "integer"}},
        "items": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
        "fixed": {"const": {"required": [CONST], "properties": {CONST: {}}}},
        "state": {"enum": [MEMBER, {"required": [MEMBER], "properties": {MEMBER: {}}}]},
    },
    "patternProperties": {PATTERN: {"type": "integer"}},
    "additionalProperties": {"type": "integer", "maximum": 3},
    "propertyNames": {"maxLength": 9},
    "$defs": {"entry": {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}},
    TYPE: CONST,
}


def jsonschema_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """A document with every keyword that holds data, and one keyword of the application's own."""
    extended: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, {TYPE: _forbid})
    validator = extended(DOCUMENT)

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        yield lambda: list(validator.iter_errors(payload))
        yield lambda: jsonschema.validate(payload, {"additionalProperties": {"enum": [MEMBER]}, "minProperties": 9})

    return calls


# -- marshmallow


class _Own(marshmallow.fields.String):
    default_error_messages = {TYPE: MESSAGE}  # noqa: RUF012  # as the library has it

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        raise self.make_error(TYPE)


class EntrySchema(marshmallow.Schema):
    name = marshmallow.fields.String(validate=marshmallow.validate.Regexp(PATTERN), load_default=DEFAULT)
    amount = marshmallow.fields.Integer(validate=marshmallow.validate.Range(max=3, error=MESSAGE))


class LeadSchema(marshmallow.Schema):
    name = marshmallow.fields.String(validate=marshmallow.validate.Length(max=4), load_default=DEFAULT)
    amount = marshmallow.fields.Integer()
    secret = marshmallow.fields.Dict(marshmallow.fields.Integer(), marshmallow.fields.Nested(EntrySchema))
    items = marshmallow.fields.List(marshmallow.fields.Nested(EntrySchema))
    fixed = marshmallow.fields.Raw(validate=marshmallow.validate.Equal(CONST))
    state = marshmallow.fields.Raw(validate=marshmallow.validate.OneOf([MEMBER]))
    code = _Own()
    act = marshmallow.fields.Raw()

    @marshmallow.validates_schema
    def run(self, data: Any, **_: Any) -> None:
        given = data.get("act")
        if given == "message":
            raise marshmallow.ValidationError({KEY: [MESSAGE], "name": {KEY: [MESSAGE]}}, field_name=TYPE)
        misbehave(given)


def marshmallow_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """A Schema that is kept, one per call, and one made of a dictionary."""
    kept = LeadSchema()

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        yield lambda: kept.load(payload)
        yield lambda: LeadSchema(many=True).validate([payload, payload])
        yield lambda: marshmallow.Schema.from_dict({"name": marshmallow.fields.Integer()})().load(payload)

    return calls


# -- SQLAlchemy


def sqlalchemy_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """Queries inside a validation and after one."""
    adapter = TypeAdapter(Annotated[str, AfterValidator(lambda given: ask(given, broken=True))])

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        def job() -> None:
            with endpoint("import-leads"):
                adapter.validate_python(PARAMETER)
                ask(PARAMETER)

        yield job
        yield lambda: adapter.validate_python(str(payload))

    return calls


# -- web frameworks


def fastapi_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """Bodies, parameters, responses, and paths and methods that no route has."""
    app = FastAPI()

    @app.post("/leads/{lead_id}", response_model=Lead)
    async def create(
        lead_id: int, lead: Lead, name: Annotated[str, Field(pattern=PATTERN)] = DEFAULT, x_code: int = Header(0)
    ) -> Any:
        ask(PARAMETER)
        return {"name": MESSAGE, "secret": lead.secret}

    @app.put("/raw")
    async def raw(pet: Annotated[Tagged, Body()], secret: Annotated[dict[str, int], Body()]) -> None: ...

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        body = json.dumps(payload).encode()
        yield lambda: _asgi(app, "POST", "/leads/1", body)
        yield lambda: _asgi(app, "POST", f"/leads/{VALUE}", body, f"{UNKNOWN}={VALUE}&name={VALUE}")
        yield lambda: _asgi(app, "PUT", "/raw", body)
        yield lambda: _asgi(app, UNKNOWN.upper(), f"/{UNKNOWN}", body)

    return calls


def _asgi(app: Any, method: str, path: str, body: bytes, query: str = "") -> None:
    """One request, without the cost of a client and of an event loop: nothing in it waits."""
    headers = {"content-type": "application/json", "x-code": VALUE, "cookie": f"name={VALUE}", UNKNOWN: VALUE}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None: ...

    with contextlib.suppress(StopIteration):
        app(scope, receive, send).send(None)
        raise AssertionError("the app waits for something")


def flask_calls() -> Callable[[Any], Iterator[Callable[[], object]]]:
    """A view that validates with every library, and paths and methods that no rule has."""
    app = Flask(__name__)
    app.testing = True

    @app.route("/leads/<lead_id>", methods=["POST"])
    def create(lead_id: str) -> str:
        payload = request.get_json(silent=True)
        with contextlib.suppress(marshmallow.ValidationError, LookupError, RuntimeError, PydanticCustomError):
            LeadSchema().load(payload)
        Lead.model_validate(payload)
        ask(lead_id)
        return MESSAGE

    client = app.test_client()

    def calls(payload: Any) -> Iterator[Callable[[], object]]:
        yield lambda: client.post(f"/leads/{PARAMETER}", json=payload, query_string={UNKNOWN: VALUE})
        yield lambda: client.open(f"/{UNKNOWN}", method=UNKNOWN.upper())

    return calls


CALLS = {
    "pydantic": pydantic_calls,
    "jsonschema": jsonschema_calls,
    "marshmallow": marshmallow_calls,
    "sqlalchemy": sqlalchemy_calls,
    "fastapi": fastapi_calls,
    "flask": flask_calls,
}
"""Integration → makes, once telemetry is on, the validations that a payload is thrown at."""
