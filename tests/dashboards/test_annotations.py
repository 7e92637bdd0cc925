"""Runs of migrations as annotations: asked of a real Prometheus over hours and months, as Grafana asks."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboards import promql
from tests.dashboards.test_dashboards import DASHBOARDS
from tests.pipeline.programs import Prometheus

HOUR, DAY = 3600, 86400
PIXELS = 1920
"""Grafana asks for no more points than the window has pixels."""
SCRAPE = 15
"""Seconds, as the provisioned data source says."""
ROUND = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Intervals, in s, that Grafana rounds to."""
LABELS = 'job="leads-api",instance="run-{at}",schema_migration_tool="alembic",db_namespace="leads"'
RUNS = {  # seconds ago → direction and outcome
    20 * DAY: ("upgrade", "applied"),
    9 * DAY: ("upgrade", "failed"),
    9 * DAY - 2 * HOUR: ("upgrade", "applied"),
    2 * DAY: ("downgrade", "rolled_back"),
    5 * HOUR: ("upgrade", "partial"),
    2 * HOUR: ("upgrade", "applied"),
    HOUR: (None, "applied"),  # nothing was to be done
}


def ended(now: int, ago: int) -> int:
    """When a run ended: ten minutes into half an hour, so that no step of 30 days falls into its series' life."""
    return (now - ago) // 1800 * 1800 + 600


@pytest.fixture(scope="module")
def now() -> int:
    return int(time.time()) // 60 * 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, now: int) -> Iterator[Prometheus]:
    """A Prometheus that holds 30 days of runs, whose series were scraped for two minutes each."""
    home = tmp_path_factory.mktemp("runs")
    lines = ["# TYPE schema_migration_last_run_timestamp_seconds gauge"]
    for ago, (direction, outcome) in RUNS.items():
        at = ended(now, ago)
        labels = LABELS.format(at=at) + (f',schema_migration_direction="{direction}"' if direction else "")
        series = f'schema_migration_last_run_timestamp_seconds{{{labels},schema_migration_outcome="{outcome}"}}'
        lines += [f"{series} {at}.25 {scraped}" for scraped in range(at + 5, at + 125, 10)]
    (home / "runs.txt").write_text("\n".join([*lines, "# EOF", ""]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(home / "runs.txt"), str(home / "tsdb")]
    subprocess.run(command, check=True, capture_output=True)
    found = shutil.which("prometheus")
    assert found is not None
    flags = ["--storage.tsdb.retention.time=60d"]
    with Prometheus(found, "app.yml", home, {9464: 1, 9093: 1}, flags) as running:
        yield running


def events(server: Prometheus, annotation: dict[str, Any], start: int, end: int) -> list[float]:
    """The times in s at which Grafana 13 draws an annotation: its steps, and its data source's arithmetic."""
    wanted = max((end - start) / PIXELS, (end - start) / 11000, SCRAPE)
    step = next(each for each in ROUND if each >= wanted * 0.75)
    expr = promql.resolved(annotation["target"]["expr"], {"$__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE)}s"})
    expr = expr.replace("$job", ".+")
    asked = {"start": start // step * step, "end": end // step * step, "step": step}
    drawn: list[float] = []
    for row in server.api("query_range", query=expr, **asked)["result"]:
        last = -math.inf
        for _, value in row["values"]:
            at = math.floor(float(value)) / 1000  # the value is the time, in ms
            if last + step < at:
                drawn.append(at)
            last = at  # what follows within a step prolongs the event
    return sorted(drawn)


@pytest.mark.parametrize("hours", [6, 30 * 24])
@pytest.mark.parametrize(
    ("name", "outcomes"), [("Migrations", {"applied", "rolled_back"}), ("Failed migrations", {"failed", "partial"})]
)
def test_every_run_is_drawn_at_its_time(
    server: Prometheus, now: int, hours: int, name: str, outcomes: set[str]
) -> None:
    """Over 6 hours and over 30 days each run is one event at its own time; one with nothing to do is none."""
    for dashboard in DASHBOARDS.values():
        (annotation,) = [one for one in dashboard["annotations"]["list"] if one["name"] == name]
        expected = [
            ended(now, ago) + 0.25
            for ago, (direction, outcome) in RUNS.items()
            if ago <= hours * HOUR and direction and outcome in outcomes
        ]
        assert events(server, annotation, now - hours * HOUR, now) == sorted(expected)


def test_a_plain_query_misses_them(server: Prometheus, now: int) -> None:
    """Without last_over_time() the steps of 30 days pass over all of them: the test would notice."""
    notes = DASHBOARDS["schema-health"]["annotations"]["list"]
    text = json.dumps(next(one for one in notes if one["name"] == "Migrations"))
    plain = json.loads(text.replace("last_over_time(", "(").replace("[$__rate_interval]", ""))
    assert events(server, plain, now - 30 * DAY, now) == []
