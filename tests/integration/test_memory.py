"""Nothing grows: not with schemas that come and go, nor with values that nobody reads, nor past the limit of series."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jsonschema
import marshmallow
import psutil
import pytest
from opentelemetry.instrumentation.schema import endpoint, semconv
from opentelemetry.instrumentation.schema._recording.cells import BUFFER_SIZE, MAX_EXEMPLARS
from pydantic import TypeAdapter, create_model

from tests.telemetry import Telemetry

SHORT = 12, 60
"""Rounds, and schemas of each kind in a round."""

LONG = 50, 10_000


def created() -> None:
    create_model("Lead", name=(str, ...)).model_validate({"name": "Ann"})


def adapted() -> None:
    TypeAdapter(list[int]).validate_python([1])


def constructed() -> None:
    jsonschema.Draft202012Validator({"title": "Lead", "type": "object"}).is_valid({})


def checked() -> None:
    jsonschema.validate({}, {"title": "Lead", "type": "object"})


def extended() -> None:
    made: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, {})
    made({"title": "Lead"}).is_valid({})


class LeadSchema(marshmallow.Schema):
    name = marshmallow.fields.String()


def instantiated() -> None:
    LeadSchema().load({"name": "Ann"})


def listed() -> None:
    marshmallow.Schema.from_dict({"name": marshmallow.fields.String()}, name="Lead")().load({})


KINDS: dict[str, Callable[[], None]] = {
    "create_model": created,
    "TypeAdapter": adapted,
    "jsonschema validator": constructed,
    "jsonschema.validate": checked,
    "jsonschema class": extended,
    "Schema instance": instantiated,
    "Schema class": listed,
}


def live() -> int:
    """How many objects there are that the collector knows of."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("spans", ["notable", "all"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rounds", "schemas"), [SHORT, pytest.param(*LONG, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_schemas_that_come_and_go_leave_nothing(
    rounds: int, schemas: int, kind: str, spans: str, watch: Callable[..., Telemetry]
) -> None:
    """From the fifth round on there are not more live objects, nor more memory, than a round's noise."""
    telemetry, make = watch(spans=spans), KINDS[kind]
    objects, resident = [], []
    for _ in range(rounds):
        for _ in range(schemas):
            make()
        telemetry.reader.get_metrics_data()
        telemetry.exporter.clear()
        objects.append(live())
        resident.append(psutil.Process().memory_info().rss)
    assert max(objects[5:]) - objects[4] < schemas / 10
    if schemas == LONG[1]:
        assert max(resident[5:]) - resident[4] < 16e6
    (validations,) = telemetry.validations(schema_library=library_of(kind)).values()
    assert validations == rounds * schemas


def library_of(kind: str) -> str:
    return {"create_model": "pydantic", "TypeAdapter": "pydantic"}.get(
        kind, "marshmallow" if "Schema" in kind else "jsonschema"
    )


def waiting(telemetry: Telemetry) -> list[int]:
    """How many values each cell holds."""
    streams = telemetry.instrumentor._recorder.instruments
    return [len(cell.values) for stream in streams for cell in stream.cells]


def test_an_app_that_nobody_scrapes_does_not_grow(telemetry: Telemetry) -> None:
    """Without a single collection no cell holds more values than its limit, and all are there when one comes."""
    adapter, schema = TypeAdapter(list[int]), LeadSchema()
    validator = jsonschema.Draft202012Validator({"title": "Lead", "type": "object"})
    most = 0
    for n in range(3 * BUFFER_SIZE + 7):
        adapter.validate_python([1])
        schema.load({})
        validator.is_valid({})
        with endpoint("import-leads"):
            validator.is_valid([])
        if n % 100 == 0:
            most = max(most, *waiting(telemetry))
    assert BUFFER_SIZE / 2 < most <= BUFFER_SIZE
    assert telemetry.validations() == {"valid": 3 * (3 * BUFFER_SIZE + 7), "invalid": 3 * BUFFER_SIZE + 7}


def test_exemplars_that_nobody_reads_do_not_grow(watch: Callable[..., Telemetry]) -> None:
    """With a span for each validation a cell holds no more exemplars than their limit, and loses no value."""
    telemetry, adapter, most = watch(spans="all"), TypeAdapter(list[int]), 0
    for _ in range(10 * MAX_EXEMPLARS):
        adapter.validate_python([1])
        most = max(
            most,
            *(
                len(cell.exemplars)
                for cell in telemetry.instrumentor._recorder.instruments[semconv.VALIDATION_DURATION].cells
            ),
        )
    assert MAX_EXEMPLARS / 2 < most < MAX_EXEMPLARS
    assert telemetry.validations() == {"valid": 10 * MAX_EXEMPLARS}


def test_past_the_cardinality_limit(watch: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture) -> None:
    """Further schemas share one overflow point and one warning, are counted as dropped, and make nothing grow."""
    telemetry = watch(cardinality_limit=5)
    for n in range(20):
        create_model(f"Lead{n}", name=(str, ...)).model_validate({"name": "Ann"})
    points = telemetry.by("schema.validation.duration", "schema.name", "otel.metric.overflow")
    assert points == {(f"Lead{n}", None): 1 for n in range(5)} | {(None, True): 15}
    assert telemetry.total("schema.telemetry.dropped", schema_telemetry_instrument="schema.validation.duration") == 15
    warned = [record for record in caplog.records if "CARDINALITY_LIMIT" in record.getMessage()]
    assert len([record for record in warned if "schema.validation.duration" in record.getMessage()]) == 1
    before = len(waiting(telemetry)), live()
    for n in range(200):
        create_model(f"More{n}", name=(str, ...)).model_validate({"name": "Ann"})
    assert len(waiting(telemetry)) == before[0]
    assert live() - before[1] < 200
    assert telemetry.total("schema.validation.duration", otel_metric_overflow=True) == 215
