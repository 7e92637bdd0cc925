"""Finds the module on whose behalf a function of a library makes a schema class."""

from __future__ import annotations

from types import FrameType
from typing import Any

from .application import IMPORT, is_script, is_stdlib

_BETWEEN = {"pydantic", "marshmallow", "opentelemetry", "wrapt"}


def customer(frame: FrameType | None) -> str | None:
    """The module that called the function which makes a class; None if the class statement is in a module itself.

    Args:
        frame: Of the call that builds the class.
    """
    home = None
    while frame is not None:
        name: str = frame.f_globals.get("__name__") or ""
        top = name.partition(".")[0]
        if name in IMPORT:
            return None
        if top not in _BETWEEN and top != home and not is_stdlib(frame.f_code.co_filename):
            if home is not None:
                return None if name == "__main__" and is_script(frame.f_code.co_filename) else name
            if frame.f_code.co_name == "<module>":
                return None
            home = top
        frame = frame.f_back
    return None


def base_modules(cls: Any) -> list[str]:
    """The modules of a class's bases, nearest first."""
    return [base.__module__ for base in getattr(cls, "__mro__", ())[1:]]
