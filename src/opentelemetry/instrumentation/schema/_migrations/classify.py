"""The class of a step: from the source of its two functions, read and not run, and from what they would do."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .plan import Direction, Kind
from .sql_text import Effects

_ASKING: Final = {
    "get_bind": "reads rows or asks the dialect (op.get_bind)",
    "get_context": "asks the dialect (op.get_context)",
    "is_offline_mode": "asks whether it runs offline",
    "inspect": "reads the live schema (inspect)",
    "getenv": "reads settings (os.getenv)",
    "environ": "reads settings (os.environ)",
    "dialect": "asks the dialect",
    "get_x_argument": "reads settings (-x)",
    "open": "reads a file",
    "create_engine": "opens a connection of its own",
    "subprocess": "runs a program",
    "import_module": "imports at run time",
    "sessionmaker": "reads rows (a session)",
    "Session": "reads rows (a session)",
}
_NAMED: Final = {
    "create_all": "calls create_all: it makes whatever the models are today",
    "drop_all": "calls drop_all: it drops whatever the models are today",
}


@dataclass
class Source:
    """What the source of one function says.

    Attributes:
        missing: There is no such function.
        raises: It does nothing but raise.
        empty: It does nothing.
        unknown: Why it is not known what it does; it is not run to find out.
        notes: What else is worth saying.
    """

    missing: bool = False
    raises: bool = False
    empty: bool = False
    unknown: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def source(module: ast.Module, name: str, own: Callable[[str], bool]) -> Source:
    """Reads a function of a revision, and the functions of the same file that it calls.

    Args:
        module: The file.
        name: `upgrade` or `downgrade`.
        own: Whether a module is the project's own, whose code may be anything.
    """
    functions = {each.name: each for each in module.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    function = functions.get(name)
    if function is None:
        assigned = any(
            isinstance(each, (ast.Assign, ast.ImportFrom)) and name in ast.dump(each) for each in module.body
        )
        return Source(unknown=[f"{name} is not a function of this file"]) if assigned else Source(missing=True)
    found = Source()
    body = [each for each in function.body if not _says_nothing(each)]
    found.empty = not body
    found.raises = bool(body) and isinstance(body[0], ast.Raise)
    imported = _imported(module)
    todo, seen = [function], set[str]()
    while todo:
        current = todo.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        for node in ast.walk(current):
            word = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                _look(found, "import", [_module(node)], own)
            if word is None:
                continue
            if word in _ASKING:
                _add(found.unknown, _ASKING[word])
            if word in _NAMED:
                _add(found.notes, _NAMED[word])
                _add(found.unknown, _NAMED[word].partition(":")[0])
            if isinstance(node, ast.Name):
                if word in functions:
                    todo.append(functions[word])
                elif word in imported:
                    _look(found, word, [imported[word]], own)
    return found


def _look(found: Source, _: str, modules: list[str], own: Callable[[str], bool]) -> None:
    for module in modules:
        if module and own(module):
            _add(found.unknown, f"imports {module} of the project, whose code may change")


def _add(texts: list[str], text: str) -> None:
    if text not in texts:
        texts.append(text)


def _says_nothing(node: ast.stmt) -> bool:
    return (
        isinstance(node, (ast.Pass, ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Constant)))
    )


def _module(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.Import):
        return node.names[0].name
    return f"{'.' * node.level}{node.module or ''}"


def _imported(module: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in module.body:
        if isinstance(node, ast.Import):
            names.update({(each.asname or each.name.partition(".")[0]): each.name for each in node.names})
        elif isinstance(node, ast.ImportFrom):
            names.update({each.asname or each.name: _module(node) for each in node.names})
    return names


def is_own(module: str) -> bool:
    """Whether a module is neither the standard library's nor an installed distribution's."""
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
class Way:
    """One direction of a revision: what its source says and what it would do.

    Attributes:
        source: Of the function, or of the section of the file.
        effects: None where it was not rendered.
    """

    source: Source
    effects: Effects | None = None

    @property
    def does_nothing(self) -> bool:
        """Whether it changes nothing at all."""
        return self.source.empty or (self.effects is not None and not self.effects.statements and not self.unknown)

    @property
    def unknown(self) -> list[str]:
        """Why it is not known what it does."""
        return [*self.source.unknown, *(self.effects.unknown if self.effects else [])]


def kind(direction: Direction, up: Way, down: Way) -> tuple[Kind, str]:
    """The class of a step in a direction, and the reason."""
    way_back = _way_back(up, down)
    if direction == "downgrade":
        if way_back is not None:
            return way_back
        if down.unknown:
            return "unknown", f"downgrade {down.unknown[0]}"
        if down.effects is not None and down.effects.losses:
            return "destructive", ", ".join(map(str, down.effects.losses))
        return "reversible", ""
    if up.effects is not None and up.effects.losses:
        return "destructive", ", ".join(map(str, up.effects.losses))
    if up.unknown:
        return "unknown", f"upgrade {up.unknown[0]}"
    if way_back is not None:
        return way_back
    if down.unknown:
        return "unknown", f"downgrade {down.unknown[0]}"
    return "reversible", ""


def _way_back(up: Way, down: Way) -> tuple[Kind, str] | None:
    if down.source.missing:
        return "irreversible", "there is no downgrade"
    if down.source.raises:
        return "irreversible", "its downgrade raises"
    if down.does_nothing and not up.does_nothing:
        return "fake-reversible", "its downgrade does nothing"
    return None
