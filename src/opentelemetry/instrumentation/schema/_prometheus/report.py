"""The rows of the tables, computed from a reading. Times are seconds, shares 0 to 1, NaN where nothing was observed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from .. import semconv
from .quantile import histogram_quantile, share_above
from .reading import Reading, Values

SLOW: Final = 0.01
"""Seconds: the threshold of the alert on validation time, and a boundary of every duration histogram."""


@dataclass(frozen=True)
class Validations:
    """The validations of one schema.

    Attributes:
        counted: Whether there was ever one, also before the time covered. The other rows have the same.
    """

    schema: str
    library: str
    count: float
    failed: float
    p50: float
    p95: float
    p99: float
    slow_share: float
    counted: bool


@dataclass(frozen=True)
class Endpoint:
    """The requests of one endpoint and the validations that failed in them.

    Attributes:
        error_rate: NaN without requests, and if no schema is observed there: nobody knows what fails.
        ours: Whether this instrumentation counted it. Other programs may have an `api_requests_total`.
    """

    endpoint: str
    requests: float
    errors: float
    error_rate: float
    error_types: dict[str, float]
    ours: bool
    counted: bool


@dataclass(frozen=True)
class Problem:
    """How often one field broke one rule."""

    schema: str
    path: str
    rule: str
    count: float


@dataclass(frozen=True)
class Cache:
    """The look-ups of one cache for one schema.

    Attributes:
        ours: Whether this instrumentation counted it. Other programs may have a `cache_hits_total`.
    """

    cache: str
    schema: str
    hits: float
    misses: float
    hit_rate: float
    ours: bool = True
    counted: bool = True


@dataclass(frozen=True)
class Queries:
    """The database queries linked to one schema."""

    schema: str
    relation: str
    operation: str
    system: str
    count: float
    p50: float
    p95: float
    slow_share: float
    counted: bool


@dataclass(frozen=True)
class Health:
    """Something that the instrumentation itself lost, or an error of its own."""

    what: str
    where: str
    count: float


@dataclass(frozen=True)
class LeftOut:
    """How many schemas of a third-party distribution are not observed."""

    distribution: str
    schemas: float


@dataclass(frozen=True)
class Report:
    """Everything that `top` shows of one reading, the most telling rows first.

    Attributes:
        seconds: Length of the time covered; None from each process's start.
        cache_total: Every cache but SQLAlchemy's compiled cache, as the hit rate counts.
    """

    seconds: float | None
    validations: list[Validations]
    endpoints: list[Endpoint]
    problems: list[Problem]
    caches: list[Cache]
    cache_total: Cache
    compiled_caches: list[Cache]
    queries: list[Queries]
    health: list[Health]
    left_out: list[LeftOut]

    @classmethod
    def of(cls, reading: Reading) -> Report:
        names = _Names(reading)
        caches = _caches(reading, names)
        hits, misses = sum(cache.hits for cache in caches), sum(cache.misses for cache in caches)
        return cls(
            seconds=reading.seconds,
            validations=_validations(reading, names),
            endpoints=_endpoints(reading),
            problems=_problems(reading, names),
            caches=caches,
            cache_total=Cache("all", "", hits, misses, _ratio(hits, hits + misses)),
            compiled_caches=_compiled_caches(reading),
            queries=_queries(reading, names),
            health=_health(reading),
            left_out=_left_out(reading),
        )

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON, with null for a figure that is not a finite number."""
        return _finite(asdict(self))


class _Names:
    """What a person calls a schema: its name, and its module too where two schemas share the name."""

    def __init__(self, reading: Reading) -> None:
        modules: defaultdict[str, set[str]] = defaultdict(set)
        for instrument in semconv.INSTRUMENTS:
            if semconv.SCHEMA_NAME in instrument.attributes:
                for name, module in reading.by(instrument, semconv.SCHEMA_NAME, semconv.SCHEMA_MODULE):
                    modules[name].add(module)
        self._shared = {name for name, found in modules.items() if name and len(found) > 1}

    def __call__(self, name: str, module: str) -> str:
        return f"{name} ({module})" if name in self._shared and module else name or "-"


def endpoint_name(method: str, route: str, endpoint: str) -> str:
    """`POST /leads`, the name of an `endpoint()` block, or "-" outside both."""
    if method == semconv.OVERFLOW:
        return method
    return endpoint or (f"{method} {route or '(no route)'}" if method else "-")


def _validations(reading: Reading, names: _Names) -> list[Validations]:
    instrument = semconv.VALIDATION_DURATION
    counted = reading.counted(instrument, *semconv.SCHEMA)
    failed: defaultdict[Values, float] = defaultdict(float)
    for (*schema, outcome), count in reading.totals(instrument, *semconv.SCHEMA, semconv.VALIDATION_OUTCOME).items():
        failed[tuple(schema)] += 0 if outcome == "valid" else count
    rows = [
        Validations(
            names(name, module),
            library,
            counts.get(math.inf, 0.0),
            failed[name, module, library],
            histogram_quantile(0.5, counts),
            histogram_quantile(0.95, counts),
            histogram_quantile(0.99, counts),
            share_above(SLOW, counts),
            (name, module, library) in counted,
        )
        for (name, module, library), counts in reading.by(instrument, *semconv.SCHEMA).items()
    ]
    return sorted(rows, key=lambda row: (-_known(row.p95), row.schema))


