"""FastAPI: parameters, bodies and responses under names that a person recognises, routes with all their prefixes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, FastAPI, Form, Header, Path, Query
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.integration import asgi
from tests.telemetry import Telemetry

VERSION = tuple(int(part) for part in fastapi.__version__.split(".")[:2])
GOOD = {"email": "a@b.co", "score": 3}


class LeadIn(BaseModel):
    email: str
    score: int = 0


class LeadOut(BaseModel):
    id: int


def page(limit: int = 10, offset: Annotated[int, Query(alias="from")] = 0) -> int:
    return limit + offset


def build() -> FastAPI:
    """An app with every kind of place that FastAPI validates."""
    app = FastAPI()
    leads, notes = APIRouter(prefix="/leads"), APIRouter(prefix="/{lead_id}/notes")

    @leads.post("", response_model=LeadOut)
    def create(lead: LeadIn) -> Any:
        return {"id": 1}

    @leads.get("")
    async def search(
        paged: Annotated[int, Depends(page)], q: str, x_trace: Annotated[str, Header()], who: Annotated[str, Cookie()]
    ) -> list[LeadOut]:
        return [{"id": 1}]  # type: ignore[list-item]

    @leads.get("/{lead_id}")
    async def read(lead_id: Annotated[int, Path(gt=0)]) -> LeadOut:
        return {"id": lead_id}  # type: ignore[return-value]

    @leads.put("/many")
    async def many(leads: list[LeadIn], note: Annotated[str | None, Body()] = None) -> int:
        return len(leads)

    @notes.delete("/{note}")
    async def remove(lead_id: int, note: int):
        return None

    leads.include_router(notes)
    app.include_router(leads, prefix="/api")
    return app


def names(telemetry: Telemetry) -> dict[str, float]:
    return telemetry.by("schema.validation.duration", "schema.name")


# -- names


def test_a_body_and_a_response_have_the_names_of_their_types(telemetry: Telemetry) -> None:
    """A request body and a response model are one validation each, under their classes' names and module."""
    assert asgi.request(build(), "POST", "/api/leads", json=GOOD).status_code == 200
    assert telemetry.by("schema.validation.duration", "schema.name", "schema.module", "http.route") == {
        ("LeadIn", __name__, "/api/leads"): 1,
        ("LeadOut", __name__, "/api/leads"): 1,
    }


def test_parameters_have_the_names_that_clients_write(telemetry: Telemetry) -> None:
    """Query, header and cookie parameters, those of dependencies too, have their place and alias as name."""
    headers = {"x-trace": "t", "cookie": "who=me"}
    response = asgi.request(build(), "GET", "/api/leads?q=x&from=3&limit=5", headers=headers)
    assert response.status_code == 200
    assert names(telemetry) == {
        "query.q": 1, "query.limit": 1, "query.from": 1, "header.x-trace": 1, "cookie.who": 1, "list[LeadOut]": 1,
    }  # fmt: skip
    assert telemetry.total("schema.validation.duration", schema_name="query.q", schema_module=__name__) == 0


def test_bodies_of_several_parts(telemetry: Telemetry) -> None:
    """Of a body of several parameters, each is a validation of its own; a plain one is named after its place."""
    asgi.request(build(), "PUT", "/api/leads/many", json={"leads": [GOOD, GOOD], "note": "n"})
    found = names(telemetry)
    assert found.pop("list[LeadIn]") == 1
    assert found.pop("body.note") == 1
    assert sum(found.values()) == 1, "the response, an int"


@pytest.mark.skipif(VERSION < (0, 115), reason="models of parameters are newer")
def test_a_model_of_parameters_has_its_own_name(telemetry: Telemetry) -> None:
    """A model that holds query, header or form parameters is known by its class."""

    class Filter(BaseModel):
        limit: int = 1

    app = FastAPI()

    def search(filters: Any) -> None:
        return None

    search.__annotations__ = {"filters": Annotated[Filter, Query()]}
    app.get("/search")(search)
    assert asgi.request(app, "GET", "/search?limit=2").status_code == 200
    assert names(telemetry) == {Filter.__qualname__: 1}


# -- failures


