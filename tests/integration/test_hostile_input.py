"""Hostile input: nothing that comes with data slows, grows, kills or deceives the application or its telemetry."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jsonschema
import marshmallow
import pydantic
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.schema import endpoint, faults, observe_cache, validation
from opentelemetry.instrumentation.schema.integrations.marshmallow import install as marshmallow_install
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import install as sqlalchemy_install
from opentelemetry.instrumentation.schema.text import MAX_TEXT
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY, generate_latest

from tests.telemetry import Telemetry

ALLOWED = {"max_examples": 30, "deadline": None, "suppress_health_check": list(HealthCheck)}

# -- memory


def never(validate: Callable[[Any], object], data: Any) -> None:
    try:
        validate(data)
    except (pydantic.ValidationError, jsonschema.ValidationError, marshmallow.ValidationError):
        pass


def forbidding(library: str) -> Callable[[Any], object]:
    """A validator that refuses what it does not know."""
    if library == "pydantic":
        return pydantic.create_model("Lead", __config__=pydantic.ConfigDict(extra="forbid"), a=(int, 0)).model_validate
    if library == "jsonschema":
        items = {"type": "object", "additionalProperties": {"type": "integer"}}
        return jsonschema.Draft202012Validator({"title": "Lead", **items}).validate
    return marshmallow.Schema.from_dict({"a": marshmallow.fields.Integer()}, name="Lead")().load


@pytest.mark.parametrize("library", ["pydantic", "jsonschema", "marshmallow"])
def test_unknown_keys_leave_nothing(library: str, telemetry: Telemetry) -> None:
    """Hundreds of failures with different keys of 100 kB leave less than one of them in memory."""
    validate = forbidding(library)
    for _ in range(3):
        never(validate, {"x": "y"})
    telemetry.exporter.clear()
    gc.collect()
    tracemalloc.start()
    try:
        for n in range(300):
            never(validate, {f"{n}" + "k" * 100_000: "x"})
        telemetry.exporter.clear()
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 100_000
    assert sum(telemetry.validations().values()) == 303


def test_long_titles_leave_nothing(telemetry: Telemetry) -> None:
    """A hundred schemas of tenants with titles of 100 kB leave less than three of them in memory."""
    for _ in range(3):
        jsonschema.Draft202012Validator({"title": "t"}).is_valid(1)
    tracemalloc.start()
    try:
        for n in range(100):
            jsonschema.Draft202012Validator({"title": f"{n}" + "t" * 100_000}).is_valid(1)
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 1_000_000  # with a hundred schemas' cells


def test_schemas_of_tenants_are_not_kept(telemetry: Telemetry) -> None:
    """Of hundreds of large JSON Schemas, each of a name of its own, only the latest hundred stay in memory."""
    alive = weakref.WeakSet[Any]()

    class Tenants(dict[str, Any]):
        """Data that can be watched."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    for n in range(300):
        schema = Tenants({"title": f"t{n}", "type": "string"})
        alive.add(schema)
        jsonschema.Draft202012Validator(schema).is_valid(1)
        del schema
        if n % 50 == 0:
            telemetry.reader.get_metrics_data()
    gc.collect()
    assert len(alive) <= 110


def test_problems_of_a_block_are_bounded(telemetry: Telemetry) -> None:
    """A block that names a million problems holds a thousand, and counts as one that has too many."""
    with validation("Row")() as row:
        for n in range(100_000):
            row.problem(f"row{n}", "required")
        assert len(row._problems) < 1100
    assert telemetry.problems() == {("*", "custom"): 1}


def test_kinds_of_fault_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of ever new classes share one kind past the hundredth, and no name is long."""
    monkeypatch.setattr(faults, "reraise", False)
    for n in range(1000):
        faults.swallow("ours", type(f"Error{n}" + "x" * 1000, (Exception,), {})())
    counted = telemetry.by("schema.telemetry.errors", "error.type")
    assert len(counted) == faults.MAX_KINDS + 1
    assert counted["_OTHER"] == 1000 - faults.MAX_KINDS
    assert max(map(len, counted)) <= MAX_TEXT


# -- time


def seconds(work: Callable[[], object]) -> float:
    """How long the work keeps a core: a busy machine makes that no longer."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def test_a_message_is_matched_in_linear_time() -> None:
    """What somebody sent may stand in a message: 1 MB of it costs milliseconds, whatever the texts look like."""
    text = "{input} is not {choices} but {labels}!"
    literals = marshmallow_install._literals(text)
    message = " is not but " * 90_000
    assert seconds(lambda: marshmallow_install._fits(message, literals)) < 0.2
    assert marshmallow_install._fits("x is not a, b but c!", literals)


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=5), st.text("ab", max_size=12))
def test_a_message_fits_as_a_regular_expression_says(literals: list[str], message: str) -> None:
    """One pass over a message finds what `.*` between the literals finds."""
    import re

    expected = re.fullmatch(".*".join(map(re.escape, literals)), message, re.DOTALL) is not None
    assert marshmallow_install._fits(message, tuple(literals)) is expected


