"""Flask: what counts as a request, under which rule, and what inside it belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask
import marshmallow
import pytest
from flask import Blueprint, Flask, Response
from flask.views import MethodView
from opentelemetry.instrumentation.schema import faults
from opentelemetry.instrumentation.schema._recording.recorder import Recorder
from opentelemetry.instrumentation.schema.integrations.flask import install as integration

from tests.telemetry import Telemetry


class Lead(marshmallow.Schema):
    age = marshmallow.fields.Integer()


def fail() -> None:
    """One failed validation."""
    assert Lead().validate({"age": "x"})


class Notes(MethodView):
    def get(self, lead_id: int) -> str:
        return ""

    def post(self, lead_id: int) -> str:
        fail()
        return ""


def build() -> Flask:
    app = Flask("leads")
    api, inner = Blueprint("api", __name__, url_prefix="/api"), Blueprint("inner", __name__, url_prefix="/<tenant>")

    @app.get("/leads/<int:lead_id>")
    def read(lead_id: int) -> str:
        Lead().load({"age": 1})
        return ""

    @app.route("/leads", methods=["POST", "PUT"])
    def create() -> str:
        fail()
        return ""

    @app.get("/crash")
    def crash() -> str:
        fail()
        raise ZeroDivisionError

    @app.errorhandler(ZeroDivisionError)
    def crashed(_error: ZeroDivisionError) -> tuple[str, int]:
        fail()
        return "", 500

    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "1"
            fail()
            yield "2"

        return Response(body())

    @inner.get("/leads/<path:rest>")
    def nested(tenant: str, rest: str) -> str:
        return ""

    app.add_url_rule("/leads/<int:lead_id>/notes", view_func=Notes.as_view("notes"))
    api.register_blueprint(inner)
    app.register_blueprint(api)
    return app


def call(app: Flask, method: str, path: str) -> int:
    with app.test_client() as client:
        response = client.open(path, method=method)
        response.get_data()
        return response.status_code


@pytest.mark.parametrize(
    ("method", "path", "status", "counted"),
    [
        ("GET", "/leads/7", 200, ("GET", "/leads/<int:lead_id>")),
        ("GET", "/leads/7?secret=1", 200, ("GET", "/leads/<int:lead_id>")),
        ("HEAD", "/leads/7", 200, ("HEAD", "/leads/<int:lead_id>")),
        ("OPTIONS", "/leads/7", 200, ("OPTIONS", "/leads/<int:lead_id>")),
        ("PUT", "/leads", 200, ("PUT", "/leads")),
        ("GET", "/leads", 405, ("GET", "/leads")),
        ("BREW", "/leads", 405, ("_OTHER", "/leads")),
        ("PUT", "/api/secret/leads/secret", 405, ("PUT", "/api/<tenant>/leads/<path:rest>")),
        ("GET", "/leads/secret", 404, ("GET", None)),
        ("GET", "/crash", 500, ("GET", "/crash")),
        ("POST", "/leads/7/notes", 200, ("POST", "/leads/<int:lead_id>/notes")),
        ("GET", "/api/secret/leads/secret/secret", 200, ("GET", "/api/<tenant>/leads/<path:rest>")),
    ],
)
def test_a_request_counts_under_its_rule(
    method: str, path: str, status: int, counted: tuple[str, str | None], telemetry: Telemetry
) -> None:
    """Every request counts once, with its method and the rule that it matched, and never its path."""
    assert call(build(), method, path) == status
    assert telemetry.requests() == {counted: 1}
    assert "secret" not in telemetry.everything()


def test_every_rule_starts_at_zero(telemetry: Telemetry) -> None:
    """From the first request on each method of each rule reads 0; what Flask adds by itself does not."""
    call(build(), "GET", "/nowhere")
    assert set(telemetry.requests(zeros=True)) == {
        ("GET", "/leads/<int:lead_id>"),
        ("POST", "/leads"),
        ("PUT", "/leads"),
        ("GET", "/crash"),
        ("GET", "/stream"),
        ("GET", "/leads/<int:lead_id>/notes"),
        ("POST", "/leads/<int:lead_id>/notes"),
        ("GET", "/api/<tenant>/leads/<path:rest>"),
        ("GET", "/static/<path:filename>"),
        ("GET", None),
    }
    assert telemetry.requests() == {("GET", None): 1}


def test_what_a_request_runs_belongs_to_it(telemetry: Telemetry) -> None:
    """A handler, an error handler, and what runs before and after them fail under the request's rule."""
    app = build()
    app.before_request(fail)
    app.teardown_request(lambda _error: fail())

    @app.after_request
    def after(response: Response) -> Response:
        fail()
        return response

    call(app, "GET", "/crash")
    assert telemetry.by("validation.errors", "http.request.method", "http.route", "schema.name") == {
        ("GET", "/crash", "Lead"): 5
    }


def test_what_a_streamed_body_validates_belongs_to_its_request(telemetry: Telemetry) -> None:
    """The request ends with its body: a failure in a stream is in its route's error rate."""
    assert call(build(), "GET", "/stream") == 200
    assert telemetry.requests() == {("GET", "/stream"): 1}
    assert telemetry.by("validation.errors", "http.route") == {"/stream": 1}


