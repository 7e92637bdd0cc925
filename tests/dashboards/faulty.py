"""The leads API with faults beside it: what a healthy app never shows must be seen on a dashboard too."""

from __future__ import annotations

import contextlib
import threading
import time

from opentelemetry.instrumentation.schema import observe_cache
from pydantic import BaseModel, ValidationError, field_validator

from leads_api.app import app


class Fragile(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def crash(cls, value: int) -> int:
        raise KeyError(value)


class Strict(BaseModel):
    value: int


class Archive(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def wait(cls, value: int) -> int:
        time.sleep(0.4 + value % 10 / 10)
        return value


@app.post("/archive", response_model=None)
def archive() -> None:
    """A schema that is slow, beside many that are quick."""
    Archive(value=time.monotonic_ns() // 1000)


@app.post("/fragile", response_model=None)
def fragile() -> None:
    """A validator that crashes; its caller lives on."""
    with contextlib.suppress(KeyError):
        Fragile(value=1)


@app.post("/flood", response_model=None)
def flood() -> None:
    """More failures in a second than get a span, outside of any request."""
    thread = threading.Thread(target=fail, args=(250,))
    thread.start()
    thread.join()


def fail(times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(ValidationError):
            Strict.model_validate({})


# our own failure: the app hands over a callable that raises
observe_cache("broken", lambda: [][0])

__all__ = ["app"]
