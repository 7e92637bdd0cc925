"""Annotations as types: what a value that Pydantic validates may be."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import pathlib
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, cast

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

from ..._schemas.fields import Document, SchemaSpec, TypeKind, TypeSpec, reference, union
from ._config import COERCES, Config, configured, inherited
from ._limits import limits, with_limits, with_url_constraints
from ._scalars import PYDANTIC, SCALARS
from ._values import enum_values, literal

_MAPS: tuple[Any, ...] = (dict, collections.abc.Mapping)
_SETS: tuple[Any, ...] = (set, frozenset, collections.abc.Set)
_LISTS: tuple[Any, ...] = (list, collections.deque, collections.abc.Sequence)
_STREAMS: tuple[Any, ...] = (collections.abc.Iterable, collections.abc.Collection, collections.abc.Generator)
"""Taken as lists, but not their subclasses: everything else is one."""
_LAZY: tuple[Any, ...] = (collections.abc.Iterable, collections.abc.Generator)


def dataclass_hints(cls: Any) -> dict[str, Any]:
    """The annotations of a class, evaluated, with what is annotated."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise TypeError(f"{reference(cls.__module__, cls.__qualname__)} is not completely defined: {error}") from error


def code_name(function: Any) -> str:
    """A name for code that is the same in every process."""
    function = getattr(function, "func", function)  # of a partial
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


