"""Reads the fields of JSON Schemas, of drafts 3 to 2020-12.

A JSON Schema declares its version as `"version": "2.1"` beside its `title` or `$id`. What it says with keywords that
are no type, bound or structure (`if`, `not`, `patternProperties`, …) is known by its text alone: a change there is seen
and not judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeGuard, cast

from ..._schemas.fields import (
    Document,
    FieldSpec,
    Kind,
    Scalar,
    SchemaSpec,
    TypeSpec,
    declared,
    dumps,
    reference,
    union,
)
from ..._schemas.fields import digest as _digest

_KINDS: Final[dict[str, Kind]] = {
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
"""What a schema without `type` is about; other types pass it, which is noted as a check."""
_OPAQUE: Final = (
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "patternProperties",
    "propertyNames", "unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "extends",
    "disallow", "$dynamicRef", "$recursiveRef", "contentMediaType", "contentEncoding",
)  # fmt: skip


class Held(NamedTuple):
    """A JSON Schema that a module holds.

    Attributes:
        schema: The schema.
        module: The module's name.
        name: The variable's name.
    """

    schema: dict[str, Any]
    module: str
    name: str


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None) -> Document:
    """The fields of a JSON Schema.

    Args:
        schema: The schema, a validator of it, or one that a module holds.
        digest: Not used: a JSON Schema has no code.

    Raises:
        TypeError: if it is no JSON Schema.
    """
    root: Any = getattr(schema, "schema", schema)
    module = schema.module if isinstance(schema, Held) else None
    if not isinstance(root, (dict, bool)):
        raise TypeError(f"{type(root).__qualname__} is no JSON Schema")
    return _Reader(cast("Any", root), module).document


def name_of(schema: Mapping[str, Any]) -> str | None:
    """`schema.name`: the title, else the id."""
    found = schema.get("title") or schema.get("$id") or schema.get("id")
    return found if isinstance(found, str) else None


def schemas(modules: Iterable[ModuleType]) -> Iterator[Held]:
    """JSON Schemas with a title or id that modules hold as variables, themselves or in a validator."""
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            # By type: a proxy such as Flask's `current_app` raises when it is asked for its class.
            held: Any = value.schema if hasattr(cast("Any", type(value)), "iter_errors") else value
            if not _is_object(held) or id(held) in seen:
                continue
            found = held
            looks = "$schema" in found or "properties" in found or isinstance(found.get("type"), str)
            if looks and name_of(found) is not None:
                seen.add(id(found))
                yield Held(found, module.__name__, name)


def _is_object(value: Any) -> TypeGuard[dict[Any, Any]]:
    return issubclass(type(value), dict)


class _Reader:
    def __init__(self, root: Any, module: str | None) -> None:
        self.root, self.module = root, module
        self.document: Document = {}
        self._refs: dict[str, str] = {}
        facts: dict[str, Any] = cast("dict[str, Any]", root) if isinstance(root, dict) else {}
        name = name_of(facts) or "schema"
        self._refs["#"] = reference(module, name)
        version = declared(facts.get("version"))
        spec = SchemaSpec(name=name, module=module, library="jsonschema", type=TypeSpec(kind="any"), version=version)
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
        if isinstance(found.get("$ref"), str):
            target = self._reference(found["$ref"])
            rest = {key: value for key, value in found.items() if key in _IMPLIED or key in _OPAQUE}
            return replace(target, checks=(*target.checks, _opaque("$ref beside", rest))) if rest else target
        type_ = self._typed(found)
        for each in found.get("allOf", ()):
            type_ = self._both(type_, self.type(each), each)
        for keyword in ("anyOf", "oneOf"):
            if keyword in found:
                type_ = self._one_of(type_, keyword, found[keyword])
        checks = tuple(_opaque(keyword, found[keyword]) for keyword in _OPAQUE if keyword in found)
        if found.get("x-extensible-enum"):
            type_ = replace(type_, open=True)
        return replace(type_, checks=(*type_.checks, *checks)) if checks else type_

    def _typed(self, schema: dict[str, Any]) -> TypeSpec:
        if "const" in schema:
            return _enum([schema["const"]])
        if isinstance(schema.get("enum"), list):
            return _enum(schema["enum"])
        names: Any = schema.get("type")
        if names is None:
            implied = {kind for keyword, kind in _IMPLIED.items() if keyword in schema}
            if len(implied) != 1:
                checks = (
                    (_opaque("untyped", {key: schema[key] for key in _IMPLIED if key in schema}),) if implied else ()
                )
                return TypeSpec(kind="any", checks=checks)
            return replace(self._of(implied.pop(), schema), checks=("untyped",))
        if isinstance(names, str):
            return self._of(names, schema)
        return union([self._of(each, schema) for each in names if isinstance(each, str)])

    def _of(self, name: str, schema: dict[str, Any]) -> TypeSpec:
        kind = _KINDS.get(name)
        if kind is None:  # draft 3's "any"
            return TypeSpec(kind="any")
        if kind == "object":
            return self._object(schema)
        if kind == "list":
            return self._array(schema)
        type_ = TypeSpec(kind=kind)
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
            return replace(
                type_,
                ge=None if low is True else ge,
                gt=ge if low is True else None if low is False else low,
                le=None if high is True else le,
                lt=le if high is True else None if high is False else high,
                multiple_of=schema.get("multipleOf", schema.get("divisibleBy")),
            )
        return type_

    def _object(self, schema: dict[str, Any]) -> TypeSpec:
        properties: dict[str, Any] = schema.get("properties", {})
        required: Any = schema.get("required")
        needed = cast("list[str]", required)[:] if isinstance(required, list) else []
        needed += [name for name, each in properties.items() if _get(each, "required") is True]  # to draft 3
        found: list[FieldSpec] = []
        for name in dict.fromkeys((*properties, *needed)):
            each: Any = properties.get(name, True)
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
        extra: Any = schema.get("additionalProperties", True)
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
        found = union(members)
        if keyword == "oneOf" and not _disjoint(members):
            # Input that fits two members is refused, so more members may mean less input.
            found = replace(found, checks=(*found.checks, _opaque("oneOf", schemas_)))
        return found if type_ == TypeSpec(kind="any") else self._both(type_, found, schemas_)

    def _both(self, one: TypeSpec, other: TypeSpec, text: Any) -> TypeSpec:
        """What both accept, where that can be said as a type; else the second one's text."""
        if one == TypeSpec(kind="any"):
            return other
        first, second = self._resolved(one), self._resolved(other)
        if first.kind == second.kind == "object" and not first.checks and not second.checks:
            merged = _merged(first, second)
            if merged is not None:
                return merged
        return replace(one, checks=(*one.checks, _opaque("allOf", text)))

    def _resolved(self, type_: TypeSpec) -> TypeSpec:
        if type_.kind == "object" and type_.ref is not None:
            spec = self.document.get(type_.ref)
            return spec.type if spec is not None else type_
        return type_

    # -- references

    def _reference(self, ref: str) -> TypeSpec:
        if ref in self._refs:
            return TypeSpec(kind="object", ref=self._refs[ref])
        target = self._target(ref)
        if target is None:
            return TypeSpec(kind="custom", ref=ref)
        name = ref.rpartition("/")[2] or ref
        spec = SchemaSpec(
            name=f"{self._root_name}#{name}", module=self.module, library="jsonschema", type=TypeSpec(kind="any")
        )
        self._refs[ref] = spec.ref
        self.document[spec.ref] = spec
        self.document[spec.ref] = replace(spec, type=self.type(target))
        return TypeSpec(kind="object", ref=spec.ref)

    @property
    def _root_name(self) -> str:
        return next(iter(self.document.values())).name

    def _target(self, ref: str) -> Any:
        if ref.startswith("#/"):
            node: Any = self.root
            for part in ref[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~").replace("%25", "%")
                node = _get(node, key)
                if node is None:
                    return None
            return node
        return _with_id(self.root, ref)


def _get(node: Any, key: str) -> Any:
    if isinstance(node, list):
        items = cast("list[Any]", node)
        return items[int(key)] if key.isdigit() and int(key) < len(items) else None
    return cast("dict[str, Any]", node).get(key) if isinstance(node, dict) else None


def _with_id(node: Any, ref: str) -> Any:
    """The subschema with an id or anchor."""
    pending: list[Any] = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            found = cast("dict[str, Any]", each)
            if ref in (found.get("$id"), found.get("id"), f"#{found.get('$anchor')}"):
                return found
            pending.extend(found.values())
        elif isinstance(each, list):
            pending.extend(cast("list[Any]", each))
    return None


def _enum(values: list[Any]) -> TypeSpec:
    scalars: list[Scalar] = [
        each if isinstance(each, (str, int, float, bool)) else dumps(each) for each in values if each is not None
    ]
    if not scalars:
        return TypeSpec(kind="null")
    return TypeSpec(kind="enum", values=tuple(scalars), nullable=None in values)


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _opaque(keyword: str, value: Any) -> str:
    return f"{keyword}@{_digest(dumps(value))}"


def _disjoint(members: list[TypeSpec]) -> bool:
    kinds = ["number" if each.kind == "integer" else each.kind for each in members]
    return not {"any", "union", "enum", "custom"} & {*kinds} and len({*kinds}) == len(kinds)


def _merged(one: TypeSpec, other: TypeSpec) -> TypeSpec | None:
    """Two objects whose fields differ, or are the same; None where they would have to be combined."""
    if one.extra != other.extra or one.extra == "forbid" or one.extra_type or other.extra_type:
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
