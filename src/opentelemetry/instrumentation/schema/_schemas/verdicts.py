"""What each kind of change means for clients, as one table; docs and tests read it too.

A request change is breaking if the new schema refuses an input that the old one accepts. A response change is breaking
if a client that reads with the old schema refuses, or misses, what the new schema writes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Direction = Literal["request", "response"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("request", "response")

Level = Literal["breaking", "unknown", "warning", "compatible"]
"""`unknown` cannot be judged: code decides. A `warning` breaks nobody's call, but data or meaning is lost."""

LEVELS: Final[tuple[Level, ...]] = ("breaking", "unknown", "warning", "compatible")
"""The worst first."""


class Verdict(NamedTuple):
    """One cell of the table.

    Attributes:
        level: What the change means.
        why: One sentence that says what happens to whom.
    """

    level: Level
    why: str


_LOST = "The new schema drops the key without an error: values that clients still send are lost."
_KEPT = "The new schema keeps the key unchecked among the undeclared ones."
_REFUSED = "The new schema refuses undeclared keys, so it refuses clients that still send this one."
_MISSING = "Clients do not send it yet, so the new schema refuses them."
_MISSED = "Clients of the old schema rely on it and no longer get it."
_READ_FORBID = "A client that reads with the old schema refuses undeclared keys."
_READ_OPEN = "Clients of the old schema pass over keys that they do not know."
_NARROWER = "The new schema refuses values that the old one accepts."
_WIDER = "The new schema accepts all that the old one accepts."
_WRITES_MORE = "The new schema writes values that clients of the old one do not accept."
_WRITES_LESS = "The new schema writes only values that clients of the old one accept."
_CODE = "Code decides here; whether it accepts the same cannot be told from the schema."

REQUEST_FIELDS: Final[dict[tuple[str, str, str], Verdict]] = {
    # rule, extra of the schema that decides, presence of the field
    **{
        ("field-added", extra, presence): verdict
        for extra in ("ignore", "allow", "forbid")
        for presence, verdict in {
            "required": Verdict("breaking", _MISSING),
            "default": Verdict("compatible", "Clients that do not send it get the default."),
            "optional": Verdict("compatible", "Clients need not send it."),
        }.items()
    },
    # Undeclared keys were kept, so clients may use this one already: compatible by decree, and said.
    **{
        ("field-added", "allow", presence): Verdict(
            "warning", "Undeclared keys were kept: a client that uses this key already may now be refused."
        )
        for presence in ("default", "optional")
    },
    **{
        ("field-removed", extra, presence): verdict
        for presence in ("required", "default", "optional")
        for extra, verdict in {
            "ignore": Verdict("warning", _LOST),
            "allow": Verdict("warning", _KEPT),
            "forbid": Verdict("breaking", _REFUSED),
        }.items()
    },
}
"""Fields that came or went, in requests. What was added is judged by the old schema's `extra`, what was removed by the
new one's."""

RESPONSE_FIELDS: Final[dict[tuple[str, str, str], Verdict]] = {
    **{
        ("field-added", extra, presence): verdict
        for presence in ("required", "default", "optional")
        for extra, verdict in {
            "ignore": Verdict("compatible", _READ_OPEN),
            "allow": Verdict("compatible", _READ_OPEN),
            "forbid": Verdict("breaking", _READ_FORBID),
        }.items()
    },
    **{
        ("field-removed", extra, presence): verdict
        for extra in ("ignore", "allow", "forbid")
        for presence, verdict in {
            "required": Verdict("breaking", _MISSED),
            "default": Verdict("breaking", _MISSED),
            "optional": Verdict("warning", "Clients had to expect it to be absent or null; now it always is."),
        }.items()
    },
}
"""The same in responses, judged by the old schema's `extra`: it is what clients read with."""

