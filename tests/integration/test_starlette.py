"""Starlette: what counts as a request, under which route, and what inside it belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import endpoint, faults
from opentelemetry.instrumentation.schema._recording.recorder import Recorder
from opentelemetry.instrumentation.schema.integrations.starlette import install as integration
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from tests.integration import asgi
from tests.telemetry import Telemetry


class Lead(BaseModel):
    age: int


def fail(age: str = "x") -> None:
    """One failed validation."""
    try:
        Lead(age=age)  # type: ignore[arg-type]
    except ValidationError:
        pass


async def ok(_request: Request) -> Response:
    Lead(age=1)
    return Response()


def sync(_request: Request) -> Response:
    fail()
    return Response()


async def crash(_request: Request) -> Response:
    raise ZeroDivisionError


class Resource(HTTPEndpoint):
    async def get(self, _request: Request) -> Response:
        return Response()


async def stream(_request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.sleep(0)
        fail()
        yield b"2"

    return StreamingResponse(body())


async def with_background(_request: Request) -> Response:
    return Response(background=BackgroundTask(fail))


async def socket(websocket: Any) -> None:
    await websocket.accept()
    fail()
    await websocket.close()


def build(folder: str = ".") -> Starlette:
    inner = Starlette(routes=[Route("/", ok), Route("/leads/{lead_id:int}", ok, methods=["GET", "PUT"])])
    router = Router([Route("/{kind}", ok), Mount("/deep", routes=[Route("/{n}", ok)])])
    return Starlette(
        routes=[
            Route("/leads", ok, methods=["GET"]),
            Route("/leads", sync, methods=["POST"]),
            Route("/leads/{lead_id}", ok),
            Route("/crash", crash),
            Route("/resource", Resource),
            Route("/stream", stream),
            Route("/background", with_background),
            WebSocketRoute("/socket", socket),
            Mount("/v{version}/api", app=inner),
            Mount("/router", app=router),
            Mount("/files", app=StaticFiles(directory=folder)),
            Mount("/again", app=inner),
        ]
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "counted"),
    [
        ("GET", "/leads", 200, ("GET", "/leads")),
        ("GET", "/leads?secret=1", 200, ("GET", "/leads")),
        ("GET", "/leads/secret", 200, ("GET", "/leads/{lead_id}")),
        ("HEAD", "/leads/secret", 200, ("HEAD", "/leads/{lead_id}")),
        ("OPTIONS", "/leads", 405, ("OPTIONS", "/leads")),
        ("DELETE", "/leads/secret", 405, ("DELETE", "/leads/{lead_id}")),
        ("BREW", "/leads", 405, ("_OTHER", "/leads")),
        ("GET", "/resource", 200, ("GET", "/resource")),
        ("GET", "/secret", 404, ("GET", None)),
        ("BREW", "/secret", 404, ("_OTHER", None)),
        ("GET", "/leads/", 307, ("GET", None)),
        ("GET", "/crash", 500, ("GET", "/crash")),
        ("GET", "/vsecret/api/", 200, ("GET", "/v{version}/api/")),
        ("PUT", "/vsecret/api/leads/7", 200, ("PUT", "/v{version}/api/leads/{lead_id}")),
        ("GET", "/vsecret/api/leads/secret", 404, ("GET", None)),
        ("GET", "/again/leads/7", 200, ("GET", "/again/leads/{lead_id}")),
        ("GET", "/router/secret", 200, ("GET", "/router/{kind}")),
        ("GET", "/router/deep/secret", 200, ("GET", "/router/deep/{n}")),
        ("GET", "/router/deep/secret/secret", 404, ("GET", None)),
        ("GET", "/files/secret.txt", 404, ("GET", "/files/{path}")),
    ],
)
def test_a_request_counts_under_its_template(
    method: str, path: str, status: int, counted: tuple[str, str | None], telemetry: Telemetry
) -> None:
    """Every request counts once, with its method and the template of the route that it matched, and never its path."""
    response = asgi.request(build(), method, path)
    assert response.status_code == status
    assert telemetry.requests() == {counted: 1}
    assert "secret" not in telemetry.everything()


def test_every_route_starts_at_zero(telemetry: Telemetry) -> None:
    """From the app's start each method of each route reads 0, in mounts too; what no request may ever use does not."""
    asgi.lifespan(build())
    mounted = {"/", "/leads/{lead_id}"}
    assert set(telemetry.requests(zeros=True)) == {
        ("GET", "/leads"),
        ("POST", "/leads"),
        *(("GET", path) for path in ("/leads/{lead_id}", "/crash", "/stream", "/background")),
        *(("GET", prefix + path) for prefix in ("/v{version}/api", "/again") for path in mounted),
        *(("PUT", f"{prefix}/leads/{{lead_id}}") for prefix in ("/v{version}/api", "/again")),
        ("GET", "/router/{kind}"),
        ("GET", "/router/deep/{n}"),
    }
    assert sum(telemetry.requests(zeros=True).values()) == 0


