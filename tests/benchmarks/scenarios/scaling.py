"""What could grow: schemas, routes, threads, problems a failure, payload."""

from __future__ import annotations

import json
from contextlib import suppress
from contextvars import ContextVar
from itertools import cycle, islice
from threading import Thread
from time import process_time
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from tests.benchmarks.variants import Variant

from . import Run, times
from .models import DATA

_EACH = 2_000  # validations of a thread, which make its start cheap beside them


class Lead(BaseModel):
    id: int
    name: str
    email: str
    age: int
    active: bool


def schemas(variant: Variant, number: int) -> Run:
    """One validation after the other, each by the next schema."""
    models: list[Any] = [create_model(f"Lead{each}", __base__=Lead) for each in range(number)]
    turns = cycle(models)

    def run(calls: int) -> None:
        for model in islice(turns, calls):
            model(**DATA)

    run(number)
    return run


def routes(variant: Variant, number: int) -> Run:
    """One validation in each request, each to the next route."""
    if variant.meters is None:
        current: Any = ContextVar("route")
        requests: list[Any] = list(range(number))
    else:
        from opentelemetry.instrumentation.schema._recording import endpoints, request

        current = request.current_request
        requests = [request.Request(endpoints.web_endpoint("POST", f"/leads/{each}")) for each in range(number)]
    turns = cycle(requests)

    def run(calls: int) -> None:
        for each in islice(turns, calls):
            token = current.set(each)
            Lead(**DATA)
            current.reset(token)

    run(number)
    return run


def threads(variant: Variant, number: int) -> Run:
    """Threads that validate at the same time; CPU time of all."""

    def run(calls: int) -> float:
        started = [Thread(target=times(lambda: Lead(**DATA)), args=(_EACH,)) for _ in range(number)]
        began = process_time()
        for each in started:
            each.start()
        for each in started:
            each.join()
        return (process_time() - began) / number / _EACH * 1e6

    return run


def problems(variant: Variant, number: int) -> Run:
    """A list whose items all fail."""
    validate, wrong = TypeAdapter(list[int]).validate_python, ["?"] * number

    def fail() -> None:
        with suppress(ValidationError):
            validate(wrong)

    return times(fail)


def payload(variant: Variant, number: int) -> Run:
    """A JSON text of so many bytes."""
    validate = TypeAdapter(list[Lead]).validate_json
    text = json.dumps([DATA] * max(1, number // len(json.dumps(DATA) + ", ")))
    return times(lambda: validate(text))
