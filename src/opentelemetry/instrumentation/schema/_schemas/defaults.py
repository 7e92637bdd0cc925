"""Decides which defaults a lock and a fingerprint contain: no computed ones, and no secrets."""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any, Final

FACTORY: Final = "factory"
"""Replaces a default whose value we leave out."""

_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|(api|private|access|encryption)_?key|dsn", re.I
)
_RANDOM: Final = re.compile(
    r"[0-9a-f]{32,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9_+/=-]{22,}"
)
"""Texts as `token_hex()`, `uuid4()` and `token_urlsafe()` return them."""
_EXTREMES: Final = (datetime.datetime.max, datetime.time.max)


def redact_default(name: str, text: str | None) -> str | None:
    """Return a field's default as JSON text, or `factory` in place of a secret.

    Args:
        name: The field's name.
        text: The default.
    """
    secret = text is not None and text.startswith('"') and text != '""' and _SECRET.search(name)
    return FACTORY if secret else text


def is_computed(value: Any) -> bool:
    """Whether a default looks computed at import (`default=datetime.now()`), so that the next process has another."""
    if isinstance(value, str):
        return _RANDOM.fullmatch(value) is not None
    if isinstance(value, uuid.UUID):
        return value.version in (1, 4)
    if isinstance(value, (datetime.datetime, datetime.time)):
        return value.microsecond > 0 and value.replace(tzinfo=None) not in _EXTREMES
    return isinstance(value, datetime.date) and value == datetime.date.today()
