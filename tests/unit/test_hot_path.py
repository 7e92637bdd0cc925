"""What the hot paths have written out four times, because a call would cost more than all that it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation import schema

ROOT = Path(str(schema.__file__)).parent
TAILS = {
    "_recording/probe.py": ["succeeded"],
    "integrations/pydantic/_timed.py": ["_leaf", "_nestable"],
    "integrations/jsonschema/install.py": ["_timed"],
}
"""Where a valid validation ends, by the function that is around it."""

# What each of them calls what all of them mean.
SAME = {"self": "probe", "probe.schema_cells": "schema_cells", "probe.buffers": "buffers", "probe.slow": "slow"}


class _Spelled(ast.NodeTransformer):
    """One spelling for what is spelled differently: names, and which query a slow validation ran."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(SAME.get(node.id, node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        spelled = SAME.get(ast.unparse(node))
        return node if spelled is None else ast.Name(spelled, node.ctx)


def _tail(function: ast.FunctionDef) -> list[str]:
    """From the request on: what is taken down in it, and what is done with the buffer that its endpoint has."""
    body = next(list(_after_request(node)) for node in ast.walk(function) if list(_after_request(node)))
    return [ast.unparse(each) for node in body for each in _plain(_Spelled().visit(node))]


def _plain(node: Any) -> list[Any]:
    """One target an assignment; of a parameter's validator, which has no hot path, nothing."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "probe.parameter":
        return node.orelse
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = zip(node.targets[0].elts, node.value.elts, strict=True)
        return [ast.Assign([target], value, lineno=0) for target, value in pairs]
    return [node]


def _after_request(node: ast.AST) -> Iterator[ast.stmt]:
    statements: list[ast.stmt] = getattr(node, "body", []) if isinstance(node, ast.FunctionDef) else []
    begun = False
    for each in statements:
        begun = begun or ast.unparse(each) == "req = _request()"
        if begun:
            yield each


def _parts(name: str, function: str) -> dict[str, str]:
    tree = ast.parse((ROOT / name).read_text())
    (found,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    tail = _tail(found)
    return {
        "taken down": "\n".join(tail[1:4]),
        "buffered": "\n".join(line for line in tail if line.startswith(("values.append", "if len(values)"))),
        "slow": "took > slow" if any("took > slow" in line for line in tail) else "",
        "looked up": "buffers, req.key"
        if any("buffers[req.key]" in x or "buffers.get(req.key)" in x for x in tail)
        else "",
    }


def test_the_four_copies_say_the_same() -> None:
    """Each takes down schema and duration in the request, asks whether it was slow, and fills its endpoint's buffer."""
    copies = {f"{name}:{function}": _parts(name, function) for name, found in TAILS.items() for function in found}
    expected = {
        "taken down": "req.schema_cells = schema_cells\ndurations = req.durations\n"
        "if durations is not None:\n    durations.append(took)",
        "buffered": "values.append(took)\nif len(values) >= BUFFER_SIZE:\n    probe.flush_buffer(req)",
        "slow": "took > slow",
        "looked up": "buffers, req.key",
    }
    assert copies == dict.fromkeys(copies, expected)
