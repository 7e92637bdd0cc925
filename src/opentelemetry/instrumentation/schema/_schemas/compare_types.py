"""Compares two types, and what they hold: fields, members, bounds.

What a change means is not decided here but looked up in `verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from . import bounds, describe
from .bounds import Change
from .fields import FieldSpec, Kind, SchemaSpec, TypeSpec, without_null
from .findings import Finding
from .pairing import name_of, pair_fields, pair_members
from .verdicts import DIRECTIONS, Direction, Verdict, field_verdict, verdict, worst

_INCLUDED: Final[dict[tuple[str, str], tuple[Direction, ...]]] = {
    ("integer", "number"): DIRECTIONS,
    ("uuid", "string"): DIRECTIONS,
    ("date", "datetime"): ("request",),  # written with a time, which a date refuses
}
"""Kinds whose every value another kind accepts, by direction. Not (integer, decimal): true is an integer."""


class Walk:
    """Compares two versions of one schema, in one direction.

    Args:
        old: All schemas of the old version, by reference.
        new: Those of the new one.
        pairs: Which new schema an old one has become.
        direction: `request` or `response`.
        schema: The reference that findings name.
    """

    def __init__(
        self,
        old: Mapping[str, SchemaSpec],
        new: Mapping[str, SchemaSpec],
        pairs: Mapping[str, str],
        direction: Direction,
        schema: str,
    ) -> None:
        self.old, self.new, self.pairs = old, new, pairs
        self.direction: Direction = direction
        self.schema = schema
        self.active: set[tuple[str | None, str | None]] = set()

    def finding(self, rule: str, change: str, path: str, old: str, new: str) -> Finding:
        """What the table of verdicts says of a change."""
        return self._finding(rule, path, old, new, verdict(rule, change, self.direction))

    def _finding(self, rule: str, path: str, old: str, new: str, found: Verdict) -> Finding:
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

    def types(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """What changed between two types."""
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
        if old.kind == new.kind:
            if old.kind == "enum":
                return self._enums(old, new, path) + self._code(old, new, path)
            if old.kind == "custom" and old.ref != new.ref:
                return [self._type("changed", path, old, new)]
            return self._bounds(old, new, path) + self._inner(old, new, path) + self._code(old, new, path)
        if "null" in (old.kind, new.kind):  # said as `null`
            rest = new if old.kind == "null" else old
            return [self._type("widened" if rest is new else "narrowed", path, old, new)]
        if "enum" in (old.kind, new.kind):
            return [self._type(_enum_change(old, new), path, old, new)] + self._code(old, new, path)
        ways: tuple[tuple[TypeSpec, TypeSpec, Change], ...] = ((old, new, "widened"), (new, old, "narrowed"))
        for one, other, change in ways:
            if self.direction in _INCLUDED.get((one.kind, other.kind), ()):
                return [
                    self._type(change, path, old, new),
                    *self._bounds(_as(old, new.kind), _as(new, new.kind), path),
                    *self._code(old, new, path),
                ]
        return [self._type("changed", path, old, new)]

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
                bounds.one_of(old.format, new.format),
                describe.value_text(old.format),
                describe.value_text(new.format),
            ),
            ("timezone", _moments(old, new), describe.moment_text(old), describe.moment_text(new)),
            ("finite", bounds.flag(old.finite, new.finite), describe.finite_text(old), describe.finite_text(new)),
            ("unique", bounds.flag(old.unique, new.unique), describe.unique_text(old), describe.unique_text(new)),
        ]
        findings = [self.finding(rule, change, path, *texts) for rule, change, *texts in found if change is not None]
        if self.direction == "request":  # these two are about inputs alone
            strict = bounds.flag(old.strict, new.strict)
            if strict is not None:
                findings.append(
                    self.finding("strict", strict, path, describe.strict_text(old), describe.strict_text(new))
                )
            if (old.strip, old.case) != (new.strip, new.case):
                checked = any((new.min_length, new.max_length, new.pattern))
                change = "changed" if checked else "unchecked"
                findings.append(
                    self.finding(
                        "conversion", change, path, describe.conversion_text(old), describe.conversion_text(new)
                    )
                )
        return findings

    def _inner(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Items, keys and values."""
        found: list[Finding] = []
        if len(old.prefix) != len(new.prefix):
            return [self._type("changed", path, old, new)]
        for number, (one, other) in enumerate(zip(old.prefix, new.prefix, strict=True)):
            found += self.types(one, other, _below(path, str(number)))
        anything = TypeSpec(kind="any")
        if old.items != new.items:
            found += self.types(old.items or anything, new.items or anything, _below(path, "*"))
        if old.keys != new.keys:
            found += self.types(old.keys or anything, new.keys or anything, _below(path, "(key)"))
        return found

    def _enums(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        removed = tuple(value for value in old.values if not _holds(new.values, value))
        added = tuple(value for value in new.values if not _holds(old.values, value))
        found: list[Finding] = []
        if removed and not (new.open and self.direction == "request"):
            found.append(self.finding("enum", "narrowed", path, describe.values_text(removed), ""))
        if added:
            change = "widened-open" if old.open else "widened"
            found.append(self.finding("enum", change, path, "", describe.values_text(added)))
        return found

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
        olds, news = (each.members if each.kind == "union" else (each,) for each in (old, new))
        if old.discriminator != new.discriminator and None not in (old.discriminator, new.discriminator):
            safe = self._tagged(olds, news, old.discriminator, new.discriminator)
            texts = describe.value_text(old.discriminator), describe.value_text(new.discriminator)
            found.append(self.finding("discriminator", "safe" if safe else "changed", path, *texts))
        pairs, removed, added = pair_members(olds, news, self.old, self.new, self.pairs)
        for one, other in pairs:
            inner = self.types(one, other, path)
            # A member that changed does no harm where another one takes its place.
            if _broken(inner) and self._replaced(one, other, olds, news, path):
                inner = [each for each in inner if each.level not in ("breaking", "unknown")]
            found += inner
        for member in removed:
            if self.direction == "response" or not any(not _broken(self.types(member, each, path)) for each in news):
                found.append(self.finding("union", "narrowed", path, describe.type_text(member), ""))
        for member in added:
            if self.direction == "request" or not any(not _broken(self.types(each, member, path)) for each in olds):
                found.append(self.finding("union", "widened", path, "", describe.type_text(member)))
        return found

    def _tagged(self, olds: Iterable[TypeSpec], news: Iterable[TypeSpec], old: str | None, new: str | None) -> bool:
        """Whether every member that is sent holds the field by which the reader chooses."""
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

    def _replaced(
        self, one: TypeSpec, other: TypeSpec, olds: Iterable[TypeSpec], news: Iterable[TypeSpec], path: str
    ) -> bool:
        if self.direction == "request":
            return any(each is not other and not _broken(self.types(one, each, path)) for each in news)
        return any(each is not one and not _broken(self.types(each, other, path)) for each in olds)

    # -- objects

    def _objects(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        if old.ref is not None and self.pairs.get(old.ref) == new.ref:
            return self._code(old, new, path)  # what changed inside is said of the schema itself
        key = old.ref, new.ref
        if old.ref is not None and key in self.active:
            return []
        one, other = self._resolved(old, self.old), self._resolved(new, self.new)
        if one is None or other is None:
            return [] if old.ref == new.ref else [self._type("changed", path, old, new)]
        if "object" not in (one.kind, other.kind):  # a named schema of something else
            return self.types(one, other, path)
        if one.kind != other.kind:
            return [self._type("changed", path, old, new)]
        self.active.add(key)
        try:
            return self._members(one, other, path) + self._bounds(one, other, path) + self._code(one, other, path)
        finally:
            self.active.discard(key)

    def _resolved(self, type_: TypeSpec, document: Mapping[str, SchemaSpec]) -> TypeSpec | None:
        if type_.ref is None:
            return type_
        schema = document.get(type_.ref)
        return schema.type if schema is not None else None

    def _members(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        pairs, removed, added = pair_fields(old.fields, new.fields, self.direction)
        found: list[Finding] = []
        for one, other in pairs:
            found += self._field(one, other, old, new, _below(path, name_of(other, self.direction)))
        for each in removed:
            found_verdict = self._removed(each, old, new)
            at = _below(path, name_of(each, self.direction))
            found.append(self._finding("field-removed", at, describe.field_text(each), "", found_verdict))
        for each in added:
            found_verdict = field_verdict("field-added", self.direction, old.extra or "ignore", _presence(each))
            at = _below(path, name_of(each, self.direction))
            found.append(self._finding("field-added", at, "", describe.field_text(each), found_verdict))
        return found + self._extra(old, new, path)

    def _removed(self, field_: FieldSpec, old: TypeSpec, new: TypeSpec) -> Verdict:
        decides = new if self.direction == "request" else old
        if self.direction == "request" and new.extra_type is not None and not self._fits(field_.type, new.extra_type):
            return verdict("extra-type", "narrowed", "request")
        return field_verdict("field-removed", self.direction, decides.extra or "ignore", _presence(field_))

    def _fits(self, type_: TypeSpec, other: TypeSpec) -> bool:
        return not _broken(self.types(type_, other, ""))

    def _field(self, one: FieldSpec, other: FieldSpec, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        found = self._renamed(one, other, old, new, path)
        texts = describe.field_text(one), describe.field_text(other)
        if self.direction == "request":
            if (one.presence == "required") != (other.presence == "required"):
                rule = "field-required" if other.presence == "required" else "field-optional"
                found.append(self.finding(rule, "changed", path, *texts))
            elif one.default != other.default and None not in (one.default, other.default):
                found.append(self.finding("default", "changed", path, str(one.default), str(other.default)))
        elif one.written == "always" and other.written == "sometimes":
            found.append(self.finding("field-may-be-absent", "changed", path, *texts))
        return found + self.types(one.type, other.type, path)

    def _renamed(self, one: FieldSpec, other: FieldSpec, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """A field whose name on the wire changed: one finding for what went and what came."""
        if self.direction == "request":
            gone = [name for name in one.inputs if name not in other.inputs]
            if not gone:
                return []
            if other.presence == "required":
                found = field_verdict("field-added", "request", old.extra or "ignore", "required")
            else:
                found = self._removed(one, old, new)
            rule = "field-renamed" if len(gone) == len(one.inputs) else "name-removed"
            return [self._finding(rule, path, " or ".join(gone), " or ".join(other.inputs), found)]
        if one.output == other.output:
            return []
        verdicts = [
            self._removed(one, old, new),
            field_verdict("field-added", "response", old.extra or "ignore", _presence(other)),
        ]
        level = worst([each.level for each in verdicts])
        found = next(each for each in verdicts if each.level == level)
        return [self._finding("field-renamed", path, one.output, other.output, found)]

    def _extra(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        one, other = old.extra or "ignore", new.extra or "ignore"
        found: list[Finding] = []
        if one != other:
            change = f"{one}-to-{other}"
            if other == "forbid":
                change = "to-forbid"
            elif one == "ignore":
                change = "to-allow"
            found.append(self.finding("extra", change, path, one, other))
        elif old.extra_type != new.extra_type:
            anything = TypeSpec(kind="any")
            found += self.types(old.extra_type or anything, new.extra_type or anything, _below(path, "*"))
        return found


def _as(type_: TypeSpec, kind: Kind) -> TypeSpec:
    """A type with the kind that it is compared as: integers are finite, and so are the decimals they are read as."""
    finite = type_.finite or type_.kind == "integer"
    return replace(type_, kind=kind, finite=finite)


def _broken(findings: list[Finding]) -> bool:
    return any(each.level in ("breaking", "unknown") for each in findings)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _presence(field_: FieldSpec) -> str:
    """The column of the verdicts' table; what is only written counts by whether it always is."""
    if field_.presence == "never":
        return "required" if field_.written == "always" else "optional"
    return field_.presence


def _holds(values: tuple[object, ...], value: object) -> bool:
    return any(type(each) is type(value) and each == value for each in values)


def _enum_change(old: TypeSpec, new: TypeSpec) -> Change:
    """From values to a type that holds them all, or from a type to some of its values."""
    enum, type_ = (old, new) if old.kind == "enum" else (new, old)
    kinds = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}.get(type_.kind, ())
    bounded = replace(type_, strict=False, strip=False, open=False) != TypeSpec(kind=type_.kind)
    fit = all(isinstance(each, kinds) and (type_.kind == "boolean") == isinstance(each, bool) for each in enum.values)
    if not kinds or not fit or (bounded and not _fit(enum, type_)):
        return "changed"
    return "widened" if enum is old else "narrowed"


def _fit(enum: TypeSpec, type_: TypeSpec) -> bool:
    """Whether every value keeps the bounds, as far as that can be told."""
    if replace(type_, min_length=None, max_length=None, strict=False, strip=False) != TypeSpec(kind=type_.kind):
        return False
    longest = max((len(str(each)) for each in enum.values), default=0)
    shortest = min((len(str(each)) for each in enum.values), default=0)
    return (type_.max_length is None or longest <= type_.max_length) and shortest >= (type_.min_length or 0)


def _moments(old: TypeSpec, new: TypeSpec) -> Change | None:
    return bounds.combine([bounds.one_of(old.timezone, new.timezone), bounds.one_of(old.precision, new.precision)])
