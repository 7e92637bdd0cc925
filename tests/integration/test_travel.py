"""By value into another process, as Ray, Dask and Spark send functions: what we touched arrives as without us."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import jsonschema
import marshmallow
import pytest
import sqlalchemy
from opentelemetry.instrumentation.schema import endpoint, validation
from pydantic import BaseModel, TypeAdapter, field_validator

from tests.telemetry import Telemetry

RECEIVE = """
import sys, cloudpickle
function = cloudpickle.load(sys.stdin.buffer)
print(function(4), any(name.startswith("opentelemetry") for name in sys.modules))
"""


def by_extend() -> Callable[[int], Any]:
    even = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"even": lambda *_: ()})
    validator = even({"even": True, "type": "integer"})
    even.check_schema({"type": "integer"})
    return lambda value: (validator.is_valid(value), even({"type": "string"}).is_valid(value))


def by_create() -> Callable[[int], Any]:
    made = jsonschema.validators.create({"$id": "own"}, {"type": lambda *_: ()})
    return lambda value: made({"type": "integer"}).is_valid(value)


def by_model() -> Callable[[int], Any]:
    class Lead(BaseModel):
        age: int

        @field_validator("age")
        @classmethod
        def check(cls, age: int) -> int:
            return age

    return lambda value: Lead(age=value).age


def by_adapter() -> Callable[[int], Any]:
    adapter = TypeAdapter(list[int])
    return lambda value: adapter.validate_python([value])


def by_marshmallow() -> Callable[[int], Any]:
    class Lead(marshmallow.Schema):
        age = marshmallow.fields.Integer()

    return lambda value: Lead().load({"age": value})


def by_override() -> Callable[[int], Any]:
    class Lead(marshmallow.Schema):
        age = marshmallow.fields.Integer()

        def load(self, data: Any, **options: Any) -> Any:
            return marshmallow.Schema.load(self, data, **options)

    return lambda value: Lead().load({"age": value})


BY = [by_extend, by_create, by_model, by_adapter, by_marshmallow, by_override]


def receive(sent: bytes) -> str:
    """What another process makes of it, which has this package and does not need it."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", RECEIVE], input=sent, capture_output=True, check=False)
    return done.stdout.decode() or done.stderr.decode()[-300:]


@pytest.mark.parametrize("make", BY, ids=lambda make: make.__name__)
@pytest.mark.parametrize("made", ["before", "after"])
def test_it_arrives_as_without_us(make: Any, made: str, watch: Callable[..., Telemetry]) -> None:
    """A function and the classes that it uses, used here or not, are sent without anything of ours, and work there."""
    plain = receive(cloudpickle.dumps(make()))
    assert plain.endswith("False\n"), plain
    function = make() if made == "before" else None
    telemetry = watch()
    function = function or make()
    assert receive(cloudpickle.dumps(function)) == plain
    function(4)
    assert telemetry.validations()
    assert receive(cloudpickle.dumps(function)) == plain


SEND = """
import importlib, sys, cloudpickle
if "observed" in sys.argv:
    importlib.import_module("opentelemetry.instrumentation.schema").SchemaInstrumentor().instrument()
from pydantic import validate_call
@validate_call
def price(n: int) -> int:
    return n
class Lead:
    @validate_call
    def price(self, n: int) -> int:
        return n
price(1), Lead().price(1)
sent = [cloudpickle.dumps(lambda value: price(value)), cloudpickle.dumps(lambda value: Lead().price(value))]
print([b"opentelemetry" in each for each in sent], len(sent[0]) > 100)
"""


def test_a_validate_call_is_sent_where_it_is_without_us() -> None:
    """Its pickle holds its own function, and nothing of ours; what Pydantic makes of it there is Pydantic's."""
    found = [
        subprocess.run([sys.executable, "-W", "ignore", "-c", SEND, kind], capture_output=True, text=True, check=False)
        for kind in ("plain", "observed")
    ]
    assert found[0].stdout == "[False, False] True\n", found[0].stderr
    assert found[1].stdout == found[0].stdout, found[1].stderr


def test_what_an_app_calls_itself_can_be_sent(telemetry: Telemetry) -> None:
    """Decorated functions, endpoints and validators of one's own that were used here work where they arrive."""
    row = validation("LeadRow", module="leads")

    @endpoint("job")
    def job(value: int) -> int:
        with row():
            return value

    assert job(4) == 4
    assert receive(cloudpickle.dumps(job)).startswith("4 ")
    sent = pickle.loads(pickle.dumps((row, endpoint("job"))))
    with sent[1], sent[0]():
        pass
    assert telemetry.validations() == {"valid": 2}
    assert telemetry.total("api.requests", schema_endpoint="job") == 2


def test_an_engine_that_ran_queries(telemetry: Telemetry) -> None:
    """Its dialect is copied and pickled without what we keep with it."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    dialect: Any = engine.dialect
    held = {name: value for name, value in vars(dialect).items() if name.startswith("_otel")}
    assert held
    assert pickle.loads(pickle.dumps(held)) == dict.fromkeys(held)
    copy.copy(dialect)
