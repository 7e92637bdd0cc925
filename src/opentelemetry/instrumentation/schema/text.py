"""Makes text that may come with data fit for an attribute: bounded, valid Unicode, printable.

One lone surrogate in a label would fail every scrape. One name of some megabytes would fail every export.
"""

from __future__ import annotations

from typing import Any, cast

MAX_TEXT = 200
"""Characters of an attribute's text. What is longer keeps its first 191, then `~` and eight digits of its hash."""

UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"

_qualname: Any = type.__dict__["__qualname__"].__get__  # a metaclass may answer to `cls.__qualname__` itself


def clean(text: str) -> str:
    """The text as an attribute may hold it: white space becomes a space, every other unprintable character `�`."""
    if type(text) is str and len(text) <= MAX_TEXT and text.isprintable():
        return text
    return _cleaned(text)


def class_name(thing: object) -> str:
    """The qualified name of an object's class, found without running code of the object or of a metaclass."""
    return clean(_qualname(type(thing)))


def exact(thing: object) -> str | None:
    """A text as a plain `str`, found without running code of a subclass; None if it is not text."""
    if type(thing) is str:
        return thing
    return str.__getitem__(cast("str", thing), slice(None)) if issubclass(type(thing), str) else None


def _cleaned(thing: object) -> str:
    text, tail = exact(thing), ""
    if text is None:
        return UNPRINTABLE
    if len(text) > MAX_TEXT:
        from hashlib import sha256

        tail = f"~{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        text = text[: MAX_TEXT - len(tail)]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c.isspace() else UNPRINTABLE for c in text)
    return text + tail
