"""Paths of failed fields: what the schema declares stays, all else is `*`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._recording import problems
from opentelemetry.instrumentation.schema._recording.problems import MAX_DEPTH, Memo, path


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


def test_the_memo_is_right_and_bounded() -> None:
    """It asks the template once per location and rule while it has room, answers as the template, and stays bounded."""
    calls: list[Any] = []

    def template(location: tuple[object, ...], rule: str) -> tuple[str, str]:
        calls.append((location, rule))
        return path(location, ()), rule

    memo = Memo(template)
    asked = [((number,), rule) for number in range(Memo.MAX_KNOWN) for rule in ("a", "b")]
    for _ in range(2):
        for location, rule in asked:
            assert memo(location, rule) == ("*", rule)
    assert len(memo.known) == Memo.MAX_KNOWN
    assert len(calls) == 2 * len(asked) - Memo.MAX_KNOWN


def test_the_limits() -> None:
    """The documented numbers: ten names of a path, a thousand problems of a failure."""
    assert (problems.MAX_DEPTH, problems.MAX_PROBLEMS) == (10, 1000)
