"""`schema.info`: which version of each schema is in use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import fastapi
import jsonschema
import marshmallow
import pytest
import sqlalchemy
from fastapi.testclient import TestClient
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._live import versions
from opentelemetry.instrumentation.schema._recording import recorder
from opentelemetry.instrumentation.schema._schemas.fields import SchemaSpec, TypeSpec
from pydantic import BaseModel, TypeAdapter, create_model, field_validator

from tests.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Any:
    """Switched on for the test."""
    made = Telemetry()
    yield made
    made.off()
    _kept.clear()


_kept: list[Any] = []  # classes of a test; one that is gone has no version


def _pydantic(version: str | None) -> None:
    body: dict[str, Any] = {"__module__": __name__, "__annotations__": {"a": int}}
    if version is not None:
        body["__schema_version__"] = version
    _kept.append(type("Lead", (BaseModel,), body))
    _kept[-1].model_validate({"a": 1})


def _marshmallow(version: str | None) -> None:
    body: dict[str, Any] = {"__module__": __name__, "a": marshmallow.fields.Integer()}
    if version is not None:
        body["__schema_version__"] = version
    _kept.append(type("Lead", (marshmallow.Schema,), body))
    _kept[-1]().load({"a": 1})


def _jsonschema(version: str | None) -> None:
    schema = {"title": "Lead", "type": "object", "properties": {"a": {"type": "integer"}}}
    if version is not None:
        schema["version"] = version
    jsonschema.Draft202012Validator(schema).validate({"a": 1})


LIBRARIES = {"pydantic": _pydantic, "marshmallow": _marshmallow, "jsonschema": _jsonschema}


def info(telemetry: Telemetry) -> dict[str, tuple[str, str, float]]:
    """Library → version, fingerprint and value of the schema Lead."""
    return {
        attributes[semconv.SCHEMA_LIBRARY]: (
            attributes[semconv.SCHEMA_VERSION],
            attributes[semconv.SCHEMA_FINGERPRINT],
            value,
        )
        for attributes, value in telemetry.points("schema.info")
        if attributes[semconv.SCHEMA_NAME] == "Lead"
    }


@pytest.mark.parametrize("library", LIBRARIES)
def test_version_of_a_used_schema(telemetry: Telemetry, library: str) -> None:
    """A schema that was used has its fingerprint as its version, and its declared version where there is one."""
    LIBRARIES[library](None)
    ((version, fingerprint, value),) = info(telemetry).values()
    assert (version, len(version), value) == (fingerprint, 12, 1)
    LIBRARIES[library]("2.1")
    points = {
        attributes[semconv.SCHEMA_VERSION]: (attributes[semconv.SCHEMA_FINGERPRINT], value)
        for attributes, value in telemetry.points("schema.info")
    }
    assert points == {fingerprint: (fingerprint, 0), "2.1": (fingerprint, 1)}, "the one before has ceased"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_declared_version_is_on_the_span(telemetry: Telemetry, library: str) -> None:
    """A validation's span has the version that its schema declares, before any collection, and never a fingerprint."""
    telemetry.off()
    telemetry.on(spans="all")
    for version in ("1", None, "2.1\n"):
        LIBRARIES[library](version)
    assert [(span.attributes or {}).get(semconv.SCHEMA_VERSION) for span in telemetry.spans()] == ["1", None, "2.1"]


def test_two_versions_of_one_name_side_by_side(telemetry: Telemetry) -> None:
    """Of two schemas of one name that are both in use, each failed validation says the version of its own."""
    first, second = (
        jsonschema.Draft202012Validator({"title": "Lead", "version": version, "type": "integer"}) for version in (1, 2)
    )
    for validator in (first, second, first, second):
        assert not validator.is_valid("a")
    assert [(span.attributes or {})[semconv.SCHEMA_VERSION] for span in telemetry.spans()] == ["1", "2", "1", "2"]


def test_a_checked_schema_of_another_version(telemetry: Telemetry) -> None:
    """A check of another schema of the same name does not change whose version a validation says."""
    jsonschema.Draft202012Validator.check_schema({"title": "Lead", "version": "1"})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator({"title": "Lead", "version": "2", "type": "integer"}).validate("a")
    assert [(span.attributes or {})[semconv.SCHEMA_VERSION] for span in telemetry.spans()] == ["2"]


@pytest.mark.parametrize("library", ["pydantic", "marshmallow"])
def test_a_version_is_not_inherited(telemetry: Telemetry, library: str) -> None:
    """A subclass is another schema: neither its span nor `schema.info` has the version of its base."""
    telemetry.off()
    telemetry.on(spans="all")
    LIBRARIES[library]("1")
    sub: Any = type("Sub", (_kept[-1],), {"__module__": __name__})
    _kept.append(sub)
    if library == "pydantic":
        sub.model_validate({"a": 1})
    else:
        sub().load({"a": 1})
    assert [(span.attributes or {}).get(semconv.SCHEMA_VERSION) for span in telemetry.spans()] == ["1", None]
    telemetry.points("schema.info")  # a collection reads one schema at least, and maybe no more
    versions_ = telemetry.by("schema.info", semconv.SCHEMA_NAME, semconv.SCHEMA_VERSION)
    assert [len(version) for name, version in versions_ if name == "Sub"] == [12]


