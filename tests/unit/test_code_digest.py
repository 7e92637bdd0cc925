"""What the digest of a validator's code depends on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._schemas.code import code_digest

CALL = "    def __call__(self, v):\n        return v <= self.n\n"
HOLD = f"class Most:\n    def __init__(self, n):\n        self.n = n\n{CALL}"
SLOTS = f"class Most:\n    __slots__ = ('n',)\n{CALL}"
MODEL = "class Model:\n    MOST = {}\n    def check(self, value):\n        return value <= self.MOST\n"
HOLDERS = {
    "closure": "def most(n):\n    def check(value):\n        return value <= n\n    return check\ncheck = most({})",
    "partial": "import functools\ndef most(value, n):\n    return value <= n\ncheck = functools.partial(most, n={})",
    "object": HOLD + "check = Most({})",
    "constant of an object": "MOST = {}\n" + HOLD.replace("<= self.n", "<= MOST") + "check = Most(1)",
    "base of an object": HOLD.replace("<= self.n", "<= {}") + "class Own(Most):\n    pass\ncheck = Own(1)",
    "slots": SLOTS + "check = Most()\ncheck.n = {}",
    "method": HOLD.replace("__call__", "check") + "check = Most({}).check",
    "constant": "MOST = {}\ndef check(value):\n    return value <= MOST",
    "imported constant": "from .limits import MOST as M\ndef check(value):\n    return value <= M",
    "constant of a module": "from . import limits\ndef check(value):\n    return value <= limits.MOST",
    "constant of a class": MODEL.replace("    def", "    @classmethod\n    def") + "check = Model.check",
    "constant of a method's class": MODEL + "check = Model.check",
    "function": "def most():\n    return {}\ndef check(value):\n    return value <= most()",
    "function of a function": "MOST = {}\ndef most():\n    return MOST\ndef check(value):\n    return value <= most()",
    "in a comprehension": "MOST = {}\ndef check(values):\n    return all(each <= MOST for each in values)",
    "enum": "import enum\nclass Kind(enum.Enum):\n    A = {}\ndef check(value):\n    return value in Kind",
    "lambda in brackets": "checks = [len, lambda value: value <= {},\n    1]\ncheck = checks[1]",
}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Imports a package whose module `rules` has a text, and returns its `check`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def package(text: str, limit: str) -> Any:
        name = f"app{len(made)}"
        made.append(name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "limits.py").write_text(f"MOST = {limit}\n")
        (folder / "rules.py").write_text(text.replace("{}", limit))
        module: ModuleType = importlib.import_module(f"{name}.rules")
        return module.check

    yield package
    for name in [each for each in sys.modules if each.partition(".")[0] in made]:
        del sys.modules[name]


@pytest.mark.parametrize("holder", HOLDERS)
def test_values_that_decide_are_part_of_the_digest(holder: str, make: Callable[[str, str], Any]) -> None:
    """A function that is limited by another value has another digest, wherever it holds the value."""
    one, same, other = (code_digest(make(HOLDERS[holder], limit)) for limit in ("5", "5", "3"))
    assert one is not None
    assert one == same != other


def test_values_of_this_process_are_no_part_of_the_digest(make: Callable[[str, str], Any]) -> None:
    """Addresses, values computed at import and functions of other packages leave the digest as it is."""
    text = (
        "import os, uuid\n"
        "def most(a, b):\n    def check(value):\n        return (a, b, value, os.getpid(), LIMIT)\n    return check\n"
        "LIMIT = os.getpid()\nLIMIT = {}\ncheck = most(uuid.uuid4(), object())"
    )
    assert code_digest(make(text, "5")) == code_digest(make(text, "5"))


class Refusing:
    """An object such as Flask's `current_app`: outside a request it has no class and no attributes."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


def test_proxies_and_cycles_have_a_digest() -> None:
    """A function that holds a proxy or itself has a digest."""
    refusing: Any = Refusing()

    def check(value: object) -> object:
        return refusing, check, value

    assert code_digest(check) is not None
    assert code_digest(len) is None
