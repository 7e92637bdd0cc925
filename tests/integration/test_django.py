"""Django, with its own views, Ninja and REST framework, on both handlers: requests, routes, server spans."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from typing import Any

import django
import marshmallow
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path, re_path
from django.views import View
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.schema import endpoint
from opentelemetry.instrumentation.schema._recording.request import NO_REQUEST, current_request
from pydantic import BaseModel, ValidationError

from tests.telemetry import Telemetry

LEAD_ID = "700400300200100"
"""As long as this, no random id and no time holds it by chance."""

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=[],
    SECRET_KEY="only for tests",
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

from ninja import NinjaAPI  # noqa: E402
from rest_framework.decorators import api_view  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.routers import SimpleRouter  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework.viewsets import ViewSet  # noqa: E402


class Lead(BaseModel):
    name: str
    budget: int = 0


class LeadSchema(marshmallow.Schema):
    name = marshmallow.fields.String(required=True)


# -- the project


def leads(req: HttpRequest, lead_id: int = 0) -> HttpResponse:
    try:
        return JsonResponse(Lead.model_validate_json(req.body or b'{"name": "Ann"}').model_dump())
    except ValidationError as error:
        return JsonResponse({"errors": error.error_count()}, status=422)


async def leads_async(req: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return leads(req)


def broken(req: HttpRequest) -> HttpResponse:
    Lead(name="Ann")
    raise RuntimeError("a view's own error")


class Leads(View):
    def get(self, req: HttpRequest) -> HttpResponse:
        return leads(req)

    def post(self, req: HttpRequest) -> HttpResponse:
        return leads(req)


class Rest(APIView):
    def post(self, req: Any) -> Response:
        problems = LeadSchema().validate(req.data)
        return Response(problems, status=400 if problems else 200)


class RestLeads(ViewSet):
    def list(self, req: Any) -> Response:
        return Response([])

    def create(self, req: Any) -> Response:
        LeadSchema().load(req.data)
        return Response({})


@api_view(["POST"])
def rest_function(req: Any) -> Response:
    return Response(LeadSchema().load(req.data))


ninja = NinjaAPI()


@ninja.post("/leads/{lead_id}", response=Lead)
def ninja_leads(request: HttpRequest, lead_id: int, lead: Lead) -> dict[str, Any]:
    return lead.model_dump()


router = SimpleRouter()
router.register("leads", RestLeads, "lead")
urlpatterns = [
    path("", leads),
    path("leads/<int:lead_id>", leads),
    path("async/leads", leads_async),
    path("broken", broken),
    path("class/", include([path("leads", Leads.as_view())])),
    re_path(r"^old/(?P<lead_id>[0-9]+)$", leads),
    path("rest/leads", Rest.as_view()),
    path("rest/function", rest_function),
    path("rest/set/", include(router.urls)),
    path("ninja/", ninja.urls),
]


@pytest.fixture(scope="module", autouse=True)
def thread_for_sync_code() -> None:
    """asgiref's one thread for synchronous code starts with the first request, and stays."""
    asyncio.run(AsyncClient().get("/"))


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Send one request through the WSGI or the ASGI handler's way to answer."""

    def ask(method: str, url: str, body: Any = None, **options: Any) -> Any:
        content = {} if body is None else {"data": body, "content_type": "application/json"}
        if request.param == "sync":
            return getattr(Client(), method)(url, **content, **options)

        async def asked() -> Any:
            return await getattr(AsyncClient(), method)(url, **content, **options)

        return asyncio.run(asked())

    return ask


def test_requests_and_their_validations_have_the_route(telemetry: Telemetry, send: Callable[..., Any]) -> None:
    """A view's request, its histogram and its failures carry the method and the template, never the path."""
    assert send("post", f"/leads/{LEAD_ID}", {"name": "Ann"}).status_code == 200
    assert send("post", f"/leads/{LEAD_ID}", {"name": 1}).status_code == 422
    where = {"http.request.method": "POST", "http.route": "leads/<int:lead_id>"}
    assert telemetry.requests() == {("POST", "leads/<int:lead_id>"): 2}
    assert telemetry.validations(http_route="leads/<int:lead_id>") == {"valid": 1, "invalid": 1}
    ((attributes, number),) = telemetry.points("validation.errors")
    assert attributes.items() >= where.items()
    assert number == 1
    assert LEAD_ID not in telemetry.everything()


