"""Makes text from elsewhere fit to keep and to print."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

LONGEST: Final = 300
"""Characters that are kept of one text: a label value, an error, a header."""


def printable(text: str) -> str:
    r"""Text with visible characters only, for a terminal.

    Control characters, ESC and C1 among them, marks that change the direction of text, and lone surrogates are written
    as Python writes them: `\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def cleaned(text: str, longest: int = LONGEST) -> str:
    """Printable text of at most `longest` characters. A text that is cut ends with a hash, so two texts stay two."""
    if len(text) <= longest:
        # each character that is not printable becomes at most 10: the length stays bounded
        return printable(text)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return printable(text[:longest]) + f"…{digest}"
