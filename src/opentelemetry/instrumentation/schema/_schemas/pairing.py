"""Pairs schemas, fields and union members of the old version with those of the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final

from .fields import FieldSpec, SchemaSpec, TypeSpec
from .verdicts import PayloadDirection
from .versions import fingerprint

_ALIKE: Final = 0.6
"""Least ratio of difflib at which two names count as similar."""


def pair_schemas(old: Mapping[str, SchemaSpec], new: Mapping[str, SchemaSpec]) -> dict[str, str]:
    """Map old references to new ones: to the same reference, else by name, else by shape."""
    pairs = {ref: ref for ref in old if ref in new}
    gone = [ref for ref in old if ref not in pairs]
    come = [ref for ref in new if ref not in old]
    for ref in gone[:]:
        named = [each for each in come if new[each].name == old[ref].name and new[each].library == old[ref].library]
        if len(named) == 1:
            pairs[ref] = named[0]
            gone.remove(ref)
            come.remove(named[0])
    if not gone or not come:
        return pairs
    shapes: dict[str, list[str]] = {}
    for ref in come:
        shapes.setdefault(fingerprint(new[ref], new), []).append(ref)
    for ref in gone:
        same = shapes.get(fingerprint(old[ref], old), [])
        if len(same) == 1 and old[ref].fields:
            pairs[ref] = same.pop()
    return pairs


def wire_name(field: FieldSpec, direction: PayloadDirection) -> str:
    """The name of a field in JSON, which clients use."""
    return field.inputs[0] if direction == "request" else field.output


FieldPairs = tuple[list[tuple[FieldSpec, FieldSpec]], list[FieldSpec], list[FieldSpec]]
"""Pairs, removed fields, added fields."""


def pair_fields(old: Sequence[FieldSpec], new: Sequence[FieldSpec], direction: PayloadDirection) -> FieldPairs:
    """Pair fields by their name in JSON, else by their name in Python, else as renamed."""
    request = direction == "request"
    olds = [each for each in old if (each.presence if request else each.written) != "never"]
    news = [each for each in new if (each.presence if request else each.written) != "never"]
    pairs: dict[int, FieldSpec] = {}

    def match(by: Mapping[str, FieldSpec], names: Sequence[str]) -> FieldSpec | None:
        return next((by[name] for name in names if name in by), None)

    rest = list(news)
    for keyed in (_wire_names(direction), _python_names):
        by = {name: each for each in reversed(rest) for name in reversed(keyed(each))}
        for number, each in enumerate(olds):
            other = None if number in pairs else match(by, keyed(each))
            if other is not None and other in rest:
                pairs[number] = other
                rest.remove(other)
    for number, each in enumerate(olds):
        if number not in pairs:
            renamed = _renamed(each, number, olds, rest, news)
            if renamed is not None:
                pairs[number] = renamed
                rest.remove(renamed)
    matched = [(each, pairs[number]) for number, each in enumerate(olds) if number in pairs]
    return matched, [each for number, each in enumerate(olds) if number not in pairs], rest


def _wire_names(direction: PayloadDirection) -> Callable[[FieldSpec], tuple[str, ...]]:
    def names(field: FieldSpec) -> tuple[str, ...]:
        return field.inputs if direction == "request" else (field.output,)

    return names


def _python_names(field: FieldSpec) -> tuple[str, ...]:
    return (field.name,)


def _renamed(
    field: FieldSpec, number: int, olds: Sequence[FieldSpec], rest: Sequence[FieldSpec], news: Sequence[FieldSpec]
) -> FieldSpec | None:
    """Find the new name of a field: a new field of the same type, in the same position or with a similar name."""
    same = [each for each in rest if each.type == field.type and each.type.kind != "any"]
    for each in same:
        before_old = olds[number - 1].name if number else None
        place = news.index(each)
        before_new = news[place - 1].name if place else None
        if place == number and len(olds) == len(news):
            return each
        if before_old == before_new and SequenceMatcher(None, field.name, each.name).ratio() >= _ALIKE:
            return each
    alike = [each for each in same if SequenceMatcher(None, field.name, each.name).ratio() >= _ALIKE]
    return alike[0] if len(alike) == 1 else None


MemberPairs = tuple[list[tuple[TypeSpec, TypeSpec]], list[TypeSpec], list[TypeSpec]]


def pair_members(
    old: Sequence[TypeSpec],
    new: Sequence[TypeSpec],
    olds: Mapping[str, SchemaSpec],
    news: Mapping[str, SchemaSpec],
    pairs: Mapping[str, str],
) -> MemberPairs:
    """Pair the members of two unions: by schema, by tag, by type."""
    rest_old, rest_new = list(old), list(new)
    found: list[tuple[TypeSpec, TypeSpec]] = []

    def take(same: Callable[[TypeSpec, TypeSpec], bool]) -> None:
        for one in rest_old[:]:
            other = next((each for each in rest_new if same(one, each)), None)
            if other is not None:
                found.append((one, other))
                rest_old.remove(one)
                rest_new.remove(other)

    take(lambda one, other: one == other)
    take(lambda one, other: one.ref is not None and pairs.get(one.ref) == other.ref)
    take(lambda one, other: bool(tags := _tags(one, olds)) and tags == _tags(other, news))
    take(lambda one, other: one.kind == other.kind and one.kind not in ("object", "custom"))
    objects = [each for each in rest_old if each.kind == "object"], [each for each in rest_new if each.kind == "object"]
    if len(objects[0]) == len(objects[1]) == 1 and len(old) == len(new):
        take(lambda one, other: one.kind == other.kind == "object")
    return found, rest_old, rest_new


def _tags(type_: TypeSpec, document: Mapping[str, SchemaSpec]) -> tuple[tuple[str, object], ...]:
    """The tags of an object: fields with one possible value."""
    if type_.ref is not None and type_.ref in document:
        type_ = document[type_.ref].type
    return tuple(
        (each.name, each.type.values[0])
        for each in type_.fields
        if each.type.kind == "enum" and len(each.type.values) == 1
    )
