"""marshmallow 3 and 4: what is counted, which rule a message is of, and that nothing else about the library changes."""

from __future__ import annotations

import gc
import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.instrumentation.schema._recording import stack
from opentelemetry.instrumentation.schema.api import endpoint
from opentelemetry.instrumentation.schema.integrations.marshmallow import install as integration
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def _even(value: int) -> None:
    if value % 2:
        raise ValidationError(f"{value} is secret")


class _Short(validate.Length):
    """An application's own validator."""


class Item(Schema):
    sku = fields.Str(required=True, validate=validate.Regexp("^[a-z]+$", error="secret {input}"))
    price = fields.Float(data_key="Price")


class Lead(Schema):
    email = fields.Email(required=True)
    name = fields.Str(validate=[validate.Length(2, 30), validate.NoneOf(["root"])])
    short = fields.Str(validate=_Short(max=2))
    size = fields.Str(validate=validate.OneOf(["s", "m"], error="one of {choices}, not {input}"))
    score = fields.Int(error_messages={"invalid": "secret {input}"}, validate=[validate.Range(0, 9), _even])
    created = fields.DateTime()
    owner = fields.Nested(lambda: Item(only=("sku",)))
    items = fields.Nested(Item, many=True)
    tags = fields.List(fields.Str(validate=validate.Length(max=3)))
    extra = fields.Dict(keys=fields.Str(validate=validate.Length(max=2)), values=fields.Int())
    pair = fields.Tuple((fields.Str(), fields.Int()))
    both = (
        fields.Int(validate=validate.And(validate.Range(min=1), validate.Equal(5)))
        if hasattr(validate, "And")
        else fields.Int()
    )
    id = fields.Int(dump_only=True)

    @validates_schema
    def check(self, data: dict[str, Any], **_kwargs: Any) -> None:
        if data.get("name") == "mallory":
            raise ValidationError("secret")
        if data.get("name") == "eve":
            raise ValidationError({"name": ["secret"], "secret": ["secret"]})


GOOD = {"email": "a@b.co"}


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
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for each in scope.metrics:
                    for point in each.data.data_points if each.name == metric else ():
                        values = tuple(point.attributes.get(key) for key in keys)
                        number = point.count if hasattr(point, "count") else point.value
                        if number:
                            key = values[0] if len(keys) == 1 else values
                            found[key] = found.get(key, 0) + number
        return found

    def outcomes(self) -> dict[str, int]:
        return self.points("schema.validation.duration", "schema.validation.outcome")

    def problems(self) -> dict[tuple[str, str], int]:
        return self.points("schema.validation.problems", "schema.problem.path", "schema.problem.rule")

    def names(self) -> dict[tuple[str, str | None], int]:
        return self.points("schema.validation.duration", "schema.name", "schema.module")

    def cache(self) -> tuple[int, ...]:
        """Hits and misses."""
        return tuple(sum(self.points(f"cache.{kind}", "schema.name").values()) for kind in ("hits", "misses"))

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
    """`load`, `loads` and `validate` are one validation each, with many items and nested Schemas too."""
    lead = Lead()
    lead.load({**GOOD, "items": [{"sku": "a"}] * 20, "owner": {"sku": "b"}})
    lead.loads('{"email": "a@b.co"}')
    lead.load([GOOD] * 20, many=True)
    assert lead.validate(GOOD) == {}
    assert Lead(many=True).validate([GOOD]) == {}
    assert telemetry.outcomes() == {"valid": 5}
    assert telemetry.names() == {("Lead", __name__): 5}


def test_dump_validates_nothing(telemetry: Telemetry) -> None:
    """Serializing is not a validation."""
    Item().dump({"sku": "A1", "price": 3})
    assert telemetry.outcomes() == {}


def test_a_failure_is_invalid_where_nothing_is_raised(telemetry: Telemetry) -> None:
    """A failure counts as a ValidationError whether it is raised or returned."""
    with endpoint("import"):
        with pytest.raises(ValidationError):
            Lead().load({})
        with pytest.raises(ValidationError):
            Lead().loads("{}")
        assert list(Lead().validate({})) == ["email"]
    assert telemetry.outcomes() == {"invalid": 3}
    assert telemetry.points("validation.errors", "error.type", "schema.endpoint") == {("ValidationError", "import"): 3}


class AppError(Exception):
    """What an application raises instead."""


class Handled(Schema):
    n = fields.Int(required=True)

    def handle_error(self, error: Any, data: Any, **kwargs: Any) -> None:
        raise AppError("secret") from error


