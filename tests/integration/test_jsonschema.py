"""jsonschema: what is counted, under which names, and that nothing else about the library changes."""

from __future__ import annotations

import gc
import inspect
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validators
from jsonschema.exceptions import ValidationError
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.instrumentation.schema._recording import stack
from opentelemetry.instrumentation.schema.api import endpoint
from opentelemetry.instrumentation.schema.integrations.jsonschema import install as integration
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Draft = jsonschema.Draft202012Validator
_DIALECT = referencing.jsonschema.DRAFT202012
META: dict[str, Any] = {"$id": "urn:own-dialect"}

LEAD: dict[str, Any] = {
    "title": "Lead",
    "type": "object",
    "properties": {
        "email": {"type": "string", "minLength": 3},
        "score": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "never": False,
    },
    "required": ["email"],
    "additionalProperties": {"type": "integer"},
    "not": {"required": ["gone"]},  # looked at by `evolve(...).is_valid(...)`
    "$defs": {"item": {"type": "object", "properties": {"price": {"type": "number", "maximum": 10}}}},
}
HELD_SCHEMA = {"type": "integer"}
ENABLED = True  # not the name of the schema `True`
HELD_VALIDATOR = Draft({"type": "string"})


class Telemetry:
    """What one instrumented test exported."""

    def __init__(self, **settings: Any) -> None:
        self._reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        SchemaInstrumentor().instrument(
            meter_provider=MeterProvider([self._reader], shutdown_on_exit=False), tracer_provider=tracers, **settings
        )

    def points(self, metric: str, *keys: str) -> dict[Any, Any]:
        """What stands under these attributes → a counter's value, or a histogram's count; zeros are left out."""
        found: dict[Any, Any] = {}
        for point in self.data_points(metric):
            values = tuple(point.attributes.get(key) for key in keys)
            key = values[0] if len(keys) == 1 else values
            number = point.count if hasattr(point, "count") else point.value
            if number:
                found[key] = found.get(key, 0) + number
        return found

    def data_points(self, metric: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]

    def outcomes(self) -> dict[str, int]:
        return self.points("schema.validation.duration", "schema.validation.outcome")

    def problems(self) -> dict[tuple[str, str], int]:
        return self.points("schema.validation.problems", "schema.problem.path", "schema.problem.rule")

    def names(self) -> dict[tuple[str, str | None], int]:
        return self.points("schema.validation.duration", "schema.name", "schema.module")

    def cache(self) -> tuple[int, int]:
        """Hits and misses."""
        return tuple(sum(self.points(f"cache.{kind}", "schema.name").values()) for kind in ("hits", "misses"))  # type: ignore[return-value]

    def exported(self) -> str:
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.exporter.get_finished_spans()) + (data.to_json() if data else "")


@pytest.fixture
def instrument() -> Iterator[Callable[..., Telemetry]]:
    faults.reraise = True
    yield Telemetry
    SchemaInstrumentor().uninstrument()
    faults.reraise = False
    assert not stack.running


@pytest.fixture
def telemetry(instrument: Callable[..., Telemetry]) -> Telemetry:
    return instrument()


# -- what a validation is


def test_each_way_to_validate_is_one_validation(telemetry: Telemetry) -> None:
    """Every way to validate is one validation, however deep the schema recurses."""
    good, validator = {"email": "a@b", "score": None, "items": [{"price": 1}] * 50}, Draft(LEAD)
    jsonschema.validate(good, LEAD)
    validator.validate(good)
    assert validator.is_valid(good)
    assert list(validator.iter_errors(good)) == []
    assert telemetry.outcomes() == {"valid": 4}


def test_a_failure_is_invalid_where_nothing_is_raised(telemetry: Telemetry) -> None:
    """A failure counts as a ValidationError whether it is raised, returned or asked for."""
    validator = Draft(LEAD)
    with endpoint("import"):
        with pytest.raises(ValidationError):
            jsonschema.validate({}, LEAD)
        with pytest.raises(ValidationError):
            validator.validate({})
        assert not validator.is_valid({})
        assert len(list(validator.iter_errors({"email": 1, "score": "x"}))) == 2
    assert telemetry.outcomes() == {"invalid": 4}
    assert telemetry.points("validation.errors", "error.type", "schema.endpoint") == {("ValidationError", "import"): 4}


