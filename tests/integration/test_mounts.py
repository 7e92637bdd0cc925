"""Applications in applications, of one framework or of two: one request each, and never a raw path anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import flask
import pytest
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute

from tests.integration import asgi
from tests.telemetry import Telemetry


class Lead(BaseModel):
    age: int


@pytest.fixture(scope="module", autouse=True)
def django() -> Iterator[None]:
    """The site, and asgiref's one thread for synchronous code, which starts with the first request and stays."""
    from django.test import AsyncClient, override_settings

    from tests.integration import django_site

    with override_settings(ROOT_URLCONF=django_site.__name__, ALLOWED_HOSTS=["*"]):
        asyncio.run(AsyncClient().get("/"))
        yield


def fail() -> None:
    with pytest.raises(ValidationError):
        Lead.model_validate({})


def inner_flask() -> Any:
    """A Flask application as an ASGI one."""
    from asgiref.wsgi import WsgiToAsgi

    app = flask.Flask("inner")

    @app.post("/leads/<kind>")
    def create(kind: str) -> str:
        fail()
        return ""

    return WsgiToAsgi(app)


def inner_django() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()


def inner_starlette() -> Any:
    async def create(_request: object) -> Response:
        fail()
        return Response()

    return Starlette(routes=[Route("/leads/{kind}", create, methods=["POST"])])


def behind_a_middleware() -> Any:
    """A mounted application whose routes are not to be seen from outside."""
    app = inner_starlette()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return middleware


# What is mounted, its template of `/leads/{kind}`, and what a 404 of it counts as.
BELOW = "/of/{tenant}/{path}"
INNER = [
    pytest.param(inner_starlette, "/leads/{kind}", None, id="starlette"),
    pytest.param(behind_a_middleware, "/leads/{kind}", BELOW, id="middleware"),
    pytest.param(inner_flask, "/leads/<kind>", BELOW, id="flask"),
    pytest.param(inner_django, "/leads/<kind>", BELOW, id="django"),
]
OUTER = [Starlette, fastapi.FastAPI]


def mounted(outer: Any, app: Any) -> Any:
    found = outer()
    found.mount("/of/{tenant}", app)
    return found


@pytest.mark.parametrize("outer", OUTER, ids=lambda outer: outer.__name__)
@pytest.mark.parametrize(("inner", "template", "nowhere"), INNER)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "leads/secret", 200), ("GET", "leads/secret", 405), ("GET", "secret/secret", 404)],
)
def test_a_request_to_a_mounted_application_counts_once(
    method: str, path: str, status: int, inner: Callable[[], Any], template: str, nowhere: str | None, outer: Any,
    telemetry: Telemetry,
) -> None:  # fmt: skip
    """Whatever frameworks it passes, it is one request under all of their templates, with its failures."""
    app = mounted(outer, inner())
    assert asgi.request(app, method, f"/of/secret/{path}").status_code == status
    route = nowhere if status == 404 else f"/of/{{tenant}}{template}"
    assert telemetry.requests() == {(method, route): 1}
    failed = {(method, route): 1} if status == 200 else {}
    assert telemetry.by("validation.errors", "http.request.method", "http.route") == failed
    assert "secret" not in telemetry.everything()


def test_routes_of_a_mounted_framework_start_at_zero_below_the_mount(telemetry: Telemetry) -> None:
    """What another framework announces has the mount's template in front, as its requests will."""
    asgi.request(mounted(Starlette, inner_flask()), "GET", "/of/secret/")
    assert telemetry.requests(zeros=True)["POST", "/of/{tenant}/leads/<kind>"] == 0
    assert ("POST", "/leads/<kind>") not in telemetry.requests(zeros=True)


def test_a_call_in_the_process_is_a_request_of_its_own(telemetry: Telemetry) -> None:
    """A handler that calls another framework's application as a client would makes a second request."""
    called = flask.Flask("called")

    @called.get("/ping")
    def ping() -> str:
        return ""

    async def call(_request: object) -> Response:
        with called.test_client() as client:
            return Response(status_code=client.get("/ping").status_code)

    inner = Starlette(routes=[Route("/call", call)])

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    assert asgi.request(mounted(Starlette, middleware), "GET", "/of/secret/call").status_code == 200
    assert telemetry.requests() == {("GET", "/of/{tenant}/call"): 1, ("GET", "/ping"): 1}


@pytest.mark.parametrize(
    ("path", "closed"),
    [("socket/secret", ["websocket.accept", "websocket.close"]), ("secret", ["websocket.close"])],
)
def test_a_websocket_of_a_mounted_application(path: str, closed: list[str], telemetry: Telemetry) -> None:
    """It counts as no request, matched or not, and its path is nowhere."""

    async def socket(websocket: Any) -> None:
        await websocket.accept()
        fail()
        await websocket.close()

    app = Starlette(routes=[Mount("/of/{tenant}", routes=[WebSocketRoute("/socket/{room}", socket)])])
    assert asgi.websocket(app, f"/of/secret/{path}") == closed
    assert (telemetry.requests(), telemetry.points("validation.errors")) == ({}, [])
    assert "secret" not in telemetry.everything()


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("post", "/of/secret/leads/secret", 200, "of/<tenant>/leads/<kind>"),
        ("get", "/of/secret/leads/secret", 405, "of/<tenant>/leads/<kind>"),
        ("get", "/of/secret/secret", 404, None),
    ],
)
def test_included_routes_of_django(
    method: str, path: str, status: int, route: str | None, telemetry: Telemetry
) -> None:
    """Routes below a parameter of an `include` are whole templates."""
    from django.test import Client

    assert getattr(Client(), method)(path).status_code == status
    assert telemetry.requests() == {(method.upper(), route): 1}
    assert "secret" not in telemetry.everything()
