"""Which schema a query is `after`: what the request is about, not what was validated to let it in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import flask
import marshmallow
import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from fastapi import Depends, FastAPI
from opentelemetry.instrumentation.schema import endpoint
from pydantic import BaseModel, field_validator
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from webargs.core import Parser

from tests.integration import asgi
from tests.telemetry import Telemetry

ENGINE = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.off()


def query() -> None:
    with ENGINE.connect() as connection:
        connection.execute(text("SELECT 1"))


def after(telemetry: Telemetry) -> dict[str, float]:
    """Schema → queries that are after it."""
    return telemetry.by("schema.query.duration", "schema.name")


class TokenPayload(BaseModel):
    sub: str


class LeadIn(BaseModel):
    n: int


class LeadOut(BaseModel):
    n: int


class LeadSchema(marshmallow.Schema):
    n = marshmallow.fields.Int()


class PageSchema(marshmallow.Schema):
    limit = marshmallow.fields.Int()


def authenticate() -> None:
    """As most applications do: a token is validated, then its user is looked up."""
    query()  # before any input: linked to nothing
    TokenPayload(sub="1")
    query()


Authenticated = Depends(authenticate)


# -- FastAPI


def test_fastapi_names_the_body_also_before_it_is_validated(telemetry: Telemetry) -> None:
    """The query that authenticates, and the handler's after a path parameter, are after the route's body."""
    app = FastAPI()

    @app.post("/leads/{lead_id}", dependencies=[Authenticated])
    def create(lead_id: int, lead: LeadIn, limit: int = 1) -> LeadOut:
        query()
        return LeadOut(n=1)

    assert asgi.request(app, "POST", "/leads/1", json={"n": 1}).status_code == 200
    assert after(telemetry) == {"LeadIn": 2}


def test_fastapi_names_the_response_where_there_is_no_body(telemetry: Telemetry) -> None:
    """A route that only reads is about what it answers."""
    app = FastAPI()

    @app.get("/leads", dependencies=[Authenticated])
    def read(limit: int = 1) -> list[LeadOut]:
        query()
        return []

    assert asgi.request(app, "GET", "/leads?limit=2").status_code == 200
    assert after(telemetry) == {"list[LeadOut]": 2}


def test_fastapi_names_a_parameter_only_where_nothing_else_was_validated(telemetry: Telemetry) -> None:
    """Without a body and a response model, the last schema that is no parameter; and one where there is no other."""
    app = FastAPI()

    @app.get("/a/{lead_id}", dependencies=[Authenticated], response_model=None)
    def authenticated(lead_id: int) -> None:
        query()

    @app.get("/b/{lead_id}", response_model=None)
    def not_authenticated(lead_id: int) -> None:
        query()

    asgi.request(app, "GET", "/a/1")
    asgi.request(app, "GET", "/b/1")
    assert after(telemetry) == {"TokenPayload": 2, "path.lead_id": 1}


def test_fastapi_names_the_body_of_an_included_router(telemetry: Telemetry) -> None:
    """A router's routes are the application's, and a parameter of a dependency is none of the route's body."""
    from fastapi import APIRouter

    router, app = APIRouter(prefix="/v1"), FastAPI()

    @router.post("/leads")
    def create(lead: LeadIn, _: Annotated[None, Authenticated]) -> None: ...

    app.include_router(router)
    asgi.request(app, "POST", "/v1/leads", json={"n": 1})
    assert after(telemetry) == {"LeadIn": 1}


# -- Django


def django_view(request: Any) -> HttpResponse:
    authenticate()
    LeadIn(n=1)
    query()
    return HttpResponse()


def test_django_names_the_schema_validated_last(telemetry: Telemetry, settings_urlconf: Any) -> None:
    """A plain view declares nothing: each query is after what was validated before it."""
    settings_urlconf([path("leads", django_view)])
    assert Client().post("/leads").status_code == 200
    assert after(telemetry) == {"TokenPayload": 1, "LeadIn": 1}


def test_ninja_names_the_body_also_before_it_is_validated(telemetry: Telemetry, settings_urlconf: Any) -> None:
    """Authentication is part of the operation, and comes before its inputs."""
    from ninja import NinjaAPI

    def auth(_request: Any) -> bool:
        authenticate()
        return True

    api = NinjaAPI(urls_namespace="linked", auth=auth)

    @api.post("/leads/{lead_id}")
    def create(request: Any, lead_id: int, lead: LeadIn, limit: int = 1) -> int:
        query()
        return 1

    @api.get("/leads", response=LeadOut)
    def read(request: Any, limit: int = 1) -> Any:
        query()
        return {"n": 1}

    settings_urlconf([path("api/", api.urls)])
    client = Client()
    answer = client.post("/api/leads/1", {"n": 1}, content_type="application/json")
    assert answer.status_code == 200
    assert after(telemetry) == {"body.lead": 2}
    assert client.get("/api/leads").status_code == 200
    assert after(telemetry) == {"body.lead": 2, "response.LeadOut": 2}