def test_a_version_on_the_span_of_a_validation_with_a_query(telemetry: Telemetry) -> None:
    """A span that was made while its validation ran, for a query, has the version too."""
    engine = sqlalchemy.create_engine("sqlite://")

    class Lead(BaseModel):
        __schema_version__ = "3"
        a: int

        @field_validator("a")
        @classmethod
        def known(cls, a: int) -> int:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
            return a

    Lead(a=1)
    engine.dispose()
    (span,) = (span for span in telemetry.spans() if span.name.startswith(semconv.SPAN_NAME))
    assert (span.attributes or {})[semconv.SCHEMA_VERSION] == "3"
    assert (span.attributes or {})[semconv.QUERY_COUNT] == 1


def test_version_of_a_body_and_a_response_of_fastapi(telemetry: Telemetry) -> None:
    """The classes of FastAPI's bodies and responses, which it annotates, have a version; parameters and `int` none."""

    class Lead(BaseModel):
        __schema_version__ = "4"
        a: int

    class Saved(Lead):
        __schema_version__ = "5"

    app = fastapi.FastAPI()

    def save(lead: Lead, dry: bool = False) -> Any:
        return lead

    save.__annotations__["lead"] = Lead
    app.post("/leads", response_model=Saved)(save)
    app.post("/count", response_model=int)(lambda: 1)
    telemetry.off()
    telemetry.on(spans="all")
    client = TestClient(app)
    assert client.post("/leads?dry=true", json={"a": 1}).json() == {"a": 1}
    assert client.post("/count").json() == 1
    telemetry.points("schema.info")  # a collection reads one schema at least, and maybe no more
    expected = {Lead.__qualname__: "4", Saved.__qualname__: "5"}
    assert dict(telemetry.by("schema.info", semconv.SCHEMA_NAME, semconv.SCHEMA_VERSION)) == dict.fromkeys(
        expected.items(), 1
    )
    said = {
        attributes[semconv.SCHEMA_NAME]: attributes.get(semconv.SCHEMA_VERSION)
        for attributes in (span.attributes or {} for span in telemetry.spans())
    }
    assert said == {**expected, "query.dry": None, "int": None}


def test_a_version_that_comes_back_is_one_again(telemetry: Telemetry) -> None:
    """A version that had ceased and is used again is published as 1, once."""
    for version in ("1", "2", "1"):
        _pydantic(version)
        telemetry.points("schema.info")
    found = {a[semconv.SCHEMA_VERSION]: value for a, value in telemetry.points("schema.info")}
    assert found == {"1": 1, "2": 0}


def test_at_most_a_hundred_have_ceased(telemetry: Telemetry) -> None:
    """Of an endless row of versions one is in use and the last hundred are published as ceased."""
    for version in range(versions.MAX_CEASED + 20):
        _pydantic(str(version))
        telemetry.points("schema.info")
    values = [value for _, value in telemetry.points("schema.info")]
    assert (values.count(1), values.count(0)) == (1, versions.MAX_CEASED)


def test_no_version_without_use_or_name(telemetry: Telemetry) -> None:
    """A model that nobody validated, a type without a name and a schema without a title have none."""
    type("Idle", (BaseModel,), {"__module__": __name__, "__annotations__": {"a": int}})
    TypeAdapter(list[int]).validate_python([1])
    jsonschema.Draft202012Validator({"type": "integer"}).validate(1)
    assert telemetry.points("schema.info") == []
    assert telemetry.by("schema.validation.duration", semconv.SCHEMA_NAME)["list[int]"] == 1


def test_uninstrument_ends_it(telemetry: Telemetry) -> None:
    """After uninstrument() there is no version, and after the next instrument() there are again."""
    _pydantic("1")
    assert len(telemetry.points("schema.info")) == 1
    telemetry.off()
    assert telemetry.points("schema.info") == []
    telemetry.on()
    _pydantic("2")
    assert [a[semconv.SCHEMA_VERSION] for a, _ in telemetry.points("schema.info")] == ["2"]


def test_a_version_holds_no_secret(telemetry: Telemetry) -> None:
    """A declared version is bounded, printable text; what is neither text nor number is no version."""
    _pydantic("1\n" + "x" * 500)
    ((version, *_),) = info(telemetry).values()
    assert version == "1" + "x" * 63


