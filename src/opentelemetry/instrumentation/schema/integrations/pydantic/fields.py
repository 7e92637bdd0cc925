"""Reads the fields of Pydantic models, dataclasses and TypedDicts, from `model_fields` and annotations.

Not from JSON Schema: that loses the digits of a decimal, whether a datetime needs a time zone, strictness, and every
alias but the first.

A schema declares its version as `__schema_version__ = "2.1"` in the class body.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, cast

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..._schemas.defaults import FACTORY, redact_default
from ..._schemas.fields import (
    Document,
    FieldSpec,
    Presence,
    SchemaSpec,
    TypeSpec,
    Written,
    declared_table,
    declared_version,
    reference,
)
from ._types import Reader, dataclass_hints
from ._values import default_text

_PLAIN_FACTORIES: dict[Any, str] = {list: "[]", tuple: "[]", set: "[]", frozenset: "[]", dict: "{}", str: '""'}


def fields(schema: Any, digest: Callable[[Any], str | None] | None = None) -> Document:
    """The fields of a model, a dataclass, a TypedDict or any other type that Pydantic validates.

    Args:
        schema: The class or type.
        digest: Gives a digest of a validator's source; without it a validator counts by its name alone.

    Raises:
        TypeError: if a model is not completely defined: a name in its annotations has no meaning yet.
    """
    reader = Reader(_read_class, digest)
    type_ = reader.type(schema, {})
    if type_.kind == "object" and type_.ref is not None:
        return reader.document
    name = getattr(schema, "__qualname__", None) or str(schema)
    root = SchemaSpec(name=name, module=None, library="pydantic", type=type_)
    return {root.ref: root, **reader.document}


def _read_class(cls: Any, reader: Reader, inherited: Mapping[str, Any]) -> SchemaSpec:
    """A class that holds fields, with the config that it has none of its own instead of."""
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        type_ = _model(cls, reader)
        config: Mapping[str, Any] = cast("Mapping[str, Any]", cls.model_config)
    else:
        config = cast("Mapping[str, Any]", getattr(cls, "__pydantic_config__", None) or inherited)
        type_ = _typed_dict(cls, config, reader) if typing_is_typeddict(cls) else _dataclass(cls, config, reader)
    return SchemaSpec(
        name=cls.__qualname__,
        module=cls.__module__,
        library="pydantic",
        type=type_,
        version=declared_version(cls),
        from_attributes=bool(config.get("from_attributes")),
        table="" if hasattr(cls, "__table__") else declared_table(cls),  # SQLModel's tables do not validate
    )


def typing_is_typeddict(cls: Any) -> bool:
    """Whether a class is a TypedDict, of `typing` or `typing_extensions`."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__total__")


def _model(cls: type[BaseModel], reader: Reader) -> TypeSpec:
    if not getattr(cls, "__pydantic_complete__", True):
        cls.model_rebuild(raise_errors=False)
    if not getattr(cls, "__pydantic_complete__", True):
        raise TypeError(
            f"{reference(cls.__module__, cls.__qualname__)} is not completely defined: call model_rebuild()"
        )
    config = cast("Mapping[str, Any]", cls.model_config)
    decorators = _Decorators(cls, reader)
    infos = cls.model_fields
    if issubclass(cls, RootModel):
        type_ = decorators.applied("root", reader.field(infos["root"], config))
        return dataclasses.replace(type_, checks=(*type_.checks, *decorators.model_checks()))
    found = tuple(_field(name, info, config, decorators, reader) for name, info in infos.items())
    found += tuple(decorators.computed(config))
    extra_type = _extra_type(cls, config, reader) if config.get("extra") == "allow" else None
    return TypeSpec(
        kind="object",
        fields=found,
        extra=config.get("extra") or "ignore",
        extra_type=extra_type if extra_type is not None and extra_type.kind != "any" else None,
        checks=decorators.model_checks(),
        serializers=decorators.model_serializers(),
    )


def _extra_type(cls: type[BaseModel], config: Mapping[str, Any], reader: Reader) -> TypeSpec | None:
    """What undeclared keys must hold, as the class or a base says of `__pydantic_extra__`."""
    for base in cls.__mro__[:-1]:
        annotation: Any = vars(base).get("__annotations__", {}).get("__pydantic_extra__")
        if base is BaseModel or annotation is None:
            continue
        if isinstance(annotation, str):
            try:
                annotation = typing.get_type_hints(base, include_extras=True)["__pydantic_extra__"]
            except Exception:
                return TypeSpec(kind="custom", ref=annotation)
        value = typing.get_args(annotation)
        return reader.type(value[1], config) if len(value) == 2 else None
    return None


