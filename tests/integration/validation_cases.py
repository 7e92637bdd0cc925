"""A row of the tables of ways to validate: one way, and everything that it must count."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class Calls(NamedTuple):
    """One way to validate, built and ready.

    Attributes:
        good: Validates what fits the schema.
        bad: Validates what does not.
    """

    good: Callable[[], Any]
    bad: Callable[[], Any]


@dataclass(frozen=True)
class Way:
    """One row.

    Attributes:
        name: Of the way.
        make: Builds anew all that the way needs.
        good: `schema.name` → valid validations of one good call.
        bad: (`schema.name`, outcome) → validations of one bad call.
        raises: What a bad call raises.
        problems: (path, rule) → number, of one bad call.
        hits: Of two good calls and a bad one.
        misses: Likewise.
        before: Whether the library remembers what it was built of, for an `instrument()` that comes after.
    """

    name: str
    make: Callable[[], Calls]
    good: Mapping[str, int]
    bad: Mapping[tuple[str, str], int]
    raises: type[BaseException] | None
    problems: Mapping[tuple[str, str], int]
    hits: int
    misses: int
    before: bool


class Table:
    """The rows of one library.

    Args:
        library: Its name.
        failure: What it raises where the data breaks the schema.
    """

    def __init__(self, library: str, failure: type[Exception]) -> None:
        self.library, self.failure = library, failure
        self.rows: list[Way] = []

    def way(
        self,
        good: Mapping[str, int] | None = None,
        bad: Mapping[tuple[str, str], int] | None = None,
        problems: Mapping[tuple[str, str], int] | None = None,
        hits: int = 2,
        misses: int = 1,
        raises: type[BaseException] | Literal["failure"] | None = "failure",
        before: bool = True,
    ) -> Callable[[Callable[[], Calls]], Callable[[], Calls]]:
        """Add a row; what is left out is what most ways do: one validation of `Lead`, the first call its miss."""

        def add(make: Callable[[], Calls]) -> Callable[[], Calls]:
            row = Way(
                make.__name__,
                make,
                {"Lead": 1} if good is None else good,
                {("Lead", "invalid"): 1} if bad is None else bad,
                self.failure if raises == "failure" else raises,
                problems or {},
                hits,
                misses,
                before,
            )
            self.rows.append(row)
            return make

        return add

    def nothing(self, make: Callable[[], Calls]) -> Callable[[], Calls]:
        """Add a row of what looks like a validation but counts as none."""
        return self.way(good={}, bad={}, hits=0, misses=0, raises=None)(make)


def local(name: str) -> str:
    """A `schema.name` without the function that its class stands in."""
    return re.sub(r"\w+\.<locals>\.", "", name)
