"""The fingerprint of a schema: the same for the same shape on every machine, Python and library version.

The canonical form leaves out facts that do not matter to clients: names of classes, and the order of fields, union
members and enum values. Named schemas are numbered in the order of first mention, so that a recursive
schema has a finite form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .fields import DEFAULTS, FieldSpec, SchemaSpec, TypeSpec, as_data, digest, dumps


def fingerprint(schema: SchemaSpec, document: Mapping[str, SchemaSpec]) -> str:
    """The fingerprint of a schema together with the schemas that it holds.

    Args:
        schema: The schema.
        document: The schemas that it refers to; a missing one counts by its name.
    """
    return digest(canonical(schema, document))


def version(schema: SchemaSpec, document: Mapping[str, SchemaSpec]) -> tuple[str, str]:
    """`schema.version` and `schema.fingerprint`: the version as declared, else the fingerprint."""
    found = fingerprint(schema, document)
    return schema.version or found, found


def canonical(schema: SchemaSpec, document: Mapping[str, SchemaSpec]) -> str:
    """The canonical text whose digest is the fingerprint."""
    form = _Canonical(document)
    form.numbers[schema.ref] = 0
    return dumps([form.schema(schema), list(schema.constraints)])


class _Canonical:
    def __init__(self, document: Mapping[str, SchemaSpec]) -> None:
        self.document = document
        self.numbers: dict[str, int] = {}

    def schema(self, schema: SchemaSpec) -> Any:
        return self.type(schema.type)

    def type(self, type_: TypeSpec) -> Any:
        data: dict[str, Any] = {}
        for name, default in _PLAIN:
            value = getattr(type_, name)
            if value is not default and value != default:
                data[name] = value
        if type_.values:
            data["values"] = sorted(dumps(value) for value in type_.values)
        for name in ("items", "keys", "extra_type"):
            inner: TypeSpec | None = getattr(type_, name)
            if inner is not None:
                data[name] = self.type(inner)
        if type_.kind == "object":
            data["fields"] = self.reference(type_.ref) if type_.ref is not None else self.fields(type_.fields)
        elif type_.ref is not None:
            data["ref"] = type_.ref
        if type_.names and type_.kind == "tuple":
            data["names"] = list(type_.names)
        if type_.prefix:
            data["prefix"] = [self.type(each) for each in type_.prefix]
        if type_.members:
            data["members"] = [self.type(each) for each in sorted(type_.members, key=_member_key)]
        return data

    def reference(self, ref: str) -> Any:
        schema = self.document.get(ref)
        if schema is None:
            return ref
        number = self.numbers.get(ref)
        if number is not None:
            return number
        number = self.numbers[ref] = len(self.numbers)
        return [number, self.schema(schema)]

    def fields(self, fields: tuple[FieldSpec, ...]) -> Any:
        return [self.field(each) for each in sorted(fields, key=lambda field: field.name)]

    def field(self, field: FieldSpec) -> Any:
        data: dict[str, Any] = {"type": self.type(field.type)}
        for name, default in _FIELD:
            value = getattr(field, name)
            if value is not default and value != default:
                data[name] = as_data(value) if name == "column" else value
        return data


_PLAIN: Final = tuple(
    (name, default)
    for name, default in DEFAULTS[TypeSpec]
    if name not in ("ref", "fields", "extra_type", "items", "keys", "prefix", "members", "values", "names")
)


_FIELD: Final = tuple((name, default) for name, default in DEFAULTS[FieldSpec] if name != "type")


def _member_key(member: TypeSpec) -> str:
    return dumps([member.kind, member.ref or "", as_data(member)])