def _field(name: str, info: FieldInfo, config: Mapping[str, Any], decorators: _Decorators, reader: Reader) -> FieldSpec:
    type_ = decorators.applied(name, reader.field(info, config))
    presence, default = _presence(info, type_)
    passed = dataclasses.is_dataclass(decorators.cls)  # a model does not ask for `init` and `init_var`
    if passed and getattr(info, "init", None) is False:
        presence = "never"
    hidden = info.exclude or (passed and getattr(info, "init_var", None))
    accepts = _accepts(name, info, config)
    writes = info.serialization_alias
    written: Written = "never" if hidden else "always"
    if written == "always" and getattr(info, "exclude_if", None) is not None:
        written = "sometimes"
    return FieldSpec(
        name=name,
        type=type_,
        presence=presence,
        written=written,
        accepts=() if accepts == (name,) else accepts,
        writes=None if writes in (None, name) else writes,
        default=redact_default(name, default),
        attribute=accepts[0] if config.get("from_attributes") and accepts != (name,) else None,
    )


def _accepts(name: str, info: FieldInfo, config: Mapping[str, Any]) -> tuple[str, ...]:
    by_alias = config.get("validate_by_alias", True)
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    alias: Any = info.validation_alias if info.validation_alias is not None else info.alias
    found = list(_alias_names(alias)) if by_alias is not False and alias is not None else []
    if not found or by_name:
        found.append(name)
    return tuple(dict.fromkeys(found))


def _alias_names(alias: Any) -> Iterator[str]:
    if isinstance(alias, AliasChoices):
        for each in alias.choices:
            yield from _alias_names(each)
    elif isinstance(alias, AliasPath):
        yield ".".join(_part(part) for part in alias.path)
    else:
        yield json.dumps(alias) if "." in alias else str(alias)


def _part(part: int | str) -> str:
    """A key or an index of a path: the key "0" is not the index 0."""
    return json.dumps(part) if isinstance(part, str) and ("." in part or part.lstrip("-").isdigit()) else str(part)


def _presence(info: FieldInfo, type_: TypeSpec) -> tuple[Presence, str | None]:
    if info.is_required():
        return "required", None
    if info.default_factory is not None:
        return "default", _PLAIN_FACTORIES.get(info.default_factory, FACTORY)
    default = default_text(info.default)
    return ("optional" if default == "null" and (type_.nullable or type_.kind == "any") else "default"), default


class _Decorators:
    """The validators, serializers and computed fields of a class."""

    def __init__(self, cls: Any, reader: Reader) -> None:
        self.cls, self.reader = cls, reader
        found: Any = getattr(cls, "__pydantic_decorators__", None)
        self.field_checks: list[tuple[tuple[str, ...], str]] = []
        self.field_serializers: list[tuple[tuple[str, ...], str]] = []
        self.found = found
        if found is None:
            return
        for each in (*found.validators.items(), *found.field_validators.items()):
            self.field_checks.append((tuple(each[1].info.fields), self._text(*each)))
        for each in found.field_serializers.items():
            self.field_serializers.append((tuple(each[1].info.fields), self._text(*each)))

    def _text(self, name: str, decorator: Any) -> str:
        return self.reader.code(getattr(decorator.info, "mode", "after"), decorator.func, name)

    def applied(self, name: str, type_: TypeSpec) -> TypeSpec:
        """A field's type with the code that is decorated for it."""
        checks = tuple(text for names, text in self.field_checks if name in names or "*" in names)
        serializers = tuple(text for names, text in self.field_serializers if name in names or "*" in names)
        if not checks and not serializers:
            return type_
        return dataclasses.replace(
            type_, checks=(*type_.checks, *checks), serializers=(*type_.serializers, *serializers)
        )

    def model_checks(self) -> tuple[str, ...]:
        """What decides on the model as a whole."""
        held = () if self.found is None else (self.found.root_validators, self.found.model_validators)
        found = [self._text(*each) for decorators in held for each in decorators.items()]
        for name, mode in (("model_post_init", "after"), ("__init__", "plain"), ("__post_init__", "after")):
            function = getattr(self.cls, name, None)
            module = getattr(function, "__module__", None) or "pydantic"
            if callable(function) and module.partition(".")[0] not in (
                "pydantic",
                "dataclasses",
                "sqlmodel",
                "builtins",
            ):
                if name == "__init__" and not getattr(self.cls, "__pydantic_custom_init__", False):
                    continue
                found.append(self.reader.code(mode, function, name))
        return tuple(found)

    def model_serializers(self) -> tuple[str, ...]:
        """What writes the model as a whole."""
        encoders: Any = (getattr(self.cls, "model_config", None) or {}).get("json_encoders") or {}
        names = sorted(getattr(each, "__qualname__", str(each)) for each in encoders)
        found = (f"config:json_encoders={','.join(names)}",) if names else ()
        if (getattr(self.cls, "model_config", None) or {}).get("serialize_by_alias"):
            found += ("config:serialize_by_alias",)
        if self.found is None:
            return found
        return found + tuple(self._text(*each) for each in self.found.model_serializers.items())

    def computed(self, config: Mapping[str, Any]) -> Iterator[FieldSpec]:
        """Fields that are only written."""
        for name, decorator in () if self.found is None else self.found.computed_fields.items():
            returned: Any = decorator.info.return_type
            if returned is PydanticUndefined:
                function = getattr(decorator.info.wrapped_property, "fget", None)
                returned = getattr(function, "__annotations__", {}).get("return", Any)
            type_ = TypeSpec(kind="any") if isinstance(returned, str) else self.reader.type(returned, config)
            alias = decorator.info.alias
            yield FieldSpec(
                name=name,
                type=type_,
                presence="never",
                written="always" if getattr(decorator.info, "exclude_if", None) is None else "sometimes",
                writes=None if alias in (None, name) else str(alias),
            )