def test_iter_errors_never_started(telemetry: Telemetry) -> None:
    """A generator of errors that nobody asked for one validated nothing."""
    Draft(LEAD).iter_errors({})
    gc.collect()
    assert telemetry.outcomes() == {}


def test_iter_errors_closed_early(telemetry: Telemetry) -> None:
    """A generator that is closed after its first error is one invalid validation with one problem."""
    errors = Draft(LEAD).iter_errors({"score": "x"})
    next(errors)
    assert telemetry.outcomes() == {}
    errors.close()
    assert telemetry.outcomes() == {"invalid": 1}
    assert sum(telemetry.problems().values()) == 1


def test_between_errors_the_caller_runs(telemetry: Telemetry) -> None:
    """What the caller does between two errors is neither timed nor taken for a nested validation."""
    for _ in Draft(LEAD).iter_errors({"email": 1, "score": "x"}):
        time.sleep(0.25)
        assert Draft(HELD_SCHEMA).is_valid(1)
    assert telemetry.names() == {("Lead", __name__): 1, ("HELD_SCHEMA", __name__): 2}
    (lead,) = (p for p in telemetry.data_points("schema.validation.duration") if p.attributes["schema.name"] == "Lead")
    assert lead.sum < 0.25


def test_a_generator_drained_inside_another_validation(telemetry: Telemetry) -> None:
    """A generator that is drained inside a validation does not end that one's mark."""
    errors = Draft(LEAD).iter_errors({"email": 1})
    inner = Draft(HELD_SCHEMA)

    def drain(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Iterator[ValidationError]:
        assert len(list(errors)) == 1
        inner.validate(1)
        yield from ()

    schema = {"title": "Outer", "drain": True}
    validators.extend(Draft, {"drain": drain})(schema).validate(1)
    assert telemetry.names() == {("Outer", __name__): 1}


def test_a_keyword_that_crashes(telemetry: Telemetry) -> None:
    """A keyword's function that raises something else makes the outcome `error`, and the exception leaves as it is."""
    crash = ZeroDivisionError("secret")

    def crashes(*_args: Any) -> Iterator[ValidationError]:
        raise crash

    validator = validators.extend(Draft, {"crash": crashes})({"title": "T", "properties": {"a": {"crash": 1}}})
    with endpoint("import"), pytest.raises(ZeroDivisionError) as raised:
        validator.validate({"a": 1})
    assert raised.value is crash
    assert telemetry.outcomes() == {"error": 1}
    assert telemetry.points("validation.errors", "error.type") == {"ZeroDivisionError": 1}
    assert "secret" not in telemetry.exported()


def test_a_keyword_that_raises_its_error(telemetry: Telemetry) -> None:
    """A keyword's function that raises the ValidationError it should yield breaks the schema, not the validator."""

    def raises(*_args: Any) -> Iterator[ValidationError]:
        raise ValidationError("no")

    validator = validators.extend(Draft, {"raises": raises})({"title": "T", "raises": 1})
    with pytest.raises(ValidationError):
        validator.validate(1)
    assert telemetry.outcomes() == {"invalid": 1}


def test_threads_do_not_hide_each_other(telemetry: Telemetry) -> None:
    """A validation is nested on its own stack only: one in another thread counts."""
    inner = Draft(HELD_SCHEMA)

    def elsewhere(*_args: Any) -> Iterator[ValidationError]:
        thread = threading.Thread(target=inner.validate, args=(1,))
        thread.start()
        thread.join()
        yield from ()

    validators.extend(Draft, {"elsewhere": elsewhere})({"title": "Outer", "elsewhere": 1}).validate(1)
    assert telemetry.names() == {("Outer", __name__): 1, ("HELD_SCHEMA", __name__): 1}


def test_spans_of_failures(telemetry: Telemetry) -> None:
    """A failed validation has a span with its problems and without a status."""
    assert not Draft(LEAD).is_valid({"email": "a"})
    (span,) = telemetry.exporter.get_finished_spans()
    assert span.name == "schema.validate Lead"
    assert span.attributes is not None
    assert span.attributes["schema.problem.path"] == ("email",)
    assert span.attributes["schema.problem.rule"] == ("minLength",)
    assert span.status.is_unset


# -- the cache


def test_validate_misses_each_time(telemetry: Telemetry) -> None:
    """`jsonschema.validate` builds a validator per call: one miss each, no hit, whatever the outcome."""
    for instance in ({"email": "a@b"}, {"email": "a@b"}, {}):
        try:
            jsonschema.validate(instance, LEAD)
        except ValidationError:
            pass
    assert telemetry.cache() == (0, 3)


@pytest.mark.parametrize("check", [True, False])
def test_a_built_validator_hits(telemetry: Telemetry, check: bool) -> None:
    """A validator used four times is one miss and three hits, whether its schema was checked first or not."""
    if check:
        Draft.check_schema(LEAD)
    validator = Draft(LEAD)
    for instance in ({"email": "a@b"}, {}, {"email": "a@b"}, {"email": "a@b"}):
        validator.is_valid(instance)
    assert telemetry.cache() == (3, 1)


def test_check_schema_is_a_miss_and_nothing_else(telemetry: Telemetry) -> None:
    """`check_schema` counts a miss of its schema; the meta-schema that it validates with is not seen."""
    Draft.check_schema(LEAD)
    assert telemetry.points("cache.misses", "schema.name") == {"Lead": 1}
    assert telemetry.outcomes() == {}
    assert telemetry.names() == {}


def test_an_unsound_schema_builds_nothing(telemetry: Telemetry) -> None:
    """A schema that fails its check counts nothing."""
    with pytest.raises(jsonschema.SchemaError):
        jsonschema.validate(1, {"title": "Broken", "type": 12})
    assert telemetry.exported().count("Broken") == 0


def test_concurrent_validate_misses_each_time(telemetry: Telemetry) -> None:
    """Threads that check and build the same schema at once still count one miss per call."""
    threads = [
        threading.Thread(target=lambda: [jsonschema.validate({"email": "a@b"}, LEAD) for _ in range(5)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.cache() == (0, 40)


# -- names


def test_names(telemetry: Telemetry) -> None:
    """A schema is called by its title, else its `$id`, else the variable that holds it or its validator."""
    local = {"type": "integer"}
    for schema in ({"title": "T", "$id": "urn:i"}, {"$id": "urn:i"}, HELD_SCHEMA, local, True):
        Draft(schema).is_valid(1)
    HELD_VALIDATOR.is_valid("x")
    anonymous = f"schema of {__name__}"
    names = {"T": 1, "urn:i": 1, "HELD_SCHEMA": 1, "HELD_VALIDATOR": 1, anonymous: 2}
    assert telemetry.names() == {(name, __name__): number for name, number in names.items()}


def test_draft_4_has_an_id(telemetry: Telemetry) -> None:
    """Where a draft calls it `id`, that is the name."""
    jsonschema.Draft4Validator({"id": "urn:four"}).is_valid(1)
    assert telemetry.names() == {("urn:four", __name__): 1}


def _elsewhere(module: str, code: str) -> Any:
    """The value of an expression in another module."""
    return eval(code, {"__name__": module, "jsonschema": jsonschema, "LEAD": LEAD})


def test_the_module_is_who_builds(telemetry: Telemetry) -> None:
    """The module is the one that constructs the validator, not the one that validates with it."""
    validator = _elsewhere("partner.webhooks", "jsonschema.Draft7Validator(LEAD)")
    validator.is_valid({})
    _elsewhere("partner.leads", "jsonschema.Draft7Validator(LEAD).evolve().is_valid({})")
    assert telemetry.names() == {("Lead", "partner.webhooks"): 1, ("Lead", "partner.leads"): 1}


def test_third_party_validators_are_left_out(telemetry: Telemetry) -> None:
    """What a distribution in site-packages builds is not observed, nor is any of the validators derived from it."""
    good = {"email": "a@b", "score": None}
    for code in ("jsonschema.validate({0}, LEAD)", "jsonschema.Draft7Validator(LEAD).is_valid({0})"):
        _elsewhere("pytest", code.format(good))
    assert telemetry.outcomes() == {}
    assert telemetry.cache() == (0, 0)


def test_excluded_by_name(instrument: Callable[..., Telemetry]) -> None:
    """A schema that the settings exclude is not observed, nor is its check, nor what the library derives from it."""
    telemetry = instrument(include=("*",), exclude=(f"{__name__}:Lead",))
    jsonschema.validate({"email": "a@b", "score": None}, LEAD)
    assert telemetry.outcomes() == {}
    assert telemetry.cache() == (0, 0)


# -- problems


@pytest.mark.parametrize(
    ("instance", "problem"),
    [
        ([], ("$", "type")),
        ({}, ("$", "required")),
        ({"email": "a"}, ("email", "minLength")),
        ({"email": "a@b", "score": "x"}, ("score", "anyOf")),
        ({"email": "a@b", "items": [{}, {"price": 11}]}, ("items.*.price", "maximum")),
        ({"email": "a@b", "secret": "x"}, ("*", "type")),
        ({"email": "a@b", "never": 1}, ("$", "custom")),
    ],
)
def test_problems(telemetry: Telemetry, instance: Any, problem: tuple[str, str]) -> None:
    """A problem is a path of declared names and the keyword that failed."""
    assert not Draft(LEAD).is_valid(instance)
    assert telemetry.problems() == {problem: 1}


def test_a_keyword_of_ones_own_is_custom(telemetry: Telemetry) -> None:
    """A keyword that no draft defines is `custom`, and neither its name nor its message goes out."""

    def tenant(*_args: Any) -> Iterator[ValidationError]:
        yield ValidationError("secret message")

    cls = validators.extend(Draft, {"x-secret": tenant})
    assert not cls({"title": "T", "properties": {"a": {"x-secret": 1}}}).is_valid({"a": 1})
    assert telemetry.problems() == {("a", "custom"): 1}
    assert "secret" not in telemetry.exported()


def test_names_in_referred_schemas(telemetry: Telemetry) -> None:
    """Names that another schema of the registry declares are declared; nothing is retrieved to find them."""
    retrieved: list[str] = []

    def retrieve(uri: str) -> Any:
        retrieved.append(uri)
        return referencing.Resource.from_contents({"properties": {"far": {"type": "integer"}}}, _DIALECT)

    near = referencing.Resource.from_contents({"properties": {"near": {"type": "integer"}}}, _DIALECT)
    registry: Any = referencing.Registry(retrieve=retrieve).with_resource("http://a/near", near)
    schema = {"$id": "http://a/root", "allOf": [{"$ref": "near"}, {"$ref": "far"}]}
    assert len(list(Draft(schema, registry=registry).iter_errors({"near": "x", "far": "y"}))) == 2
    assert telemetry.problems() == {("near", "type"): 1, ("*", "type"): 1}
    assert retrieved == ["http://a/far"]


def test_a_flood_of_problems_is_one(telemetry: Telemetry) -> None:
    """Past 1000 problems a failure is one problem without a place."""
    assert len(list(Draft(LEAD).iter_errors({"email": "a@b", **{f"k{n}": "x" for n in range(1500)}}))) == 1500
    assert telemetry.problems() == {("*", "custom"): 1}


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text().map("~{}".format),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["email", "score", "items", "price"]) | st.text().map("~{}".format), inner, max_size=4
        )
    ),
)


