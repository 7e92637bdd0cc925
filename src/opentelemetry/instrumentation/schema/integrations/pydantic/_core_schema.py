"""Reads core schemas and types: whether they can run Python code, which names they declare, what they are called."""

from __future__ import annotations

import sys
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard, cast

# -- can validating with this schema run Python code?  A type that is not listed means yes.
_CODE = {"function-before", "function-after", "function-wrap", "function-plain", "call", "custom-error", "generator"}
_SCALAR = {
    "int", "str", "float", "bool", "none", "any", "bytes", "date", "time", "datetime", "timedelta", "decimal", "uuid",
    "url", "multi-host-url", "complex", "literal", "callable", "definition-ref",
}  # fmt: skip
_SAFE = _SCALAR | {
    "invalid", "fraction", "missing-sentinel", "ellipsis", "enum", "list", "deque", "tuple", "set", "frozenset", "dict",
    "frozendict", "ordered-dict", "counter", "nullable", "union", "chain", "lax-or-strict", "json-or-python", "json",
    "typed-dict", "model-fields", "dataclass-args", "definitions", "model-field", "typed-dict-field", "dataclass-field",
    "named-tuple-field", "arguments", "arguments-v3", "no-info", "with-info", "general", "field",
}  # fmt: skip
_PLAIN_FACTORIES: tuple[Any, ...] = (list, dict, set, tuple, frozenset, int, str, float, bool, bytes)
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple)
_CLASSES = ("model", "dataclass")
# Parts of a schema that hold no schema, but data. In a plain mapping such as `fields`, they are names of fields.
_NOT_VALIDATION = ("metadata", "serialization", "default", "expected", "members", "custom_error_context")


