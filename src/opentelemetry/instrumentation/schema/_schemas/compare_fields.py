"""Compares the fields of two objects: added, removed and renamed ones, and their types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import describe
from .fields import FieldSpec, TypeSpec, without_null
from .findings import Finding
from .pairing import pair_fields, wire_name
from .verdicts import ChangeVerdict, PayloadDirection, field_verdict, verdict, worst


class FieldComparer:
    """Compares fields, in one direction.

    Args:
        direction: `request` or `response`.
        report: Makes a finding of a rule, a path, the old and the new text, and a verdict.
        types: Compares two types.
    """

    def __init__(
        self,
        direction: PayloadDirection,
        report: Callable[[str, str, str, str, ChangeVerdict], Finding],
        types: Callable[[TypeSpec, TypeSpec, str], list[Finding]],
    ) -> None:
        self._direction: PayloadDirection = direction
        self._report, self._types = report, types

    def _changed(self, rule: str, change: str, path: str, old: str, new: str) -> Finding:
        return self._report(rule, path, old, new, verdict(rule, change, self._direction))

    def compare(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        pairs, removed, added = pair_fields(old.fields, new.fields, self._direction)
        found: list[Finding] = []
        for one, other in pairs:
            found += self._field(one, other, old, new, below(path, wire_name(other, self._direction)))
        for each in (each for each in removed if not _is_refused(each)):
            found_verdict = self._removed(each, old, new)
            at = below(path, wire_name(each, self._direction))
            found.append(self._report("field-removed", at, describe.field_text(each), "", found_verdict))
        for each in (each for each in added if not _is_refused(each)):
            found_verdict = self._added(each, old)
            at = below(path, wire_name(each, self._direction))
            found.append(self._report("field-added", at, "", describe.field_text(each), found_verdict))
        found += self._refused([each for each in removed if _is_refused(each)], "widened", new, path)
        found += self._refused([each for each in added if _is_refused(each)], "narrowed", old, path)
        return found + self._extra(old, new, path)

    def _refused(self, fields: list[FieldSpec], change: str, other: TypeSpec, path: str) -> list[Finding]:
        """Report keys that one version refuses by name, where the other one takes them as undeclared keys."""
        texts = ("any key", "refused") if change == "narrowed" else ("refused", "any key")
        at = (below(path, wire_name(each, self._direction)) for each in fields if other.extra != "forbid")
        return [self._changed("type", change, each, *texts) for each in at]

    def _added(self, field_: FieldSpec, old: TypeSpec) -> ChangeVerdict:
        if self._direction == "response" and old.extra_type is not None and not self._fits(old.extra_type, field_.type):
            return verdict("extra-type", "widened", "response")
        return field_verdict("field-added", self._direction, old.extra or "ignore", _presence(field_))

    def _removed(self, field_: FieldSpec, old: TypeSpec, new: TypeSpec, gone: tuple[str, ...] = ()) -> ChangeVerdict:
        decides = new if self._direction == "request" else old
        if self._direction == "request":
            if any(self._taken(name, field_, each) for name in gone or field_.inputs for each in new.fields):
                return verdict("name-taken", "changed", "request")
            if new.extra_type is not None and not self._fits(field_.type, new.extra_type):
                return verdict("extra-type", "narrowed", "request")
        return field_verdict("field-removed", self._direction, decides.extra or "ignore", _presence(field_))

    def _taken(self, name: str, old: FieldSpec, new: FieldSpec) -> bool:
        """Whether another field now reads a key, and refuses the values that clients send under it."""
        if new.presence == "never":
            return False
        if name in new.inputs:
            return not self._fits(old.type, new.type)
        # `name` may be a path: then clients send an object or a list under its first key.
        above = any(name.startswith(f"{each}.") for each in new.inputs)
        return above and without_null(new.type).kind not in ("any", "object", "map", "list", "union")

    def _fits(self, type_: TypeSpec, other: TypeSpec) -> bool:
        return not may_break(self._types(type_, other, ""))

    def _field(self, one: FieldSpec, other: FieldSpec, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        found = self._renamed(one, other, old, new, path)
        texts = describe.field_text(one), describe.field_text(other)
        if self._direction == "request":
            if (one.presence == "required") != (other.presence == "required"):
                rule = "field-required" if other.presence == "required" else "field-optional"
                found.append(self._changed(rule, "changed", path, *texts))
            elif one.default != other.default and None not in (one.default, other.default):
                found.append(self._changed("default", "changed", path, str(one.default), str(other.default)))
        elif one.written == "always" and other.written == "sometimes":
            found.append(self._changed("field-may-be-absent", "changed", path, *texts))
        if self._direction == "response":  # `x: int = None` writes null
            types = [replace(each.type, nullable=each.type.nullable or each.default == "null") for each in (one, other)]
            return found + self._types(types[0], types[1], path)
        return found + self._types(one.type, other.type, path)

    def _renamed(self, one: FieldSpec, other: FieldSpec, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        """Report a field whose name on the wire changed as one finding, not as one removed and one added."""
        if self._direction == "request":
            gone = [name for name in one.inputs if name not in other.inputs]
            if not gone:
                return []
            if other.presence == "required":
                found = field_verdict("field-added", "request", old.extra or "ignore", "required")
            else:
                found = self._removed(one, old, new, tuple(gone))
            rule = "field-renamed" if len(gone) == len(one.inputs) else "name-removed"
            return [self._report(rule, path, " or ".join(gone), " or ".join(other.inputs), found)]
        if one.output == other.output:
            return []
        verdicts = [
            self._removed(one, old, new),
            self._added(other, old),
        ]
        level = worst([each.level for each in verdicts])
        found = next(each for each in verdicts if each.level == level)
        return [self._report("field-renamed", path, one.output, other.output, found)]

    def _extra(self, old: TypeSpec, new: TypeSpec, path: str) -> list[Finding]:
        one, other = old.extra or "ignore", new.extra or "ignore"
        found: list[Finding] = []
        if one != other:
            change = f"{one}-to-{other}"
            if other == "forbid":
                change = "to-forbid"
            elif one == "ignore":
                change = "to-allow"
            found.append(self._changed("extra", change, path, one, other))
        elif old.extra_type != new.extra_type:
            anything = TypeSpec(kind="any")
            found += self._types(old.extra_type or anything, new.extra_type or anything, below(path, "*"))
        return found


def may_break(findings: list[Finding]) -> bool:
    """Whether a finding breaks clients, or may."""
    return any(each.level in ("breaking", "unknown") for each in findings)


def below(path: str, name: str) -> str:
    """The path of a field or item inside an object or list."""
    return f"{path}.{name}" if path else name


def _presence(field_: FieldSpec) -> str:
    """The presence for the table of verdicts; for a field that is only written: `required` if it is always written."""
    if field_.presence == "never":
        return "required" if field_.written == "always" else "optional"
    return field_.presence


def _is_refused(field_: FieldSpec) -> bool:
    """Whether a schema names a key to refuse it."""
    return field_.type == TypeSpec(kind="never") and field_.presence == "optional"
