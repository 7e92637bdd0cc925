"""The validators and the kinds of request of the contract tests: the same schema `Lead` for every library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fastapi
import flask
import jsonschema
import marshmallow
import pydantic
from opentelemetry.instrumentation.schema import endpoint
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

CANARY = "canary"
CRASH = RuntimeError(f"{CANARY} message")
VALID: dict[str, Any] = {"email": "a@b", "items": [{"price": 1}]}


@dataclass
class Validator:
    """One library's validator of the schema `Lead`, built when this is made.

    Attributes:
        validate: Validates, and raises `failure` where the data breaks the schema.
        failure: The library's own exception.
        price: The rule that an `items.*.price` which is text breaks.
        unknown: The path and rule of a key that the schema does not declare.
    """

    validate: Callable[[Any], object]
    failure: type[Exception]
    price: str
    unknown: tuple[str, str]


def _check(value: Any, again: Callable[[Any], object]) -> Any:
    """The code inside the validators: it crashes, or validates something else."""
    if value == "crash":
        raise CRASH
    if value == "nest":
        again({"price": 1})
    return value


class Item(pydantic.BaseModel):
    price: int


def by_pydantic() -> Validator:
    class Lead(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        email: str
        items: list[Item] = []

        @pydantic.field_validator("email")
        @classmethod
        def check(cls, value: str) -> str:
            if value.startswith(CANARY):
                raise ValueError(f"{value} message")
            return _check(value, Item.model_validate)

    Lead.__qualname__ = "Lead"
    return Validator(Lead.model_validate, pydantic.ValidationError, "int_parsing", ("*", "extra_forbidden"))


def by_type_adapter() -> Validator:
    @pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(extra="forbid"))
    class Lead:
        email: str
        items: list[Item] = pydantic.Field(default_factory=list)

        @pydantic.field_validator("email")
        @classmethod
        def check(cls, value: str) -> str:
            if value.startswith(CANARY):
                raise ValueError(f"{value} message")
            return _check(value, Item.model_validate)

    Lead.__qualname__ = "Lead"
    adapter = pydantic.TypeAdapter(Lead)
    return Validator(
        adapter.validate_python, pydantic.ValidationError, "int_parsing", ("*", "unexpected_keyword_argument")
    )


def by_jsonschema() -> Validator:
    item = {"type": "object", "properties": {"price": {"type": "integer"}}}
    schema = {
        "title": "Lead",
        "type": "object",
        "properties": {"email": {"type": "string", "checked": True}, "items": {"type": "array", "items": item}},
        "additionalProperties": False,
    }
    inner = jsonschema.Draft202012Validator(item)

    def checked(_validator: Any, _: Any, value: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
        if isinstance(value, str) and value.startswith(CANARY):
            yield jsonschema.ValidationError(f"{value} message")
        _check(value, inner.validate)

    cls = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"checked": checked})
    return Validator(cls(schema).validate, jsonschema.ValidationError, "type", ("$", "additionalProperties"))


def by_marshmallow() -> Validator:
    class Item(marshmallow.Schema):
        price = marshmallow.fields.Integer()

    item = Item()

    def check(value: str) -> bool:
        if value.startswith(CANARY):
            raise marshmallow.ValidationError(f"{value} message")
        _check(value, item.load)
        return True

    class Lead(marshmallow.Schema):
        email = marshmallow.fields.String(validate=check)
        items = marshmallow.fields.Nested(Item, many=True)

    Lead.__qualname__ = "Lead"
    return Validator(Lead().load, marshmallow.ValidationError, "invalid", ("*", "unknown"))


LIBRARIES = {
    "pydantic": by_pydantic,
    "type_adapter": by_type_adapter,
    "jsonschema": by_jsonschema,
    "marshmallow": by_marshmallow,
}


def outcome(validator: Validator, data: Any) -> type[BaseException] | None:
    """How a validation ended for its caller."""
    try:
        validator.validate(data)
    except Exception as error:
        return type(error)
    return None


# -- kinds of request


def in_block(work: Callable[[], object]) -> dict[str, str]:
    with endpoint("import-leads"):
        work()
    return {"schema.endpoint": "import-leads"}


def in_flask(work: Callable[[], object]) -> dict[str, str]:
    app = flask.Flask("leads")

    @app.post("/leads/<kind>")
    def create(kind: str) -> str:
        work()
        return ""

    assert app.test_client().post("/leads/new").status_code == 200
    return {"http.request.method": "POST", "http.route": "/leads/<kind>"}


def in_starlette(work: Callable[[], object]) -> dict[str, str]:
    async def create(_request: object) -> Response:
        work()
        return Response()

    _post(Starlette(routes=[Route("/leads/{kind}", create, methods=["POST"])]))
    return {"http.request.method": "POST", "http.route": "/leads/{kind}"}


def in_fastapi(work: Callable[[], object]) -> dict[str, str]:
    app = fastapi.FastAPI()

    @app.post("/leads/{kind}")
    def create(kind: str) -> None:  # in a thread of the pool
        work()

    _post(app)
    return {"http.request.method": "POST", "http.route": "/leads/{kind}"}


def _post(app: Any) -> None:
    """One POST to an ASGI application, in a thread pool that ends with it."""
    import httpx

    async def post() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.post("/leads/new")).status_code

    assert asyncio.run(post()) == 200


IN_REQUEST = [in_block, in_flask, in_starlette, in_fastapi]
