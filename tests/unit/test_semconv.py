"""Names, units and attributes: as documented, as exported, and as Prometheus spells them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.schema import SchemaInstrumentor, endpoint, semconv, validation
from opentelemetry.instrumentation.schema._live.revisions import TableReading
from opentelemetry.instrumentation.schema._migrations.telemetry import RunRecorder, Target
from opentelemetry.instrumentation.schema._recording import recorder
from opentelemetry.instrumentation.schema._schemas.fields import SchemaSpec, TypeSpec
from opentelemetry.instrumentation.schema._schemas.version_tables import USUAL, ExistingTable
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import generate_latest

README = Path(__file__).parents[2] / "README.md"
TABLE = {
    "schema.validation.duration": ("histogram", "s", "schema_validation_duration_seconds"),
    "validation.errors": ("counter", "{error}", "validation_errors_total"),
    "schema.validation.problems": ("counter", "{problem}", "schema_validation_problems_total"),
    "api.requests": ("counter", "{request}", "api_requests_total"),
    "cache.hits": ("counter", "{hit}", "cache_hits_total"),
    "cache.misses": ("counter", "{miss}", "cache_misses_total"),
    "schema.query.duration": ("histogram", "s", "schema_query_duration_seconds"),
    "schema.query.cache.hits": ("counter", "{hit}", "schema_query_cache_hits_total"),
    "schema.query.cache.misses": ("counter", "{miss}", "schema_query_cache_misses_total"),
    "schema.info": ("gauge", "", "schema_info"),
    "schema.db.info": ("gauge", "", "schema_db_info"),
    "schema.migration.last_run.timestamp": ("gauge", "s", "schema_migration_last_run_timestamp_seconds"),
    "schema.migration.last_run.duration": ("gauge", "s", "schema_migration_last_run_duration_seconds"),
    "schema.migration.pending": ("gauge", "{migration}", "schema_migration_pending"),
    "schema.mismatches": ("gauge", "{mismatch}", "schema_mismatches"),
    "schema.mismatch.detections": ("counter", "{mismatch}", "schema_mismatch_detections_total"),
    "schema.guard.last_verdict.timestamp": ("gauge", "s", "schema_guard_last_verdict_timestamp_seconds"),
    "schema.left_out": ("gauge", "{schema}", "schema_left_out"),
    "schema.telemetry.errors": ("counter", "{error}", "schema_telemetry_errors_total"),
    "schema.telemetry.dropped": ("counter", "{measurement}", "schema_telemetry_dropped_total"),
}
GROUPS = {
    "SCHEMA": ["schema.name", "schema.module", "schema.library"],
    "ENDPOINT": ["http.request.method", "http.route", "schema.endpoint"],
}
_ROW = re.compile(r"^\| `([^`]+)` \| (\w+)(?:, `([^`]+)`)? \| `(\w+)` \| (.+) \|$", re.MULTILINE)


def test_names_are_the_contract() -> None:
    """Every instrument has the kind, unit and Prometheus name that users, rules and dashboards rely on."""
    assert {each.name: (each.kind, each.unit, each.prometheus) for each in semconv.INSTRUMENTS} == TABLE
    assert len(semconv.INSTRUMENTS) == len(TABLE)


def test_the_readme_lists_every_instrument() -> None:
    """README's table is the table of instruments: names, kinds, units and attributes, in its order."""
    rows = [
        (
            name,
            kind,
            unit,
            prometheus,
            {one for word in cells.replace("`", "").split(", ") for one in GROUPS.get(word, [word])},
        )
        for name, kind, unit, prometheus, cells in _ROW.findall(README.read_text())
    ]
    assert rows == [(e.name, e.kind, e.unit, e.prometheus, set(e.attributes)) for e in semconv.INSTRUMENTS]


def test_thresholds_are_bucket_boundaries() -> None:
    """Boundaries ascend, and the alert threshold of 10 ms is one, so no interpolation decides an alert."""
    for instrument in semconv.INSTRUMENTS:
        assert list(instrument.buckets) == sorted(set(instrument.buckets))
        assert bool(instrument.buckets) == (instrument.kind == "histogram")
    assert 0.01 in semconv.VALIDATION_BUCKETS
    assert 0.01 in semconv.QUERY_BUCKETS


