"""Reads the fields of marshmallow Schemas.

A Schema declares its version as `__schema_version__ = "2.1"` in the class body.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, cast

import marshmallow.fields
from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema

from ..._schemas.defaults import FACTORY, is_computed, redact_default
from ..._schemas.fields import (
    Document,
    Extra,
    FieldSpec,
    Presence,
    SchemaSpec,
    TypeSpec,
    declared_table,
    declared_version,
    reference,
)
from ._own_fields import own_code
from ._validators import base, facts, scalar, validated

_f: Any = marshmallow.fields
_OURS: Final = __name__.partition(".integrations")[0]
_LOADS: Final = ("load", "loads", "validate", "_do_load")
_DUMPS: Final = ("dump", "dumps", "get_attribute")
_EXTRAS: Final[dict[Any, Extra]] = {RAISE: "forbid", INCLUDE: "allow", EXCLUDE: "ignore"}

# The first class in a field's MRO that is a key here decides.
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
    "Mapping": TypeSpec(kind="map"),
}


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None) -> Document:
    """The fields of a Schema class or instance.

    Args:
        schema: The class, or an instance with what its constructor got (`only`, `partial`, …).
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
                if cls.__module__ in names and (cls._declared_fields or getattr(cls, "type_schemas", None)):
                    yield cls


def _table(cls: Any) -> str | None:
    """What the class declares, else the table of marshmallow-sqlalchemy's `Meta.model` or `Meta.table`."""
    meta = getattr(cls, "opts", None)
    table: Any = getattr(getattr(meta, "model", None), "__table__", getattr(meta, "table", None))
    return declared_table(cls) or (str(table.fullname) if hasattr(table, "fullname") else None)


