"""Compares two types with their fields, members and bounds. The table in `verdicts` says what each change means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from . import bounds, describe
from .bounds import Change
from .compare_fields import FieldComparer, below, may_break
from .compare_values import contains, enum_change
from .fields import SchemaSpec, TypeKind, TypeSpec, union, without_null
from .findings import Finding
from .pairing import pair_members
from .verdicts import DIRECTIONS, ChangeVerdict, PayloadDirection, verdict

_INCLUDED: Final[dict[tuple[str, str], tuple[PayloadDirection, ...]]] = {
    ("integer", "number"): DIRECTIONS,
    ("uuid", "string"): DIRECTIONS,
    ("date", "datetime"): ("request",),  # written with a time, which a date refuses
}
"""Pairs of kinds: the second accepts every value of the first, in these directions. (integer, decimal) is none, since
true is an integer."""
_NO_TEXTS: Final = {"boolean", "date", "time", "datetime", "duration"}
"""Kinds whose format is a way of writing values, not a restriction."""
_CONVERTED: Final = {"integer", "number", "boolean", *_NO_TEXTS}
"""Kinds to which a JSON value of another type may be converted."""
_NUMBERS: Final = {"fraction", "ip", "ip-interface", "ip-network"}
"""Formats of Pydantic's that are read from a number as well, strict or not."""
_ARRAYS: Final = {"list", "set", "tuple"}


