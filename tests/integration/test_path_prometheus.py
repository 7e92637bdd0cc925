"""The promised expressions, verbatim, in a real Prometheus that scrapes the leads API's own endpoint."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus, Scrape

import processes
from leads_api import traffic
from leads_api.truth import Truth
from processes import HOST
from tests.integration import export_path

P95 = "histogram_quantile(0.95, rate(schema_validation_duration_seconds_bucket[5m]))"
ERROR_RATE = "sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))"
HIT_RATE = "sum(cache_hits_total) / (sum(cache_hits_total) + sum(cache_misses_total))"

pytestmark = pytest.mark.timeout(180)

BY_ENDPOINT = "http_request_method, http_route"


class Scraped(NamedTuple):
    """A Prometheus that holds all of a run's traffic; `fresh` is what it held before the first request."""

    prometheus: Prometheus
    truth: Truth
    fresh: dict[str, Counter[tuple[str, ...]]]
    port: int

    def sums(self, metric: str, by: str) -> Counter[tuple[str, ...]]:
        """A metric summed by labels, under their values in that order."""
        return sums(self.prometheus, metric, by)


def sums(prometheus: Prometheus, metric: str, by: str) -> Counter[tuple[str, ...]]:
    names = by.split(", ")
    return Counter(
        {
            tuple(labels.get(name, "") for name in names): int(value)
            for labels, value in prometheus.query(f"sum by ({by}) ({metric})")
        }
    )


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """The app with a Prometheus endpoint, and a minute's share of traffic that a Prometheus scraped all along."""
    directory = tmp_path_factory.mktemp("scraped")
    metrics = processes.free_port()
    endpoint = f"http://{HOST}:{metrics}/metrics"
    with (
        export_path.leads(directory, export_path.by_prometheus(metrics), ready=lambda: processes.answers(endpoint)) as (
            url,
            _,
        ),
        prometheus_of(metrics, directory) as prometheus,
    ):
        fresh = {
            "requests": sums(prometheus, "api_requests_total", BY_ENDPOINT),
            "errors": sums(prometheus, "validation_errors_total", f"{BY_ENDPOINT}, schema_name"),
        }
        truth = traffic.run(url, "demo", seed=5, requests=480, rate=40, threads=8)
        ended = time.time()
        assert processes.until(lambda: prometheus.query("timestamp(up)")[0][1] > ended + 0.5, 30)
        yield Scraped(prometheus, truth, fresh, metrics)


@contextmanager
def prometheus_of(port: int, directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped that port at least once."""
    binary = shutil.which("prometheus")
    if binary is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no prometheus on this machine")
    config = directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: leads, static_configs: [{{targets: ['{HOST}:{port}']}}]}}]\n"
    )
    own = processes.free_port()
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    prometheus = Prometheus(f"http://{HOST}:{own}")

    def up() -> bool:
        return processes.answers(f"{prometheus.url}/-/ready") and prometheus.query("up == 1") != []

    log = directory / "prometheus.log"
    with processes.program("Prometheus", [*command, f"--web.listen-address={HOST}:{own}"], log, up):
        yield prometheus


def by_endpoint(counts: Mapping[tuple[str, ...], int]) -> Counter[tuple[str, ...]]:
    """Method and route in one, as the truth has them."""
    return Counter({(f"{method} {route}", *rest): number for (method, route, *rest), number in counts.items()})


def test_requests_are_the_truth(scraped: Scraped) -> None:
    """`sum(api_requests_total)` is the number of requests, and each endpoint's its own."""
    assert scraped.prometheus.query("sum(api_requests_total)") == [({}, scraped.truth.requests.total())]
    seen = by_endpoint(scraped.sums("api_requests_total", BY_ENDPOINT))
    assert {endpoint: number for (endpoint,), number in seen.items() if number} == scraped.truth.requests


def test_failures_are_the_truth(scraped: Scraped) -> None:
    """`validation_errors_total` by endpoint and schema is what the clients saw fail."""
    seen = by_endpoint(scraped.sums("validation_errors_total", f"{BY_ENDPOINT}, schema_name"))
    assert +seen == scraped.truth.failures


def test_validations_are_the_truth(scraped: Scraped) -> None:
    """The histogram counts each schema's validations, at each endpoint."""
    seen = scraped.sums("schema_validation_duration_seconds_count", f"{BY_ENDPOINT}, schema_name")
    assert by_endpoint(seen) == scraped.truth.validators + scraped.truth.rebuilt


def test_problems_are_the_truth(scraped: Scraped) -> None:
    """Failed fields by schema, templated path and rule are those that the clients sent."""
    labels = "schema_name, schema_problem_path, schema_problem_rule"
    assert +scraped.sums("schema_validation_problems_total", labels) == scraped.truth.problems


def test_queries_are_the_truth(scraped: Scraped) -> None:
    """Queries during validations are as many as the validators run."""
    seen = scraped.sums('schema_query_duration_seconds_count{schema_query_relation="during"}', "schema_name")
    assert {schema: number for (schema,), number in seen.items()} == scraped.truth.queries


def test_hit_rate_is_the_truth(scraped: Scraped) -> None:
    """The promised hit rate, and its hits and misses, are those of the validators that the app built."""
    hits, misses = (scraped.sums(f"cache_{kind}_total", "schema_cache_name") for kind in ("hits", "misses"))
    assert ({("validator",): scraped.truth.cache.hits}, {("validator",): scraped.truth.cache.misses}) == (hits, misses)
    assert scraped.prometheus.query(HIT_RATE) == [({}, pytest.approx(scraped.truth.figures.cache_hit_rate, rel=1e-12))]


def test_error_rate_is_the_truth(scraped: Scraped) -> None:
    """The promised error rate is the truth's, but for what rate() cannot see at the ends of its window."""
    ((_, value),) = scraped.prometheus.query(ERROR_RATE)
    assert value == pytest.approx(scraped.truth.figures.error_rate, rel=0.05)


def test_p95_is_in_the_right_bucket(scraped: Scraped) -> None:
    """The promised p95 of every series lies in the bucket that holds its 95th percentile by the raw counts."""
    p95 = {key(labels): value for labels, value in scraped.prometheus.query(P95)}
    raw: dict[Any, dict[float, float]] = {}
    for labels, count in scraped.prometheus.query("schema_validation_duration_seconds_bucket"):
        raw.setdefault(key(labels), {})[float(labels["le"])] = count
    judged = 0
    for series, counts in raw.items():
        if counts[math.inf] >= 40 and not math.isnan(p95.get(series, math.nan)):
            # a rate misses the series' first values: the rank may be one or two off
            low, high = (bucket(counts, q * counts[math.inf]) for q in (0.89, 0.99))
            assert low[0] <= p95[series] <= high[1], series
            judged += 1
    assert judged >= 5


def test_p95_tells_the_slow_schema(scraped: Scraped) -> None:
    """The schema whose validator scans a table is above the alert's 10 ms, that of the same fields without it below."""
    values = {
        labels["schema_name"]: value
        for labels, value in scraped.prometheus.query(P95)
        if labels["schema_validation_outcome"] == "valid" and labels["schema_name"] in ("LeadVerified", "LeadIn")
    }
    assert values["LeadIn"] < 0.01 < values["LeadVerified"]


def key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if name not in ("le", "__name__")))