@settings(max_examples=40, deadline=None)
@given(instances=st.lists(_json, min_size=1, max_size=20))
def test_any_instance(instances: list[Any]) -> None:
    """Whatever the data, the errors are the library's own, each is a problem, and no key or value of it goes out."""
    expected = [[(e.message, e.validator) for e in Draft(LEAD).iter_errors(instance)] for instance in instances]
    faults.reraise = True
    telemetry = Telemetry(spans="all")
    try:
        validator = Draft(LEAD)
        found = [[(e.message, e.validator) for e in validator.iter_errors(instance)] for instance in instances]
        assert found == expected
        assert sum(telemetry.problems().values()) == sum(map(len, expected))
        invalid = sum(map(bool, expected))
        assert telemetry.outcomes() == {
            outcome: number for outcome, number in (("valid", len(instances) - invalid), ("invalid", invalid)) if number
        }
        assert "~" not in telemetry.exported()
    finally:
        SchemaInstrumentor().uninstrument()
        faults.reraise = False


# -- classes and validators of any age


def test_older_than_us(instrument: Callable[..., Telemetry]) -> None:
    """Validators and unregistered classes that are older than `instrument()` are observed."""
    cls = validators.create(META, {"type": Draft.VALIDATORS["type"]})
    validator = cls({"title": "Old", "type": "integer"})
    telemetry = instrument()
    assert validator.is_valid(1)
    assert cls({"title": "New", "type": "integer"}).is_valid(1)
    assert telemetry.names() == {("Old", __name__): 1, ("New", __name__): 1}


