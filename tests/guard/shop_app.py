"""A small app that serves the schema of the revision that it finds; with SHOP_FIXED=1 always the newest one."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException
from pydantic import BaseModel, ValidationError

app = FastAPI()
_found = ("", 0.0)


class Lead(BaseModel):
    """What clients send."""

    name: str


class LeadOfRegion(BaseModel):
    """What clients have to send once there is a region: none of them does yet."""

    name: str
    region: str


def revision() -> str:
    """The revision of the database, at most half a second old."""
    global _found
    if time.monotonic() - _found[1] > 0.5:
        with sqlite3.connect(os.environ["SHOP_DATABASE"]) as connection:
            row = connection.execute("select version_num from alembic_version").fetchone()
        _found = (row[0] if row else "", time.monotonic())
    return _found[0]


@app.post("/leads")
def create(lead: Annotated[Any, Body()]) -> dict[str, str]:
    """Takes a lead."""
    model = LeadOfRegion if os.environ.get("SHOP_FIXED") or revision() >= "0003" else Lead
    try:
        return {"name": model.model_validate(lead).name}  # type: ignore[attr-defined]
    except ValidationError as error:
        raise HTTPException(422) from error
