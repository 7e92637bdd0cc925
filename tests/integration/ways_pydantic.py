"""The ways to validate with Pydantic."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Generic, Literal, TypeVar

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, ValidationError, create_model, validate_call
from typing_extensions import TypedDict

from ways import Calls, Table

VERSION = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])
T = TypeVar("T")
NAMED = VERSION >= (2, 8)  # what a TypeAdapter is for is to be seen in it
REBUILT = VERSION >= (2, 11)  # a `validate_call` can be built again
TABLE = Table("pydantic", ValidationError)
way, nothing = TABLE.way, TABLE.nothing
AGE = {("age", "int_parsing"): 1}


def lead(**config: Any) -> Any:
    """A class of its own at each call."""

    class Lead(BaseModel):
        model_config = ConfigDict(**config)
        age: int

    return Lead


# -- a model


@way(problems=AGE)
def constructor() -> Calls:
    Lead = lead()
    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(problems=AGE)
def model_validate() -> Calls:
    Lead = lead()
    return Calls(lambda: Lead.model_validate({"age": 1}), lambda: Lead.model_validate({"age": "x"}))


@way(problems={("$", "json_invalid"): 1})
def model_validate_json() -> Calls:
    Lead = lead()
    return Calls(lambda: Lead.model_validate_json('{"age": 1}'), lambda: Lead.model_validate_json("{"))


@way(problems=AGE)
def model_validate_strings() -> Calls:
    Lead = lead()
    return Calls(lambda: Lead.model_validate_strings({"age": "1"}), lambda: Lead.model_validate_strings({"age": "x"}))


@way(problems={("age", "int_type"): 1})
def strict_by_argument() -> Calls:
    Lead = lead()
    return Calls(
        lambda: Lead.model_validate({"age": 1}, strict=True), lambda: Lead.model_validate({"age": "1"}, strict=True)
    )


@way(problems={("age", "int_type"): 1})
def strict_by_config() -> Calls:
    Lead = lead(strict=True)
    return Calls(lambda: Lead(age=1), lambda: Lead(age="1"))


@way(problems=AGE)
def from_attributes() -> Calls:
    Lead = lead(from_attributes=True)

    class Row:
        def __init__(self, age: object) -> None:
            self.age = age

    return Calls(lambda: Lead.model_validate(Row(1)), lambda: Lead.model_validate(Row("x")))


@way(problems=AGE)
def assignment() -> Calls:
    Lead = lead(validate_assignment=True)
    one = Lead.model_construct(age=1)
    return Calls(lambda: setattr(one, "age", 2), lambda: setattr(one, "age", "x"))


@way(problems=AGE)
def deferred_build() -> Calls:
    Lead = lead(defer_build=True)
    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(problems=AGE)
def model_made_by_a_call() -> Calls:
    Lead = create_model("Lead", age=(int, ...), __module__=__name__)
    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way({"Page[int]": 1}, {("Page[int]", "invalid"): 1}, {("items.*", "int_parsing"): 1})
def generic() -> Calls:
    class Page(BaseModel, Generic[T]):
        items: list[T]

    return Calls(lambda: Page[int](items=[1]), lambda: Page[int](items=["x"]))


@way(problems={("*", "int_parsing"): 1})
def root_model() -> Calls:
    class Lead(RootModel[list[int]]):
        pass

    return Calls(lambda: Lead([1]), lambda: Lead.model_validate(["x"]))


@way(problems={("pet.*.lives", "missing"): 1})
def discriminated_union() -> Calls:
    class Cat(BaseModel):
        kind: Literal["cat"]
        lives: int

    class Dog(BaseModel):
        kind: Literal["dog"]

    class Lead(BaseModel):
        pet: Annotated[Cat | Dog, Field(discriminator="kind")]

    return Calls(lambda: Lead(pet={"kind": "dog"}), lambda: Lead(pet={"kind": "cat"}))


@way(problems={("pet", "union_tag_invalid"): 1})
def discriminator_of_no_member() -> Calls:
    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]

    class Lead(BaseModel):
        pet: Annotated[Cat | Dog, Field(discriminator="kind")]

    return Calls(lambda: Lead(pet={"kind": "cat"}), lambda: Lead(pet={"kind": "cow"}))


@way(problems={("pet.*.age", "int_parsing"): 1})
def discriminator_that_is_a_function() -> Calls:
    class Dog(BaseModel):
        age: int

    def kind(value: Any) -> str:
        Dog(age=1)  # on the stack of the validation
        return "dog"

    class Lead(BaseModel):
        pet: Annotated[
            Annotated[Dog, pydantic.Tag("dog")] | Annotated[int, pydantic.Tag("no")], pydantic.Discriminator(kind)
        ]

    return Calls(lambda: Lead(pet={"age": 1}), lambda: Lead(pet={"age": "x"}))


# -- models in models


@way(problems={("inner.age", "int_parsing"): 1})
def nested_model() -> Calls:
    class Lead(BaseModel):
        inner: lead()  # type: ignore[valid-type]

    return Calls(lambda: Lead(inner={"age": 1}), lambda: Lead(inner={"age": "x"}))


@way(problems={("inner.age", "int_parsing"): 1})
def nested_model_with_its_own_init() -> Calls:
    class Inner(BaseModel):
        age: int

        def __init__(self, **data: Any) -> None:
            super().__init__(**data)

    class Lead(BaseModel):
        inner: Inner

    return Calls(lambda: Lead(inner={"age": 1}), lambda: Lead(inner={"age": "x"}))


@way(problems={("age", "int_parsing"): 1})
def model_built_in_a_validator() -> Calls:
    class Inner(BaseModel):
        age: int

    class Lead(BaseModel):
        age: int

        @pydantic.field_validator("age", mode="before")
        @classmethod
        def check(cls, value: Any) -> Any:
            return Inner(age=1).age and value

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(problems={("age", "int_parsing"): 1})
def failure_swallowed_in_a_validator() -> Calls:
    class Inner(BaseModel):
        age: int

    class Lead(BaseModel):
        age: int

        @pydantic.model_validator(mode="before")
        @classmethod
        def check(cls, value: Any) -> Any:
            with pytest.raises(ValidationError):
                Inner.model_validate({})
            return value

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(problems=AGE)
def model_built_by_a_default() -> Calls:
    class Inner(BaseModel):
        age: int = 0

    class Lead(BaseModel):
        age: int
        inner: Inner = Field(default_factory=Inner)

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(problems=AGE)
def model_built_after_validation() -> Calls:
    class Inner(BaseModel):
        age: int

    class Lead(BaseModel):
        age: int

        def model_post_init(self, _context: Any) -> None:
            Inner(age=1)

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way({"Inner": 1, "Lead": 1}, {("Inner", "valid"): 1, ("Lead", "invalid"): 1}, AGE, hits=4, misses=2)
def model_built_in_front_of_the_own_init() -> Calls:
    class Inner(BaseModel):
        age: int

    class Lead(BaseModel):
        age: int

        def __init__(self, **data: Any) -> None:
            Inner(age=1)
            super().__init__(**data)

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


@way(bad={("Lead", "error"): 1}, raises=ZeroDivisionError)
def crash_in_a_validator() -> Calls:
    class Lead(BaseModel):
        age: int

        @pydantic.field_validator("age")
        @classmethod
        def check(cls, value: int) -> float:
            return 1 / value

    return Calls(lambda: Lead(age=1), lambda: Lead(age=0))


# -- no model


@way({"list[int]": 1}, {("list[int]", "invalid"): 1}, {("*", "int_parsing"): 1})
def adapter_validate_python() -> Calls:
    ages = TypeAdapter(list[int])
    return Calls(lambda: ages.validate_python([1]), lambda: ages.validate_python(["x"]))


@way({"list[int]": 1}, {("list[int]", "invalid"): 1}, {("*", "int_parsing"): 1})
def adapter_validate_json() -> Calls:
    ages = TypeAdapter(list[int])
    return Calls(lambda: ages.validate_json("[1]"), lambda: ages.validate_json('["x"]'))


@way({"dict[str, int]": 1}, {("dict[str, int]", "invalid"): 1}, {("*", "int_parsing"): 1}, before=NAMED)
def adapter_validate_strings() -> Calls:
    ages = TypeAdapter(dict[str, int])
    return Calls(lambda: ages.validate_strings({"a": "1"}), lambda: ages.validate_strings({"a": "x"}))


@way({"list[int]": 1}, {("list[int]", "invalid"): 1}, {("*", "int_parsing"): 1}, hits=0, misses=3)
def adapter_built_per_call() -> Calls:
    return Calls(
        lambda: TypeAdapter(list[int]).validate_python([1]), lambda: TypeAdapter(list[int]).validate_python(["x"])
    )


@way(problems=AGE)
def adapter_of_a_model_built_per_call() -> Calls:
    Lead = lead()
    return Calls(
        lambda: TypeAdapter(Lead).validate_python({"age": 1}), lambda: TypeAdapter(Lead).validate_python({"age": "x"})
    )


@way({"list[Lead]": 1}, {("list[Lead]", "invalid"): 1}, {("*.age", "int_parsing"): 1}, before=NAMED)
def adapter_of_a_list_of_models() -> Calls:
    leads = TypeAdapter(list[lead()])  # type: ignore[misc]
    return Calls(lambda: leads.validate_python([{"age": 1}] * 3), lambda: leads.validate_python([{"age": "x"}]))


@way(problems=AGE, before=NAMED)
def adapter_of_a_typed_dict() -> Calls:
    class Lead(TypedDict):
        age: int

    leads = TypeAdapter(Lead)
    return Calls(lambda: leads.validate_python({"age": 1}), lambda: leads.validate_python({"age": "x"}))


@way(problems={("*", "int_parsing"): 1})
def dataclass() -> Calls:
    @pydantic.dataclasses.dataclass
    class Lead:
        age: int

    return Calls(lambda: Lead(1), lambda: Lead("x"))  # type: ignore[arg-type]


@way(problems=AGE)
def adapter_of_a_standard_dataclass() -> Calls:
    @dataclasses.dataclass
    class Lead:
        age: int

    leads = TypeAdapter(Lead)
    return Calls(lambda: leads.validate_python({"age": 1}), lambda: leads.validate_python({"age": "x"}))


@way({"score": 1}, {("score", "invalid"): 1}, {("*", "int_parsing"): 1}, before=REBUILT)
def validated_call() -> Calls:
    @validate_call
    def score(age: int) -> int:
        return age

    return Calls(lambda: score(1), lambda: score("x"))  # type: ignore[arg-type]


@way(
    {"score": 2},
    {("score", "valid"): 1, ("score", "invalid"): 1},
    {("$", "int_parsing"): 1},
    hits=4,
    misses=2,
    before=REBUILT,
)
def validated_call_and_return() -> Calls:
    @validate_call(validate_return=True)
    def score(age: int) -> int:
        return age or "x"  # type: ignore[return-value]

    return Calls(lambda: score(1), lambda: score(0))


@way({"score": 1, "Lead": 1}, {("score", "valid"): 1, ("Lead", "invalid"): 1}, AGE, hits=4, misses=2, before=REBUILT)
def model_in_the_body_of_a_validated_call() -> Calls:
    Lead = lead()

    @validate_call
    def score(age: Any) -> Any:
        return Lead(age=age)

    return Calls(lambda: score(1), lambda: score("x"))


# -- on top of Pydantic


@way({"Settings": 1}, {("Settings", "invalid"): 1}, AGE)
def settings() -> Calls:
    library = pytest.importorskip("pydantic_settings")

    class Settings(library.BaseSettings):  # type: ignore[misc, name-defined]
        age: int = 1
        ages: tuple[int, ...] = ()

    return Calls(Settings, lambda: Settings(age="x"))


@way(problems=AGE)
def sqlmodel() -> Calls:
    library = pytest.importorskip("sqlmodel")

    class Lead(library.SQLModel):  # type: ignore[misc, name-defined]
        age: int

    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


def table() -> Any:
    """A SQLModel of a table, in a registry of its own."""
    library, orm = pytest.importorskip("sqlmodel"), pytest.importorskip("sqlalchemy.orm")

    class Base(library.SQLModel, registry=orm.registry()):  # type: ignore[misc, name-defined, call-arg]
        pass

    class Lead(Base, table=True):  # type: ignore[call-arg]
        metadata = library.main.MetaData()
        id: int | None = library.Field(default=None, primary_key=True)
        age: int

    return Lead


@way(problems=AGE)
def sqlmodel_of_a_table() -> Calls:
    Lead = table()
    return Calls(lambda: Lead.model_validate({"age": 1}), lambda: Lead.model_validate({"age": "x"}))


@nothing
def sqlmodel_of_a_table_constructed() -> Calls:
    Lead = table()
    return Calls(lambda: Lead(age=1), lambda: Lead(age="x"))


# -- what validates nothing


@nothing
def model_construct() -> Calls:
    Lead = lead()
    return Calls(lambda: Lead.model_construct(age=1), lambda: Lead.model_construct(age="x"))


@nothing
def model_copy() -> Calls:
    one = lead().model_construct(age=1)
    return Calls(one.model_copy, lambda: one.model_copy(update={"age": "x"}))


@nothing
def serialization() -> Calls:
    one = lead().model_construct(age=1)
    return Calls(one.model_dump, one.model_dump_json)


@nothing
def plain_assignment() -> Calls:
    one = lead().model_construct(age=1)
    return Calls(lambda: setattr(one, "age", 2), lambda: setattr(one, "age", "x"))


@nothing
def is_instance() -> Calls:
    validator = TypeAdapter(list[int]).validator
    return Calls(lambda: validator.isinstance_python([1]), lambda: validator.isinstance_python(["x"]))


@nothing
def validator_that_is_built_and_not_used() -> Calls:
    return Calls(lambda: lead(), lambda: TypeAdapter(list[int]))