class Reader:
    """Turns annotations into types, and collects the named schemas on the way.

    Args:
        read: Reads a class that holds fields, with the config of what holds it.
        digest: Gives a digest of a function's source.

    Attributes:
        document: The named schemas, in the order of first mention.
    """

    def __init__(
        self, read: Callable[[Any, Reader, Config], SchemaSpec], digest: Callable[[Any], str | None] | None
    ) -> None:
        self._read, self._digest = read, digest
        self.document: Document = {}
        self._classes: dict[str, Any] = {}
        self._aliases: list[Any] = []
        self._arguments: dict[Any, Any] = {}

    def code(self, mode: str, function: Any, name: str | None = None) -> str:
        """How code is known: mode, name, and a digest where that was asked for."""
        text = f"{mode}:{name or code_name(function)}"
        digest = self._digest(function) if self._digest is not None else None
        return f"{text}@{digest}" if digest else text

    def field(self, info: FieldInfo, config: Config) -> TypeSpec:
        """The type of a field: its annotation with its metadata."""
        type_ = self._with_metadata(self.type(info.annotation, config), info.metadata, config)
        return self._with_info(type_, info)

    def annotated(self, annotation: Any, config: Config) -> tuple[TypeSpec, FieldInfo | None]:
        """A type, and the Field() that it is annotated with."""
        annotation = _without_qualifier(annotation)
        metadata = annotation.__metadata__ if typing.get_origin(annotation) is Annotated else ()
        return self.type(annotation, config), next((each for each in metadata if isinstance(each, FieldInfo)), None)

    def type(self, annotation: Any, config: Config) -> TypeSpec:
        """What a value with this annotation may be."""
        annotation = _without_qualifier(annotation)
        try:
            if annotation in SCALARS:
                return configured(SCALARS[annotation], config)
        except TypeError:  # not hashable
            pass
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            inner = self.type(annotation.__origin__, config)
            return self._with_metadata(inner, annotation.__metadata__, config)
        if origin is typing.Literal:
            return literal(typing.get_args(annotation))
        if origin in (typing.Union, types.UnionType):
            return union([self.type(each, config) for each in typing.get_args(annotation)])
        if hasattr(annotation, "__value__"):  # `type X = …`
            return self._alias(annotation, config)
        if hasattr(annotation, "__supertype__"):  # NewType
            return self.type(annotation.__supertype__, config)
        if isinstance(annotation, typing.TypeVar):
            return self._variable(annotation, config)
        if origin is not None and not _holds_fields(annotation):
            return self._generic(origin, typing.get_args(annotation), annotation, config)
        return self._class(annotation, config)

    def _variable(self, variable: Any, config: Config) -> TypeSpec:
        """A type variable: its argument, else its default, its bound, or one of what it is constrained to."""
        if variable in self._arguments:
            return self.type(self._arguments[variable], config)
        default = getattr(variable, "__default__", None)
        if default is not None and type(default).__name__ != "NoDefaultType":
            return self.type(default, config)
        if variable.__constraints__:
            return union([self.type(each, config) for each in variable.__constraints__])
        return self.type(variable.__bound__, config) if variable.__bound__ is not None else TypeSpec(kind="any")

    def _alias(self, annotation: Any, config: Config) -> TypeSpec:
        if annotation in self._aliases:  # recursive, such as JsonValue: known by its name, as we are inside it
            return TypeSpec(kind="custom", ref=reference(getattr(annotation, "__module__", None), str(annotation)))
        self._aliases.append(annotation)
        try:
            return self.type(_aliased(annotation), config)
        finally:
            self._aliases.pop()

    def _generic(self, origin: Any, args: tuple[Any, ...], annotation: Any, config: Config) -> TypeSpec:
        if hasattr(origin, "__value__"):  # `type X[T] = …`
            return self._alias(annotation, config)
        if _holds_fields(origin):  # a generic dataclass or TypedDict
            return self._named(origin, config, args)
        if origin is tuple:
            if len(args) == 2 and args[1] is ...:
                return TypeSpec(kind="tuple", items=self._item(args[0], config))
            prefix = tuple(self.type(each, config) for each in args if each != ())
            return TypeSpec(kind="tuple", prefix=prefix, min_length=len(prefix), max_length=len(prefix))
        kind = _collection(origin)
        if kind == "map":
            key, value = args if len(args) == 2 else (args[0], int) if args else (Any, Any)  # one: a Counter
            return TypeSpec(kind=kind, keys=self._item(key, config), items=self._item(value, config))
        if kind is not None:
            lazy = ("lazy",) if origin in _LAZY else ()  # checked when they are read
            return TypeSpec(kind=kind, items=self._item(args[0], config) if args else None, checks=lazy)
        if getattr(origin, "__name__", None) == "Secret" and args:
            return TypeSpec(kind="custom", ref="pydantic:Secret", items=self._item(args[0], config))
        return _custom(annotation if isinstance(annotation, type) else origin)

    def _item(self, annotation: Any, config: Config) -> TypeSpec | None:
        found = self.type(annotation, config)
        return None if found == SCALARS[Any] else found

    def _class(self, annotation: Any, config: Config) -> TypeSpec:
        if not isinstance(annotation, type):
            return _custom(annotation)
        if annotation is BaseModel:  # any model
            return _custom(annotation)
        if _holds_fields(annotation):
            return self._named(annotation, config)
        name, module = annotation.__name__, annotation.__module__.partition(".")[0]
        if issubclass(annotation, enum.Enum):
            missing: Any = cast("Any", annotation)._missing_.__func__
            own = missing.__module__ != "enum"
            checks = (self.code("missing", missing, name),) if own else ()
            if issubclass(annotation, enum.Flag):  # of flags, every combination
                checks = (*checks, "missing:Flag")
            plain = issubclass(annotation, (str, int, float)) or config.get("use_enum_values")
            names = () if plain else tuple(each.name for each in annotation)
            converted = next((each for each in (int, float) if issubclass(annotation, each)), None)
            items = None if converted is None else self.type(converted, config)
            return enum_values(annotation, names=names, checks=checks, items=items)
        if module in ("pydantic", "pydantic_core"):
            if name in PYDANTIC:
                return configured(PYDANTIC[name], config)
            if name.endswith(("Url", "Dsn")):
                several = any(base.__name__ in ("_BaseMultiHostUrl", "MultiHostUrl") for base in annotation.__mro__)
                url = TypeSpec(kind="string", format="urls" if several else "url")
                return with_url_constraints(url, getattr(annotation, "_constraints", None))
            if name == "Json":
                return TypeSpec(kind="custom", ref="pydantic:Json")
        if issubclass(annotation, pathlib.PurePath):
            return configured(TypeSpec(kind="string", format="path"), config)
        if issubclass(annotation, tuple) and hasattr(annotation, "_fields"):  # NamedTuple
            hints = dataclass_hints(annotation)
            names = cast("tuple[str, ...]", cast("Any", annotation)._fields)
            prefix = tuple(self.type(hints.get(each, Any), config) for each in names)
            fewest = len(names) - len(cast("Any", annotation)._field_defaults)
            return TypeSpec(kind="tuple", prefix=prefix, names=names, min_length=fewest or None, max_length=len(prefix))
        kind = None if hasattr(annotation, "__get_pydantic_core_schema__") else _collection(annotation)
        if kind is not None and not issubclass(annotation, (str, bytes)):
            return TypeSpec(kind=kind, items=self.type(int, config) if annotation is collections.Counter else None)
        if not hasattr(annotation, "__get_pydantic_core_schema__"):
            for base in (bool, int, float, str, bytes):  # a subclass of one, without rules of its own
                if issubclass(annotation, base):
                    return configured(SCALARS[base], config)
        own: Any = getattr(annotation, "__get_pydantic_core_schema__", None)
        if own is None or module in ("pydantic", "pydantic_core"):
            return _custom(annotation)
        return replace(_custom(annotation), checks=(self.code("schema", getattr(own, "__func__", own), name),))

    def _named(self, cls: Any, config: Config, args: tuple[Any, ...] = ()) -> TypeSpec:
        settings = inherited(cls, config)
        ref = reference(cls.__module__, cls.__qualname__)
        arguments = tuple(
            self._arguments.get(each, each) if isinstance(each, typing.TypeVar) else each for each in args
        )
        if arguments:
            ref += f"[{', '.join(getattr(each, '__qualname__', None) or str(each) for each in arguments)}]"
        if settings:
            ref += f" ({', '.join(f'{key}={value}' for key, value in sorted(settings.items()))})"
        while self._classes.setdefault(ref, cls) is not cls:  # two classes of one name
            ref += "'"
        if ref not in self.document:
            module, _, name = ref.partition(":")
            spec = SchemaSpec(name=name or ref, module=module if name else None, library="pydantic", type=_UNREAD)
            self.document[ref] = spec
            outer, self._arguments = (
                self._arguments,
                dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False)),
            )
            try:
                read = self._read(cls, self, settings)
            finally:
                self._arguments = outer
            self.document[ref] = replace(read, name=spec.name)
        return TypeSpec(kind="object", ref=ref)

    # -- metadata

    def _with_metadata(self, type_: TypeSpec, metadata: Any, config: Config) -> TypeSpec:
        for each in metadata:
            if isinstance(each, FieldInfo):
                type_ = self._with_info(self._with_metadata(type_, each.metadata, config), each)
            elif each is not None and not isinstance(each, str):
                type_ = self._with_one(type_, each, config)
        return type_

    def _with_info(self, type_: TypeSpec, info: FieldInfo) -> TypeSpec:
        if info.discriminator is not None and type_.kind == "union":
            type_ = replace(type_, discriminator=self._discriminator(info.discriminator, type_))
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("x-extensible-enum"):
            type_ = replace(type_, open=True)
        return type_

    def _discriminator(self, found: Any, type_: TypeSpec) -> str:
        if isinstance(found, Discriminator):
            found = found.discriminator
        if isinstance(found, str):
            return found
        tags = sorted(check for each in type_.members for check in each.checks if check.startswith("tag:"))
        return f"{self.code('tag', found)} of {', '.join(tags)}"

    def _with_one(self, type_: TypeSpec, each: Any, config: Config) -> TypeSpec:
        name = type(each).__name__
        module = type(each).__module__.partition(".")[0]
        if isinstance(each, Discriminator):
            return replace(type_, discriminator=self._discriminator(each, type_)) if type_.kind == "union" else type_
        if name in ("BeforeValidator", "AfterValidator", "PlainValidator", "WrapValidator"):
            mode = name.removesuffix("Validator").lower()
            return replace(type_, checks=(*type_.checks, self.code(mode, each.func)))
        if name in ("PlainSerializer", "WrapSerializer"):
            return replace(type_, serializers=(*type_.serializers, self.code(name[:5].lower(), each.func)))
        if name in ("Predicate", "Not"):
            return replace(type_, checks=(*type_.checks, self.code("predicate", each.func)))
        if name == "UrlConstraints":
            return with_url_constraints(type_, each)
        if name == "UuidVersion":
            return replace(type_, format=f"uuid{each.uuid_version}")
        if name == "EncodedBytes" or name == "EncodedStr":
            return replace(type_, format=each.encoder.__name__.removesuffix("Encoder").lower())
        if name == "Json" or (isinstance(each, type) and each.__name__ == "Json" and module == "builtins"):
            return TypeSpec(kind="custom", ref="pydantic:Json", items=None if type_ == SCALARS[Any] else type_)
        if name == "SkipValidation" or (isinstance(each, type) and each.__name__ == "SkipValidation"):
            return TypeSpec(kind="any")
        if isinstance(each, Tag):
            return replace(type_, checks=(*type_.checks, f"tag:{each.tag}"))
        if name == "GetPydanticSchema":
            return replace(type_, checks=(*type_.checks, self.code("schema", each, name)))
        if name == "PathType":
            return replace(type_, checks=(*type_.checks, f"path:{each.path_type}"))
        if getattr(each, "coerce_numbers_to_str", None) and type_.kind in ("string", "union"):
            type_ = replace(type_, checks=(*type_.checks, COERCES))
        if module in ("annotated_types", "pydantic"):
            return with_limits(type_, limits(each), config)
        if hasattr(each, "__get_pydantic_core_schema__"):
            return replace(type_, checks=(*type_.checks, self.code("schema", each, code_name(type(each)))))
        return type_


