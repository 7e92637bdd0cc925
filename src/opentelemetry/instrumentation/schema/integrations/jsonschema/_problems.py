"""From jsonschema's errors to problems, by what a schema and those that it refers to declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urldefrag, urljoin

import jsonschema.validators

from ... import faults
from ..._recording import problems
from ..._recording.problems import Problem
from ...semconv import CUSTOM_RULE

_DRAFTS = ("3", "4", "6", "7", "201909", "202012")
_RULES = {keyword for each in _DRAFTS for keyword in getattr(jsonschema.validators, f"Draft{each}Validator").VALIDATORS}

TOO_MANY: Problem = problems.ANY, CUSTOM_RULE


class Problems:
    """From an error to a problem, by the names that the validator's schema declares."""

    __slots__ = ("_declared", "_memo", "_registry", "_schema")

    def __init__(self, schema: Any, registry: Any) -> None:
        self._schema, self._registry = schema, registry
        self._declared: frozenset[str] | None = None
        self._memo = problems.Memo(self._template)

    def __call__(self, error: Any) -> Problem:
        try:
            return self._memo(tuple(error.absolute_path), str(error.validator))  # None: the schema `false`
        except Exception as fault:
            faults.swallow("jsonschema", fault)
            return TOO_MANY

    def _template(self, location: tuple[object, ...], rule: str) -> Problem:
        declared = self._declared
        if declared is None:
            declared = self._declared = frozenset(_declared(self._schema, self._registry))
        return problems.path(location, declared), rule if rule in _RULES else CUSTOM_RULE


_BY_NAME = {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}
"""Keywords that hold schemas by name: what they hold may be named as a keyword is."""

_DATA = {"const", "default", "enum", "example", "examples"}
"""Keywords that hold no schema, though it may look like one."""


def _declared(schema: Any, registry: Any) -> set[str]:
    """The property names in a schema, and in those of its registry that it refers to; nothing is retrieved for it."""
    names: set[str] = set()
    referred: set[str] = set()
    pending: list[tuple[Any, str]] = [(schema, "")]
    while pending:
        node, base = pending.pop()
        if _is_array(node):
            pending.extend((child, base) for child in node)
        if not is_object(node):
            continue
        if isinstance(node.get("$id"), str):
            base = urljoin(base, node["$id"])
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
                uri = urldefrag(urljoin(base, node[keyword])).url
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


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a schema is one of JSON's objects, not a bool."""
    return isinstance(value, Mapping)


def _is_array(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, (list, tuple))
