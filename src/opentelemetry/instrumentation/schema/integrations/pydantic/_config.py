"""What a model's config says of the types in it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from ..._schemas.fields import TypeKind, TypeSpec

Config = Mapping[str, Any]

COERCES = "config:coerce_numbers_to_str"
_MOMENTS: tuple[TypeKind, ...] = ("date", "time", "datetime", "duration")
_READING: dict[str, tuple[TypeKind, ...]] = {"val_json_bytes": ("bytes",), "val_temporal_unit": ("date", "datetime")}
_WRITING: dict[str, tuple[TypeKind, ...]] = {
    "ser_json_timedelta": ("duration",),
    "ser_json_temporal": _MOMENTS,
    "ser_json_bytes": ("bytes",),
    "ser_json_inf_nan": ("number", "decimal"),
}
"""Settings of a config that change how JSON is read or written, with the kinds that they are about."""
_USUAL = {
    "val_json_bytes": "utf8", "val_temporal_unit": "infer", "ser_json_timedelta": "iso8601",
    "ser_json_temporal": "iso8601", "ser_json_bytes": "utf8", "ser_json_inf_nan": "null",
}  # fmt: skip
_PROPAGATED = (
    "strict", "str_min_length", "str_max_length", "str_strip_whitespace", "str_to_lower", "str_to_upper",
    "coerce_numbers_to_str", "allow_inf_nan", *_WRITING, *_READING,
)  # fmt: skip


def inherited(cls: Any, config: Config) -> Config:
    """What the config of a model says of the plain dataclasses and TypedDicts in it that have none of their own."""
    if issubclass(cls, BaseModel) or hasattr(cls, "__pydantic_config__") or "__pydantic_fields__" in vars(cls):
        return {}
    return {key: config[key] for key in _PROPAGATED if config.get(key) is not None}


def configured(type_: TypeSpec, config: Config) -> TypeSpec:
    """A scalar with what the model's config says of all of its kind."""
    if not config:
        return type_
    changes: dict[str, Any] = {}
    if config.get("strict") and type_.kind not in ("any", "null", "list", "set", "tuple", "map"):
        changes["strict"] = True
    if config.get("allow_inf_nan") is not None and type_.kind in ("number", "decimal"):
        changes["finite"] = not config["allow_inf_nan"]
    if type_.kind == "string" and type_.format in (None, "password", "path"):
        changes |= {
            "min_length": config.get("str_min_length") or None,
            "max_length": config.get("str_max_length"),
            "strip": bool(config.get("str_strip_whitespace")),
            "case": "lower" if config.get("str_to_lower") else "upper" if config.get("str_to_upper") else None,
        }
        if config.get("coerce_numbers_to_str") and not config.get("strict") and type_.format is None:
            changes["checks"] = (COERCES,)
    for names, attribute in ((_READING, "checks"), (_WRITING, "serializers")):
        said = tuple(
            f"config:{name}={config[name]}"
            for name, kinds in names.items()
            if type_.kind in kinds and config.get(name, _USUAL[name]) != _USUAL[name]
        )
        if said:
            changes[attribute] = said
    return replace(type_, **changes) if changes else type_
