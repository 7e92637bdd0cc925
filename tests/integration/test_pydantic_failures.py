"""Pydantic: what a failed validation tells of its fields, its spans, and how our own failures stay ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import endpoint, faults
from opentelemetry.instrumentation.schema.integrations.pydantic import _core_schema, _validator
from opentelemetry.trace import StatusCode
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    validate_call,
)
from pydantic_core import PydanticCustomError

from tests.telemetry import Telemetry


class Person(BaseModel):
    age: int


def test_problems_are_templated(telemetry: Telemetry) -> None:
    """Declared names and aliases stay; unknown keys, dictionary keys and list indexes do not."""

    class Item(BaseModel):
        price: float = Field(alias="unitPrice")

    class Order(BaseModel):
        model_config = ConfigDict(extra="forbid")
        items: list[Item]
        notes: dict[str, int]
        total: int = 0

    with pytest.raises(ValidationError):
        Order.model_validate(
            {
                "items": [{"unitPrice": 1}, {"unitPrice": "x"}, {}],
                "notes": {"secret": "x", "private": "y"},
                "hidden": 1,
                "total": "much",
            }
        )
    with pytest.raises(ValidationError):
        Order.model_validate("nothing")
    assert telemetry.problems() == {
        ("items.*.unitPrice", "float_parsing"): 1,
        ("items.*.unitPrice", "missing"): 1,
        ("notes.*", "int_parsing"): 2,
        ("*", "extra_forbidden"): 1,
        ("total", "int_parsing"): 1,
        ("$", "model_type"): 1,
    }


def test_rules_are_pydantics_or_custom(telemetry: Telemetry) -> None:
    """`schema.problem.rule` is a rule that Pydantic documents, else `custom`."""

    class Lead(BaseModel):
        age: int

        @field_validator("age")
        @classmethod
        def check(cls, age: int) -> int:
            if age == 1:
                raise ValueError("secret")
            raise PydanticCustomError("secret_rule", "secret")

    for age in (1, 2):
        with pytest.raises(ValidationError):
            Lead(age=age)
    assert telemetry.problems() == {("age", "value_error"): 1, ("age", "custom"): 1}
    assert "secret" not in telemetry.everything()


def test_a_thousand_problems_are_one(telemetry: Telemetry) -> None:
    """A failure with more problems than are worth listing is one."""
    with pytest.raises(ValidationError):
        TypeAdapter(list[int]).validate_python(["x"] * 1001)
    assert telemetry.problems() == {("*", "custom"): 1}


SECRETS = st.text("abcdefgh", min_size=6).map(lambda text: f"zq{text}zq")
PAYLOADS = st.recursive(
    st.one_of(SECRETS, st.integers(), st.none(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(SECRETS | st.just("name"), inner, max_size=3)),
)


@settings(deadline=None)
@given(payload=st.dictionaries(st.sampled_from(["name", "tags", "child", "union", "extra"]) | SECRETS, PAYLOADS))
def test_no_payload_is_exported(payload: dict[str, Any]) -> None:
    """Whatever is sent, no value of it and no key that the schema does not declare is in metrics or spans."""
    telemetry = Telemetry(spans="all")
    try:

        class Node(BaseModel):
            model_config = ConfigDict(extra="forbid")
            name: int
            tags: dict[str, list[int]] = {}
            child: Optional[Node] = None  # noqa: UP045  # pydantic 2.5 resolves it on every Python
            union: Union[int, list[int], dict[str, int]] = 0  # noqa: UP007

        Node.model_rebuild(_types_namespace={"Node": Node, "Optional": Optional, "Union": Union})
        for call in (lambda: Node.model_validate(payload), lambda: Node(**payload)):
            try:
                call()
            except ValidationError:
                pass
        exported = telemetry.everything()
        assert sum(telemetry.validations().values()) == 2
        assert "zq" not in exported
    finally:
        telemetry.off()


def test_an_error_passes_unchanged(telemetry: Telemetry) -> None:
    """What a validator raises reaches the caller as the same object, and is an error, not invalid data."""
    boom = LookupError("secret")

    class Lead(BaseModel):
        age: int

        @field_validator("age")
        @classmethod
        def check(cls, age: int) -> int:
            raise boom

    with endpoint("import"), pytest.raises(LookupError) as caught:
        Lead(age=1)
    assert caught.value is boom
    assert boom.__context__ is boom.__cause__ is None
    assert telemetry.validations() == {"error": 1}
    assert telemetry.problems() == {}
    assert telemetry.total("validation.errors", error_type="LookupError", schema_endpoint="import") == 1
    (span,) = telemetry.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes["error.type"] == "LookupError"
    assert not span.events
    assert "secret" not in telemetry.everything()


def test_errors_count_where_requests_do(telemetry: Telemetry) -> None:
    """A failure counts in `validation.errors` inside a request or `endpoint()` block only, from 0 on."""

    class Lead(BaseModel):
        age: int

    with pytest.raises(ValidationError):
        Lead(age="x")
    assert telemetry.points("validation.errors") == []
    with endpoint("import"):
        Lead(age=1)
        ((found, value),) = telemetry.points("validation.errors")
        assert (found["error.type"], found["schema.endpoint"], value) == ("ValidationError", "import", 0)
        with pytest.raises(ValidationError):
            Lead(age="x")
    assert telemetry.total("validation.errors") == telemetry.total("validation.errors", schema_endpoint="import") == 1
    assert telemetry.total("api.requests", schema_endpoint="import") == 1
    assert telemetry.validations(schema_endpoint="import") == {"valid": 1, "invalid": 1}


# -- spans


@pytest.mark.parametrize(("spans", "expected"), [("notable", ["invalid"]), ("all", ["valid", "invalid"]), ("off", [])])
def test_which_validations_have_spans(spans: str, expected: list[str], watch: Callable[..., Telemetry]) -> None:
    """`notable` makes one for the failed validation, `all` for both, `off` for none."""
    telemetry = watch(spans=spans)
    Person(age=1)
    with pytest.raises(ValidationError):
        Person(age="x")
    found = telemetry.spans()
    assert [span.attributes["schema.validation.outcome"] for span in found] == expected
    for span in found:
        assert span.name == "schema.validate Person"
        assert span.status.status_code is StatusCode.UNSET
        assert span.end_time >= span.start_time
    assert telemetry.validations() == {"valid": 1, "invalid": 1}


def test_a_span_of_a_failure(telemetry: Telemetry) -> None:
    """It is a child of the span that is current, and says which fields failed by which rule."""
    with telemetry.tracer.start_as_current_span("request") as request, pytest.raises(ValidationError):
        Person(age="secret")
    span = next(span for span in telemetry.spans() if span.name == "schema.validate Person")
    assert span.parent == request.get_span_context()
    assert dict(span.attributes) == {
        "schema.name": "Person",
        "schema.module": __name__,
        "schema.library": "pydantic",
        "schema.validation.outcome": "invalid",
        "schema.problem.path": ("age",),
        "schema.problem.rule": ("int_parsing",),
        "schema.problem.count": 1,
    }


def test_a_slow_validation_has_a_span_with_its_true_start(watch: Callable[..., Telemetry]) -> None:
    """It starts when the validation did, and the histogram's exemplar leads to it."""
    telemetry = watch(slow_ms=5)

    class Lead(BaseModel):
        age: int

        @field_validator("age")
        @classmethod
        def slow(cls, age: int) -> int:
            time.sleep(0.01)
            return age

    before = time.time_ns()
    Lead(age=1)
    after = time.time_ns()
    (span,) = telemetry.spans()
    slack = 5_000_000  # ns: two clocks
    assert before - slack <= span.start_time <= span.end_time - 10_000_000 + slack
    assert span.end_time <= after + slack
    data = telemetry.reader.get_metrics_data()
    points = [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "schema.validation.duration"
        for point in metric.data.data_points
    ]
    assert [e.span_id for point in points for e in point.exemplars] == [span.context.span_id]


# -- ours


@pytest.mark.parametrize("where", ["bind", "install", "names", "problems", "record"])
def test_a_fault_of_ours_reaches_neither_app_nor_result(
    where: str, watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An internal error is counted in `schema.telemetry.errors` and logged once; validation goes on."""
    from opentelemetry.instrumentation.schema._recording.probe import Probe
    from opentelemetry.instrumentation.schema._recording.recorder import Recorder

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(faults, "_logged", set())

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    parent, name = {
        "bind": (Recorder, "bind"),
        "install": (_validator, "bind_proxy"),
        "names": (_core_schema, "name_and_module"),
        "problems": (_validator._Problems, "__call__"),
        "record": (Probe, "_measure"),
    }[where]
    telemetry = watch()
    monkeypatch.setattr(parent, name, broken)

    class Lead(BaseModel):
        age: int

    @validate_call
    def score(age: int) -> int:
        return age

    for _ in range(3):
        assert Lead(age="1").age == score("1") == 1
        with pytest.raises(ValidationError):
            Lead(age="x")
    assert telemetry.total("schema.telemetry.errors", error_type="RuntimeError") > 0
    assert sum("internal error" in record.getMessage() for record in caplog.records) == 1
