"""Reads the columns of SQLAlchemy models from their syntax tree: a change of them needs a migration."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

_COLUMNS: Final = frozenset({"Column", "mapped_column"})
_PYTHON_ONLY: Final = frozenset(
    {
        "active_history", "compare", "default", "default_factory", "deferred", "deferred_group", "deferred_raiseload",
        "doc", "hash", "info", "init", "insert_default", "key", "kw_only", "onupdate", "repr", "sort_order",
        "alias", "description", "examples", "title", "schema_extra", "regex", "pattern", "ge", "gt", "le", "lt",
        "values_callable", "validate_strings", "as_uuid", "asdecimal", "use_existing_column", "extend_existing",
    }
)  # fmt: skip
"""Arguments of a column that do not reach the database."""
_NO_TYPES: Final = frozenset({"ForeignKey", "Identity", "Computed", "Sequence", "CheckConstraint", "FetchedValue"})
_USUAL: Final = {
    "str": "String", "int": "Integer", "bool": "Boolean", "float": "Float", "bytes": "LargeBinary",
    "datetime": "DateTime", "date": "Date", "time": "Time", "timedelta": "Interval", "UUID": "Uuid",
    "Decimal": "Numeric",
}  # fmt: skip
"""Annotation → the column type that SQLAlchemy chooses for it."""


class DeclaredTable(NamedTuple):
    """A class or variable that declares columns.

    Attributes:
        line: Line number.
        facts: The part of the declaration that reaches the database, as text.
    """

    line: int
    facts: str


def find_tables(text: bytes) -> dict[str, DeclaredTable]:
    """Find tables, and classes that give columns to tables, by name.

    Raises:
        SyntaxError: if the text is not valid Python.
    """
    if not any(word in text for word in (b"olumn", b"Table", b"Field", b"Mapped")):
        return {}
    try:
        module = _Names().visit(ast.parse(text))
        return dict(_tables(module.body, ""))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from error


class _Names(ast.NodeTransformer):
    """Replaces import aliases by the original names, such as `UUID as PG_UUID`."""

    def __init__(self) -> None:
        self._own: dict[str, str] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        self._own |= {each.asname: each.name for each in node.names if each.asname}
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self._own:
            node.id = self._own[node.id]
        return node


def _tables(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, DeclaredTable]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            facts = sorted(_columns(node))
            if facts:
                yield f"{prefix}{node.name}", DeclaredTable(node.lineno, "\n".join(facts))
            yield from _tables(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _tables(node.body, prefix)
        elif not prefix and isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node.value, ast.Call) and _name(node.value.func) == "Table":
                yield ast.unparse(target), DeclaredTable(node.lineno, "\n".join(sorted(map(_fact, node.value.args))))


def _columns(node: ast.ClassDef) -> Iterator[str]:
    """Yield one fact per column, and per further declaration about the table."""
    sqlmodel = any(each.arg == "table" and ast.unparse(each.value) == "True" for each in node.keywords)
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            name, value, annotation = each.targets[0].id, each.value, None
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            name, value, annotation = each.target.id, each.value, each.annotation
        elif isinstance(each, ast.FunctionDef) and any(
            "declared_attr" in ast.unparse(one) for one in each.decorator_list
        ):
            name, annotation = each.name, each.returns
            value = next((one.value for one in ast.walk(each) if isinstance(one, ast.Return)), None)
        else:
            continue
        column = _column_call(value)
        if name == "__table_args__" and isinstance(value, (ast.Tuple, ast.List)):
            yield from (f"{name}: {_fact(one)}" for one in value.elts)
        elif name in ("__tablename__", "__table__", "__table_args__") and value is not None:
            yield f"{name}: {_fact(value)}"
        elif column is not None or (value is None and _mapped(annotation)):
            yield f"{name}: {_column(column, annotation)}"
        elif sqlmodel and annotation is not None and name != "model_config":
            field = value if isinstance(value, ast.Call) and _name(value.func) == "Field" else None
            if field is not None or not isinstance(value, ast.Call):
                yield f"{name}: {_column(field, annotation)}"


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _column_call(node: ast.expr | None) -> ast.Call | None:
    """The call that creates a column, also inside a wrapper such as `deferred(Column(…))`."""
    if not isinstance(node, ast.Call):
        return None
    if _name(node.func) in _COLUMNS:
        return node
    return _column_call(node.args[0]) if node.args else None


def _mapped(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Subscript) and _name(annotation.value) == "Mapped"


def _column(call: ast.Call | None, annotation: ast.expr | None) -> str:
    """Describe a column as the database sees it: `Column(String)` and `Mapped[str | None]` give the same text."""
    inner, optional = _annotated(annotation)
    keywords = {each.arg or "**": each.value for each in call.keywords} if call else {}
    given = list(call.args) if call else []
    name = ast.unparse(given.pop(0)) if given and isinstance(given[0], ast.Constant) else ""
    type_ = keywords.pop("type_", None)
    if type_ is None and given and not (isinstance(given[0], ast.Call) and _name(given[0].func) in _NO_TYPES):
        type_ = given.pop(0)
    nullable = keywords.pop("nullable", None)
    null = ast.unparse(nullable) if nullable is not None else str(annotation is None or optional)
    if nullable is None and "primary_key" in keywords:
        null = "False"
    kept = sorted(f"{key}={_fact(each)}" for key, each in keywords.items() if not _nothing(key, each))
    said = "" if _keyed(given) else _fact(type_) if type_ is not None else _USUAL.get(inner, inner)
    return " ".join([name, said.lower(), f"null={null}", *map(_fact, given), *kept])


def _keyed(given: list[ast.expr]) -> bool:
    """Whether the column has a foreign key, so that it takes the type of the referenced column."""
    return any(isinstance(each, ast.Call) and _name(each.func) == "ForeignKey" for each in given)


def _nothing(key: str, value: ast.expr) -> bool:
    """Whether an argument does not reach the database, or repeats the default."""
    return key in _PYTHON_ONLY or (isinstance(value, ast.Constant) and value.value in (None, False))


def _annotated(annotation: ast.expr | None) -> tuple[str, bool]:
    """The type in `Mapped[…]` without `None`, and whether `None` is part of it."""
    if annotation is None:
        return "", False
    node = annotation.slice if isinstance(annotation, ast.Subscript) and _mapped(annotation) else annotation
    text = ast.unparse(node).strip("'\"")
    parts = [each.strip() for each in text.split("|")]
    optional = "None" in parts or text.startswith(("Optional[", "typing.Optional["))
    text = " | ".join(each for each in parts if each != "None")
    if optional and "Optional[" in text:
        text = text[text.index("[") + 1 : -1]
    return (text.rpartition(".")[2] if text.replace(".", "").isidentifier() else text), optional


def _fact(node: ast.expr) -> str:
    """An expression as text: without modules, without arguments that stay in Python, and types in one spelling."""
    if isinstance(node, ast.Call):
        name = _name(node.func) or ast.unparse(node.func)
        if name == "as_mutable" and node.args:
            return _fact(node.args[0])
        given = [_fact(each) for each in node.args]
        named = {each.arg or "**": each.value for each in node.keywords}
        if "length" in named and not given:
            given.append(_fact(named.pop("length")))
        given += sorted(f"{key}={_fact(each)}" for key, each in named.items() if not _nothing(key, each))
        return f"{'Column' if name in _COLUMNS else name}({', '.join(given)})" if given else name
    if isinstance(node, (ast.Tuple, ast.List)):
        return f"({', '.join(map(_fact, node.elts))})"
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
