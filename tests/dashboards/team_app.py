"""A team's app: equal schemas and routes in every team; FAULTY=1 takes each of them over its limit, 0 to half of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import Any

from fastapi import FastAPI, HTTPException
from opentelemetry.instrumentation.schema import observe_cache
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from sqlalchemy import Float, Numeric, create_engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

FAULTY = os.environ["FAULTY"] == "1"
PAUSE = 0.4 if FAULTY else 0.12  # s; the limit of the test is 0.25
LOOKUPS = 10 if FAULTY else 2  # queries in one validation; the limit is 5

app = FastAPI()
engine = create_engine(f"sqlite:///{os.environ['TEAM_DATABASE']}")
kept = TypeAdapter(dict[str, int])
calls = 0


@event.listens_for(engine, "connect")
def _connected(connection: sqlite3.Connection, _: object) -> None:
    connection.create_function("pause", 1, lambda seconds: time.sleep(seconds) or 0)


class Lead(BaseModel):
    value: int
    if os.environ["VERSION"] == "2":
        remark: str = ""

    @field_validator("value")
    @classmethod
    def slow(cls, value: int) -> int:
        time.sleep(PAUSE)
        return value


class Fragile(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def crash(cls, value: int) -> int:
        raise KeyError(value)


class Strict(BaseModel):
    value: int


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[float] = mapped_column(Numeric(5, 2) if FAULTY else Float())
    label: Mapped[str]


class ParcelIn(BaseModel):
    weight: float = Field(ge=0, le=100)
    label: str

    @field_validator("label")  # what a validator lets through nobody knows: the weight does not fit, and has none
    @classmethod
    def known(cls, label: str) -> str:
        with engine.connect() as connection:
            for _ in range(LOOKUPS):
                connection.execute(text("SELECT 1"))
        return label


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/leads", response_model=None)
def leads(body: dict[str, Any]) -> None:
    """Validated in the handler, so that a slow validator holds one thread and not the event loop."""
    try:
        Lead.model_validate(body)
    except ValidationError as error:
        raise HTTPException(422) from error
    with engine.connect() as connection:
        connection.execute(text("SELECT pause(:seconds)"), {"seconds": PAUSE})


@app.post("/build", response_model=None)
def build() -> None:
    """A validator built for each call, or for one in four, and one that asks the database."""
    global calls
    calls += 1
    (TypeAdapter(dict[str, int]) if FAULTY or calls % 4 == 0 else kept).validate_python({"a": 1})
    ParcelIn(weight=1, label="a")


@app.post("/fault", response_model=None)
def fault() -> None:
    """A crash, and more failures in a second than get a span; half as many are no fault."""
    with contextlib.suppress(KeyError):
        Fragile(value=1) if FAULTY else Strict(value=1)
    thread = threading.Thread(target=fail, args=(130 if FAULTY else 50,))
    thread.start()
    thread.join()


def fail(times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(ValidationError):
            Strict.model_validate({})


def addresses() -> tuple[int, int]:
    """Hits and misses of a cache: half of the look-ups, or 92 %."""
    lookups = int(time.monotonic() * 100)
    hits = lookups // 2 if FAULTY else lookups * 92 // 100
    return hits, lookups - hits


observe_cache("addresses", addresses)
if FAULTY:
    observe_cache("broken", lambda: [][0])
