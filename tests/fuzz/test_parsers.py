"""Every parser of foreign text, with any text: it answers, in bounded time and size, and raises only what it documents.

Bounded for each change, longer at night (`make nightly`). What once failed or is known to be nasty is kept in
`corpus/`, a JSON string a line, and tried each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import marshmallow
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._recording.endpoints import web_endpoint
from opentelemetry.instrumentation.schema._recording.problems import MAX_PROBLEMS, Templates
from opentelemetry.instrumentation.schema._recording.request import ExcludedUrls
from opentelemetry.instrumentation.schema.integrations.jsonschema import _problems
from opentelemetry.instrumentation.schema.integrations.marshmallow import install as marshmallow_install
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import install as sqlalchemy_install
from opentelemetry.instrumentation.schema.text import MAX_TEXT, clean
from referencing import Registry

CORPUS = [
    json.loads(line)
    for file in sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))
    for line in file.read_text().splitlines()
]
TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)
SECONDS = 1.0  # of one example, on a busy machine


def timed(work: Callable[[], Any]) -> Any:
    began = time.thread_time()
    result = work()
    assert time.thread_time() - began < SECONDS
    return result


def fit(text: str) -> None:
    assert len(text) <= MAX_TEXT
    assert text.isprintable()
    text.encode()


def _text(text: str) -> None:
    fit(timed(lambda: clean(text)))


def _statement(text: str) -> None:
    found = timed(lambda: sqlalchemy_install._operation(text, None))
    assert found == "" or found in sqlalchemy_install._OPERATIONS


def _message(text: str) -> None:
    literals = timed(lambda: marshmallow_install._literals(text))
    assert timed(lambda: marshmallow_install._fits(text * 20, literals)) in (True, False) if literals else True


def _method(text: str) -> None:
    endpoint = timed(lambda: web_endpoint(text, text))
    assert endpoint.attributes["http.request.method"] in {*semconv._METHODS, semconv.OTHER_METHOD}
    fit(endpoint.attributes["http.route"])


def _url(text: str) -> None:
    timed(lambda: text * 50 in ExcludedUrls("client/.*/info,.*healthz$"))


def _path(text: str) -> None:
    path, rule = timed(lambda: Templates(lambda: text.split("."), {"required"})(tuple(text.split(".")), text))
    fit(path)
    assert rule in ("required", "custom")


OF_TEXT = [_text, _statement, _message, _method, _url, _path]


@pytest.mark.parametrize("parser", OF_TEXT)
@given(TEXT)
def test_any_text(parser: Callable[[str], None], text: str) -> None:
    """Any text is taken, also when it is repeated until it is long."""
    parser(text)
    parser(text * 100)


@pytest.mark.parametrize("parser", OF_TEXT)
@pytest.mark.parametrize("text", CORPUS, ids=lambda text: ascii(text)[:20])
def test_the_corpus(parser: Callable[[str], None], text: str) -> None:
    """What once failed, or is known to be nasty, is taken, 1 MB of it too."""
    parser(text)
    parser(text * (1_000_000 // max(1, len(text))))


class Lead(pydantic.BaseModel, extra="forbid"):
    a: int = 0
    b: dict[str, list[int]] = {}


class LeadSchema(marshmallow.Schema):
    a = marshmallow.fields.Integer()
    b = marshmallow.fields.Dict(marshmallow.fields.String(), marshmallow.fields.List(marshmallow.fields.Integer()))


ALLOWED = {"a", "b", "*", "$"}


def _pydantic(data: Any) -> list[Any]:
    from opentelemetry.instrumentation.schema.integrations.pydantic._validator import _Problems

    try:
        Lead.model_validate(data)
    except pydantic.ValidationError as error:
        return list(_Problems(Lead.__pydantic_core_schema__)(error))
    return []


def _jsonschema(data: Any) -> list[Any]:
    schema = {
        "properties": {"a": {"type": "integer"}, "b": {"additionalProperties": {"items": {"type": "integer"}}}},
        "additionalProperties": False,
        "type": "object",
    }
    found = _problems.Problems(schema, Registry())
    return [found(error) for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def _marshmallow(data: Any) -> list[Any]:
    schema = LeadSchema()
    return marshmallow_install._problems(schema.validate(data) if isinstance(data, dict) else {}, schema)


@pytest.mark.parametrize("library", [_pydantic, _jsonschema, _marshmallow])
@given(JSON)
def test_problems_of_any_document(library: Callable[[Any], list[Any]], data: Any) -> None:
    """Whatever fails in a document, the problems' paths hold declared names and `*` alone."""
    found = timed(lambda: library(data))
    assert len(found) <= MAX_PROBLEMS
    for path, _ in found:
        assert set(path.split(".")) <= ALLOWED


@given(JSON, JSON)
def test_any_messages(messages: Any, other: Any) -> None:
    """Whatever an author puts into marshmallow's messages is read to its end, and nothing of it is in a path."""
    schema = LeadSchema()
    for tree in (messages, {"a": messages, "b": {"x": {"value": other}}, "_schema": [other]}):
        for path, rule in timed(lambda tree=tree: marshmallow_install._problems(tree, schema)):
            assert set(path.split(".")) <= ALLOWED
            assert rule in {*marshmallow_install._RULES, semconv.CUSTOM_RULE}


@given(JSON)
def test_any_schema_is_read(schema: Any) -> None:
    """The declared names of any document that passes for a schema are found, also of one that holds itself."""
    timed(lambda: _problems._declared(schema, Registry()))
    looped: dict[str, Any] = {"properties": {"x": schema}, "$id": "a/"}
    looped["allOf"] = [looped, schema]
    assert "x" in timed(lambda: _problems._declared(looped, Registry()))


@given(TEXT)
def test_any_database(name: str) -> None:
    """A database's name on a span is fit to export, whatever the URL has; SQLite's is none."""
    for dialect in ("postgresql", "sqlite"):
        engine = SimpleNamespace(url=SimpleNamespace(database=name))
        execution = SimpleNamespace(
            root_connection=SimpleNamespace(engine=engine), dialect=SimpleNamespace(name=dialect)
        )
        found = sqlalchemy_install._namespace(execution)
        fit(found)
        assert dialect != "sqlite" or not found
