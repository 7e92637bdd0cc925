"""The applications for the contract tests of web frameworks: one of each framework, with the same routes.

`Site` lists the routes. The test passes in what they do, so each framework's code stays short: it says how to send,
stream and break off a request.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fastapi
import flask
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

Work = Callable[[], object]


class Lead(BaseModel):
    age: int


def fail() -> None:
    """One failed validation."""
    try:
        Lead(age="x")  # type: ignore[arg-type]
    except ValidationError:
        pass


class Site:
    """An application, and how it is asked.

    Attributes:
        component: The framework in `schema.telemetry.component`.
        lead: The template of `/leads/7`, of the method POST: calls `work`.
        stream: That of `/stream`: a body in two parts; `work` is called between them.
        below: That of `/of/acme/leads/7`, which is mounted or included: calls `work`.
        app: The application, which a test may look at.
    """

    component: str
    lead: str
    stream = "/stream"
    below: str

    def __init__(self, work: Work = fail) -> None:
        self.work = work
        self.app: Any = self.build()

    def build(self) -> Any:
        raise NotImplementedError

    def ask(self, method: str, path: str, **options: Any) -> int:
        """The status of a whole response, whose body is closed."""
        raise NotImplementedError

    def break_off(self) -> str:
        """Start a response in one context and close it in another, before it is whole; the template of its route."""
        raise NotImplementedError


async def steps(work: Work) -> AsyncIterator[str]:
    """A body."""
    yield "1"
    work()
    yield "2"


def sync_steps(work: Work) -> Iterator[str]:
    """Likewise."""
    yield "1"
    work()
    yield "2"


class ASGISite(Site):
    def scope(self, method: str, path: str) -> dict[str, Any]:
        """What a server would make of a request."""
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"shop.example")], "client": ("127.0.0.1", 1), "server": ("shop.example", 80),
        }  # fmt: skip

    def ask(self, method: str, path: str, **_: Any) -> int:
        return asyncio.run(self.call(self.app, self.scope(method, path)))

    @staticmethod
    async def call(app: Any, scope: dict[str, Any]) -> int:
        """The status of one request; an exception of the application is 500, as a server has it."""
        statuses: list[int] = []
        parts = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for part in parts:
                return part
            await asyncio.Event().wait()  # the client stays
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        try:
            await app(scope, receive, send)
        except Exception:
            statuses.append(500)
        return statuses[0]

    def break_off(self) -> str:
        running = self.held()
        contextvars.copy_context().run(running.send, None)
        closer = threading.Thread(target=running.close)
        closer.start()
        closer.join()
        return self.hold

    hold = "/hold"

    def held(self) -> Any:
        """The coroutine of a request whose handler waits."""

        async def receive() -> dict[str, Any]:
            raise AssertionError

        return self.app(self.scope("GET", "/hold"), receive, receive)


class Wait:
    """Suspends whoever awaits it; no event loop is needed."""

    def __await__(self) -> Iterator[None]:
        yield


class Holding:
    """An ASGI application that waits."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await Wait()


class StarletteSite(ASGISite):
    component, lead, below = "starlette", "/leads/{lead_id}", "/of/{tenant}/leads/{lead_id}"

    def build(self) -> Any:
        work = self.work  # what handlers refer to is not to keep the application

        async def lead(_request: object) -> PlainTextResponse:
            work()
            return PlainTextResponse("")

        async def stream(_request: object) -> StreamingResponse:
            return StreamingResponse(steps(work))

        leads = [Route("/leads/{lead_id}", lead, methods=["POST"])]
        held = Route("/hold", Holding())
        return Starlette(routes=[*leads, Route("/stream", stream), held, Mount("/of/{tenant}", routes=leads)])


class FastAPISite(ASGISite):
    component, lead, below = "starlette", "/leads/{lead_id}", "/of/{tenant}/leads/{lead_id}"

    def build(self) -> Any:
        work = self.work  # what handlers refer to is not to keep the application
        leads, app = fastapi.APIRouter(), fastapi.FastAPI()

        @leads.post("/leads/{lead_id}")
        async def lead(request: fastapi.Request) -> None:
            work()

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(steps(work))

        app.add_route("/hold", Holding())  # type: ignore[arg-type]
        app.include_router(leads)
        app.include_router(leads, prefix="/of/{tenant}")
        return app


