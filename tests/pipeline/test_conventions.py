"""What the conventions name comes over each topology as it is; what no convention knows is summed away or apart.

The load script puts an e-mail address on each point and each exemplar, beside a stranger that counts `cache.hits` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from figures import P95
from tests.pipeline import load
from tests.pipeline.programs import Load, Prometheus, eventually
from tests.pipeline.topologies import EXTRA_LABELS, TOPOLOGIES, Topology, start

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
    """A topology, and what the load script emitted over it."""

    topology: Topology
    truth: dict[str, Any]


def nightly(name: Any) -> Any:
    """The leads API goes over every topology on each change; the load over the usual one."""
    return name if name == "standalone" or not isinstance(name, str) else pytest.param(name, marks=pytest.mark.nightly)


LOADED = [nightly(name) for name in TOPOLOGIES]
COLLECTED = LOADED[1:]  # all but the app's own endpoint


@pytest.fixture(scope="module", params=LOADED)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prometheus: str
) -> Iterator[Loaded]:
    home = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        topology = start(request.param, stack, home, prometheus)
        options = {"app_port": topology.app_port} if topology.app_port else {"leak": True}
        app = stack.enter_context(Load(f"http://{topology.otlp}", home, seconds=5, stranger=True, **options))
        truth = app.truth()

        def arrived(server: Prometheus) -> bool:
            return server.value("sum(api_requests_total)") == truth["requests"]

        for server in topology.servers:
            eventually(lambda server=server: arrived(server), f"{truth['requests']} requests")
        yield Loaded(topology, truth)


def test_names_and_labels_are_those_of_the_conventions(loaded: Loaded) -> None:
    """Each measured attribute set is one series under the conventions' name and labels, and nothing else of ours is."""
    found: dict[str, set[frozenset[tuple[str, str]]]] = {}
    names = "|".join(PROMETHEUS_NAMES.values())
    ours = f'{{__name__=~"(({names})(_count)?)", otel_scope_name="{load.SCOPE}"}}'
    for labels in loaded.topology.prometheus.series(ours):
        name = labels.pop("__name__").removesuffix("_count")
        kept = frozenset((key, value) for key, value in labels.items() if key not in EXTRA_LABELS[loaded.topology.name])
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
    for server in loaded.topology.servers:
        rows = server.query(P95)
        valid = [value for labels, value in rows if labels["schema_validation_outcome"] == "valid"]
        assert len(valid) == 2, rows  # one for each route
        assert all(0.01 < value <= bucket for value in valid), (valid, bucket)


@pytest.mark.parametrize("loaded", COLLECTED, indirect=True, scope="module")
def test_sampling_keeps_what_is_notable(loaded: Loaded) -> None:
    """Tail sampling stores every trace with a failed, crashed, slow or querying validation, and few others."""
    notable, ordinary = set(loaded.truth["notable"]), set(loaded.truth["ordinary"])
    sink = loaded.topology.sink
    sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()})
    stored = {span.trace_id for span in sink.spans()}
    assert len(stored & ordinary) < 0.3 * len(ordinary)


@pytest.mark.parametrize("loaded", COLLECTED, indirect=True, scope="module")
def test_unknown_attributes_are_summed_away(loaded: Loaded) -> None:
    """Fifty values of an attribute that no convention knows make no series, and every count stays exact."""
    server, truth = loaded.topology.prometheus, loaded.truth
    for series, key in (("api_requests_total", "requests"), ("validation_errors_total", "errors")):
        assert server.value(f"sum({series})") == truth[key]
    assert server.value("count(api_requests_total)") == 2  # one for each route
    assert server.value("sum(schema_validation_duration_seconds_count)") == truth["requests"]


def test_strangers_keep_their_own_series(loaded: Loaded) -> None:
    """Another scope's cache.hits is its own series with its own attributes, and ours counts only ours."""
    server = loaded.topology.prometheus
    assert server.value(f'sum(cache_hits_total{{otel_scope_name="{load.SCOPE}"}})') == loaded.truth["hits"]
    assert server.value('cache_hits_total{otel_scope_name="stranger", colour="red"}') == 1000


@pytest.mark.parametrize("loaded", COLLECTED, indirect=True, scope="module")
def test_unknown_attributes_are_absent_at_the_far_end(loaded: Loaded) -> None:
    """What the app put on points and exemplars is in no series, no exemplar, no stored span and no log."""
    eventually(lambda: loaded.topology.prometheus.exemplars("schema_validation_duration_seconds_bucket"), "exemplars")
    for where, text in loaded.topology.far_end().items():
        assert load.CANARY not in text, where
