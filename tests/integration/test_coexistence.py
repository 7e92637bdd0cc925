"""Beside the telemetry of others on the same libraries: both work, and each can leave before the other."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import pytest
import sqlalchemy
from opentelemetry.instrumentation.schema import endpoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pydantic import BaseModel, ValidationError, field_validator

from tests.integration import asgi
from tests.telemetry import Telemetry

OURS = "opentelemetry.instrumentation.schema"


class Lead(BaseModel):
    age: int


def fail() -> None:
    with pytest.raises(ValidationError):
        Lead.model_validate({})


# -- the others


class Other:
    """Somebody else's telemetry of a library.

    Attributes:
        scope: Of its spans.
        kind: Of its span for one call.
    """

    scope: str
    kind = "SERVER"

    def on(self, telemetry: Telemetry) -> None:
        """Switch it on, with the test's providers."""

    def off(self, app: Any) -> Any:
        """Switch it off; the application that is called from now on, which is the one that it observed if it can be."""

    def make(self) -> Any:
        """An application that both observe."""

    def call(self, app: Any) -> None:
        """One call of the application, which validates what is no `Lead`, once."""

    def places(self) -> tuple[Any, ...]:
        """What either of the two replaces."""
        return ()


class Instrumented(Other):
    """One of contrib's instrumentations.

    Attributes:
        instrumentor: Its class's name.
    """

    instrumentor: str

    def _instrumentor(self) -> Any:
        return getattr(importlib.import_module(self.scope), self.instrumentor)()

    def on(self, telemetry: Telemetry) -> None:
        self._instrumentor().instrument(
            tracer_provider=telemetry.tracers, meter_provider=telemetry.meters, skip_dep_check=True
        )

    def off(self, app: Any) -> Any:
        self._instrumentor().uninstrument()
        return app


class FastAPI(Instrumented):
    scope, instrumentor = "opentelemetry.instrumentation.fastapi", "FastAPIInstrumentor"

    def make(self, **options: Any) -> Any:
        app = fastapi.FastAPI(**options)  # by the name that contrib replaces

        @app.post("/leads/{kind}")
        def create(kind: str, lead: Lead) -> None: ...

        return app

    def call(self, app: Any) -> None:
        assert asgi.request(app, "POST", "/leads/new", json={}).status_code == 422

    def places(self) -> tuple[Any, ...]:
        from fastapi.routing import APIRoute
        from starlette import applications, routing

        handlers = [vars(cls)["handle"] for cls in (routing.Route, routing.Mount, APIRoute) if "handle" in vars(cls)]
        return fastapi.FastAPI, applications.Starlette.__call__, *handlers


class FastAPIItself(FastAPI):
    """Comes with an application, and cannot be switched off in public."""

    scope = "fastapi"

    def on(self, telemetry: Telemetry) -> None:
        self.providers = {"tracer_provider": telemetry.tracers, "meter_provider": telemetry.meters}

    def make(self) -> Any:
        return super().make(telemetry={**self.providers, "operation_spans": False, "logs": False})

    def off(self, app: Any) -> Any:
        app._telemetry.update(tracing=False, metrics=False)
        return app


class Starlette(Instrumented):
    scope, instrumentor = "opentelemetry.instrumentation.starlette", "StarletteInstrumentor"

    def make(self) -> Any:
        from starlette import applications
        from starlette.responses import Response
        from starlette.routing import Route

        async def create(_request: object) -> Response:
            fail()
            return Response()

        return applications.Starlette(routes=[Route("/leads/{kind}", create, methods=["POST"])])

    def call(self, app: Any) -> None:
        assert asgi.request(app, "POST", "/leads/new").status_code == 200

    def places(self) -> tuple[Any, ...]:
        from starlette import applications, routing

        return applications.Starlette, applications.Starlette.__call__, vars(routing.Route)["handle"]


