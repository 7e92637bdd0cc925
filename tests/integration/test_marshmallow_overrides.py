"""marshmallow: Schemas whose `load` or `validate` is their own, which may never reach the library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

from tests.telemetry import Telemetry


class Foo(Schema):
    n = fields.Int(required=True)


class Bar(Schema):
    s = fields.Str(required=True)


def _polymorphic() -> Any:
    from marshmallow_oneofschema import OneOfSchema

    class Pick(OneOfSchema):  # type: ignore[misc]
        type_schemas = {"foo": Foo, "bar": Bar}  # noqa: RUF012  # as its users write it

    Pick.__qualname__ = "Pick"
    return Pick()


def names_and_outcomes(telemetry: Telemetry) -> dict[Any, float]:
    return telemetry.by("schema.validation.duration", "schema.name", "schema.validation.outcome")


@pytest.mark.parametrize("made", ["before", "after"])
def test_a_load_that_never_reaches_marshmallows_is_one_validation(made: str, watch: Callable[..., Telemetry]) -> None:
    """A polymorphic Schema's `load` and `validate` are one validation of that Schema, failed or not, of one or many."""
    pick = _polymorphic() if made == "before" else None
    telemetry = watch()
    pick = pick or _polymorphic()
    for _ in range(4):
        assert pick.load({"type": "foo", "n": 1}) == {"n": 1}
    for wrong in ({"type": "nope"}, {"n": 1}, {"type": "foo", "n": "secret"}):
        with pytest.raises(ValidationError):
            pick.load(wrong)
    assert pick.validate({"type": "nope"})
    assert pick.validate({"type": "bar", "s": "x"}) == {}
    assert len(pick.load([{"type": "foo", "n": 1}, {"type": "bar", "s": "x"}], many=True)) == 2
    Schema.from_dict({"items": fields.List(fields.Nested(pick))}, name="Holder")().load(
        {"items": [{"type": "foo", "n": 1}]}
    )
    found = names_and_outcomes(telemetry)
    assert {key: number for key, number in found.items() if key[0] == "Pick"} == {
        ("Pick", "valid"): 6, ("Pick", "invalid"): 4,
    }  # fmt: skip
    assert sum(found.values()) == 11, "and the holder's"
    assert telemetry.cache() == (9, 2)
    assert "secret" not in telemetry.everything()


def test_a_load_that_reaches_marshmallows_is_that_validation(telemetry: Telemetry) -> None:
    """What such a method does around it, and what it makes of its failure, is the method's own."""

    class Lenient(Schema):
        n = fields.Int()

        def load(self, data: Any, **options: Any) -> Any:
            try:
                return super().load(data, **options)
            except ValidationError:
                return Foo().load({"n": 1})

    assert Lenient().load({"n": "x"}) == {"n": 1}
    assert names_and_outcomes(telemetry) == {(Lenient.__qualname__, "invalid"): 1, ("Foo", "valid"): 1}


def test_a_method_that_crashes(telemetry: Telemetry) -> None:
    """What a Schema's own `load` raises passes, and is the outcome `error` where nothing was reached."""

    class Broken(Schema):
        def load(self, data: Any, **options: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken().load({})
    Foo().load({"n": 1})
    assert names_and_outcomes(telemetry) == {(Broken.__qualname__, "error"): 1, ("Foo", "valid"): 1}


def test_the_methods_are_given_back(watch: Callable[..., Telemetry]) -> None:
    """After `uninstrument()` a class has the very function that it was written with."""
    telemetry = watch()

    class Own(Schema):
        def load(self, data: Any, **options: Any) -> Any:
            return data

    assert vars(Own)["load"] is not Own.load
    telemetry.off()
    assert type(vars(Own)["load"]).__name__ == "function"
    assert Own().load(1) == 1
