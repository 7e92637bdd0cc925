"""The result of a comparison: changes, and what they mean for clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .fields import digest, dumps
from .verdicts import Level, PayloadDirection, worst

_LISTED: Final = {"enum": "value", "union": "member"}
"""Rules whose text lists added or removed values."""
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
    "column-default": "column: {old} → {new}",
    "column-type": "type of the column: {old} → {new}",
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
        direction: Request or response; for a table: writes or reads of code of the old version.
        path: Path of the field, with `*` for items; empty for the whole schema.
        old: The old state, in a few words.
        new: The new state, in a few words.
        level: What the change means for clients.
        why: The same as a sentence.
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
        """Identifies the change: the same in every commit, whatever the wording, line or order."""
        return digest(dumps([self.rule, self.schema, self.direction, self.path, self.old, self.new]))

    @property
    def cause(self) -> str:
        """The fingerprint; for a change of code without the schema, since many schemas may inherit one validator."""
        if self.rule not in ("code", "serializer"):
            return self.fingerprint
        return digest(dumps([self.rule, self.direction, self.path, self.old, self.new]))

    @property
    def what(self) -> str:
        """The change as a sentence."""
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
        below: Reference → references of all schemas below it, itself included.
    """

    findings: list[Finding]
    schemas: dict[str, tuple[PayloadDirection, ...]]
    below: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def level(self, ref: str, direction: PayloadDirection, ignored: Iterable[str] = ()) -> Level:
        """The verdict on a schema in one direction, together with the schemas below it.

        Args:
            ref: The schema.
            direction: Request or response.
            ignored: Fingerprints of findings to ignore.
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
