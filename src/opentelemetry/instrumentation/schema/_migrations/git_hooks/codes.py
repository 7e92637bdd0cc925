"""The codes of the hooks' findings. `docs/git-hooks.md` explains each one, with a bad and a good example."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

CODES: Final = {
    "no-migration": "Tables changed, but no migration.",
    "not-staged": "A migration in the work tree is not staged.",
    "several-heads": "More than one migration is a head.",
    "duplicate-revision": "Two files have the same revision.",
    "missing-parent": "A migration follows one that is missing.",
    "out-of-order": "A new migration comes before a merged one.",
    "merged-edited": "A merged migration was edited or deleted.",
    "no-downgrade": "A migration cannot be rolled back: its downgrade is missing or empty.",
    "destructive": "A migration destroys data.",
    "create-all": "A migration creates tables from the models as they are today.",
    "version-table": "A migration uses the table in which the migration tool records the revision.",
    "stale-lock": "schema.lock does not fit the source.",
    "unreadable": "A migration cannot be read.",
    "bad-exception": "An exception has no code, an unknown code, or no reason.",
}

COMPARING: Final = frozenset({"no-migration", "merged-edited"})
"""Codes of a change, not of a state: for these, an exception from before the change does not count."""

_ALLOW: Final = re.compile(r"(?:#|--)\s*otel-schema:\s*allow\b(?P<rest>[^\n]*)")


@dataclass(frozen=True, kw_only=True)
class HookFinding:
    """One finding.

    Attributes:
        code: One of CODES.
        file: Path relative to the top of the work tree.
        line: Line number, from 1.
        what: What is wrong.
        fix: What to do.
        blocks: Whether the finding stops the commit.
        others: Further files that may contain an exception for it.
    """

    code: str
    file: str
    line: int
    what: str
    fix: str
    blocks: bool = True
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allowance:
    """A comment that allows a code in its file.

    Attributes:
        code: The code that it allows.
        line: Line number.
        text: Text of the line.
        problem: Why the comment is invalid, and what to write; empty if it is valid.
    """

    code: str
    line: int
    text: str
    problem: str = ""


def find_allowances(text: str) -> list[Allowance]:
    """Find the comments `# otel-schema: allow CODE reason` in a file; in SQL they begin with `--`."""
    if "otel-schema" not in text:
        return []
    found: list[Allowance] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _ALLOW.search(line)
        if match:
            code, _, reason = match["rest"].strip().partition(" ")
            found.append(Allowance(code, number, line.strip(), _problem(code, reason.strip())))
    return found


def _problem(code: str, reason: str) -> str:
    if code not in CODES:
        near = difflib.get_close_matches(code, CODES, 1)
        hint = f"did you mean {near[0]}?" if near else f"the codes are {', '.join(CODES)}"
        return f"there is no code {code!r}: {hint}" if code else f"the exception names no code: {hint}"
    if code == "bad-exception":
        return "no exception can allow bad-exception: correct the wrong exception instead"
    return "" if reason else f"the exception has no reason: write # otel-schema: allow {code} REASON"
