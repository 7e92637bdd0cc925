"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Result = Literal["fine", "finding", "unknown", "note"]

LONGEST: Final = 45.0
"""Seconds from an export to its scrape that queries over one minute tolerate."""

LONGEST_SCRAPE: Final = 30.0
"""Seconds between scrapes with which each window of one minute holds two samples, as `rate()` needs."""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Stable, for machines.
        result: `unknown` if the check could not find out; a `note` informs without a judgement.
        message: The fact; for a finding also what gets lost and what to do.
    """

    name: str
    result: Result
    message: str