def test_without_a_lifespan_the_first_request_announces(telemetry: Telemetry) -> None:
    """A server that sends no lifespan events has the zeros from the first request on."""
    asgi.request(build(), "GET", "/leads")
    assert telemetry.requests(zeros=True)["GET", "/crash"] == 0
    assert telemetry.requests() == {("GET", "/leads"): 1}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/leads"), ("GET", "/stream"), ("GET", "/background")], ids=["sync", "stream", "task"]
)
def test_what_a_request_runs_belongs_to_it(method: str, path: str, telemetry: Telemetry) -> None:
    """A handler in a thread of the pool, a streamed body and a background task fail under the request's endpoint."""
    asgi.request(build(), method, path)
    assert telemetry.by("validation.errors", "http.request.method", "http.route", "schema.name") == {
        (method, path, "Lead"): 1
    }


def test_a_websocket_is_no_request(telemetry: Telemetry) -> None:
    """A websocket does not count, and its failures are in the histogram alone."""
    assert asgi.websocket(build(), "/socket") == ["websocket.accept", "websocket.close"]
    assert telemetry.requests() == {}
    assert telemetry.points("validation.errors") == []
    assert telemetry.validations() == {"invalid": 1}


def test_a_middleware_of_ones_own(telemetry: Telemetry) -> None:
    """`BaseHTTPMiddleware` runs the app in a task of its own: the route is known there, and in what comes after it."""

    async def dispatch(request: Request, call_next: Callable[[Request], Any]) -> Response:
        fail("before")
        response = await call_next(request)
        fail("after")
        return response

    app = Starlette(
        routes=[Route("/leads/{id}", ok), Mount("/m", routes=[Route("/{x}", ok)])],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)] * 2,
    )
    asgi.request(app, "GET", "/leads/1")
    asgi.request(app, "GET", "/m/1")
    assert telemetry.requests() == {("GET", "/leads/{id}"): 1, ("GET", "/m/{x}"): 1}
    errors = telemetry.by("validation.errors", "http.request.method", "http.route")
    assert errors == {("GET", None): 4, ("GET", "/leads/{id}"): 2, ("GET", "/m/{x}"): 2}


def test_a_middleware_that_answers_itself(telemetry: Telemetry) -> None:
    """A request that never reaches a route counts without one."""

    async def dispatch(_request: Request, _call_next: Any) -> Response:
        return PlainTextResponse("no", 403)

    app = Starlette(routes=[Route("/", ok)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])
    assert asgi.request(app, "GET", "/").status_code == 403
    assert telemetry.requests() == {("GET", None): 1}


def test_requests_at_the_same_time_keep_apart(telemetry: Telemetry) -> None:
    """Interleaved requests, in tasks and in threads, each count and fail under their own route."""
    app = build()
    calls = [("GET", "/stream"), ("POST", "/leads"), ("GET", "/background"), ("GET", "/leads/1")]
    asgi.requests(app, *((method, path, {}) for method, path in calls * 20))
    assert set(telemetry.requests().values()) == {20}
    assert telemetry.by("validation.errors", "http.route") == {"/stream": 20, "/leads": 20, "/background": 20}