def test_classes_made_later_are_not_kept(telemetry: Telemetry) -> None:
    """A class that `extend` makes is observed, and collected when the application drops it; so are validators."""
    cls = validators.extend(Draft)
    validator = cls(LEAD)
    assert validator.is_valid({"email": "a@b"})
    gone = weakref.ref(cls), weakref.ref(validator)
    del cls, validator
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert telemetry.outcomes() == {"valid": 1}


def test_evolved_validators(telemetry: Telemetry) -> None:
    """A validator that the application derives is one of its own; those the library derives are not."""
    validator = Draft(LEAD)
    assert validator.evolve(schema={"title": "Other"}).is_valid(1)
    assert telemetry.names() == {("Other", __name__): 1}


# -- nothing else changes


def test_uninstrument_restores_identity() -> None:
    """`uninstrument` puts the very objects back, in classes made meanwhile too."""
    classes = [Draft, jsonschema.Draft3Validator, validators.create(META)]

    def now() -> Any:
        return [dict(vars(cls)) for cls in (*classes, referencing.Registry)], validators.define  # type: ignore[attr-defined]

    before = now()
    Telemetry()
    made = validators.extend(Draft)
    assert now()[0][0] != before[0][0]
    assert now()[0][-1] != before[0][-1]
    SchemaInstrumentor().uninstrument()
    assert now() == before
    assert not hasattr(vars(made)["iter_errors"], "__wrapped__")
    assert inspect.unwrap(made.check_schema).__code__.co_filename == validators.__file__