def _endpoints(reading: Reading) -> list[Endpoint]:
    requests = reading.totals(semconv.API_REQUESTS, *semconv.ENDPOINT)
    types: defaultdict[Values, dict[str, float]] = defaultdict(dict)
    keys = (semconv.SCHEMA_NAME, *semconv.ENDPOINT, semconv.ERROR_TYPE)
    for (name, *at, error), count in reading.totals(semconv.VALIDATION_ERRORS, *keys).items():
        # requests that another program counted share the row without a name, whatever labels they have
        endpoint = (semconv.OVERFLOW, "", "") if name == semconv.OVERFLOW else tuple(at) if name else ("", "", "")
        types[endpoint][error] = types[endpoint].get(error, 0.0) + count
    # endpoints with an observed schema, even if it only has a 0
    observed = types.keys() | {key for key in reading.by(semconv.VALIDATION_DURATION, *semconv.ENDPOINT) if any(key)}
    counted = reading.counted(semconv.API_REQUESTS, *semconv.ENDPOINT)
    rows: list[Endpoint] = []
    for endpoint in requests.keys() | types.keys():
        errors = sum(types[endpoint].values()) if endpoint in types else 0.0
        made = requests.get(endpoint, 0.0)
        rate = _ratio(errors, made) if endpoint in observed else math.nan
        seen = {error or "-": count for error, count in sorted(types.get(endpoint, {}).items()) if count}
        rows.append(
            Endpoint(
                endpoint_name(*endpoint), made, errors, rate, seen, any(endpoint), bool(errors) or endpoint in counted
            )
        )
    return sorted(rows, key=lambda row: (-row.errors, -row.requests, row.endpoint))


def _problems(reading: Reading, names: _Names) -> list[Problem]:
    keys = (semconv.SCHEMA_NAME, semconv.SCHEMA_MODULE, semconv.PROBLEM_PATH, semconv.PROBLEM_RULE)
    totals = reading.totals(semconv.VALIDATION_PROBLEMS, *keys).items()
    rows = [Problem(names(name, module), path, rule, count) for (name, module, path, rule), count in totals if count]
    return sorted(rows, key=lambda row: (-row.count, row.schema, row.path, row.rule))


def _caches(reading: Reading, names: _Names) -> list[Cache]:
    keys = (semconv.CACHE_NAME, semconv.SCHEMA_NAME, semconv.SCHEMA_MODULE)
    return _cache_rows(
        reading, semconv.CACHE_HITS, semconv.CACHE_MISSES, keys, lambda key: (key[0], names(*key[1:]), bool(key[0]))
    )


def _compiled_caches(reading: Reading) -> list[Cache]:
    keys = (semconv.DB_SYSTEM_NAME,)
    return _cache_rows(
        reading, semconv.QUERY_CACHE_HITS, semconv.QUERY_CACHE_MISSES, keys, lambda key: (key[0], "", True)
    )


def _cache_rows(
    reading: Reading,
    hit: semconv.Instrument,
    miss: semconv.Instrument,
    keys: tuple[str, ...],
    named: Callable[[Values], tuple[str, str, bool]],
) -> list[Cache]:
    hits, misses = reading.totals(hit, *keys), reading.totals(miss, *keys)
    counted = reading.counted(hit, *keys) | reading.counted(miss, *keys)
    rows: list[Cache] = []
    for key in hits | misses:
        cache, schema, ours = named(key)
        found, built = hits.get(key, 0.0), misses.get(key, 0.0)
        rows.append(Cache(cache or "-", schema, found, built, _ratio(found, found + built), ours, key in counted))
    return sorted(rows, key=lambda row: (-row.misses, row.cache, row.schema))


def _queries(reading: Reading, names: _Names) -> list[Queries]:
    keys = (
        semconv.SCHEMA_NAME,
        semconv.SCHEMA_MODULE,
        semconv.QUERY_RELATION,
        semconv.DB_OPERATION_NAME,
        semconv.DB_SYSTEM_NAME,
    )
    counted = reading.counted(semconv.QUERY_DURATION, *keys)
    rows = [
        Queries(
            names(name, module),
            relation,
            operation or "-",
            system or "-",
            counts.get(math.inf, 0.0),
            histogram_quantile(0.5, counts),
            histogram_quantile(0.95, counts),
            share_above(SLOW, counts),
            (name, module, relation, operation, system) in counted,
        )
        for (name, module, relation, operation, system), counts in reading.by(semconv.QUERY_DURATION, *keys).items()
    ]
    return sorted(rows, key=lambda row: (-_known(row.p95), row.schema, row.relation, row.operation))


def _health(reading: Reading) -> list[Health]:
    errors = reading.totals(semconv.TELEMETRY_ERRORS, semconv.TELEMETRY_COMPONENT, semconv.ERROR_TYPE)
    dropped = reading.totals(semconv.TELEMETRY_DROPPED, semconv.TELEMETRY_INSTRUMENT)
    return [Health("internal error", f"{where}: {error}", n) for (where, error), n in sorted(errors.items()) if n] + [
        Health("dropped measurement", where, n) for (where,), n in sorted(dropped.items()) if n
    ]


def _left_out(reading: Reading) -> list[LeftOut]:
    totals = reading.totals(semconv.LEFT_OUT, semconv.DISTRIBUTION).items()
    rows = [LeftOut(distribution or "-", count) for (distribution,), count in totals if count]
    return sorted(rows, key=lambda row: (-row.schemas, row.distribution))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _known(value: float) -> float:
    return -1.0 if math.isnan(value) else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return None if isinstance(value, float) and not math.isfinite(value) else value
