"""Validation: how long it takes, what fails, and the link from a value to its trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dashboards.panels import (
    BY_SCHEMA,
    EVERY,
    OUTCOMES,
    OWN,
    RANGE,
    RECORDED,
    SCHEMA,
    WHERE,
    Column,
    above,
    at,
    chosen_ten,
    coloured,
    drill,
    empty,
    failures,
    heatmap_panel,
    instant,
    latency,
    limited,
    link,
    make_dashboard,
    query,
    ranked_ten,
    recorded,
    requests,
    row,
    table_panel,
    timeseries_panel,
    unseen,
    with_exemplars,
)

BUCKETS = f"rate(schema_validation_duration_seconds_bucket{{{SCHEMA}}}[{EVERY}])"
COUNT = f"rate(schema_validation_duration_seconds_count{{{SCHEMA}}}[{EVERY}])"
GROWN_SUM = f"increase(schema_validation_duration_seconds_sum{{{SCHEMA}}}[{RANGE}])"
GROWN_QUICK = f"increase(schema_validation_duration_seconds_bucket{{@{{p95_seconds:le}}, {SCHEMA}}}[{RANGE}])"
GROWN_COUNT = f"increase(schema_validation_duration_seconds_count{{{SCHEMA}}}[{RANGE}])"
ENDPOINT = "http_request_method, http_route, schema_endpoint"
NAMED = "{{schema_name}} {{schema_module}}"
OF_SCHEMA = f'{RECORDED}, schema_name=~"$schema"'
ENDPOINT_LEGEND = "{{http_request_method}} {{http_route}}{{schema_endpoint}}"

TRACEQL = (
    '{ name =~ "schema.validate .*" && duration > @{p95_seconds:short}'
    ' && span.schema.name = "${__field.labels.schema_name:percentencode}" }'
)
JAEGER_TAGS = '{"schema.name":"${__field.labels.schema_name:percentencode}"}'


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def explore(store: str, query: str) -> str:
    """Grafana's Explore on a store's data source, with a query of that store, in the dashboard's time range."""
    uid = f"@{{{store}_uid}}"
    pane = (
        f'{{"a":{{"datasource":"{uid}","queries":[{{"refId":"A","datasource":{{"type":"{store}","uid":"{uid}"}},'
        f'{query}}}],"range":{{"from":"${{__from}}","to":"${{__to}}"}}}}}}'
    )
    return f"/explore?schemaVersion=1&panes={_in_url(pane)}"


TEMPO_QUERY = f'"queryType":"traceql","query":{_quoted(TRACEQL)}'
JAEGER_QUERY = (
    '"queryType":"search","service":"${__field.labels.job:percentencode}","minDuration":"@{p95_seconds:short}",'
    '"tags":"schema.name=\\"${__field.labels.schema_name:percentencode}\\"","limit":20'
)


def jaeger(base: str = "@{jaeger_url}") -> str:
    """Jaeger's own search page, by tag and shortest duration, in the dashboard's time range (µs)."""
    tags = _in_url(JAEGER_TAGS)
    return (
        f"{base}/search?service=${{__field.labels.job:percentencode}}&tags={tags}&minDuration=@{{p95_seconds:short}}"
        "&start=${__from}000&end=${__to}000&limit=20"
    )


def _in_url(text: str) -> str:
    """Percent-encoded, but for what Grafana or `otel-schema export` still replaces."""
    return quote(text, safe="${}@:._")


def quantile(q: str, by: str, buckets: str) -> str:
    """A quantile of each group in which anything was validated."""
    return f"histogram_quantile({q}, sum by ({by}, le) ({buckets})) >= 0"


