"""What an app pays at import: models of five fields, every tenth of which holds another model."""

from __future__ import annotations

import gc
import os
from itertools import count
from typing import Any

from tests.benchmarks.variants import Variant

from . import Run

_numbers = count()
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _import(models: int) -> dict[str, Any]:
    """A new module with so many models."""
    lines = ["from pydantic import BaseModel"]
    for number in range(models):
        held = f"Model{number - 1}" if number % 10 == 9 else "bool"
        lines.append(f"class Model{number}(BaseModel):\n a: int\n b: str\n c: str\n d: int\n e: {held}")
    module: dict[str, Any] = {"__name__": f"app{next(_numbers)}"}
    exec(compile("\n".join(lines), module["__name__"], "exec", dont_inherit=True), module)
    return module


def models(variant: Variant, number: int) -> Run:
    """Time to import, per model."""

    def run(calls: int) -> None:
        for _ in range(calls):
            _import(number)

    return run


def memory(variant: Variant, number: int) -> Run:
    """Bytes of the process a model, where nothing validated yet."""
    kept = [_import(number)]

    def run(calls: int) -> float:
        gc.collect()
        before = _resident()
        kept.extend(_import(number) for _ in range(calls))
        gc.collect()
        return (_resident() - before) / number / calls

    return run


def reused(variant: Variant, number: int) -> Run:
    """How many validators hold another model's as it is, which saves building it again."""
    module = _import(number)
    validators = [vars(value)["__pydantic_validator__"] for name, value in module.items() if name.startswith("Model")]
    found = sum("Prebuilt" in repr(validator) for validator in validators)
    return lambda calls: float(found)


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE
