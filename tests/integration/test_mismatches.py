"""`schema.mismatches`: a real application's schemas compared with the tables of its models, in the application."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.schema import SchemaInstrumentor, semconv
from opentelemetry.instrumentation.schema._live import mismatches
from opentelemetry.instrumentation.schema._recording import recorder
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import BaseModel, Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

WAIT = 20.0  # s on a busy machine


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[float] = mapped_column(sa.Numeric(5, 2))
    label: Mapped[str] = mapped_column(sa.String(10))


class App:
    """What collects, with what it last saw."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        SchemaInstrumentor().instrument(meter_provider=MeterProvider([self.reader], shutdown_on_exit=False))
        assert recorder.active is not None
        self.recorder = recorder.active
        observe: Any = self.recorder.observers[semconv.MISMATCHES.name]
        self.mismatches: mismatches.Mismatches = observe.__self__
        self.mismatches._settled = 0.0
        self.engine = sa.create_engine("sqlite://")

    def query(self) -> None:
        with self.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def collect(self) -> tuple[dict[Any, float], dict[Any, float]]:
        data = self.reader.get_metrics_data()
        found: dict[str, dict[Any, float]] = {semconv.MISMATCHES.name: {}, semconv.MISMATCH_DETECTIONS.name: {}}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
            if metric.name in found:
                for point in metric.data.data_points:
                    keys = (semconv.SCHEMA_NAME, semconv.MISMATCH_KIND, semconv.MISMATCH_SEVERITY)
                    found[metric.name][tuple(point.attributes[key] for key in keys)] = point.value
        return found[semconv.MISMATCHES.name], found[semconv.MISMATCH_DETECTIONS.name]

    def until(self, expected: Any) -> tuple[dict[Any, float], dict[Any, float]]:
        end = time.monotonic() + WAIT
        while True:
            gauge, counter = self.collect()
            if expected(gauge, counter) or time.monotonic() > end:
                return gauge, counter
            self.mismatches.join(1.0)


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    made.engine.dispose()
    SchemaInstrumentor().uninstrument()


class ParcelIn(BaseModel):
    weight: Annotated[float, Field(ge=0, le=100)]
    label: str


ROUNDS = ("ParcelIn", "precision", "critical")


def test_a_mismatch_is_counted_once_found(app: App) -> None:
    """What no longer fits is a gauge by schema, kind and severity, and one detection, from metadata alone."""
    ParcelIn.model_validate({"weight": 1, "label": "a"})
    app.collect()
    assert app.collect() == ({}, {}), "no engine yet: for which database nobody knows"
    app.query()
    gauge, counter = app.until(lambda gauge, counter: ROUNDS in gauge and counter.get(ROUNDS))
    assert gauge[ROUNDS] == 1
    assert counter[ROUNDS] == 1
    assert app.until(lambda gauge, counter: ROUNDS in gauge and counter.get(ROUNDS))[1][ROUNDS] == 1, (
        "the next check found nothing new"
    )
    assert not any(each.name == "otel-schema-mismatches" for each in threading.enumerate())


def test_what_ceased_is_0_and_counts_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mismatch that is mended is published as 0; one that comes back is one more detection."""
    ParcelIn.model_validate({"weight": 1, "label": "a"})
    app.query()
    app.until(lambda gauge, counter: gauge.get(ROUNDS) == 1)
    read = app.recorder.tables
    monkeypatch.setattr(Parcel.__table__.c.weight, "type", sa.Float())  # the migration
    app.mismatches._revisions = "another"
    gauge, _ = app.until(lambda gauge, counter: gauge.get(ROUNDS) == 0)
    assert gauge[ROUNDS] == 0
    monkeypatch.undo()
    app.mismatches._revisions = "another"
    gauge, counter = app.until(lambda gauge, counter: gauge.get(ROUNDS) == 1 and counter.get(ROUNDS) == 2)
    assert (gauge[ROUNDS], counter[ROUNDS]) == (1, 2)
    assert app.recorder.tables is read


class Oddity(BaseModel):
    weight: Annotated[float, Field(ge=0, le=100)]


def test_pairs_as_the_project_says(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that nobody would guess is compared where pyproject.toml names it, whatever else that file names."""
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.otel-schema.tables]\n"{__name__}:Oddity" = "parcels"\n"other:NeverSeen" = "parcels"\nParcelIn = ""\n'
    )
    monkeypatch.chdir(tmp_path)
    ParcelIn.model_validate({"weight": 1, "label": "a"})
    Oddity.model_validate({"weight": 1})
    app.query()
    gauge, _ = app.until(lambda gauge, counter: ("Oddity", *ROUNDS[1:]) in gauge)
    assert gauge[("Oddity", *ROUNDS[1:])] == 1
    assert not [key for key in gauge if key[0] == "ParcelIn"], "declared to have no table"


def test_a_fault_of_ours_stays_ours(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that fails is counted as an error of the telemetry, and the collection goes on."""
    swallowed: list[str] = []
    monkeypatch.setattr(mismatches.faults, "swallow", lambda component, error: swallowed.append(component))
    app.recorder.tables = lambda packages: 1 / 0  # type: ignore[assignment, return-value]
    ParcelIn.model_validate({"weight": 1, "label": "a"})
    app.collect()
    gauge, _ = app.collect()
    app.mismatches.join(WAIT)
    assert gauge == {}
    assert swallowed == ["mismatches"]


def test_no_query_and_no_connection(app: App) -> None:
    """The comparison asks the database nothing."""
    said: list[str] = []
    sa.event.listen(app.engine, "before_cursor_execute", lambda c, cursor, statement, *rest: said.append(statement))
    ParcelIn.model_validate({"weight": 1, "label": "a"})
    app.query()
    app.until(lambda gauge, counter: ROUNDS in gauge and counter.get(ROUNDS))
    assert said == ["SELECT 1"]