@pytest.mark.parametrize(
    ("method", "url", "body", "route"),
    [
        ("get", "/", None, "/"),
        ("get", "/async/leads", None, "async/leads"),
        ("get", "/class/leads", None, "class/leads"),
        ("get", "/old/7", None, "^old/(?P<lead_id>[0-9]+)$"),
        ("post", "/rest/leads", {"name": "Ann"}, "rest/leads"),
        ("post", "/rest/function", {"name": "Ann"}, "rest/function"),
        ("post", "/rest/set/leads/", {"name": "Ann"}, "rest/set/leads/$"),
        ("post", "/ninja/leads/7", {"name": "Ann"}, "ninja/leads/<lead_id>"),
    ],
)
def test_every_kind_of_view(
    method: str, url: str, body: Any, route: str, telemetry: Telemetry, send: Callable[..., Any]
) -> None:
    """Functions, coroutines, classes, REST framework and Ninja: one request, each of its validations, the route."""
    assert send(method, url, body).status_code == 200
    assert telemetry.requests() == {(method.upper(), route): 1}
    libraries = {"ninja": ("body.lead", "path.lead_id", "response.Lead"), "rest": ("LeadSchema",)}
    names = libraries.get(route.partition("/")[0], ("Lead",))
    validations = telemetry.by("schema.validation.duration", "schema.name", "http.request.method", "http.route")
    assert validations == {(name, method.upper(), route): 1 for name in names}


def test_a_body_that_is_no_json_is_an_invalid_validation_of_ninjas(
    telemetry: Telemetry, send: Callable[..., Any]
) -> None:
    """Ninja answers 400 itself: one invalid validation of its body's model."""
    assert send("post", "/ninja/leads/7", '{"name": secret').status_code == 400
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {("body.lead", "ninja/leads/<lead_id>"): 1}
    assert telemetry.problems() == {("$", "json_invalid"): 1}


def test_what_matches_no_route_has_none(telemetry: Telemetry, send: Callable[..., Any]) -> None:
    """A 404 counts with its method and without a route, a method that the view refuses with the route."""
    assert send("get", f"/nowhere/{LEAD_ID}").status_code == 404
    assert send("delete", "/class/leads").status_code == 405
    assert telemetry.requests() == {("GET", None): 1, ("DELETE", "class/leads"): 1}
    assert LEAD_ID not in telemetry.everything()


def test_a_view_that_raises_is_a_request(telemetry: Telemetry, send: Callable[..., Any]) -> None:
    """The exception passes unchanged, and its request is counted with its route."""
    with pytest.raises(RuntimeError, match="a view's own error"):
        send("get", "/broken")
    assert telemetry.requests() == {("GET", "broken"): 1}
    assert current_request.get() is NO_REQUEST


def test_a_request_ends(telemetry: Telemetry) -> None:
    """What the caller validates after a request, as a test does with Django's client, is outside it."""
    with endpoint("import-leads"):
        Client().get("/leads/1")
        Lead(name="Ann")
    Lead(name="Ann")
    routes = telemetry.by("schema.validation.duration", "http.route", "schema.endpoint")
    assert routes == {("leads/<int:lead_id>", None): 1, (None, "import-leads"): 1, (None, None): 1}


def test_concurrent_requests_keep_their_own_routes(telemetry: Telemetry) -> None:
    """Requests that wait at the same time on one loop are each counted, and validate, under their own route."""

    async def many() -> None:
        client = AsyncClient()
        await asyncio.gather(*(client.get(url) for url in ("/async/leads", "/class/leads") * 20))

    asyncio.run(many())
    assert telemetry.requests() == {("GET", "async/leads"): 20, ("GET", "class/leads"): 20}
    assert telemetry.by("schema.validation.duration", "http.route") == {"async/leads": 20, "class/leads": 20}


