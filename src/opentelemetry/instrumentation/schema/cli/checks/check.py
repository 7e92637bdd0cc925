"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Result = Literal["fine", "finding", "unknown", "note"]

LONGEST: Final = 45.0
"""Seconds from one export to its scrape that the promised windows of one minute bear."""

LONGEST_SCRAPE: Final = 30.0
"""Seconds between scrapes of which each window of one minute still holds two samples, as `rate()` needs."""


@dataclass(frozen=True)
class Check:
    """What one check came to.

    Attributes:
        name: Stable, for machines.
        result: `unknown` where it could not be told; a `note` says something and judges nothing.
        message: What is so, and for a finding what it loses and what to do.
    """

    name: str
    result: Result
    message: str
