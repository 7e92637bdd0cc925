"""The ways to validate with jsonschema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema
from jsonschema import validators
from jsonschema.exceptions import ErrorTree, SchemaError, ValidationError, best_match

from tests.integration.validation_cases import Calls, Table

TABLE = Table("jsonschema", ValidationError)
way, nothing = TABLE.way, TABLE.nothing
Draft = jsonschema.Draft202012Validator
DIALECT = referencing.jsonschema.DRAFT202012

ITEM: dict[str, Any] = {"$id": "urn:item", "type": "object", "properties": {"price": {"type": "integer"}}}
LEAD: dict[str, Any] = {"title": "Lead", **ITEM}
GOOD, BAD = {"price": 1}, {"price": "x"}
PRICE = {("price", "type"): 1}


def calls(validator: Any) -> Calls:
    return Calls(lambda: validator.validate(GOOD), lambda: validator.validate(BAD))


# -- with a validator, and without one


@way(problems=PRICE, hits=0, misses=3)
def function() -> Calls:
    return Calls(lambda: jsonschema.validate(GOOD, LEAD), lambda: jsonschema.validate(BAD, LEAD))


@way(problems=PRICE, hits=0, misses=3)
def function_with_a_class() -> Calls:
    return Calls(lambda: jsonschema.validate(GOOD, LEAD, cls=Draft), lambda: jsonschema.validate(BAD, LEAD, cls=Draft))


@way(problems=PRICE)
def validate() -> Calls:
    return calls(Draft(LEAD))


@way(problems=PRICE)
def checked_first() -> Calls:
    Draft.check_schema(LEAD)
    return calls(Draft(LEAD))


@way(problems=PRICE, hits=0, misses=3)
def validator_built_per_call() -> Calls:
    return Calls(lambda: Draft(LEAD).validate(GOOD), lambda: Draft(LEAD).validate(BAD))


@way(problems=PRICE, raises=None)
def is_valid() -> Calls:
    validator = Draft(LEAD)
    return Calls(lambda: validator.is_valid(GOOD), lambda: validator.is_valid(BAD))


@way(problems={("$", "type"): 1, ("$", "enum"): 1}, raises=None)
def iter_errors_to_the_end() -> Calls:
    validator = Draft({"title": "Lead", "type": "integer", "enum": [1]})
    return Calls(lambda: list(validator.iter_errors(1)), lambda: list(validator.iter_errors("x")))


@way(problems={("$", "type"): 1}, raises=None)
def iter_errors_up_to_the_first() -> Calls:
    validator = Draft({"title": "Lead", "type": "integer", "enum": [1]})

    def first(instance: Any) -> None:
        errors = validator.iter_errors(instance)
        next(errors, None)
        errors.close()

    return Calls(lambda: first(1), lambda: first("x"))


@way(problems={("$", "type"): 1}, raises=None)
def iter_errors_dropped_after_the_first() -> Calls:
    validator = Draft({"title": "Lead", "type": "integer", "enum": [1]})
    return Calls(lambda: next(validator.iter_errors(1), None), lambda: next(validator.iter_errors("x")))


@nothing
def iter_errors_never_asked() -> Calls:
    validator = Draft(LEAD)
    return Calls(lambda: bool(validator.iter_errors(GOOD)), lambda: bool(validator.iter_errors(BAD)))


@way(problems=PRICE, raises=None)
def best_of_its_errors() -> Calls:
    validator = Draft(LEAD)
    return Calls(lambda: best_match(validator.iter_errors(GOOD)), lambda: best_match(validator.iter_errors(BAD)))


@way(problems=PRICE, raises=None)
def tree_of_its_errors() -> Calls:
    validator = Draft(LEAD)
    return Calls(lambda: ErrorTree(validator.iter_errors(GOOD)), lambda: ErrorTree(validator.iter_errors(BAD)))


@way(good={}, bad={}, hits=0, misses=2, raises=SchemaError)
def check_schema() -> Calls:
    checked = {**LEAD, "title": "Checked"}  # the next validator of that schema is built already
    return Calls(lambda: Draft.check_schema(checked), lambda: Draft.check_schema({"type": 1}))


@nothing
def validator_that_is_built_and_not_used() -> Calls:
    return Calls(lambda: Draft(LEAD), lambda: Draft({"type": 1}))


# -- derived and other classes


@way(problems=PRICE)
def evolved_once() -> Calls:
    return calls(Draft({}).evolve(schema=LEAD))


@way(problems=PRICE, hits=0, misses=3)
def evolved_per_call() -> Calls:
    base = Draft({})
    return Calls(lambda: base.evolve(schema=LEAD).validate(GOOD), lambda: base.evolve(schema=LEAD).validate(BAD))


@nothing
def descend() -> Calls:
    validator = Draft({})
    return Calls(lambda: list(validator.descend(GOOD, LEAD)), lambda: list(validator.descend(BAD, LEAD)))


def _even(_validator: Any, even: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if even and value % 2:
        yield ValidationError("odd")


@way(problems={("$", "custom"): 1})
def extended_class() -> Calls:
    validator = validators.extend(Draft, {"even": _even})({"title": "Lead", "even": True})
    return Calls(lambda: validator.validate(2), lambda: validator.validate(1))


@way(problems={("$", "custom"): 1})
def class_that_is_not_registered() -> Calls:
    made = validators.create(meta_schema={"$id": "urn:even"}, validators={"even": _even})
    validator = made({"title": "Lead", "even": True})
    return Calls(lambda: validator.validate(2), lambda: validator.validate(1))


@way(problems=PRICE)
def class_by_the_dialect() -> Calls:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Lead", "properties": ITEM["properties"]}
    return calls(validators.validator_for(schema)(schema))


def _draft(draft: Any) -> None:
    def make() -> Calls:
        return calls(draft({"title": "Lead", "properties": ITEM["properties"]}))

    make.__name__ = draft.__name__
    way(problems=PRICE)(make)


for _class in (
    jsonschema.Draft3Validator, jsonschema.Draft4Validator, jsonschema.Draft6Validator, jsonschema.Draft7Validator,
    jsonschema.Draft201909Validator,
):  # fmt: skip
    _draft(_class)


@way({"urn:even": 1}, {("urn:even", "error"): 1}, raises=TypeError)
def keyword_that_crashes() -> Calls:
    validator = validators.extend(Draft, {"even": _even})({"$id": "urn:even", "even": True})
    return Calls(lambda: validator.validate(2), lambda: validator.validate("x"))


@way(problems={("$", "custom"): 1})
def keyword_that_validates() -> Calls:
    inner = Draft(LEAD)

    def nested(_validator: Any, _: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
        if not inner.is_valid(value):
            yield ValidationError("no item")

    return calls(validators.extend(Draft, {"item": nested})({"title": "Lead", "item": True}))


@way(problems={("$", "format"): 1})
def format_that_validates() -> Calls:
    inner, checker = Draft({"const": "x"}), jsonschema.FormatChecker(formats=())
    checker.checks("x")(inner.is_valid)
    validator = Draft({"title": "Lead", "format": "x"}, format_checker=checker)
    return Calls(lambda: validator.validate("x"), lambda: validator.validate("y"))


# -- references


@way(problems={("items.*.price", "type"): 1})
def reference() -> Calls:
    schema = {"title": "Lead", "properties": {"items": {"items": {"$ref": "#/$defs/item"}}}, "$defs": {"item": ITEM}}
    validator = Draft(schema)
    return Calls(lambda: validator.validate({"items": [GOOD] * 9}), lambda: validator.validate({"items": [GOOD, BAD]}))


@way(problems={("items.*.price", "type"): 1})
def reference_into_a_registry() -> Calls:
    registry: Any = referencing.Registry().with_resource("urn:item", DIALECT.create_resource(ITEM))
    schema = {"title": "Lead", "properties": {"items": {"items": {"$ref": "urn:item"}}}}
    validator = Draft(schema, registry=registry)
    return Calls(lambda: validator.validate({"items": [GOOD]}), lambda: validator.validate({"items": [BAD]}))


@way(problems={("items.*.*", "type"): 1})
def reference_that_is_retrieved() -> Calls:
    """The retrieval runs on the stack of the validation; what the validator's registry does not hold stays unnamed."""

    def retrieve(_uri: str) -> Any:
        Draft.check_schema(ITEM)
        Draft({"title": "Other"}).validate(ITEM)
        return DIALECT.create_resource(ITEM)

    schema = {"title": "Lead", "properties": {"items": {"items": {"$ref": "urn:item"}}}}
    validator = Draft(schema, registry=referencing.Registry(retrieve=retrieve))  # type: ignore[call-arg]
    return Calls(lambda: validator.validate({"items": [GOOD]}), lambda: validator.validate({"items": [BAD]}))


@way(bad={("Lead", "error"): 1}, raises=jsonschema.exceptions._WrappedReferencingError)
def reference_that_leads_nowhere() -> Calls:
    validator = Draft({"title": "Lead", "properties": {"a": {"$ref": "urn:nowhere"}}})
    return Calls(lambda: validator.validate({}), lambda: validator.validate({"a": 1}))