def shared(depth: int) -> dict[str, Any]:
    """A schema of 2 ** depth paths and few parts, as YAML's aliases make it."""
    node: dict[str, Any] = {"properties": {"leaf": {"type": "integer"}}}
    for _ in range(depth):
        node = {"properties": {"a": node, "b": node}}
    return node


def cyclic() -> dict[str, Any]:
    node: dict[str, Any] = {"properties": {"leaf": {}}, "$id": "a/"}
    node["properties"]["self"] = node
    node["allOf"] = [node]
    return node


@pytest.mark.parametrize("parts", [shared(40), cyclic()], ids=["shared", "cyclic"])
def test_a_schema_is_read_in_linear_time(parts: dict[str, Any], telemetry: Telemetry) -> None:
    """A schema whose parts are shared, even with themselves, is looked through once."""
    validator = jsonschema.Draft202012Validator({"title": "Lead", "type": "string", "x": parts})
    assert seconds(lambda: never(validator.validate, 1)) < 1
    assert telemetry.problems() == {("$", "type"): 1}


@pytest.mark.parametrize(
    "statement",
    [" " * 10**6, "/*" + "*" * 10**6, "--x\n" * 250_000, "/**/" * 250_000, "(" * 10**6, "/*" * 500_000, "a" * 10**6],
    ids=lambda text: text[:4],
)
def test_a_statement_is_read_in_its_beginning(statement: str) -> None:
    """The first word of a statement of 1 MB is looked for in its first kilobytes."""
    assert seconds(lambda: sqlalchemy_install._operation(statement, None)) < 0.05


# -- what is exported

NASTY = ["\ud800", "a\x1b]0;x\x07", "n" * 5_000_000, "\u202eevil", "a\0b", "\udfff" * 1000]


def use_names(name: str) -> None:
    """Let a text enter wherever one can."""
    schema = {"title": name, "type": "object", "properties": {name: {"type": "integer"}}, "additionalProperties": False}
    validator = jsonschema.Draft202012Validator(schema)
    never(validator.validate, {name: "x"})
    if name.isascii():  # pydantic-core refuses lone surrogates itself
        model = pydantic.create_model("Lead", a=(int, pydantic.Field(alias=name)))
        never(model.model_validate, {name: "x"})
    made = marshmallow.Schema.from_dict({"a": marshmallow.fields.Integer(data_key=name)}, name="Lead")
    never(made().load, {name: "x"})
    short = name[:100]
    with endpoint(short), validation(short, module=short, library=short)() as row:
        row.problem(short, short)
    observe_cache(short, lambda: (1, 1))


@pytest.mark.parametrize("name", NASTY, ids=["surrogate", "OSC", "5 MB", "bidi", "NUL", "surrogates"])
def test_every_export_goes_on(name: str, telemetry: Telemetry) -> None:
    """One bad name stops neither an OTLP export nor a scrape, and is nowhere longer than 200 characters."""
    use_names(name)
    metrics = encode_metrics(telemetry.reader.get_metrics_data()).SerializeToString()
    spans = encode_spans(telemetry.spans()).SerializeToString()
    assert len(metrics) + len(spans) < 100_000
    for attributes, _ in telemetry.points("schema.validation.problems"):
        assert all(len(str(value)) <= MAX_TEXT for value in attributes.values())
    everything = telemetry.everything()
    assert "\\ud800" not in everything
    assert "\\u001b" not in everything


def test_every_scrape_goes_on() -> None:
    """With bad names of all kinds in it, the Prometheus exporter's page is served."""
    from opentelemetry.instrumentation.schema import SchemaInstrumentor

    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrumentor = SchemaInstrumentor()
    instrumentor.instrument(meter_provider=provider)
    try:
        for name in NASTY:
            use_names(name)
        page = generate_latest(REGISTRY).decode()
    finally:
        instrumentor.uninstrument()
        provider.shutdown()
    assert "schema_validation_problems_total" in page
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) < 4000


def test_a_tenants_database_is_in_no_span(telemetry: Telemetry, tmp_path: Any) -> None:
    """A span's name never holds a database's, and of SQLite, whose name is a file's, nothing does."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/tenant-secret.db")
    with (
        telemetry.tracer.start_as_current_span("server"),
        validation("Row")(),
        engine.connect() as connection,
    ):
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()
    assert [span.name for span in telemetry.spans() if span.kind is SpanKind.CLIENT] == ["SELECT"]
    assert "tenant-secret" not in telemetry.everything()


# -- hostile exceptions


class Refusing(type):
    """A metaclass that answers nothing."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__name__", "__module__", "__mro__", "__dict__"):
            raise RuntimeError(f"ours: {name}")
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("ours")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError("ours")


def _raise(*_: object, **__: object) -> Any:
    raise RuntimeError("ours: a method of the exception was called")