def test_a_block_in_a_request_is_an_endpoint_of_its_own(telemetry: Telemetry) -> None:
    """What runs in `endpoint()` inside a request counts there, and what comes after it in the request again."""

    async def job(_request: Request) -> Response:
        with endpoint("job"):
            fail()
        fail()
        return Response()

    asgi.request(Starlette(routes=[Route("/job", job)]), "GET", "/job")
    assert telemetry.by("validation.errors", "schema.endpoint", "http.route") == {("job", None): 1, (None, "/job"): 1}
    assert telemetry.total("api.requests") == 2


def test_routes_by_host(telemetry: Telemetry) -> None:
    """A `Host` has no part in the template."""
    app = Starlette(routes=[Host("{sub}.example", app=Router([Route("/leads/{id}", ok)]))])
    asgi.request(app, "GET", "/leads/1")
    assert telemetry.requests() == {("GET", "/leads/{id}"): 1}


@pytest.mark.parametrize(
    ("patterns", "excluded"),
    [("healthz", True), ("^http://shop.example/healthz$", True), ("other,heal.h", True), ("/healthz/", False)],
)
def test_excluded_urls(
    patterns: str, excluded: bool, monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Telemetry]
) -> None:
    """An excluded URL is no request, and what it validates is in the histogram alone; announced it is all the same."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", patterns)
    telemetry = watch()
    app = Starlette(routes=[Route("/healthz", sync), Route("/leads", ok)])
    asgi.request(app, "GET", "/healthz")
    asgi.request(app, "GET", "/leads")
    assert telemetry.requests(zeros=True) == {("GET", "/healthz"): int(not excluded), ("GET", "/leads"): 1}
    assert telemetry.total("validation.errors") == int(not excluded)


def test_a_mounted_path_is_excluded_by_what_the_client_asked_for(
    monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Telemetry]
) -> None:
    """Behind a proxy's prefix the URL holds the prefix once."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "^http://shop.example/shop/healthz$")
    telemetry = watch()
    app = Starlette(routes=[Route("/healthz", ok)])

    async def behind_a_proxy(scope: Any, receive: Any, send: Any) -> None:  # as servers do since 2024
        await app({**scope, "root_path": "/shop"}, receive, send)

    asgi.request(behind_a_proxy, "GET", "/shop/healthz")
    assert telemetry.requests() == {}


def test_several_apps_in_a_process(telemetry: Telemetry) -> None:
    """Apps with the same routes share their counters, and each announces its own."""
    one = Starlette(routes=[Route("/leads", ok), Route("/one", ok)])
    other = Starlette(routes=[Route("/leads", ok), Route("/other", ok)])
    for app in (one, other):
        asgi.request(app, "GET", "/leads")
    assert telemetry.requests(zeros=True) == {("GET", "/leads"): 2, ("GET", "/one"): 0, ("GET", "/other"): 0}


def test_a_router_that_is_the_whole_application(telemetry: Telemetry) -> None:
    """A bare `Router` is an application: its requests count, and its routes start at 0."""
    app = Router([Route("/leads/{lead_id}", sync), Mount("/of/{tenant}", routes=[Route("/leads", ok)])])
    asgi.request(app, "GET", "/leads/secret")
    assert telemetry.requests(zeros=True) == {("GET", "/leads/{lead_id}"): 1, ("GET", "/of/{tenant}/leads"): 0}
    assert telemetry.by("validation.errors", "http.route") == {"/leads/{lead_id}": 1}


def test_an_app_made_before(watch: Callable[..., Telemetry]) -> None:
    """An app that served before `instrument()`, with its middleware stack built, is seen from then on."""
    app = build()
    asgi.request(app, "GET", "/leads/1")
    telemetry = watch()
    asgi.request(app, "GET", "/leads/1")
    assert telemetry.requests() == {("GET", "/leads/{lead_id}"): 1}


