"""What holds for every web framework: each claim is written once and run for each."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import endpoint, faults
from opentelemetry.instrumentation.schema._recording import web as requests
from opentelemetry.instrumentation.schema._recording.recorder import Recorder
from opentelemetry.instrumentation.schema._recording.request import NO_REQUEST, Request, current_request

from tests.integration.web import SITES, ASGISite, FastAPISite, FlaskSite, Lead, Site, StarletteSite, WSGISite, fail
from tests.telemetry import Telemetry

# Django leaves a body's file to the collector where a view raised.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file .*SpooledTemporaryFile:ResourceWarning")

SCOPES = [site for site in SITES if issubclass(site, ASGISite)]
ENVIRONS = [site for site in SITES if issubclass(site, WSGISite)]


@pytest.fixture(scope="module", autouse=True)
def django() -> Iterator[None]:
    """One configuration, and asgiref's one thread for synchronous code, which stays from the first request on."""
    from django.test import AsyncClient, override_settings

    from tests.integration import django_site

    routes = list(django_site.urlpatterns)
    with override_settings(ROOT_URLCONF=django_site.__name__, ALLOWED_HOSTS=["*"]):
        asyncio.run(AsyncClient().get("/"))
        yield
    django_site.urlpatterns[:] = routes


@pytest.fixture(params=SITES, ids=lambda site: site.__name__)
def kind(request: pytest.FixtureRequest) -> type[Site]:
    return request.param


def errors(telemetry: Telemetry) -> dict[Any, float]:
    return telemetry.by("validation.errors", "http.request.method", "http.route")


# -- which request


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("POST", "/leads/secret", 200, "lead"),
        ("POST", "/of/secret/leads/secret", 200, "below"),
        ("PUT", "/leads/secret", 405, "lead"),
        ("BREW", "/leads/secret", 405, "lead"),
        ("GET", "/stream", 200, "stream"),
        ("GET", "/secret", 404, None),
    ],
)
def test_a_request_counts_once_under_its_route(
    method: str, path: str, status: int, route: str | None, kind: type[Site], telemetry: Telemetry
) -> None:
    """Matched, refused or not found, below a prefix or not: one request, its method, its template, its failures."""
    assert kind().ask(method, path) == status
    counted = "_OTHER" if method == "BREW" else method, None if route is None else getattr(kind, route)
    assert telemetry.requests() == {counted: 1}
    assert errors(telemetry) == ({counted: 1} if status == 200 else {})
    assert "secret" not in telemetry.everything()
    assert current_request.get() is NO_REQUEST


def test_an_exception_that_leaves_the_handler(kind: type[Site], telemetry: Telemetry) -> None:
    """A request that fails counts with what it validated."""

    def crash() -> None:
        fail()
        raise ZeroDivisionError

    assert kind(crash).ask("POST", "/leads/7") == 500
    assert (telemetry.requests(), errors(telemetry)) == ({("POST", kind.lead): 1}, {("POST", kind.lead): 1})


def test_an_application_called_in_the_process_is_a_request_of_its_own(kind: type[Site], telemetry: Telemetry) -> None:
    """A handler that asks another application as a client would makes one more request, and goes on with its own."""
    inner: list[Site] = []

    def work() -> None:
        for each in inner:
            thread = threading.Thread(target=each.ask, args=("POST", "/leads/7"))  # it may need a loop of its own
            thread.start()
            thread.join()
        fail()

    site = kind(work)
    inner += [other() for other in (StarletteSite, FlaskSite)]
    assert site.ask("POST", "/leads/7") == 200
    counted: dict[Any, float] = {}
    for each in (kind, StarletteSite, FlaskSite):
        counted["POST", each.lead] = counted.get(("POST", each.lead), 0) + 1
    assert telemetry.requests() == counted
    assert errors(telemetry) == counted


@pytest.mark.parametrize("kind", SCOPES, ids=lambda site: site.__name__)
@pytest.mark.parametrize("copied", [False, True], ids=["the same scope", "a copy"])
def test_a_scope_that_a_middleware_hands_on_is_one_request(
    kind: type[ASGISite], copied: bool, telemetry: Telemetry
) -> None:
    """An application that hands its scope to another before a route is entered: one request, the innermost route."""
    inner = kind()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner.app({**scope, "path": "/leads/7"} if copied else scope, receive, send)

    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/shop", app=middleware)])
    path = "/shop/elsewhere" if copied else "/shop/leads/7"
    assert asyncio.run(kind.call(outer, inner.scope("POST", path))) == 200
    ((method, route),) = telemetry.requests()
    assert (method, str(route).removeprefix("/shop").removeprefix("/")) == ("POST", kind.lead.removeprefix("/"))
    assert sum(telemetry.requests().values()) == 1