def test_nothing_is_read_in_a_validation() -> None:
    """Validating reads no field: the reader is not even imported before the first collection."""
    program = """
import sys
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
SchemaInstrumentor().instrument(meter_provider=MeterProvider([reader]))
from pydantic import BaseModel
class Lead(BaseModel):
    a: int
Lead(a=1)
module = "opentelemetry.instrumentation.schema.integrations.pydantic.fields"
assert module not in sys.modules
names = {m.name for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics}
assert "schema.info" in names
assert module in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ))


def test_a_reader_that_fails_is_counted(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema whose fields cannot be read has no version, the others have theirs, and the fault is counted."""
    from opentelemetry.instrumentation.schema import faults

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(versions, "BUDGET", 60)  # s: both are read in one collection, however busy the machine is
    _pydantic("1")
    assert recorder.active is not None
    broken = recorder.active.bind("pydantic", "Broken", __name__)
    recorder.active.unread_schemas.add(broken.schema_cells, int, lambda _: 1 / 0)
    broken.succeeded(0.001)
    assert list(info(telemetry)) == ["pydantic"]
    assert telemetry.by("schema.telemetry.errors", "schema.telemetry.component") == {"versions": 1}


def test_a_class_is_not_kept(telemetry: Telemetry) -> None:
    """A class that is gone before the collection is neither kept alive nor published."""
    import weakref

    cls = type("Gone", (BaseModel,), {"__module__": __name__, "__annotations__": {"a": int}})
    cls.model_validate({"a": 1})
    ref = weakref.ref(cls)
    del cls
    gc.collect()
    assert ref() is None
    assert telemetry.points("schema.info") == []


def test_two_thousand_schemas(telemetry: Telemetry) -> None:
    """Reading 2,000 schemas that were used at once costs no collection 100 ms, and in the end each has a version."""
    for number in range(2000):
        _kept.append(create_model(f"M{number}", __module__=__name__, a=(int, ...), b=(str | None, None)))
        _kept[-1].model_validate({"a": 1})
    assert recorder.active is not None
    observe: Callable[[], Any] = recorder.active.observers["schema.info"]
    list(observe())  # imports the reader
    found, times = 0, []
    while found < 1999 and len(times) < 500:
        start = perf_counter()
        found = len(list(observe()))
        times.append(perf_counter() - start)
    assert found >= 1999, len(times)
    # Of several: another process may take the core in one.
    assert sorted(times)[len(times) // 2] < 0.1, max(times)


def test_two_readers_at_once(telemetry: Telemetry) -> None:
    """While one collection reads, another one publishes what is known and does not wait."""
    _pydantic("1")
    telemetry.points("schema.info")
    assert recorder.active is not None
    entered, leave = threading.Event(), threading.Event()

    def slow(_: Any) -> dict[str, SchemaSpec]:
        entered.set()
        assert leave.wait(30)
        return {"Slow": SchemaSpec(name="Slow", module=None, library="pydantic", type=TypeSpec(kind="any"))}

    probe = recorder.active.bind("pydantic", "Slow", __name__)
    recorder.active.unread_schemas.add(probe.schema_cells, int, slow)
    probe.succeeded(0.001)
    observe = recorder.active.observers["schema.info"]
    reading = threading.Thread(target=lambda: list(observe()))
    reading.start()
    try:
        assert entered.wait(30)
        assert len(list(observe())) == 1
    finally:
        leave.set()
        reading.join()
    assert len(list(observe())) == 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_while_versions_are_read(telemetry: Telemetry) -> None:
    """A child that was forked during a collection of its parent reads versions itself."""
    _pydantic("1")
    assert recorder.active is not None
    observe = recorder.active.observers["schema.info"]
    entered, leave = threading.Event(), threading.Event()

    def slow(_: Any) -> dict[str, SchemaSpec]:
        entered.set()
        assert leave.wait(30)
        return {"Slow": SchemaSpec(name="Slow", module=None, library="pydantic", type=TypeSpec(kind="any"))}

    list(observe())
    probe = recorder.active.bind("pydantic", "Slow", __name__)
    recorder.active.unread_schemas.add(probe.schema_cells, int, slow)
    probe.succeeded(0.001)
    reading = threading.Thread(target=lambda: list(observe()))
    reading.start()
    try:
        assert entered.wait(30)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _pydantic("2")
                code = 0 if [o.value for o in observe()] == [1, 0] else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        leave.set()
        reading.join()


class Unsent(BaseModel):
    number: int


def test_a_schema_that_nobody_used_has_no_version(telemetry: Telemetry) -> None:
    """The body of a route is bound when the application starts, and has a version from its first validation on."""
    app = fastapi.FastAPI()

    @app.post("/leads")
    def create(lead: Unsent) -> None:
        assert lead

    with TestClient(app) as client:
        assert telemetry.by("schema.info", "schema.name") == {}
        assert client.post("/leads", json={"number": "x"}).status_code == 422
        assert telemetry.by("schema.info", "schema.name") == {"Unsent": 1}
