"""Cache and queries: validators built or reused, and the database behind the schemas."""

from __future__ import annotations

from typing import Any

from panels import (
    EVERY,
    OWN,
    RECORDED,
    SCHEMA,
    TARGET,
    WHERE,
    above,
    below,
    empty,
    figure,
    limited,
    page,
    placed,
    query,
    recorded,
    series,
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
    no_query = "No query was linked to a schema in this time"
    panels = [
        placed(
            limited(
                series(
                    "Cache Efficiency",
                    "Share of look-ups in ten minutes that were hits, by cache. The dashed line is the limit of "
                    "LowCacheHitRate.",
                    "percentunit",
                    query(recorded("cache:cache_hits:ratio_rate10m"), f"{{{{schema_cache_name}}}} {WHERE}"),
                    worst="lowest",
                ).max(1),
                below("@{hit_ratio}"),
            ),
            1, 0, 0, 18, 9,
        ),
        placed(
            figure(
                "Lifetime Cache Efficiency",
                "Hits divided by look-ups since the processes started. It hides a cache that failed today: look at the "
                "panel beside it.",
                "percentunit",
                query(f"{hits} / ({hits} + {misses})"),
            ).thresholds(below("@{hit_ratio}")),
            3, 18, 0, 6, 9,
        ),
        placed(
            limited(
                series(
                    "Calls That Build Their Validator",
                    "Share of a schema's validations that first built the validator. Near 100 %, the app builds it "
                    "per call. The dashed line is the limit of ValidatorBuiltPerCall.",
                    "percentunit",
                    query(recorded("schema:validators_built:ratio_rate10m", OF_SCHEMA), f"{NAMED} {WHERE}"),
                ).max(1),
                above("@{build_ratio}"),
            ),
            2, 0, 9, 12, 9,
        ),
        placed(
            empty(
                series(
                    "Compiled Cache of SQLAlchemy",
                    "Share of cacheable statements that SQLAlchemy had compiled before.",
                    "percentunit",
                    query(f"{compiled[0]} / ({compiled[0]} + {compiled[1]})", f"{{{{db_system_name}}}} {WHERE}"),
                ).max(1),
                "No SQLAlchemy statement in this time",
            ),
            5, 12, 9, 12, 9,
        ),
        placed(
            empty(
                limited(
                    series(
                        "Query Latency",
                        "95 % of the queries linked to a schema take at most this time, by relation and operation. "
                        "The dashed line is the limit of SlowLinkedQueries.",
                        "s",
                        query(
                            recorded("schema:schema_query_duration_seconds:p95_rate5m", OF_SCHEMA),
                            f"{NAMED} {{{{schema_query_relation}}}} {{{{db_operation_name}}}} {WHERE}",
                        ),
                    ),
                    above("@{query_seconds}"),
                ),
                no_query,
            ),
            4, 0, 18, 12, 9,
        ),
        placed(
            empty(
                series(
                    "Query Latency, During Against After",
                    "During: the validation waits for the query. After: the rest of the request waits for it.",
                    "s",
                    query(
                        f"histogram_quantile(0.95, sum by ({OWN}, schema_query_relation, le) ({queries}))",
                        f"{{{{schema_query_relation}}}}, p95 {WHERE}",
                    ),
                ),
                no_query,
            ),
            6, 12, 18, 12, 9,
        ),
        placed(
            empty(
                series(
                    "Queries",
                    "Queries a second that are linked to a schema, by relation and operation.",
                    "ops",
                    query(
                        f"sum by ({OWN}, schema_query_relation, db_operation_name) "
                        f"(rate(schema_query_duration_seconds_count{{{SCHEMA}}}[{EVERY}]))",
                        f"{{{{schema_query_relation}}}} {{{{db_operation_name}}}} {WHERE}",
                    ),
                ),
                no_query,
            ),
            7, 0, 27, 24, 8,
        ),
    ]  # fmt: skip
    return page(
        "schema-cache",
        "Schema cache and queries",
        "Validators built or reused, and the database queries linked to schemas.",
        panels,
        schema_variable=True,
    )