@pytest.mark.parametrize(
    ("method", "path", "options", "failed", "problem"),
    [
        ("POST", "/api/leads", {"json": {"score": "secret"}}, "LeadIn", ("email", "missing")),
        ("POST", "/api/leads", {"json": {**GOOD, "score": "secret"}}, "LeadIn", ("score", "int_parsing")),
        ("GET", "/api/leads/secret", {}, "path.lead_id", ("$", "int_parsing")),
        ("GET", "/api/leads/0", {}, "path.lead_id", ("$", "greater_than")),
        ("DELETE", "/api/leads/1/notes/secret", {}, "path.note", ("$", "int_parsing")),
    ],
)
def test_a_422_is_an_invalid_validation(
    method: str, path: str, options: Any, failed: str, problem: tuple[str, str], telemetry: Telemetry
) -> None:
    """What FastAPI answers with 422 counts in `validation.errors` under its route, with its problem."""
    assert asgi.request(build(), method, path, **options).status_code == 422
    route = {"POST": "/api/leads", "GET": "/api/leads/{lead_id}", "DELETE": "/api/leads/{lead_id}/notes/{note}"}[method]
    assert telemetry.by("validation.errors", "schema.name", "error.type", "http.request.method", "http.route") == {
        (failed, "ValidationError", method, route): 1
    }
    assert problem in telemetry.problems()
    assert "secret" not in telemetry.everything()


@pytest.mark.parametrize(
    ("method", "path", "options", "failed"),
    [
        ("GET", "/api/leads", {}, {"query.q", "header.x-trace", "cookie.who"}),
        ("POST", "/api/leads", {}, {"LeadIn"}),
        ("PUT", "/api/leads/many", {"json": {"note": "n"}}, {"list[LeadIn]"}),
        ("PUT", "/api/leads/many", {"json": [GOOD]}, {"list[LeadIn]", "body.note"}),
    ],
    ids=["parameters", "body", "part", "parts of no object"],
)
def test_a_required_value_missing_altogether_is_an_invalid_validation(
    method: str, path: str, options: Any, failed: set[str], telemetry: Telemetry
) -> None:
    """FastAPI answers it without a call into its validator: it counts, is timed and has its problem all the same."""
    assert asgi.request(build(), method, path, **options).status_code == 422
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {(name, path): 1 for name in failed}
    outcomes = telemetry.by("schema.validation.duration", "schema.name", "schema.validation.outcome")
    assert {name for name, outcome in outcomes if outcome == "invalid"} == failed
    assert telemetry.problems() == {("$", "missing"): len(failed)}


@pytest.mark.parametrize(
    ("method", "path", "failed"), [("POST", "/api/leads", "LeadIn"), ("PUT", "/api/leads/many", "list[LeadIn]")]
)
def test_a_body_that_is_no_json_is_an_invalid_validation(
    method: str, path: str, failed: str, telemetry: Telemetry
) -> None:
    """FastAPI answers 422 itself: one invalid validation of the body's schema, of the first of several."""
    app, headers = build(), {"content-type": "application/json"}
    seen = asgi.request(app, method, path, content=b'{"email": secret', headers=headers)
    assert (seen.status_code, seen.json()["detail"][0]["type"]) == (422, "json_invalid")
    assert telemetry.by("validation.errors", "schema.name", "error.type", "http.route") == {
        (failed, "ValidationError", path): 1
    }
    assert telemetry.validations() == {"invalid": 1}
    assert telemetry.problems() == {("$", "json_invalid"): 1}
    assert "secret" not in telemetry.everything()
    telemetry.off()
    plain = asgi.request(app, method, path, content=b'{"email": secret', headers=headers)
    assert plain.json() == seen.json()


def test_an_applications_own_request_validation_error(telemetry: Telemetry) -> None:
    """What an application raises as FastAPI would counts what it validated, and nothing of ours on top."""
    from fastapi.exceptions import RequestValidationError

    app = FastAPI()

    @app.post("/leads")
    async def create(request: fastapi.Request):
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body", 0), "msg": "own", "input": {}}])

    assert asgi.request(app, "POST", "/leads").status_code == 422
    assert telemetry.validations() == {}


