"""What the comparison says of two versions, against what their validators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._schemas.compare import compare
from opentelemetry.instrumentation.schema._schemas.fields import Document
from opentelemetry.instrumentation.schema._schemas.findings import Comparison
from opentelemetry.instrumentation.schema._schemas.verdicts import DIRECTIONS, PayloadDirection
from opentelemetry.instrumentation.schema.integrations.jsonschema.fields import fields as read_json_schema
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as read_model

from tests.compatibility import table
from tests.compatibility.judge import is_model, truth
from tests.compatibility.pairs import CITED, PAIRS, Pair

WRONG_BREAKING: set[tuple[str, PayloadDirection]] = set()
"""Pairs that are called breaking although every input passed: none is known."""

EACH_CHANGE = 150
NIGHTLY = 1000
"""Inputs a pair and direction."""


def read(schema: Any) -> Document:
    return read_model(schema) if is_model(schema) else read_json_schema(schema)


def compared(pair: Pair) -> tuple[Comparison, str, Any, Any]:
    old, new = pair.models()
    after = read(new)
    return compare(read(old), after), next(iter(after)), old, new


def said(comparison: Comparison, ref: str, direction: PayloadDirection) -> str:
    """The verdict without what is only warned of."""
    level = comparison.level(ref, direction)
    return "compatible" if level == "warning" else level


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_verdicts(pair: Pair) -> None:
    """Each pair gets the verdicts that are written down beside it."""
    comparison, ref, *_ = compared(pair)
    found = {direction: said(comparison, ref, direction) for direction in DIRECTIONS}
    assert found == {"request": pair.request, "response": pair.response}, comparison.findings


def test_there_are_enough_pairs() -> None:
    """At least 60 pairs, 15 of them after public issues, and half of the pairs break something."""
    breaking = [pair for pair in PAIRS if "breaking" in (pair.request, pair.response)]
    assert len(PAIRS) >= 60
    assert len([pair for pair in CITED if "#" in pair.cites]) >= 15
    assert len(breaking) * 2 >= len(PAIRS)
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)


def _judged(pair: Pair, number: int, generated: bool) -> None:
    comparison, ref, old, new = compared(pair)
    for direction, (tried, refused) in truth(old, new, number, generated=generated).items():
        assert tried >= number
        verdict = said(comparison, ref, direction)  # type: ignore[arg-type]
        if refused is not None:
            assert verdict != "compatible", f"{direction}: {refused} breaks"
        else:
            assert verdict != "breaking" or (pair.name, direction) in WRONG_BREAKING, f"{direction}: nothing breaks"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_boundary_values_agree(pair: Pair) -> None:
    """No input at a bound of either version breaks what was called compatible, and some breaks what was not."""
    _judged(pair, EACH_CHANGE, generated=False)


@pytest.mark.nightly
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_generated_inputs_agree(pair: Pair) -> None:
    """The same of 1,000 inputs, also of those that hypothesis and polyfactory make."""
    _judged(pair, NIGHTLY, generated=True)


def test_the_docs_hold_the_table() -> None:
    """docs/compatibility.md holds every verdict, word by word as the comparison says it."""
    text = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()
    for part in (table.fields(), table.others(), table.constraints(), table.tables()):
        assert "\n".join(part) in text
    assert f"measured: {len(PAIRS)} pairs of versions" in text
