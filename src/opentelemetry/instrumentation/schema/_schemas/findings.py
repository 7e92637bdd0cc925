"""What a comparison found: changes, and what they mean for clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .fields import digest, dumps
from .verdicts import Level, PayloadDirection, worst

_LISTED: Final = {"enum": "value", "union": "member"}
"""Rules that say what came or went."""
_TEXTS: Final = {
    "field-added": "field added: {new}",
    "field-removed": "field removed: {old}",
    "field-renamed": "field renamed: {old} → {new}",
    "name-removed": "name {old} is no longer accepted, only {new}",
    "field-required": "field is now required (before: {old})",
    "field-optional": "field is no longer required (now: {new})",
    "field-may-be-absent": "field may now be absent from responses",
    "schema-added": "schema added",
    "schema-removed": "schema removed",
    "schema-moved": "schema moved: it is now {new}",
    "table-added": "table added",
    "table-removed": "table removed",
    "column-added": "column added: {new}",
    "column-removed": "column removed: {old}",
    "column-required": "column is now required (before: {old})",
    "column-generated": "column: {old} → {new}",
    "constraint-added": "constraint added: {new}",
    "constraint-removed": "constraint removed: {old}",
    "extra": "undeclared keys: {old} → {new}",
    "code": "validators: {old} → {new}",
    "serializer": "serializers: {old} → {new}",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One change, and what it means in one direction.

    Attributes:
        rule: What kind of change, a name from `verdicts`.
        schema: Reference of the schema or table that changed, by its new name where it has one.
        direction: Request or response; of a table what code of the old version writes or reads.
        path: Of the field, with `*` for items; empty for the schema as a whole.
        old: What was, in a few words.
        new: What is.
        level: What it means for clients.
        why: Likewise, in a sentence.
    """

    rule: str
    schema: str
    direction: PayloadDirection
    path: str
    old: str
    new: str
    level: Level
    why: str

    @property
    def fingerprint(self) -> str:
        """The same for the same change in every commit, whatever its wording, line or order."""
        return digest(dumps([self.rule, self.schema, self.direction, self.path, self.old, self.new]))

    @property
    def cause(self) -> str:
        """Likewise, without the schema where code changed: a validator that many schemas inherit changed once."""
        if self.rule not in ("code", "serializer"):
            return self.fingerprint
        return digest(dumps([self.rule, self.direction, self.path, self.old, self.new]))

    @property
    def what(self) -> str:
        """The change in words."""
        if self.rule in _LISTED:
            several = "s" if '" | "' in (self.old or self.new) else ""
            return f"{_LISTED[self.rule]}{several} {f'removed: {self.old}' if self.old else f'added: {self.new}'}"
        text = _TEXTS.get(self.rule, f"{self.rule}: {{old}} → {{new}}")
        return text.format(old=self.old, new=self.new)


@dataclass(frozen=True)
class Comparison:
    """Everything that changed between two documents.

    Attributes:
        findings: In the order of the schemas' references.
        schemas: Every schema that was compared, by its new reference where it has one, → in which directions.
        below: Reference → references of the schemas that it holds, itself included.
    """

    findings: list[Finding]
    schemas: dict[str, tuple[PayloadDirection, ...]]
    below: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def level(self, ref: str, direction: PayloadDirection, ignored: Iterable[str] = ()) -> Level:
        """The verdict on a schema in one direction, with the schemas that it holds.

        Args:
            ref: The schema.
            direction: Request or response.
            ignored: Fingerprints of findings that do not count.
        """
        skipped = set(ignored)
        return worst(
            [
                each.level
                for each in self.findings
                if each.direction == direction
                and each.schema in self.below.get(ref, {ref})
                and each.fingerprint not in skipped
            ]
        )
