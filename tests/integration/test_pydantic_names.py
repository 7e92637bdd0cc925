"""Pydantic: what a schema is called, which module it is of, and whose it is."""

from __future__ import annotations

import decimal
import sys
import types
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar, Union

import pytest
from pydantic import (
    BaseModel,
    Field,
    RootModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
)

from tests.telemetry import Telemetry

T = TypeVar("T")


class Person(BaseModel):
    age: int


class Page(BaseModel, Generic[T]):
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
    code = f"from pydantic import RootModel\nfrom {__name__} import Page\nmade = Page[{{0}}], RootModel[{{0}}]\n"
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
