"""Cache and queries: validators built or reused, and the database behind the schemas."""

from __future__ import annotations

from typing import Any

from dashboards.panels import (
    EVERY,
    OWN,
    RECORDED,
    SCHEMA,
    TARGET,
    WHERE,
    above,
    at,
    below,
    busiest_ten,
    chosen_ten,
    empty,
    failures,
    latency,
    limited,
    limits,
    make_dashboard,
    now,
    query,
    recorded,
    row,
    tile,
    timeseries_panel,
)

NAMED = "{{schema_name}} {{schema_module}}"
OF_SCHEMA = f'{RECORDED}, schema_name=~"$schema"'


def dashboard() -> Any:
    hits, misses = (f'sum(cache_{what}_total{{schema_cache_name!="", {TARGET}}})' for what in ("hits", "misses"))
    compiled = [
        f"sum by ({OWN}, db_system_name) (rate(schema_query_cache_{what}_total{{{TARGET}}}[{EVERY}]))"
        for what in ("hits", "misses")
    ]
    queries = f"rate(schema_query_duration_seconds_bucket{{{SCHEMA}}}[{EVERY}])"
    slowest = recorded("schema:schema_query_duration_seconds:p95_rate5m", OF_SCHEMA)
    caches = recorded("cache:cache_hits:ratio_rate10m")
    no_query = "No query was linked to a schema in this time"
    panels = [
        row("Caches", 30, 0),
        at(
            empty(
                limited(
                    timeseries_panel(
                        "Cache Efficiency",
                        "The share of look-ups that were hits, in windows of ten minutes. Shows the ten worst caches "
                        "of the time range. The dashed line is the limit of LowCacheHitRate, which needs "
                        "@{hit_lookups} look-ups in a window.",
                        "percentunit",
                        query(chosen_ten(caches, "min_over_time", "bottomk"), f"{{{{schema_cache_name}}}} {WHERE}"),
                        worst="lowest",
                    ).max(1),
                    below("@{hit_ratio}"),
                ),
                "No look-up in this time",
            ),
            1, 0, 1, 18, 9,
        ),
        at(
            empty(
                tile(
                    "Lifetime Cache Efficiency",
                    "The share of look-ups that were hits, since the processes started. It has no limit, because it "
                    "hides a cache that stopped working today: look at the panel beside it.",
                    "percentunit",
                    now(f"{hits} / ({hits} + {misses}) >= 0", "all caches"),
                ).thresholds(limits((None, "blue"))),
                "No look-up yet",
            ),
            3, 18, 1, 6, 9,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Calls That Build Their Validator",
                            "The share of a schema's validations that built their validator first, in windows of ten "
                            "minutes. Near 100 %, the app builds the validator for each call. Shows the ten worst "
                            "schemas of the time range. The dashed line is the limit of ValidatorBuiltPerCall, which "
                            "needs @{build_count} builds in a window.",
                            "percentunit",
                            query(
                                chosen_ten(recorded("schema:validators_built:ratio_rate10m", OF_SCHEMA)),
                                f"{NAMED} {WHERE}",
                            ),
                        ).max(1),
                        above("@{build_ratio}"),
                    ),
                    "orange",
                ),
                "No validation in this time",
            ),
            2, 0, 10, 12, 9,
        ),
        at(
            empty(
                timeseries_panel(
                    "Compiled Cache of SQLAlchemy",
                    "The share of cacheable statements that SQLAlchemy had already compiled.",
                    "percentunit",
                    query(f"{compiled[0]} / ({compiled[0]} + {compiled[1]}) >= 0", f"{{{{db_system_name}}}} {WHERE}"),
                ).max(1),
                "No SQLAlchemy statement in this time",
            ),
            5, 12, 10, 12, 9,
        ),
        row("Queries", 31, 19),
        at(
            empty(
                latency(
                    "Query Latency",
                    "95 % of the queries linked to a schema take at most this long, in windows of five minutes. "
                    "Queries during and after the validation are separate lines. Shows the ten slowest of the time "
                    "range. The dashed line is the limit of SlowLinkedQueries, which needs @{query_count} queries in a"
                    " window.",
                    query(
                        chosen_ten(slowest),
                        f"{NAMED} {{{{schema_query_relation}}}} {{{{db_operation_name}}}} {WHERE}",
                    ),
                    limit="@{query_seconds}",
                    shown=slowest,
                ),
                no_query,
            ),
            4, 0, 20, 12, 9,
        ),
        at(
            empty(
                latency(
                    "Query Latency, During Against After",
                    "During: the validation waits for the query. After: the rest of the request waits for it.",
                    query(
                        f"histogram_quantile(0.95, sum by (schema_query_relation, le) ({queries})) >= 0",
                        "{{schema_query_relation}}, p95",
                    ),
                ),
                no_query,
            ),
            6, 12, 20, 12, 9,
        ),
        at(
            empty(
                timeseries_panel(
                    "Queries",
                    "Queries per second that are linked to a schema, by when they run and what they do.",
                    "suffix:queries/s",
                    query(
                        busiest_ten(
                            f"rate(schema_query_duration_seconds_count{{{SCHEMA}}}[{EVERY}])",
                            f"{OWN}, schema_query_relation, db_operation_name",
                        ),
                        f"{{{{schema_query_relation}}}} {{{{db_operation_name}}}} {WHERE}",
                    ),
                ),
                no_query,
            ),
            7, 0, 29, 12, 8,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Queries per Validation",
                            "How many database queries validators run in each validation. If the number grows with the"
                            " number of items, the validator queries once for each item (N+1). Queries after a "
                            "validation do not count. The dashed line is the limit of QueriesInValidators.",
                            "suffix: queries",
                            query(
                                chosen_ten(recorded("schema:validation_queries:ratio_rate5m", OF_SCHEMA)),
                                f"{NAMED} {WHERE}",
                            ),
                        ),
                        above("@{validation_queries}"),
                    ),
                    "orange",
                ),
                "No validator ran a query in this time",
            ),
            8, 12, 29, 12, 8,
        ),
    ]  # fmt: skip
    return make_dashboard(
        "schema-cache",
        "Schema cache and queries",
        "Validators built or reused, and the database queries linked to schemas.",
        panels,
        schema_variable=True,
    )