@pytest.mark.parametrize("kind", [StarletteSite, FastAPISite], ids=lambda site: site.__name__)
def test_a_copy_of_a_scope_in_a_handler_is_another_request(kind: type[ASGISite], telemetry: Telemetry) -> None:
    """A batch endpoint that calls its own application with copies of its scope makes as many requests more."""
    from starlette.requests import Request as Asked
    from starlette.responses import PlainTextResponse

    site = kind()

    async def batch(request: Asked) -> PlainTextResponse:
        for number in range(3):
            await kind.call(site.app, {**request.scope, "path": f"/leads/{number}", "method": "POST"})
        fail()
        return PlainTextResponse("")

    site.app.add_route("/batch", batch, methods=["POST"])
    assert site.ask("POST", "/batch") == 200
    assert telemetry.requests() == {("POST", "/batch"): 1, ("POST", kind.lead): 3}
    assert errors(telemetry) == {("POST", "/batch"): 1, ("POST", kind.lead): 3}


@pytest.mark.parametrize("kind", ENVIRONS, ids=lambda site: site.__name__)
def test_an_environ_is_one_request(kind: type[WSGISite], telemetry: Telemetry) -> None:
    """A Flask view that has another application handle the same environ: one request, the innermost route."""
    import flask

    inner, outer = kind(), flask.Flask("outer")

    @outer.post("/<path:rest>")
    def forward(rest: str) -> Any:
        return "", kind.call(inner.app, flask.request.environ)

    assert kind.call(outer, inner.environ("POST", "/leads/7")) == 200
    assert telemetry.requests() == {("POST", kind.lead): 1}


def test_a_django_request_that_a_middleware_handles_twice(telemetry: Telemetry) -> None:
    """`get_response` inside `get_response`, for the same request object, is one request; another object is its own."""
    from django.core.handlers.base import BaseHandler
    from django.http import HttpRequest
    from django.test import RequestFactory

    from tests.integration.web import DjangoWSGISite

    DjangoWSGISite()
    inner, outer = BaseHandler(), BaseHandler()
    inner.load_middleware()

    def middleware(request: HttpRequest) -> Any:
        batched = HttpRequest()
        batched.method, batched.path_info, batched.path, batched.META = "POST", "/leads/1", "/leads/1", request.META
        inner.get_response(batched)
        return inner.get_response(request)

    outer._middleware_chain = middleware  # type: ignore[assignment]  # as a middleware that answers itself
    request = RequestFactory().post("/leads/7")
    assert outer.get_response(request).status_code == 200
    assert telemetry.requests() == {("POST", "leads/<lead_id>"): 2}


def test_an_excluded_url_is_excluded_wherever_it_is_called(
    kind: type[Site], watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL that is excluded and called in the process, inside a request, is not that request's failure."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "/excluded")
    telemetry = watch()
    inner = kind()

    def work() -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(inner.ask, "POST", "/of/excluded/leads/7"))
        thread.start()
        thread.join()
        Lead(age=1)

    outer = StarletteSite(work) if kind is not StarletteSite else FlaskSite(work)
    assert outer.ask("POST", "/leads/7") == 200
    assert telemetry.requests() == {("POST", outer.lead): 1}
    assert errors(telemetry) == {}
    assert telemetry.validations()["invalid"] == 1


# -- how it ends


def test_a_stream_belongs_to_its_request(kind: type[Site], telemetry: Telemetry) -> None:
    """What fails while a body is sent is in its route's error rate."""
    assert kind().ask("GET", "/stream") == 200
    assert telemetry.requests() == {("GET", kind.stream): 1}
    assert errors(telemetry) == {("GET", kind.stream): 1}


def test_a_stream_that_breaks(kind: type[Site], telemetry: Telemetry) -> None:
    """A body that raises while it is sent counts once, with what it validated before."""

    def crash() -> None:
        fail()
        raise ZeroDivisionError

    kind(crash).ask("GET", "/stream")
    assert telemetry.requests() == {("GET", kind.stream): 1}
    assert errors(telemetry) == {("GET", kind.stream): 1}


def test_closed_elsewhere(kind: type[Site], telemetry: Telemetry) -> None:
    """A response that another thread, in another context, breaks off: nothing raised, the request counted once."""
    route = kind().break_off()
    assert telemetry.requests() == {("GET", route): 1}
    assert current_request.get() is NO_REQUEST


def test_work_that_outlives_its_request_is_outside(kind: type[Site], telemetry: Telemetry) -> None:
    """A thread with the request's context validates within it until the request is counted, and outside then."""
    go_on, threads = threading.Event(), list[threading.Thread]()

    def work() -> None:
        inside = threading.Event()

        def outlive() -> None:
            fail()
            inside.set()
            go_on.wait(30)
            fail()

        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(outlive,)))
        threads[0].start()
        inside.wait(30)

    assert kind(work).ask("POST", "/leads/7") == 200
    go_on.set()
    threads[0].join()
    where = telemetry.by("schema.validation.duration", "http.request.method", "http.route")
    assert where == {("POST", kind.lead): 1, (None, None): 1}
    assert errors(telemetry) == {("POST", kind.lead): 1}


