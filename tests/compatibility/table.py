"""The verdicts as the table in docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.instrumentation.schema._schemas.verdicts import (
    CONSTRAINTS,
    OTHERS,
    REQUEST_FIELDS,
    RESPONSE_FIELDS,
    TABLES,
    ChangeVerdict,
)

_WORDS = {
    "breaking": "**breaking**",
    "unknown": "not judged",
    "warning": "compatible, with a warning",
    "compatible": "compatible",
}


def cell(verdict: ChangeVerdict) -> str:
    return f"{_WORDS[verdict.level]}: {verdict.why}" if verdict.level != "compatible" else _WORDS[verdict.level]


def fields() -> Iterator[str]:
    """Fields that came or went."""
    yield "| field | undeclared keys | presence | request | response |"
    yield "|---|---|---|---|---|"
    for (rule, extra, presence), request in REQUEST_FIELDS.items():
        response = RESPONSE_FIELDS[rule, extra, presence]
        yield f"| {rule.removeprefix('field-')} | {extra} | {presence} | {cell(request)} | {cell(response)} |"


def others() -> Iterator[str]:
    """Everything else; what all constraints have in common stands once."""
    yield "| rule | change | request | response |"
    yield "|---|---|---|---|"
    first = next(iter(CONSTRAINTS))
    for (rule, change), (request, response) in OTHERS.items():
        shared = rule in CONSTRAINTS and change in ("narrowed", "widened", "changed")
        if shared and rule != first:
            assert OTHERS[first, change] == (request, response)
            continue
        name = "a constraint" if shared else f"`{rule}`"
        yield f"| {name} | {change} | {cell(request)} | {cell(response)} |"


def constraints() -> Iterator[str]:
    """The rules that say which values are accepted."""
    yield from (f"- `{rule}`: {what}" for rule, what in CONSTRAINTS.items())


def tables() -> Iterator[str]:
    """Tables."""
    yield "| rule | change | old code writes | old code reads |"
    yield "|---|---|---|---|"
    for (rule, change), (request, response) in TABLES.items():
        yield f"| `{rule}` | {change} | {cell(request)} | {cell(response)} |"
