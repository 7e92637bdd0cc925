"""What each kind of change means for clients, as one table; docs and tests read it too.

A request change is breaking if the new schema refuses an input that the old one accepts. A response change is breaking
if a client that reads with the old schema refuses, or misses, what the new schema writes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

PayloadDirection = Literal["request", "response"]
DIRECTIONS: Final[tuple[PayloadDirection, ...]] = ("request", "response")

Level = Literal["breaking", "unknown", "warning", "compatible"]
"""`unknown` cannot be judged: code decides. A `warning` breaks nobody's call, but data or meaning is lost."""

LEVELS: Final[tuple[Level, ...]] = ("breaking", "unknown", "warning", "compatible")
"""The worst first."""


class ChangeVerdict(NamedTuple):
    """One cell of the table.

    Attributes:
        level: What the change means.
        why: One sentence that says what happens to whom.
    """

    level: Level
    why: str


_LOST = "The new schema drops the key without an error: values that clients still send are lost."
_KEPT = "The new schema keeps the key as an undeclared key, without validating its value."
_REFUSED = "The new schema refuses undeclared keys, so it refuses clients that still send this key."
_MISSING = "Clients do not send the field yet, so the new schema refuses their requests."
_MISSED = "Clients of the old schema rely on the field and no longer get it."
_READ_FORBID = "A client that reads with the old schema refuses undeclared keys."
_READ_OPEN = "Clients of the old schema ignore keys that they do not know."
_NARROWER = "The new schema refuses values that the old one accepts."
_WIDER = "The new schema accepts all that the old one accepts."
_WRITES_MORE = "The new schema writes values that clients of the old one do not accept."
_WRITES_LESS = "The new schema writes only values that clients of the old one accept."
_CODE = "Custom code decides which values are accepted. diff cannot judge code: review it."

REQUEST_FIELDS: Final[dict[tuple[str, str, str], ChangeVerdict]] = {
    # rule, extra of the schema that decides, presence of the field
    **{
        ("field-added", extra, presence): verdict
        for extra in ("ignore", "allow", "forbid")
        for presence, verdict in {
            "required": ChangeVerdict("breaking", _MISSING),
            "default": ChangeVerdict("compatible", "Clients that do not send the field get the default."),
            "optional": ChangeVerdict("compatible", "Clients do not have to send the field."),
        }.items()
    },
    # Undeclared keys were kept, so clients may use this one already: compatible by decree, and said.
    **{
        ("field-added", "allow", presence): ChangeVerdict(
            "warning",
            "The old schema kept undeclared keys: the new one may refuse a client that already sends this key.",
        )
        for presence in ("default", "optional")
    },
    **{
        ("field-removed", extra, presence): verdict
        for presence in ("required", "default", "optional")
        for extra, verdict in {
            "ignore": ChangeVerdict("warning", _LOST),
            "allow": ChangeVerdict("warning", _KEPT),
            "forbid": ChangeVerdict("breaking", _REFUSED),
        }.items()
    },
}
"""Fields that came or went, in requests. What was added is judged by the old schema's `extra`, what was removed by the
new one's."""

RESPONSE_FIELDS: Final[dict[tuple[str, str, str], ChangeVerdict]] = {
    **{
        ("field-added", extra, presence): verdict
        for presence in ("required", "default", "optional")
        for extra, verdict in {
            "ignore": ChangeVerdict("compatible", _READ_OPEN),
            "allow": ChangeVerdict("compatible", _READ_OPEN),
            "forbid": ChangeVerdict("breaking", _READ_FORBID),
        }.items()
    },
    **{
        ("field-removed", extra, presence): verdict
        for extra in ("ignore", "allow", "forbid")
        for presence, verdict in {
            "required": ChangeVerdict("breaking", _MISSED),
            "default": ChangeVerdict("breaking", _MISSED),
            "optional": ChangeVerdict(
                "warning", "The field was optional, so clients must handle responses without it. Now it is never there."
            ),
        }.items()
    },
}
"""The same in responses, judged by the old schema's `extra`: it is what clients read with."""

_EITHER: Final = {
    "narrowed": (ChangeVerdict("breaking", _NARROWER), ChangeVerdict("compatible", _WRITES_LESS)),
    "widened": (ChangeVerdict("compatible", _WIDER), ChangeVerdict("breaking", _WRITES_MORE)),
    "changed": (ChangeVerdict("breaking", _NARROWER), ChangeVerdict("breaking", _WRITES_MORE)),
}

CONSTRAINTS: Final = {
    "type": "the type",
    "null": "whether null is accepted",
    "enum": "the values of an enum",
    "range": "bounds of a number, date or duration",
    "multiple": "what a number must be a multiple of",
    "digits": "digits of a decimal",
    "length": "the least or greatest length",
    "pattern": "the regular expression",
    "format": "the format, such as email",
    "timezone": "whether a datetime must or must not have a time zone, or lie in the past",
    "finite": "whether infinity and NaN are accepted",
    "unique": "whether items must differ",
    "strict": "whether values are converted to the type",
    "union": "the members of a union",
    "extra-type": "what undeclared keys must hold",
}
"""Rules that say which values are accepted. All are judged alike: narrowed, widened, or neither (changed)."""

