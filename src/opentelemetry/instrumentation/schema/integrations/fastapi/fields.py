"""Where FastAPI uses schemas: as the body of a request, or as a response."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIRouter

from ..._schemas.fields import reference


def directions(modules: Iterable[ModuleType]) -> Iterator[tuple[str, Literal["request", "response"]]]:
    """References of the classes that routes declare, of every application and router that modules hold.

    A router counts too: an application that a function makes is not there when the modules are imported.
    """
    seen: set[int] = set()
    for module in modules:
        for value in list(vars(module).values()):
            if issubclass(type(value), (FastAPI, APIRouter)):
                for route in value.routes:
                    if isinstance(route, APIRoute) and id(route) not in seen:
                        seen.add(id(route))
                        yield from _of(route)


def _of(route: APIRoute) -> Iterator[tuple[str, Literal["request", "response"]]]:
    dependants: list[Any] = [route.dependant]
    while dependants:
        each = dependants.pop()
        dependants += each.dependencies
        for parameter in (*each.body_params, *each.query_params, *each.header_params, *each.cookie_params):
            for ref in classes(parameter.field_info.annotation):
                yield ref, "request"
    answers: list[Any] = [route.response_model, *(each.get("model") for each in route.responses.values())]
    for answer in answers:
        for ref in classes(answer):
            yield ref, "response"


def classes(annotation: Any) -> Iterator[str]:
    """References of the classes with fields in an annotation."""
    for each in typing.get_args(annotation):
        yield from classes(each)
    if isinstance(annotation, type) and (hasattr(annotation, "model_fields") or dataclasses.is_dataclass(annotation)):
        yield reference(annotation.__module__, annotation.__qualname__)
