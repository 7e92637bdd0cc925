"""The three promised figures, as PromQL gives them and as the traffic generator counted them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.quantile import Counts, histogram_quantile
from opentelemetry.instrumentation.schema._prometheus.reading import Reading
from opentelemetry.instrumentation.schema._prometheus.report import SLOW, endpoint_name
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus
from opentelemetry.instrumentation.schema.cli.tables import seconds, share

from leads_api.truth import Truth

P95 = "histogram_quantile(0.95, rate(schema_validation_duration_seconds_bucket[5m]))"
ERROR_RATE = "sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))"
HIT_RATE = "sum(cache_hits_total) / (sum(cache_hits_total) + sum(cache_misses_total))"

EXTRAPOLATION = 0.05
"""How far, relative to itself, a rate over a window may be off: rate() extrapolates to the window's ends and cannot see
a series's first sample."""


@dataclass(frozen=True)
class Figure:
    """One figure beside the truth."""

    what: str
    measured: str
    truth: str
    right: bool


def counts(reading: Reading, truth: Truth, processes: int = 1) -> list[Figure]:
    """The counts, which must be equal to the last one.

    Only which validations of several processes were a cache's first is up to the kernel, within bounds.
    """
    pairs = {
        "requests": (_total(reading, semconv.API_REQUESTS), truth.requests.total()),
        "failed validations": (_total(reading, semconv.VALIDATION_ERRORS), truth.failures.total()),
        "validations": (_total(reading, semconv.VALIDATION_DURATION), truth.validations.total()),
        "problems": (_total(reading, semconv.VALIDATION_PROBLEMS), truth.problems.total()),
    }
    looked_up, (fewest, most) = sum(truth.cache), _misses(truth, processes)
    bounds = {
        "cache hits": (_total(reading, semconv.CACHE_HITS), looked_up - most, looked_up - fewest),
        "cache misses": (_total(reading, semconv.CACHE_MISSES), fewest, most),
    }
    if processes > 1:
        pairs["cache look-ups"] = (bounds["cache hits"][0] + bounds["cache misses"][0], looked_up)
    return [Figure(what, f"{seen:,.0f}", f"{sent:,}", seen == sent) for what, (seen, sent) in pairs.items()] + [
        Figure(what, f"{seen:,.0f}", _between(f"{low:,}", f"{high:,}"), low <= seen <= high)
        for what, (seen, low, high) in bounds.items()
    ]


def figures(
    prometheus: Prometheus | None, reading: Reading, truth: Truth, recent: Truth | None = None, processes: int = 1
) -> list[Figure]:
    """The promised expressions: evaluated verbatim by a Prometheus, else computed from one scrape's totals.

    Args:
        prometheus: evaluates them.
        reading: totals since the processes' start.
        truth: of the same time.
        recent: of the last minute, if that is not all.
        processes: how many served that traffic.
    """
    return [
        *_p95s(prometheus, reading, truth),
        _error_rate(prometheus, reading, recent or truth),
        _hit_rate(prometheus, reading, truth, processes),
    ]


def _p95s(prometheus: Prometheus | None, reading: Reading, truth: Truth) -> list[Figure]:
    """p95 of the schema that asks the database, and of the busiest one that does not.

    How long a validation takes the generator cannot know, but on which side of 10 ms its p95 lies it can: it knows the
    share that takes the slow look-up. The exact bucket follows from the counts.
    """
    slow = max(truth.slow, key=lambda schema: truth.slow[schema])
    quick = max((pair for pair in truth.validators if not truth.slow[pair[1]]), key=lambda pair: truth.validators[pair])
    (slow_endpoint,) = {endpoint for endpoint, schema in truth.validators if schema == slow}
    attributes = (
        semconv.HTTP_REQUEST_METHOD,
        semconv.HTTP_ROUTE,
        semconv.SCHEMA_ENDPOINT,
        semconv.SCHEMA_NAME,
        semconv.VALIDATION_OUTCOME,
    )
    buckets = {
        (endpoint_name(*values[:3]), *values[3:]): found
        for values, found in reading.by(semconv.VALIDATION_DURATION, *attributes).items()
    }
    if prometheus:
        names = [attribute.replace(".", "_") for attribute in attributes]
        measured: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in prometheus.query(P95):
            values = [labels.get(name, "") for name in names]
            # a process without such a validation in the last five minutes has none
            measured[endpoint_name(*values[:3]), values[3], values[4]] += [] if math.isnan(value) else [value]
    else:
        measured = defaultdict(
            list, {key: [histogram_quantile(0.95, found)] for key, found in buckets.items() if found[math.inf]}
        )
    rows: list[Figure] = []
    for endpoint, schema in ((slow_endpoint, slow), quick):
        key = (endpoint, schema, "valid")
        # one of each process; that of all of them together lies between the least and the greatest
        values, found = measured[key] or [math.nan], buckets.get(key, {})
        least, greatest, pooled = min(values), max(values), histogram_quantile(0.95, found)
        above = truth.slow[schema] / truth.validations[schema] > 0.05
        low, high = _bucket(found, 0.95 - 0.02), _bucket(found, 0.95 + 0.02)
        rows.append(
            Figure(
                f"p95 of {schema} at {endpoint}",
                _between(seconds(least), seconds(greatest)),
                f"{'above' if above else 'below'} {seconds(SLOW)}; from {seconds(low[0])} to {seconds(high[1])}",
                low[0] <= greatest and least <= high[1] and (pooled > SLOW) == above,
            )
        )
    return rows


def _bucket(counts: Counts, q: float) -> tuple[float, float]:
    """Bounds of the bucket that holds a rank, by counting up to it."""
    below = 0.0
    for bound in sorted(counts):
        if counts[bound] >= q * counts[math.inf]:
            return below, bound
        below = bound
    return math.nan, math.nan


def _error_rate(prometheus: Prometheus | None, reading: Reading, truth: Truth) -> Figure:
    expected = truth.figures.error_rate
    if prometheus:
        value = _only(prometheus, ERROR_RATE)
        right = math.isclose(value, expected, rel_tol=EXTRAPOLATION)
    else:
        value = _ratio(_total(reading, semconv.VALIDATION_ERRORS), _total(reading, semconv.API_REQUESTS))
        right = value == expected
    return Figure("failed validations per request", share(value), share(expected), right)


def _hit_rate(prometheus: Prometheus | None, reading: Reading, truth: Truth, processes: int) -> Figure:
    hits, misses = (_total(reading, instrument) for instrument in (semconv.CACHE_HITS, semconv.CACHE_MISSES))
    value = _only(prometheus, HIT_RATE) if prometheus else _ratio(hits, hits + misses)
    high, low = (1 - missed / sum(truth.cache) for missed in _misses(truth, processes))
    right = low - 1e-12 <= value <= high + 1e-12
    return Figure("cache hit rate", share(value), _between(share(low), share(high)), right)


def _misses(truth: Truth, processes: int) -> tuple[int, int]:
    """The fewest and the most look-ups that found nothing."""
    return truth.cache.misses, truth.cache.misses + len(truth.validators) * (processes - 1)


def _between(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _only(prometheus: Prometheus, expression: str) -> float:
    answer = prometheus.query(expression)
    return answer[0][1] if len(answer) == 1 else math.nan


def _total(reading: Reading, instrument: semconv.Instrument) -> float:
    return sum(reading.totals(instrument).values())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
