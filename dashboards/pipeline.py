"""Telemetry pipeline: can you trust the other dashboards?"""

from __future__ import annotations

from typing import Any

from panels import EVERY, TARGET, WHERE, above, empty, figure, limited, page, placed, query, recorded, series

NO_COLLECTOR = "Prometheus scrapes no collector: it scrapes the apps themselves"


def dashboard() -> Any:
    def collector(title: str, description: str, unit: str, *targets: Any) -> Any:
        return empty(series(title, description, unit, *targets), NO_COLLECTOR)

    def collectors(name: str, by: str) -> Any:
        return query(f"@{{prefix:recorded}}{name}@{{collector:only}}", f"{{{{instance}}}} {{{{{by}}}}} {{{{signal}}}}")

    accepted = [
        query(
            f"sum by (@{{collector:own}}, instance, receiver) "
            f"(rate(otelcol_receiver_accepted_{kind}_total@{{collector:only}}[{EVERY}]))",
            f"{{{{instance}}}} {{{{receiver}}}} {kind}",
            ref,
        )
        for kind, ref in (("spans", "A"), ("metric_points", "B"))
    ]
    panels = [
        placed(
            empty(
                series(
                    "Processes Reporting, by Job",
                    "Processes that report requests or validations. A fall without a deployment is telemetry that "
                    "went missing.",
                    "short",
                    query(recorded("job:schema_telemetry_processes:count"), WHERE),
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
                        "Errors of the instrumentation itself in ten minutes. The app does not see them.",
                        "short",
                        query(
                            recorded("component:schema_telemetry_errors:increase10m"),
                            f"{{{{schema_telemetry_component}}}} {{{{error_type}}}} {WHERE}",
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
                        "Measurements without a series or a span of their own, past a limit, in ten minutes. Sums stay "
                        "right.",
                        "short",
                        query(
                            recorded("instrument:schema_telemetry_dropped:increase10m"),
                            f"{{{{schema_telemetry_instrument}}}} {WHERE}",
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
                series(
                    "Collectors Up",
                    "1: Prometheus scrapes the collector. 0: it cannot. Gone: collectors that it found within the "
                    "last hour, and not now.",
                    "short",
                    query("max by (@{collector:own}, instance) (up@{collector:only})", "{{instance}}"),
                    query("@{prefix:recorded}job:otelcol_gone:count@{collector:only}", "gone of {{job}}", "B"),
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
                query(f'count(schema_validation_duration_seconds_bucket{{{TARGET}, @{{slo_seconds:le}}}})'),
            ),
            8, 4, 8, 4, 8,
        ),
        placed(
            limited(
                collector(
                    "Queue Fill",
                    "How full each exporter's queue on disk is. The dashed line is the limit of CollectorQueueFilling.",
                    "percentunit",
                    query(
                        "@{prefix:recorded}exporter:otelcol_queue:ratio_min1m@{collector:only}",
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
                "Spans and metric points a second that collectors accepted.",
                "ops",
                *accepted,
            ),
            9, 16, 8, 8, 8,
        ),
        placed(
            limited(
                empty(
                    series(
                        "Export Failures",
                        "Spans and metric points a second that exporters gave up. They are lost.",
                        "ops",
                        collectors("exporter:otelcol_send_failed:rate5m", "exporter"),
                    ),
                    "None: exporters gave up nothing",
                ),
                above("@{export_failed}"),
            ),
            6, 0, 16, 12, 8,
        ),
        placed(
            limited(
                collector(
                    "Refused",
                    "Spans and metric points a second that collectors refused. The sender tries again, an SDK for "
                    "ten seconds.",
                    "ops",
                    collectors("receiver:otelcol_refused:rate5m", "receiver"),
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