def test_excluded_urls_are_not_counted(
    watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch, send: Callable[..., Any]
) -> None:
    """`OTEL_PYTHON_EXCLUDED_URLS` keeps a request out of `api.requests`; its validations are outside a request."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "leads/1$")
    telemetry = watch()
    send("get", "/leads/1")
    send("get", "/leads/2")
    assert telemetry.requests() == {("GET", "leads/<int:lead_id>"): 1}
    assert telemetry.by("schema.validation.duration", "http.route") == {None: 1, "leads/<int:lead_id>": 1}


def test_routes_of_classes_exist_as_0(telemetry: Telemetry) -> None:
    """Once a request came, `api.requests` of every class-based view's route and method exists."""
    Client().get("/")
    zeros = {endpoint for endpoint, number in telemetry.requests(zeros=True).items() if not number}
    assert zeros == {
        ("GET", "class/leads"),
        ("POST", "class/leads"),
        ("POST", "rest/leads"),
        ("POST", "rest/function"),
        ("GET", "rest/set/leads/$"),
        ("POST", "rest/set/leads/$"),
    }


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_beside_the_server_spans_of_djangos_instrumentation(first: str, send: Callable[..., Any]) -> None:
    """In either order of switching on and off: one server span with the view's totals, and the same route."""
    django_instrumentor = DjangoInstrumentor()

    def theirs(telemetry: Telemetry) -> None:
        django_instrumentor.instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)

    telemetry = Telemetry()
    try:
        if first == "theirs":
            telemetry.off()
            theirs(telemetry)
            telemetry.on()
        else:
            theirs(telemetry)
        send("post", "/leads/1", {"name": 1})
        spans = {span.kind.name: span for span in telemetry.spans()}
        assert sorted(spans) == ["INTERNAL", "SERVER"]
        server = spans["SERVER"]
        assert server.attributes["schema.validation.count"] == 1
        assert server.attributes["schema.validation.duration"] > 0
        assert server.attributes["http.route"] == spans["INTERNAL"].attributes["http.route"] == "leads/<int:lead_id>"
        assert spans["INTERNAL"].parent.span_id == server.context.span_id
        (django_instrumentor.uninstrument if first == "ours" else telemetry.off)()
        telemetry.exporter.clear()
        send("post", "/leads/1", {"name": 1})
        assert [span.kind.name for span in telemetry.spans()] == ["INTERNAL" if first == "ours" else "SERVER"]
    finally:
        telemetry.off()
        if django_instrumentor.is_instrumented_by_opentelemetry:
            django_instrumentor.uninstrument()


def test_a_handler_that_was_ready_before_is_seen(watch: Callable[..., Telemetry]) -> None:
    """A client whose handler loaded its middleware before `instrument()` counts, and again not after it ended."""
    client = Client()
    client.get("/")
    telemetry = watch()
    client.get("/leads/1")
    telemetry.off()
    client.get("/leads/2")
    assert telemetry.requests() == {("GET", "leads/<int:lead_id>"): 1}


def test_uninstrument_restores_the_identical_methods(watch: Callable[..., Telemetry]) -> None:
    """Every method of the handler is again the object that stood there."""
    from django.core.handlers.base import BaseHandler

    before = dict(vars(BaseHandler))
    telemetry = watch()
    changed = {name for name, value in vars(BaseHandler).items() if before[name] is not value}
    telemetry.off()
    assert changed >= {"get_response", "get_response_async", "resolve_request"}
    assert dict(vars(BaseHandler)) == before


def test_a_format_suffix_twin_is_not_announced() -> None:
    """Django REST framework's second pattern for `leads.json` doubles no series before somebody uses it."""
    from rest_framework.routers import DefaultRouter
    from rest_framework.urlpatterns import format_suffix_patterns

    class Items(ViewSet):
        def list(self, request: Any, format: str | None = None) -> Response:
            return Response([])

    router = DefaultRouter()
    router.register("items", Items, basename="item")
    module = types.ModuleType("suffixes")
    plain = [path("views", APIView.as_view())]
    module.urlpatterns = [*router.urls, *format_suffix_patterns(plain)]  # type: ignore[attr-defined]
    telemetry = Telemetry()
    try:
        with override_settings(ROOT_URLCONF=module):
            assert Client().get("/items.json").status_code == 200
        routes = telemetry.by("api.requests", "http.route", zeros=True)
        assert {route: number for route, number in routes.items() if "format" in str(route)} == {
            "^items\\.(?P<format>[a-z0-9]+)/?$": 1
        }
        assert {"^items/$", "views"} & {str(route) for route in routes}
    finally:
        telemetry.off()