def _typed_dict(cls: Any, config: Mapping[str, Any], reader: Reader) -> TypeSpec:
    found: list[FieldSpec] = []
    required: frozenset[str] = cls.__required_keys__
    for name, annotation in dataclass_hints(cls).items():
        needed = name in required
        type_, info = reader.annotated(annotation, config)
        accepts = _accepts(name, info, config) if info is not None else (name,)
        found.append(
            FieldSpec(
                name=name,
                type=type_,
                presence="required" if needed else "optional",
                written="always" if needed else "sometimes",
                accepts=() if accepts == (name,) else accepts,
                writes=_writes(name, info),
            )
        )
    rest: Any = getattr(cls, "__extra_items__", None)
    if getattr(cls, "__closed__", None):
        return TypeSpec(kind="object", fields=tuple(found), extra="forbid")
    if rest is not None and type(rest).__name__ != "NoExtraItemsType":
        items = reader.type(rest, config)
        return TypeSpec(
            kind="object", fields=tuple(found), extra="allow", extra_type=None if items.kind == "any" else items
        )
    return TypeSpec(kind="object", fields=tuple(found), extra=config.get("extra") or "ignore")


def _writes(name: str, info: FieldInfo | None) -> str | None:
    """The name in an output, as a Field() in an annotation says."""
    alias = info.serialization_alias or info.alias if info is not None else None
    return None if alias in (None, name) else str(alias)


def _dataclass(cls: Any, config: Mapping[str, Any], reader: Reader) -> TypeSpec:
    decorators = _Decorators(cls, reader)
    infos: dict[str, FieldInfo] | None = vars(cls).get("__pydantic_fields__")
    found: list[FieldSpec] = []
    if infos is not None:
        found = [_field(name, info, config, decorators, reader) for name, info in infos.items()]
        found += decorators.computed(config)
    else:
        hints = dataclass_hints(cls)
        for each in cls.__dataclass_fields__.values():
            hint: Any = hints.get(each.name)
            if typing.get_origin(hint) is typing.ClassVar or hint is typing.ClassVar:
                continue
            if isinstance(each.default, FieldInfo):
                info = FieldInfo.from_annotated_attribute(hint, each.default)
                found.append(_field(each.name, info, config, decorators, reader))
                continue
            passed = isinstance(hint, dataclasses.InitVar)
            type_, info = reader.annotated(cast("Any", hint).type if passed else hint, config)
            default = default_text(each.default)
            if each.default_factory is not dataclasses.MISSING:
                default = _PLAIN_FACTORIES.get(each.default_factory, FACTORY)
            optional = default == "null" and type_.nullable
            presence: Presence = "required" if default is None else "optional" if optional else "default"
            accepts = _accepts(each.name, info, config) if info is not None else (each.name,)
            found.append(
                FieldSpec(
                    name=each.name,
                    type=type_,
                    presence=presence if each.init else "never",
                    written="never" if passed else "always",
                    accepts=() if accepts == (each.name,) else accepts,
                    writes=_writes(each.name, info),
                    default=redact_default(each.name, default),
                )
            )
    return TypeSpec(
        kind="object",
        fields=tuple(found),
        extra=config.get("extra") or "ignore",
        checks=decorators.model_checks(),
        serializers=decorators.model_serializers(),
    )


def schemas(modules: Iterable[ModuleType]) -> Iterator[Any]:
    """Every model and Pydantic dataclass that modules define, also inside functions and classes.

    Settings are left out: no client sends or reads them, and their defaults come from the environment.
    """
    settings: Any = getattr(sys.modules.get("pydantic_settings"), "BaseSettings", ())
    names = {module.__name__ for module in modules}
    pending: list[Any] = [BaseModel]
    seen: set[Any] = set()
    while pending:
        for cls in type.__subclasses__(pending.pop()):
            if cls not in seen:
                seen.add(cls)
                pending.append(cls)
                generic: Any = getattr(cls, "__pydantic_generic_metadata__", {})
                if cls.__module__ in names and not generic.get("parameters") and not issubclass(cls, settings):
                    yield cls
    for module in modules:
        for value in list(vars(module).values()):
            # By type: a proxy such as Flask's `current_app` raises when it is asked for its class.
            own = issubclass(type(value), type) and value.__module__ == module.__name__ and value not in seen
            if own and "__pydantic_fields__" in vars(value):
                seen.add(value)
                yield value