def test_a_missing_value_has_the_span_of_a_failed_validation(telemetry: Telemetry) -> None:
    """Its span is notable, and what FastAPI answers is what it answers without us."""
    app = build()
    seen = asgi.request(app, "POST", "/api/leads")
    (span,) = telemetry.spans()
    assert (span.name, (span.attributes or {})["schema.validation.outcome"]) == ("schema.validate LeadIn", "invalid")
    telemetry.off()
    plain = asgi.request(app, "POST", "/api/leads")
    assert (plain.status_code, plain.json()) == (seen.status_code, seen.json())


def test_a_response_that_breaks_its_model_counts(telemetry: Telemetry) -> None:
    """What FastAPI answers with 500, because the application's own response is invalid, is a failure of that schema."""
    app = FastAPI()

    @app.get("/lead", response_model=LeadOut)
    def lead() -> Any:
        return {"id": "secret"}

    assert asgi.request(app, "GET", "/lead").status_code == 500
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {("LeadOut", "/lead"): 1}


# -- fields that come late


def _leads() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/leads/{lead_id}")
    def create(lead_id: int, lead: LeadIn, limit: int = 1) -> LeadOut:
        return LeadOut(id=lead_id)

    return router


@pytest.mark.parametrize("made_before", [False, True], ids=["router made after", "router made before"])
@pytest.mark.parametrize("moment", ["before the start", "in the lifespan", "after the first request"])
def test_routers_included_late(moment: str, made_before: bool, watch: Callable[..., Telemetry]) -> None:
    """Whenever a router is included, each of its validators has its name, and starts at 0 at its first use."""
    app, router = FastAPI(), _leads() if made_before else None
    telemetry = watch()
    router = router or _leads()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.include_router(router)
        yield

    if moment == "in the lifespan":
        app = FastAPI(lifespan=lifespan)
    elif moment == "before the start":
        app.include_router(router)
    asgi.lifespan(app)
    if moment == "after the first request":
        assert asgi.request(app, "POST", "/v1/leads/1?limit=2", json=GOOD).status_code == 404
        app.include_router(router)
    route, names = "/v1/leads/{lead_id}", {"path.lead_id", "query.limit", "LeadIn", "LeadOut"}
    assert asgi.request(app, "POST", "/v1/leads/x?limit=y", json={}).status_code == 422
    errors = telemetry.by("validation.errors", "schema.name", "http.route", zeros=True)
    assert errors == {(name, route): int(name != "LeadOut") for name in names}
    assert asgi.request(app, "POST", "/v1/leads/1?limit=2", json=GOOD).status_code == 200
    found = telemetry.by("schema.validation.duration", "schema.name", "http.route", "schema.validation.outcome")
    assert {(name, outcome) for name, seen, outcome in found if seen == route} == {
        *((name, "valid") for name in names), *((name, "invalid") for name in names - {"LeadOut"}),
    }  # fmt: skip


def test_dependency_overrides(telemetry: Telemetry) -> None:
    """Parameters of what stands in for a dependency, built per request, have the names that clients write."""

    def port(limit: int = 5) -> int:
        raise NotImplementedError

    def adapter(size: int = 5, x_trace: Annotated[int, Header()] = 0) -> int:
        return size

    app = FastAPI()

    @app.post("/leads")
    def create(found: int = Depends(port), paged: int = Depends(page)):
        return None

    app.dependency_overrides[port] = adapter
    assert asgi.request(app, "POST", "/leads?size=3&limit=1", headers={"x-trace": "1"}).status_code == 200
    assert asgi.request(app, "POST", "/leads?size=x&limit=y", headers={"x-trace": "z"}).status_code == 422
    named = {"query.size", "query.limit", "header.x-trace"}
    outcomes = telemetry.by("schema.validation.duration", "schema.name", "schema.validation.outcome")
    assert outcomes == {(name, outcome): 1 for name in named for outcome in ("valid", "invalid")}
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {(name, "/leads"): 1 for name in named}


# -- zeros


