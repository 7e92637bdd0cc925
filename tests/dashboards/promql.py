"""What an expression reads: its selectors, its rates, its syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

GRAFANA = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}
"""What stands for Grafana's durations where only the syntax matters."""


@dataclass(frozen=True)
class Selector:
    """One vector selector: the metric's name ('' where a matcher names several) and its matchers."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    @property
    def names(self) -> set[str]:
        """All names that it selects, where they are written out."""
        if self.name:
            return {self.name}
        return {name for label, _, value in self.matchers if label == "__name__" for name in value.split("|")}

    @property
    def labels(self) -> set[str]:
        return {label for label, _, _ in self.matchers} - {"__name__"}


def resolved(expr: str, values: Mapping[str, str] = GRAFANA) -> str:
    """An expression with `$name` and `${name}` replaced, the longest names first."""
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${{{name[1:]}}}", values[name]).replace(name, values[name])
    return expr


def parsed(expr: str) -> Any:
    """The syntax tree. Raises ValueError with the parser's message if there is none."""
    return promql_parser.parse(resolved(expr))


def nodes(expr: str) -> Iterator[Any]:
    found: list[Any] = []
    promql_parser.walk(parsed(expr), pre_visit=lambda node: found.append(node) or True)
    yield from found


def selectors(expr: str) -> list[Selector]:
    return [
        Selector(
            node.name or "",
            tuple((m.name, str(m.op).rpartition(".")[2], m.value) for m in node.matchers.matchers),
        )
        for node in nodes(expr)
        if isinstance(node, promql_parser.VectorSelector)
    ]


def metrics(expr: str) -> set[str]:
    return {name for selector in selectors(expr) for name in selector.names}


def kept_labels(expr: str) -> set[str]:
    """Labels that aggregations and joins name."""
    return {
        label.strip()
        for group in re.findall(r"\b(?:by|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expr)
        for label in group.split(",")
        if label.strip()
    }


def made_labels(expr: str) -> set[str]:
    """Labels that an expression writes itself."""
    return {
        str(node.args[1].val)
        for node in nodes(expr)
        if isinstance(node, promql_parser.Call) and node.func.name in ("label_replace", "label_join")
    }
