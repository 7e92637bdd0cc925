"""An error of ours, in any integration, reaches neither the app nor its results; it is counted, and logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import pytest
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults

from tests.telemetry import Telemetry

PACKAGE = SchemaInstrumentor.__module__.rpartition(".")[0]


pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")


class Bug(Exception):
    """What the injected code raises; it is no exception that any library knows."""


def by_pydantic() -> list[Any]:
    from pydantic import TypeAdapter, ValidationError, create_model

    adapter, model = TypeAdapter(list[int]), create_model("Lead", number=(int, ...))
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"number": "many"})
    with pytest.raises(ValidationError):
        adapter.validate_python(["x"])
    return [adapter.validate_python(["1"]), adapter.validate_json("[2]"), model(number="3"), refused.value.errors()]


def by_jsonschema() -> list[Any]:
    from jsonschema import Draft202012Validator, ValidationError

    validator = Draft202012Validator({"title": "Lead", "properties": {"number": {"type": "integer"}}})
    with pytest.raises(ValidationError) as refused:
        validator.validate({"number": "many"})
    listed = [error.message for error in validator.iter_errors({"number": None})]
    return [validator.is_valid({"number": 3}), refused.value.message, list(refused.value.path), listed]


def by_marshmallow() -> list[Any]:
    from marshmallow import Schema, ValidationError, fields

    schema = Schema.from_dict({"number": fields.Integer(required=True)}, name="Lead")()
    with pytest.raises(ValidationError) as refused:
        schema.load({"number": "many"})
    return [schema.load({"number": "3"}), refused.value.messages, schema.validate({})]


def by_sqlalchemy() -> list[Any]:
    from pydantic import BeforeValidator, TypeAdapter
    from sqlalchemy import create_engine, exc, select, text
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool)

    def ask(_value: Any) -> Any:
        with engine.connect() as connection:
            with pytest.raises(exc.OperationalError) as refused:
                connection.execute(text("SELECT * FROM nowhere"))
            return connection.scalar(select(7)), str(refused.value.orig)

    found = [ask(None), TypeAdapter(Annotated[Any, BeforeValidator(ask)]).validate_python(1)]
    engine.dispose()
    return found


def by_starlette() -> list[Any]:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.get("/leads/{number}")(lambda number: {"number": number})

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    with TestClient(app, raise_server_exceptions=False) as client:
        return [(client.get(path).status_code, client.get(path).text) for path in ("/leads/3", "/nowhere", "/broken")]


def by_flask() -> list[Any]:
    from flask import Flask

    app = Flask("leads")
    app.add_url_rule("/leads/<int:number>", "lead", lambda number: {"number": number})
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    client = app.test_client()
    return [(client.get(path).status_code, client.get(path).text) for path in ("/leads/3", "/nowhere", "/broken")]


CASES: list[tuple[str, str, Callable[[], list[Any]]]] = [
    # the component that reports it, where our code fails, what the app does
    ("pydantic", "_recording.recorder.Recorder.bind", by_pydantic),
    ("pydantic", "integrations.pydantic._validator.runs_code", by_pydantic),
    ("pydantic", "integrations.pydantic._core_schema.name_and_module", by_pydantic),
    ("pydantic", "integrations.pydantic._validator._Problems.__call__", by_pydantic),
    ("recorder", "_recording.schema_cells.SchemaCells.duration", by_pydantic),
    ("recorder", "_recording.spans.Spans.end_span", by_pydantic),
    ("jsonschema", "_recording.recorder.Recorder.bind", by_jsonschema),
    ("jsonschema", "integrations.jsonschema.install._name", by_jsonschema),
    ("recorder", "_recording.schema_cells.SchemaCells.duration", by_jsonschema),
    ("marshmallow", "_recording.recorder.Recorder.bind", by_marshmallow),
    ("marshmallow", "integrations.marshmallow.install._name", by_marshmallow),
    ("marshmallow", "integrations.marshmallow.install._failed", by_marshmallow),
    ("sqlalchemy", "integrations.sqlalchemy.install._Queries._link", by_sqlalchemy),
    ("sqlalchemy", "integrations.sqlalchemy.install._operation", by_sqlalchemy),
    ("sqlalchemy", "_recording.spans.Spans.open_span", by_sqlalchemy),
    ("starlette", "integrations.starlette.install.web_endpoint", by_starlette),
    ("starlette", "integrations.fastapi.install._Routes.template", by_starlette),
    ("starlette", "integrations.fastapi.install._Routes.announce", by_starlette),
    ("starlette", "_recording.recorder.Recorder.count_request", by_starlette),
    ("starlette", "_recording.request.Request.enter_handler", by_starlette),
    ("flask", "integrations.flask.install.web_endpoint", by_flask),
    ("flask", "_recording.recorder.Recorder.count_request", by_flask),
    ("flask", "_recording.request.Request.leave_handler", by_flask),
]


def inject(where: str, patch: pytest.MonkeyPatch) -> None:
    """Make a function or method of ours raise."""
    parts = where.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            parent: Any = import_module(".".join([PACKAGE, *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:-1]:
            parent = getattr(parent, name)
        break

    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise Bug("lead@example.com")

    patch.setattr(parent, parts[-1], fail)


@pytest.mark.parametrize(
    ("component", "where", "act"), CASES, ids=[f"{where}-{act.__name__}" for _, where, act in CASES]
)
def test_our_error_stays_ours(
    component: str,
    where: str,
    act: Callable[[], list[Any]],
    watch: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The app gets what it gets without us, thrice; the error is counted each time and logged once, textless."""
    caplog.set_level(logging.WARNING, PACKAGE)
    expected = repr(act())
    monkeypatch.setattr(faults, "reraise", False)
    telemetry = watch()
    inject(where, monkeypatch)
    assert [repr(act()) for _ in range(3)] == [expected] * 3
    counted = telemetry.by("schema.telemetry.errors", "schema.telemetry.component", "error.type")
    assert counted.keys() == {(component, "Bug")}
    assert counted[component, "Bug"] >= 3
    logged = [record.getMessage() for record in caplog.records if record.name.startswith(PACKAGE)]
    assert len(logged) == 1
    assert f"{component}: internal error Bug" in logged[0]
    assert "lead@example.com" not in caplog.text


@pytest.mark.parametrize("act", [by_pydantic, by_marshmallow])
def test_a_failure_that_we_cannot_explain_is_counted(
    act: Callable[[], list[Any]], watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where finding out the failed fields breaks, the failed validation is still one."""
    telemetry = watch()
    act()
    failed = telemetry.validations()["invalid"]
    monkeypatch.setattr(faults, "reraise", False)
    inject("integrations.pydantic._validator._Problems.__call__", monkeypatch)
    inject("integrations.marshmallow.install._failed", monkeypatch)
    act()
    assert telemetry.validations() == {"valid": telemetry.validations()["valid"], "invalid": 2 * failed}