PAIRS = {
    ("POST", "/api/leads"): {"LeadIn", "LeadOut"},
    ("GET", "/api/leads"): {"query.limit", "query.from", "query.q", "header.x-trace", "cookie.who", "list[LeadOut]"},
    ("GET", "/api/leads/{lead_id}"): {"path.lead_id", "LeadOut"},
    ("DELETE", "/api/leads/{lead_id}/notes/{note}"): {"path.lead_id", "path.note"},
}


def errors(telemetry: Telemetry) -> dict[Any, set[str]]:
    """Endpoint → the schemas that have an error counter for it."""
    found: dict[Any, set[str]] = {}
    for attributes, _ in telemetry.points("validation.errors"):
        assert attributes["error.type"] == "ValidationError"
        endpoint = attributes["http.request.method"], attributes["http.route"]
        found.setdefault(endpoint, set()).add(attributes["schema.name"])
    return found


def test_requests_and_bodies_start_at_zero(telemetry: Telemetry) -> None:
    """From the app's start each endpoint reads 0 requests, and each body 0 errors; no other series exists."""
    asgi.lifespan(build())
    assert errors(telemetry) == {
        ("POST", "/api/leads"): {"LeadIn"},
        ("PUT", "/api/leads/many"): {"list[LeadIn]", "body.note"},
    }
    requests = telemetry.requests(zeros=True)
    assert {("PUT", "/api/leads/many"), *PAIRS} <= set(requests)
    assert set(requests.values()) == {0}
    for unused in ("cache.hits", "cache.misses", "schema.validation.duration"):
        assert telemetry.points(unused) == []


def test_a_route_expects_all_that_it_declares_once_it_is_used(telemetry: Telemetry) -> None:
    """The first request to a route lets the counters of its parameters, dependencies and response exist."""
    app = build()
    asgi.request(app, "GET", "/api/leads?q=x")  # the header is missing, so nothing of the response is validated
    assert errors(telemetry)["GET", "/api/leads"] == PAIRS["GET", "/api/leads"]
    for counter in ("cache.hits", "cache.misses"):
        names = {attributes["schema.name"] for attributes, _ in telemetry.points(counter)}
        assert names == PAIRS["GET", "/api/leads"]


def test_the_first_failure_of_a_body_is_a_step(telemetry: Telemetry) -> None:
    """The series that a failure counts in is the one that read 0."""
    app = build()
    asgi.lifespan(app)
    series = {frozenset(attributes.items()) for attributes, _ in telemetry.points("validation.errors")}
    asgi.request(app, "POST", "/api/leads", json={})
    failed = {frozenset(attributes.items()) for attributes, value in telemetry.points("validation.errors") if value}
    assert len(failed) == 1
    assert failed <= series


# -- routes


def test_included_routers_with_prefixes(telemetry: Telemetry) -> None:
    """One router included twice is two routes, each with all the prefixes above it."""
    router, outer, app = APIRouter(prefix="/leads"), APIRouter(prefix="/o"), FastAPI()

    @router.get("/{lead_id}")
    def read(lead_id: int):
        return None

    outer.include_router(router, prefix="/i")
    app.include_router(outer, prefix="/v1")
    app.include_router(outer, prefix="/v2")
    app.include_router(router)
    for path in ("/v1/o/i/leads/1", "/v2/o/i/leads/1", "/v2/o/i/leads/1", "/leads/1"):
        assert asgi.request(app, "GET", path).status_code == 200
    templates = {"/v1/o/i/leads/{lead_id}": 1, "/v2/o/i/leads/{lead_id}": 2, "/leads/{lead_id}": 1}
    assert telemetry.by("api.requests", "http.route") == templates
    assert telemetry.by("schema.validation.duration", "schema.name", "http.route") == {
        ("path.lead_id", route): number for route, number in templates.items()
    }
    assert set(telemetry.by("validation.errors", "http.route", zeros=True)) == set(templates)


