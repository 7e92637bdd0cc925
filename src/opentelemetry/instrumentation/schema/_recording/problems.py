"""Failed fields as templated paths: what the schema declares stays, whatever came with the data becomes `*`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

Problem = tuple[str, str]
"""One failed field: a path templated against the schema, and the rule's name. Never a value."""

ROOT = "$"
"""The path of the whole value, as in JSONPath (RFC 9535)."""

MALFORMED: Problem = ROOT, "json_invalid"
"""A body that is no JSON, answered by a framework in place of the validator."""

ANY = "*"
MAX_DEPTH = 10
MAX_PROBLEMS = 1000
"""A failure with more is one problem `("*", "custom")`: listing them would cost the app milliseconds."""


def path(location: Iterable[object], declared: Container[object]) -> str:
    """A location as a path in which undeclared keys and list indexes are `*`, such as `items.*.price`.

    Args:
        location: Keys and indexes from the root to the failed field.
        declared: The names that the schema declares.
    """
    parts = [part if isinstance(part, str) and part in declared else ANY for part in location]
    if len(parts) > MAX_DEPTH:  # a recursive schema has no end of paths
        parts = [*parts[:MAX_DEPTH], ANY]
    return ".".join(parts) or ROOT


class Memo:
    """Remembers what a raw (location, rule) was templated to; bounded, since its keys hold what came with the data.

    Args:
        template: From a raw location and rule to a path and rule.

    Attributes:
        known: What it remembers: to look there first spares a call.
    """

    __slots__ = ("_template", "known")
    MAX_KNOWN = 256

    def __init__(self, template: Callable[[tuple[object, ...], str], tuple[str, str]]) -> None:
        self._template = template
        self.known: dict[tuple[tuple[object, ...], str], tuple[str, str]] = {}

    def __call__(self, location: tuple[object, ...], rule: str) -> tuple[str, str]:
        """The problem of a raw location and rule."""
        problem = self.known.get((location, rule))
        if problem is None:
            problem = self._template(location, rule)
            if len(self.known) < self.MAX_KNOWN:
                self.known[location, rule] = problem
        return problem