OTHERS: Final[dict[tuple[str, str], tuple[ChangeVerdict, ChangeVerdict]]] = {
    **{(rule, change): verdicts for rule in CONSTRAINTS for change, verdicts in _EITHER.items()},
    ("enum", "widened-open"): (
        ChangeVerdict("compatible", _WIDER),
        ChangeVerdict("compatible", "The old schema announces that values may be added (x-extensible-enum)."),
    ),
    ("field-required", "changed"): (
        ChangeVerdict("breaking", "The new schema refuses requests without the field."),
        ChangeVerdict("compatible", "Responses contain the field as before."),
    ),
    ("field-optional", "changed"): (
        ChangeVerdict("compatible", "Clients may now leave the field out."),
        ChangeVerdict("compatible", "Responses still always contain the field."),
    ),
    ("field-may-be-absent", "changed"): (
        ChangeVerdict("compatible", "Clients may now leave the field out."),
        ChangeVerdict("breaking", "Clients of the old schema rely on the field, and responses may now lack it."),
    ),
    ("default", "changed"): (
        ChangeVerdict("warning", "If a client leaves the field out, the app now gets another value."),
        ChangeVerdict("compatible", "Clients already accept the value of the new default."),
    ),
    ("discriminator", "changed"): (
        ChangeVerdict(
            "breaking", "Another field selects the member of the union: the new schema refuses inputs without it."
        ),
        ChangeVerdict("breaking", "Clients select the member of the union by a field that may now be missing."),
    ),
    ("discriminator", "safe"): (
        ChangeVerdict("compatible", "Every input that the old schema accepts also contains the new field."),
        ChangeVerdict("compatible", "Responses still contain the field by which clients select the member."),
    ),
    ("extra", "to-forbid"): (
        ChangeVerdict("breaking", "Clients could send undeclared keys until now. The new schema refuses them."),
        ChangeVerdict("compatible", "Responses contain no additional keys."),
    ),
    ("extra", "to-allow"): (
        ChangeVerdict("compatible", "The new schema keeps undeclared keys."),
        ChangeVerdict("compatible", "Responses may contain undeclared keys. " + _READ_OPEN),
    ),
    ("extra", "forbid-to-allow"): (
        ChangeVerdict("compatible", "The new schema keeps undeclared keys."),
        ChangeVerdict("breaking", "Responses may contain undeclared keys. " + _READ_FORBID),
    ),
    ("extra", "forbid-to-ignore"): (
        ChangeVerdict("compatible", "The new schema accepts undeclared keys and drops them."),
        ChangeVerdict("compatible", "Responses contain no additional keys."),
    ),
    ("extra", "allow-to-ignore"): (
        ChangeVerdict("warning", "The old schema kept undeclared keys. The new one drops them without an error."),
        ChangeVerdict("warning", "Responses no longer contain undeclared keys."),
    ),
    ("conversion", "changed"): (
        ChangeVerdict("breaking", "Texts are converted differently before validation, so other texts are refused."),
        ChangeVerdict("compatible", "Values in responses keep their type and bounds."),
    ),
    ("conversion", "unchecked"): (
        ChangeVerdict("warning", "Texts are converted differently, so the app may get other values than before."),
        ChangeVerdict("compatible", "Values in responses keep their type and bounds."),
    ),
    ("name-taken", "changed"): (
        ChangeVerdict(
            "breaking", "Another field now reads this key, and refuses the values that clients send under it."
        ),
        ChangeVerdict("compatible", "The change concerns only requests."),
    ),
    ("item-names", "changed"): (
        ChangeVerdict("breaking", "Clients may send the items as an object with the old keys."),
        ChangeVerdict("compatible", "Responses contain a list."),
    ),
    ("code", "changed"): (ChangeVerdict("unknown", _CODE), ChangeVerdict("unknown", _CODE)),
    ("serializer", "changed"): (
        ChangeVerdict("compatible", "The change concerns only responses."),
        ChangeVerdict("unknown", "Custom code decides what responses contain. diff cannot judge code: review it."),
    ),
    ("schema-added", "changed"): (
        ChangeVerdict("compatible", "No client uses the schema yet."),
        ChangeVerdict("compatible", "No client uses the schema yet."),
    ),
    ("schema-removed", "changed"): (
        ChangeVerdict("breaking", "Clients may still send data of this schema."),
        ChangeVerdict("breaking", "Clients may still expect data of this schema."),
    ),
    ("schema-removed", "held"): (
        ChangeVerdict("warning", "It was part of other schemas. See the findings of those schemas."),
        ChangeVerdict("warning", "It was part of other schemas. See the findings of those schemas."),
    ),
    ("schema-moved", "changed"): (
        ChangeVerdict("compatible", "Only the schema's name changed."),
        ChangeVerdict("compatible", "Only the schema's name changed."),
    ),
}
"""Everything else: (rule, change) → verdict of the request, verdict of the response."""