def bucket(counts: Mapping[float, float], rank: float) -> tuple[float, float]:
    """The bounds of the bucket that holds a rank."""
    below = 0.0
    for bound in sorted(counts):
        if counts[bound] >= rank:
            return below, bound
        below = bound
    raise AssertionError(f"no {rank} in {counts}")


def test_routes_read_0_before_their_first_request(scraped: Scraped) -> None:
    """Every route of the app reads 0 requests, and every schema of a route 0 failures, before anything was asked."""
    requests = by_endpoint(scraped.fresh["requests"])
    routes = {endpoint for endpoint in scraped.truth.requests if endpoint != "GET "}
    assert {endpoint for (endpoint,) in requests} >= routes
    assert set(requests.values()) == {0}
    errors = by_endpoint(scraped.fresh["errors"])
    assert set(errors.values()) == {0}
    assert ("POST /leads", "LeadIn") in errors


def test_what_never_failed_reads_0(scraped: Scraped) -> None:
    """Every schema that was validated at an endpoint and never failed there reads 0 errors, not "no data"."""
    seen = by_endpoint(scraped.sums("validation_errors_total", f"{BY_ENDPOINT}, schema_name"))
    faultless = (scraped.truth.validators + scraped.truth.rebuilt).keys() - scraped.truth.failures.keys()
    assert faultless
    assert {pair: seen.get(pair) for pair in faultless} == dict.fromkeys(faultless, 0)
    (_, rate) = scraped.prometheus.query('sum(rate(validation_errors_total{schema_name="LeadOut"}[1m]))')[0]
    assert rate == 0


def test_a_second_process_cannot_publish_at_the_same_port(scraped: Scraped, tmp_path: Path) -> None:
    """A second process says that its port is taken, serves its requests, and publishes nothing."""
    with export_path.leads(tmp_path, export_path.by_prometheus(scraped.port)) as (url, _):
        traffic.run(url, "steady", seed=1, requests=5)
    log = (tmp_path / "app.log").read_text()
    assert "Address already in use" in log
    assert scraped.prometheus.query("sum(api_requests_total)") == [({}, scraped.truth.requests.total())]


def test_workers_behind_one_port_publish_nothing(tmp_path: Path) -> None:
    """With `--workers`, the supervisor takes the port and measures nothing: the workers' numbers are at no endpoint."""
    port = processes.free_port()

    def command(own: int) -> list[str]:
        return ["uvicorn", "leads_api.app:app", "--port", str(own), "--workers", "2"]

    with export_path.leads(tmp_path, export_path.by_prometheus(port), command) as (url, _):
        traffic.run(url, "steady", seed=1, requests=5)
        scrape = Scrape(f"http://{HOST}:{port}/metrics").read()
    assert (tmp_path / "app.log").read_text().count("Address already in use") >= 2
    assert scrape.empty
