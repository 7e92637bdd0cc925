"""Pydantic: every user-visible call is one validation, whatever made its validator, and whenever."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import functools
import gc
import subprocess
import sys
import time
import types
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar, Union

import pydantic
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
    RootModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    validate_call,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError, SchemaValidator
from telemetry import Telemetry
from typing_extensions import TypedDict

VERSION = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])
SLOT = "__pydantic_validator__"
T = TypeVar("T")


# -- what may validate: each makes its validator anew, and gives a valid call, an invalid one and `schema.name`


class Case(NamedTuple):
    """A validator and how it is called."""

    valid: Callable[[], object]
    invalid: Callable[[], object]
    name: str


def constructor() -> Case:
    class Lead(BaseModel):
        age: int

    return Case(lambda: Lead(age=1), lambda: Lead(age="x"), Lead.__qualname__)


def python() -> Case:
    class Lead(BaseModel):
        age: int

    return Case(lambda: Lead.model_validate({"age": 1}), lambda: Lead.model_validate({}), Lead.__qualname__)


def json() -> Case:
    class Lead(BaseModel):
        age: int

    return Case(
        lambda: Lead.model_validate_json('{"age": 1}'), lambda: Lead.model_validate_json("{"), Lead.__qualname__
    )


def strings() -> Case:
    class Lead(BaseModel):
        age: int

    return Case(
        lambda: Lead.model_validate_strings({"age": "1"}),
        lambda: Lead.model_validate_strings({"age": "x"}),
        Lead.__qualname__,
    )


def strict() -> Case:
    class Lead(BaseModel):
        age: int

    return Case(
        lambda: Lead.model_validate({"age": 1}, strict=True),
        lambda: Lead.model_validate({"age": "1"}, strict=True),
        Lead.__qualname__,
    )


def attributes() -> Case:
    class Lead(BaseModel):
        age: int

    class Row:
        age = 1

    return Case(
        lambda: Lead.model_validate(Row(), from_attributes=True),
        lambda: Lead.model_validate(Row(), from_attributes=False),
        Lead.__qualname__,
    )


def validators() -> Case:
    class Address(BaseModel):
        city: str

    class Lead(BaseModel):
        address: Address

        @field_validator("address")
        @classmethod
        def known(cls, address: Address) -> Address:
            return Address(city=address.city)

    return Case(lambda: Lead(address={"city": "Ulm"}), lambda: Lead(address={}), Lead.__qualname__)


def own_init() -> Case:
    class Inner(BaseModel):
        age: int

        def __init__(self, **data: Any) -> None:
            super().__init__(**data)

    class Lead(BaseModel):
        inner: Inner

    return Case(lambda: Lead(inner={"age": 1}), lambda: Lead(inner={}), Lead.__qualname__)


def root() -> Case:
    class Ages(RootModel[list[int]]):
        pass

    return Case(lambda: Ages([1]), lambda: Ages.model_validate(["x"]), Ages.__qualname__)


def generic() -> Case:
    class Page(BaseModel, Generic[T]):
        items: list[T]

    page = Page[int]
    return Case(lambda: page(items=[1]), lambda: page(items=["x"]), page.__qualname__)


def created() -> Case:
    lead = create_model("MadeLead", age=(int, ...), __module__=__name__)
    return Case(lambda: lead(age=1), lambda: lead(age="x"), "MadeLead")


def deferred() -> Case:
    class Lead(BaseModel):
        model_config = ConfigDict(defer_build=True)
        age: int

    return Case(lambda: Lead(age=1), lambda: Lead(age="x"), Lead.__qualname__)


def rebuilt() -> Case:
    class Lead(BaseModel):
        company: RebuiltCompany

    class RebuiltCompany(BaseModel):
        name: str

    Lead.model_rebuild(_types_namespace={"RebuiltCompany": RebuiltCompany})
    return Case(lambda: Lead(company={"name": "A"}), lambda: Lead(company={}), Lead.__qualname__)


def recursive() -> Case:
    class Folder(BaseModel):
        folders: list[Folder] = []

    Folder.model_rebuild(_types_namespace={"Folder": Folder})
    return Case(
        lambda: Folder.model_validate({"folders": [{"folders": [{}]}]}),
        lambda: Folder.model_validate({"folders": [{"folders": 1}]}),
        Folder.__qualname__,
    )


def adapter() -> Case:
    ages = TypeAdapter(list[int])
    return Case(lambda: ages.validate_python([1]), lambda: ages.validate_json('["x"]'), "list[int]")


def adapter_of_model() -> Case:
    class Lead(BaseModel):
        age: int

    leads = TypeAdapter(list[Lead])
    return Case(
        lambda: leads.validate_python([{"age": 1}, {"age": 2}]),
        lambda: leads.validate_python([{"age": 1}, {}]),
        f"list[{Lead.__qualname__}]",
    )


def pydantic_dataclass() -> Case:
    @dataclass
    class Lead:
        age: int

    return Case(lambda: Lead(1), lambda: Lead("x"), Lead.__qualname__)


def standard_dataclass() -> Case:
    @dataclasses.dataclass
    class Lead:
        age: int

    adapted = TypeAdapter(Lead)
    return Case(lambda: adapted.validate_python({"age": 1}), lambda: adapted.validate_python({}), Lead.__qualname__)


def typed_dict() -> Case:
    class Lead(TypedDict):
        age: int

    adapted = TypeAdapter(Lead)
    return Case(lambda: adapted.validate_python({"age": 1}), lambda: adapted.validate_python({}), Lead.__qualname__)


def call() -> Case:
    @validate_call
    def score(age: int) -> int:
        return age

    return Case(lambda: score("1"), lambda: score("x"), "call.<locals>.score")


CASES = [
    constructor, python, json, strings, strict, attributes, validators, own_init, root, generic, created, deferred,
    rebuilt, recursive, adapter, adapter_of_model, pydantic_dataclass, standard_dataclass, typed_dict, call,
]  # fmt: skip

# What existed before us and does not remember its function, or by which name its type goes.
FORGETFUL = [
    *([call] if VERSION < (2, 11) else []),
    *([adapter_of_model, typed_dict] if VERSION < (2, 8) else []),
]


@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_call_is_one_validation(make: Callable[[], Case], made: str, watch: Callable[..., Telemetry]) -> None:
    """One valid and two invalid calls: three validations, one miss, two hits; `instrument()` before or after."""
    if made == "before" and make in FORGETFUL:
        pytest.skip("this Pydantic keeps of it only what it built")
    case = make() if made == "before" else None
    telemetry = watch()
    case = case or make()
    case.valid()
    assert telemetry.validations(schema_name=case.name) == {"valid": 1}
    assert telemetry.total("cache.misses", schema_name=case.name) == 1
    for _ in range(2):
        with pytest.raises(ValidationError):
            case.invalid()
    assert telemetry.validations() == {"valid": 1, "invalid": 2}
    assert telemetry.validations(schema_name=case.name, schema_library="pydantic") == {"valid": 1, "invalid": 2}
    assert telemetry.total("cache.misses") == 1
    assert telemetry.total("cache.hits") == 2
    modules = {found.get("schema.module") for found, _ in telemetry.points("schema.validation.duration")}
    assert modules == {None if case.name == "list[int]" else __name__}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_switched_off_nothing_is_counted(make: Callable[[], Case], watch: Callable[..., Telemetry]) -> None:
    """After `uninstrument()` a validator made under us, even one that was called, works on and counts nothing."""
    telemetry = watch()
    case = make()
    case.valid()
    telemetry.off()
    case.valid()
    with pytest.raises(ValidationError):
        case.invalid()
    assert telemetry.validations() == {"valid": 1}


def test_uninstrument_restores_the_identical_objects(watch: Callable[..., Telemetry]) -> None:
    """Every validator and every function that stood somewhere before `instrument()` stands there again."""
    from pydantic import type_adapter
    from pydantic._internal import _dataclasses, _model_construction, _validate_call
    from pydantic.plugin import _schema_validator

    class Lead(BaseModel):
        age: int

    @dataclass
    class Row:
        age: int

    @validate_call(validate_return=True)
    def score(age: int) -> int:
        return age

    ages, leads = TypeAdapter(list[int]), TypeAdapter(Lead)
    modules = _schema_validator, _model_construction, _dataclasses, _validate_call, type_adapter

    def standing() -> list[object]:
        return [
            *(vars(module)["create_schema_validator"] for module in modules),
            vars(Lead)[SLOT], vars(Row)[SLOT], vars(ages)["validator"], vars(leads)["validator"],
        ]  # fmt: skip

    before = standing()
    telemetry = watch()
    assert all(now is not then for now, then in zip(standing(), before, strict=True))
    Lead(age=1), Row(1), score(1), ages.validate_python([1]), leads.validate_python({"age": 1})
    assert telemetry.validations() == {"valid": 4 if call in FORGETFUL else 6}

    class Later(BaseModel):
        age: int

    later = TypeAdapter(list[Later])
    telemetry.off()
    assert all(now is then for now, then in zip(standing(), before, strict=True))
    assert type(vars(Later)[SLOT]) is SchemaValidator
    assert type(vars(later)["validator"]) is SchemaValidator
    assert score("1") == 1


def test_merely_installed_nothing_is_imported_and_nothing_patched() -> None:
    """A process that imports Pydantic has nothing of ours in it."""
    code = """
