"""Histories for every alert: just above each limit, just below it, at each guard, and the ways to be silent."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from tests.dashboards.promtool import Case, Value

SCHEMA = 'job="shop", instance="a", schema_name="LeadIn", schema_module="shop.models", schema_library="pydantic"'
ENDPOINT = 'http_request_method="POST", http_route="/leads"'
ERRORS = f'validation_errors_total{{{SCHEMA}, {ENDPOINT}, error_type="ValidationError"}}'
REQUESTS = f'api_requests_total{{job="shop", instance="a", {ENDPOINT}}}'
HITS = f'cache_hits_total{{{SCHEMA}, schema_cache_name="validator"}}'
MISSES = f'cache_misses_total{{{SCHEMA}, schema_cache_name="validator"}}'
CRASHES = f'schema_validation_duration_seconds_count{{{SCHEMA}, schema_validation_outcome="error"}}'
DROPPED = 'schema_telemetry_dropped_total{job="shop", schema_telemetry_instrument="validation.errors"}'
INTERNAL = 'schema_telemetry_errors_total{job="shop", schema_telemetry_component="recorder", error_type="KeyError"}'
EXPORTER = 'job="otelcol", instance="c", exporter="otlp_grpc/next", data_type="traces"'


def rate(per_second: float, since: int = 0, until: int = 10**9) -> Value:
    """A counter that grows evenly for a while."""
    return lambda at: max(0, min(at, until) - since) * per_second


def constant(value: float) -> Value:
    return lambda at: value


def once(at: int) -> Value:
    """A counter that counts one."""
    return lambda now: float(now >= at)


def phased(per_second: float, export: int, phase: int) -> Value:
    """A counter exported every `export` seconds and scraped every 10 s, `phase` seconds after the evaluation."""
    return lambda at: None if at % 10 != phase else at // export * export * per_second


def durations(shares: Mapping[float, float], per_second: float, since: int = 0, until: int = 10**9) -> dict[str, Value]:
    """The series of a validation histogram of which, cumulated, these shares are at or below these bounds."""
    labels = f'{SCHEMA}, schema_validation_outcome="valid"'
    family = "schema_validation_duration_seconds"
    series = {
        f'{family}_bucket{{{labels}, le="{bound:g}"}}': rate(per_second * share, since, until)
        for bound, share in (shares | {math.inf: 1.0}).items()
    }
    series = {selector.replace('le="inf"', 'le="+Inf"'): value for selector, value in series.items()}
    return series | {f"{family}_count{{{labels}}}": rate(per_second, since, until)}


def queries(shares: Mapping[float, float], per_second: float) -> dict[str, Value]:
    labels = f'{SCHEMA}, schema_query_relation="during", db_operation_name="SELECT"'
    series = {
        f'schema_query_duration_seconds_bucket{{{labels}, le="{bound:g}"}}'.replace('"inf"', '"+Inf"'): rate(
            per_second * share
        )
        for bound, share in (shares | {math.inf: 1.0}).items()
    }
    return series | {f"schema_query_duration_seconds_count{{{labels}}}": rate(per_second)}


def bad(share: float, per_second: float = 10, since: int = 0, until: int = 10**9) -> dict[str, Value]:
    """Validations of which a share takes between 10 and 25 ms; buckets above and below would judge otherwise."""
    return durations({0.005: 1 - 1.6 * share, 0.01: 1 - share, 0.025: 1}, per_second, since, until)


SLOW = {0.005: 0.5, 0.01: 0.94, 0.025: 1.0}  # p95 = 12.5 ms
QUICK = {0.005: 0.75, 0.01: 1.0, 0.025: 1.0}  # p95 = 9 ms
SLOW_QUERIES = {0.05: 0.5, 0.1: 0.94, 0.25: 1.0}  # p95 = 125 ms
QUICK_QUERIES = {0.05: 0.75, 0.1: 1.0, 0.25: 1.0}  # p95 = 90 ms


def calls(share_of_hits: float, per_second: float) -> dict[str, Value]:
    return {HITS: rate(per_second * share_of_hits), MISSES: rate(per_second * (1 - share_of_hits))}


def versions(
    old: str, new: str, *, old_until: int = 10**9, same: bool = False, ceased: bool = False
) -> dict[str, Value]:
    """Instance `a` uses one version of LeadIn, instance `b` another."""
    first, second = f"f-{old}", f"f-{old}" if same else "f-new"
    in_b = SCHEMA.replace('instance="a"', 'instance="b"')
    return {
        f'schema_info{{{SCHEMA}, schema_version="{old}", schema_fingerprint="{first}"}}': lambda at: (
            0.0 if ceased else 1.0 if at < old_until else None
        ),
        f'schema_info{{{in_b}, schema_version="{new}", schema_fingerprint="{second}"}}': constant(1),
    }


def per_validation(
    queries: float, validations: float, relation: str = "during", until: float = math.inf
) -> dict[str, Value]:
    """Queries by validation of LeadIn, and validations a second, until a time in s."""
    labels = f'{SCHEMA}, schema_query_relation="{relation}", db_operation_name="SELECT"'
    return {
        f"schema_query_duration_seconds_count{{{labels}}}": lambda at: min(at, until) * queries * validations,
        f'schema_validation_duration_seconds_count{{{SCHEMA}, schema_validation_outcome="valid"}}': (
            lambda at: min(at, until) * validations
        ),
    }


def mismatches(severity: str, value: Value, *, instance: str = "a") -> dict[str, Value]:
    """LeadIn does not fit its table."""
    labels = f'{SCHEMA}, schema_mismatch_kind="length", schema_mismatch_severity="{severity}"'
    return {f"schema_mismatches{{{labels}}}".replace('instance="a"', f'instance="{instance}"'): value}


DATABASE = 'schema_migration_tool="alembic", db_namespace="leads"'
PENDING = f'schema_migration_pending{{job="shop", instance="a", {DATABASE}}}'
DAY = 86400


def run(outcome: str, at: int, *, direction: str = "upgrade", database: str = DATABASE) -> dict[str, Value]:
    """A run of migrations that ended at a time: its series lives two minutes, or one scrape."""
    labels = f'job="shop", instance="run-{at}", {database}, schema_migration_direction="{direction}"'
    selector = f'schema_migration_last_run_timestamp_seconds{{{labels}, schema_migration_outcome="{outcome}"}}'
    return {selector: lambda now: float(at) if at <= now < at + 120 else None}


def verdict(which: str, at: int, signal: str = "errors", database: str = DATABASE) -> dict[str, Value]:
    """A verdict of the guard at a time, likewise."""
    labels = f'job="shop", instance="guard-{at}", {database}, schema_guard_signal="{signal}"'
    selector = f'schema_guard_last_verdict_timestamp_seconds{{{labels}, schema_guard_verdict="{which}"}}'
    return {selector: lambda now: float(at) if at <= now < at + 120 else None}


PROMISED = [
    Case(
        "HighValidationErrorRate",
        "1.2 % of the requests for five minutes",
        {ERRORS: rate(0.12, 300, 900), REQUESTS: rate(10)},
        fires=660,  # above 1 % once 60 s of failures are in the window
        resolved=910,
    ),
    Case("HighValidationErrorRate", "0.9 % is allowed", {ERRORS: rate(0.09), REQUESTS: rate(10)}),
    Case(
        "HighValidationErrorRate",
        "four minutes of failures are too short",
        {ERRORS: rate(1, 300, 540), REQUESTS: rate(10)},
    ),
    Case(
        "HighValidationErrorRate",
        "exported every 15 s and scraped out of phase, every window holds a step",
        {ERRORS: phased(1, 15, 3), REQUESTS: phased(10, 15, 3)},
        fires=370,
        scrape=1,
        exact=False,
    ),
    Case(
        "HighValidationErrorRate",
        "exported every 60 s some windows hold no step, NaN restarts the clock: the limit of one-minute windows",
        {ERRORS: phased(1, 60, 3), REQUESTS: phased(10, 60, 3)},
        scrape=1,
    ),
    Case(
        "HighValidationTime",
        "p95 of 12.5 ms for a minute",
        durations(SLOW, 1, 300, 900),
        fires=380,  # the twentieth at 320
        resolved=1190,
    ),
    Case("HighValidationTime", "p95 of 9 ms is allowed", durations(QUICK, 1)),
    Case("HighValidationTime", "21 slow ones in five minutes count", durations(SLOW, 21 / 300), fires=600, exact=False),
    Case("HighValidationTime", "19 in five minutes are too few to judge", durations(SLOW, 19 / 300)),
    Case("LowCacheHitRate", "83 % for ten minutes", calls(0.83, 1), fires=620),
    Case("LowCacheHitRate", "87 % is allowed", calls(0.87, 1)),
    Case("LowCacheHitRate", "21 look-ups in ten minutes count", calls(0.5, 21 / 600), fires=1400, exact=False),
    Case("LowCacheHitRate", "19 look-ups in ten minutes are too few", calls(0.5, 19 / 600), until=3000),
    Case(
        "LowCacheHitRate",
        "a cache that died after a million hits shows, which no lifetime ratio would",
        {HITS: lambda at: 1e6 + min(at, 600), MISSES: rate(1, 600)},
        fires=1300,  # a sixth of the window at 700
    ),
]

ENDPOINTS = [
    Case(
        "HighEndpointErrorRate",
        "6 % of an endpoint's requests for five minutes",
        {ERRORS: rate(0.6, 300, 900), REQUESTS: rate(10)},
        fires=860,  # above 5 % once 260 s of failures are in the window
        resolved=950,
    ),
    Case("HighEndpointErrorRate", "4.5 % is allowed", {ERRORS: rate(0.45), REQUESTS: rate(10)}),
    Case(
        "HighEndpointErrorRate",
        "21 requests in five minutes count",
        {ERRORS: rate(21 / 600), REQUESTS: rate(21 / 300)},
        fires=900,
        exact=False,
    ),
    Case(
        "HighEndpointErrorRate",
        "19 requests in five minutes are too few",
        {ERRORS: rate(19 / 600), REQUESTS: rate(19 / 300)},
    ),
    Case("HighEndpointErrorRate", "one failure in a quiet endpoint", {ERRORS: once(300), REQUESTS: rate(1 / 60)}),
    *(
        Case(
            "HighEndpointErrorRate",
            f"exported every {export} s, its windows of five minutes always hold a step",
            {ERRORS: phased(1, export, 3), REQUESTS: phased(10, export, 3)},
            fires=440,
            scrape=1,
            exact=False,
        )
        for export in (15, 60)
    ),
    Case("CrashedValidators", "one more crash of a known series", {CRASHES: once(300)}, fires=300, resolved=610),
    Case("CrashedValidators", "crashes of long ago", {CRASHES: constant(7)}),
]


def burn(long: str, factor: float, wait: int, every: int, scrape: int) -> list[Case]:
    """Budget alerts of one window pair: at the second sample they know the ratio, and `wait` later they fire."""
    alert, limit = f'ValidationBudgetBurn{{long="{long}"}}', factor * 0.01
    return [
        Case(alert, "just above", bad(limit * 1.1), fires=scrape + wait, until=wait * 2, every=every, scrape=scrape),
        Case(alert, "just below", bad(limit * 0.9), until=wait * 3, every=every, scrape=scrape),
    ]


def good(since: int = 0, until: int = 10**9) -> dict[str, Value]:
    """Ten quick refusals a second: what a validator does well."""
    labels = f'{SCHEMA}, schema_validation_outcome="invalid"'
    return {
        f"schema_validation_duration_seconds_count{{{labels}}}": rate(10, since, until),
        f'schema_validation_duration_seconds_bucket{{{labels}, le="0.01"}}': rate(10, since, until),
    }


def scarce(long: str, seconds: int, factor: float, wait: int, every: int) -> list[Case]:
    alert, limit = f'ValidationBudgetBurn{{long="{long}"}}', factor * 0.01
    few = {"until": seconds + 2 * wait, "every": every, "scrape": every}
    return [
        Case(alert, "110 validations count", bad(limit * 2, 110 / seconds), fires=few["until"], exact=False, **few),
        Case(alert, "90 validations are too few", bad(limit * 2, 90 / seconds), **few),
    ]


BUDGET = [
    *burn("1h", 14.4, 120, 10, 10),
    *burn("6h", 6, 900, 60, 60),
    *burn("1d", 3, 3600, 60, 60),
    *burn("3d", 1, 10800, 300, 300),
    *scarce("1h", 3600, 14.4, 120, 60),
    Case(
        'ValidationBudgetBurn{long="1h"}',
        "over: the short window lets go five minutes after the fault, the long one an hour",
        {
            **bad(0.3, until=600),
            **good(600),
        },
        fires=130,
        resolved=910,
    ),
    Case(
        'ValidationBudgetBurn{long="1h"}',
        "a burst of two minutes in a good hour spends little",
        {
            **bad(0.3, since=3600, until=3720),
            **good(until=3600),
        },
        until=4500,
    ),
    Case(
        'ValidationBudgetBurn{long="1h"}',
        "crashes burn the budget however quick they are",
        {
            CRASHES: rate(1),
            CRASHES.replace("_count{", '_bucket{le="0.01", '): rate(1),
        },
        fires=130 + 90,
        exact=False,
    ),
]

CAUSES = [
    Case("SlowLinkedQueries", "p95 of 125 ms for five minutes", queries(SLOW_QUERIES, 2), fires=310),
    Case("SlowLinkedQueries", "p95 of 90 ms is allowed", queries(QUICK_QUERIES, 2)),
    Case("SlowLinkedQueries", "21 in five minutes count", queries(SLOW_QUERIES, 21 / 300), fires=700, exact=False),
    Case("SlowLinkedQueries", "19 in five minutes are too few", queries(SLOW_QUERIES, 19 / 300)),
    Case("SeveralSchemaVersions", "two versions for an hour", versions("1", "2"), fires=3600, until=3700),
    Case("SeveralSchemaVersions", "two fingerprints under one declared version", versions("1", "1"), fires=3600),
    Case(
        "SeveralSchemaVersions",
        "a rolling deployment of 50 minutes is over in time",
        versions("1", "2", old_until=3000),
        until=8000,
    ),
    Case("SeveralSchemaVersions", "one version on two instances", versions("1", "1", same=True), until=8000),
    Case(
        "SeveralSchemaVersions", "a version that ceased is published as 0", versions("1", "2", ceased=True), until=8000
    ),
    Case("SchemaMismatch", "one that corrupts, for half an hour", mismatches("critical", constant(1)), fires=1800),
    Case(
        "SchemaMismatch",
        "one that is refused, on one of two instances",
        mismatches("error", constant(1)) | mismatches("error", constant(0), instance="b"),
        fires=1800,
    ),
    Case("SchemaMismatch", "a warning is none", mismatches("warning", constant(3)), until=4000),
    Case("SchemaMismatch", "one that ceased is published as 0", mismatches("error", constant(0)), until=4000),
    Case(
        "SchemaMismatch",
        "a migration that follows its code by 20 minutes",
        mismatches("error", lambda at: 1.0 if at < 1200 else 0.0),
        until=4000,
    ),
    Case(
        "QueriesInValidators", "ten queries a validation for ten minutes", per_validation(10, 1), fires=700, exact=False
    ),
    Case("QueriesInValidators", "six for ten minutes are too many", per_validation(6, 1), fires=700, exact=False),
    Case("QueriesInValidators", "five are allowed", per_validation(5, 1)),
    Case("QueriesInValidators", "an import of three minutes, seen for eight", per_validation(10, 1, until=180)),
    Case("QueriesInValidators", "25 validations count", per_validation(10, 25 / 300), fires=1400, exact=False),
    Case("QueriesInValidators", "ten queries after each validation are none", per_validation(10, 1, "after")),
    Case("QueriesInValidators", "19 validations in five minutes are too few", per_validation(10, 19 / 300), until=3000),
    Case("ValidatorBuiltPerCall", "60 % of the calls build for ten minutes", calls(0.4, 5), fires=610),
    Case("ValidatorBuiltPerCall", "45 % is allowed", calls(0.55, 5)),
    Case("ValidatorBuiltPerCall", "21 builds in ten minutes count", calls(0, 21 / 600), fires=1400, exact=False),
    Case("ValidatorBuiltPerCall", "19 builds in ten minutes are too few", calls(0, 19 / 600), until=3000),
]

TELEMETRY = [
    Case(
        "SchemaTelemetryMissing",
        "gone: after the staleness of five minutes and ten more",
        {REQUESTS: lambda at: at if at <= 3600 else None},
        fires=3600 + 310 + 600,
        # twelve minutes later it no longer reported for most of an hour, and an hour is remembered
        resolved=3600 + 720 + 3600 + 60,
    ),
    Case(
        "SchemaTelemetryMissing",
        "a worker that runs twenty minutes a night",
        {REQUESTS: lambda at: at if at <= 1200 else None},
        until=9000,
    ),
    Case(
        "SchemaTelemetryMissing",
        "a worker that runs twenty minutes every forty",
        {REQUESTS: lambda at: at if at % 2400 <= 1200 else None},
        until=18000,
    ),
    Case(
        "SchemaTelemetryMissing",
        "a worker that ran for forty minutes once",
        {REQUESTS: lambda at: at if at <= 2400 else None},
        until=9000,
    ),
    Case("SchemaTelemetryMissing", "another job's silence is its own", {REQUESTS: rate(1)}, until=7200),
    Case("SchemaTelemetryAbsent", "nothing since the start", {'up{job="x"}': constant(1)}, fires=900),
    Case(
        "SchemaTelemetryAbsent",
        "a stranger's requests are not our telemetry",
        {'api_requests_total{job="gateway", instance="g", code="200"}': rate(1)},
        fires=900,
    ),
    Case(
        "SchemaTelemetryAbsent",
        "a worker without requests is there",
        durations(QUICK, 1),
    ),
    Case("MeasurementsDropped", "drops for ten minutes", {DROPPED: rate(0.004, 300, 1200)}, fires=910, resolved=1810),
    Case("MeasurementsDropped", "one drop of long ago", {DROPPED: constant(1)}),
    Case("SchemaTelemetryErrors", "one more error", {INTERNAL: once(300)}, fires=300, resolved=910),
    Case("SchemaTelemetryErrors", "an error of long ago", {INTERNAL: constant(3)}),
    Case("Watchdog", "always", {'up{job="x"}': constant(1)}, fires=0, exact=False),
]


def queue(share: float, since: int = 0, until: int = 10**9) -> dict[str, Value]:
    return {
        f"otelcol_exporter_queue_size{{{EXPORTER}}}": lambda at: 1000 * share if since <= at < until else 0,
        f"otelcol_exporter_queue_capacity{{{EXPORTER}}}": constant(1000),
    }


COLLECTOR = [
    Case("CollectorQueueFilling", "55 % for five minutes", queue(0.55, 300, 900), fires=660, resolved=900),
    Case("CollectorQueueFilling", "45 % is allowed", queue(0.45)),
    Case("CollectorQueueFilling", "full for four minutes", queue(1, 300, 540)),
    *(
        case
        for kind in ("spans", "metric_points")
        for case in (
            Case(
                "CollectorExportFailing",
                f"{kind} fail for good",
                {f"otelcol_exporter_send_failed_{kind}_total{{{EXPORTER}}}": rate(1, 300, 900)},
                fires=370,
                resolved=1210,
            ),
            Case(
                "CollectorRefusing",
                f"{kind} are refused",
                {
                    f'otelcol_receiver_refused_{kind}_total{{job="otelcol", instance="c", receiver="otlp"}}': rate(
                        1, 300, 900
                    )
                },
                fires=430,
                resolved=1210,
            ),
        )
    ),
    Case(
        "CollectorExportFailing",
        "what failed long ago",
        {f"otelcol_exporter_send_failed_spans_total{{{EXPORTER}}}": constant(9)},
    ),
    Case(
        "CollectorRefusing",
        "what was refused long ago",
        {'otelcol_receiver_refused_spans_total{job="otelcol", instance="c", receiver="otlp"}': constant(9)},
    ),
    Case(
        "CollectorDown",
        "for two minutes",
        {'up{job="otelcol", instance="c"}': lambda at: 0 if 300 <= at < 900 else 1},
        fires=420,
        resolved=900,
    ),
    Case(
        "CollectorDown",
        "the only one vanishes from discovery",
        {'up{job="otelcol", instance="c"}': lambda at: 1 if at < 900 else None},
        fires=890 + 310 + 120,  # promtool's gap is no staleness marker: the last sample stands for five minutes
        resolved=890 + 300 + 3600 + 20,
    ),
    Case(
        "CollectorDown",
        "one of two vanishes",
        {
            'up{job="otelcol", instance="c"}': lambda at: 1 if at < 900 else None,
            'up{job="otelcol", instance="d"}': constant(1),
        },
        fires=890 + 310 + 120,
        exact=False,
    ),
    Case(
        "CollectorDown",
        "a rolling update has one more for two minutes, and other instances after it",
        {
            'up{job="otelcol", instance="old"}': lambda at: 1 if at < 1200 else None,
            'up{job="otelcol", instance="new"}': lambda at: 1 if at >= 1080 else None,
        },
        until=6000,
    ),
    Case("CollectorDown", "another job is down", {'up{job="shop", instance="c"}': constant(0)}),
]


def revision(state: str, value: Value, *, instance: str = "a") -> dict[str, Value]:
    """An instance sees its database so."""
    labels = f'job="shop", instance="{instance}", {DATABASE}, schema_db_revision="r", schema_db_state="{state}"'
    return {f"schema_db_info{{{labels}}}": value}


MIGRATIONS = [
    *(
        Case("RevisionAheadOrDiverged", f"{state} for half an hour", revision(state, constant(1)), fires=1800)
        for state in ("ahead", "diverged")
    ),
    Case(
        "RevisionAheadOrDiverged",
        "from ahead to diverged on another instance is one time",
        revision("ahead", lambda at: 1.0 if at < 1200 else 0.0)
        | revision("diverged", lambda at: 0.0 if at < 1200 else 1.0, instance="b"),
        fires=1800,
    ),
    Case(
        "RevisionAheadOrDiverged",
        "a scrape fails now and then",
        revision("ahead", lambda at: None if at % 600 < 60 else 1.0),
        fires=60 + 1800,
    ),
    Case(
        "RevisionAheadOrDiverged",
        "a rolling deployment of 27 minutes",
        revision("ahead", lambda at: 1.0 if 600 <= at < 600 + 27 * 60 else 0.0),
        until=4000,
    ),
    Case("RevisionAheadOrDiverged", "never on unknown", revision("unknown", constant(1)), until=7200),
    Case("RevisionAheadOrDiverged", "never on behind", revision("behind", constant(1)), until=7200),
    Case(
        "RevisionAheadOrDiverged", "a state that ceased is published as 0", revision("ahead", constant(0)), until=7200
    ),
    Case("RevisionUnknown", "unknown for half an hour", revision("unknown", constant(1)), fires=1800),
    Case(
        "RevisionUnknown",
        "25 minutes of it",
        revision("unknown", lambda at: 1.0 if 600 <= at < 600 + 25 * 60 else 0.0),
        until=4000,
    ),
    Case("RevisionUnknown", "never on ahead", revision("ahead", constant(1)), until=7200),
    Case(
        "MigrationsPending",
        "two wait for half an hour",
        {PENDING: lambda at: 2.0 if 600 <= at < 3000 else 0.0},
        fires=2400,
        resolved=3120,  # two minutes later, as a scrape may be missing
    ),
    Case(
        "MigrationsPending",
        "a scrape fails now and then",
        {PENDING: lambda at: None if at % 600 < 60 else 2.0},
        fires=60 + 1800,
    ),
    Case(
        "MigrationsPending",
        "a deployment of 27 minutes that migrates after its code",
        {PENDING: lambda at: 2.0 if 600 <= at < 600 + 27 * 60 else 0.0},
        until=4000,
    ),
    *(
        case
        for alert, outcome, other in (
            ("MigrationFailed", "failed", "partial"),
            ("MigrationPartial", "partial", "failed"),
        )
        for case in (
            Case(alert, "the series lives two minutes, the alert on", run(outcome, 600), fires=600, until=3600),
            Case(alert, "still so an hour later", run(outcome, 600), fires=4200, exact=False),
            Case(
                alert,
                "remembered for 30 days",
                run(outcome, 3600),
                fires=30 * DAY,
                resolved=31 * DAY,
                every=3600,
                scrape=3600,
                exact=False,
            ),
            Case(
                alert,
                "until a later run is applied",
                run(outcome, 600) | run("applied", 1200),
                fires=600,
                resolved=1200,
            ),
            Case(
                alert,
                "until it is rolled back",
                run(outcome, 600) | run("rolled_back", 1200, direction="downgrade"),
                fires=600,
                resolved=1200,
            ),
            Case(alert, "after one that was applied", run("applied", 600) | run(outcome, 900), fires=900),
            Case(
                alert,
                "another database's run does not help",
                run(outcome, 600) | run("applied", 900, database=DATABASE.replace("leads", "shop")),
                fires=1200,
                exact=False,
            ),
            Case(
                alert,
                "another tool's run does not help",
                run(outcome, 600) | run("applied", 900, database=DATABASE.replace("alembic", "dbmate")),
                fires=1200,
                exact=False,
            ),
            Case(alert, "the next one fails otherwise", run(outcome, 600) | run(other, 900), fires=1200, exact=False),
            Case(alert, "all is applied", run("applied", 600) | run("applied", 1200)),
            Case(alert, "the other outcome", run(other, 600)),
        )
    ),
]

GUARD = [
    Case("MigrationDegraded", "one verdict, whose series lives two minutes", verdict("degraded", 600), fires=600),
    Case("MigrationDegraded", "still so an hour later", verdict("degraded", 600), fires=4200, exact=False),
    Case(
        "MigrationDegraded",
        "until a later verdict passes",
        verdict("degraded", 600) | verdict("pass", 1200),
        fires=600,
        resolved=1200,
    ),
    Case(
        "MigrationDegraded",
        "until it is rolled back",
        verdict("degraded", 600) | run("rolled_back", 1200, direction="downgrade"),
        fires=600,
        resolved=1200,
    ),
    Case(
        "MigrationDegraded",
        "a rollback of something earlier does not help",
        run("rolled_back", 300, direction="downgrade") | verdict("degraded", 600),
        fires=600,
    ),
    Case(
        "MigrationDegraded",
        "another signal's pass does not help",
        verdict("degraded", 600) | verdict("pass", 900, "time"),
        fires=1200,
        exact=False,
    ),
    Case(
        "MigrationDegraded",
        "another database's pass does not help",
        verdict("degraded", 600) | verdict("pass", 900, database=DATABASE.replace("leads", "shop")),
        fires=1200,
        exact=False,
    ),
    Case(
        "MigrationDegraded",
        "an inconclusive verdict does not help",
        verdict("degraded", 600) | verdict("inconclusive", 900),
        fires=1200,
        exact=False,
    ),
    Case("MigrationDegraded", "after a pass", verdict("pass", 300) | verdict("degraded", 600), fires=600),
    Case("MigrationDegraded", "a pass and nothing else", verdict("pass", 600) | verdict("inconclusive", 900)),
]

CASES = [*PROMISED, *ENDPOINTS, *BUDGET, *CAUSES, *MIGRATIONS, *GUARD, *TELEMETRY, *COLLECTOR]

HEALTHY: dict[str, Value] = {
    **durations({0.005: 0.99, 0.01: 1.0, 0.025: 1.0}, 5),
    **queries({0.05: 0.99, 0.1: 1.0, 0.25: 1.0}, 1),
    **calls(0.99, 5),
    ERRORS: rate(0.01),
    REQUESTS: rate(5),
    CRASHES: constant(0),
    DROPPED: constant(0),
    INTERNAL: constant(0),
    PENDING: constant(0),
    **revision("current", constant(1)),
    next(iter(run("applied", 0))): constant(1e6),
    **queue(0.01),
    f"otelcol_exporter_send_failed_spans_total{{{EXPORTER}}}": constant(0),
    'otelcol_receiver_refused_spans_total{job="otelcol", instance="c", receiver="otlp"}': constant(0),
    'up{job="otelcol", instance="c"}': constant(1),
}
"""Every family that an alert looks at, on a quiet day."""


def changed(histories: Mapping[str, Value], change: Callable[[Value], Value]) -> dict[str, Value]:
    """What the app counts, changed; what is said of the collector and of migrations stays."""
    kept = re.compile('job="otelcol"|^schema_migration|^schema_db_info|^schema_guard')
    return {selector: value if kept.search(selector) else change(value) for selector, value in histories.items()}


OLD_FAULTS = HEALTHY | {CRASHES: constant(4000), INTERNAL: constant(4000), DROPPED: constant(4000)}

SILENCE: dict[str, dict[str, Value]] = {
    "a quiet day": HEALTHY,
    "idle: nothing moves": changed(HEALTHY, lambda value: constant(1234)),
    "newborn series: all appear in mid-run, counters in the thousands": changed(
        OLD_FAULTS, lambda value: lambda at: value(at + 36000) if at >= 600 else None
    ),
    "counter reset: the app restarts": changed(
        OLD_FAULTS | dict.fromkeys((CRASHES, INTERNAL, DROPPED), lambda at: 7.0 if at < 600 else 0.0),
        lambda value: lambda at: value(at if at < 600 else at - 600),
    ),
    "one failure in a quiet endpoint": HEALTHY | {ERRORS: once(600), REQUESTS: rate(1 / 60)},
    "background work without requests: every validation fails": {
        selector.replace('outcome="valid"', 'outcome="invalid"'): value
        for selector, value in HEALTHY.items()
        if selector not in (ERRORS, REQUESTS)
    },
}
"""Histories in which no alert but the dead-man's switch may fire."""
