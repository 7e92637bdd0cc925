"""Telemetry pipeline: can you trust the other dashboards?"""

from __future__ import annotations

from typing import Any

from dashboards.panels import (
    EVERY,
    GREY,
    LOADED,
    RANGE,
    TARGET,
    TEN,
    WHERE,
    above,
    chosen_ten,
    empty,
    failures,
    limited,
    limits,
    now,
    of_signals,
    page,
    placed,
    query,
    recorded,
    row,
    series,
    tile,
    worded,
)

NO_COLLECTOR = "Prometheus scrapes no collector: it scrapes the apps themselves"
UP = "max by (@{collector:own}, instance) (up@{collector:only})"
GONE = "@{prefix:recorded}job:otelcol_gone:count@{collector:only}"
LOST = f"(count({UP} == 0) or vector(0)) + (sum({GONE}) or vector(0)) and on () ({UP} or {GONE})"
"""How many collectors are down or gone; nothing where there never was one."""


def dashboard() -> Any:
    def of_exporters(name: str) -> str:
        return chosen_ten(f"@{{prefix:recorded}}{name}@{{collector:only}}")

    accepted = [
        query(
            f"sum by (@{{collector:own}}, receiver) "
            f"(rate(otelcol_receiver_accepted_{kind}_total@{{collector:only}}[{EVERY}]))",
            f"{{{{job}}}} {{{{receiver}}}} {kind.replace('_', ' ')}",
            ref,
        )
        for kind, ref in (("spans", "A"), ("metric_points", "B"))
    ]
    panels = [
        row("The instrumentation", 30, 0),
        placed(
            empty(
                series(
                    "Processes Reporting, by Job",
                    "Processes that report requests or validations. A fall without a deployment is telemetry that "
                    "went missing. The ten largest jobs.",
                    "suffix:processes",
                    query(chosen_ten(recorded("job:schema_telemetry_processes:count")), WHERE),
                ).decimals(0),
                "No app reports anything",
            ),
            1, 0, 1, 8, 8,
        ),
        placed(
            empty(
                failures(
                    limited(
                        series(
                            "Internal Errors",
                            "Errors of the instrumentation itself, kept from the app, in ten minutes. The dashed line "
                            "is the limit of SchemaTelemetryErrors.",
                            "suffix:errors",
                            query(
                                chosen_ten(recorded("component:schema_telemetry_errors:increase10m")),
                                f"{{{{schema_telemetry_component}}}} {{{{error_type}}}} {WHERE}",
                            ),
                        ),
                        above("@{internal_errors}"),
                    )
                ),
                "No error is recorded",
            ),
            2, 8, 1, 8, 8,
        ),
        placed(
            empty(
                failures(
                    limited(
                        series(
                            "Dropped Measurements",
                            "Measurements without a series or a span of their own, past a limit, in ten minutes. Sums "
                            "stay right. The dashed line is the limit of MeasurementsDropped.",
                            "suffix:measurements",
                            query(
                                chosen_ten(recorded("instrument:schema_telemetry_dropped:increase10m")),
                                f"{{{{schema_telemetry_instrument}}}} {WHERE}",
                            ),
                        ),
                        above("@{dropped}"),
                    ),
                    "orange",
                ),
                "No dropped measurement is recorded",
            ),
            3, 16, 1, 8, 8,
        ),
        row("What the limits rest on", 31, 9),
        placed(
            worded(
                tile(
                    "Rules",
                    "Whether Prometheus evaluates our rules and the Watchdog fires. Without them no alert can.",
                    "none",
                    now(f"count({LOADED}) or vector(0)", "rules"),
                ).thresholds(limits((None, "red"), (1, "green"))),
                {"0": ("not loaded", "red"), "1": ("loaded", "green")},
            ),
            11, 0, 10, 8, 4,
        ),
        placed(
            worded(
                tile(
                    "Bucket at the Limit",
                    "Series of the validation histogram that have a boundary at the objective's limit. None: a view of "
                    "the app replaced the buckets, and neither the objective nor the 95th percentile can be right.",
                    "suffix:series",
                    now(
                        f"(count(schema_validation_duration_seconds_bucket{{{TARGET}, @{{slo_seconds:le}}}}) "
                        f"or 0 * count(schema_validation_duration_seconds_count{{{TARGET}}}) or vector(-1))",
                        "at @{slo_seconds:ms}",
                    ),
                ).thresholds(limits((None, "red"), (1, "green"))),
                {"-1": ("no validation", GREY), "0": ("none", "red")},
            ),
            8, 8, 10, 8, 4,
        ),
        placed(
            worded(
                tile(
                    "Collectors Lost",
                    "Collectors that Prometheus cannot scrape, or does not find any more since the last hour; red "
                    "above 0, as CollectorDown.",
                    "suffix:down or gone",
                    now(f"{LOST} or vector(-1)", "collectors"),
                ).thresholds(limits((None, "green"), (1, "red"))),
                {"-1": ("none is scraped", GREY), "0": ("all are up", "green")},
            ),
            12, 16, 10, 8, 4,
        ),
        row(
            "Collectors: open this row if you run one",
            32,
            14,
            placed(
                empty(
                    series(
                        "Collectors Up",
                        "1: Prometheus scrapes it; 0: it cannot; the ten worst. And how many are gone that were there "
                        "in the last hour.",
                        "short",
                        query(
                            f"{UP} and on (@{{collector:own}}, instance) "
                            f"bottomk({TEN}, max by (@{{collector:own}}, instance) "
                            f"(min_over_time(up@{{collector:only}}[{RANGE}] @ end())))",
                            "{{instance}}",
                        ),
                        query(GONE, "gone of {{job}}", "B"),
                    ).decimals(0),
                    NO_COLLECTOR,
                ),
                4, 0, 15, 8, 8,
            ),
            placed(
                empty(
                    limited(
                        series(
                            "Queue Fill",
                            "How full each exporter's queue on disk is; the ten fullest. The dashed line is the limit "
                            "of CollectorQueueFilling.",
                            "percentunit",
                            query(
                                of_exporters("exporter:otelcol_queue:ratio_min1m"),
                                "{{instance}} {{exporter}} {{data_type}}",
                            ),
                        ).max(1),
                        above("@{queue_ratio}"),
                    ),
                    NO_COLLECTOR,
                ),
                5, 8, 15, 8, 8,
            ),
            placed(
                empty(
                    of_signals(
                        series("Accepted", "What collectors took.", "suffix:points/s", *accepted)
                    ),
                    NO_COLLECTOR,
                ),
                9, 16, 15, 8, 8,
            ),
            placed(
                empty(
                    failures(
                        of_signals(
                            limited(
                                series(
                                    "Export Failures",
                                    "What exporters gave up, a second: it is lost. The ten worst. The dashed line is "
                                    "the limit of CollectorExportFailing.",
                                    "suffix:points/s",
                                    query(
                                        of_exporters("exporter:otelcol_send_failed:rate5m"),
                                        "{{instance}} {{exporter}} {{signal}}",
                                    ),
                                ),
                                above("@{export_failed}"),
                            )
                        )
                    ),
                    NO_COLLECTOR,
                ),
                6, 0, 23, 12, 8,
            ),
            placed(
                empty(
                    failures(
                        of_signals(
                            limited(
                                series(
                                    "Refused",
                                    "What collectors refused, a second: the sender tries again, an SDK for ten "
                                    "seconds. The ten worst. The dashed line is the limit of CollectorRefusing.",
                                    "suffix:points/s",
                                    query(
                                        of_exporters("receiver:otelcol_refused:rate5m"),
                                        "{{instance}} {{receiver}} {{signal}}",
                                    ),
                                ),
                                above("@{refused}"),
                            )
                        ),
                        "orange",
                    ),
                    NO_COLLECTOR,
                ),
                7, 12, 23, 12, 8,
            ),
        ),
    ]  # fmt: skip
    return page(
        "schema-pipeline",
        "Schema telemetry pipeline",
        "Whether the telemetry arrives: the instrumentation's own health, and the collectors' queues.",
        panels,
    )
