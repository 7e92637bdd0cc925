"""Reads the fields of JSON Schemas, of drafts 3 to 2020-12.

A JSON Schema declares its version as `"version": "2.1"` beside its `title` or `$id`. Of keywords that are no type,
bound or structure (`if`, `not`, `patternProperties`, …) we keep the text, and the text of what they refer to: a change
there is reported, but not judged. Keywords that its draft does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeGuard, cast
from urllib.parse import unquote

from ..._schemas.fields import (
    Document,
    FieldSpec,
    SchemaSpec,
    TypeKind,
    TypeSpec,
    clean_version,
    reference,
    union,
)
from ._dialect import Dialect, Resolver
from ._values import apart, enum, one_enum, tags

_KINDS: Final[dict[str, TypeKind]] = {
    "string": "string", "integer": "integer", "number": "number", "boolean": "boolean", "null": "null",
    "array": "list", "object": "object",
}  # fmt: skip
_IMPLIED: Final[dict[str, str]] = {
    "properties": "object", "required": "object", "additionalProperties": "object", "minProperties": "object",
    "maxProperties": "object", "items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array",
    "uniqueItems": "array", "minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
    "minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
    "multipleOf": "number",
}  # fmt: skip
"""Keyword → the type that a schema without `type` is about. Other types pass it, which is noted as a check."""
_READ: Final = {
    *_IMPLIED, "type", "enum", "const", "allOf", "anyOf", "oneOf", "$ref", "additionalItems", "divisibleBy",
}  # fmt: skip
"""Keywords that we read. Of all others we keep the text."""
_BOUNDS: Final = {
    "type", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "divisibleBy", "minItems", "maxItems", "minProperties", "maxProperties", "uniqueItems",
}  # fmt: skip
"""Keywords beside an `enum` that are asked of each of its values."""


class HeldSchema(NamedTuple):
    """A JSON Schema that a module holds.

    Attributes:
        schema: The schema.
        module: The module's name.
        name: The variable's name.
        validator: The class that validates it, where the module holds a validator.
    """

    schema: dict[str, Any]
    module: str
    name: str
    validator: Any = None


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None) -> Document:
    """The fields of a JSON Schema.

    Args:
        schema: The schema, a validator of it, or one that a module holds.
        digest: Not used: a JSON Schema has no code.

    Raises:
        TypeError: if it is no JSON Schema.
    """
    held = schema if isinstance(schema, HeldSchema) else None
    root: Any = getattr(schema, "schema", schema)
    if not isinstance(root, (dict, bool)):
        raise TypeError(f"{type(root).__qualname__} is no JSON Schema")
    cls = cast("Any", type(schema))
    validator: Any = held.validator if held else cls if hasattr(cls, "iter_errors") else None
    return _Reader(cast("Any", root), held.module if held else None, validator).document


def name_of(schema: Mapping[str, Any]) -> str | None:
    """`schema.name`: the title, else the id."""
    found = schema.get("title") or schema.get("$id") or schema.get("id")
    return found if isinstance(found, str) else None


def schemas(modules: Iterable[ModuleType]) -> Iterator[HeldSchema]:
    """JSON Schemas with a title or id that modules hold as variables, themselves or in a validator."""
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            # By type: a proxy such as Flask's `current_app` raises when it is asked for its class.
            validates = hasattr(cast("Any", type(value)), "iter_errors")
            held: Any = value.schema if validates else value
            if not _is_object(held) or id(held) in seen:
                continue
            found = held
            looks = "$schema" in found or "properties" in found or isinstance(found.get("type"), str)
            if looks and name_of(found) is not None:
                seen.add(id(found))
                yield HeldSchema(found, module.__name__, name, type(value) if validates else None)


def _is_object(value: Any) -> TypeGuard[dict[Any, Any]]:
    return issubclass(type(value), dict)


class _Reader:
    def __init__(self, root: Any, module: str | None, validator: Any) -> None:
        self.module = module
        self.document: Document = {}
        self._dialect = Dialect(root, validator)
        self._resolver: Resolver = self._dialect.start
        facts: dict[str, Any] = cast("dict[str, Any]", root) if isinstance(root, dict) else {}
        self._name = name_of(facts) or "schema"
        self._refs: dict[int, str] = {id(cast("Any", root)): reference(module, self._name)}
        version = clean_version(facts.get("version"))
        spec = SchemaSpec(
            name=self._name, module=module, library="jsonschema", type=TypeSpec(kind="any"), version=version
        )
        self.document[spec.ref] = spec
        self.document[spec.ref] = replace(spec, type=self.type(root))

    def type(self, schema: Any) -> TypeSpec:
        if schema is True or schema == {}:
            return TypeSpec(kind="any")
        if schema is False:
            return TypeSpec(kind="never")
        if not isinstance(schema, dict):
            raise TypeError(f"{schema!r} is no JSON Schema")
        found = cast("dict[str, Any]", schema)
        outer = self._resolver
        self._resolver = self._dialect.enter(outer, found)
        try:
            type_ = self._type(self._dialect.applied(found))
        finally:
            self._resolver = outer
        return replace(type_, open=True) if found.get("x-extensible-enum") else type_

    def _type(self, facts: dict[str, Any]) -> TypeSpec:
        if isinstance(facts.get("$ref"), str):
            target = self._reference(facts["$ref"])
            rest = {key: value for key, value in facts.items() if key != "$ref"}
            return self._with_others(self._both(target, self._read(rest), rest) if rest else target, facts)
        return self._with_others(self._read(facts), facts)

    def _with_others(self, type_: TypeSpec, facts: dict[str, Any]) -> TypeSpec:
        """A type with the text of the keywords that are not read."""
        checks: list[str] = []
        for keyword in sorted(facts.keys() - _READ):
            # Which properties are unevaluated depends on all other keywords.
            alone = not keyword.startswith("unevaluated")
            checks.append(self._opaque(keyword, {keyword: facts[keyword]} if alone else facts))
        return replace(type_, checks=(*type_.checks, *checks)) if checks else type_

    def _read(self, facts: dict[str, Any]) -> TypeSpec:
        """What the keywords that are read accept."""
        type_ = self._typed(facts)
        for each in facts.get("allOf", ()):
            type_ = self._both(type_, self.type(each), {"allOf": [each]})
        for keyword in ("anyOf", "oneOf"):
            if keyword in facts:
                type_ = self._one_of(type_, keyword, facts[keyword])
        return type_

    def _opaque(self, keyword: str, schema: dict[str, Any]) -> str:
        return f"{keyword}@{self._dialect.text(schema, self._resolver)}"

    def _typed(self, facts: dict[str, Any]) -> TypeSpec:
        values: Any = [facts["const"]] if "const" in facts else facts.get("enum")
        if isinstance(values, list):
            return self._values(cast("list[Any]", values), facts)
        names: Any = facts.get("type")
        if names is None:
            implied = {kind for keyword, kind in _IMPLIED.items() if keyword in facts}
            if len(implied) != 1:
                text = {key: facts[key] for key in _IMPLIED if key in facts}
                return TypeSpec(kind="any", checks=(self._opaque("untyped", text),) if implied else ())
            return replace(self._of(implied.pop(), facts), checks=("untyped",))
        if isinstance(names, str):
            return self._of(names, facts)
        return union([self._of(each, facts) if isinstance(each, str) else self.type(each) for each in names])

    def _values(self, values: list[Any], facts: dict[str, Any]) -> TypeSpec:
        """Values that also keep the bounds that stand beside them."""
        bounds = {key: value for key, value in facts.items() if key in _BOUNDS}
        if bounds.keys() - {"type"} or isinstance(bounds.get("type"), str):
            with suppress(Exception):  # a pattern or bound that makes no sense
                descend = self._dialect.validator({}).descend  # `is_valid` would be measured
                values = [each for each in values if not any(descend(each, bounds))]
        if "const" in facts and isinstance(facts.get("enum"), list):
            values = [each for each in values if each in facts["enum"]]
        rest = {key: facts[key] for key in _IMPLIED if key in facts and key not in _BOUNDS and key != "format"}
        type_ = enum(values)
        return replace(type_, checks=(self._opaque("enum beside", rest),)) if rest else type_

    def _of(self, name: str, schema: dict[str, Any]) -> TypeSpec:
        kind = _KINDS.get(name)
        if kind is None:  # draft 3's "any"
            return TypeSpec(kind="any")
        if kind == "object":
            return self._object(schema)
        if kind == "list":
            return self._array(schema)
        type_ = TypeSpec(kind=kind, strict=kind == "integer" and self._dialect.whole_integers)
        if kind == "string":
            return replace(
                type_,
                min_length=_number(schema.get("minLength")) or None,
                max_length=_number(schema.get("maxLength")),
                pattern=schema.get("pattern"),
                format=schema.get("format"),
            )
        if kind in ("integer", "number"):
            low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
            ge, le = schema.get("minimum"), schema.get("maximum")
            if self._dialect.exclusive_flags:
                (ge, low), (le, high) = (None, ge) if low else (ge, None), (None, le) if high else (le, None)
            return replace(
                type_,
                ge=ge,
                gt=low,
                le=le,
                lt=high,
                multiple_of=schema.get("multipleOf", schema.get("divisibleBy")),
            )
        return type_

    def _object(self, schema: dict[str, Any]) -> TypeSpec:
        properties: dict[str, Any] = schema.get("properties", {})
        required: Any = schema.get("required")
        needed = cast("list[str]", required)[:] if isinstance(required, list) else []
        if self._dialect.required_inside:
            needed += [name for name, each in properties.items() if _get(each, "required") is True]
        extra: Any = schema.get("additionalProperties", True)
        undeclared: Any = True if "patternProperties" in schema else extra
        found: list[FieldSpec] = []
        for name in dict.fromkeys((*properties, *needed)):
            each: Any = properties.get(name, undeclared)
            default = _get(each, "default")
            found.append(
                FieldSpec(
                    name=name,
                    type=self.type(each),
                    presence="required" if name in needed else "optional",
                    written="always" if name in needed else "sometimes",
                    default=None if default is None else json.dumps(default, sort_keys=True),
                )
            )
        extra_type = self.type(extra) if isinstance(extra, dict) else None
        return TypeSpec(
            kind="object",
            fields=tuple(found),
            extra="forbid" if extra is False else "allow",
            extra_type=None if extra_type is None or extra_type == TypeSpec(kind="any") else extra_type,
            min_length=_number(schema.get("minProperties")) or None,
            max_length=_number(schema.get("maxProperties")),
        )

    def _array(self, schema: dict[str, Any]) -> TypeSpec:
        items: Any = schema.get("items")
        prefix: Any = schema.get("prefixItems", items if isinstance(items, list) else ())
        rest: Any = schema.get("additionalItems") if isinstance(items, list) else items
        item = None if rest is None or rest is True or rest == {} else self.type(rest)
        return TypeSpec(
            kind="list",
            items=item,
            prefix=tuple(self.type(each) for each in prefix),
            min_length=_number(schema.get("minItems")) or None,
            max_length=_number(schema.get("maxItems")),
            unique=bool(schema.get("uniqueItems")),
        )

    def _one_of(self, type_: TypeSpec, keyword: str, schemas_: list[Any]) -> TypeSpec:
        members = [self.type(each) for each in schemas_]
        found = one_enum(members) or union(members)
        if keyword == "oneOf" and not self._disjoint(members):
            # Input that fits two members is refused, so more members may mean less input.
            found = replace(found, checks=(*found.checks, self._opaque("oneOf", {"oneOf": schemas_})))
        return found if type_ == TypeSpec(kind="any") else self._both(type_, found, {keyword: schemas_})

    def _disjoint(self, members: list[TypeSpec]) -> bool:
        """Whether no input fits two members: each is of another kind, has other values, or is tagged by others."""
        resolved = [self._resolved(each) for each in members]
        if any(each.checks or each.nullable for each in resolved):
            return False
        kinds = ["number" if each.kind == "integer" else each.kind for each in resolved]
        values = [each.values for each in resolved if each.kind == "enum"]
        tagged = [tags(each) for each in resolved if each.kind == "object"]
        differ = apart(values) if len(values) == len(members) else not values
        told = len(tagged) < 2 or any(
            all(name in each for each in tagged) and apart([each[name] for each in tagged]) for name in tagged[0]
        )
        others = [kind for kind in kinds if kind not in ("object", "enum")]
        return differ and told and not {"any", "union", "custom"} & {*others} and len({*others}) == len(others)

    def _both(self, one: TypeSpec, other: TypeSpec, schema: dict[str, Any]) -> TypeSpec:
        """What both accept, where that can be said as a type; else the second one's text."""
        if other == TypeSpec(kind="any"):
            return one
        if one == TypeSpec(kind="any"):
            return other
        first, second = self._resolved(one), self._resolved(other)
        if first.kind == second.kind == "object" and not first.checks and not second.checks:
            merged = _merged(first, second)
            if merged is not None:
                return merged
        return replace(one, checks=(*one.checks, self._opaque("allOf", schema)))

    def _resolved(self, type_: TypeSpec) -> TypeSpec:
        seen: set[str] = set()
        while type_.kind == "object" and type_.ref in self.document and not type_.checks and type_.ref not in seen:
            seen.add(type_.ref)
            type_ = self.document[type_.ref].type
        return type_

    # -- references

    def _reference(self, ref: str) -> TypeSpec:
        target = self._dialect.lookup(self._resolver, ref)
        if target is None:
            return TypeSpec(kind="custom", ref=ref)
        contents, resolver = target
        if id(contents) not in self._refs:
            name = f"{self._name}#{_short(ref)}"
            while reference(self.module, name) in self.document:  # two schemas of one name
                name += "'"
            spec = SchemaSpec(name=name, module=self.module, library="jsonschema", type=TypeSpec(kind="any"))
            self._refs[id(contents)] = spec.ref
            self.document[spec.ref] = spec
            outer, self._resolver = self._resolver, resolver
            try:
                self.document[spec.ref] = replace(spec, type=self.type(contents))
            finally:
                self._resolver = outer
        return TypeSpec(kind="object", ref=self._refs[id(contents)])


