"""A schema has one fingerprint: whatever Pydantic reads it, in whatever process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._schemas.versions import fingerprint
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields
from pydantic import BaseModel

from tests.integration.fingerprinted import fingerprints

HERE = Path(__file__).parent
KNOWN = {
    "Scalars": "a525b65a2a50",
    "Bounds": "6fe32a307d9c",
    "Collections": "4265d5533b9d",
    "Names": "3903fd9f4a3d",
    "Code": "f08ead3146b1",
    "Tagged": "f108bab42576",
    "Tree": "cfb30f6798be",
    "Page[int]": "d97ecee9e8c2",
    "Held": "974edb41afc7",
    "Numbers": "f1232c22922a",
    "Configured": "b8f2100b1371",
    "Point": "99e150e3c355",
}
"""Written by Pydantic 2.14.4; `make matrix` reads them with the others."""


def test_fingerprints_are_known() -> None:
    """Every Pydantic gives every model the fingerprint that is written here."""
    assert fingerprints() == KNOWN


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_processes_agree(seed: str) -> None:
    """Another process with another hash seed gives the same ones."""
    done = subprocess.run(
        [sys.executable, str(HERE / "fingerprinted.py")],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == KNOWN


def _of(cls: type[BaseModel]) -> str:
    document = fields(cls)
    return fingerprint(next(iter(document.values())), document)


def test_order_means_nothing() -> None:
    """Fields, union members and values in another order, and another class name, give the same fingerprint."""
    from typing import Literal

    class One(BaseModel):
        a: int
        b: Literal["x", "y"]
        c: int | str | None

    class Other(BaseModel):
        c: str | int | None
        b: Literal["y", "x"]
        a: int

    assert _of(One) == _of(Other)


def test_what_changes_a_fingerprint() -> None:
    """A bound, a default, presence, a nested field or a validator's name gives another fingerprint."""
    bodies = [
        "a: int",
        "a: int = 1",
        "a: int = 2",
        "a: int | None",
        "a: Annotated[int, Field(ge=1)]",
        "b: int",
        "a: int; b: int",
        "a: In",
        "a: In2",
        "a: Annotated[int, AfterValidator(abs)]",
        "model_config = ConfigDict(extra='forbid'); a: int",
    ]
    names: dict[str, object] = {"__name__": __name__}
    text = (
        "from typing import Annotated\nfrom pydantic import *\n"
        "class In(BaseModel): x: int\nclass In2(BaseModel): x: str\n"
        + "\n".join(f"class M{number}(BaseModel): {body}" for number, body in enumerate(bodies))
    )
    exec(compile(text, "<models>", "exec", dont_inherit=True), names)
    found = [_of(names[f"M{number}"]) for number in range(len(bodies))]  # type: ignore[arg-type]
    assert len(set(found)) == len(bodies)
