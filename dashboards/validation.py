"""Validation: how long it takes, what fails, and the link from a value to its trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from panels import (
    BY_SCHEMA,
    EVERY,
    OWN,
    RECORDED,
    SCHEMA,
    WHERE,
    above,
    empty,
    heat,
    instant,
    limited,
    link,
    page,
    placed,
    query,
    recorded,
    rows,
    series,
    with_exemplars,
)

BUCKETS = f"rate(schema_validation_duration_seconds_bucket{{{SCHEMA}}}[{EVERY}])"
COUNT = f"rate(schema_validation_duration_seconds_count{{{SCHEMA}}}[{EVERY}])"
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


def dashboard() -> Any:
    by_schema = f"sum by ({BY_SCHEMA}, le) ({BUCKETS})"
    both = f"sum by ({BY_SCHEMA}, {ENDPOINT}, le) ({BUCKETS})"
    traces = [
        link("Traces in Tempo", explore("tempo", TEMPO_QUERY)),
        link("Traces in Jaeger, in Grafana", explore("jaeger", JAEGER_QUERY)),
        link("Traces in Jaeger", jaeger()),
    ]
    panels = [
        placed(
            limited(
                series(
                    "Validation Time (95th Percentile)",
                    "95 % of the validations of a schema take at most this time. Each dot is one slow validation "
                    "and links to its trace. The dashed line is the limit of HighValidationTime.",
                    "s",
                    query(
                        recorded("schema:schema_validation_duration_seconds:p95_rate5m", OF_SCHEMA),
                        f"{NAMED} {WHERE}",
                    ),
                    # what is recorded has no exemplars; this query asks for them and is not drawn
                    with_exemplars(query(f"histogram_quantile(0.95, {by_schema})", f"{NAMED} {WHERE}", "B")),
                ).data_links(traces),
                above("@{p95_seconds}"),
            ),
            1, 0, 0, 12, 9,
        ),
        placed(
            heat(
                "Validation Time Distribution",
                "How many validations a second took how long, for all chosen schemas together.",
                "s",
                with_exemplars(query(f"sum by (le) ({BUCKETS})", "{{le}}")),
            ),
            2, 12, 0, 12, 9,
        ),
        placed(
            limited(
                series(
                    "Error Rate by Endpoint",
                    "Failed validations divided by requests. One request may fail several validations, so this may "
                    "exceed 100 %. The dashed line is the limit of HighEndpointErrorRate.",
                    "percentunit",
                    query(
                        recorded("endpoint:validation_errors:ratio_rate5m", OF_SCHEMA),
                        f"{ENDPOINT_LEGEND} {{{{schema_name}}}} {WHERE}",
                    ),
                ),
                above("@{endpoint_error_ratio}"),
            ),
            3, 0, 9, 12, 9,
        ),
        placed(
            empty(
                rows(
                    "Problems by Field and Rule",
                    "Which field broke which rule, in problems a second. Paths contain the schema's names, never "
                    "values.",
                    {
                        "schema_name": ("Schema", ""),
                        "schema_module": ("Module", ""),
                        "schema_problem_path": ("Field", ""),
                        "schema_problem_rule": ("Rule", ""),
                        "Value": ("Problems", "ops"),
                    },
                    instant(
                        f"topk(20, sum by ({BY_SCHEMA}, schema_problem_path, schema_problem_rule) "
                        f"(rate(schema_validation_problems_total{{{SCHEMA}}}[{EVERY}])) > 0)"
                    ),
                ),
                "No problem in this time",
            ),
            4, 12, 9, 12, 9,
        ),
        placed(
            series(
                "Validations by Outcome",
                "valid; invalid: the data broke the schema; error: the validator crashed.",
                "ops",
                query(
                    f"sum by ({OWN}, schema_validation_outcome) ({COUNT})", f"{{{{schema_validation_outcome}}}} {WHERE}"
                ),
            ),
            5, 0, 18, 12, 8,
        ),
        placed(
            limited(
                series(
                    "Slowest Validations",
                    "The 99th percentile by schema and endpoint. Each dot is one validation: follow it, or the "
                    "links, to their traces.",
                    "s",
                    with_exemplars(
                        query(
                            f"histogram_quantile(0.99, sum by ({BY_SCHEMA}, {ENDPOINT}, le) ({BUCKETS}))",
                            f"{NAMED} {ENDPOINT_LEGEND} {WHERE}",
                        )
                    ),
                ).data_links(traces),
                above("@{p95_seconds}"),
            ),
            6, 12, 18, 12, 8,
        ),
        placed(
            rows(
                "Validation Time by Schema and Endpoint",
                "Median, 95th and 99th percentile, and validations a second.",
                {
                    "schema_name": ("Schema", ""),
                    "schema_module": ("Module", ""),
                    "job": ("Job", ""),
                    "@{label}": ("@{label}", ""),
                    "http_request_method": ("Method", ""),
                    "http_route": ("Route", ""),
                    "schema_endpoint": ("Block", ""),
                    "Value #A": ("p50", "s"),
                    "Value #B": ("p95", "s"),
                    "Value #C": ("p99", "s"),
                    "Value #D": ("Rate", "ops"),
                },
                *(
                    instant(f"histogram_quantile({q}, {both})", ref)
                    for q, ref in (("0.5", "A"), ("0.95", "B"), ("0.99", "C"))
                ),
                instant(f"sum by ({BY_SCHEMA}, {ENDPOINT}) ({COUNT})", "D"),
            ),
            7, 0, 26, 24, 10,
        ),
        placed(
            empty(
                limited(
                    series(
                        "Crashed Validators",
                        "Validations in the last five minutes whose validator raised something other than a validation "
                        "error. The dashed line is the limit of CrashedValidators.",
                        "short",
                        query(
                            recorded("schema:schema_validation_crashes:increase5m", OF_SCHEMA), f"{NAMED} {WHERE}"
                        ),
                    ),
                    above("@{crashes}"),
                ),
                "No validator has crashed",
            ),
            8, 0, 36, 24, 8,
        ),
    ]  # fmt: skip
    return page(
        "schema-validation",
        "Schema validation",
        "How long validations take, and what fails.",
        panels,
        schema_variable=True,
    )
