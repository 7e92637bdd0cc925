"""Pydantic: every user-visible call is one validation, whatever made its validator, and whenever."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic
import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    RootModel,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    validate_call,
)
from pydantic.dataclasses import dataclass
from pydantic_core import SchemaValidator
from typing_extensions import TypedDict

from tests.telemetry import Telemetry

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
            vars(Lead)[SLOT], vars(Row)[SLOT], ages.validator, leads.validator,
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
    assert type(later.validator) is SchemaValidator
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
assert type(Lead.__pydantic_validator__).__name__ == "UnboundProxy"
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


def test_the_body_of_a_validated_call_is_not_validation(watch: Callable[..., Telemetry]) -> None:
    """The arguments are timed, the function is not, and what it validates counts for itself."""
    telemetry = watch(slow_ms=250)

    class Lead(BaseModel):
        age: int

    @validate_call
    def work(age: int) -> int:
        time.sleep(0.3)
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

    class UnboundProxy(BaseModel):
        age: int

    TypeAdapter(list[UnboundProxy])
    assert not telemetry.validations()
    assert telemetry.points("cache.misses") == telemetry.points("cache.hits") == []


def test_the_old_pydantic_inside_the_new_one_is_left_alone(telemetry: Telemetry) -> None:
    """`pydantic.v1` models work and are not counted."""
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic.v1 does not run on this Python")
    from pydantic import v1

    class Old(v1.BaseModel):
        age: int

    assert Old(age="1").age == 1
    assert telemetry.validations() == {}
