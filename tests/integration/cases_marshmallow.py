"""The ways to validate with marshmallow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validates_schema

from tests.integration.validation_cases import Calls, Table

TABLE = Table("marshmallow", ValidationError)
way, nothing = TABLE.way, TABLE.nothing
GOOD, BAD = {"price": 1}, {"price": "x"}
PRICE = {("price", "invalid"): 1}


class Item(Schema):
    price = fields.Integer(required=True)


def lead(**options: Any) -> Any:
    """An instance of a class of its own at each call."""

    class Lead(Schema):
        price = fields.Integer(required=True)

    return Lead(**options)


# -- the methods


@way(problems=PRICE)
def load() -> Calls:
    schema = lead()
    return Calls(lambda: schema.load(GOOD), lambda: schema.load(BAD))


@way(problems=PRICE)
def loads() -> Calls:
    schema = lead()
    return Calls(lambda: schema.loads('{"price": 1}'), lambda: schema.loads('{"price": "x"}'))


@way(bad={}, hits=1, raises=json.JSONDecodeError)
def loads_what_is_no_json() -> Calls:
    schema = lead()
    return Calls(lambda: schema.loads('{"price": 1}'), lambda: schema.loads("{"))


@way(problems=PRICE, raises=None)
def validate() -> Calls:
    schema = lead()
    return Calls(lambda: schema.validate(GOOD), lambda: schema.validate(BAD))


@way(problems={("*.price", "invalid"): 2})
def many_by_argument() -> Calls:
    schema = lead()
    return Calls(lambda: schema.load([GOOD] * 9, many=True), lambda: schema.load([BAD, GOOD, BAD], many=True))


@way(problems={("*.price", "invalid"): 1})
def many_by_instance() -> Calls:
    schema = lead(many=True)
    return Calls(lambda: schema.load([GOOD] * 9), lambda: schema.load([BAD]))


@way(problems=PRICE)
def partial_by_argument() -> Calls:
    schema = lead()
    return Calls(lambda: schema.load({}, partial=True), lambda: schema.load(BAD, partial=True))


@way(problems={("price", "required"): 1})
def partial_by_instance() -> Calls:
    class Lead(Schema):
        price = fields.Integer(required=True)
        name = fields.String(required=True)

    schema = Lead(partial=("name",))
    return Calls(lambda: schema.load(GOOD), lambda: schema.load({}))


@way(problems={("*", "unknown"): 1})
def unknown_keys() -> Calls:
    schema = lead()
    return Calls(lambda: schema.load({"a": 1, **GOOD}, unknown=EXCLUDE), lambda: schema.load({"a": 1, **GOOD}))


@way(problems=PRICE, hits=0, misses=3)
def instance_per_call() -> Calls:
    Lead = type(lead())
    return Calls(lambda: Lead().load(GOOD), lambda: Lead().load(BAD))


@way({"GeneratedSchema": 1}, {("GeneratedSchema", "invalid"): 1}, PRICE)
def class_of_a_dictionary() -> Calls:
    schema = Schema.from_dict({"price": fields.Integer()})()
    return Calls(lambda: schema.load(GOOD), lambda: schema.load(BAD))


@nothing
def dump() -> Calls:
    schema = lead()
    return Calls(lambda: schema.dump(GOOD), lambda: schema.dumps(GOOD))


@nothing
def instance_that_is_not_used() -> Calls:
    return Calls(lead, lead)


# -- Schemas in Schemas


@way(problems={("item.price", "invalid"): 1})
def nested() -> Calls:
    class Lead(Schema):
        item = fields.Nested(Item)

    schema = Lead()
    return Calls(lambda: schema.load({"item": GOOD}), lambda: schema.load({"item": BAD}))


@way(problems={("items.*.price", "invalid"): 1})
def nested_many() -> Calls:
    class Lead(Schema):
        items = fields.List(fields.Nested(Item))

    schema = Lead()
    return Calls(lambda: schema.load({"items": [GOOD] * 9}), lambda: schema.load({"items": [GOOD, BAD]}))


@way(problems={("prices.*.price", "invalid"): 1})
def plucked() -> Calls:
    class Lead(Schema):
        prices = fields.Pluck(Item, "price", many=True)

    schema = Lead()
    return Calls(lambda: schema.load({"prices": [1, 2]}), lambda: schema.load({"prices": [1, "x"]}))


@way(problems={("below.below", "type"): 1})
def nested_in_itself() -> Calls:
    class Lead(Schema):
        below = fields.Nested(lambda: Lead())

    schema = Lead()
    return Calls(lambda: schema.load({"below": {"below": {}}}), lambda: schema.load({"below": {"below": 1}}))


@way(problems=PRICE)
def loaded_by_hooks() -> Calls:
    class Lead(Schema):
        price = fields.Integer()

        @pre_load
        def before(self, data: Any, **_: Any) -> Any:
            Item().load(GOOD)
            return data

        @post_load
        def after(self, data: Any, **_: Any) -> Any:
            return Item().load(data)

        @validates_schema
        def check(self, _data: Any, **_: Any) -> None:
            assert Item().validate({})

    schema = Lead()
    return Calls(lambda: schema.load(GOOD), lambda: schema.load(BAD))


# -- errors of one's own


class Refused(Exception):
    """What an application raises instead."""


@way(problems=PRICE)
def handle_error_that_returns() -> Calls:
    class Lead(Schema):
        price = fields.Integer()

        def handle_error(self, error: Any, data: Any, **_: Any) -> None:
            pass

    schema = Lead()
    return Calls(lambda: schema.load(GOOD), lambda: schema.load(BAD))


@way(bad={("Lead", "error"): 1}, raises=Refused)
def handle_error_that_raises() -> Calls:
    class Lead(Schema):
        price = fields.Integer()

        def handle_error(self, error: Any, data: Any, **_: Any) -> None:
            raise Refused from error

    schema = Lead()
    return Calls(lambda: schema.load(GOOD), lambda: schema.load(BAD))


@way(bad={("Lead", "error"): 1}, raises=ZeroDivisionError)
def field_that_crashes() -> Calls:
    class Lead(Schema):
        price = fields.Function(deserialize=lambda value: 1 / value)

    schema = Lead()
    return Calls(lambda: schema.load({"price": 1}), lambda: schema.load({"price": 0}))


# -- webargs


def parsed(argmap: Any) -> Calls:
    """By webargs' parser, from the JSON body of a request to Flask."""
    flask, parser = pytest.importorskip("flask"), pytest.importorskip("webargs.flaskparser").parser
    app = flask.Flask("leads")

    def parse(body: Any) -> None:
        with app.test_request_context(json=body):
            parser.parse(argmap, flask.request, location="json")

    return Calls(lambda: parse(GOOD), lambda: parse(BAD))


def _refused() -> Any:
    try:
        from werkzeug.exceptions import UnprocessableEntity
    except ImportError:
        return None
    return UnprocessableEntity


@way(problems=PRICE, raises=_refused())
def webargs() -> Calls:
    return parsed(lead())


@way(problems=PRICE, hits=0, misses=3, raises=_refused())
def webargs_of_a_class() -> Calls:
    return parsed(type(lead()))


@way({"GeneratedSchema": 1}, {("GeneratedSchema", "invalid"): 1}, PRICE, hits=0, misses=3, raises=_refused())
def webargs_of_a_dictionary() -> Calls:
    return parsed({"price": fields.Integer()})