class TypeComparer:
    """Compares two versions of one schema, in one direction.

    Args:
        old: All schemas of the old version, by reference.
        new: All schemas of the new version, by reference.
        pairs: Reference of an old schema → reference of the new one.
        direction: `request` or `response`.
        schema: The reference that findings name.
    """

    def __init__(
        self,
        old: Mapping[str, SchemaSpec],
        new: Mapping[str, SchemaSpec],
        pairs: Mapping[str, str],
        direction: PayloadDirection,
        schema: str,
    ) -> None:
        self.old, self.new, self.pairs = old, new, pairs
        self.direction: PayloadDirection = direction
        self.schema = schema
        self.active: set[tuple[str | None, str | None]] = set()
        self._fields = FieldComparer(direction, self._finding, self.compare)

    def finding(self, rule: str, change: str, path: str, old: str, new: str) -> Finding:
        """Make a finding with the verdict on a change."""
        return self._finding(rule, path, old, new, verdict(rule, change, self.direction))

    def _finding(self, rule: str, path: str, old: str, new: str, found: ChangeVerdict) -> Finding:
        return Finding(
            rule=rule,
            schema=self.schema,
            direction=self.direction,
            path=path,
            old=old,
            new=new,
            level=found.level,
            why=found.why,
        )

    # -- types

    def compare(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Find the changes between two types."""
        key = old.ref, new.ref
        paired = self._paired(old, new)
        named = old.kind == new.kind == "object" and None not in key
        if not paired and not (named and key in self.active):
            one, other = self._seen_through(old, self.old), self._seen_through(new, self.new)
            if one is not old or other is not new:
                self.active |= {key} if named else set()
                return self.compare(one, other, path)
        found: list[Finding] = []
        if "any" in (old.kind, new.kind):
            if old.kind != new.kind:
                change: Change = "narrowed" if old.kind == "any" else "widened"
                found.append(self._type(change, path, old, new))
            return found + self._code(old, new, path)
        nullable = [each.nullable or each.kind == "null" for each in (old, new)]
        change_ = bounds.flag(not nullable[0], not nullable[1])
        if change_ is not None:
            texts = ["null is accepted" if each else "null is refused" for each in nullable]
            found.append(self.finding("null", change_, path, *texts))
        one, other = without_null(old), without_null(new)
        if "union" in (one.kind, other.kind):
            return found + self._unions(one, other, path)
        return found + self._single(one, other, path)

    def _type(self, change: Change, path: str, old: TypeSpec, new: TypeSpec) -> Finding:
        return self.finding("type", change, path, describe.type_text(old), describe.type_text(new))

    def _single(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        if old.kind == "object" and new.kind == "object":
            return self._objects(old, new, path)
        if old.kind == new.kind == "list":
            old, new = bounds.closed(old), bounds.closed(new)
        if old.kind == new.kind:
            if old.kind == "enum":
                return self._enums(old, new, path) + self._code(old, new, path)
            if old.kind == "custom" and old.ref != new.ref:
                return [self._type("changed", path, old, new)]
            return self._bounds(old, new, path) + self._inner(old, new, path) + self._code(old, new, path)
        for nothing in ("null", "never"):  # of null it is said as `null` too
            if nothing in (old.kind, new.kind):
                return [self._type("widened" if old.kind == nothing else "narrowed", path, old, new)]
        sets = "set" in (old.kind, new.kind)
        if {old.kind, new.kind} <= _ARRAYS and not (sets and (old.prefix or new.prefix)):
            return self._arrays(old, new, path)
        if "enum" in (old.kind, new.kind):
            return [self._type(enum_change(old, new), path, old, new)] + self._code(old, new, path)
        ways: tuple[tuple[TypeSpec, TypeSpec, Change], ...] = ((old, new, "widened"), (new, old, "narrowed"))
        for one, other, change in ways:
            strict = other.kind == "datetime" and other.strict and other is new  # which reads no date
            if self.direction in _INCLUDED.get((one.kind, other.kind), ()) and not strict:
                return [
                    self._type(change, path, old, new),
                    *self._bounds(_as(old, new.kind), _as(new, new.kind), path),
                    *self._code(old, new, path),
                ]
        return [self._type("changed", path, old, new)]

    def _arrays(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Lists, sets and tuples of any length: all are read from an array; a set counts and writes each item once."""
        old, new = bounds.closed(old), bounds.closed(new)
        limits = {old.min_length, old.max_length, new.min_length, new.max_length}
        if self.direction == "request" and "set" in (old.kind, new.kind) and limits != {None}:
            return [self._type("changed", path, old, new)]
        one, other = (replace(each, kind="list", unique=each.unique or each.kind == "set") for each in (old, new))
        if self.direction == "request":
            one, other = replace(one, unique=old.unique), replace(other, unique=new.unique)
        return self._bounds(one, other, path) + self._inner(one, other, path) + self._code(old, new, path)

    def _bounds(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        if old == new:
            return []
        found: list[tuple[str, Change | None, str, str]] = [
            ("range", bounds.numbers(old, new), describe.range_text(old), describe.range_text(new)),
            ("length", bounds.length(old, new), describe.length_text(old), describe.length_text(new)),
            ("digits", bounds.digits(old, new), describe.digits_text(old), describe.digits_text(new)),
            (
                "multiple",
                bounds.multiple(old.multiple_of, new.multiple_of),
                describe.value_text(old.multiple_of),
                describe.value_text(new.multiple_of),
            ),
            (
                "pattern",
                bounds.one_of(old.pattern, new.pattern),
                describe.value_text(old.pattern),
                describe.value_text(new.pattern),
            ),
            (
                "format",
                bounds.formats(old.format, new.format, texts=old.kind not in _NO_TEXTS),
                describe.value_text(old.format),
                describe.value_text(new.format),
            ),
            ("timezone", bounds.moments(old, new), describe.moment_text(old), describe.moment_text(new)),
            ("finite", bounds.flag(old.finite, new.finite), describe.finite_text(old), describe.finite_text(new)),
            ("unique", bounds.flag(old.unique, new.unique), describe.unique_text(old), describe.unique_text(new)),
        ]
        findings = [self.finding(rule, change, path, *texts) for rule, change, *texts in found if change is not None]
        if self.direction == "request":  # these two concern inputs only
            strict = bounds.flag(old.strict, new.strict) if old.kind in _CONVERTED else None
            if strict is not None:
                findings.append(
                    self.finding("strict", strict, path, describe.strict_text(old), describe.strict_text(new))
                )
            numbers = [self._reads_numbers(each) for each in (old, new)]
            change = bounds.flag(not numbers[0], not numbers[1])
            if change is not None:
                words = ["numbers too" if each else "texts only" for each in numbers]
                findings.append(self.finding("strict", change, path, *words))
            if (old.strip, old.case) != (new.strip, new.case):
                shortens = new.strip and old.case == new.case
                checked = any((new.min_length, new.pattern)) or (not shortens and new.max_length)
                change = "changed" if checked else "unchecked"
                findings.append(
                    self.finding(
                        "conversion", change, path, describe.conversion_text(old), describe.conversion_text(new)
                    )
                )
        return findings

    def _reads_numbers(self, type_: TypeSpec) -> bool:
        """Whether a text may be sent as a number: Pydantic's addresses and fractions."""
        schema = self.new.get(self.schema)
        if type_.kind != "string" or schema is None or schema.library != "pydantic":
            return False
        format_ = type_.format or ""
        return format_ in _NUMBERS or (format_.startswith(("ipv4", "ipv6")) and not type_.strict)

    def _inner(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Compare items, keys and values."""
        found: list[Finding] = []
        anything = TypeSpec(kind="any")
        rests = bounds.rest(old), bounds.rest(new)
        for number, (one, other) in enumerate(zip_longest(old.prefix, new.prefix)):
            found += self.compare(one or rests[0], other or rests[1], below(path, str(number)))
        if old.names != new.names and self.direction == "request" and old.names:
            texts = (", ".join(each.names) or "none" for each in (old, new))
            found.append(self.finding("item-names", "changed", path, *texts))
        most = (old if self.direction == "request" else new).max_length
        if rests[0] != rests[1] and (most is None or most > max(len(old.prefix), len(new.prefix))):
            found += self.compare(*rests, below(path, "*"))
        if old.keys != new.keys:
            found += self._keys(old.keys or anything, new.keys or anything, below(path, "(key)"))
        return found

    def _keys(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Compare the keys of two maps. In JSON, each key is a text."""
        text = TypeSpec(kind="string")
        old, new = (text if each == TypeSpec(kind="any") else each for each in (old, new))
        if text in (old, new):
            code = self._code(old, new, path)
            return [self._type("widened" if new == text else "narrowed", path, old, new), *code] if old != new else []
        return self.compare(old, new, path)

    def _enums(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        removed = tuple(value for value in old.values if not contains(new.values, value))
        added = tuple(value for value in new.values if not contains(old.values, value))
        found = self._converted(old, new, path)
        if removed and not (new.open and self.direction == "request"):
            found.append(self.finding("enum", "narrowed", path, describe.values_text(removed), ""))
        if added:
            change = "widened-open" if old.open else "widened"
            found.append(self.finding("enum", change, path, "", describe.values_text(added)))
        return found

    def _converted(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Compare the conversion of a value before the look-up in an enum: some enums accept `"1"` for 1."""
        if old.items is not None and new.items is not None:
            return self.compare(old.items, new.items, path)
        converts = [each.items is not None and not each.items.strict for each in (old, new)]
        change = bounds.flag(not converts[0], not converts[1])
        if change is None or self.direction == "response":
            return []
        texts = ["conversion" if each else "no conversion" for each in converts]
        return [self.finding("strict", change, path, *texts)]

    def _code(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        found: list[Finding] = []
        if old.checks != new.checks:
            found.append(
                self.finding("code", "changed", path, describe.code_text(old.checks), describe.code_text(new.checks))
            )
        if old.serializers != new.serializers:
            texts = describe.code_text(old.serializers), describe.code_text(new.serializers)
            found.append(self.finding("serializer", "changed", path, *texts))
        return found

    def _unions(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        found = self._code(old, new, path)
        olds, news = self._both_members(old, new)
        reads = new.discriminator if self.direction == "request" else old.discriminator
        if old.discriminator != new.discriminator and reads is not None:
            texts = describe.value_text(old.discriminator), describe.value_text(new.discriminator)
            if any(":" in each for each in texts):
                found.append(self.finding("code", "changed", path, *texts))
            else:
                safe = self._tagged(olds, news, old.discriminator, new.discriminator)
                found.append(self.finding("discriminator", "safe" if safe else "changed", path, *texts))
        pairs, removed, added = pair_members(olds, news, self.old, self.new, self.pairs)
        for one, other in pairs:
            inner = self.compare(one, other, path)
            # A changed member does no harm if another member accepts the same values.
            sent, readers = (one, news) if self.direction == "request" else (other, olds)
            if may_break(inner) and self._accepted(sent, readers, path):
                inner = [each for each in inner if each.level not in ("breaking", "unknown")]
            found += inner
        for member in removed:
            if self.direction == "response" or not self._accepted(member, news, path):
                found.append(self.finding("union", "narrowed", path, describe.type_text(member), ""))
        for member in added:
            if self.direction == "request" or not self._accepted(member, olds, path):
                found.append(self.finding("union", "widened", path, "", describe.type_text(member)))
        return found

    def _accepted(self, member: TypeSpec, others: Iterable[TypeSpec], path: str) -> bool:
        """Whether a member of the other union accepts all of a member, or of an enum each value."""
        parts = [replace(member, values=(each,), names=()) for each in member.values] if member.kind == "enum" else []
        for part in parts or [member]:
            pairs = ((part, each) if self.direction == "request" else (each, part) for each in others)
            if all(may_break(self.compare(one, other, path)) for one, other in pairs):
                return False
        return True

    def _both_members(self, old: TypeSpec, new: TypeSpec) -> Iterator[tuple[TypeSpec, ...]]:
        """The members of two unions; a named schema becomes its members if the other union has no version of it."""
        sides = [each.members if each.kind == "union" else (each,) for each in (old, new)]
        pairs = {(each.ref, self.pairs[each.ref]) for each in sides[0] if each.ref in self.pairs and each.ref}
        kept = {(one, other) for one, other in pairs if any(each.ref == other for each in sides[1])}
        for number, (members, document) in enumerate(zip(sides, (self.old, self.new), strict=True)):
            stay = {pair[number] for pair in kept}
            plain = union([each if each.ref in stay else self._seen_through(each, document) for each in members])
            yield plain.members if plain.kind == "union" else (without_null(plain),)

    def _tagged(self, olds: Iterable[TypeSpec], news: Iterable[TypeSpec], old: str | None, new: str | None) -> bool:
        """Whether every member that is sent has the field by which the reader selects a member."""
        members, name, document = (olds, new, self.old) if self.direction == "request" else (news, old, self.new)
        for member in members:
            resolved = self._resolved(member, document)
            tags = [each for each in resolved.fields if each.name == name] if resolved is not None else []
            sent = [
                each.presence == "required" if self.direction == "request" else each.written == "always"
                for each in tags
            ]
            if sent != [True]:
                return False
        return True

    # -- objects

    def _objects(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        if self._paired(old, new):
            return self._code(old, new, path)  # the schema itself reports what changed inside
        key = old.ref, new.ref
        if old.ref is not None and key in self.active:
            return []
        one, other = self._resolved(old, self.old), self._resolved(new, self.new)
        if one is None or other is None:
            return [] if old.ref == new.ref else [self._type("changed", path, old, new)]
        if one.kind != other.kind:
            return [self._type("changed", path, old, new)]
        self.active.add(key)
        try:
            return (
                self._fields.compare(one, other, path) + self._bounds(one, other, path) + self._code(one, other, path)
            )
        finally:
            self.active.discard(key)

    def _paired(self, old: TypeSpec, new: TypeSpec) -> bool:
        """Whether both are versions of one named schema."""
        return old.ref is not None and old.ref in self.pairs and self.pairs[old.ref] == new.ref

    def _seen_through(self, type_: TypeSpec, document: Mapping[str, SchemaSpec]) -> TypeSpec:
        """Replace a named schema that is not an object by its type."""
        seen: set[str] = set()
        while type_.kind == "object" and type_.ref is not None:
            if type_.ref in seen:  # a reference to itself alone
                return TypeSpec(kind="custom", ref=type_.ref)
            seen.add(type_.ref)
            held = self._resolved(type_, document)
            if held is None or (held.kind == "object" and held.ref is None):
                break
            type_ = replace(
                held,
                nullable=held.nullable or type_.nullable,
                checks=held.checks + type_.checks,
                serializers=held.serializers + type_.serializers,
            )
        return type_

    def _resolved(self, type_: TypeSpec, document: Mapping[str, SchemaSpec]) -> TypeSpec | None:
        if type_.ref is None:
            return type_
        schema = document.get(type_.ref)
        return schema.type if schema is not None else None


def _as(type_: TypeSpec, kind: TypeKind) -> TypeSpec:
    """A type with the kind by which we compare it; an integer stays finite also when compared as a decimal."""
    finite = type_.finite or type_.kind == "integer"
    return replace(bounds.whole(type_), kind=kind, finite=finite)
