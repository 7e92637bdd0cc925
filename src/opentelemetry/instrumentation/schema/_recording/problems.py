"""Failed fields as templated paths: what the schema declares stays, whatever came with the data becomes `*`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from .. import semconv
from ..text import clean

Problem = tuple[str, str]
"""One failed field: a path templated against the schema, and the rule's name. Never a value."""

ROOT = "$"
"""The path of the whole value, as in JSONPath (RFC 9535)."""

MALFORMED: Problem = ROOT, "json_invalid"
"""The problem of a body that is not JSON: the framework refuses it without a call into the validator."""

ANY = "*"
MAX_DEPTH = 10
MAX_PROBLEMS = 1000
"""A failure with more is one problem `("*", "custom")`: listing them would cost the app milliseconds."""

TOO_MANY: Problem = ANY, semconv.CUSTOM_RULE


def path(names: Sequence[str]) -> str:
    """Names from the root to the failed field as one path, such as `items.*.price`: bounded, fit for an attribute."""
    if len(names) > MAX_DEPTH:  # a recursive schema has no end of paths
        names = [*names[:MAX_DEPTH], ANY]
    return clean(".".join(names)) or ROOT


class Templates:
    """Turns the location and rule of a failed field into a problem. Remembers problems alone, nothing of the data.

    Args:
        declared: Function that returns the names that the schema declares; called once, at the first failure.
        rules: The rules that the library documents.
    """

    __slots__ = ("_declared", "_known", "_longest", "_names", "_rules")
    MAX_KNOWN = 256

    def __init__(self, declared: Callable[[], Iterable[str]], rules: Container[str]) -> None:
        self._declared, self._rules = declared, rules
        self._names: dict[str, str] | None = None
        self._longest = 0
        self._known: dict[tuple[tuple[str, ...], str], Problem] = {}

    def __call__(self, location: Sequence[object], rule: str) -> Problem:
        """The problem of a location: undeclared keys and list indexes are `*`, a rule of one's own is `custom`."""
        names = self._names
        if names is None:
            names = self._ask()
        longest, name = self._longest, names.get
        parts = tuple(
            [  # a key that is longer than all names is not even hashed
                name(part, ANY) if type(part) is str and len(part) <= longest else ANY
                for part in location[: MAX_DEPTH + 1]
            ]
        )
        if rule not in self._rules:
            rule = semconv.CUSTOM_RULE
        key = parts, rule
        problem = self._known.get(key)
        if problem is None:
            problem = path(parts), rule
            if len(self._known) < self.MAX_KNOWN:
                self._known[key] = problem
        return problem

    def _ask(self) -> dict[str, str]:
        names = {name: clean(name) for name in self._declared() if type(name) is str}
        self._longest = max(map(len, names), default=0)
        self._names = names
        return names
