"""Schema health: where one lands. Is anything wrong, and where to look next."""

from __future__ import annotations

from typing import Any

from panels import (
    EVERY,
    TARGET,
    above,
    below,
    empty,
    figure,
    instant,
    limited,
    limits,
    page,
    placed,
    prose,
    query,
    rows,
    series,
)

HELP = """\
**Nothing here?** In this order:

1. The app has handled a request since it started, under `opentelemetry-instrument`.
2. `OTEL_METRICS_EXPORTER` is `prometheus` or `otlp`, and its target or collector is up: *Schema telemetry pipeline*.
3. `OTEL_METRIC_EXPORT_INTERVAL=15000`: the SDK's 60 s are too slow for windows of one minute.
4. Schemas of installed distributions are left out unless `OTEL_PYTHON_SCHEMA_INCLUDE` names them.
"""


def dashboard() -> Any:
    requests = f"sum(rate(api_requests_total{{{TARGET}}}[{EVERY}]))"
    validations = f"sum(rate(schema_validation_duration_seconds_count{{{TARGET}}}[{EVERY}]))"
    hits, misses = (f"sum(rate(cache_{what}_total{{{TARGET}}}[{EVERY}]))" for what in ("hits", "misses"))
    errors = f"sum(rate(validation_errors_total{{{TARGET}}}[{EVERY}]))"
    slowest = f"sum by (le) (rate(schema_validation_duration_seconds_bucket{{{TARGET}}}[{EVERY}]))"
    errors_by_schema = f"sum by (schema_name) (rate(validation_errors_total{{{TARGET}}}[{EVERY}]))"
    burn = 'job:schema_validation_bad:ratio_rate{}{{job=~"$job"}} / (1 - @{{slo_objective}})'
    panels = [
        placed(figure("Requests", "Requests and endpoint() blocks a second.", "reqps", query(requests)), 1, 0, 0, 5, 4),
        placed(
            figure("Validations", "Outermost validations, a second, of whatever outcome.", "ops", query(validations)),
            2, 5, 0, 5, 4,
        ),
        placed(
            figure(
                "p95 of All Validations",
                "Of all validations together; red above the limit of HighValidationTime.",
                "s",
                query(f"histogram_quantile(0.95, {slowest})"),
            ).thresholds(above("@{p95_seconds}")),
            4, 10, 0, 5, 4,
        ),
        placed(
            figure(
                "Cache Hits",
                "Share of look-ups that were hits, all caches; red below the limit of LowCacheHitRate.",
                "percentunit",
                query(f"{hits} / ({hits} + {misses})"),
            ).thresholds(below("@{hit_ratio}")),
            5, 15, 0, 5, 4,
        ),
        placed(
            figure(
                "Processes Reporting",
                "Processes that report schema telemetry now.",
                "short",
                query(f"count(count by (job, instance) (api_requests_total{{{TARGET}}}))"),
            ),
            10, 20, 0, 4, 4,
        ),
        placed(
            limited(
                series(
                    "Validation Errors per Request",
                    "Failed validations over requests; a request may fail several, so it may pass 100 %. Dashed: the "
                    "limit of HighValidationErrorRate.",
                    "percentunit",
                    query(f"{errors} / {requests}", "errors per request"),
                ),
                above("@{error_ratio}"),
            ),
            3, 0, 4, 12, 8,
        ),
        placed(
            empty(
                rows(
                    "Firing Alerts",
                    "What Prometheus fires now, from its own ALERTS series; the dead-man's switch is left out.",
                    {
                        "alertname": ("Alert", ""),
                        "severity": ("Severity", ""),
                        "job": ("Job", ""),
                        "Value": ("Firing", "short"),
                    },
                    instant(
                        'count by (alertname, severity, job) (ALERTS{alertstate="firing", alertname!="Watchdog"})'
                    ),
                ),
                "No alert fires",
            ),
            6, 12, 4, 12, 8,
        ),
        placed(
            empty(
                rows(
                    "Schemas by Errors",
                    "Failed validations a second by schema, worst first, and how slow the schema is.",
                    {
                        "schema_name": ("Schema", ""),
                        "Value #A": ("Errors", "ops"),
                        "Value #B": ("p95", "s"),
                    },
                    instant(f"topk(10, {errors_by_schema})", "A"),
                    instant(
                        "histogram_quantile(0.95, sum by (schema_name, le) "
                        f"(rate(schema_validation_duration_seconds_bucket{{{TARGET}}}[{EVERY}])))",
                        "B",
                    ),
                ),
                "No validation in this time",
            ),
            7, 0, 12, 12, 8,
        ),
        placed(
            limited(
                series(
                    "Error Budget Burn",
                    "How many times faster than allowed validations crash or are slow, by job, over one hour and over "
                    "six. Dashed: where ValidationBudgetBurn becomes critical.",
                    "short",
                    query(burn.format("1h"), "{{job}}, 1 h"),
                    query(burn.format("6h"), "{{job}}, 6 h", "B"),
                ),
                limits((None, "green"), ("@{burn_6h}", "orange"), ("@{burn_1h}", "red")),
            ),
            8, 12, 12, 12, 8,
        ),
        placed(prose("No Data?", "Where to look when panels stay empty.", HELP), 9, 0, 20, 24, 5),
    ]  # fmt: skip
    return page("schema-health", "Schema health", "Is anything wrong with the schemas of your APIs?", panels)