def test_sub_applications(telemetry: Telemetry) -> None:
    """A FastAPI app mounted in another counts a request once, under the mount's prefix."""
    app, sub = FastAPI(), build()
    app.mount("/sub/{tenant}", sub)
    assert asgi.request(app, "GET", "/sub/secret/api/leads/7").status_code == 200
    assert asgi.request(app, "GET", "/sub/secret/nowhere").status_code == 404
    assert telemetry.requests() == {("GET", "/sub/{tenant}/api/leads/{lead_id}"): 1, ("GET", None): 1}
    assert telemetry.total("validation.errors", http_route="/sub/{tenant}/api/leads") == 0
    assert telemetry.requests(zeros=True)["POST", "/sub/{tenant}/api/leads"] == 0
    assert "secret" not in telemetry.everything()


@pytest.mark.parametrize(
    ("method", "path", "status", "counted"),
    [
        ("GET", "/nowhere", 404, ("GET", None)),
        ("PATCH", "/api/leads", 405, ("PATCH", "/api/leads")),
        ("BREW", "/api/leads", 405, ("_OTHER", "/api/leads")),
        ("HEAD", "/api/leads", 405, ("HEAD", "/api/leads")),
        ("GET", "/openapi.json", 200, ("GET", "/openapi.json")),
    ],
)
def test_what_no_route_answers(
    method: str, path: str, status: int, counted: tuple[str, str | None], telemetry: Telemetry
) -> None:
    """A 404 counts without a route, a 405 with the route whose path matched, an unknown method as `_OTHER`."""
    assert asgi.request(build(), method, path).status_code == status
    assert telemetry.requests() == {counted: 1}


def test_background_tasks_and_the_thread_pool(telemetry: Telemetry) -> None:
    """A sync handler and a background task validate within their request."""
    app = FastAPI()

    def fail() -> None:
        try:
            LeadIn.model_validate({})
        except ValueError:
            pass

    @app.post("/leads")
    def create(tasks: BackgroundTasks):
        tasks.add_task(fail)
        fail()

    asgi.request(app, "POST", "/leads")
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {("LeadIn", "/leads"): 2}


def test_a_websocket_is_no_request(telemetry: Telemetry) -> None:
    """A websocket's parameters are validated under their names, and count for no endpoint."""
    app = FastAPI()

    @app.websocket("/socket/{room}")
    async def socket(websocket: fastapi.WebSocket, room: int) -> None:
        await websocket.accept()
        await websocket.close()

    asgi.websocket(app, "/socket/7")
    assert (telemetry.requests(), telemetry.points("validation.errors")) == ({}, [])
    assert names(telemetry) == {"path.room": 1}


def test_forms(telemetry: Telemetry) -> None:
    """A form's fields are named as those of a body."""
    app = FastAPI()

    @app.post("/form")
    def form(email: Annotated[str, Form()]):
        return None

    asgi.request(app, "POST", "/form", data={"email": "x"})
    assert names(telemetry) == {"body.email": 1}


# -- in whose company


def test_apps_made_before(watch: Callable[..., Telemetry]) -> None:
    """Apps that were made, and had served, before `instrument()` give the same series as those made after it."""
    app = build()
    asgi.request(app, "POST", "/api/leads", json=GOOD)
    found = []
    for served in (app, build()):
        telemetry = watch()
        asgi.request(served, "POST", "/api/leads", json={})
        asgi.request(served, "GET", "/api/leads/x")
        found.append(
            (
                telemetry.by("schema.validation.duration", "schema.name", "schema.module", "http.route"),
                telemetry.by("validation.errors", "schema.name", "http.route", zeros=True),
                telemetry.requests(zeros=True),
            )
        )
        telemetry.off()
    assert found[0] == found[1]


