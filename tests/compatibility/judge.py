"""What two schema versions really do with inputs: the truth that the comparison is measured by."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.internal.conjecture import utils
from hypothesis_jsonschema import _from_schema, from_schema
from jsonschema import Draft202012Validator
from polyfactory.factories.pydantic_factory import ModelFactory
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema


class _Many:
    """`many` as hypothesis-jsonschema 0.23 calls it; hypothesis 6.160 made it a context manager."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._inner = utils.many(*args, **kwargs)
        self._inner.__enter__()
        self._elements = iter(self._inner)

    def more(self) -> bool:
        if next(self._elements, self) is self:
            self._inner.__exit__(None, None, None)
            return False
        return True

    def reject(self, *args: Any) -> None:
        self._inner.reject(*args)


if not hasattr(utils.many, "more"):
    _from_schema.cu = SimpleNamespace(**{**vars(utils), "many": _Many})

Accepts = Callable[[Any], bool]


class Reader(GenerateJsonSchema):
    """What a client may rely on in a response: fields with a default are written each time, unless that is null."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        if field["type"] == "typed-dict-field":
            return field.get("required", total)
        schema = field["schema"]
        return not (schema["type"] == "default" and schema.get("default", ...) is None)


def is_model(schema: Any) -> bool:
    return isinstance(schema, type)


def accepts(schema: Any) -> Accepts:
    """Whether a schema accepts a JSON document."""
    if not is_model(schema):
        return Draft202012Validator(schema).is_valid

    def check(document: Any) -> bool:
        try:
            schema.model_validate_json(json.dumps(document))
        except ValidationError:
            return False
        return True

    return check


def reads(schema: Any) -> Accepts:
    """Whether a client that was written against a schema can read a response."""
    if not is_model(schema):
        return Draft202012Validator(schema).is_valid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = schema.model_json_schema(mode="serialization", schema_generator=Reader)
    opened = '"x-extensible-enum": true' in json.dumps(written)
    as_document = Draft202012Validator(_opened(written), format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid
    fields = schema.model_fields.values()
    same = (
        not opened
        and not schema.__pydantic_decorators__.computed_fields
        and not any(
            each.exclude or each.alias != each.validation_alias or each.serialization_alias != each.alias
            for each in fields
        )
    )
    as_model = accepts(schema)
    return lambda document: as_document(document) and (not same or as_model(document))


def _opened(node: Any) -> Any:
    """A JSON Schema whose open enums accept further values, as their author announced."""
    if isinstance(node, dict):
        skip = ("enum",) if node.get("x-extensible-enum") else ()
        return {key: _opened(value) for key, value in node.items() if key not in skip}
    return [_opened(each) for each in node] if isinstance(node, list) else node


def written(schema: Any, document: Any) -> Any:
    """What a server answers that took a document for its data."""
    if not is_model(schema):
        return document
    made = schema.model_validate_json(json.dumps(document))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json.loads(made.model_dump_json(by_alias=True))


def documents(schema: Any, other: Any, number: int, seed: int, generated: bool = True) -> list[Any]:
    """JSON documents that a schema accepts: from its JSON Schema, from polyfactory, and at the bounds of both.

    None holds a key that only the other schema declares: hypothesis makes such keys of texts in loaded modules.
    """
    accepted = accepts(schema)
    described = [each.model_json_schema() if is_model(each) else each for each in (schema, other)]
    foreign = {*_names(described[1])} - {*_names(described[0])}

    def ok(document: Any) -> bool:
        return not (isinstance(document, dict) and foreign & document.keys()) and accepted(document)

    found = [each for each in _hypothesis(described[0], number // 5, seed) if ok(each)] if generated else []
    if is_model(schema) and issubclass(schema, BaseModel):
        found += [each for each in _polyfactory(schema, number // 3, seed) if ok(each)]
    base = found or [each for each in _hypothesis(described[0], 100, seed + 1) if ok(each)]
    rng = random.Random(seed)
    if not base:  # formats that no generator knows
        base = [
            each for value in _values(described) if ok(each := dict.fromkeys(described[0].get("required", ()), value))
        ]
    values = list(_values(described))
    names = [*sorted({*_names(described[0])}), "zz_undeclared"]
    found = found or list(base)
    tries = 0
    for each in _mutations(rng.choice(base), values, names):
        if ok(each):
            found.append(each)
    while len(found) < number and tries < 60 * number:
        tries += 1
        each = _mutated(rng, rng.choice(base), values)
        if ok(each):
            found.append(each)
    return found


def _hypothesis(schema: Any, number: int, seed: int) -> list[Any]:
    found: list[Any] = []

    @seeded(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(from_schema(_plain(schema)))
    def collect(document: Any) -> None:
        found.append(document)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # schemas that it cannot generate: the other sources must do
            collect()
    return found


def _plain(schema: Any) -> Any:
    """Without formats and patterns of look-ahead that it does not know."""
    if isinstance(schema, dict):
        return {
            key: _plain(value) for key, value in schema.items() if key not in ("discriminator", "x-extensible-enum")
        }
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _polyfactory(model: Any, number: int, seed: int) -> Iterator[Any]:
    factory = ModelFactory.create_factory(model, __random_seed__=seed, __check_model__=False)
    for _ in range(number):
        try:
            made = factory.build()
            document = json.loads(made.model_dump_json(by_alias=True))
        except Exception:
            return
        yield document


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
        for each in node.values():
            yield from _names(each)
    elif isinstance(node, list):
        for each in node:
            yield from _names(each)


def _values(nodes: list[Any]) -> Iterator[Any]:
    """Values at, just below and just above every bound that a JSON Schema names, and some of every type."""
    yield from (
        None,
        True,
        False,
        0,
        1,
        -1,
        5,
        5.0,
        5.5,
        2**31,
        -(2**31),
        1e300,
        "",
        "a",
        "5",
        "yes",
        " a ",
        " ",
        "Zz",
        [],
        {},
        [1],
        ["a"],
    )
    yield from (
        "2024-02-29",
        "2024-02-29T12:00:00",
        "2024-02-29T12:00:00+02:00",
        "12:00",
        "P1D",
        "1.239",
        "12345.678",
        "NaN",
    )
    yield from (
        "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "a@b.de",
        "https://a.de",
        [1, 1],
        [1, 2, 3],
        {"x": 1},
        {"zz": 1},
    )
    for node in nodes:
        pending = [node]
        while pending:
            each = pending.pop()
            if isinstance(each, dict):
                pending += each.values()
                yield from each.get("enum", ()) if isinstance(each.get("enum"), list) else ()
                if "const" in each:
                    yield each["const"]
                for key, bound in each.items():
                    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
                        continue
                    if key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
                        yield from (bound, bound - 1, bound + 1, bound * 2, bound + 0.5)
                    elif key.endswith("Length"):
                        yield from ("a" * max(0, bound + change) for change in (-1, 0, 1))
                    elif key.endswith("Items"):
                        for item in (0, "a", "aaaa"):
                            yield from ([item] * max(0, bound + change) for change in (-1, 0, 1))
            elif isinstance(each, list):
                pending += each


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in list(items):
        yield document, key
        yield from _places(value)


def _mutations(document: Any, values: list[Any], names: list[str]) -> Iterator[Any]:
    """Every place with every value, every place left out, and every name put in."""
    for number, _ in enumerate(list(_places(document))):
        for value in values:
            copied = copy.deepcopy(document)
            holder, key = list(_places(copied))[number]
            holder[key] = copy.deepcopy(value)
            yield copied
        copied = copy.deepcopy(document)
        holder, key = list(_places(copied))[number]
        del holder[key]
        yield copied
    for name in names if isinstance(document, dict) else ():
        for value in values if name not in document else ():
            yield {**document, name: copy.deepcopy(value)}


def _mutated(rng: random.Random, document: Any, values: list[Any]) -> Any:
    copied = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(copied))
        if not places:
            return copy.deepcopy(rng.choice(values))
        holder, key = rng.choice(places)
        if rng.random() < 0.1:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(values))
    return copied


def truth(old: Any, new: Any, number: int, seed: int = 1, generated: bool = True) -> dict[str, tuple[int, Any]]:
    """How many documents were tried in each direction, and one that breaks; None where none does."""
    requests = documents(old, new, number, seed, generated)
    ok = accepts(new)
    refused = next((each for each in requests if not ok(each)), None)
    answers = [written(new, each) for each in documents(new, old, number, seed + 1, generated)]
    readable = reads(old)
    unread = next((each for each in answers if not readable(each)), None)
    return {"request": (len(requests), refused), "response": (len(answers), unread)}