def test_the_server_span_gets_number_and_time(telemetry: Telemetry) -> None:
    """Of the server span of OpenTelemetry's ASGI middleware: what its route's handler validated."""
    contrib = pytest.importorskip("opentelemetry.instrumentation.asgi")
    app = contrib.OpenTelemetryMiddleware(build(), tracer_provider=telemetry.tracers)
    asgi.request(app, "POST", "/leads")
    asgi.request(app, "GET", "/stream")
    servers = [span for span in telemetry.spans() if span.kind.name == "SERVER"]
    assert [span.attributes["schema.validation.count"] for span in servers] == [1, 1]
    assert all(0 < span.attributes["schema.validation.duration"] < 5 for span in servers)
    failed = [span for span in telemetry.spans() if span.name == "schema.validate Lead"]
    assert [span.parent.span_id for span in failed] == [server.context.span_id for server in servers]
    assert failed[0].attributes["http.route"] == "/leads"


def test_nothing_of_ours_blocks_the_event_loop() -> None:
    """From start to end of an app, a first request included, we wait for no file and no thread, and import nothing."""
    code = """
import sys
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
SchemaInstrumentor().instrument(meter_provider=MeterProvider([InMemoryMetricReader()]))
import pydantic
from tests.integration import asgi
from blockbuster import BlockBuster
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
class Lead(pydantic.BaseModel):
    age: int
class Theirs(Lead):
    __module__ = "httpx"                 # as of an installed library
def ours():
    return {name for name in sys.modules if name.startswith("opentelemetry.")}
async def validate(request):
    Lead(age=1), Theirs(age=1)
    return Response()
app = Starlette(routes=[Route("/", validate)])
faults.reraise = True
loaded = ours()
blockbuster = BlockBuster()
blockbuster.activate()
asgi.lifespan(app)
print([answer.status_code for answer in asgi.requests(app, *[("GET", "/", {})] * 3)], ours() - loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[200, 200, 200] set()", done.stdout + done.stderr


def test_the_event_loop_runs_on_while_the_last_values_are_exported(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lifespan's end waits for the export, and nobody else does."""
    turned, waited = threading.Event(), list[bool]()

    def export(**_: float) -> bool:
        waited.append(turned.wait(4))
        return True

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        asyncio.get_running_loop().call_soon(turned.set)

    monkeypatch.setattr(telemetry.reader, "force_flush", export)
    asgi.lifespan(Starlette(lifespan=lifespan))
    assert waited == [True]


def test_starlette_alone_imports_no_fastapi() -> None:
    """An app that is Starlette's alone never imports FastAPI or Pydantic because of us, though both are installed."""
    code = """
import sys
from opentelemetry.instrumentation.schema import SchemaInstrumentor
SchemaInstrumentor().instrument()
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.integration import asgi
async def ok(request):
    return Response()
assert asgi.request(Starlette(routes=[Route("/", ok)]), "GET", "/").status_code == 200
print({"fastapi", "pydantic"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


ROOT = Path(__file__).parents[2]
BROKEN = [
    (integration, "web_endpoint"),
    (integration, "_url"),
    (integration, "_routes"),
    (integration, "_prefix"),
    (Recorder, "count_request"),
    (integration.Request, "enter_handler"),
    (integration.Request, "leave_handler"),
]


@pytest.mark.parametrize(("where", "name"), BROKEN, ids=[name for _, name in BROKEN])
def test_our_own_fault_answers_the_request(
    where: Any, name: str, watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails of ours, the response is what it was, and the fault is counted."""
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "none")
    telemetry = watch()

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(where, name, broken)
    app = build()
    with telemetry.tracer.start_as_current_span("server"):
        assert asgi.request(app, "GET", "/leads").status_code == 200
        assert asgi.request(app, "GET", "/again/leads/7").status_code == 200
    assert telemetry.total("schema.telemetry.errors", schema_telemetry_component="starlette") > 0
