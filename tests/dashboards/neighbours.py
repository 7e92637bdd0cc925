"""Two installations side by side in one Prometheus: whose series are whose, judged by promtool and by syntax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import promql_parser

from tests.dashboards import promql
from tests.dashboards.cases import EXPORTER, HEALTHY, constant, rate
from tests.dashboards.promtool import Case, Value

OWN = {"own_labels": "environment"}
SELECTED = {"selector": 'environment="a"', "collector_selector": 'environment="a"'}
OVERALL = {"Watchdog", "SchemaTelemetryAbsent"}
"""Alerts that are about no series: they have no own label to be told apart by."""

STRANGERS: dict[str, Value] = {
    'cache_hits_total{job="shop", instance="a"}': constant(0),
    'cache_misses_total{job="shop", instance="a"}': rate(1000),
    'cache_hits_total{job="cdn", instance="s", pop="fra"}': rate(1000),
    'cache_misses_total{job="cdn", instance="s", pop="fra"}': rate(9000),
    'api_requests_total{job="shop", instance="a", code="200"}': rate(5000),
    'api_requests_total{job="gateway", instance="s", code="200"}': rate(5000),
    'validation_errors_total{job="shop", instance="a", field="x"}': rate(5000),
    'validation_errors_total{job="forms", instance="s", field="x"}': rate(5000),
    'up{job="foreign-otelcol", instance="f"}': constant(0),
    **{
        selector.replace('job="otelcol"', 'job="foreign-otelcol"'): value
        for selector, value in {
            f"otelcol_exporter_queue_size{{{EXPORTER}}}": constant(1000),
            f"otelcol_exporter_queue_capacity{{{EXPORTER}}}": constant(1000),
            f"otelcol_exporter_send_failed_spans_total{{{EXPORTER}}}": rate(9),
            'otelcol_receiver_refused_spans_total{job="otelcol", instance="c", receiver="otlp"}': rate(9),
        }.items()
    },
}
"""What others count under our generic names, and a collector that is not ours: all of it as bad as can be."""


def labelled(series: Mapping[str, Value], environment: str) -> dict[str, Value]:
    """The same series in an environment."""
    return {selector.replace("{", f'{{environment="{environment}", ', 1): value for selector, value in series.items()}


def busier(series: Mapping[str, Value]) -> dict[str, Value]:
    """Ten times the traffic, with the same shares: what hides a slow neighbour in a sum."""

    def more(value: Value) -> Value:
        return lambda at: None if (found := value(at)) is None else 10 * found

    gauges = ("up{", "otelcol_exporter_queue", "schema_info", "schema_migration", "schema_db_info", "schema_mismatches")
    return {selector: value if selector.startswith(gauges) else more(value) for selector, value in series.items()}


def beside_a_healthy_one(case: Case) -> Case:
    """The case in environment a, while the same app and collector in b are busy and well."""
    series = {**labelled(case.series, "a"), **labelled(busier(HEALTHY), "b")}
    return replace(narrowed(case), series=series, quiet='environment="b"')


def narrowed(case: Case) -> Case:
    """The alert of environment a."""
    name, _, further = case.alert.partition("{")
    return replace(case, alert=f'{name}{{environment="a"{", " + further if further else "}"}')


def of_another(case: Case) -> Case:
    """The case in environment b, while a is well: whoever asks for a must not hear of it."""
    series = {**labelled(case.series, "b"), **labelled(HEALTHY, "a")}
    ends = max(case.until, case.fires or 0)
    return replace(case, series=series, fires=None, resolved=None, until=ends)


def among_strangers(case: Case) -> Case:
    """The case while strangers count under our names."""
    return replace(case, series={**case.series, **STRANGERS})


def unscoped(expr: str, labels: set[str]) -> Iterator[str]:
    """Selectors of an expression that choose by less than all the labels."""
    for selector in promql.selectors(expr):
        if missing := labels - selector.labels:
            yield f"{selector.name or selector.matchers} does not choose by {', '.join(sorted(missing))}"


GUARDS = {
    "cache_hits_total": {"schema_cache_name"},
    "cache_misses_total": {"schema_cache_name"},
    "validation_errors_total": {"schema_name"},
    "api_requests_total": {"http_request_method", "schema_endpoint"},
}
"""Everybody's names, and the labels of which a selector asks for one, since only ours have it."""


def unguarded(expr: str) -> Iterator[str]:
    """Selectors of everybody's names that take strangers' series in."""
    for selector in promql.selectors(expr):
        wanted = GUARDS.get(selector.name)
        asked = {label for label, operator, value in selector.matchers if (value and operator == "Equal") or not value}
        if wanted and not wanted & asked:
            yield f"{selector.name} without {' or '.join(sorted(wanted))}"


TOGETHER = {"le", "schema_validation_outcome", "schema_query_relation"}
"""Labels by which everything that is chosen is told apart: no series of anybody is named, so that none is lost."""


def merged(expr: str, labels: set[str]) -> Iterator[str]:
    """Aggregations and joins by name that lose one of the labels; those of everything that is chosen keep none."""
    for node in promql.nodes(expr):
        kept: Any = None
        if isinstance(node, promql_parser.AggregateExpr):
            kept = node.modifier.labels if node.modifier else None
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            if str(node.modifier.matching.type).endswith("Exclude"):  # `ignoring` keeps all others
                if labels & set(node.modifier.matching.labels):
                    yield f"{str(node)[:80]} ignores {', '.join(sorted(labels))}"
                continue
            kept = node.modifier.matching.labels or None  # `on ()` asks whether there is anything at all
        if kept is not None and not set(kept) <= TOGETHER and (missing := labels - set(kept)):
            yield f"{str(node)[:80]} loses {', '.join(sorted(missing))}"
