"""Reads the syntax tree of a migration in Python: calls of Alembic's operations, and SQL text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

_EXECUTES: Final = frozenset({"execute", "exec_driver_sql", "scalar", "scalars"})
_WRAPS: Final = frozenset({"text", "dedent", "cleandoc", "DDL"})
"""Functions that return their first argument as SQL."""
_KEEPS: Final = frozenset({"strip", "lstrip", "rstrip", "format", "replace", "bindparams"})
"""Methods of a string that return the same statement."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Operation(NamedTuple):
    """One call in a migration.

    Attributes:
        name: Of Alembic's operation, such as `drop_column`, or of another method, such as `execute`.
        alembic: Whether it is called on Alembic's `op` or on a batch of it.
        table: The table of the batch that it is called on, as source text; None outside of a batch.
        call: The call.
        sql: The SQL that it executes, as far as the text says.
    """

    name: str
    alembic: bool
    table: str | None
    call: ast.Call
    sql: tuple[str, ...]

    @property
    def line(self) -> int:
        """Line number of the call."""
        return self.call.lineno

    def argument(self, position: int, *names: str) -> ast.expr | None:
        """An argument by its position, or by one of its names."""
        if position < len(self.call.args):
            return self.call.args[position]
        return next((each.value for each in self.call.keywords if each.arg in names), None)

    def argument_text(self, position: int, *names: str) -> str:
        """An argument as text: the literal, or the source text of what computes it; empty if there is none."""
        node = self.argument(position, *names)
        return "" if node is None else source_text(node)


def imported_from(node: ast.ImportFrom) -> str:
    """The module of a `from` import; a relative one begins with dots."""
    return f"{'.' * node.level}{node.module or ''}"


def source_text(node: ast.expr) -> str:
    """The value of a string literal; the source text of anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


class MigrationScript:
    """One migration in Python.

    Args:
        module: Its syntax tree.
    """

    def __init__(self, module: ast.Module) -> None:
        self.module = module
        self.functions: dict[str, Function] = {}
        self.bound: set[str] = set()
        self._constants: dict[str, list[ast.expr]] = {}
        self._ops = {"op"}
        for node in module.body:
            if isinstance(node, Function):
                self.functions[node.name] = node
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self.bound.add(alias.asname or alias.name)
                    if alias.name == "op" and alias.asname:
                        self._ops.add(alias.asname)
            for name, value in _assigned(node):
                self.bound.add(name)
                self._constants.setdefault(name, []).append(value)

    @cached_property
    def modules(self) -> dict[str, str]:
        """Imported name → its module, for imports anywhere in the file."""
        found: dict[str, str] = {}
        for node in ast.walk(self.module):
            if isinstance(node, ast.Import):
                found.update({(each.asname or each.name.partition(".")[0]): each.name for each in node.names})
            elif isinstance(node, ast.ImportFrom):
                found.update({each.asname or each.name: imported_from(node) for each in node.names})
        return found

    def reachable_functions(self, function: str) -> Iterator[Function]:
        """A function, and all functions of the file that it reaches by name, each once."""
        todo, seen = [function], set[str]()
        while todo:
            name = todo.pop()
            if name in seen or name not in self.functions:
                continue
            seen.add(name)
            yield self.functions[name]
            todo += [node.id for node in ast.walk(self.functions[name]) if isinstance(node, ast.Name)]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Names of the `upgrade` and `downgrade` functions; with several databases, one pair for each."""
        names = [name for name in self.functions if name == "upgrade" or name.startswith("upgrade_")]
        if "upgrade" not in names:
            yield "upgrade", "downgrade"
        for name in names:
            if name == "upgrade" or self._by_database():
                yield name, name.replace("upgrade", "downgrade", 1)

    def _by_database(self) -> bool:
        upgrade = self.functions.get("upgrade")
        return upgrade is not None and any(
            isinstance(each, ast.Name) and each.id == "globals" for each in ast.walk(upgrade)
        )

    def operations(self, function: str) -> Iterator[Operation]:
        """The calls in a function and in the functions that it calls, in the order of the text."""
        yield from self._operations(function, set())

    def _operations(self, name: str, entered: set[str]) -> Iterator[Operation]:
        function = self.functions.get(name)
        if function is None or name in entered:
            return
        entered = {*entered, name}
        local = dict(self._constants)
        batches: dict[str, str] = {}
        for node in _in_order(function):
            for target, value in _assigned(node):
                local[target] = [*local.get(target, ()), value]
            if isinstance(node, (ast.With, ast.AsyncWith)):
                for item in node.items:
                    opened = item.context_expr
                    if (
                        isinstance(opened, ast.Call)
                        and isinstance(opened.func, ast.Attribute)
                        and opened.func.attr == "batch_alter_table"
                        and isinstance(item.optional_vars, ast.Name)
                    ):
                        table = opened.args[0] if opened.args else _keyword(opened, "table_name")
                        batches[item.optional_vars.id] = source_text(table) if table is not None else "?"
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    yield from self._operations(node.func.id, entered)
                elif isinstance(node.func, ast.Attribute):
                    yield self._operation(node, node.func, batches, local)

    def _operation(
        self, call: ast.Call, function: ast.Attribute, batches: dict[str, str], local: dict[str, list[ast.expr]]
    ) -> Operation:
        on = function.value
        name = on.id if isinstance(on, ast.Name) else on.attr if isinstance(on, ast.Attribute) else ""
        sql: tuple[str, ...] = ()
        if function.attr in _EXECUTES and call.args:
            sql = tuple(_texts(call.args[0], local, 0))
        return Operation(function.attr, name in self._ops or name in batches, batches.get(name), call, sql)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, each before what it holds."""
    for child in ast.iter_child_nodes(node):
        yield child
        yield from _in_order(child)


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names that a statement gives a value; those of a loop, each of its values."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif (
        isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, (ast.List, ast.Tuple))
    ):
        for each in node.iter.elts:
            yield node.target.id, each


def _texts(node: ast.expr, names: dict[str, list[ast.expr]], depth: int) -> Iterator[str]:
    """The texts that an expression may be. What is computed stands in them as `{source}`."""
    if depth > 10:
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (part.value for part in node.values if isinstance(part, (ast.Constant, ast.FormattedValue)))
        yield "".join(f"{{{ast.unparse(part)}}}" if isinstance(part, ast.expr) else str(part) for part in parts)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left = next(_texts(node.left, names, depth + 1), None)
        right = next(_texts(node.right, names, depth + 1), None)
        if left is not None or right is not None:
            yield (left or "{}") + (right or "{}")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from _texts(node.left, names, depth + 1)
    elif isinstance(node, ast.Name):
        for value in names.get(node.id, ()):
            yield from _texts(value, names, depth + 1)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, names, depth + 1)
        yield from _texts(node.orelse, names, depth + 1)
    elif isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in _KEEPS:
            yield from _texts(called.value, names, depth + 1)
        elif node.args and (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in _WRAPS:
            yield from _texts(node.args[0], names, depth + 1)


def does_nothing(function: Function) -> bool:
    """Whether a function's body has no effect: `pass`, `...`, a docstring, an import, a bare return, or only those."""
    return all(map(_has_no_effect, function.body))


def only_raises(function: Function) -> bool:
    """Whether the first thing that a function does is to raise."""
    return isinstance(next((each for each in function.body if not _has_no_effect(each)), None), ast.Raise)


def _has_no_effect(node: ast.stmt) -> bool:
    return (
        isinstance(node, (ast.Pass, ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Constant)))
    )