def test_several_apps_with_the_same_model(telemetry: Telemetry) -> None:
    """Two apps that use one model share its series; what tells them apart is the route."""
    one, other = build(), FastAPI()

    @other.post("/leads")
    def create(lead: LeadIn):
        return None

    asgi.request(one, "POST", "/api/leads", json=GOOD)
    asgi.request(other, "POST", "/leads", json=GOOD)
    assert telemetry.by("schema.validation.duration", "schema.name", "http.route") == {
        ("LeadIn", "/api/leads"): 1, ("LeadOut", "/api/leads"): 1, ("LeadIn", "/leads"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_the_instrumentation_of_fastapi(
    ours_first: bool, watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside opentelemetry-instrumentation-fastapi, in either order: one count, and what was validated on its span."""
    FastAPIInstrumentor = pytest.importorskip("opentelemetry.instrumentation.fastapi").FastAPIInstrumentor
    app = build()
    if ours_first:
        telemetry = watch()
        FastAPIInstrumentor.instrument_app(app, tracer_provider=telemetry.tracers)
    else:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
        telemetry = watch()
        provider.add_span_processor(SimpleSpanProcessor(telemetry.exporter))
    assert asgi.request(app, "POST", "/api/leads", json={}).status_code == 422
    FastAPIInstrumentor.uninstrument_app(app)
    assert telemetry.requests() == {("POST", "/api/leads"): 1}
    (server,) = [span for span in telemetry.spans() if span.kind.name == "SERVER"]
    (failed,) = [span for span in telemetry.spans() if span.name == "schema.validate LeadIn"]
    assert server.attributes["schema.validation.count"] == 1
    assert failed.context.trace_id == server.context.trace_id


@pytest.mark.skipif("telemetry" not in inspect.signature(FastAPI).parameters, reason="this FastAPI has no telemetry")
@pytest.mark.parametrize("operations", [True, False])
def test_beside_the_telemetry_of_fastapi_itself(operations: bool, telemetry: Telemetry) -> None:
    """FastAPI's own server span gets what was validated, and ours are in its trace."""
    app = build()
    app._telemetry.update(
        tracer_provider=telemetry.tracers, meter_provider=telemetry.meters, operation_spans=operations, logs=False
    )
    assert asgi.request(app, "POST", "/api/leads", json={}).status_code == 422
    assert telemetry.requests() == {("POST", "/api/leads"): 1}
    (server,) = [span for span in telemetry.spans() if span.kind.name == "SERVER"]
    (failed,) = [span for span in telemetry.spans() if span.name == "schema.validate LeadIn"]
    assert failed.context.trace_id == server.context.trace_id
    assert server.attributes["schema.validation.count"] == 1


def test_uninstrumented_while_serving(telemetry: Telemetry) -> None:
    """A request that switches us off is answered, and the app serves on, with the validators it had."""
    app = build()

    @app.post("/off")
    def off(lead: LeadIn) -> LeadOut:
        SchemaInstrumentor().uninstrument()
        return LeadOut(id=1)

    assert asgi.request(app, "POST", "/off", json=GOOD).json() == {"id": 1}
    assert asgi.request(app, "POST", "/api/leads", json=GOOD).json() == {"id": 1}
    assert asgi.request(app, "POST", "/api/leads", json={}).status_code == 422
    assert telemetry.requests() == {}


def test_switched_on_again(telemetry: Telemetry) -> None:
    """Off and on again: parameters have their names again, though the app announced them before."""
    app = build()
    asgi.request(app, "GET", "/api/leads/1")
    telemetry.off()
    telemetry.on()
    asgi.request(app, "GET", "/api/leads/1")
    assert names(telemetry) == {"path.lead_id": 2, "LeadOut": 2}


@pytest.mark.parametrize(
    ("environment", "argument", "counted"),
    [
        ({"OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "healthz"}, None, {"starlette"}),
        ({"OTEL_PYTHON_STARLETTE_EXCLUDED_URLS": "healthz"}, None, {"fastapi"}),
        ({"OTEL_PYTHON_EXCLUDED_URLS": "healthz", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "other"}, None, {"fastapi"}),
        ({"OTEL_PYTHON_EXCLUDED_URLS": "other"}, "healthz", set()),
    ],
)
def test_whose_excluded_urls(
    environment: dict[str, str], argument: str | None, counted: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FastAPI application reads FastAPI's variable, one of Starlette alone Starlette's; the argument is for all."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    telemetry = Telemetry(excluded_urls=argument)
    try:
        plain = Starlette(routes=[Route("/starlette/healthz", lambda _: PlainTextResponse())])
        app = FastAPI()
        app.get("/fastapi/healthz")(lambda: None)
        asgi.request(plain, "GET", "/starlette/healthz")
        asgi.request(app, "GET", "/fastapi/healthz")
        assert {str(route).split("/")[1] for _, route in telemetry.requests()} == counted
    finally:
        telemetry.off()
