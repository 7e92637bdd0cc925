"""Telemetry pipeline: can the other dashboards be believed?"""

from __future__ import annotations

from typing import Any

from panels import EVERY, TARGET, above, empty, figure, limited, page, placed, query, series

NO_COLLECTOR = "No collector is scraped: the app's own endpoint is the road"


def dashboard() -> Any:
    def collector(title: str, description: str, unit: str, *targets: Any) -> Any:
        return empty(series(title, description, unit, *targets), NO_COLLECTOR)

    def by_kind(series_name: str, by: str) -> list[Any]:
        return [
            query(
                f"sum by (instance, {by}) (rate(otelcol_{series_name}_{kind}_total[{EVERY}]))",
                f"{{{{instance}}}} {{{{{by}}}}} {kind}",
                ref,
            )
            for kind, ref in (("spans", "A"), ("metric_points", "B"))
        ]

    panels = [
        placed(
            empty(
                series(
                    "Processes Reporting, by Job",
                    "Processes that report requests. A fall without a deployment is telemetry that went missing.",
                    "short",
                    query(f"count by (job) (count by (job, instance) (api_requests_total{{{TARGET}}}))", "{{job}}"),
                ),
                "No app reports anything",
            ),
            1, 0, 0, 8, 8,
        ),
        placed(
            empty(
                limited(
                    series(
                        "Internal Errors",
                        "Errors of the instrumentation itself, kept from the app, a second.",
                        "ops",
                        query(
                            "sum by (schema_telemetry_component, error_type) "
                            f"(rate(schema_telemetry_errors_total{{{TARGET}}}[{EVERY}]))",
                            "{{schema_telemetry_component}} {{error_type}}",
                        ),
                    ),
                    above("@{internal_errors}"),
                ),
                "None: the instrumentation has not failed",
            ),
            2, 8, 0, 8, 8,
        ),
        placed(
            empty(
                limited(
                    series(
                        "Dropped Measurements",
                        "Measurements without a series or a span of their own, past a limit. Sums stay right.",
                        "ops",
                        query(
                            "sum by (schema_telemetry_instrument) "
                            f"(rate(schema_telemetry_dropped_total{{{TARGET}}}[{EVERY}]))",
                            "{{schema_telemetry_instrument}}",
                        ),
                    ),
                    above("@{dropped}"),
                ),
                "None: no limit was reached",
            ),
            3, 16, 0, 8, 8,
        ),
        placed(
            empty(
                figure(
                    "Collectors Up",
                    "Collectors whose own series can be scraped.",
                    "short",
                    query('sum(up{job="@{collector_job}"})'),
                ),
                NO_COLLECTOR,
            ),
            4, 0, 8, 4, 8,
        ),
        placed(
            figure(
                "Bucket at the Limit",
                "Series of the validation histogram that have a boundary at the objective's limit. None: a view of the "
                "app replaced the buckets, and neither the objective nor the 95th percentile can be right.",
                "short",
                query(f'count(schema_validation_duration_seconds_bucket{{{TARGET}, le="@{{slo_seconds}}"}})'),
            ),
            8, 4, 8, 4, 8,
        ),
        placed(
            limited(
                collector(
                    "Queue Fill",
                    "How full each exporter's queue on disk is. Dashed: the limit of CollectorQueueFilling.",
                    "percentunit",
                    query(
                        "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity",
                        "{{instance}} {{exporter}} {{data_type}}",
                    ),
                ).max(1),
                above("@{queue_ratio}"),
            ),
            5, 8, 8, 8, 8,
        ),
        placed(
            collector(
                "Accepted",
                "Spans and metric points that collectors took, a second.",
                "ops",
                *by_kind("receiver_accepted", "receiver"),
            ),
            9, 16, 8, 8, 8,
        ),
        placed(
            limited(
                empty(
                    series(
                        "Export Failures",
                        "What exporters gave up, a second: it is lost.",
                        "ops",
                        *by_kind("exporter_send_failed", "exporter"),
                    ),
                    "None: nothing was given up",
                ),
                above("@{export_failed}"),
            ),
            6, 0, 16, 12, 8,
        ),
        placed(
            limited(
                collector(
                    "Refused",
                    "What collectors refused, a second: the sender tries again, an SDK for ten seconds.",
                    "ops",
                    *by_kind("receiver_refused", "receiver"),
                ),
                above("@{refused}"),
            ),
            7, 12, 16, 12, 8,
        ),
    ]  # fmt: skip
    return page(
        "schema-pipeline",
        "Schema telemetry pipeline",
        "Whether the telemetry arrives: the instrumentation's own health, and the collectors' queues.",
        panels,
    )