class WSGISite(Site):
    def environ(self, method: str, path: str) -> dict[str, Any]:
        from werkzeug.test import EnvironBuilder

        return EnvironBuilder(path=path, method=method).get_environ()

    def ask(self, method: str, path: str, **_: Any) -> int:
        return self.call(self.app, self.environ(method, path))

    @staticmethod
    def call(app: Any, environ: dict[str, Any]) -> int:
        """The status of one request; an exception of the application is 500, as a server has it."""
        statuses: list[int] = []

        def start_response(status: str, *_: object) -> Callable[[bytes], object]:
            statuses.append(int(status[:3]))
            return lambda _: None

        try:
            body = app(environ, start_response)
            try:
                for _ in body:
                    pass
            finally:
                getattr(body, "close", lambda: None)()
        except Exception:
            return 500
        return statuses[0]

    def break_off(self) -> str:
        body = self.app(self.environ("GET", "/stream"), lambda *_: lambda _: None)
        contextvars.copy_context().run(next, iter(body))
        closer = threading.Thread(target=body.close)
        closer.start()
        closer.join()
        return self.stream


class FlaskSite(WSGISite):
    component, lead, below = "flask", "/leads/<lead_id>", "/of/<tenant>/leads/<lead_id>"

    def build(self) -> Any:
        work = self.work  # what handlers refer to is not to keep the application
        app, leads = flask.Flask("site"), flask.Blueprint("leads", __name__)

        @leads.post("/leads/<lead_id>")
        def lead(lead_id: str, tenant: str = "") -> str:
            work()
            return ""

        @app.get("/stream")
        def stream() -> flask.Response:
            return flask.Response(sync_steps(work))

        app.register_blueprint(leads)
        app.register_blueprint(leads, url_prefix="/of/<tenant>", name="below")
        return app


class _DjangoSite(Site):
    component, lead, below, stream = "django", "leads/<lead_id>", "of/<tenant>/leads/<lead_id>", "stream"

    def routes(self, views: list[Any], *hold: Any) -> None:
        """Put the views into the one configuration of this process."""
        from django.urls import clear_url_caches, include, path

        from tests.integration import django_site

        lead, stream = views
        leads = [path("leads/<lead_id>", lead)]
        found = [*leads, path("stream", stream), path("of/<tenant>/", include(leads))]
        django_site.urlpatterns[:] = [*found, *(path("hold", each) for each in hold)]
        clear_url_caches()


class DjangoWSGISite(_DjangoSite, WSGISite):
    def build(self) -> Any:
        work = self.work  # what handlers refer to is not to keep the application
        from django.core.handlers.wsgi import WSGIHandler
        from django.http import HttpResponse, StreamingHttpResponse
        from django.views.decorators.http import require_GET, require_POST

        @require_POST
        def lead(_request: object, **_: str) -> Any:
            work()
            return HttpResponse()

        @require_GET
        def stream(_request: object) -> Any:
            return StreamingHttpResponse(sync_steps(work))

        self.routes([lead, stream])
        return WSGIHandler()


class DjangoASGISite(_DjangoSite, ASGISite):
    def build(self) -> Any:
        work = self.work  # what handlers refer to is not to keep the application
        from django.core.handlers.asgi import ASGIHandler
        from django.http import HttpResponse, StreamingHttpResponse
        from django.views.decorators.http import require_GET, require_POST

        @require_POST
        async def lead(_request: object, **_: str) -> Any:
            work()
            return HttpResponse()

        @require_GET
        async def stream(_request: object) -> Any:
            return StreamingHttpResponse(steps(work))

        async def hold(_request: object) -> Any:
            await Wait()

        self.routes([lead, stream], hold)
        return ASGIHandler()

    hold = "hold"

    def held(self) -> Any:
        from django.test import AsyncRequestFactory

        return self.app.get_response_async(AsyncRequestFactory().get("/hold"))


SITES: list[type[Site]] = [FastAPISite, StarletteSite, FlaskSite, DjangoWSGISite, DjangoASGISite]
