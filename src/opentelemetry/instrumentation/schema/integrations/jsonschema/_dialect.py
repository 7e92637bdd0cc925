"""What the keywords of a JSON Schema mean: by the draft that validates them, and by the schemas they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import jsonschema
import referencing
import referencing.exceptions
import referencing.jsonschema
from jsonschema.validators import validator_for

from ..._schemas.fields import digest, dumps

Resolver = Any
"""`referencing`'s, which is generic in a private class."""

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_COMPANIONS: Final = {
    "if": ("then", "else"),
    "dependentRequired": ("minContains", "maxContains"),
    "properties": ("required", "exclusiveMinimum", "exclusiveMaximum", "contentMediaType", "contentEncoding"),
}
"""Keywords that no function of their own validates, by one of the same drafts that has one."""

_BY_NAME: Final = {"properties", "patternProperties", "dependentSchemas", "dependencies"}
_SCHEMAS: Final = {
    "not", "if", "then", "else", "items", "prefixItems", "additionalItems", "additionalProperties", "contains",
    "propertyNames", "unevaluatedProperties", "unevaluatedItems", "allOf", "anyOf", "oneOf", "extends", "disallow",
}  # fmt: skip
_IN_PLACE: Final = {
    *REFERENCES, "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "contains",
}  # fmt: skip
"""Keywords whose schemas evaluate properties or items of the same value."""


class Dialect:
    """The draft of a schema, and where its references lead.

    Args:
        root: The schema.
        validator: The class that validates it; None asks its `$schema`, as jsonschema does.
    """

    def __init__(self, root: Any, validator: Any = None) -> None:
        self.validator: Any = validator or validator_for(root, default=jsonschema.Draft202012Validator)
        known = set(self.validator.VALIDATORS)
        self.keywords = known.union(*(more for each, more in _COMPANIONS.items() if each in known))
        self._ref_alone = "dependentRequired" not in known
        """To draft 7, nothing counts beside a `$ref`."""
        self.whole_integers = not self.validator.TYPE_CHECKER.is_type(1.0, "integer")
        """Whether 1.0 is no integer, to draft 4."""
        self.required_inside = "extends" in known
        """Whether a property says itself that it is required: in draft 3 alone."""
        self.exclusive_flags = "exclusiveMinimum" not in known
        """Whether `exclusiveMinimum` is about `minimum`, to draft 4, and no bound of its own."""
        uri = str(self.validator.META_SCHEMA.get("$schema", ""))
        self._specification: Any = referencing.jsonschema.specification_with(
            uri, default=referencing.jsonschema.DRAFT202012
        )
        resource = self._specification.create_resource(root)
        base = resource.id() or ""
        registry = cast("Any", referencing.Registry)()
        self.start: Resolver = registry.with_resource(base, resource).resolver(base)

    def applied(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords that decide what is accepted."""
        if self._ref_alone and isinstance(schema.get("$ref"), str):
            return {"$ref": schema["$ref"]}
        return evaluated({key: value for key, value in schema.items() if key in self.keywords})

    def enter(self, resolver: Resolver, schema: Mapping[str, Any]) -> Resolver:
        """The resolver of references inside a schema. A schema with an id of its own is their base."""
        resource = self._specification.create_resource(schema)
        return resolver.in_subresource(resource) if resource.id() is not None else resolver

    def lookup(self, resolver: Resolver, ref: str) -> tuple[Any, Resolver] | None:
        """The schema that a reference leads to; None if it is not a part of this schema."""
        try:
            found = resolver.lookup(ref)
        except (referencing.exceptions.Unresolvable, ValueError, LookupError):
            return None
        return found.contents, found.resolver

    def text(self, schema: Any, resolver: Resolver) -> str:
        """A digest of what a schema validates, with all that it refers to, without titles and descriptions."""
        numbers: dict[int, int] = {}
        pending: list[tuple[Any, Resolver]] = [(schema, resolver)]
        found: list[Any] = []
        while pending:
            node, at = pending.pop(0)
            found.append(self._plain(node, at, numbers, pending))
        return digest(dumps(found))

    def _plain(self, node: Any, resolver: Resolver, numbers: dict[int, int], pending: list[tuple[Any, Any]]) -> Any:
        if isinstance(node, list):
            return [self._plain(each, resolver, numbers, pending) for each in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        schema = cast("dict[str, Any]", node)
        resolver = self.enter(resolver, schema)
        plain: dict[str, Any] = {}
        for key, value in self.applied(schema).items():
            plain[key] = value
            if key in REFERENCES and isinstance(value, str):
                target = self.lookup(resolver, value)
                if target is not None:
                    if id(target[0]) not in numbers:
                        numbers[id(target[0])] = len(numbers)
                        pending.append(target)
                    plain[key] = numbers[id(target[0])]
            elif key in _BY_NAME and isinstance(value, dict):
                schemas = cast("dict[str, Any]", value)
                plain[key] = {name: self._plain(each, resolver, numbers, pending) for name, each in schemas.items()}
            elif key in _SCHEMAS or (key == "type" and not isinstance(value, str)):  # draft 3: types may be schemas
                plain[key] = self._plain(value, resolver, numbers, pending)
            if key in ("required", "type", "enum") and isinstance(plain[key], list):
                plain[key] = sorted(plain[key], key=dumps)
        return plain


def evaluated(facts: dict[str, Any]) -> dict[str, Any]:
    """Keywords without `unevaluatedProperties` and `unevaluatedItems` where they say the same as simpler ones."""
    if not any(each in facts for each in ("unevaluatedProperties", "unevaluatedItems")) or _IN_PLACE & facts.keys():
        return facts
    found = dict(facts)
    if "unevaluatedProperties" in found:
        found.setdefault("additionalProperties", found.pop("unevaluatedProperties"))
        found.pop("unevaluatedProperties", None)
    if "unevaluatedItems" in found:
        rest = "additionalItems" if isinstance(found.get("items"), list) else "items"
        found.setdefault(rest, found.pop("unevaluatedItems"))
    return found
