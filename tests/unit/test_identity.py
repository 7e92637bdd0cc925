"""Values by the identity of objects."""

from __future__ import annotations

import gc

import pytest
from opentelemetry.instrumentation.schema._recording.identity import WeakIdMap


class _Same:
    """Equal to all, and not hashable."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


def test_the_first_value_stays() -> None:
    """The second `setdefault` of an object gives what the first one set; an equal object has its own."""
    known: WeakIdMap[int] = WeakIdMap()
    one, other = _Same(), _Same()
    assert [known.setdefault(one, 1), known.setdefault(one, 2), known.setdefault(other, 3)] == [1, 1, 3]
    assert (known.values[id(one)], known.values[id(other)]) == (1, 3)


def test_a_value_goes_with_its_object() -> None:
    """Nothing is left of an object that is gone, in a cycle or not, and its address means nothing any more."""
    known: WeakIdMap[int] = WeakIdMap()
    for number in range(100):
        thing = _Same()
        thing.itself = thing if number % 2 else None  # type: ignore[attr-defined]
        known.setdefault(thing, number)
        known.setdefault(thing, number)
    del thing
    gc.collect()
    assert (known.values, known._refs) == ({}, {})


def test_an_object_that_cannot_be_referred_to() -> None:
    """An object without weak references is refused."""
    with pytest.raises(TypeError):
        WeakIdMap[int]().setdefault(1, 1)
