"""Schema health: where one lands. Is anything wrong, where, since when, and where to look next."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import VizOrientation

from dashboards.panels import (
    BY_SCHEMA,
    EVERY,
    GREY,
    LOADED,
    OURS,
    OUTCOMES,
    OWN,
    RANGE,
    SEVERITIES,
    TARGET,
    TEN,
    UNKNOWN,
    WHERE,
    Column,
    above,
    alerts,
    at,
    below,
    busiest_ten,
    chosen_ten,
    coloured,
    drill,
    empty,
    failures,
    firing,
    instant,
    judged,
    limited,
    limits,
    make_dashboard,
    now,
    query,
    recorded,
    requests,
    row,
    table_panel,
    text_panel,
    tile,
    timeseries_panel,
    worded,
)
from dashboards.pipeline import LOST

HELP = """\
**Nothing here?** In this order:

1. The app has handled a request since it started, under `opentelemetry-instrument`.
2. `OTEL_METRICS_EXPORTER` is `prometheus` or `otlp`, and its target or collector is up: *Schema telemetry pipeline*.
3. `OTEL_METRIC_EXPORT_INTERVAL=15000`: the SDK's 60 s are too slow for windows of one minute.
4. Schemas of installed distributions are left out unless `OTEL_PYTHON_SCHEMA_INCLUDE` names them.
5. *rules not loaded*: Prometheus does not evaluate the files of `otel-schema export`. No alert can fire.
"""
QUERIES = """\
These three work as they stand, in Explore or in a dashboard of your own:

    histogram_quantile(0.95, rate(schema_validation_duration_seconds_bucket[5m]))

    sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))

    sum(cache_hits_total) / (sum(cache_hits_total) + sum(cache_misses_total))