_EITHER: Final = {
    "narrowed": (Verdict("breaking", _NARROWER), Verdict("compatible", _WRITES_LESS)),
    "widened": (Verdict("compatible", _WIDER), Verdict("breaking", _WRITES_MORE)),
    "changed": (Verdict("breaking", _NARROWER), Verdict("breaking", _WRITES_MORE)),
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

OTHERS: Final[dict[tuple[str, str], tuple[Verdict, Verdict]]] = {
    **{(rule, change): verdicts for rule in CONSTRAINTS for change, verdicts in _EITHER.items()},
    ("enum", "widened-open"): (
        Verdict("compatible", _WIDER),
        Verdict("compatible", "The old schema says that further values will come (x-extensible-enum)."),
    ),
    ("field-required", "changed"): (
        Verdict("breaking", "Clients that leave it out are refused."),
        Verdict("compatible", "It is written as before."),
    ),
    ("field-optional", "changed"): (
        Verdict("compatible", "Clients may leave it out from now on."),
        Verdict("compatible", "It is still written each time."),
    ),
    ("field-may-be-absent", "changed"): (
        Verdict("compatible", "Clients may leave it out from now on."),
        Verdict("breaking", "Clients of the old schema get it each time and rely on it."),
    ),
    ("default", "changed"): (
        Verdict("warning", "Clients that leave it out get another value than before."),
        Verdict("compatible", "The default is one of the values that clients accept."),
    ),
    ("discriminator", "changed"): (
        Verdict("breaking", "Another field chooses the member: inputs without it are refused."),
        Verdict("breaking", "Clients choose the member by a field that may be missing."),
    ),
    ("discriminator", "safe"): (
        Verdict("compatible", "Every input that was accepted holds the new field too."),
        Verdict("compatible", "The field that clients choose the member by is still written."),
    ),
    ("extra", "to-forbid"): (
        Verdict("breaking", "The new schema refuses undeclared keys that clients could send so far."),
        Verdict("compatible", "Nothing more is written."),
    ),
    ("extra", "to-allow"): (
        Verdict("compatible", "Undeclared keys are kept from now on."),
        Verdict("compatible", "Undeclared keys may be written; " + _READ_OPEN[0].lower() + _READ_OPEN[1:]),
    ),
    ("extra", "forbid-to-allow"): (
        Verdict("compatible", "Undeclared keys are kept from now on."),
        Verdict("breaking", "Undeclared keys may be written. " + _READ_FORBID),
    ),
    ("extra", "forbid-to-ignore"): (
        Verdict("compatible", "Undeclared keys are accepted from now on, and dropped."),
        Verdict("compatible", "Nothing more is written."),
    ),
    ("extra", "allow-to-ignore"): (
        Verdict("warning", "Undeclared keys that were kept are dropped without an error."),
        Verdict("warning", "Undeclared keys that were written are no longer."),
    ),
    ("conversion", "changed"): (
        Verdict("breaking", "Texts are converted in another way before they are checked, so other texts are refused."),
        Verdict("compatible", "What is written keeps its type and bounds."),
    ),
    ("conversion", "unchecked"): (
        Verdict("warning", "Texts are converted in another way: the application gets other values than before."),
        Verdict("compatible", "What is written keeps its type and bounds."),
    ),
    ("name-taken", "changed"): (
        Verdict("breaking", "Another field reads this key now, and refuses what clients send under it."),
        Verdict("compatible", "It concerns inputs."),
    ),
    ("item-names", "changed"): (
        Verdict("breaking", "Clients may send the items as an object, with these keys."),
        Verdict("compatible", "A list is written."),
    ),
    ("code", "changed"): (Verdict("unknown", _CODE), Verdict("unknown", _CODE)),
    ("serializer", "changed"): (
        Verdict("compatible", "It concerns what is written."),
        Verdict("unknown", "Code decides what is written; whether clients accept it cannot be told from the schema."),
    ),
    ("schema-added", "changed"): (
        Verdict("compatible", "Nobody uses it yet."),
        Verdict("compatible", "Nobody uses it yet."),
    ),
    ("schema-removed", "changed"): (
        Verdict("breaking", "Clients that send it are no longer served by it."),
        Verdict("breaking", "Clients that read it no longer get it."),
    ),
    ("schema-removed", "held"): (
        Verdict("warning", "It was part of other schemas; what that changes is said of them."),
        Verdict("warning", "It was part of other schemas; what that changes is said of them."),
    ),
    ("schema-moved", "changed"): (
        Verdict("compatible", "Only its name changed."),
        Verdict("compatible", "Only its name changed."),
    ),
}
"""Everything else: (rule, change) → verdict of the request, verdict of the response."""


_OLD_CODE = "Code of the old version, which runs until the deployment has ended, "

TABLES: Final[dict[tuple[str, str], tuple[Verdict, Verdict]]] = {
    ("table-added", "changed"): (
        Verdict("compatible", "Nobody uses it yet."),
        Verdict("compatible", "Nobody uses it yet."),
    ),
    ("table-removed", "changed"): (
        Verdict("breaking", _OLD_CODE + "still writes to it."),
        Verdict("breaking", _OLD_CODE + "still reads from it."),
    ),
    ("column-added", "filled"): (
        Verdict("compatible", "The database fills it where old code leaves it out."),
        Verdict("compatible", "Old code names the columns that it reads."),
    ),
    ("column-added", "required"): (
        Verdict("breaking", _OLD_CODE + "leaves it out, and the database has no default for it."),
        Verdict("compatible", "Old code names the columns that it reads."),
    ),
    ("column-removed", "written"): (
        Verdict("breaking", _OLD_CODE + "names it in each INSERT."),
        Verdict("breaking", _OLD_CODE + "names it in each SELECT."),
    ),
    ("column-removed", "generated"): (
        Verdict("compatible", "Old code does not write it."),
        Verdict("breaking", _OLD_CODE + "names it in each SELECT."),
    ),
    ("column-required", "changed"): (
        Verdict("breaking", _OLD_CODE + "may leave it out, and the database no longer fills it."),
        Verdict("compatible", "It is read as before."),
    ),
    ("column-generated", "to"): (
        Verdict("breaking", _OLD_CODE + "writes it, and the database refuses that."),
        Verdict("compatible", "It is read as before."),
    ),
    ("column-generated", "from"): (
        Verdict("unknown", "Old code leaves it out; what the database does then cannot be told from the table."),
        Verdict("compatible", "It is read as before."),
    ),
    ("column-type", "wider"): (
        Verdict("compatible", _WIDER),
        Verdict("compatible", "Old code reads longer texts and larger numbers as it reads the others."),
    ),
    ("column-type", "nullable"): (
        Verdict("compatible", _WIDER),
        Verdict("warning", "Old code may read null where it never was."),
    ),
    ("constraint-added", "outside"): (
        Verdict("compatible", "Old code does not know a column of it, and so writes null there: such rows keep it."),
        Verdict("compatible", "Nothing that is read changes."),
    ),
    ("constraint-added", "changed"): (
        Verdict("unknown", "Whether all that old code writes keeps it cannot be told from the table."),
        Verdict("compatible", "It concerns what is written."),
    ),
    ("constraint-removed", "changed"): (
        Verdict("compatible", "More may be written than before."),
        Verdict("warning", "Old code may rely on it for what it reads."),
    ),
}
"""Tables, for code of the old version: what it writes, what it reads. Types are judged as above, but for two."""


def field_verdict(rule: str, direction: Direction, extra: str, presence: str) -> Verdict:
    """The verdict on a field that was added or removed."""
    table = REQUEST_FIELDS if direction == "request" else RESPONSE_FIELDS
    return table[rule, extra, presence]


def verdict(rule: str, change: str, direction: Direction) -> Verdict:
    """The verdict on any other change."""
    return OTHERS[rule, change][0 if direction == "request" else 1]


def worst(levels: list[Level]) -> Level:
    """The worst of some levels, `compatible` of none."""
    return min([*levels, "compatible"], key=LEVELS.index)