def _collection(cls: Any) -> TypeKind | None:
    if not isinstance(cls, type):
        return None
    for classes, kind in ((_MAPS, "map"), (_SETS, "set"), (_LISTS, "list")):
        if issubclass(cls, classes):
            return cast("TypeKind", kind)
    return "list" if cls in _STREAMS else None


_UNREAD = TypeSpec(kind="object")


def _holds_fields(cls: Any) -> bool:
    if not isinstance(cls, type):
        return False
    own = next((base for base in cls.__mro__ if "__get_pydantic_core_schema__" in vars(base)), None)
    if own is not None and own.__module__.partition(".")[0] not in ("pydantic", "sqlmodel"):
        return False
    if issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls):
        return own is None or issubclass(cls, BaseModel) or "__pydantic_fields__" in vars(cls)
    return issubclass(cls, dict) and hasattr(cls, "__total__")


def _without_qualifier(annotation: Any) -> Any:
    """What a `Required[…]`, `NotRequired[…]`, `ReadOnly[…]`, `Final[…]` or `ClassVar[…]` qualifies."""
    while str(typing.get_origin(annotation)).rpartition(".")[2] in ("Required", "NotRequired", "ReadOnly", "Final"):
        (annotation,) = typing.get_args(annotation)
    return annotation


def _aliased(alias: Any) -> Any:
    """What a type alias stands for, with its arguments in place of its parameters."""
    origin = typing.get_origin(alias)
    value = _evaluated((alias if origin is None else origin).__value__, alias)
    if origin is None:
        return value
    arguments = dict(zip(origin.__type_params__, typing.get_args(alias), strict=False))
    parameters = getattr(value, "__parameters__", ())
    if isinstance(value, typing.TypeVar):
        return arguments.get(value, value)
    return value[tuple(arguments.get(each, each) for each in parameters)] if parameters else value


def _evaluated(value: Any, alias: Any) -> Any:
    """The value of an alias with the meaning of the names in its texts, where its module knows them."""
    module = sys.modules.get(getattr(alias, "__module__", None) or "")
    holder = types.SimpleNamespace(__annotations__={"value": value})
    try:
        return typing.get_type_hints(holder, vars(module) if module else {}, include_extras=True)["value"]
    except Exception:
        return value


def _custom(annotation: Any) -> TypeSpec:
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None)
    return TypeSpec(kind="custom", ref=reference(getattr(annotation, "__module__", None), name or str(annotation)))
