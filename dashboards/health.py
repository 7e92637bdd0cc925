"""Schema health: the first page. Is anything wrong, and where to look next."""

from __future__ import annotations

from typing import Any

from panels import (
    APP_ALERTS,
    BY_SCHEMA,
    COLLECTOR_ALERTS,
    EVERY,
    OWN,
    TARGET,
    TELEMETRY_ALERTS,
    WHERE,
    above,
    below,
    empty,
    errors,
    figure,
    instant,
    limited,
    limits,
    mapped,
    page,
    placed,
    prose,
    query,
    recorded,
    requests,
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
    validations = f"sum(rate(schema_validation_duration_seconds_count{{{TARGET}}}[{EVERY}]))"
    hits, misses = (
        f'sum(rate(cache_{what}_total{{schema_cache_name!="", {TARGET}}}[{EVERY}]))' for what in ("hits", "misses")
    )
    slowest = f"sum by (le) (rate(schema_validation_duration_seconds_bucket{{{TARGET}}}[{EVERY}]))"
    durations = f"rate(schema_validation_duration_seconds_bucket{{{TARGET}}}[{EVERY}])"
    firing = " or ".join(
        f'ALERTS{{alertstate="firing", alertname=~"{"|".join(alerts)}"@{{{chosen}}}}}'
        for alerts, chosen in (
            (APP_ALERTS, "selector:more"),
            (TELEMETRY_ALERTS, "selector:telemetry"),
            (COLLECTOR_ALERTS, "collector:more"),
        )
    )
    loaded = 'count(ALERTS{alertname="Watchdog", alertstate="firing"}) and on () @{prefix:recorded}schema_rules:loaded'

    def burn(window: str, ref: str) -> Any:
        ratio = recorded(f"job:schema_validation_bad:ratio_rate{window}")
        return query(f"{ratio} / (1 - @{{slo_objective}})", f"{WHERE}, {window}", ref)

    panels = [
        placed(
            mapped(
                figure(
                    "Rules",
                    "Whether the rules of these dashboards are loaded and the Watchdog fires: without them no alert "
                    "can.",
                    "short",
                    query(f"({loaded}) or vector(0)"),
                ).thresholds(limits((None, "red"), (1, "green"))),
                {"0": "not loaded", "1": "loaded"},
            ),
            11, 0, 0, 4, 4,
        ),
        placed(
            figure("Requests", "Requests and endpoint() blocks a second.", "reqps", query(f"sum({requests()})")),
            1, 4, 0, 4, 4,
        ),
        placed(
            figure("Validations", "Outermost validations a second, with any outcome.", "ops", query(validations)),
            2, 8, 0, 4, 4,
        ),
        placed(
            figure(
                "p95 of All Validations",
                "Of all validations together. Red above the limit of HighValidationTime.",
                "s",
                query(f"histogram_quantile(0.95, {slowest})"),
            ).thresholds(above("@{p95_seconds}")),
            4, 12, 0, 4, 4,
        ),
        placed(
            figure(
                "Cache Hits",
                "Share of look-ups that were hits, over all caches. Red below the limit of LowCacheHitRate.",
                "percentunit",
                query(f"{hits} / ({hits} + {misses})"),
            ).thresholds(below("@{hit_ratio}")),
            5, 16, 0, 4, 4,
        ),
        placed(
            figure(
                "Processes Reporting",
                "Processes that report schema telemetry now.",
                "short",
                query(f"count(count by ({OWN}, instance) (schema_validation_duration_seconds_count{{{TARGET}}}))"),
            ),
            10, 20, 0, 4, 4,
        ),
        placed(
            limited(
                series(
                    "Validation Errors per Request",
                    "Failed validations divided by requests, of all apps, over one minute: HighValidationErrorRate "
                    "compares it with the dashed limit. One request may fail several validations, so it may exceed "
                    "100 %.",
                    "percentunit",
                    query("@{prefix:recorded}all:validation_errors:ratio_rate1m@{own:chosen}", "all apps"),
                    query(f"(sum({errors()}) or 0 * sum({requests()})) / sum({requests()})", "chosen apps", "B"),
                ),
                above("@{error_ratio}"),
            ),
            3, 0, 4, 12, 8,
        ),
        placed(
            empty(
                rows(
                    "Firing Alerts",
                    "The alerts of these rules that fire now, from Prometheus's ALERTS series, without the Watchdog.",
                    {
                        "alertname": ("Alert", ""),
                        "severity": ("Severity", ""),
                        "job": ("Job", ""),
                        "@{label}": ("@{label}", ""),
                        "Value": ("Firing", "short"),
                    },
                    instant(f"count by (alertname, severity, {OWN}) ({firing})"),
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
                        "schema_module": ("Module", ""),
                        "job": ("Job", ""),
                        "@{label}": ("@{label}", ""),
                        "Value #A": ("Errors", "ops"),
                        "Value #B": ("p95", "s"),
                    },
                    instant(f"topk(10, sum by ({BY_SCHEMA}) ({errors()}))", "A"),
                    instant(f"histogram_quantile(0.95, sum by ({BY_SCHEMA}, le) ({durations}))", "B"),
                ),
                "No validation in this time",
            ),
            7, 0, 12, 12, 8,
        ),
        placed(
            limited(
                series(
                    "Error Budget Burn",
                    "How many times faster than allowed validations use up the error budget, over the windows of "
                    "ValidationBudgetBurn. At the dashed line it becomes critical.",
                    "short",
                    *(burn(window, ref) for window, ref in zip(("1h", "6h", "1d", "3d"), "ABCD", strict=True)),
                ),
                limits((None, "green"), ("@{burn_6h}", "orange"), ("@{burn_1h}", "red")),
            ),
            8, 12, 12, 12, 8,
        ),
        placed(prose("No Data?", "Where to look when panels stay empty.", HELP), 9, 0, 20, 24, 5),
    ]  # fmt: skip
    return page("schema-health", "Schema health", "Is anything wrong with the schemas of your APIs?", panels)
