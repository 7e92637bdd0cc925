"""Mismatches of an API's schema and a table: their kinds, severities and texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .fields import digest, dumps

Way = Literal["write", "read"]
Effect = Literal["refused", "altered"]
Severity = Literal["critical", "error", "warning"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "error", "warning")
"""The worst first: `critical` changes values without an error, `error` refuses what the API accepted; a `warning` is an
answer that the API may refuse to give, or a trap."""

KINDS: Final[dict[str, str]] = {
    "type": "the column holds values of another type",
    "nullable": "null, on one side only",
    "length": "texts or bytes longer than the other side takes",
    "precision": "digits after the point, or of a second",
    "range": "numbers or days outside the other side's range",
    "enum": "values that are no label, or labels that are no value",
    "timezone": "a time zone that gets lost, or is missing",
    "missing-column": "a field without a column",
    "required-column": "a column that must be given and has no field",
    "generated-column": "a field for a column that the server computes",
    "default": "a default of the field that hides the column's",
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict between one type and one column.

    Attributes:
        kind: One of KINDS.
        effect: What happens: the value is refused, or altered without an error.
        field: What the field accepts.
        column: What the column holds.
        why: What happens, in a sentence; empty for the effect's own.
        minor: Whether it is a trap and no more, whatever its effect.
    """

    kind: str
    effect: Effect
    field: str = ""
    column: str = ""
    why: str = ""
    minor: bool = False


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A conflict with its schema, table, field and column.

    Attributes:
        schema: Reference of the schema.
        table: Name of the table.
        field: Name of the field; of a column without field, empty.
        column: Name of the column; of a field without column, empty.
        way: Writing to the database, or reading from it.
        kind: One of KINDS.
        effect: What happens.
        severity: How bad it is.
        message: What is so.
        why: What happens, and what to do.
    """

    schema: str
    table: str
    field: str
    column: str
    way: Way
    kind: str
    effect: Effect
    severity: Severity
    message: str
    why: str

    @property
    def fingerprint(self) -> str:
        """Identifies the mismatch: the same in every commit until the field or the column changes."""
        return digest(
            dumps(["fit", self.schema, self.table, self.field, self.column, self.way, self.kind, self.message])
        )


def severity(way: Way, conflict: Conflict) -> Severity:
    """How severe a conflict is."""
    if conflict.minor or way == "read":
        return "warning"
    return "critical" if conflict.effect == "altered" else "error"


_WHY: Final[dict[tuple[Way, Effect], str]] = {
    ("write", "refused"): "{system} refuses such a value: a request that passes validation ends in a database error.",
    ("write", "altered"): "{system} stores another value, without an error.",
    ("read", "refused"): "The schema refuses a row with such a value: the response ends in an error.",
}

_FIXES: Final[dict[str, str]] = {
    "type": "Change one of the two types.",
    "nullable": "Make both the field and the column nullable, or neither.",
    "length": "Limit the field to the column's length, or widen the column.",
    "precision": "Limit the field's digits, or widen the column.",
    "range": "Limit the field to the column's range, or widen the column.",
    "enum": "Give the field and the column the same values.",
    "timezone": "Use timezone=True if the database has it; if not, convert to UTC and use datetimes without a zone.",
    "missing-column": "Remove the field, add the column, or declare another table.",
    "required-column": "Add the field, or give the column a default.",
    "generated-column": "Remove the field from the schema that is written.",
    "default": "Leave out unset fields (exclude_unset=True), or give the field and the column the same default.",
}

_READ_FIXES: Final[dict[str, str]] = {
    "length": "Let the field accept the column's length, or narrow the column.",
    "precision": "Let the field accept more digits, or narrow the column.",
    "range": "Let the field accept the column's range, or narrow the column.",
}
"""Fixes if the column holds more than the field accepts, not less."""


def explain(way: Way, conflict: Conflict, system: str) -> str:
    """Say what happens, and what to do."""
    happens = conflict.why or _WHY[way, conflict.effect].format(system=system)
    fixes = _FIXES | _READ_FIXES if way == "read" else _FIXES
    return f"{happens} {fixes[conflict.kind]}"