def _walk(schema: Any, prune: Callable[[dict[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    """Every mapping in a core schema, but nothing below those for which `prune` is true."""
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if _is_mapping(node):
            yield node
            if not prune(node):
                skip = _NOT_VALIDATION if isinstance(node.get("type"), str) else ()
                pending.extend(v for k, v in node.items() if isinstance(v, _CONTAINERS) and k not in skip)
        else:
            parts: Iterable[Any] = node
            pending.extend(part for part in parts if isinstance(part, _CONTAINERS))


def _is_mapping(node: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(node, dict)


def _never(_node: object) -> bool:
    return False


def runs_code(schema: Any, known: Callable[[Any], bool | None] = lambda _: None) -> bool:
    """Whether validating with a core schema can run Python code, and so nest another validation.

    Args:
        schema: A pydantic-core schema.
        known: Returns the answer of a model or dataclass class if it is known, else None.
    """
    seen: dict[int, bool | None] = {}

    def prune(node: dict[str, Any]) -> bool:
        if node.get("type") in _CLASSES:
            cls = node["cls"]
            if id(cls) in seen:
                return True
            seen[id(cls)] = known(cls)
            return seen[id(cls)] is not None
        kind = node.get("type")
        return isinstance(kind, str) and kind in _SCALAR

    for node in _walk(schema, prune):
        kind = node.get("type")
        if not isinstance(kind, str):  # a plain mapping such as `fields`, where `type` may be a field's name
            continue
        if kind in _CLASSES:
            cls = node["cls"]
            answer = seen[id(cls)] if id(cls) in seen else known(cls)
            if answer or (answer is None and _runs(node, kind)):
                return True
        elif kind != "model-field" and _runs(node, kind):
            return True
    return False


def _runs(node: dict[str, Any], kind: str) -> bool:
    if kind in _CODE:
        return kind in ("call", "generator", "custom-error") or not _pydantics_own(node["function"]["function"])
    if kind == "default":
        return "default_factory" in node and node["default_factory"] not in _PLAIN_FACTORIES
    if kind in _CLASSES:
        config: dict[str, Any] = node.get("config") or {}
        attributes = config.get("from_attributes")
        new = node["cls"].__new__
        return bool(node.get("custom_init") or node.get("post_init") or attributes or new is not object.__new__)
    if kind == "tagged-union":
        return callable(node.get("discriminator"))
    if kind in ("is-instance", "is-subclass"):
        return type(node.get("cls")) not in (type, ABCMeta)
    if kind == "named-tuple":
        return not (getattr(node["cls"].__new__, "__module__", None) or "").startswith("namedtuple_")
    return kind not in _SAFE or bool(node.get("missing") or node.get("from_attributes"))


def _pydantics_own(function: Any) -> bool:
    """Pydantic's own functions (for deque, Path, SecretStr …) build no models; `import_string` imports."""
    function = getattr(function, "func", function)
    module = getattr(function, "__module__", None) or ""
    return module.startswith("pydantic.") and getattr(function, "__name__", "") != "import_string"


def nested_classes(schema: Any, own: Any) -> set[Any]:
    """The model and dataclass classes inside a core schema, but for `own`; not those inside them."""

    def foreign(node: dict[str, Any]) -> bool:
        return node.get("type") in _CLASSES and node.get("cls") is not own

    return {node["cls"] for node in _walk(schema, foreign) if foreign(node)}


def declared_names(schema: Any) -> frozenset[str]:
    """Every field name and alias in a core schema."""
    names: set[str] = set()
    for node in _walk(schema, _never):
        fields = node.get("fields")
        if _is_mapping(fields):
            names.update(fields)
        if isinstance(node.get("name"), str):
            names.add(node["name"])
        names.update(_aliases(node.get("validation_alias")))
        names.update(_aliases(node.get("alias")))
    return frozenset(names)


def _aliases(alias: Any) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, (list, tuple)):
        for part in cast("Iterable[Any]", alias):
            yield from _aliases(part)


def name_and_module(kind: Any, schema_type: Any) -> tuple[str, str | None]:
    """`schema.name` and `schema.module`, from the type alone.

    Args:
        kind: Pydantic's schema kind, such as `TypeAdapter` or `validate_call`.
        schema_type: A class, an annotation, or the function of a `validate_call`.
    """
    if kind == "validate_call":
        function = getattr(schema_type, "func", schema_type)
        return getattr(function, "__qualname__", None) or type(function).__name__, getattr(function, "__module__", None)
    return type_name(schema_type), _module(schema_type)


def unannotated(annotation: Any) -> Any:
    """A type without its `Annotated` metadata."""
    return annotation.__origin__ if typing.get_origin(annotation) is typing.Annotated else annotation


def type_name(annotation: Any) -> str:
    """A type as a person writes it; without `Annotated` metadata, and without the values of a `Literal`."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, str):  # as the source has it, unless there may be a `Literal` in it
        return annotation if annotation.replace(".", "").isidentifier() else "ForwardRef"
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return type_name(annotation.__origin__)
    if origin is typing.Literal:
        return "Literal"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, typing.get_args(annotation)))
    if origin is not None:
        args = ", ".join(type_name(arg) for arg in typing.get_args(annotation))
        return f"{type_name(origin)}[{args}]" if args else type_name(origin)
    if isinstance(annotation, list):  # the parameters of a Callable
        return "[...]"
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None)
    generic = getattr(annotation, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"] is not None and "[" in str(name):  # else the author chose the name
        # Pydantic's own is the same, but for the values of a `Literal` and the metadata of an `Annotated`.
        return f"{generic['origin'].__name__}[{', '.join(map(type_name, generic['args']))}]"
    return name if isinstance(name, str) else type(annotation).__name__


_NOBODYS = sys.stdlib_module_names | {"annotated_types", "pydantic", "pydantic_core", "typing_extensions"}


def owner(module: str | None) -> str | None:
    """A module, or None if it is Python's or Pydantic's own: their types belong to the code that uses them."""
    return None if module is None or module.partition(".")[0] in _NOBODYS else module


def _module(annotation: Any) -> str | None:
    """The module of the first class that is neither Python's nor Pydantic's own."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return None
    if origin is typing.Annotated:
        return _module(annotation.__origin__)
    if origin is not None:
        parts: tuple[Any, ...] = origin, *typing.get_args(annotation)
    elif isinstance(annotation, type):
        held: Any = vars(annotation)
        generic: dict[str, Any] = held.get("__pydantic_generic_metadata__") or {}
        if not generic.get("origin"):
            return owner(getattr(annotation, "__module__", None))
        parts = generic["origin"], *generic["args"]  # its `__module__` is that of the first to write `Page[Lead]`
    else:
        return None
    return next((found for found in map(_module, parts) if found is not None), None)
