"""The ways to validate with Pydantic's models."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, create_model

from tests.integration.validation_cases import Calls, Table

T = TypeVar("T")
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
def class_that_is_not_used() -> Calls:
    return Calls(lead, lambda: lead(defer_build=True))