import sys, pydantic
from pydantic import type_adapter
class Lead(pydantic.BaseModel): age: int
Lead(age=1)
assert not [name for name in sys.modules if "opentelemetry" in name]
assert type_adapter.create_schema_validator.__module__ == "pydantic.plugin._schema_validator"
assert type(Lead.__pydantic_validator__).__module__ == "pydantic_core._pydantic_core"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_switching_on_imports_neither_pydantic_nor_the_sdk() -> None:
    """`instrument()` waits for the app to import Pydantic; then its first validation counts."""
    code = """
import sys
from opentelemetry.instrumentation.schema import SchemaInstrumentor
SchemaInstrumentor().instrument(skip_dep_check=True)
for name in ("pydantic", "jsonschema", "marshmallow", "sqlalchemy", "opentelemetry.sdk"):
    assert name not in sys.modules, name
import pydantic
class Lead(pydantic.BaseModel): age: int
assert type(Lead.__pydantic_validator__).__name__ == "Proxy"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_of_a_frozen_heap(watch: Callable[..., Telemetry]) -> None:
    """After `gc.freeze()`, as preloading servers do, models that existed before are found all the same."""

    class Base(BaseModel):
        age: int

    class Lead(Base):
        pass

    gc.freeze()
    try:
        telemetry = watch()
    finally:
        gc.unfreeze()
    Base(age=1), Lead(age=1)
    assert telemetry.validations() == {"valid": 2}


def test_assignment_is_a_validation(telemetry: Telemetry) -> None:
    """With `validate_assignment`, making a model and assigning to it are two."""

    class Lead(BaseModel):
        model_config = ConfigDict(validate_assignment=True)
        age: int

    lead = Lead(age=1)
    lead.age = 2
    with pytest.raises(ValidationError):
        lead.age = "x"
    assert telemetry.validations() == {"valid": 2, "invalid": 1}
    assert telemetry.problems() == {("age", "int_parsing"): 1}


# -- validate_call


def test_the_body_of_a_validated_call_is_not_validation(telemetry: Telemetry) -> None:
    """The arguments are timed, the function is not, and what it validates counts for itself."""

    class Lead(BaseModel):
        age: int

    @validate_call
    def work(age: int) -> int:
        time.sleep(0.05)
        Lead(age=age), Lead.model_validate({"age": age})
        return age

    assert work("3") == 3
    assert telemetry.validations() == {"valid": 3}
    assert telemetry.validations(schema_name=Lead.__qualname__) == {"valid": 2}
    assert not telemetry.spans(), "the body made its arguments slow"


def test_a_failure_in_the_body_is_not_one_of_its_arguments(telemetry: Telemetry) -> None:
    """What the function raises, even a `ValidationError`, passes through; its arguments were valid."""

    class Lead(BaseModel):
        age: int

    boom = RuntimeError("boom")

    @validate_call
    def work(age: int) -> None:
        if age:
            Lead(age="x")
        raise boom

    with pytest.raises(ValidationError):
        work(1)
    with pytest.raises(RuntimeError) as caught:
        work(0)
    assert caught.value is boom
    assert telemetry.validations(schema_name=work.__qualname__) == {"valid": 2}
    assert telemetry.validations() == {"valid": 2, "invalid": 1}


def test_every_shape_of_a_validated_call(telemetry: Telemetry) -> None:
    """Methods, coroutines, partials, recursive calls and checked return values: each call of arguments is one."""

    class Service:
        @validate_call
        def method(self, age: int) -> int:
            return age

    @validate_call
    async def coroutine(age: int) -> int:
        await asyncio.sleep(0)
        return age

    @validate_call
    def count_down(age: int) -> int:
        return count_down(age - 1) if age else 0

    @validate_call(validate_return=True)
    def returned(age: int) -> str:
        return str(age) if age else age

    assert Service().method("1") == 1
    assert asyncio.run(coroutine("2")) == 2
    assert validate_call(functools.partial(lambda a, b: a + b, 1))(2) == 3
    assert telemetry.validations() == {"valid": 3}
    assert count_down(3) == 0
    assert telemetry.validations() == {"valid": 7}
    assert returned(1) == "1"
    with pytest.raises(ValidationError):
        returned(0)
    assert telemetry.validations(schema_name=returned.__qualname__) == {"valid": 3, "invalid": 1}


# -- cache


def test_a_validator_built_per_call_is_a_miss_per_call(telemetry: Telemetry) -> None:
    """A TypeAdapter made for each call never hits; one that is kept misses once."""
    for _ in range(5):
        TypeAdapter(list[int]).validate_python([1])
    assert (telemetry.total("cache.misses"), telemetry.total("cache.hits")) == (5, 0)
    kept = TypeAdapter(list[int])
    for _ in range(5):
        kept.validate_python([1])
    assert (telemetry.total("cache.misses"), telemetry.total("cache.hits")) == (6, 4)


def test_a_validator_that_is_built_and_not_used_is_nothing(watch: Callable[..., Telemetry]) -> None:
    """Classes and adapters that never validate make no series."""
    gc.collect()  # a checked return value is bound with its function: those of other tests
    telemetry = watch()

    class Unused(BaseModel):
        age: int

    TypeAdapter(list[Unused])
    assert not telemetry.validations()
    assert telemetry.points("cache.misses") == telemetry.points("cache.hits") == []


# -- names


class Person(BaseModel):
    """For names: its qualified name is short."""

    age: int


class Page(BaseModel, Generic[T]):
    """Likewise."""

    items: list[T]


@pytest.mark.parametrize(
    ("annotation", "name", "module"),
    [
        (Person, "Person", __name__),
        (list[Person], "list[Person]", __name__),
        (dict[str, Person], "dict[str, Person]", __name__),
        (Optional[Person], "Person | None", __name__),  # noqa: UP045  # as people still write it
        (Union[int, str], "int | str", None),  # noqa: UP007
        (int | None, "int | None", None),
        (Annotated[int, Field(gt=3)], "int", None),
        (list[Annotated[Person, "secret"]], "list[Person]", __name__),
        (Literal["secret", "other"], "Literal", None),
        (list[Literal["secret"]], "list[Literal]", None),
        (tuple[int, ...], "tuple[int, ...]", None),
        (decimal.Decimal, "Decimal", None),
        (dict[SecretStr, Person], "dict[SecretStr, Person]", __name__),
        (RootModel[Person], "RootModel[Person]", __name__),
        (RootModel[int], "RootModel[int]", None),
        (NewType("Age", int), "Age", None),
        (Any, "Any", None),
        (None, "None", None),
    ],
)
def test_names_are_what_a_person_would_write(
    annotation: Any, name: str, module: str | None, telemetry: Telemetry
) -> None:
    """`schema.name` and `schema.module` follow from the annotation alone, without metadata and values."""
    with pytest.raises(ValidationError) if annotation is not Any else pytest.raises(ZeroDivisionError):
        TypeAdapter(annotation).validate_python(object())
        raise ZeroDivisionError
    ((found, _),) = telemetry.points("schema.validation.duration")
    assert (found["schema.name"], found.get("schema.module")) == (name, module)
    assert "secret" not in telemetry.everything()


def test_the_first_to_write_a_generic_does_not_name_it(telemetry: Telemetry) -> None:
    """`Page[int]` is of the module of `Page`, whoever imported first: two workers have equal series."""
    code = "from pydantic import RootModel\nfrom test_pydantic import Page\nmade = Page[{0}], RootModel[{0}]\n"
    for name, argument in (("first_to_import", "bytes"), ("second_to_import", "float")):
        module = types.ModuleType(name)
        sys.modules[name] = module
        exec(code.format(argument), vars(module))
        page, root = module.made
        page(items=[b"1" if argument == "bytes" else 1]), root(b"1" if argument == "bytes" else 1)
        del sys.modules[name]
    found = {point["schema.name"]: point.get("schema.module") for point, _ in telemetry.points("cache.misses")}
    assert found == {
        "Page[bytes]": __name__, "Page[float]": __name__, "RootModel[bytes]": None, "RootModel[float]": None,
    }  # fmt: skip


def test_two_modules_may_have_the_same_name(telemetry: Telemetry) -> None:
    """`schema.module` keeps them apart."""
    for module in ("orders", "people"):
        create_model("Lead", age=(int, ...), __module__=module)(age=1)
    for module in ("orders", "people"):
        assert telemetry.validations(schema_name="Lead", schema_module=module) == {"valid": 1}


def test_third_party_models_are_left_out(watch: Callable[..., Telemetry]) -> None:
    """Models of an installed distribution count only where a pattern lets them in, and never where one excludes."""
    foreign = create_model("Foreign", age=(int, ...), __module__="hypothesis.made")
    own = create_model("Own", age=(int, ...), __module__=__name__)
    for chosen, expected in (
        ({}, {"valid": 1}),
        ({"include": "hypothesis.*:*"}, {"valid": 2}),
        ({"include": "hypothesis.*:Foreign", "exclude": "*:Own"}, {"valid": 1}),
    ):
        telemetry = watch(**chosen)
        foreign(age=1), own(age=1)
        assert telemetry.validations() == expected
        telemetry.off()


# -- failures


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


@settings(deadline=None, max_examples=50)
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
    from opentelemetry.instrumentation.schema.recorder import Probe, Recorder

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(faults, "_logged", set())

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    parent, name = {
        "bind": (Recorder, "bind"),
        "install": (_validator, "fill"),
        "names": (_core_schema, "name_and_module"),
        "problems": (_validator._Problems, "_template"),
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


def test_the_old_pydantic_inside_the_new_one_is_left_alone(telemetry: Telemetry) -> None:
    """`pydantic.v1` models work and are not counted."""
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic.v1 does not run on this Python")
    from pydantic import v1

    class Old(v1.BaseModel):
        age: int

    assert Old(age="1").age == 1
    assert telemetry.validations() == {}