class Crashing(Schema):
    n = fields.Function(deserialize=lambda _value: 1 // 0)


@pytest.mark.parametrize(("schema", "error"), [(Handled, AppError), (Crashing, ZeroDivisionError)])
def test_another_exception_is_an_error(telemetry: Telemetry, schema: Any, error: type[Exception]) -> None:
    """Whatever else is raised, by `handle_error` too, leaves as it is and makes the outcome `error`."""
    with endpoint("import"), pytest.raises(error):
        schema().load({"n": "x"})
    assert telemetry.outcomes() == {"error": 1}
    assert telemetry.points("validation.errors", "error.type") == {error.__qualname__: 1}
    assert "secret" not in telemetry.exported()


def test_a_schema_loaded_by_a_validator_is_nested(telemetry: Telemetry) -> None:
    """A Schema that is loaded while another one validates belongs to that validation."""

    class Outer(Schema):
        raw = fields.Raw(validate=lambda value: bool(Item().load(value)))

    Outer().load({"raw": {"sku": "a"}})
    assert list(telemetry.names().values()) == [1]


# -- the cache and names


def test_an_instance_is_a_built_validator(telemetry: Telemetry) -> None:
    """A Schema instance used four times is one miss and three hits; one per call is a miss per call."""
    lead = Lead()
    for data in (GOOD, {}, GOOD, GOOD):
        lead.validate(data)
    assert telemetry.cache() == (3, 1)
    for _ in range(3):
        Lead().validate(GOOD)
    assert telemetry.cache() == (3, 4)


def test_names(telemetry: Telemetry) -> None:
    """A Schema is called by its class; one that marshmallow made from a dict has no module."""

    class Local(Schema):
        pass

    Local().load({})
    Schema.from_dict({"n": fields.Int()}, name="Import")().load({"n": 1})
    assert telemetry.names() == {("test_names.<locals>.Local", __name__): 1, ("Import", None): 1}


def test_third_party_schemas_are_left_out(telemetry: Telemetry) -> None:
    """A Schema class of a distribution in site-packages is not observed; the application's own inside it is."""
    theirs = type(Schema)("Theirs", (Schema,), {"__module__": "pytest", "lead": fields.Nested(Item)})
    theirs().load({"lead": {"sku": "a"}})
    assert telemetry.names() == {("Item", __name__): 1}


@pytest.mark.skipif(
    hasattr(getattr(Schema, "_has_processors", None), "cache_info"), reason="this marshmallow keeps instances itself"
)
def test_instances_are_not_kept(telemetry: Telemetry) -> None:
    """A Schema instance that the application drops is collected, and one at its address is new."""
    for _ in range(5):
        lead = Lead()
        lead.load(GOOD)
        gone = weakref.ref(lead)
        del lead
        gc.collect()
        assert gone() is None
    assert telemetry.cache() == (0, 5)


def test_instances_that_are_equal(telemetry: Telemetry) -> None:
    """Instances are told apart by identity, whatever their class says of equality."""

    class Equal(Lead):
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return True

    for schema in (Equal(), Equal()):
        schema.load(GOOD)
    assert telemetry.cache() == (0, 2)


# -- problems


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({}, {("email", "required")}),
        (None, {("$", "type")}),
        ({"email": None}, {("email", "null")}),
        ({"email": "x"}, {("email", "invalid")}),
        ({**GOOD, "name": "x"}, {("name", "Length")}),
        ({**GOOD, "name": "root"}, {("name", "NoneOf")}),
        ({**GOOD, "name": 1}, {("name", "invalid")}),
        ({**GOOD, "short": "long"}, {("short", "custom")}),
        ({**GOOD, "size": "xl"}, {("size", "OneOf")}),
        ({**GOOD, "score": "x"}, {("score", "invalid")}),
        ({**GOOD, "score": 11}, {("score", "Range"), ("score", "custom")}),
        ({**GOOD, "created": "x"}, {("created", "invalid")}),
        ({**GOOD, "owner": 1}, {("owner", "type")}),
        ({**GOOD, "owner": {}}, {("owner.sku", "required")}),
        ({**GOOD, "owner": {"sku": "a", "price": 1}}, {("owner.*", "unknown")}),
        ({**GOOD, "items": 1}, {("items", "type")}),
        ({**GOOD, "items": [{"sku": "A1"}, {"sku": "a", "Price": "x"}, 3]},
         {("items.*.sku", "Regexp"), ("items.*.Price", "invalid"), ("items.*", "type")}),
        ({**GOOD, "tags": "x"}, {("tags", "invalid")}),
        ({**GOOD, "tags": ["a", "abcd", 1]}, {("tags.*", "Length"), ("tags.*", "invalid")}),
        ({**GOOD, "extra": {"secret": "x"}}, {("extra.*", "Length"), ("extra.*", "invalid")}),
        ({**GOOD, "pair": ["a", "b"]}, {("pair.*", "invalid")}),
        ({**GOOD, "secret": 1}, {("*", "unknown")}),
        ({**GOOD, "id": 1}, {("id", "unknown")}),
        ({**GOOD, "name": "mallory"}, {("$", "custom")}),
        ({**GOOD, "name": "eve"}, {("name", "custom"), ("*", "custom")}),
    ],
)  # fmt: skip
def test_problems(telemetry: Telemetry, data: Any, found: set[tuple[str, str]]) -> None:
    """A problem is a path of declared names, and the rule that its message is of: never the message."""
    assert Lead().validate(data)
    assert set(telemetry.problems()) == found
    assert "secret" not in telemetry.exported()


