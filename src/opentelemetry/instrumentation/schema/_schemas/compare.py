"""Compares two versions of all schemas: pairs them, and finds what changed for requests and for responses."""

from __future__ import annotations

from .compare_types import TypeComparer
from .fields import Document, SchemaSpec, TypeSpec, reachable, references
from .findings import Comparison, Finding
from .pairing import pair_schemas
from .tables import compare_tables
from .verdicts import DIRECTIONS, PayloadDirection


def compare(old: Document, new: Document) -> Comparison:
    """Compare two documents.

    Schemas are paired by reference, moved ones by their shape or name; tables by name alone.
    """
    (old_apis, old_tables), (new_apis, new_tables) = _parted(old), _parted(new)
    pairs = pair_schemas(old_apis, new_apis)
    findings: list[Finding] = []
    schemas: dict[str, tuple[PayloadDirection, ...]] = {}
    below: dict[str, set[str]] = {}
    for ref, other in sorted(pairs.items()):
        before, after = old_apis[ref], new_apis[other]
        schemas[other] = _directions(before, after)
        below[other] = {pairs.get(each, each) for each in reachable(ref, old_apis)} | {*reachable(other, new_apis)}
        for direction in schemas[other]:
            walk = TypeComparer(old_apis, new_apis, pairs, direction, other)
            if ref != other:
                findings.append(walk.finding("schema-moved", "changed", "", ref, other))
            findings += walk.compare(before.type, after.type, "")
    held = {each for ref, schema in old_apis.items() for each in references(schema.type) if each != ref}
    for ref in sorted(old_apis.keys() - pairs.keys()):
        change = "held" if ref in held else "changed"
        schemas[ref] = _directions(old_apis[ref])
        for direction in schemas[ref]:
            walk = TypeComparer(old_apis, new_apis, pairs, direction, ref)
            findings.append(walk.finding("schema-removed", change, "", ref, ""))
    for ref in sorted(new_apis.keys() - set(pairs.values())):
        schemas[ref] = _directions(new_apis[ref])
        for direction in schemas[ref]:
            walk = TypeComparer(old_apis, new_apis, pairs, direction, ref)
            findings.append(walk.finding("schema-added", "changed", "", "", ref))

    def types(table: str, direction: PayloadDirection, one: TypeSpec, other: TypeSpec, column: str) -> list[Finding]:
        return TypeComparer(old_tables, new_tables, {}, direction, table).compare(one, other, column)

    findings += compare_tables(old_tables, new_tables, types)
    schemas |= dict.fromkeys(old_tables | new_tables, DIRECTIONS)
    return Comparison(findings, schemas, below)


def _parted(document: Document) -> tuple[Document, Document]:
    """Split a document into the schemas of APIs and the tables."""
    tables = {ref: schema for ref, schema in document.items() if schema.library == "sqlalchemy"}
    return {ref: schema for ref, schema in document.items() if ref not in tables}, tables


def _directions(*schemas: SchemaSpec) -> tuple[PayloadDirection, ...]:
    """The directions in which schemas are used; both if one of them does not say."""
    if not all(each.directions for each in schemas):
        return DIRECTIONS
    return tuple(each for each in DIRECTIONS if any(each in schema.directions for schema in schemas))