"""
BURN = recorded("job:schema_budget_burn:of_limit")
ABOUT = (
    "schema_module", "http_request_method", "http_route", "schema_endpoint", "schema_cache_name",
    "schema_telemetry_component", "schema_telemetry_instrument", "schema_migration_tool", "db_namespace", "instance",
    "exporter", "receiver", "signal", "data_type", "long",
)  # fmt: skip
"""What an alert may be about, beside a schema and a job."""
RUNBOOK = {"title": "Runbook", "url": "@{runbook_url}/${__value.raw}.md", "targetBlank": True}
IN_RANGE = f'increase(validation_errors_total{{schema_name!="", {TARGET}}}[{RANGE}])'
WORST = f"topk({TEN}, sum by ({BY_SCHEMA}) ({IN_RANGE}) > 0)"
COUNT = f"increase(schema_validation_duration_seconds_count{{{TARGET}}}[{RANGE}])"
P95 = recorded("schema:schema_validation_duration_seconds:p95_rate5m")
ENOUGH = recorded("schema:schema_validations:increase5m")
# of what is recorded: the buckets of a whole range are more samples than a large Prometheus allows a query
HIGHEST = f"max by ({BY_SCHEMA}) (max_over_time({P95}[{RANGE}]))"
JUDGED = f"max by ({BY_SCHEMA}) (max_over_time({ENOUGH}[{RANGE}])) >= @{{p95_validations}}"
SLOWEST = f"topk({TEN}, {HIGHEST} and {JUDGED})"
SCHEMA_COLUMNS = {
    "schema_name": Column("Schema", links=[drill("This schema", "schema-validation", schema="schema_name")]),
    "schema_module": Column("Module", width=150),
    "job": Column("Job", width=110),
    "@{label}": Column("@{label}"),
}


def firing_since() -> str:
    """Since when each alert is beyond its limit (ms), with a rank to sort by and the panel that its link opens."""
    since = f"({firing('ALERTS_FOR_STATE{')}) * 1000 and ignoring (alertstate) ({firing()})"
    silent = f'label_replace(vector(time() * 1000) unless on () {LOADED}, "alertname", "Watchdog", "", "")'
    silent = f'label_replace({silent}, "severity", "critical", "", "")'
    parts = ", ".join(f'"{label}"' for label in ABOUT)
    expr = f'label_join({since} or {silent}, "about", " ", {parts})'
    panels: dict[str, list[str]] = {"@{prefix}schema-health/schema-health?viewPanel=11": ["Watchdog"]}
    for alert in alerts():
        panels.setdefault(alert.panel, []).append(alert.name)
    for panel, names in panels.items():
        expr = f'label_replace({expr}, "panel", "{panel}", "alertname", "{"|".join(names)}")'
    for rank, severity in enumerate(SEVERITIES, 1):
        expr = f'label_replace({expr}, "rank", "{rank}", "severity", "{severity}")'
    for variable, label in (("job", "job"), ("schema", "schema_name")):
        # of an alert over all of them the panel shows all; a cell's own text is nothing to build an address from, as
        # Grafana takes the text that the cell shows
        expr = f'label_replace({expr}, "chosen", "$1", "{label}", "(.*)")'
        expr = f'label_replace({expr}, "chosen", "$$__all", "chosen", "")'
        expr = f'label_join({expr}, "panel", "&var-{variable}=", "panel", "chosen")'
    expr = f"@{{own:link_open}}{expr}@{{own:link_close}}"
    return f"max by (rank, alertname, schema_name, about, panel, {OWN}) ({expr})"


def tiles() -> list[Any]:
    """The first row: whether something is wrong, what and where."""
    counted = []
    for severity in SEVERITIES:
        ours = firing(more=f', severity="{severity}"')
        counted.append(f"(count({ours}) or vector(0)) and on () {LOADED}")
    counted[0] = f"{counted[0]} or on () vector(-2)"
    busy = f"0 * (sum({requests()}) > 0) and on () {LOADED}"
    recent = "max(@{prefix:recorded}all:validation_errors:ratio_rate1m@{own:chosen} >= 0)"
    ratio = " or on () ".join(f'label_replace({one}, "what", "all apps", "", "")' for one in (recent, busy))
    enough = f"{ENOUGH} >= @{{p95_validations}}"
    cache = recorded("cache:cache_hits:ratio_rate10m")
    lookups = recorded("cache:cache_lookups:increase10m") + " >= @{hit_lookups}"
    reporting = f'count(count by ({OWN}, instance) ({{__name__=~"{OURS}", {TARGET}}})) or vector(0)'

    alerting = tile(
        "Firing Alerts",
        "How many alerts of these rules fire now, by severity.",
        "none",
        *(now(expr, severity, ref) for expr, severity, ref in zip(counted, SEVERITIES, "ABC", strict=True)),
    )
    for severity, colour in SEVERITIES.items():
        steps = [{"value": None, "color": "green"}, {"value": 1, "color": colour}]
        value = {"mode": "absolute", "steps": steps}
        alerting = alerting.override_by_name(severity, [models.DynamicConfigValue(id_val="thresholds", value=value)])

    telemetry = tile(
        "Telemetry",
        "Whether Prometheus evaluates our rules and the Watchdog fires, how many processes report, and how many "
        "collectors are down or gone. Without a collector, the last number is missing.",
        "none",
        now(f"count({LOADED}) or vector(0)", "rules", "A"),
        now(reporting, "processes", "B"),
        now(LOST, "collectors", "C"),
    ).thresholds(limits((None, "red"), (1, "green")))
    telemetry = telemetry.orientation(VizOrientation.HORIZONTAL)
    down = {"mode": "absolute", "steps": [{"value": None, "color": "green"}, {"value": 1, "color": "red"}]}
    up = {"type": "value", "options": {"0": {"text": "all up"}}}
    told = {"type": "value", "options": {"0": {"text": "not loaded", "color": "red"}, "1": {"text": "loaded"}}}
    telemetry = telemetry.override_by_name(
        "collectors",
        [
            models.DynamicConfigValue(id_val="thresholds", value=down),
            models.DynamicConfigValue(id_val="mappings", value=[up]),
            models.DynamicConfigValue(id_val="unit", value="suffix:lost"),
        ],
    ).override_by_name("rules", [models.DynamicConfigValue(id_val="mappings", value=[told])])

    return [
        worded(alerting, {"-2": UNKNOWN["-2"]}),
        worded(
            tile(
                "Errors per Request",
                "Failed validations divided by requests, of all apps in the last minute. Red: above the limit of "
                "HighValidationErrorRate.",
                "percentunit",
                now(judged(ratio, "what", "no request in the last minute"), "{{what}}"),
            ).thresholds(above("@{error_ratio}")),
            UNKNOWN,
        ),
        worded(
            tile(
                "Slowest Schema, p95",
                "The schema with the highest 95th percentile of validation time, in windows of five minutes. Red: "
                "above the limit of HighValidationTime, which needs @{p95_validations} validations.",
                "s",
                now(
                    judged(f"topk(1, {P95} and {enough})", "schema_name", "no schema with enough validations"),
                    f"{{{{schema_name}}}} {{{{schema_module}}}} {WHERE}",
                ),
            ).thresholds(above("@{p95_seconds}")),
            UNKNOWN,
        ),
        worded(
            tile(
                "Worst Cache, Hits",
                "The cache with the lowest share of hits in ten minutes. Red: below the limit of LowCacheHitRate, "
                "which needs @{hit_lookups} look-ups.",
                "percentunit",
                now(
                    judged(f"bottomk(1, {cache} and {lookups})", "schema_cache_name", "no cache with enough look-ups"),
                    f"{{{{schema_cache_name}}}} {WHERE}",
                ),
            ).thresholds(below("@{hit_ratio}")),
            UNKNOWN | {"-1": ("no look-ups", GREY)},
        ),
        worded(
            tile(
                "Budget Burn, of the Limit",
                "How near the worst job is to a limit of ValidationBudgetBurn. At 100 % the alert fires. Validations "
                "that crash or take longer than @{slo_seconds:ms} use up the budget.",
                "percentunit",
                now(judged(f"topk(1, {BURN})", "job", "too few validations"), f"{WHERE} {{{{long}}}}"),
            ).thresholds(limits((None, "green"), (1, "red"))),
            UNKNOWN,
        ),
        telemetry,
    ]


def dashboard() -> Any:
    outcomes = f"rate(schema_validation_duration_seconds_count{{{TARGET}}}[{EVERY}])"
    panels = [
        *(at(panel, identity, 4 * column, 0, 4, 5) for column, (panel, identity) in
          enumerate(zip(tiles(), (20, 21, 22, 23, 24, 11), strict=True))),
        row("Traffic", 30, 5),
        at(
            empty(
                timeseries_panel(
                    "Requests by Job",
                    "Requests and endpoint() blocks per second. Shows the ten busiest jobs of the time range.",
                    "reqps",
                    query(busiest_ten(requests(), OWN), WHERE),
                ),
                "No request in this time",
            ),
            1, 0, 6, 12, 7,
        ),
        at(
            empty(
                coloured(
                    timeseries_panel(
                        "Validations by Outcome",
                        "valid: the data fits the schema. invalid: the data breaks the schema. error: the validator "
                        "crashed.",
                        "suffix:validations/s",
                        query(f"sum by (schema_validation_outcome) ({outcomes})", "{{schema_validation_outcome}}"),
                    ),
                    OUTCOMES,
                ),
                "No validation in this time",
            ),
            2, 12, 6, 12, 7,
        ),
        row("What to look at next", 31, 13),
        at(
            empty(
                table_panel(
                    "Alerts That Fire",
                    "The alerts of these rules that fire now, the most severe first, and since when the value has been"
                    " beyond its limit. A click on the alert opens its runbook. A click on the panel's name opens the "
                    "panel.",
                    {
                        "rank": Column(
                            "Severity",
                            texts={
                                str(rank): (severity, colour)
                                for rank, (severity, colour) in enumerate(SEVERITIES.items(), 1)
                            },
                            width=90,
                        ),
                        "alertname": Column(
                            "Alert",
                            links=[RUNBOOK],
                            texts={"Watchdog": ("rules not loaded", "")},
                        ),
                        "schema_name": Column("Schema"),
                        "about": Column("About", width=330),
                        "job": Column("Job"),
                        "@{label}": Column("@{label}"),
                        "Value": Column("Since", "dateTimeFromNow", width=145),
                        "panel": Column(
                            "Open",
                            links=[
                                {
                                    "title": "Panel",
                                    "url": "/d/${__value.raw}&${__url_time_range}",
                                }
                            ],
                            texts={"/.+/": ("panel", "")},
                            width=70,
                        ),
                    },
                    instant(firing_since()),
                    sort="Severity",
                    descending=False,
                ),
                "No alert fires",
            ),
            6, 0, 14, 24, 9,
        ),
        at(
            empty(
                table_panel(
                    "Schemas by Errors",
                    "For each schema, the failed validations inside requests in the time range, and how long its "
                    "validations take.",
                    SCHEMA_COLUMNS
                    | {
                        "Value #A": Column("Errors", "short", width=80),
                        "Value #B": Column("Validations", "short", width=100),
                        "Value #C": Column("p95", "s", width=90),
                    },
                    instant(WORST, "A"),
                    instant(f"sum by ({BY_SCHEMA}) ({COUNT}) and on ({BY_SCHEMA}) {WORST}", "B"),
                    instant(f"{HIGHEST} and on ({BY_SCHEMA}) {WORST}", "C"),
                    sort="Errors",
                ),
                "No validation failed in this time",
            ),
            7, 0, 23, 12, 8,
        ),
        at(
            empty(
                table_panel(
                    "Slowest Schemas",
                    "The highest and the latest 95th percentile of validation time in the time range, in windows of "
                    "five minutes. Shows schemas with at least @{p95_validations} validations in a window.",
                    SCHEMA_COLUMNS
                    | {"Value #A": Column("Highest", "s", width=90), "Value #B": Column("Latest", "s", width=90)},
                    instant(SLOWEST, "A"),
                    instant(f"max by ({BY_SCHEMA}) ({P95}) and on ({BY_SCHEMA}) {SLOWEST}", "B"),
                    sort="Highest",
                ),
                "No schema has enough validations in this time, or rules not loaded",
            ),
            12, 12, 23, 12, 8,
        ),
        row("Limits over time", 32, 31),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Validation Errors per Request",
                            "Failed validations divided by requests, of all apps, in windows of one minute. A request "
                            "may fail several validations, so the value may exceed 100 %. The dashed line is the limit"
                            " of HighValidationErrorRate.",
                            "percentunit",
                            query("@{prefix:recorded}all:validation_errors:ratio_rate1m@{own:chosen} >= 0", "all apps"),
                        ),
                        above("@{error_ratio}"),
                    ),
                    "orange",
                ),
                "No request in this time, or rules not loaded",
            ),
            3, 0, 32, 12, 8,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Error Budget Burn, of the Limit",
                            "How near a job is to the limits of ValidationBudgetBurn, each over its two windows. At "
                            "100 % the alert fires. Shows the ten worst jobs of the time range.",
                            "percentunit",
                            query(chosen_ten(BURN), f"{WHERE} {{{{long}}}}"),
                        ),
                        limits((None, "green"), (1, "red")),
                    )
                ),
                "No job has @{slo_validations} validations in a window, or rules not loaded",
            ),
            8, 12, 32, 12, 8,
        ),
        row(
            "Help",
            33,
            40,
            at(text_panel("No Data?", "Where to look when panels stay empty.", HELP), 9, 0, 41, 12, 7),
            at(text_panel("Queries to Copy", "Queries that we promise not to change.", QUERIES), 10, 12, 41, 12, 7),
        ),
    ]  # fmt: skip
    return make_dashboard("schema-health", "Schema health", "Is anything wrong with the schemas of your APIs?", panels)