def test_methods_look_alike(instrument: Callable[..., Telemetry]) -> None:
    """Signatures, names and docstrings are the library's."""

    def looks() -> list[Any]:
        methods = [Draft, Draft.iter_errors, Draft.check_schema, Draft.validate, Draft.is_valid]
        return [(inspect.signature(m), m.__qualname__, m.__module__, m.__doc__) for m in methods]

    before = looks()
    instrument()
    assert looks() == before


def test_tracebacks_are_the_librarys(instrument: Callable[..., Telemetry]) -> None:
    """The exception of `validate` passes the frames it always did."""

    def frames(validate: Callable[[], None]) -> list[tuple[str, str]]:
        with pytest.raises(ValidationError) as raised:
            validate()
        return [(frame.filename, frame.name) for frame in traceback.extract_tb(raised.value.__traceback__)[1:]]

    ways: list[Callable[[], None]] = [lambda: jsonschema.validate({}, LEAD), lambda: Draft(LEAD).validate({})]
    before = [frames(way) for way in ways]
    instrument()
    assert [frames(way) for way in ways] == before


def test_deprecations_point_to_the_caller(telemetry: Telemetry) -> None:
    """The deprecated second argument warns about the caller's line, as ever."""
    validator = Draft(LEAD)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not validator.is_valid("x", {"type": "integer"})
        assert list(validator.iter_errors(1, {"type": "integer"})) == []
    assert [warning.filename for warning in caught] == [__file__, __file__]


@pytest.mark.parametrize("part", ["install._name", "_problems._declared", "install._caller"])
def test_our_faults_stay_ours(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A fault of this integration reaches neither the application nor its result, and is counted."""

    def broken(*_args: Any) -> Any:
        raise RuntimeError("ours")

    faults.reraise = False
    monkeypatch.setattr(f"{integration.__package__}.{part}", broken)
    with pytest.raises(ValidationError):
        jsonschema.validate({}, LEAD)
    assert Draft(LEAD).is_valid({"email": "a@b"})
    counted = telemetry.points("schema.telemetry.errors", "schema.telemetry.component", "error.type")
    assert counted[("jsonschema", "RuntimeError")] >= 1


def test_after_uninstrument_a_kept_method_is_inert(telemetry: Telemetry) -> None:
    """A bound method that somebody kept still validates, and records nothing any more."""
    kept = Draft(LEAD).iter_errors
    SchemaInstrumentor().uninstrument()
    assert [error.validator for error in kept({})] == ["required"]
    assert telemetry.outcomes() == {}