_OLD_CODE = "Until the deployment ends, old code "

_OTHER_TYPE: Final = "diff cannot tell which values the other type holds: check it."
TABLES: Final[dict[tuple[str, str], tuple[ChangeVerdict, ChangeVerdict]]] = {
    ("table-added", "changed"): (
        ChangeVerdict("compatible", "No code uses the table yet."),
        ChangeVerdict("compatible", "No code uses the table yet."),
    ),
    ("table-removed", "changed"): (
        ChangeVerdict("breaking", _OLD_CODE + "writes to the table."),
        ChangeVerdict("breaking", _OLD_CODE + "reads from the table."),
    ),
    ("column-added", "filled"): (
        ChangeVerdict("compatible", "Old code leaves the column out, and the database fills it."),
        ChangeVerdict("compatible", "Old code reads only the columns that it knows."),
    ),
    ("column-added", "required"): (
        ChangeVerdict("breaking", _OLD_CODE + "leaves the column out, and the database has no default for it."),
        ChangeVerdict("compatible", "Old code reads only the columns that it knows."),
    ),
    ("column-removed", "written"): (
        ChangeVerdict("breaking", _OLD_CODE + "names the column in each INSERT."),
        ChangeVerdict("breaking", _OLD_CODE + "names the column in each SELECT."),
    ),
    ("column-removed", "generated"): (
        ChangeVerdict("compatible", "Old code does not write the column."),
        ChangeVerdict("breaking", _OLD_CODE + "names the column in each SELECT."),
    ),
    ("column-required", "changed"): (
        ChangeVerdict("breaking", _OLD_CODE + "may leave the column out, and the database no longer fills it."),
        ChangeVerdict("compatible", "Old code reads the column as before."),
    ),
    ("column-generated", "to"): (
        ChangeVerdict("breaking", _OLD_CODE + "writes the column, and the database refuses that."),
        ChangeVerdict("compatible", "Old code reads the column as before."),
    ),
    ("column-generated", "from"): (
        ChangeVerdict(
            "unknown",
            "Old code leaves the column out. Check what the database writes then: the table does not show it.",
        ),
        ChangeVerdict("compatible", "Old code reads the column as before."),
    ),
    ("column-default", "changed"): (
        ChangeVerdict("warning", "If old code leaves the column out, the database now fills in another value."),
        ChangeVerdict("compatible", "Old code reads the column as before."),
    ),
    ("column-default", "computed"): (
        ChangeVerdict("compatible", "Old code does not write the column."),
        ChangeVerdict("warning", "The database now computes other values."),
    ),
    ("column-type", "other"): (
        ChangeVerdict("unknown", _OTHER_TYPE),
        ChangeVerdict("unknown", _OTHER_TYPE),
    ),
    ("column-type", "wider"): (
        ChangeVerdict("compatible", _WIDER),
        ChangeVerdict("compatible", "Old code can also read longer texts and larger numbers."),
    ),
    ("column-type", "nullable"): (
        ChangeVerdict("compatible", _WIDER),
        ChangeVerdict("warning", "Old code may read null, which it never read before."),
    ),
    ("constraint-added", "outside"): (
        ChangeVerdict(
            "compatible",
            "Old code does not know a column of the constraint and writes null there, which the constraint allows.",
        ),
        ChangeVerdict("compatible", "The change concerns only writes."),
    ),
    ("constraint-added", "changed"): (
        ChangeVerdict(
            "unknown", "Old code may write rows that the constraint refuses. diff cannot judge that: review it."
        ),
        ChangeVerdict("compatible", "The change concerns only writes."),
    ),
    ("constraint-removed", "changed"): (
        ChangeVerdict("compatible", "The table accepts all rows that it accepted before."),
        ChangeVerdict("warning", "Old code may read rows that the constraint used to prevent."),
    ),
}
"""Tables, for code of the old version: what it writes, what it reads. Types are judged as above, but for two."""


def field_verdict(rule: str, direction: PayloadDirection, extra: str, presence: str) -> ChangeVerdict:
    """The verdict on a field that was added or removed."""
    table = REQUEST_FIELDS if direction == "request" else RESPONSE_FIELDS
    return table[rule, extra, presence]


def verdict(rule: str, change: str, direction: PayloadDirection) -> ChangeVerdict:
    """The verdict on any other change."""
    return OTHERS[rule, change][0 if direction == "request" else 1]


def worst(levels: list[Level]) -> Level:
    """The worst of some levels; `compatible` if there are none."""
    return min([*levels, "compatible"], key=LEVELS.index)