def dashboard() -> Any:
    both = f"{BY_SCHEMA}, {ENDPOINT}"
    p95 = recorded("schema:schema_validation_duration_seconds:p95_rate5m", OF_SCHEMA)
    crashes = recorded("schema:schema_validation_crashes:increase5m", OF_SCHEMA)
    # mean and one bucket: all buckets of a whole range are more samples than a large Prometheus allows a query
    count = f"(sum by ({both}) ({GROWN_COUNT}) > 0)"
    mean = f"sum by ({both}) ({GROWN_SUM}) / {count}"
    slowest = f"topk(50, {mean})"
    mean_at_end = mean.replace(f"[{RANGE}]", f"[{RANGE}] @ end()")
    traces = [
        link("Traces in Tempo", explore("tempo", TEMPO_QUERY)),
        link("Traces in Jaeger, in Grafana", explore("jaeger", JAEGER_QUERY)),
        link("Traces in Jaeger", jaeger()),
    ]
    where_columns = {
        "job": Column("Job", width=110),
        "@{label}": Column("@{label}"),
        "http_request_method": Column("Method", width=80),
        "http_route": Column("Route", width=220),
        "schema_endpoint": Column("Block", width=110),
    }
    schema_columns = {
        "schema_name": Column("Schema", links=[drill("This schema", "schema-validation", schema="schema_name")]),
        "schema_module": Column("Module", width=150),
    }
    served = requests(RANGE).replace("rate(", "increase(")
    busiest = f"topk(50, sum by ({OWN}, {ENDPOINT}) ({served}) > 0)"
    observed = f"(sum by ({OWN}, {ENDPOINT}) ({GROWN_COUNT}) > 0)"
    failed = f'sum by ({OWN}, {ENDPOINT}) (increase(validation_errors_total{{schema_name!="", {SCHEMA}}}[{RANGE}]))'
    panels = [
        row("Time", 30, 0),
        at(
            empty(
                unseen(
                    latency(
                        "Validation Time (95th Percentile)",
                        "95 % of the validations of a schema take at most this long, in windows of five minutes. Shows"
                        " the ten slowest schemas of the time range. Dots are single slow validations: a click on a "
                        "dot opens its trace. The dashed line is the limit of HighValidationTime, which needs "
                        "@{p95_validations} validations in a window.",
                        query(chosen_ten(p95), f"{NAMED} {WHERE}"),
                        # what is recorded has no exemplars: this query asks for them
                        with_exemplars(query(quantile("0.95", BY_SCHEMA, BUCKETS), NAMED, "B")),
                        limit="@{p95_seconds}",
                        shown=p95,
                    ).data_links(traces),
                    "B",
                ),
                "No validation in this time",
            ),
            1, 0, 1, 12, 9,
        ),
        at(
            empty(
                heatmap_panel(
                    "Validation Time Distribution",
                    "How many validations per second fall into each range of time, for all chosen schemas together.",
                    "s",
                    with_exemplars(query(f"sum by (le) ({BUCKETS})", "{{le}}")),
                ),
                "No validation in this time",
            ),
            2, 12, 1, 12, 9,
        ),
        row("Failures", 31, 10),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Error Rate by Endpoint",
                            "Failed validations divided by requests, in windows of five minutes. Shows the ten worst "
                            "of the time range. One request may fail several validations, so the value may exceed 100 "
                            "%. The dashed line is the limit of HighEndpointErrorRate, which needs "
                            "@{endpoint_requests} requests in a window.",
                            "percentunit",
                            query(
                                chosen_ten(recorded("endpoint:validation_errors:ratio_rate5m", OF_SCHEMA)),
                                f"{ENDPOINT_LEGEND} {NAMED} {WHERE}",
                            ),
                        ),
                        above("@{endpoint_error_ratio}"),
                    ),
                    "orange",
                ),
                "No request with an observed schema in this time",
            ),
            3, 0, 11, 11, 9,
        ),
        at(
            empty(
                table_panel(
                    "Problems by Field and Rule",
                    "Which field broke which rule, and how often in the time range. Paths contain names of the schema,"
                    " never values.",
                    schema_columns
                    | {
                        "job": Column("Job", width=95),
                        "@{label}": Column("@{label}"),
                        "schema_problem_path": Column("Field", width=130),
                        "schema_problem_rule": Column("Rule", width=145),
                        "Value": Column("Problems", "short", width=85),
                    },
                    instant(
                        f"topk(20, sum by ({BY_SCHEMA}, schema_problem_path, schema_problem_rule) "
                        f"(increase(schema_validation_problems_total{{{SCHEMA}}}[{RANGE}])) > 0)"
                    ),
                    sort="Problems",
                ),
                "No problem in this time",
            ),
            4, 11, 11, 13, 9,
        ),
        at(
            empty(
                coloured(
                    timeseries_panel(
                        "Validations by Outcome",
                        "valid: the data fits the schema. invalid: the data breaks the schema. error: the validator "
                        "crashed.",
                        "suffix:validations/s",
                        query(f"sum by (schema_validation_outcome) ({COUNT})", "{{schema_validation_outcome}}"),
                    ),
                    OUTCOMES,
                ),
                "No validation in this time",
            ),
            5, 0, 20, 12, 8,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Crashed Validators",
                            "Validations in the last five minutes whose validator raised something other than a "
                            "validation error. The dashed line is the limit of CrashedValidators.",
                            "suffix:crashes",
                            query(chosen_ten(crashes), f"{NAMED} {WHERE}"),
                        ),
                        above("@{crashes}"),
                    )
                ),
                "No validator has crashed",
            ),
            8, 12, 20, 12, 8,
        ),
        row("By schema and endpoint", 32, 28),
        at(
            empty(
                table_panel(
                    "Endpoints",
                    "Requests of the time range, and how many of them failed a validation of the chosen schemas. –: "
                    "the endpoint has no observed schema. Shows the fifty busiest.",
                    where_columns
                    | {
                        "Value #A": Column("Requests", "short", width=90),
                        "Value #B": Column("Errors", "percentunit", width=80),
                        "Value #C": Column("Validations", "short", width=100),
                    },
                    instant(busiest, "A"),
                    instant(
                        f"({failed} and on ({OWN}, {ENDPOINT}) {observed} or 0 * {observed}) "
                        f"/ on ({OWN}, {ENDPOINT}) {busiest}",
                        "B",
                    ),
                    instant(f"{observed} and on ({OWN}, {ENDPOINT}) {busiest}", "C"),
                    sort="Errors",
                ),
                "No request in this time",
            ),
            9, 0, 29, 12, 9,
        ),
        at(
            empty(
                latency(
                    "Slowest Validations (99th Percentile)",
                    "1 % of the validations of a schema at an endpoint take longer than this. Shows the ten with the "
                    "longest mean. Dots are single validations: a click on a dot opens its trace.",
                    with_exemplars(
                        query(
                            ranked_ten(quantile("0.99", both, BUCKETS), both, mean_at_end),
                            f"{NAMED} {ENDPOINT_LEGEND} {WHERE}",
                        )
                    ),
                ).data_links(traces),
                "No validation in this time",
            ),
            6, 12, 29, 12, 9,
        ),
        at(
            empty(
                table_panel(
                    "Validation Time by Schema and Endpoint",
                    "The mean in the time range, how many validations take longer than @{p95_seconds:ms}, and how many"
                    " there are. Shows the fifty slowest.",
                    schema_columns
                    | where_columns
                    | {
                        "Value #A": Column("Mean", "s", width=90),
                        "Value #B": Column("Over @{p95_seconds:ms}", "percentunit", width=110),
                        "Value #C": Column("Validations", "short", width=100),
                    },
                    instant(slowest, "A"),
                    instant(f"1 - sum by ({both}) ({GROWN_QUICK}) / {count} and on ({both}) {slowest}", "B"),
                    instant(f"{count} and on ({both}) {slowest}", "C"),
                    sort="Mean",
                ),
                "No validation in this time",
            ),
            7, 0, 38, 24, 10,
        ),
    ]  # fmt: skip
    return make_dashboard(
        "schema-validation",
        "Schema validation",
        "How long validations take, and what fails.",
        panels,
        schema_variable=True,
    )
