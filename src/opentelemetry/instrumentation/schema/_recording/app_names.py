"""Names that an app gives what it observes itself, checked where they come in."""

from __future__ import annotations

from ..text import clean

MAX_NAME = 100


def check_name(what: str, name: str) -> str:
    """`name`, if it is one, fit for an attribute.

    Args:
        what: What it is the name of, for the error, which does not hold the name: that may be data.
        name: What the app said.

    Raises:
        TypeError: If it is no str.
        ValueError: If it is empty or longer than 100 characters.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # the app may have no type checker
        raise TypeError(f"{what} is a str, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME:
        raise ValueError(f"{what} has 1 to {MAX_NAME} characters, not {len(name)}, and holds no data")
    return clean(name)