_ITEM = SchemaSpec(name="Item", module=None, library="pydantic", type=TypeSpec(kind="integer"))


def _use(active: recorder.Recorder) -> None:
    """Something of every instrument."""
    lead = validation("Lead", module=__name__)
    with endpoint("job"), lead() as row:
        row.problem("email", "required")
    probe = active.bind("pydantic", "Item", __name__)
    probe.succeeded(0.1)
    active.unread_schemas.add(probe.schema_cells, int, lambda cls: {"Item": _ITEM})
    query = {
        **active.bind("pydantic", "Item", __name__).schema_cells.attributes,
        semconv.QUERY_RELATION: "during",
        semconv.DB_SYSTEM_NAME: "sqlite",
    }
    active.count(semconv.QUERY_DURATION, "query", query, 0.1)
    for stream in (semconv.QUERY_CACHE_HITS, semconv.QUERY_CACHE_MISSES):
        active.count(stream, "sqlite", {semconv.DB_SYSTEM_NAME: "sqlite"}, 1)
    active.count(
        semconv.TELEMETRY_ERRORS,
        "fault",
        {semconv.TELEMETRY_COMPONENT: "x", semconv.ERROR_TYPE: "E"},
        1,
    )
    active.instruments[semconv.VALIDATION_DURATION].dropped = 1
    active.owned("pytest", "Item")
    runs = RunRecorder(trace.get_tracer("test"))
    target = Target("alembic", "leads", "postgresql")
    runs.begin(target, "upgrade").end("applied")
    runs.record_verdict(target, "pass", "errors")
    active.observers |= runs.observers
    there = ExistingTable(USUAL[0], "public", "leads", True, "")
    database = active.revisions.watch_database()  # type: ignore[union-attr]
    database.readings = (TableReading(there, ("a",)),)
    active.after_fork.append(lambda: database)  # which lives as long as its engine
    pending = {semconv.MIGRATION_TOOL: "alembic", semconv.DB_NAMESPACE: "leads"}
    mismatch = {**probe.schema_cells.attributes, semconv.MISMATCH_KIND: "length", semconv.MISMATCH_SEVERITY: "error"}
    active.observers[semconv.MISMATCHES.name] = lambda: [Observation(1, mismatch)]
    active.count(semconv.MISMATCH_DETECTIONS, "mismatch", mismatch)
    active.observers[semconv.MIGRATION_PENDING.name] = lambda: [Observation(1, pending)]


@pytest.fixture
def exported() -> dict[str, Any]:
    """What the SDK exports of every instrument, by name."""
    reader = InMemoryMetricReader()
    SchemaInstrumentor().instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    assert recorder.active is not None
    _use(recorder.active)
    data = reader.get_metrics_data()
    SchemaInstrumentor().uninstrument()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert (scope.scope.name, scope.scope.schema_url) == (semconv.SCOPE, semconv.SCHEMA_URL)
    return {metric.name: metric for metric in scope.metrics}


def test_what_is_exported_is_what_the_table_says(exported: dict[str, Any]) -> None:
    """Every instrument of the table is exported, no other is, with its unit, description, buckets and attributes."""
    assert set(exported) == set(TABLE)
    for instrument in semconv.INSTRUMENTS:
        metric = exported[instrument.name]
        assert (metric.unit, metric.description) == (instrument.unit, instrument.description)
        for point in metric.data.data_points:
            assert set(point.attributes) <= set(instrument.attributes)
            assert instrument.kind != "histogram" or point.explicit_bounds == instrument.buckets


def test_prometheus_spells_the_names_so() -> None:
    """The Prometheus exporter's family of every instrument has the name that the table gives."""
    from prometheus_client import REGISTRY

    reader = PrometheusMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    try:
        SchemaInstrumentor().instrument(meter_provider=meters)
        assert recorder.active is not None
        _use(recorder.active)
        text = generate_latest(REGISTRY).decode()
    finally:
        SchemaInstrumentor().uninstrument()
        meters.shutdown()
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert {each.prometheus for each in semconv.INSTRUMENTS} <= families
