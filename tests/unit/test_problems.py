"""Paths of failed fields: what the schema declares stays, all else is `*`."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._recording import problems
from opentelemetry.instrumentation.schema._recording.problems import MAX_DEPTH, Templates
from opentelemetry.instrumentation.schema.text import MAX_TEXT


def path(location: Any, declared: Any) -> str:
    return Templates(lambda: declared, {"rule"})(location, "rule")[0]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ((), "$"),
        (("email",), "email"),
        (("items", 3, "price"), "items.*.price"),
        (("items", "secret", "price"), "items.*.price"),
        (("secret",), "*"),
        ((True, None, b"email", 1.5), "*.*.*.*"),
        (("items",) * 10, ".".join(["items"] * 10)),
        (("items",) * 11, ".".join(["items"] * 10 + ["*"])),
    ],
)
def test_path(location: tuple[object, ...], expected: str) -> None:
    """Declared names stay, indexes and other keys are `*`, the whole value is `$`, and what is deep is cut."""
    assert path(location, {"email", "items", "price"}) == expected


_keys: Any = st.text() | st.integers() | st.none() | st.binary() | st.tuples(st.text())
_names = st.text(st.characters(exclude_characters="."), min_size=1)


@given(st.lists(_keys, max_size=30), st.frozensets(_names, max_size=5))
def test_no_undeclared_string_is_ever_in_a_path(location: list[object], declared: frozenset[str]) -> None:
    """A path consists of declared names and `*`, of at most eleven of them, whatever the location holds."""
    found = path(location, declared)
    parts = found.split(".")
    assert found == "$" if not location else all(part in declared or part == "*" for part in parts)
    assert len(parts) <= MAX_DEPTH + 1


def test_rules_of_ones_own_are_custom() -> None:
    """A rule that the library does not document is `custom`, however long it is."""
    template = Templates(lambda: ["a"], {"required"})
    assert template(("a",), "required") == ("a", "required")
    assert template(("a",), "r" * 10**6) == ("a", "custom")


def test_the_names_are_asked_for_once() -> None:
    """A schema is looked through at its first failure, and never again."""
    calls: list[None] = []
    template = Templates(lambda: calls.append(None) or ["a"], {"rule"})
    assert not calls
    assert [template((key,), "rule")[0] for key in "aba"] == ["a", "*", "a"]
    assert len(calls) == 1


def test_nothing_of_the_data_is_remembered() -> None:
    """Thousands of different keys, each of 100 kB, leave less than one of them in memory."""
    names = [f"name{n}" for n in range(30)]
    template = Templates(lambda: names, {"rule"})
    template(("a",), "rule")
    tracemalloc.start()
    try:
        for n in range(3000):
            template((f"{n}" + "k" * 100_000, names[n % 30], names[n % 7]), "rule")
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 100_000


def test_what_is_remembered_is_bounded() -> None:
    """Of all combinations of declared names only so many are remembered, and all are answered."""
    names = [f"name{n}" for n in range(30)]
    template = Templates(lambda: names, {"rule"})
    for one in names:
        for other in names:
            assert template((one, other), "rule") == (f"{one}.{other}", "rule")
    assert len(template._known) == Templates.MAX_KNOWN


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=5))
def test_a_path_is_bounded_and_printable(names: list[str]) -> None:
    """A path has at most 200 characters, all of them printable, whatever a schema calls its fields."""
    found = path(names, names)
    assert len(found) <= MAX_TEXT
    assert found.isprintable()


def test_the_limits() -> None:
    """The documented numbers: ten names of a path, a thousand problems of a failure."""
    assert (problems.MAX_DEPTH, problems.MAX_PROBLEMS) == (10, 1000)
