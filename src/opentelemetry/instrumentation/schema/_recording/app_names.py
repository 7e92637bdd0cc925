"""Checks the names that an app gives to its own schemas, endpoints and caches."""

from __future__ import annotations

from ..text import clean

MAX_NAME = 100


def check_name(what: str, name: str) -> str:
    """Return `name` in the form that an attribute may hold.

    Args:
        what: What is named, for the error message. The message does not quote the name, which may be data.
        name: The name that the app gave.

    Raises:
        TypeError: If it is no str.
        ValueError: If it is empty or longer than 100 characters.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # the app may have no type checker
        raise TypeError(f"{what} is a str, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME:
        raise ValueError(f"{what} has 1 to {MAX_NAME} characters, not {len(name)}, and holds no data")
    return clean(name)
