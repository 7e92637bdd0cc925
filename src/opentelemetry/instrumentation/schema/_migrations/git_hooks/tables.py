"""The columns that SQLAlchemy models declare, read from their syntax tree: what needs a migration when it changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

_COLUMNS: Final = frozenset({"Column", "mapped_column", "Field"})
_PYTHON_ONLY: Final = frozenset(
    {
        "active_history", "compare", "default", "default_factory", "deferred", "deferred_group", "deferred_raiseload",
        "doc", "hash", "info", "init", "insert_default", "key", "kw_only", "onupdate", "repr", "sort_order",
        "alias", "description", "examples", "title", "schema_extra", "regex", "pattern", "ge", "gt", "le", "lt",
    }
)  # fmt: skip
"""What a column says that no database has."""
_DECLARED: Final = frozenset({"__tablename__", "__table_args__", "__table__"})


class Table(NamedTuple):
    """A class or variable that declares columns.

    Attributes:
        line: Where it stands.
        facts: What of it reaches the database, as text.
    """

    line: int
    facts: str


def tables_of(text: bytes) -> dict[str, Table]:
    """The tables, and the classes that give columns to tables, by name.

    Raises:
        SyntaxError: if the text is no Python.
    """
    try:
        module = ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from error
    return (
        dict(_tables(module.body, ""))
        if b"olumn" in text or b"Table" in text or b"Field" in text or b"Mapped" in text
        else {}
    )


def _tables(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Table]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            facts = sorted(_columns(node))
            if facts:
                yield f"{prefix}{node.name}", Table(node.lineno, "\n".join(facts))
            yield from _tables(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _tables(node.body, prefix)
        elif not prefix and isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node.value, ast.Call) and _called(node.value) == "Table":
                yield ast.unparse(target), Table(node.lineno, _fact(node.value))


def _columns(node: ast.ClassDef) -> Iterator[str]:
    sqlmodel = any(
        each.arg == "table" and isinstance(each.value, ast.Constant) and each.value.value is True
        for each in node.keywords
    )
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            name, value, annotation = each.targets[0].id, each.value, None
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            name, value, annotation = each.target.id, each.value, each.annotation
        else:
            continue
        called = _called(value)
        if name in _DECLARED and value is not None:
            yield f"{name} = {_fact(value)}"
        elif value is not None and (called in ("Column", "mapped_column") or (sqlmodel and called == "Field")):
            yield f"{name}: {_annotated(annotation)} = {_fact(value)}"
        elif (value is None and _mapped(annotation)) or (
            sqlmodel and annotation is not None and called != "Relationship" and name != "model_config"
        ):
            yield f"{name}: {_annotated(annotation)}"


def _called(node: ast.expr | None) -> str:
    """The name of what is called; that of a column in what wraps it, such as `deferred(Column(…))`."""
    if not isinstance(node, ast.Call):
        return ""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in _COLUMNS and node.args:
        inner = _called(node.args[0])
        if inner in _COLUMNS:
            return inner
    return name


def _mapped(annotation: ast.expr | None) -> bool:
    if not isinstance(annotation, ast.Subscript):
        return False
    name = annotation.value
    return (name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")) == "Mapped"


def _annotated(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation)


def _fact(node: ast.expr) -> str:
    """An expression as text, without what stays in Python."""
    if isinstance(node, ast.Call):
        kept = [f"{each.arg}={_fact(each.value)}" for each in node.keywords if each.arg not in _PYTHON_ONLY]
        return f"{ast.unparse(node.func)}({', '.join([*(_fact(each) for each in node.args), *sorted(kept)])})"
    if isinstance(node, (ast.Tuple, ast.List)):
        return f"({', '.join(_fact(each) for each in node.elts)})"
    return ast.unparse(node)
