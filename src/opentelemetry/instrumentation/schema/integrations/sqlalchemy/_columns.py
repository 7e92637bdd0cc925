"""Reads the types of columns: which values they hold, and which code converts these."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false
from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Final, cast

from sqlalchemy import types as t

from ..._schemas.fields import Scalar, TypeKind, TypeSpec

_KINDS: Final[tuple[tuple[Any, TypeKind], ...]] = (
    (t.Boolean, "boolean"),
    (t.Integer, "integer"),
    (t.Float, "number"),
    (t.Numeric, "decimal"),
    (t.LargeBinary, "bytes"),
    (t._Binary, "bytes"),  # pyright: ignore[reportPrivateUsage]
    (t.DateTime, "datetime"),
    (t.Date, "date"),
    (t.Time, "time"),
    (t.Interval, "duration"),
    (t.JSON, "any"),
    (t.String, "string"),
)
_INTEGERS: Final = ((t.SmallInteger, 16), (t.BigInteger, 64), (t.Integer, 32))
_LONGEST: Final = 500
"""Characters of an expression."""


def members(type_: Any) -> tuple[Scalar, ...]:
    """The values of the members whose names, or whatever `values_callable` says, are an enum's labels."""
    type_ = getattr(type_, "item_type", type_)  # of an array
    cls: Any = getattr(type_, "enum_class", None)
    objects: Any = getattr(type_, "_valid_lookup", None)
    if cls is None or not isinstance(objects, dict):
        return ()
    by_label = {label: member.value for member, label in objects.items() if isinstance(member, cls)}
    found = tuple(by_label.get(label) for label in type_.enums)
    return cast("tuple[Scalar, ...]", found) if all(isinstance(each, (str, int, float)) for each in found) else ()


def read_type(type_: Any, dialect: Any) -> TypeSpec:
    """What a column's type can hold."""
    variant = getattr(type_, "_variant_mapping", {}).get(getattr(dialect, "name", None))
    if variant is not None:
        return read_type(variant, dialect)
    name = type(type_).__name__
    if name == "DOMAIN" and hasattr(type_, "data_type"):
        return read_type(type_.data_type, dialect)
    if name in ("YEAR", "OID"):
        return TypeSpec(kind="integer")
    if name == "BIT" and "mysql" in type(type_).__module__:
        return TypeSpec(kind="integer", ge=0, le=2 ** (type_.length or 1) - 1)
    if name == "SET":
        return TypeSpec(kind="custom", ref=name)
    if isinstance(type_, t.Interval) or name == "INTERVAL":
        return TypeSpec(kind="duration")
    if isinstance(type_, t.TypeDecorator):
        inner = read_type(_implementation(type_, dialect), dialect)
        return replace(inner, checks=(*inner.checks, f"type:{type(type_).__qualname__}")) if _converts(type_) else inner
    found = _plain(type_, dialect)
    return replace(found, checks=(f"type:{type(type_).__qualname__}",)) if _converts(type_) else found


_CODE: Final = (
    "process_bind_param", "process_result_value", "bind_processor", "result_processor", "bind_expression",
    "column_expression",
)  # fmt: skip
"""Methods of types that convert values."""


def _converts(type_: Any) -> bool:
    """Whether code of the application converts the values of a type."""
    if isinstance(type_, t.TypeDecorator):
        return any(getattr(type(type_), name) is not getattr(t.TypeDecorator, name) for name in _CODE)
    for cls in type(type_).__mro__:
        if cls.__module__.partition(".")[0] == "sqlalchemy":
            return False
        if any(name in vars(cls) for name in _CODE):
            return True
    return False


def _implementation(type_: Any, dialect: Any) -> Any:
    """The type that a decorator wraps, for a kind of database."""
    if dialect is not None:
        with contextlib.suppress(Exception):  # code of the application
            return type_.load_dialect_impl(dialect)
    return type_.impl_instance if hasattr(type_, "impl_instance") else type_.impl


def _plain(type_: Any, dialect: Any) -> TypeSpec:
    if isinstance(type_, t.Enum):
        values = cast("tuple[Scalar, ...]", tuple(type_.enums))
        cls: Any = type_.enum_class
        plain = cls is None or issubclass(cls, (str, int, float))
        return TypeSpec(kind="enum", values=values, names=() if plain else tuple(getattr(cls, "__members__", ())))
    if isinstance(type_, t.ARRAY):
        return TypeSpec(kind="list", items=read_type(type_.item_type, dialect))
    if isinstance(type_, getattr(t, "Uuid", ())) or type(type_).__name__ in ("UUID", "Uuid"):
        return TypeSpec(kind="uuid", format=None if getattr(type_, "as_uuid", True) else "text")
    for cls, kind in _KINDS:
        if isinstance(type_, cls):
            return _bounded(type_, kind)
    return TypeSpec(kind="custom", ref=type(type_).__name__)


def _bounded(type_: Any, kind: TypeKind) -> TypeSpec:
    if kind == "integer":
        bits = next(bits for cls, bits in _INTEGERS if isinstance(type_, cls))
        return TypeSpec(kind=kind, ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)
    if kind in ("string", "bytes"):
        return TypeSpec(kind=kind, max_length=getattr(type_, "length", None))
    if kind == "decimal":
        python = None if type_.asdecimal else "float"
        return TypeSpec(kind=kind, max_digits=type_.precision, decimal_places=type_.scale, format=python)
    if kind == "number" and type_.asdecimal:
        return TypeSpec(kind=kind, decimal_places=type_._effective_decimal_return_scale)
    if kind in ("datetime", "time"):
        stored: str | None = getattr(type_, "_storage_format", None)  # SQLite's
        cut = stored is not None and "microsecond" not in stored
        zone = "aware" if getattr(type_, "timezone", False) else "naive"
        return TypeSpec(kind=kind, timezone=zone, precision="seconds" if cut else None)
    return TypeSpec(kind=kind)


def sql_text(type_: Any, dialect: Any) -> str:
    """A type as SQL."""
    type_ = getattr(type_, "data_type", type_)  # of a domain
    try:
        return str(type_.compile(dialect=dialect) if dialect is not None else type_.compile())
    except Exception:  # a type that only its own dialect can write
        return repr(type_)[:_LONGEST]


def expression(value: Any) -> str:
    """An expression as SQL."""
    if isinstance(value, str):
        return repr(value)[:_LONGEST]
    try:
        return " ".join(str(value.compile(compile_kwargs={"literal_binds": True})).split())[:_LONGEST]
    except Exception:  # a construct that only one dialect can write
        return f"{type(value).__module__}.{type(value).__qualname__}"
