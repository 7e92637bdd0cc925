"""Everything that the conventions name, the gauges of versions and migrations too, comes over each road as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from figures import P95
from programs import Load, eventually
from roads import EXTRA_LABELS, ROADS, Road, lay

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

PROMETHEUS_NAMES = {
    "schema.validation.duration": "schema_validation_duration_seconds",
    "validation.errors": "validation_errors_total",
    "schema.validation.problems": "schema_validation_problems_total",
    "api.requests": "api_requests_total",
    "cache.hits": "cache_hits_total",
    "cache.misses": "cache_misses_total",
    "schema.info": "schema_info",
    "schema.db.info": "schema_db_info",
    "schema.mismatches": "schema_mismatches",
    "schema.migration.pending": "schema_migration_pending",
    "schema.migration.last_run.timestamp": "schema_migration_last_run_timestamp_seconds",
    "schema.migration.last_run.duration": "schema_migration_last_run_duration_seconds",
}


@dataclass
class Loaded:
    """A road, and what the load script emitted over it."""

    road: Road
    truth: dict[str, Any]


def nightly(name: Any) -> Any:
    """The leads API goes over every road on each change; the load over the usual one."""
    return name if name == "standalone" or not isinstance(name, str) else pytest.param(name, marks=pytest.mark.nightly)


@pytest.fixture(scope="module", params=map(nightly, ROADS))
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prometheus: str
) -> Iterator[Loaded]:
    home = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        road = lay(request.param, stack, home, prometheus)
        load = stack.enter_context(Load(f"http://{road.otlp}", home, seconds=5, app_port=road.app_port))
        truth = load.truth()
        for server in road.servers:
            requests = lambda server=server: server.value("sum(api_requests_total)") == truth["requests"]  # noqa: E731
            eventually(requests, f"{truth['requests']} requests")
        yield Loaded(road, truth)


def test_names_and_labels_are_those_of_the_conventions(loaded: Loaded) -> None:
    """Each measured attribute set is one series under the conventions' name and labels, and nothing else is."""
    found: dict[str, set[frozenset[tuple[str, str]]]] = {}
    names = "|".join(PROMETHEUS_NAMES.values())
    for labels in loaded.road.prometheus.series(f'{{__name__=~"(({names})(_count)?)"}}'):
        name = labels.pop("__name__").removesuffix("_count")
        kept = frozenset((key, value) for key, value in labels.items() if key not in EXTRA_LABELS[loaded.road.name])
        found.setdefault(name, set()).add(kept)
    expected = {
        PROMETHEUS_NAMES[name]: {
            frozenset((k.replace(".", "_"), v) for k, v in attributes.items()) for attributes in sets
        }
        for name, sets in loaded.truth["series"].items()
    }
    assert found == expected


def test_p95_is_in_the_right_bucket(loaded: Loaded) -> None:
    """The promised latency expression answers for each series, and for valid traffic inside the true bucket."""
    bucket = loaded.truth["p95_bucket"]
    rows = loaded.road.prometheus.query(P95)
    valid = [value for labels, value in rows if labels["schema_validation_outcome"] == "valid"]
    assert len(valid) == 2, rows  # one for each route
    assert all(0.01 < value <= bucket for value in valid), (valid, bucket)


def test_sampling_keeps_what_is_notable(loaded: Loaded) -> None:
    """Tail sampling stores every trace with a failed, crashed, slow or querying validation, and few others."""
    if loaded.road.app_port:
        return  # its traces go to the store directly
    notable, ordinary = set(loaded.truth["notable"]), set(loaded.truth["ordinary"])
    sink = loaded.road.sink
    sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()}, deadline=20)
    stored = {span.trace_id for span in sink.spans()}
    assert len(stored & ordinary) < 0.3 * len(ordinary)