@pytest.mark.skipif(not hasattr(validate, "And"), reason="marshmallow before 3.20 has no And")
def test_validators_in_a_validator(telemetry: Telemetry) -> None:
    """Of validators that `And` joins, each one's message is told apart."""
    Lead().validate({**GOOD, "both": 0})
    assert telemetry.problems() == {("both", "Range"): 1, ("both", "Equal"): 1}


def test_many(telemetry: Telemetry) -> None:
    """An index is templated, and an item of the wrong type is told from a field's."""
    Lead().validate([GOOD, {}, 3], many=True)
    assert telemetry.problems() == {("*.email", "required"): 1, ("*", "type"): 1}


def test_rules_of_ones_own_are_custom(telemetry: Telemetry) -> None:
    """A key of `error_messages` that marshmallow does not know is `custom`."""

    class Vat(fields.Field):  # type: ignore[type-arg]
        default_error_messages = {"secret_rule": "{country} has none"}  # noqa: RUF012

        def _deserialize(self, *_args: Any, **_kwargs: Any) -> Any:
            raise self.make_error("secret_rule", country="secret")

    Schema.from_dict({"vat": Vat()})().validate({"vat": "x"})
    assert telemetry.problems() == {("vat", "custom"): 1}
    assert "secret" not in telemetry.exported()


def test_a_flood_of_problems_is_one(telemetry: Telemetry) -> None:
    """Past 1000 problems a failure is one problem without a place."""
    assert len(Lead().validate([{}] * 1500, many=True)) == 1500
    assert telemetry.problems() == {("*", "custom"): 1}


_value: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.text().map("~{}".format),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Lead().fields, "sku", "Price", "key", "value", "_schema"]) | st.text().map("~{}".format),
            inner,
            max_size=5,
        )
    ),
)


@settings(max_examples=60, deadline=None)
@given(instances=st.lists(_value, min_size=1, max_size=20))
def test_any_data(instances: list[Any]) -> None:
    """Whatever the data, the messages are the library's own, and no key or value of it goes out."""
    expected = [Lead().validate(instance) for instance in instances]
    faults.reraise = True
    telemetry = Telemetry(spans="all")
    try:
        lead = Lead()
        assert [lead.validate(instance) for instance in instances] == expected
        invalid = sum(map(bool, expected))
        assert telemetry.outcomes().get("invalid", 0) == invalid
        assert telemetry.outcomes().get("valid", 0) == len(instances) - invalid
        assert "~" not in telemetry.exported()
    finally:
        SchemaInstrumentor().uninstrument()
        faults.reraise = False


# -- nothing else changes


def test_the_exception_is_the_librarys(telemetry: Telemetry) -> None:
    """The exception that leaves is the object that `handle_error` was given."""
    handled: list[Any] = []

    class Kept(Lead):
        def handle_error(self, error: Any, data: Any, **kwargs: Any) -> None:
            handled.append(error)

    with pytest.raises(ValidationError) as raised:
        Kept().load({})
    assert raised.value is handled[0]


def test_uninstrument_restores_identity() -> None:
    """`uninstrument` puts the very function back; meanwhile its signature, name and docstring are the library's."""
    original = vars(Schema)["_do_load"]
    Telemetry()
    ours = vars(Schema)["_do_load"]
    assert ours is not original
    for look in (inspect.signature, lambda f: f.__qualname__, lambda f: f.__module__, lambda f: f.__doc__):
        assert look(ours) == look(original)
    SchemaInstrumentor().uninstrument()
    assert vars(Schema)["_do_load"] is original


def test_older_than_us(instrument: Callable[..., Telemetry]) -> None:
    """A Schema instance that is older than `instrument()` is observed."""
    lead = Lead()
    lead.load(GOOD)
    telemetry = instrument()
    lead.load(GOOD)
    assert telemetry.outcomes() == {"valid": 1}


@pytest.mark.parametrize("part", ["_name", "_failed"])
def test_our_faults_stay_ours(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A fault of this integration reaches neither the application nor its result, and is counted."""

    def broken(*_args: Any) -> Any:
        raise RuntimeError("ours")

    faults.reraise = False
    monkeypatch.setattr(integration, part, broken)
    assert list(Lead().validate({})) == ["email"]
    assert Lead().load(GOOD) == GOOD
    counted = telemetry.points("schema.telemetry.errors", "error.type")
    assert counted["RuntimeError"] >= 1
