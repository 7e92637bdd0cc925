"""`schema.approvals`: findings that somebody accepted, each with a reason, a name and perhaps an end.

One line each: `FINGERPRINT | END or - | NAME | REASON`. Lines that start with `#` are comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

NAME: Final = "schema.approvals"
_HEADER: Final = f"# {NAME}: findings that are accepted. fingerprint | last day or - | who | why"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")


class ApprovalError(Exception):
    """A line is not a valid approval; the message names the line."""


@dataclass(frozen=True)
class Approval:
    """One accepted finding.

    Attributes:
        fingerprint: Fingerprint of the finding.
        until: The last day on which the approval is valid; None is no end.
        by: Who accepted it.
        reason: Why.
    """

    fingerprint: str
    until: date | None
    by: str
    reason: str

    def is_valid(self, today: date) -> bool:
        """Whether the approval is still valid."""
        return self.until is None or today <= self.until


def loads(text: str, name: str = NAME) -> dict[str, Approval]:
    """Read the approvals by fingerprint; if two are for one finding, the later line wins.

    Raises:
        ApprovalError: if a line is invalid, or lacks a reason or name.
    """
    found: dict[str, Approval] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            approval = _approval(line, f"{name}, line {number}")
            found[approval.fingerprint] = approval
    return found


def _approval(line: str, where: str) -> Approval:
    parts = [part.strip() for part in line.split("|", 3)]
    if len(parts) != 4:
        raise ApprovalError(f"{where}: this line must have four parts: `fingerprint | last day or - | who | why`")
    fingerprint, until, by, reason = parts
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ApprovalError(f"{where}: {fingerprint!r} is not a fingerprint. Copy one that `otel-schema diff` prints")
    if not by or not reason:
        raise ApprovalError(f"{where}: {'who approved it' if not by else 'the reason'} is missing")
    try:
        end = None if until == "-" else date.fromisoformat(until)
    except ValueError as error:
        raise ApprovalError(f"{where}: {until!r} is neither a date such as 2027-01-31 nor -") from error
    return Approval(fingerprint, end, by, reason)


def add_approval(text: str, approval: Approval, comment: str) -> str:
    """Add an approval to a file's text, in place of an older one for the same finding.

    Raises:
        ApprovalError: if name or reason are empty or contain a line break.
    """
    end = "-" if approval.until is None else approval.until.isoformat()
    by = approval.by.replace("|", "/")
    line = f"{approval.fingerprint} | {end} | {by} | {approval.reason}"
    if any(not char.isprintable() for char in line):
        raise ApprovalError("--by and --reason must each be one line of printable text")
    _approval(line, "the approval")
    lines = text.splitlines() or [_HEADER]
    kept: list[str] = []
    for each in lines:
        if each.partition("|")[0].strip() == approval.fingerprint:
            if kept and kept[-1].startswith("# ") and kept[-1] != _HEADER:
                kept.pop()  # the old comment on the finding
        else:
            kept.append(each)
    return "\n".join([*kept, f"# {comment}", line]) + "\n"