MISBEHAVIOURS: dict[str, Any] = {
    "__class__": property(_raise),
    "__qualname__": property(_raise),
    "__hash__": _raise,
    "__eq__": _raise,
    "__str__": _raise,
    "__repr__": _raise,
    "__getattr__": _raise,
    "__bool__": _raise,
    "__len__": _raise,
    "messages": property(_raise),
    "absolute_path": property(_raise),
    "parent": property(_raise),
    "validator": property(_raise),
    "errors": property(_raise),
}

BASES: list[type[BaseException]] = [
    RuntimeError, KeyError, RecursionError, MemoryError, BaseException, KeyboardInterrupt, SystemExit, GeneratorExit,
    jsonschema.ValidationError, marshmallow.ValidationError,
]  # fmt: skip


@st.composite
def exceptions(draw: st.DrawFn) -> BaseException:
    """An exception of a class that misbehaves in some ways."""
    base = draw(st.sampled_from(BASES))
    names = draw(st.lists(st.sampled_from(sorted(MISBEHAVIOURS)), unique=True, max_size=4))
    held = {name: MISBEHAVIOURS[name] for name in names if name != "__qualname__"}
    if issubclass(base, jsonschema.ValidationError):  # the library itself sets these
        held = {name: value for name, value in held.items() if name not in ("parent", "validator")}
    meta = Refusing if "__qualname__" in names and not issubclass(base, jsonschema.ValidationError) else type
    cls = meta(draw(st.sampled_from(["E", "E" * 1000])), (base,), held)
    made: BaseException = base.__new__(cls, "message")
    try:
        base.__init__(made, "message")
    except (RuntimeError, AttributeError):  # of a property in the place of an attribute
        pass
    return made


def _pydantic(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    class Lead(pydantic.BaseModel):
        email: Any

        @pydantic.field_validator("email")
        @classmethod
        def check(cls, _: Any) -> Any:
            raise hostile()

    return lambda: Lead(email=1)


def _pydantic_call(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    @pydantic.validate_call
    def f(_x: int) -> None:
        raise hostile()

    return lambda: f(1)


def _jsonschema(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    def checked(*_: Any) -> Iterator[Any]:
        raise hostile()
        yield

    cls = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"checked": checked})
    validator = cls({"title": "Lead", "checked": True})
    return lambda: list(validator.iter_errors(1))


def _marshmallow(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    class Lead(marshmallow.Schema):
        @marshmallow.pre_load
        def check(self, *_: Any, **__: Any) -> Any:
            raise hostile()

        def handle_error(self, *_: Any, **__: Any) -> None:
            raise hostile()

    schema = Lead()
    return lambda: schema.load({})


def _sqlalchemy(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    class Cursor:
        description = rowcount = lastrowid = None

        def execute(self, *_: Any) -> None:
            raise hostile()

        def close(self) -> None: ...

    def run() -> None:
        with validation("Row")(), engine.connect() as connection:
            engine.dialect.do_execute(Cursor(), "SELECT 1", (), execution(connection))

    def execution(connection: Any) -> Any:
        return SimpleNamespace(dialect=engine.dialect, root_connection=connection, cursor=None)

    return run


def _block(hostile: Callable[[], BaseException]) -> Callable[[], object]:
    made = validation("Row", invalid=Exception)

    def run() -> None:
        with endpoint("job"), made():
            raise hostile()

    return run


WAYS = {
    "pydantic": _pydantic,
    "validate_call": _pydantic_call,
    "jsonschema": _jsonschema,
    "marshmallow": _marshmallow,
    "sqlalchemy": _sqlalchemy,
    "a block": _block,
}


def outcome(run: Callable[[], object]) -> BaseException | None:
    try:
        run()
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("way", WAYS)
def test_the_applications_exception_stays(way: str, watch: Callable[..., Telemetry]) -> None:
    """Whatever an exception does when it is asked something, the same object comes out as without us."""
    held: list[BaseException] = []
    plain = WAYS[way](lambda: held[0])
    before: dict[int, Any] = {}
    cases: list[BaseException] = []

    @settings(**ALLOWED)
    @given(exceptions())
    def collect(error: BaseException) -> None:
        held[:] = [error]
        came = outcome(plain)
        before[id(error)] = came is error
        cases.append(error)

    collect()
    telemetry = watch()
    observed = WAYS[way](lambda: held[0])
    for error in cases:
        held[:] = [error]
        for run in (plain, observed):
            assert (outcome(run) is error) == before[id(error)]
    assert sum(telemetry.validations().values()) > 0
    assert not faults.take()


def test_django_that_an_instrumentation_configured_is_no_fault() -> None:
    """Settings that somebody configured by hand, with no routes in them, leave no internal error behind."""
    program = (
        "import django.conf; django.conf.settings.configure()\n"
        "from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults\n"
        "SchemaInstrumentor().instrument()\n"
        "import django.core.handlers.base\n"
        "assert faults.take() == {}, 'a fault'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
