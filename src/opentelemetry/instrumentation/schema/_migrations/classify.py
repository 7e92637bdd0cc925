"""Classifies a step of a plan: reads the source of `upgrade` and `downgrade` without running it, and their SQL."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .operations import MigrationScript, does_nothing, imported_from, only_raises
from .plan import Direction, StepKind
from .sql_text import Effects

_ASKING: Final = {
    "get_bind": "may read rows or ask for the dialect (op.get_bind)",
    "get_context": "asks for the dialect (op.get_context)",
    "is_offline_mode": "asks whether it runs offline",
    "inspect": "reads the live schema (inspect)",
    "getenv": "reads settings (os.getenv)",
    "environ": "reads settings (os.environ)",
    "dialect": "asks the dialect",
    "get_x_argument": "reads settings (-x)",
    "open": "reads a file",
    "create_engine": "opens a connection of its own",
    "exec": "runs code that it builds at run time",
    "eval": "runs code that it builds at run time",
    "subprocess": "runs a program",
    "import_module": "imports at run time",
    "sessionmaker": "reads rows (a session)",
    "Session": "reads rows (a session)",
}
_NAMED: Final = {
    "create_all": "calls create_all: it creates what the models are today",
    "drop_all": "calls drop_all: it drops what the models are today",
}

_PURE: Final = frozenset(
    {
        "alembic", "sqlalchemy", "base64", "binascii", "collections", "contextlib", "copy", "dataclasses", "datetime",
        "decimal", "enum", "functools", "hashlib", "itertools", "json", "logging", "math", "operator", "re", "string",
        "textwrap", "typing", "uuid", "warnings", "zoneinfo",
    }
)  # fmt: skip
"""Libraries whose functions a plan may run: they change nothing outside the process."""


@dataclass
class FunctionSource:
    """What the source of one migration function says.

    Attributes:
        missing: Whether the file lacks the function.
        raises: Whether the function only raises.
        empty: Whether the function does nothing.
        unknown: Reasons why the source does not show what the function does. We do not run it to find out.
        notes: Remarks for the plan.
    """

    missing: bool = False
    raises: bool = False
    empty: bool = False
    unknown: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def read_source(script: MigrationScript, name: str, own: Callable[[str], bool]) -> FunctionSource:
    """Read a function of a revision, and the functions of the same file that it calls.

    Args:
        script: The file.
        name: `upgrade` or `downgrade`.
        own: Whether a module is the project's own, whose code may be anything.
    """
    function = script.functions.get(name)
    if function is None:
        return (
            FunctionSource(unknown=[f"{name} is not a function of this file"])
            if name in script.bound
            else FunctionSource(missing=True)
        )
    found = FunctionSource(empty=does_nothing(function), raises=only_raises(function))
    for each in script.reachable_functions(name):
        for node in ast.walk(each):
            _look(node, script, found, own)
    return found


def _look(node: ast.AST, script: MigrationScript, found: FunctionSource, own: Callable[[str], bool]) -> None:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        module = imported_from(node) if isinstance(node, ast.ImportFrom) else node.names[0].name
        if own(module):
            _add(found.unknown, _imports(module))
    elif isinstance(node, ast.Call):
        called = _forbidden_call(node, script)
        if called:
            _add(found.unknown, f"calls {called}, which may do anything")
    word = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if word in _ASKING:
        _add(found.unknown, _ASKING[word])
    if word in _NAMED:
        _add(found.notes, _NAMED[word])
        _add(found.unknown, _NAMED[word].partition(":")[0])
    if isinstance(node, ast.Name) and word in script.modules and own(script.modules[word]):
        _add(found.unknown, _imports(script.modules[word]))


def _imports(module: str) -> str:
    return f"imports {module} of the project, and that code may change"


def _forbidden_call(call: ast.Call, script: MigrationScript) -> str:
    """The name of a called library function that a plan must not run; empty if the plan may run the call.

    We take a class of a library for a column type, such as `geoalchemy2.Geometry()`. A function may do anything.
    """
    root: ast.AST = call.func
    while isinstance(root, (ast.Attribute, ast.Call)):
        root = root.value if isinstance(root, ast.Attribute) else root.func
    if not isinstance(root, ast.Name) or root.id not in script.modules:
        return ""
    top = script.modules[root.id].partition(".")[0]
    name = call.func.attr if isinstance(call.func, ast.Attribute) else root.id
    if top in _PURE or name in _ASKING or (top == "time" and name != "sleep"):
        return ""
    if top not in sys.stdlib_module_names and not name[:1].islower():
        return ""
    return ast.unparse(call.func)


def _add(texts: list[str], text: str) -> None:
    if text not in texts:
        texts.append(text)


def is_project_module(module: str) -> bool:
    """Whether a module belongs to the project: neither to the standard library nor to an installed distribution."""
    top = module.partition(".")[0]
    if not top:  # relative
        return True
    if top in sys.stdlib_module_names or top in ("alembic", "sqlalchemy"):
        return False
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return True
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    return not any({"site-packages", "dist-packages"} & {*Path(place).parts} for place in places)


@dataclass
class MigrationFunction:
    """The `upgrade` or `downgrade` function of a revision: what its source says, and what its SQL does to rows.

    Attributes:
        source: Facts about the function, or about the section of a DBMate file.
        effects: Effects of its SQL; None if the function was not rendered.
    """

    source: FunctionSource
    effects: Effects | None = None

    @property
    def does_nothing(self) -> bool:
        """Whether it changes nothing at all."""
        return self.source.empty or (self.effects is not None and not self.effects.statements and not self.unknown)

    @property
    def unknown(self) -> list[str]:
        """Reasons why we do not know what the function does."""
        return [*self.source.unknown, *(self.effects.unknown if self.effects else [])]


def classify_step(direction: Direction, up: MigrationFunction, down: MigrationFunction) -> tuple[StepKind, str]:
    """Return the class of a step in a direction, and the reason."""
    without_downgrade = _classify_without_downgrade(up, down)
    if direction == "downgrade":
        if without_downgrade is not None:
            return without_downgrade
        if down.unknown:
            return "unknown", f"downgrade {down.unknown[0]}"
        if down.effects is not None and down.effects.losses:
            return "destructive", ", ".join(map(str, down.effects.losses))
        return "reversible", ""
    if up.effects is not None and up.effects.losses:
        return "destructive", ", ".join(map(str, up.effects.losses))
    if up.unknown:
        return "unknown", f"upgrade {up.unknown[0]}"
    if without_downgrade is not None:
        return without_downgrade
    if down.unknown:
        return "unknown", f"downgrade {down.unknown[0]}"
    return "reversible", ""


def _classify_without_downgrade(up: MigrationFunction, down: MigrationFunction) -> tuple[StepKind, str] | None:
    if down.source.missing:
        return "irreversible", "it has no downgrade"
    if down.source.raises:
        return "irreversible", "its downgrade raises"
    if down.does_nothing and not up.does_nothing:
        return "fake-reversible", "its downgrade does nothing"
    return None