class _Reader:
    def __init__(self, digest: Callable[[Any], str | None] | None) -> None:
        self._digest = digest
        self.document: Document = {}
        self._classes: dict[str, Any] = {}
        self._inside: dict[str, bool] = {}
        self._partial = False

    def code(self, mode: str, function: Any) -> str:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        digest = self._digest(function) if self._digest is not None else None
        return f"{mode}:{name}@{digest}" if digest else f"{mode}:{name}"

    def named(self, schema: Any) -> str:
        cls = schema if isinstance(schema, type) else type(schema)
        ref = reference(cls.__module__, cls.__qualname__)
        while self._classes.setdefault(ref, cls) is not cls:  # two classes of one name
            ref += "'"
        if ref not in self.document:
            spec = SchemaSpec(
                name=ref.rpartition(":")[2],
                module=cls.__module__,
                library="marshmallow",
                type=TypeSpec(kind="object"),
                version=declared_version(cls),
                table=_table(cls),
            )
            self.document[ref] = spec
            self.document[ref] = replace(spec, type=self.object(schema))
        return ref

    def object(self, schema: Any, unknown: Any = None, partial: Any = None) -> TypeSpec:
        cls: Any = schema if isinstance(schema, type) else type(schema)
        chosen: Any = getattr(cls, "type_schemas", None)
        if isinstance(chosen, dict) and chosen:  # marshmallow-oneofschema
            members = cast("dict[str, Any]", chosen)
            refs = [TypeSpec(kind="object", ref=self.named(each)) for each in members.values()]
            tags = f"key:{cls.type_field} of {', '.join(sorted(members))}"
            return TypeSpec(kind="union", members=tuple(refs), discriminator=tags)
        found, default = self._fields(schema)
        checks, serializers = self._codes(cls)
        return TypeSpec(
            kind="object",
            fields=tuple(_partially(self.field(name, field), partial) for name, field in found.items()),
            extra=_EXTRAS.get(unknown or default, "forbid"),
            checks=checks,
            serializers=serializers,
        )

    def _codes(self, cls: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The code of a Schema that loads, and the code that writes."""
        loads = self._hooks(cls, ("pre_load", "post_load", "validates", "validates_schema"))
        dumps = self._hooks(cls, ("pre_dump", "post_dump"))
        return (*loads, *self._own(cls, _LOADS)), (*dumps, *self._own(cls, _DUMPS))

    def _own(self, cls: Any, names: tuple[str, ...]) -> Iterator[str]:
        """Methods of Schema that the app has overridden."""
        for name in names:
            function = getattr(cls, name, None)
            if not str(getattr(function, "__module__", "marshmallow")).startswith(("marshmallow", _OURS)):
                yield self.code("method", function)

    def nested(self, field: Any) -> TypeSpec:
        """A schema in another: as it is, or with what the field or the instance says of it."""
        schema = field.schema
        cls: Any = type(schema)
        differences = self._differences(field, schema)
        generated = cls.__module__.partition(".")[0] == "marshmallow"  # Schema.from_dict
        if not differences and not generated:
            return TypeSpec(kind="object", ref=self.named(schema))
        ref = f"{reference(cls.__module__, cls.__qualname__)} ({differences}{f' {id(cls)}' if generated else ''})"
        if ref in self._inside:  # it holds itself
            self._inside[ref] = True
            return TypeSpec(kind="object", ref=ref)
        self._inside[ref] = False
        partial = True if self._partial else schema.partial
        outer, self._partial = self._partial, partial is True
        try:
            type_ = self.object(schema, getattr(field, "unknown", None), partial)
        finally:
            self._partial = outer
            again = self._inside.pop(ref)
        if again:
            name = ref.rpartition(":")[2]
            self.document[ref] = SchemaSpec(name=name, module=cls.__module__, library="marshmallow", type=type_)
        return type_

    def _differences(self, field: Any, schema: Any) -> str:
        """How a nested schema differs from its class, as text."""
        opts: Any = schema.opts
        unknown = getattr(field, "unknown", None) or schema.unknown
        partial = True if self._partial else schema.partial
        said: dict[str, Any] = {
            "only": sorted(schema.only) if schema.only is not None else None,
            "exclude": sorted({*schema.exclude} - {*opts.exclude}),
            "load_only": sorted({*schema.load_only} - {*opts.load_only}),
            "dump_only": sorted({*schema.dump_only} - {*opts.dump_only}),
            "partial": partial if isinstance(partial, bool) or partial is None else sorted(partial),
            "unknown": _EXTRAS.get(unknown) if unknown != opts.unknown else None,
        }
        return ", ".join(f"{name}={value}" for name, value in said.items() if value)

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
            default=redact_default(name, text),
            attribute=None if field.attribute in (None, name) else field.attribute,
        )

    def type(self, field: Any) -> TypeSpec:
        type_ = self._plain(field)
        type_ = replace(type_, checks=(*type_.checks, *own_code(field, self.code)))
        if field.allow_none and type_.kind != "any":
            type_ = replace(type_, nullable=True)
        return validated(type_, field.validators, self.code)

    def _plain(self, field: Any) -> TypeSpec:
        if isinstance(field, _f.Pluck):
            plucked = field.schema.fields[field.field_name]
            type_ = self.type(plucked)
            checks, serializers = self._codes(type(field.schema))
            checks += ("pluck:dump_only",) if plucked.dump_only else ()  # then no value is accepted
            type_ = replace(type_, checks=type_.checks + checks, serializers=type_.serializers + serializers)
            return self._many(field, type_)
        if isinstance(field, _f.Nested):
            return self._many(field, self.nested(field))
        if isinstance(field, _f.List):
            return TypeSpec(kind="list", items=self.type(field.inner))
        if isinstance(field, _f.Tuple):
            prefix = tuple(self.type(each) for each in field.tuple_fields)
            return TypeSpec(kind="tuple", prefix=prefix, min_length=len(prefix), max_length=len(prefix))
        if isinstance(field, _f.Constant):
            # Whatever is sent, it is the constant.
            return TypeSpec(kind="enum", values=(scalar(field.constant),), checks=("field:Constant",))
        if hasattr(_f, "Enum") and isinstance(field, _f.Enum):
            by_value = bool(field.by_value)
            values = tuple(scalar(e.value if by_value else e.name) for e in field.enum)
            plain = issubclass(field.enum, (str, int, float))
            return TypeSpec(
                kind="enum",
                values=values,
                names=() if plain else tuple(e.name for e in field.enum),
                items=base(self.type(field.field)) if by_value else None,
            )
        if isinstance(field, _f.Mapping):
            key, value = field.key_field, field.value_field
            return TypeSpec(kind="map", keys=self.type(key) if key else None, items=self.type(value) if value else None)
        if isinstance(field, (_f.Method, _f.Function)):
            return self._code(field)
        for cls in type(field).__mro__:
            known = _TYPES.get(cls.__name__) if cls.__module__.partition(".")[0] == "marshmallow" else None
            if known is not None:
                return self._number(field, known)
        return TypeSpec(kind="any") if type(field) is _f.Field else _custom(field)

    def _number(self, field: Any, type_: TypeSpec) -> TypeSpec:
        """What a field's own arguments say besides its class."""
        changes: dict[str, Any] = {}
        if type_.kind == "integer" and getattr(field, "strict", False):
            changes["strict"] = True
        if type_.kind in ("decimal", "number") and field.allow_nan:
            changes["finite"] = False
        if type_.kind in ("datetime", "date", "time") and getattr(field, "format", None) not in (None, "iso"):
            changes["format"] = str(field.format)
        if type_.kind == "duration" and getattr(field, "precision", "seconds") != "seconds":
            changes["format"] = str(field.precision)
        if getattr(field, "default_timezone", None) or (type_.timezone == "naive" and field.timezone):
            changes["timezone"] = None  # the other kind is converted
            changes["converted"] = "naive" if type_.timezone == "naive" else "aware"
        if type_.kind == "decimal" and getattr(field, "places", None) is not None:
            changes["rounded"] = -int(field.places.as_tuple().exponent)
        if getattr(field, "as_string", False):
            changes["serializers"] = ("as_string",)
        if type_.kind == "boolean" and (field.truthy, field.falsy) != (type(field).truthy, type(field).falsy):
            changes["format"] = f"true: {facts(field.truthy)}, false: {facts(field.falsy)}"
        return replace(type_, **changes) if changes else type_

    def _code(self, field: Any) -> TypeSpec:
        """A Method or Function: the code that loads and that writes."""
        if isinstance(field, _f.Function):
            codes = field.deserialize_func, field.serialize_func
        else:
            parent: Any = type(getattr(field, "parent", None))
            names = field.deserialize_method_name, field.serialize_method_name
            codes = tuple(name and getattr(parent, name, None) for name in names)
        loads, writes = (() if each is None else (self.code("field", each),) for each in codes)
        return TypeSpec(kind="any", checks=loads, serializers=writes)

    def _many(self, field: Any, inner: TypeSpec) -> TypeSpec:
        return TypeSpec(kind="list", items=inner) if getattr(field, "many", False) or field.schema.many else inner


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
        return FACTORY if is_computed(value) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return FACTORY


def _partially(field: FieldSpec, partial: Any) -> FieldSpec:
    """A field of a schema that is loaded partially: nothing, or not these, is required."""
    named = partial is True or (partial and not isinstance(partial, bool) and field.name in partial)
    if not named or field.presence != "required":
        return field
    return replace(field, presence="optional", written="never" if field.written == "never" else "sometimes")


def _custom(field: Any) -> TypeSpec:
    return TypeSpec(kind="custom", ref=reference(type(field).__module__, type(field).__qualname__))