@pytest.mark.parametrize(
    ("patterns", "excluded"), [("healthz", True), ("^http://localhost/healthz$", True), ("/x", False)]
)
def test_excluded_urls(
    patterns: str, excluded: bool, monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Telemetry]
) -> None:
    """An excluded URL is no request, and what it validates is in the histogram alone."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", patterns)
    telemetry = watch()
    app = Flask("health")

    @app.get("/healthz")
    def healthz() -> str:
        fail()
        return ""

    call(app, "GET", "/healthz")
    assert telemetry.requests() == ({} if excluded else {("GET", "/healthz"): 1})
    assert telemetry.total("validation.errors") == int(not excluded)
    assert telemetry.validations() == {"invalid": 1}


def test_several_apps_one_in_the_other(telemetry: Telemetry) -> None:
    """Apps that a dispatcher joins count each request once."""
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from werkzeug.test import Client

    other = Flask("other")

    @other.get("/inner")
    def inner() -> str:
        return ""

    client = Client(DispatcherMiddleware(build(), {"/other": other}))  # type: ignore[arg-type]
    for path in ("/other/inner", "/leads/7"):
        client.get(path).close()
    assert telemetry.requests() == {("GET", "/inner"): 1, ("GET", "/leads/<int:lead_id>"): 1}


def test_an_app_made_before(watch: Callable[..., Telemetry]) -> None:
    """An app that served before `instrument()` is seen from then on, and one made after it too."""
    app = build()
    call(app, "GET", "/leads/7")
    telemetry = watch()
    call(app, "GET", "/leads/7")
    call(build(), "GET", "/leads/7")
    assert telemetry.requests() == {("GET", "/leads/<int:lead_id>"): 2}


@pytest.mark.parametrize("location", ["json", "json_or_form"])
def test_a_body_that_is_no_json_is_an_invalid_validation_of_webargs(location: str, telemetry: Telemetry) -> None:
    """webargs answers 400 itself: one invalid validation of the Schema that the body was for, and none of others."""
    from webargs.flaskparser import use_args

    app = Flask("leads")

    @app.post("/leads")
    @use_args(Lead(), location=location)
    def create(_lead: Any) -> str:
        return ""

    headers = {"content-type": "application/json"}
    assert app.test_client().post("/leads", data='{"age": secret', headers=headers).status_code == 400
    assert app.test_client().post("/leads", data='{"age": 1}', headers=headers).status_code == 200
    assert telemetry.by("validation.errors", "schema.name", "http.route") == {("Lead", "/leads"): 1}
    assert telemetry.validations() == {"invalid": 1, "valid": 1}
    assert telemetry.problems() == {("$", "json_invalid"): 1}


@pytest.mark.parametrize("wrapped", ["before", "after"])
def test_an_application_whose_wsgi_app_was_wrapped(wrapped: str, watch: Callable[..., Telemetry]) -> None:
    """Flask's own way to add a middleware, before or after `instrument()`: every request counts once."""
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = build()
    if wrapped == "before":
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    telemetry = watch()
    if wrapped == "after":
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert [call(app, "POST", "/leads"), call(app, "GET", "/stream")] == [200, 200]
    assert telemetry.requests() == {("POST", "/leads"): 1, ("GET", "/stream"): 1}
    assert telemetry.by("validation.errors", "http.route") == {"/leads": 1, "/stream": 1}


def test_a_dispatcher_that_holds_an_older_wsgi_app(watch: Callable[..., Telemetry]) -> None:
    """A server that was given the method itself before `instrument()` is seen where the request is dispatched."""
    from werkzeug.test import Client

    client = Client(build().wsgi_app)
    telemetry = watch()
    client.post("/leads").close()
    assert telemetry.requests() == {("POST", "/leads"): 1}
    assert telemetry.by("validation.errors", "http.route") == {"/leads": 1}


def test_a_batch_of_requests_made_by_hand(telemetry: Telemetry) -> None:
    """`test_request_context` and `full_dispatch_request`, in a view too, are requests of their own."""
    app = build()

    @app.post("/batch")
    def batch() -> str:
        for _ in range(3):
            with app.test_request_context("/leads", method="POST"):
                app.full_dispatch_request()
        fail()
        return ""

    assert call(app, "POST", "/batch") == 200
    assert telemetry.requests() == {("POST", "/batch"): 1, ("POST", "/leads"): 3}
    assert telemetry.by("validation.errors", "http.route") == {"/batch": 1, "/leads": 3}


@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_the_instrumentation_of_flask(ours_first: bool, watch: Callable[..., Telemetry]) -> None:
    """Beside opentelemetry-instrumentation-flask, in either order: one count, and what was validated is on its span."""
    FlaskInstrumentor = pytest.importorskip("opentelemetry.instrumentation.flask").FlaskInstrumentor
    before = flask.Flask
    if ours_first:
        telemetry = watch()
        FlaskInstrumentor().instrument(tracer_provider=telemetry.tracers)
    else:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider = TracerProvider(shutdown_on_exit=False)
        FlaskInstrumentor().instrument(tracer_provider=provider)
        telemetry = watch()
        provider.add_span_processor(SimpleSpanProcessor(telemetry.exporter))
    try:
        app = flask.Flask("beside")  # by the name that the other instrumentation replaced

        @app.post("/leads/<kind>")
        def create(kind: str) -> str:
            fail()
            return ""

        assert call(app, "POST", "/leads/new") == 200
    finally:
        FlaskInstrumentor().uninstrument()
    assert telemetry.requests() == {("POST", "/leads/<kind>"): 1}
    (server,) = [span for span in telemetry.spans() if span.kind.name == "SERVER"]
    (failed,) = [span for span in telemetry.spans() if span.name == "schema.validate Lead"]
    assert server.attributes["schema.validation.count"] == 1
    assert server.attributes["schema.validation.duration"] > 0
    assert failed.parent.span_id == server.context.span_id
    assert flask.Flask is before


BROKEN = [
    (integration, "web_endpoint"),
    (integration, "_url"),
    (Recorder, "count_request"),
    (integration.Request, "locate"),
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
    assert call(build(), "GET", "/leads/7") == 200
    assert telemetry.total("schema.telemetry.errors", schema_telemetry_component="flask") > 0
