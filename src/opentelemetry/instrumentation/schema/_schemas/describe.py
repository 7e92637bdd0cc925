"""Types and bounds in few words, as findings say them."""

from __future__ import annotations

from .fields import FieldSpec, TypeSpec, digest, dumps

_MOST = 8
"""Values of an enum that are spelled out."""


def type_text(type_: TypeSpec) -> str:
    """A type in a few words, without its bounds."""
    text = _kind(type_)
    return f"{text} or null" if type_.nullable else text


def _kind(type_: TypeSpec) -> str:
    if type_.kind == "object":
        return type_.ref.rpartition(":")[2] if type_.ref else "object"
    if type_.kind == "custom":
        return type_.ref or "custom"
    if type_.kind == "enum":
        return values_text(type_.values)
    if type_.kind == "union":
        return " | ".join(sorted(type_text(each) for each in type_.members))
    if type_.kind == "tuple" and type_.prefix:
        return f"tuple of ({', '.join(type_text(each) for each in type_.prefix)})"
    if type_.items is not None:
        return f"{type_.kind} of {type_text(type_.items)}"
    return f"{type_.format} ({type_.kind})" if type_.format else type_.kind


def values_text(values: tuple[object, ...]) -> str:
    """An enum's values; of many, some and a digest of the rest.

    Sorted, since approvals are of this text, and an order means nothing.
    """
    shown = sorted(map(dumps, values), key=_place)
    rest = shown[_MOST:]
    text = " | ".join(shown[:_MOST])
    return f"{text} and {len(rest)} more ({digest(' '.join(rest))[:6]})" if rest else text


def _place(text: str) -> tuple[bool, int, str]:
    """Numbers first, the short ones before the long ones."""
    quoted = text.startswith('"')
    return quoted, 0 if quoted else len(text), text


def range_text(type_: TypeSpec) -> str:
    """`>= 0 and < 10`, or `any`."""
    signs = {">=": type_.ge, ">": type_.gt, "<=": type_.le, "<": type_.lt}
    return " and ".join(f"{sign} {bound}" for sign, bound in signs.items() if bound is not None) or "any"


def length_text(type_: TypeSpec) -> str:
    """`1 to 100`, `at least 1`, `at most 100`, or `any`."""
    if type_.min_length is not None and type_.max_length is not None:
        return f"{type_.min_length} to {type_.max_length}"
    if type_.min_length is not None:
        return f"at least {type_.min_length}"
    return "any" if type_.max_length is None else f"at most {type_.max_length}"


def digits_text(type_: TypeSpec) -> str:
    """`5 digits, 2 of them after the point`."""
    total = "any digits" if type_.max_digits is None else f"{type_.max_digits} digits"
    return total if type_.decimal_places is None else f"{total}, at most {type_.decimal_places} after the point"


def field_text(field: FieldSpec) -> str:
    """A field's type and presence."""
    text = type_text(field.type)
    if field.presence == "default":
        return f"{text}, default {field.default}"
    return f"{text}, {field.presence}" if field.presence != "never" else f"{text}, only written"


def column_text(field: FieldSpec) -> str:
    """A column as its table declares it."""
    column = field.column
    if column is None:
        return field_text(field)
    parts = [column.sql, "" if field.type.nullable else "NOT NULL"]
    if column.server_default is not None:
        parts.append(f"DEFAULT {column.server_default}")
    if column.generated is not None:
        parts.append(column.generated)
    return " ".join(filter(None, parts))


def moment_text(type_: TypeSpec) -> str:
    """What a datetime must have."""
    return " and ".join(filter(None, (type_.timezone, type_.precision))) or "any"


def value_text(value: object) -> str:
    """A value, or `none`."""
    return "none" if value is None else str(value)


def finite_text(type_: TypeSpec) -> str:
    """Whether infinity and NaN pass."""
    return "finite numbers" if type_.finite else "infinity and NaN too"


def unique_text(type_: TypeSpec) -> str:
    """Whether items may repeat."""
    return "items must differ" if type_.unique else "items may repeat"


def strict_text(type_: TypeSpec) -> str:
    """Whether values are converted to the type."""
    return "no conversion" if type_.strict else "conversion"


def conversion_text(type_: TypeSpec) -> str:
    """How a text is converted before it is checked."""
    return ", ".join(filter(None, ("stripped" if type_.strip else "", type_.case or ""))) or "as it is"


def code_text(codes: tuple[str, ...]) -> str:
    """Names of validators or serializers."""
    return ", ".join(codes) or "none"