def test_a_server_span_ends_with_its_handler(kind: type[Site], telemetry: Telemetry) -> None:
    """The span that is current when the route's handler starts gets the number and time of its validations."""
    with telemetry.tracer.start_as_current_span("server") as server:
        assert kind().ask("POST", "/leads/7") == 200
    attributes = dict(server.attributes or {})  # type: ignore[attr-defined]
    assert attributes["schema.validation.count"] == 1
    assert 0 < attributes["schema.validation.duration"] < 60


# -- what the application sees


BROKEN = [
    (requests, "web_endpoint"),
    (requests.Mark, "joins"),
    (requests, "Request"),
    (Recorder, "count_request"),
    (Request, "locate"),
    (Request, "enter_handler"),
    (Request, "leave_handler"),
    (Request, "end"),
]


@pytest.mark.parametrize(("where", "name"), BROKEN, ids=[name for _, name in BROKEN])
def test_our_own_fault_answers_the_request(
    where: Any, name: str, kind: type[Site], watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails of ours, the response is what it was, and the fault is counted."""
    site = kind()
    monkeypatch.setattr(faults, "reraise", False)
    telemetry = watch()
    hits = []

    def broken(*_: Any, **__: Any) -> Any:
        hits.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(where, name, broken)
    with telemetry.tracer.start_as_current_span("server"):
        assert [site.ask(*call) for call in (("POST", "/leads/7"), ("GET", "/stream"))] == [200, 200]
    if name != "joins":  # asked where a request is seen a second time, as by Starlette's router
        assert hits
    assert telemetry.total("schema.telemetry.errors", schema_telemetry_component=kind.component) == len(hits)


def test_an_application_that_is_not_hashable(kind: type[Site], telemetry: Telemetry) -> None:
    """One whose class compares, as a dataclass does, is counted as any."""
    site = kind()
    plain = type(site.app)

    class Compared(plain):  # type: ignore[misc, valid-type]
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return False

    site.app.__class__ = Compared
    assert [site.ask("POST", "/leads/7") for _ in range(2)] == [200, 200]
    assert telemetry.requests() == {("POST", kind.lead): 2}


def test_an_application_is_not_kept_alive(kind: type[Site], telemetry: Telemetry) -> None:
    """An app that is gone is gone."""
    site = kind()
    site.ask("POST", "/leads/7")
    ref = weakref.ref(site.app)
    del site
    gc.collect()
    assert ref() is None


def test_a_request_travels_as_it_does_without_us(kind: type[Site], telemetry: Telemetry) -> None:
    """What a scope, environ or Django request carries of ours can be copied deeply, and is no part of its pickle."""
    mark = requests.Mark(Request(), {})
    assert copy.deepcopy({requests.KEY: mark})[requests.KEY] is mark
    assert pickle.loads(pickle.dumps({requests.KEY: mark, "request": Request()})) == {
        requests.KEY: None,
        "request": None,
    }


def test_uninstrument_leaves_nothing(kind: type[Site], watch: Callable[..., Telemetry]) -> None:
    """Every attribute of every class of the framework is the object that it was, and nothing counts any more."""
    site = kind()
    site.ask("POST", "/leads/7")
    before = _held()
    telemetry = watch()
    assert site.ask("POST", "/leads/7") == 200
    assert _held() != before
    telemetry.off()
    assert _held() == before
    assert site.ask("POST", "/leads/7") == 200
    assert telemetry.requests() == {("POST", kind.lead): 1}


def _held() -> dict[tuple[str, str], int]:
    return {
        (f"{value.__module__}.{value.__qualname__}", name): id(held)
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] in ("starlette", "fastapi", "flask", "django")
        for value in list(vars(module).values())
        if issubclass(type(value), type) and value.__module__ == module_name  # `isinstance` would wake lazy ones
        for name, held in list(vars(value).items())
        if callable(held) or isinstance(held, (classmethod, staticmethod))
    }


def test_switched_off_while_serving(kind: type[Site], telemetry: Telemetry) -> None:
    """A request that is open when `uninstrument()` comes is answered, and not counted."""

    def work() -> None:
        telemetry.off()
        fail()

    assert kind(work).ask("POST", "/leads/7") == 200
    assert telemetry.requests() == {}


def test_a_job_around_a_request_goes_on_after_it(kind: type[Site], telemetry: Telemetry) -> None:
    """What an `endpoint()` block validates before and after a request that it makes is its own."""
    with endpoint("job"):
        fail()
        kind().ask("POST", "/leads/7")
        fail()
    assert telemetry.by("validation.errors", "http.route", "schema.endpoint") == {
        (kind.lead, None): 1,
        (None, "job"): 2,
    }
