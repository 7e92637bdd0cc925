"""Turns jsonschema's errors into problems, with the names that a schema and its references declare."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urldefrag, urljoin

import jsonschema.validators

from ... import faults
from ..._recording import problems
from ..._recording.problems import Problem
from ...semconv import CUSTOM_RULE
from ...text import exact

_DRAFTS = ("3", "4", "6", "7", "201909", "202012")
_RULES = {keyword for each in _DRAFTS for keyword in getattr(jsonschema.validators, f"Draft{each}Validator").VALIDATORS}

_MAX_DEPTH = 1000
_MAX_NODES = 100_000
_MAX_URI = 2000

_deque: Any = deque  # called in place of the error's own deque, which may be of any subclass
_held: Any = vars(BaseException)["__dict__"].__get__


class Problems:
    """Turns an error into a problem, with the names that the validator's schema declares."""

    __slots__ = ("_templates",)

    def __init__(self, schema: Any, registry: Any) -> None:
        self._templates = problems.Templates(lambda: _declared(schema, registry), _RULES)

    def __call__(self, error: Any) -> Problem:
        try:
            rule = exact(_held(error).get("validator"))  # None: the schema `false`
            return self._templates(_location(error), rule or CUSTOM_RULE)
        except Exception as fault:
            faults.swallow("jsonschema", fault)
            return problems.TOO_MANY


def _location(error: Any) -> list[object]:
    """`error.absolute_path`, without running code of a subclass."""
    held, parts = _held(error), list[object]()
    for _ in range(_MAX_DEPTH):
        own, parent = held.get("relative_path"), held.get("parent")
        if issubclass(type(own), deque):
            parts[:0] = _deque.__iter__(own)
        if parent is None or not issubclass(type(parent), BaseException):
            break
        held = _held(parent)
    return [part if type(part) is str else exact(part) for part in parts]


_BY_NAME = {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}
"""Keywords that hold schemas by name: what they hold may be named as a keyword is."""

_DATA = {"const", "default", "enum", "example", "examples"}
"""Keywords that hold no schema, though it may look like one."""


def _declared(schema: Any, registry: Any) -> set[str]:
    """The property names in a schema, and in those of its registry that it refers to; nothing is retrieved for it.

    Each part is read once, however often it is shared, also by itself: that takes time in proportion to the schema.
    """
    names: set[str] = set()
    referred: set[str] = set()
    seen: dict[int, Any] = {}  # holds the parts, so that their `id` remains theirs
    pending: list[tuple[Any, str]] = [(schema, "")]
    while pending and len(seen) < _MAX_NODES:
        node, base = pending.pop()
        if id(node) in seen:
            continue
        if _is_array(node):
            seen[id(node)] = node
            pending.extend((child, base) for child in node)
        if not is_object(node):
            continue
        seen[id(node)] = node
        if isinstance(node.get("$id"), str):
            base = _joined(base, node["$id"])
        if _is_array(node.get("required")):
            names.update(name for name in node["required"] if isinstance(name, str))
        for keyword in ("properties", "dependentRequired", "dependentSchemas", "dependencies"):
            named = node.get(keyword)
            if is_object(named):
                names.update(named)
                for each in named.values():
                    if _is_array(each):  # what else a property requires
                        names.update(name for name in each if isinstance(name, str))
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(node.get(keyword), str):
                uri = urldefrag(_joined(base, node[keyword])).url
                if uri not in referred:
                    referred.add(uri)
                    if uri in registry:
                        pending.append((registry.contents(uri), uri))
        for keyword, child in node.items():
            if keyword in _BY_NAME and is_object(child):
                pending.extend((each, base) for each in child.values())
            elif keyword not in _DATA:
                pending.append((child, base))
    return names


def _joined(base: str, uri: str) -> str:
    return "" if len(base) + len(uri) > _MAX_URI else urljoin(base, uri)


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a schema is one of JSON's objects, not a bool."""
    return isinstance(value, Mapping)


def _is_array(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, (list, tuple))
