"""Reads Python source as syntax, without importing it: lines of classes and fields, and digests of syntax trees."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, cast

from .fields import digest

_DefinitionNode = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Definition(NamedTuple):
    """The definition of a class or variable in a source file.

    Attributes:
        line: Its first line.
        lines: Name → line of each assignment in a class's body.
        tree: Digest of its syntax tree, without comments, docstrings and layout.
    """

    line: int
    lines: dict[str, int]
    tree: str


def read_definitions(file: Path) -> dict[str, Definition]:
    """Read every class and module-level assignment of a file, by qualified name.

    Raises:
        OSError: if the file cannot be read.
        SyntaxError: if it is no Python.
    """
    stat = file.stat()
    return _places(file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(512)
def _places(file: Path, _changed: int, _size: int) -> dict[str, Definition]:
    return parse_definitions(file.read_bytes(), str(file))


def parse_definitions(text: str | bytes, name: str = "<text>") -> dict[str, Definition]:
    """Read every class and module-level assignment of a text, by qualified name.

    Raises:
        SyntaxError: if it is no Python.
    """
    try:
        module = ast.parse(text, name)
    except ValueError as error:  # a null byte
        raise SyntaxError(str(error), (name, 1, 1, None)) from error
    return dict(_found(module, ""))


def _found(node: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            name = f"{prefix}{child.name}"
            lines = {target: each.lineno for each in child.body for target in _targets(each)}
            yield name, Definition(child.lineno, lines, tree_digest(child))
            yield from _found(child, f"{name}.")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _found(child, f"{prefix}{child.name}.<locals>.")
        elif not prefix and isinstance(child, (ast.Assign, ast.AnnAssign)):
            for target in _targets(child):
                yield target, Definition(child.lineno, {}, tree_digest(child))
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            yield from _found(child, prefix)


def _targets(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        targets = []
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def code_digest(text: str) -> str | None:
    """Digest of the source of one function or class; None if it cannot be parsed alone."""
    try:
        body = ast.parse(text.lstrip() if "\n" not in text.strip() else _dedented(text)).body
    except SyntaxError:
        return None
    return tree_digest(body[0]) if body else None


def lambdas_digest(file: Path, line: int) -> str | None:
    """Digest of the lambdas that begin on a line of a file; None if there is none."""
    try:
        tree = _tree(file, file.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError):
        return None
    found = [_text(each) for each in ast.walk(tree) if isinstance(each, ast.Lambda) and each.lineno == line]
    return digest(" ".join(found)) if found else None


def constant(module: ModuleType, name: str) -> str | None:
    """Digest of the assignment of a name in a module, or in the module that this one imports it from.

    None if no module of them assigns it.
    """
    seen: set[str] = set()
    while module.__name__ not in seen:
        seen.add(module.__name__)
        file = getattr(module, "__file__", None)
        try:
            tree = _tree(Path(file), Path(file).stat().st_mtime_ns) if file else None
        except (OSError, SyntaxError, ValueError):
            return None
        if tree is None:
            return None
        found = [tree_digest(each) for each in tree.body if name in _targets(each)]
        if found:
            return digest(" ".join(found))
        imported = _imported(tree, name, getattr(module, "__package__", None) or "")
        if imported is None or imported[0] not in sys.modules:
            return None
        module, name = sys.modules[imported[0]], imported[1]
    return None


def _imported(tree: ast.Module, name: str, package: str) -> tuple[str, str] | None:
    """The module that a name is imported from, and its name there."""
    for each in tree.body:
        if not isinstance(each, ast.ImportFrom):
            continue
        for alias in each.names:
            if (alias.asname or alias.name) == name:
                with suppress(ImportError):
                    return resolve_name("." * each.level + (each.module or ""), package), alias.name
    return None


@functools.lru_cache(256)
def _tree(file: Path, _changed: int) -> ast.Module:
    return ast.parse(file.read_bytes(), str(file))


def _dedented(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)


def tree_digest(node: ast.AST) -> str:
    """Digest of a syntax tree.

    We leave out empty attributes, since later versions of Python add such attributes. Positions, docstrings and the
    kind of a string (`u""`) do not count.
    """
    return digest(_text(node))


def _text(node: object) -> str:
    if isinstance(node, ast.AST):
        parts = [type(node).__name__]
        for name, value in ast.iter_fields(node):
            if name in ("ctx", "kind", "type_comment") or value is None or value == []:
                continue
            if name == "body" and isinstance(node, _DefinitionNode):
                value = _without_docstring(value)
            parts.append(f"{name}={_text(value)}")
        return f"({' '.join(parts)})"
    if isinstance(node, list):
        return f"[{' '.join(_text(each) for each in cast('list[object]', node))}]"
    return repr(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """A body without its docstring, and without those that follow an attribute."""
    return [
        each
        for each in body
        if not (
            isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
        )
    ] or [ast.Pass()]
