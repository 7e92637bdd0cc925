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
    at,
    chosen_ten,
    empty,
    failures,
    limited,
    limits,
    make_dashboard,
    now,
    of_signals,
    query,
    recorded,
    row,
    tile,
    timeseries_panel,
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
        at(
            empty(
                timeseries_panel(
                    "Processes Reporting, by Job",
                    "Processes that report requests or validations. If the number falls without a deployment, "
                    "telemetry is missing. Shows the ten largest jobs.",
                    "suffix:processes",
                    query(chosen_ten(recorded("job:schema_telemetry_processes:count")), WHERE),
                ).decimals(0),
                "No app reports anything",
            ),
            1, 0, 1, 8, 8,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Internal Errors",
                            "Errors of the instrumentation itself in ten minutes; the app does not see them. The "
                            "dashed line is the limit of SchemaTelemetryErrors.",
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
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Dropped Measurements",
                            "Measurements above a limit in ten minutes: they have no series or no span of their own. "
                            "Sums stay correct. The dashed line is the limit of MeasurementsDropped.",
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
        at(
            worded(
                tile(
                    "Rules",
                    "Whether Prometheus evaluates our rules and the Watchdog fires. If not, no alert can fire.",
                    "none",
                    now(f"count({LOADED}) or vector(0)", "rules"),
                ).thresholds(limits((None, "red"), (1, "green"))),
                {"0": ("not loaded", "red"), "1": ("loaded", "green")},
            ),
            11, 0, 10, 8, 4,
        ),
        at(
            worded(
                tile(
                    "Bucket at the Limit",
                    "How many series of the validation histogram have a bucket boundary at the limit of the objective."
                    " If there are none, a View in the app replaced the buckets, and the objective and the 95th "
                    "percentile are wrong.",
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
        at(
            worded(
                tile(
                    "Collectors Lost",
                    "Collectors that Prometheus cannot scrape, or found within the last hour and no longer finds. Red:"
                    " above 0, as in CollectorDown.",
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
            at(
                empty(
                    timeseries_panel(
                        "Collectors Up",
                        "1: Prometheus scrapes the collector. 0: Prometheus cannot scrape it. Shows the ten worst, and"
                        " how many collectors of the last hour are gone.",
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
            at(
                empty(
                    limited(
                        timeseries_panel(
                            "Queue Fill",
                            "How full each exporter's queue on disk is. Shows the ten fullest. The dashed line is the "
                            "limit of CollectorQueueFilling.",
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
            at(
                empty(
                    of_signals(
                        timeseries_panel(
                            "Accepted", "What collectors accepted, per second.", "suffix:points/s", *accepted
                        )
                    ),
                    NO_COLLECTOR,
                ),
                9, 16, 15, 8, 8,
            ),
            at(
                empty(
                    failures(
                        of_signals(
                            limited(
                                timeseries_panel(
                                    "Export Failures",
                                    "Spans and metric points per second that exporters gave up: they are lost. Shows "
                                    "the ten worst. The dashed line is the limit of CollectorExportFailing.",
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
            at(
                empty(
                    failures(
                        of_signals(
                            limited(
                                timeseries_panel(
                                    "Refused",
                                    "Spans and metric points per second that collectors refused. The sender tries "
                                    "again, an SDK for ten seconds. Shows the ten worst. The dashed line is the limit "
                                    "of CollectorRefusing.",
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
    return make_dashboard(
        "schema-pipeline",
        "Schema telemetry pipeline",
        "Whether the telemetry arrives: the instrumentation's own health, and the collectors' queues.",
        panels,
    )
