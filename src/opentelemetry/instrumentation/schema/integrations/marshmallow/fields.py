"""Reads the fields of marshmallow Schemas.

A Schema declares its version as `__schema_version__ = "2.1"` in the class body.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

import marshmallow.fields
from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, validate

from ..._schemas.defaults import FACTORY, held, varies
from ..._schemas.fields import (
    Document,
    Extra,
    FieldSpec,
    Presence,
    SchemaSpec,
    TypeSpec,
    declared_in,
    reference,
    table_in,
)

_f: Any = marshmallow.fields
_EXTRAS: Final[dict[Any, Extra]] = {RAISE: "forbid", INCLUDE: "allow", EXCLUDE: "ignore"}

# The first class of a field's that stands here says what it is.
_TYPES: Final[dict[str, TypeSpec]] = {
    "Email": TypeSpec(kind="string", format="email"),
    "Url": TypeSpec(kind="string", format="url"),
    "UUID": TypeSpec(kind="uuid"),
    "IP": TypeSpec(kind="string", format="ip"),
    "IPv4": TypeSpec(kind="string", format="ipv4"),
    "IPv6": TypeSpec(kind="string", format="ipv6"),
    "IPInterface": TypeSpec(kind="string", format="ip-interface"),
    "IPv4Interface": TypeSpec(kind="string", format="ipv4-interface"),
    "IPv6Interface": TypeSpec(kind="string", format="ipv6-interface"),
    "String": TypeSpec(kind="string"),
    "Integer": TypeSpec(kind="integer"),
    "Float": TypeSpec(kind="number", finite=True),
    "Decimal": TypeSpec(kind="decimal", finite=True),
    "Boolean": TypeSpec(kind="boolean"),
    "NaiveDateTime": TypeSpec(kind="datetime", timezone="naive"),
    "AwareDateTime": TypeSpec(kind="datetime", timezone="aware"),
    "DateTime": TypeSpec(kind="datetime"),
    "Time": TypeSpec(kind="time"),
    "Date": TypeSpec(kind="date"),
    "TimeDelta": TypeSpec(kind="duration"),
    "Raw": TypeSpec(kind="any"),
    "Function": TypeSpec(kind="any"),
    "Method": TypeSpec(kind="any"),
    "Mapping": TypeSpec(kind="map"),
}


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None) -> Document:
    """The fields of a Schema class or instance.

    Args:
        schema: The class, or an instance with what its constructor was told (`only`, `partial`, …).
        digest: Gives a digest of a validator's source; without it a validator counts by its name alone.
    """
    reader = _Reader(digest)
    reader.named(schema)
    return reader.document


def schemas(modules: Iterable[ModuleType]) -> Iterator[Any]:
    """Every Schema class that modules define and that has fields."""
    names = {module.__name__ for module in modules}
    pending: list[Any] = [Schema]
    seen: set[Any] = set()
    while pending:
        for cls in type.__subclasses__(pending.pop()):
            if cls not in seen:
                seen.add(cls)
                pending.append(cls)
                if cls.__module__ in names and cls._declared_fields:
                    yield cls


def _table(cls: Any) -> str | None:
    """What the class declares, else the table of marshmallow-sqlalchemy's `Meta.model` or `Meta.table`."""
    meta = getattr(cls, "opts", None)
    table: Any = getattr(getattr(meta, "model", None), "__table__", getattr(meta, "table", None))
    return table_in(cls) or (str(table.fullname) if hasattr(table, "fullname") else None)


