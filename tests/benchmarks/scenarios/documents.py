"""jsonschema and marshmallow: a small document, and one of 500 items."""

from __future__ import annotations

from typing import Any

import jsonschema
import marshmallow
from marshmallow import fields

from tests.benchmarks.variants import Variant

from . import Run, times

ITEM: dict[str, Any] = {"id": 1, "name": "Ada", "email": "ada@example.org", "age": 36, "active": True}
ITEMS: dict[str, Any] = {"items": [ITEM] * 500}
_LEAD: dict[str, Any] = {
    "title": "Lead",
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string", "maxLength": 100},
        "email": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
        "active": {"type": "boolean"},
    },
    "required": ["id", "name"],
}
_LEADS: dict[str, Any] = {
    "title": "Leads",
    "type": "object",
    "properties": {"items": {"type": "array", "items": _LEAD}},
}


class LeadSchema(marshmallow.Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    email = fields.String()
    age = fields.Integer()
    active = fields.Boolean()


class LeadsSchema(marshmallow.Schema):
    items = fields.List(fields.Nested(LeadSchema))


def _jsonschema(schema: dict[str, Any], document: Any, variant: Variant) -> Run:
    validate: Any = jsonschema.Draft202012Validator(schema).validate
    if variant.timer is not None:
        validate = variant.timer(validate)
    return times(lambda: validate(document))


def nothing(variant: Variant) -> Run:
    """A function that does nothing: what the timer costs by itself, too little to see beside a document."""

    def validate(document: Any) -> None:
        pass

    timed = validate if variant.timer is None else variant.timer(validate)
    return times(lambda: timed(ITEM))


def _marshmallow(schema: marshmallow.Schema, document: Any, variant: Variant) -> Run:
    load: Any = schema.load
    if variant.timer is not None:
        load = variant.timer(load)
    return times(lambda: load(document))


def jsonschema_small(variant: Variant) -> Run:
    return _jsonschema(_LEAD, ITEM, variant)


def jsonschema_items(variant: Variant) -> Run:
    return _jsonschema(_LEADS, ITEMS, variant)


def marshmallow_small(variant: Variant) -> Run:
    return _marshmallow(LeadSchema(), ITEM, variant)


def marshmallow_items(variant: Variant) -> Run:
    return _marshmallow(LeadsSchema(), ITEMS, variant)
