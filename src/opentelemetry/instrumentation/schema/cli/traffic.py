"""How much traffic meets a change."""

from __future__ import annotations

from .._schemas.compare import Comparison


def remarks(comparison: Comparison, url: str, since: str) -> dict[str, tuple[str, ...]]:
    raise NotImplementedError
