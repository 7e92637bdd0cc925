"""Mismatches that a project accepts, each with a reason: `[[tool.otel-schema.accept]]` in pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Final

from .._schemas.fit_findings import KINDS, Mismatch
from .output import UsageError

_PATTERNS: Final = ("schema", "field", "table", "column", "kind", "way", "fingerprint")


@dataclass(frozen=True)
class Accepted:
    """An accepted mismatch.

    Attributes:
        patterns: Attribute of a mismatch → pattern, as in file names.
        reason: Why.
        until: The last day on which it counts; None for no end.
    """

    reason: str
    patterns: Mapping[str, str] = field(default_factory=dict[str, str])
    until: date | None = None

    def counts(self, today: date) -> bool:
        """Whether it has not expired."""
        return self.until is None or today <= self.until

    def covers(self, mismatch: Mismatch) -> bool:
        """Whether a mismatch is among what is accepted."""
        return all(fnmatchcase(str(getattr(mismatch, name)), pattern) for name, pattern in self.patterns.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} {pattern}" for name, pattern in self.patterns.items())


def read(entries: tuple[dict[str, Any], ...]) -> list[Accepted]:
    """The entries of a project's settings.

    Raises:
        UsageError: if one has no reason, matches everything, or has an unknown key.
    """
    return [_read(entry, number) for number, entry in enumerate(entries, 1)]


def _read(entry: dict[str, Any], number: int) -> Accepted:
    where = f"pyproject.toml: [[tool.otel-schema.accept]] number {number}"
    unknown = sorted(set(entry) - {*_PATTERNS, "reason", "until"})
    if unknown:
        raise UsageError(
            f"{where} has an unknown key, {', '.join(unknown)}: use {', '.join(_PATTERNS)}, reason and until"
        )
    reason = str(entry.get("reason", "")).strip()
    if not reason:
        raise UsageError(f'{where} has no reason: add one, as in reason = "the import job cuts names itself"')
    patterns = {name: str(entry[name]) for name in _PATTERNS if name in entry}
    if not patterns:
        raise UsageError(f"{where} would accept everything: name a schema, field, table, column or kind")
    kind = patterns.get("kind")
    if kind is not None and not any(fnmatchcase(each, kind) for each in KINDS):
        raise UsageError(f"{where}: there is no kind {kind!r}: choose from {', '.join(KINDS)}")
    until = entry.get("until")
    if until is not None and type(until) is not date:
        raise UsageError(f"{where}: until must be a date without quotes, as in until = 2027-01-31")
    return Accepted(reason, patterns, until)