@pytest.fixture
def settings_urlconf() -> Iterator[Any]:
    """Serve these URL patterns for one test."""
    import types

    from django.test import override_settings
    from django.urls import clear_url_caches

    from tests.integration import django_site  # noqa: F401  # configures Django

    overridden: list[Any] = []

    def serve(patterns: list[Any]) -> None:
        module = types.ModuleType("linked_urls")
        module.urlpatterns = patterns  # type: ignore[attr-defined]
        overridden.append(override_settings(ROOT_URLCONF=module))
        overridden[-1].enable()

    yield serve
    for each in overridden:
        each.disable()
    clear_url_caches()


# -- Flask


def test_flask_names_the_schema_validated_last(telemetry: Telemetry) -> None:
    """A plain view declares nothing."""
    app = flask.Flask(__name__)

    @app.post("/leads")
    def create() -> str:
        authenticate()
        LeadIn(n=1)
        query()
        return ""

    app.test_client().post("/leads")
    assert after(telemetry) == {"TokenPayload": 1, "LeadIn": 1}


def test_webargs_own_names_follow_the_patch(telemetry: Telemetry) -> None:
    """`use_args` of a framework's module, whenever it was imported, is ours while we are on and its own afterwards."""
    from webargs import flaskparser

    assert flaskparser.use_args.__func__ is vars(Parser)["use_args"]
    telemetry.off()
    assert flaskparser.use_args.__func__ is vars(Parser)["use_args"]
    assert flaskparser.use_args.__func__.__module__ == "webargs.core"
    assert not hasattr(flaskparser.use_args.__func__, "__wrapped__")


def test_webargs_names_its_json_body_also_before_it_is_validated(telemetry: Telemetry) -> None:
    """What the decorator declares is known before the view runs; a schema of the query string is a parameter."""
    from webargs.flaskparser import use_args

    app = flask.Flask(__name__)
    app.before_request(authenticate)

    @app.post("/leads")
    @use_args(PageSchema, location="query")
    @use_args(LeadSchema(), location="json")
    def create(lead: Any, page: Any) -> str:
        query()
        return ""

    @app.get("/leads")
    @use_args(PageSchema, location="query")
    def read(page: Any) -> str:
        query()
        return ""

    client = app.test_client()
    assert client.post("/leads?limit=1", json={"n": 1}).status_code == 200
    assert after(telemetry) == {"LeadSchema": 2}
    assert client.get("/leads?limit=1").status_code == 200
    assert after(telemetry) == {"LeadSchema": 2, "TokenPayload": 2}


def test_webargs_alone_names_its_parameter(telemetry: Telemetry) -> None:
    """Where nothing else was validated, a parameter is what there is."""
    from webargs.flaskparser import use_args

    app = flask.Flask(__name__)

    @app.get("/leads")
    @use_args(PageSchema, location="query")
    def read(page: Any) -> str:
        query()
        return ""

    app.test_client().get("/leads?limit=1")
    assert after(telemetry) == {"PageSchema": 1}


# -- blocks


def test_an_endpoint_block_names_the_schema_validated_last(telemetry: Telemetry) -> None:
    """A job declares nothing."""
    with endpoint("import-leads"):
        authenticate()
        LeadIn(n=1)
        query()
    assert after(telemetry) == {"TokenPayload": 1, "LeadIn": 1}


class Row(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def known(cls, n: int) -> int:
        query()
        return n


class Sheet(BaseModel):
    rows: list[Row]


class RowSchema(marshmallow.Schema):
    n = marshmallow.fields.Int(validate=lambda n: query())


class SheetSchema(marshmallow.Schema):
    rows = marshmallow.fields.List(marshmallow.fields.Nested(RowSchema))


@pytest.mark.parametrize(
    ("name", "validate"), [("Sheet", Sheet.model_validate), ("SheetSchema", lambda data: SheetSchema().load(data))]
)
def test_a_query_for_each_item(telemetry: Telemetry, name: str, validate: Any) -> None:
    """A validator that asks for each of ten items shows on the validation's span, and as ten queries during it."""
    validate({"rows": [{"n": n} for n in range(10)]})
    (span,) = (each for each in telemetry.spans() if each.name == f"schema.validate {name}")
    assert (span.attributes or {})["schema.query.count"] == 10
    assert telemetry.by("schema.query.duration", "schema.name", "schema.query.relation") == {(name, "during"): 10}