class ASGI(Starlette):
    """A middleware around an application."""

    scope = "opentelemetry.instrumentation.asgi"

    def on(self, telemetry: Telemetry) -> None:
        self.telemetry: Telemetry | None = telemetry

    def off(self, app: Any) -> Any:
        self.telemetry = None
        return app

    def call(self, app: Any) -> None:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        if self.telemetry is not None:
            app = OpenTelemetryMiddleware(
                app, tracer_provider=self.telemetry.tracers, meter_provider=self.telemetry.meters
            )
        super().call(app)


class Flask(Instrumented):
    scope, instrumentor = "opentelemetry.instrumentation.flask", "FlaskInstrumentor"

    def off(self, app: Any) -> Any:
        super().off(app)
        return self.make()  # contrib's stays in an application that was made under it

    def make(self) -> Any:
        import flask

        app = flask.Flask("leads")

        @app.post("/leads/<kind>")
        def create(kind: str) -> str:
            fail()
            return ""

        return app

    def call(self, app: Any) -> None:
        with app.test_client() as client:
            assert client.post("/leads/new").status_code == 200

    def places(self) -> tuple[Any, ...]:
        import flask.app

        names = "wsgi_app", "full_dispatch_request", "dispatch_request"
        return flask.Flask, *(vars(flask.app.Flask)[name] for name in names)


class Django(Instrumented):
    scope, instrumentor = "opentelemetry.instrumentation.django", "DjangoInstrumentor"

    def on(self, telemetry: Telemetry) -> None:
        from tests.integration import django_site  # noqa: F401  # configures Django

        super().on(telemetry)

    def call(self, app: Any) -> None:
        from django.test import Client, override_settings

        with override_settings(ROOT_URLCONF="tests.integration.django_site"):
            assert Client().post("/leads/new").status_code == 200

    def places(self) -> tuple[Any, ...]:
        from django.conf import settings
        from django.core.handlers.base import BaseHandler

        from tests.integration import django_site  # noqa: F401

        return tuple(settings.MIDDLEWARE), dict(vars(BaseHandler))


class SQLAlchemy(Instrumented):
    scope, instrumentor, kind = "opentelemetry.instrumentation.sqlalchemy", "SQLAlchemyInstrumentor", "CLIENT"

    def make(self) -> Any:
        engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.NullPool)  # it closes connections
        with engine.connect():  # contrib has a span for this, too
            return engine

    def call(self, app: Any) -> None:
        class Lead(BaseModel):
            age: int

            @field_validator("age")
            @classmethod
            def known(cls, age: int) -> int:
                with app.connect() as connection:
                    return connection.scalar(sqlalchemy.text("SELECT 'x'"))

            @field_validator("age", mode="after")
            @classmethod
            def number(cls, age: Any) -> int:
                raise ValueError

        Lead.__qualname__ = "Lead"
        with endpoint("leads"), pytest.raises(ValidationError):
            Lead(age=1)

    def places(self) -> tuple[Any, ...]:
        return sqlalchemy.create_engine, sqlalchemy.engine.create_engine, vars(sqlalchemy.engine.Engine)["connect"]


def _configure_logfire(telemetry: Telemetry) -> Any:
    import logfire

    processors = [SimpleSpanProcessor(telemetry.exporter)]
    logfire.configure(
        send_to_logfire=False, console=False, metrics=False, inspect_arguments=False, scrubbing=False,
        additional_span_processors=processors, service_name="leads",
    )  # fmt: skip
    return logfire