def _short(ref: str) -> str:
    """The name of a definition; of anything else the reference."""
    parts = unquote(ref).split("/")
    plain = len(parts) == 3 and parts[:2] in (["#", "$defs"], ["#", "definitions"])
    return parts[2] if plain else ref.removeprefix("#")


def _get(node: Any, key: str) -> Any:
    if isinstance(node, list):
        items = cast("list[Any]", node)
        return items[int(key)] if key.isdigit() and int(key) < len(items) else None
    return cast("dict[str, Any]", node).get(key) if isinstance(node, dict) else None


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _merged(one: TypeSpec, other: TypeSpec) -> TypeSpec | None:
    """Two objects whose fields differ, or are the same; None where they would have to be combined."""
    plain = TypeSpec(kind="object", extra="allow")
    if replace(other, fields=()) != plain or replace(one, fields=(), ref=None) != plain:
        return None
    found = {each.name: each for each in one.fields}
    for each in other.fields:
        mine = found.get(each.name)
        if mine is None:
            found[each.name] = each
        elif TypeSpec(kind="any") in (mine.type, each.type):
            needed = "required" in (mine.presence, each.presence)
            typed = each if mine.type == TypeSpec(kind="any") else mine
            found[each.name] = replace(
                typed, presence="required" if needed else "optional", written="always" if needed else "sometimes"
            )
        elif mine != each:
            return None
    return replace(one, fields=tuple(found.values()))
