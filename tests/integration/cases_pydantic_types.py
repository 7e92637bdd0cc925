"""The ways to validate with Pydantic that are no plain models: types, dataclasses, calls, libraries on top of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pydantic
import pytest
from pydantic import TypeAdapter, ValidationError, validate_call
from typing_extensions import TypedDict

from tests.integration.cases_pydantic import AGE, lead
from tests.integration.validation_cases import Calls, Table

VERSION = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])
TABLE = Table("pydantic", ValidationError)
way, nothing = TABLE.way, TABLE.nothing
NAMED = VERSION >= (2, 8)  # what a TypeAdapter is for is to be seen in it
REBUILT = VERSION >= (2, 11)  # a `validate_call` can be built again


# -- types and calls


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
def is_instance() -> Calls:
    validator = TypeAdapter(list[int]).validator
    return Calls(lambda: validator.isinstance_python([1]), lambda: validator.isinstance_python(["x"]))


@nothing
def adapter_that_is_not_used() -> Calls:
    return Calls(lambda: TypeAdapter(list[int]), lambda: TypeAdapter(lead()))