class LogfirePydantic(Other):
    """Logfire's plug-in for Pydantic, which is asked when a class is made."""

    scope, kind = "logfire.pydantic", "INTERNAL"

    def on(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.logfire = _configure_logfire(telemetry)
        self.logfire.instrument_pydantic(record="all")

    def make(self) -> Any:
        class Lead(BaseModel):
            age: int

        Lead.__qualname__ = "Lead"
        return Lead

    def call(self, app: Any) -> None:
        with endpoint("leads"), self.telemetry.tracer.start_as_current_span("server"), pytest.raises(ValidationError):
            app(age="x")

    def off(self, app: Any) -> Any:
        self.logfire.instrument_pydantic(record="off")
        return self.make()


class LogfireFastAPI(FastAPI):
    """Of an application that there is."""

    def on(self, telemetry: Telemetry) -> None:
        self.app = super().make()
        self.instrumented = contextlib.ExitStack()
        self.instrumented.enter_context(_configure_logfire(telemetry).instrument_fastapi(self.app))

    def make(self) -> Any:
        return self.app

    def off(self, app: Any) -> Any:
        self.instrumented.close()
        return app


OTHERS = [FastAPI, Starlette, ASGI, Flask, Django, SQLAlchemy]
if "telemetry" in inspect.signature(fastapi.FastAPI).parameters:
    OTHERS.append(FastAPIItself)
if importlib.util.find_spec("logfire"):
    OTHERS += [LogfirePydantic, LogfireFastAPI]


# -- what must hold


class Both:
    """One run: which of the two are on, and what each saw of a call."""

    def __init__(self, other: Other, telemetry: Telemetry) -> None:
        self.other, self.telemetry = other, telemetry
        self.app: Any = None
        self.on: set[str] = set()

    def switch(self, who: str, on: bool) -> None:
        if who == "ours":
            (self.telemetry.on if on else self.telemetry.off)()
        elif on:
            self.other.on(self.telemetry)
        else:
            self.app = self.other.off(self.app)
        self.on = self.on | {who} if on else self.on - {who}

    def call(self) -> tuple[list[ReadableSpan], list[ReadableSpan], tuple[float, float]]:
        """Our spans and theirs, our validations and requests of one call."""
        counted, exporter = self._counted(), self.telemetry.exporter
        exporter.clear()
        self.other.call(self.app)
        spans = [span for span in exporter.get_finished_spans() if span.name != "connect"]
        ours = [span for span in spans if span.instrumentation_scope.name == OURS]
        theirs = [
            span for span in spans
            if span.instrumentation_scope.name == self.other.scope and span.kind.name == self.other.kind
        ]  # fmt: skip
        return ours, theirs, tuple(now - then for now, then in zip(self._counted(), counted, strict=True))

    def _counted(self) -> tuple[float, float]:
        failed = self.telemetry.total("validation.errors", schema_name="Lead", error_type="ValidationError")
        return failed, self.telemetry.total("api.requests")


@pytest.fixture
def both(request: pytest.FixtureRequest, watch: Callable[..., Telemetry]) -> Iterator[Both]:
    """Both off, before and after."""
    telemetry = watch()
    telemetry.off()
    both = Both(request.param(), telemetry)
    yield both
    for who in set(both.on):
        both.switch(who, False)


@pytest.mark.parametrize("last", ["ours", "theirs"], ids=lambda who: f"{who} stays")
@pytest.mark.parametrize("first", ["ours", "theirs"], ids=lambda who: f"{who} first")
@pytest.mark.parametrize("both", OTHERS, ids=lambda cls: cls.__name__, indirect=True)
def test_in_any_order(both: Both, first: str, last: str) -> None:
    """Switched on in either order both see each call once, in one trace; either can leave first."""
    before = both.other.places()
    second, gone = ({"ours": "theirs", "theirs": "ours"}[who] for who in (first, last))
    both.switch(first, True)
    both.switch(second, True)
    both.app = both.other.make()
    ours, (theirs,), counted = both.call()
    assert counted == (1, 1)
    assert [(span.kind.name, span.context.trace_id) for span in ours] == [("INTERNAL", theirs.context.trace_id)]
    both.switch(gone, False)
    ours, left, counted = both.call()
    if last == "ours":
        assert (len(ours) >= 1, left, counted) == (True, [], (1, 1))
    else:
        assert (ours, len(left), counted) == ([], 1, (0, 0))
    both.switch(last, False)
    assert both.call() == ([], [], (0, 0))
    assert both.other.places() == before
