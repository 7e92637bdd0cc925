"""Pydantic: a small model whose schema runs no code, and one with a validator, in which others could nest."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError, field_validator

from tests.benchmarks.variants import ATTRIBUTES, BUCKETS, Variant

from . import Run, in_request, times

DATA: dict[str, Any] = {"id": 1, "name": "Ada", "email": "ada@example.org", "age": 36, "active": True}
WRONG: dict[str, Any] = {"id": "one", "name": "Ada", "email": "ada@example.org", "age": "old", "active": "perhaps"}
TEXT = json.dumps(DATA)


def _leaf() -> type[BaseModel]:
    class Lead(BaseModel):
        id: int
        name: str
        email: str
        age: int
        active: bool

    return Lead


def _code() -> type[BaseModel]:
    class Checked(_leaf()):
        @field_validator("age")
        @classmethod
        def positive(cls, age: int) -> int:
            return age

    return Checked


def _timed(core: Any, variant: Variant) -> Any:
    if variant.timer is None:
        return core
    return SimpleNamespace(
        validate_python=variant.timer(core.validate_python),
        validate_json=variant.timer(core.validate_json),
        title=core.title,
    )


def _model(make: Callable[[], type[BaseModel]], variant: Variant) -> type[BaseModel]:
    model = make()
    core = vars(model)["__pydantic_validator__"]
    if variant.timer is not None:
        type.__setattr__(model, "__pydantic_validator__", _timed(core, variant))
    return model


def _adapter(make: Callable[[], type[BaseModel]], variant: Variant) -> TypeAdapter[Any]:
    adapter = TypeAdapter(make())
    adapter.validator = _timed(adapter.validator, variant)
    return adapter


def _call(make: Callable[[], type[BaseModel]], variant: Variant) -> Run:
    model = _model(make, variant)
    return times(lambda: model(**DATA))


def _validate(make: Callable[[], type[BaseModel]], variant: Variant) -> Run:
    validate = _model(make, variant).model_validate
    return times(lambda: validate(DATA))


def _json(make: Callable[[], type[BaseModel]], variant: Variant) -> Run:
    validate = _model(make, variant).model_validate_json
    return times(lambda: validate(TEXT))


def _adapted(make: Callable[[], type[BaseModel]], variant: Variant) -> Run:
    validate = _adapter(make, variant).validate_python
    return times(lambda: validate(DATA))


def leaf_call(variant: Variant) -> Run:
    return _call(_leaf, variant)


def leaf_validate(variant: Variant) -> Run:
    return _validate(_leaf, variant)


def leaf_json(variant: Variant) -> Run:
    return _json(_leaf, variant)


def leaf_adapter(variant: Variant) -> Run:
    return _adapted(_leaf, variant)


def leaf_call_in_request(variant: Variant) -> Run:
    return in_request(leaf_call(variant), variant)


def leaf_adapter_in_request(variant: Variant) -> Run:
    return in_request(leaf_adapter(variant), variant)


def code_call(variant: Variant) -> Run:
    return _call(_code, variant)


def code_validate(variant: Variant) -> Run:
    return _validate(_code, variant)


def code_json(variant: Variant) -> Run:
    return _json(_code, variant)


def code_adapter(variant: Variant) -> Run:
    return _adapted(_code, variant)


def code_call_in_request(variant: Variant) -> Run:
    return in_request(code_call(variant), variant)


def failing(variant: Variant) -> Run:
    """Three problems, in a request."""
    validate = _model(_leaf, variant).model_validate

    def fail() -> None:
        with suppress(ValidationError):
            validate(WRONG)

    return in_request(times(fail), variant)


def record(variant: Variant) -> Run:
    """One SDK measurement, alone."""
    meter = variant.meters.get_meter("bench")
    histogram = meter.create_histogram("alone", "s", explicit_bucket_boundaries_advisory=BUCKETS)
    return times(lambda: histogram.record(0.001, ATTRIBUTES))
