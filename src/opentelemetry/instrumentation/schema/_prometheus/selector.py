"""Selects series by PromQL matchers, which go to a Prometheus or apply to an endpoint's samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MATCHER: Final = re.compile(
    r"""(?s)[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*(=~|!~|!=|=)[ \t]*"""
    r"""("[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')[ \t]*"""
)

_ESCAPES: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t"}
"""Escapes in a PromQL string → the character. The backslash of a regular expression, as in `\\d`, stays."""


@dataclass(frozen=True)
class Matcher:
    """One condition on a label.

    Attributes:
        label: The label's name.
        operator: `=`, `!=`, `=~` or `!~`.
        value: The value to compare with, unquoted. Regular expressions match a whole label value.
    """

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{value}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy the condition; an absent label is empty, as in PromQL."""
        value = labels.get(self.label, "")
        held = value == self.value if self.operator in ("=", "!=") else bool(re.fullmatch(self.value, value))
        return held is (self.operator in ("=", "=~"))


@dataclass(frozen=True)
class Selector:
    """Selects the series that satisfy all conditions; without conditions, all series."""

    matchers: tuple[Matcher, ...] = ()

    def of(self, metric: str, *more: str) -> str:
        """PromQL for the series of a metric that also satisfy `more` matchers."""
        matchers = ", ".join([*map(str, self.matchers), *more])
        return f"{metric}{{{matchers}}}" if matchers else metric

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a sample's labels satisfy all conditions."""
        return all(matcher.matches(labels) for matcher in self.matchers)


EVERYTHING: Final = Selector()
"""All series."""


def parse_selector(text: str) -> Selector:
    """Read `environment="prod", team=~"leads|crm"`, with or without braces.

    Raises:
        ValueError: if it is something else; the message shows what it should look like.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    matchers: list[Matcher] = []
    at = 0
    while at < len(inner):
        found = _MATCHER.match(inner, at)
        if found is None or (found.end() < len(inner) and inner[found.end()] != ","):
            raise ValueError(f"""{text!r} is not a selector such as environment="prod", team=~"leads|crm\"""")
        name, operator, quoted = found.groups()
        value = re.sub(r"(?s)\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), quoted[1:-1])
        if operator in ("=~", "!~"):
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{name}: {value!r} is not a regular expression ({error})") from None
        matchers.append(Matcher(name, operator, value))
        at = found.end() + 1
    if not matchers:
        raise ValueError("an empty selector matches everything; leave it out")
    return Selector(tuple(matchers))
