"""What the comparison says of pairs that it was once wrong about."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from marshmallow import Schema
from opentelemetry.instrumentation.schema._schemas.code import code_digest
from opentelemetry.instrumentation.schema._schemas.compare import compare
from opentelemetry.instrumentation.schema._schemas.verdicts import DIRECTIONS
from opentelemetry.instrumentation.schema.integrations.jsonschema.fields import fields as read_json_schema
from opentelemetry.instrumentation.schema.integrations.marshmallow.fields import fields as read_schema
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as read_model

from tests.compatibility import judge, pairs
from tests.compatibility.witnessed_pairs import NOTHING, SCHEMAS, WITNESSED, WitnessedPair

IMPORTS = """
import collections, dataclasses, fractions, ipaddress, re
from datetime import timezone
from enum import IntEnum, IntFlag
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar
from pydantic_core import core_schema
from typing_extensions import TypeAliasType
T = TypeVar("T")
"""
MARSHMALLOW = """
from datetime import timezone
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema
from webargs.fields import DelimitedList
"""


@pytest.mark.filterwarnings("ignore:`json_encoders` is deprecated")
@pytest.mark.parametrize("pair", WITNESSED, ids=lambda pair: pair.name)
def test_verdicts_and_witnesses(pair: WitnessedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair gets the verdicts beside it, and its witness passes the old schema alone."""
    marshmallow = pair in SCHEMAS
    monkeypatch.setattr(pairs, "PRELUDE", MARSHMALLOW if marshmallow else pairs.PRELUDE + IMPORTS)
    old, new = pairs.build(pair.old), pairs.build(pair.new)
    read = read_schema if marshmallow else read_json_schema if isinstance(pair.old, dict) else read_model
    after = read(new, code_digest)
    comparison = compare(read(old, code_digest), after)
    levels = {each: comparison.level(next(iter(after)), each).replace("warning", "compatible") for each in DIRECTIONS}
    assert levels == {"request": pair.request, "response": pair.response}, comparison.findings
    if pair.witness is NOTHING:
        assert pair.request != "breaking"
        return
    assert pair.request != "compatible"
    assert [accepts(each)(pair.witness) for each in (old, new)] == [True, False]


def accepts(schema: Any) -> judge.Accepts:
    if hasattr(schema, "_declared_fields"):
        return lambda document: not schema().validate(document) if schema.load is Schema.load else False
    if judge.is_model(schema):
        return judge.accepts(schema)
    return validator_for(schema, default=Draft202012Validator)(schema).is_valid
