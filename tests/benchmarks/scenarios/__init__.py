"""What is measured. A scenario is a function of a `Variant` (and of a number, where it scales) that gives a `Run`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from importlib import import_module
from itertools import repeat
from typing import Any

Run = Callable[[int], "float | None"]
"""Does the operation so many times. A figure that it gives stands in place of the CPU time in µs a call."""


_open: list[Any] = []


def times(operation: Callable[[], object]) -> Run:
    """An operation, over and over."""

    def run(calls: int) -> None:
        for _ in repeat(None, calls):
            operation()

    return run


def in_request(run: Run, variant: Any) -> Run:
    """The same inside one request, which stays open: to open one is not a validation's cost."""
    context = copy_context()
    _open.append(variant.request())
    context.run(_open[-1].__enter__)
    return lambda calls: context.run(run, calls)


def build(name: str, variant: Any) -> Run:
    """The scenario `module.function`, or `module.function:number`."""
    path, _, number = name.partition(":")
    module, _, function = path.rpartition(".")
    make = getattr(import_module(f"{__name__}.{module}"), function)
    return make(variant, int(number)) if number else make(variant)