class _Reader:
    def __init__(self, digest: Callable[[Any], str | None] | None) -> None:
        self._digest = digest
        self.document: Document = {}

    def code(self, mode: str, function: Any) -> str:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        digest = self._digest(function) if self._digest is not None else None
        return f"{mode}:{name}@{digest}" if digest else f"{mode}:{name}"

    def named(self, schema: Any) -> str:
        cls = schema if isinstance(schema, type) else type(schema)
        ref = reference(cls.__module__, cls.__qualname__)
        if ref not in self.document:
            spec = SchemaSpec(
                name=cls.__qualname__,
                module=cls.__module__,
                library="marshmallow",
                type=TypeSpec(kind="object"),
                version=declared_in(cls),
                table=_table(cls),
            )
            self.document[ref] = spec
            self.document[ref] = replace(spec, type=self.object(schema))
        return ref

    def object(self, schema: Any) -> TypeSpec:
        found, unknown = self._fields(schema)
        checks = tuple(
            self._hooks(
                schema if isinstance(schema, type) else type(schema),
                ("pre_load", "post_load", "validates", "validates_schema"),
            )
        )
        serializers = tuple(
            self._hooks(schema if isinstance(schema, type) else type(schema), ("pre_dump", "post_dump"))
        )
        return TypeSpec(
            kind="object",
            fields=tuple(self.field(name, field) for name, field in found.items()),
            extra=_EXTRAS.get(unknown, "forbid"),
            checks=checks,
            serializers=serializers,
        )

    def _fields(self, schema: Any) -> tuple[dict[str, Any], Any]:
        if isinstance(schema, type):
            cls: Any = schema
            try:
                schema = cls()
            except Exception:  # a constructor that wants arguments
                return dict(cls._declared_fields), getattr(cls.opts, "unknown", RAISE)
        return dict(schema.fields), schema.unknown

    def _hooks(self, cls: Any, tags: tuple[str, ...]) -> Iterator[str]:
        """Decorated methods. Which shape the table has depends on the version; names are all that is taken."""
        found: dict[str, str] = {}
        for key, hooks in sorted(cls._hooks.items(), key=str):
            tag = key[0] if isinstance(key, tuple) else key
            if str(tag) in tags:
                for each in hooks:
                    found.setdefault(str(each[0] if isinstance(each, tuple) else each), str(tag))
        for name, tag in found.items():
            function = getattr(cls, name, None)
            yield self.code(tag, function) if function is not None else f"{tag}:{name}"

    def field(self, name: str, field: Any) -> FieldSpec:
        default: Any = _default(field, "load_default")
        text = _json(default)
        presence: Presence = "optional"
        if field.dump_only:
            presence = "never"
        elif field.required:
            presence = "required"
        elif text is not None and text != "null":
            presence = "default"
        always = field.required or field.dump_only or _default(field, "dump_default") is not marshmallow.missing
        key = field.data_key
        return FieldSpec(
            name=name,
            type=self.type(field),
            presence=presence,
            written="never" if field.load_only else "always" if always else "sometimes",
            accepts=() if key in (None, name) else (key,),
            writes=None if key in (None, name) else key,
            default=held(name, text),
            attribute=None if field.attribute in (None, name) else field.attribute,
        )

    def type(self, field: Any) -> TypeSpec:
        type_ = self._plain(field)
        if field.allow_none and type_.kind != "any":
            type_ = replace(type_, nullable=True)
        for each in field.validators:
            type_ = self._validated(type_, each)
        return type_

    def _plain(self, field: Any) -> TypeSpec:
        if isinstance(field, _f.Pluck):
            return self._many(field, self.type(field.schema.fields[field.field_name]))
        if isinstance(field, _f.Nested):
            nested = field.schema
            plain = not (nested.only or nested.exclude or nested.partial)
            inner = TypeSpec(kind="object", ref=self.named(nested)) if plain else self.object(nested)
            return self._many(field, inner)
        if isinstance(field, _f.List):
            return TypeSpec(kind="list", items=self.type(field.inner))
        if isinstance(field, _f.Tuple):
            return TypeSpec(kind="tuple", prefix=tuple(self.type(each) for each in field.tuple_fields))
        if isinstance(field, _f.Constant):
            return TypeSpec(kind="enum", values=(_scalar(field.constant),))
        if hasattr(_f, "Enum") and isinstance(field, _f.Enum):
            by_value = bool(field.by_value)
            values = tuple(_scalar(e.value if by_value else e.name) for e in field.enum)
            plain = issubclass(field.enum, (str, int, float))
            return TypeSpec(kind="enum", values=values, names=() if plain else tuple(e.name for e in field.enum))
        if isinstance(field, _f.Mapping):
            key, value = field.key_field, field.value_field
            return TypeSpec(kind="map", keys=self.type(key) if key else None, items=self.type(value) if value else None)
        for cls in type(field).__mro__:
            known = _TYPES.get(cls.__name__) if cls.__module__.partition(".")[0] == "marshmallow" else None
            if known is not None:
                return self._special(type(field), cls, self._number(field, known))
        return TypeSpec(kind="any") if type(field) is _f.Field else _custom(field)

    def _special(self, own: Any, known: Any, type_: TypeSpec) -> TypeSpec:
        """A field class of the app's that loads in its own way: code decides as well."""
        if own is known or not any(
            name in vars(cls)
            for cls in own.__mro__[: own.__mro__.index(known)]
            for name in ("_deserialize", "_serialize")
        ):
            return type_
        return replace(type_, checks=(*type_.checks, f"field:{own.__qualname__}"))

    def _number(self, field: Any, type_: TypeSpec) -> TypeSpec:
        if type_.kind == "integer" and getattr(field, "strict", False):
            return replace(type_, strict=True)
        if type_.kind in ("decimal", "number") and field.allow_nan:
            return replace(type_, finite=False)
        if type_.kind in ("datetime", "date", "time") and getattr(field, "format", None) not in (None, "iso"):
            return replace(type_, format=str(field.format))
        return type_

    def _many(self, field: Any, inner: TypeSpec) -> TypeSpec:
        return TypeSpec(kind="list", items=inner) if getattr(field, "many", False) or field.schema.many else inner

    def _validated(self, type_: TypeSpec, each: Any) -> TypeSpec:
        cls: Any = type(each)
        if cls is validate.And:
            for inner in each.validators:
                type_ = self._validated(type_, inner)
            return type_
        if cls is validate.Range and all(_bound(value) is not _UNKNOWN for value in (each.min, each.max)):
            low, high = _bound(each.min), _bound(each.max)
            names = "ge" if each.min_inclusive else "gt", "le" if each.max_inclusive else "lt"
            return replace(
                type_, **{name: value for name, value in zip(names, (low, high), strict=True) if value is not None}
            )
        if cls is validate.Length:
            low, high = (each.equal, each.equal) if each.equal is not None else (each.min, each.max)
            return replace(
                type_, min_length=low or type_.min_length, max_length=high if high is not None else type_.max_length
            )
        if cls is validate.OneOf and not callable(each.choices):
            return replace(type_, kind="enum", values=tuple(_scalar(value) for value in each.choices))
        if cls is validate.Equal:
            return replace(type_, kind="enum", values=(_scalar(each.comparable),))
        if cls is validate.Regexp and type_.pattern is None:
            return replace(
                type_,
                pattern=f"(?{each.regex.flags & ~32}){each.regex.pattern}"
                if each.regex.flags & ~32
                else each.regex.pattern,
            )
        if cls in (validate.Email, validate.URL):
            return type_ if type_.format in ("email", "url") else replace(type_, format=cls.__name__.lower())
        if cls.__module__ == validate.__name__:
            return replace(type_, checks=(*type_.checks, f"validate:{each!r}"))
        return replace(type_, checks=(*type_.checks, self.code("validate", each)))


_UNKNOWN: Final = object()


def _bound(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _UNKNOWN
    return int(number) if number.is_integer() else number


def _default(field: Any, name: str) -> Any:
    """`load_default` or `dump_default`, which 3.13 introduced under these names."""
    return getattr(field, name, marshmallow.missing)


def _json(value: Any) -> str | None:
    if value is marshmallow.missing:
        return None
    if callable(value):
        factories: dict[Any, str] = {list: "[]", dict: "{}", set: "[]"}
        return factories.get(value, FACTORY)
    try:
        return FACTORY if varies(value) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return FACTORY


def _scalar(value: Any) -> bool | int | float | str | None:
    if isinstance(value, enum.Enum):
        value = value.value
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def _custom(field: Any) -> TypeSpec:
    return TypeSpec(kind="custom", ref=reference(type(field).__module__, type(field).__qualname__))
