"""Which values `otel-schema export` takes: what it accepts, the tools accept too, and every alert can fire."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._monitoring import rendering, scope, thresholds, values

from tests.dashboards.cases import EXPORTER
from tests.dashboards.promtool import Promtool, Value, _samples

RATIOS = st.integers(1, 999).map(lambda n: f"{n / 1000:g}")
DURATIONS = st.sampled_from(["0s", "1s", "45s", "1m", "90s", "7m30s", "1h", "1h30m"])
NAMES = st.sampled_from(["environment", "team", "cluster", "namespace", "region"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JOBS = {
    "otelcol": "otelcol",
    "otelcol|gateway": "gateway",
    "(eu|us)-col": "us-col",
    "otelcol.*": "otelcol-1",
    "a.+b": "a-b",
}
"""Patterns of collectors' jobs, and a job that each means."""
COUNTS = (
    "p95_validations", "hit_lookups", "endpoint_requests", "slo_validations", "query_count", "build_count", "crashes",
    "dropped", "internal_errors",
)  # fmt: skip


def boundaries(bounds: tuple[float, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from([f"{bound:.6f}".rstrip("0").rstrip(".") for bound in bounds])


KINDS: dict[str, st.SearchStrategy[str]] = {
    "ratio": RATIOS,
    "validation seconds": boundaries(semconv.VALIDATION_BUCKETS),
    "query seconds": boundaries(semconv.QUERY_BUCKETS),
    "slo seconds": boundaries(semconv.VALIDATION_BUCKETS),
    "count": st.sampled_from(["0", "1", "3.5", "100", "999999"]),
    "factor": st.sampled_from(["0.5", "1", "3", "14.4", "50"]),
    "duration": DURATIONS,
    "interval": st.sampled_from(["1s", "10m", "1h", "90m"]),
    "text": TEXTS | st.sampled_from(["🚀", "a: b", "a #b", "- x", "%", "@here", "\u0663"]),
    "url": st.sampled_from(
        ["https://grafana.shop.example/sub", "http://[::1]:3000", "https://g/?x=1&y=2", "https://g/🚀"]
    ),
    "server": st.sampled_from(["smtp.example.com:587", "127.0.0.1:25", "[::1]:2525"]),
    "uid": st.sampled_from(["tempo", "P1809F7CD0C75ACF3", "a_b-c"]),
    "matchers": st.lists(
        st.tuples(
            NAMES,
            st.sampled_from(["=", "!=", "=~", "!~"]),
            TEXTS | st.sampled_from(["prod", "a|b", "(a|b).*", "x #y: z"]),
        ),
        max_size=3,
    ).map(lambda found: ", ".join(f'{name}{operator}"{value}"' for name, operator, value in found)),
    "labels": st.lists(NAMES, min_size=1, max_size=3).map(",".join),
    "names": st.sampled_from(["leads", "leads,shop"]),
    "prefix": st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True),
    "pattern": st.sampled_from([*JOBS, "a(b", "a**", ".*"]),
    "directory": st.just("/run/secrets"),
    "kubernetes name": st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
    "kubernetes labels": st.sampled_from(["release=kube-prometheus-stack", "app.kubernetes.io/part-of=x,team=leads"]),
}


@st.composite
def accepted(draw: st.DrawFn) -> dict[str, str]:
    """Values that export takes; the rest of what is drawn it refuses."""
    chosen = draw(st.lists(st.sampled_from(thresholds.PARAMETERS), max_size=12, unique_by=lambda one: one.name))
    taken: dict[str, str] = {}
    for parameter in chosen:
        try:
            kind = KINDS[parameter.kind] if parameter.name != "schema_versions" else st.sampled_from(["1", "2"])
            values.check_values(taken := {**taken, parameter.name: draw(kind)})
        except values.ParameterError:
            del taken[parameter.name]
    return values.check_values(taken)


def matching(given: Mapping[str, str], name: str) -> str | None:
    """Labels that a selector chooses, None where this test knows none."""
    found: dict[str, str] = {}
    for matcher in scope.matchers(given[name]):
        value = {"=": matcher.value, "!=": "other" if matcher.value != "other" else "another"}.get(matcher.operator)
        if value is None:
            value = "a" if matcher.value in ("a|b", "(a|b).*") and matcher.operator == "=~" else None
        if value is None or found.get(matcher.label, value) != value:
            return None
        found[matcher.label] = value
    return "".join(f', {label}="{value}"' for label, value in found.items())


def driven(given: Mapping[str, str], extra: str, beside: str, died: int) -> dict[str, Value]:
    """Series of an app and a collector that are beyond every threshold."""
    number = {
        name: float(value) for name, value in given.items() if value[:1].isdigit() and value.replace(".", "").isdigit()
    }
    schema = f'job="shop", instance="a", schema_name="LeadIn", schema_module="m", schema_library="pydantic"{extra}'
    endpoint = 'http_request_method="POST", http_route="/leads"'

    def rate(per_second: float) -> Value:
        return lambda at: at * per_second

    many = sum(number[name] for name in COUNTS) + 10
    series: dict[str, Value] = {
        f'api_requests_total{{job="shop", instance="a", {endpoint}{extra}}}': rate(many),
        f'validation_errors_total{{{schema}, {endpoint}, error_type="E"}}': rate(many * 2),
        f'cache_hits_total{{{schema}, schema_cache_name="validator"}}': rate(many * 1e-6),
        f'cache_misses_total{{{schema}, schema_cache_name="validator"}}': rate(many),
        f'schema_telemetry_dropped_total{{job="shop", instance="a", schema_telemetry_instrument="i"{extra}}}': rate(
            many
        ),
        f'schema_telemetry_errors_total{{job="shop", instance="a", error_type="E"{extra}}}': rate(many),
        f'schema_validation_duration_seconds_count{{job="gone", instance="a", schema_name="X"{extra}}}': (
            lambda at: float(at) if at <= died else None
        ),
    }
    database = f'job="shop", instance="a", schema_migration_tool="alembic", db_namespace="leads"{extra}'
    series[f"schema_migration_pending{{{database}}}"] = lambda at: number["pending"] + 1
    for outcome in ("failed", "partial"):
        run = f'{database}, schema_migration_direction="upgrade", schema_migration_outcome="{outcome}"'
        series[f"schema_migration_last_run_timestamp_seconds{{{run}}}"] = lambda at: 600.0
    judged = f'{database}, schema_guard_signal="errors", schema_guard_verdict="degraded"'
    series[f"schema_guard_last_verdict_timestamp_seconds{{{judged}}}"] = lambda at: 600.0
    for state in ("ahead", "unknown"):
        revision = f'{database}, schema_db_revision="1", schema_db_state="{state}"'
        series[f"schema_db_info{{{revision}}}"] = lambda at: 1.0
    mismatch = 'schema_mismatch_kind="length", schema_mismatch_severity="error"'
    series[f"schema_mismatches{{{schema}, {mismatch}}}"] = lambda at: number["mismatches"] + 1
    for version in "123":
        series[f'schema_info{{{schema}, schema_version="{version}", schema_fingerprint="{version}"}}'] = lambda at: 1.0
    for family, bounds, labels in (
        ("schema_validation_duration_seconds", semconv.VALIDATION_BUCKETS, 'schema_validation_outcome="error"'),
        (
            "schema_query_duration_seconds",
            semconv.QUERY_BUCKETS,
            'schema_query_relation="during", db_operation_name="SELECT"',
        ),
    ):
        rates = many * (number["validation_queries"] + 1 if "query" in family else 1)
        for bound in [*bounds, float("inf")]:
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            series[f'{family}_bucket{{{schema}, {labels}, le="{le}"}}'] = rate(rates * (bound >= bounds[-1]))
        series[f"{family}_count{{{schema}, {labels}}}"] = rate(rates)
    job = JOBS[given["collector_job"]]
    collector = EXPORTER.replace('"otelcol"', f'"{job}"') + beside
    series |= {
        f"otelcol_exporter_queue_size{{{collector}}}": lambda at: 10.0,
        f"otelcol_exporter_queue_capacity{{{collector}}}": lambda at: 10.0,
        f"otelcol_exporter_send_failed_spans_total{{{collector}}}": rate(number["export_failed"] + 1),
        f'otelcol_receiver_refused_spans_total{{job="{job}", instance="c", receiver="otlp"{beside}}}': rate(
            number["refused"] + 1
        ),
        f'up{{job="{job}", instance="c"{beside}}}': lambda at: 0.0,
    }
    return series


@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes seconds: none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(given=accepted(), label=TEXTS)
def test_whatever_is_accepted_passes_the_tools_and_fires(tmp_path: Path, given: dict[str, str], label: str) -> None:
    """With any accepted values promtool and amtool take the files, and every alert fires beyond its threshold."""
    try:
        labels = values.check_labels({"owner": label}, given)
    except values.ParameterError:
        labels = {}
    promtool = Promtool(tmp_path / "rules", given, changed=dict(rendering.rules(given, labels)))
    for path, text in rendering.files(given, labels):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for check in (
        ["promtool", "check", "rules", *map(str, promtool.files.values())],
        ["amtool", "check-config", str(tmp_path / "alertmanager" / "alertmanager.yml")],
    ):
        done = subprocess.run(check, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load(rendering.prometheus_rule(given, labels))["kind"] == "PrometheusRule"
    extra, beside = matching(given, "selector"), matching(given, "collector_selector")
    assume(extra is not None and beside is not None)
    assert extra is not None
    assert beside is not None
    waits = [
        thresholds.seconds(value) for name, value in given.items() if name.endswith("_for") and name != "missing_for"
    ]
    gone = thresholds.seconds(given["missing_after"]) + 600
    ends = max(*waits, gone + 310 + thresholds.seconds(given["missing_for"])) + 900
    assert promtool.verdict(fired(promtool, driven(given, extra, beside, gone), ends)) == ""


def fired(promtool: Promtool, series: Mapping[str, Value], ends: int) -> dict[str, Any]:
    """A promtool test by which every alert has fired, but for that of no series at all."""
    alerts = {
        rule["alert"]
        for path in promtool.files.values()
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    } - {"SchemaTelemetryAbsent"}
    firing = 'ALERTS{alertstate="firing", alertname!="SchemaTelemetryAbsent"}'
    ever = f"count(count by (alertname) (count_over_time({firing}[9d])))"
    return {
        "rule_files": [str(path) for path in promtool.files.values()],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": name, "values": _samples(value, ends, 15)} for name, value in series.items()
                ],
                "promql_expr_test": [
                    {"expr": ever, "eval_time": f"{ends}s", "exp_samples": [{"labels": "{}", "value": len(alerts)}]}
                ],
            }
        ],
    }


REFUSED = {
    "p95_seconds=0.02": "not a bucket boundary",
    "p95_seconds=2.5": "can exceed",  # the last one: no quantile is above it
    "query_seconds=10": "can exceed",
    "slo_seconds=0.3": "not a bucket boundary",
    "slo_objective=0.5": "burn_1h",
    "burn_3d=100": "never reached",
    "burn_1h=0": "above 0",
    "error_ratio=0": "above 0",
    "error_ratio=1": "below 1",
    "hit_ratio=0": "above 0",
    "queue_ratio=1": "below 1",
    "error_ratio=\u0660.\u0665": "not a number",
    "error_for=\u0665m": "not a duration",
    "error_for=99999999d": "longer than a year",
    "group_interval=0s": "longer than 0 s",
    "p95_validations=" + "9" * 400: "not a number",
    "missing_for=1h": "one hour only",
    "slack_channel=": "empty",
    "slack_channel= ": "empty",
    "collector_job=.*": "everything",
    "collector_job=a(b": "pattern",
    'collector_job=a"b': "pattern",
    'selector=__name__="x"': "__name__",
    'selector=schema_name="x"': "not every series",
    'selector=instance="x"': "not every series",
    "selector=environment=prod": "matchers",
    'selector=environment=~"(?i)prod"': "pattern",
    'selector=environment=~".*"': "everything",
    'selector=environment="a\\"b"': "matchers",
    "own_labels=le": "keep",
    "own_labels=schema_name": "keep",
    "own_labels=a-b": "name",
    "prefix=Leads": "letter",
    "prefix=" + "a" * 21: "letter",
    "teams=chat": "receiver",
    "teams=platform": "receiver",
    "grafana_url=grafana.example.com": "http",
    "grafana_url=https://g/": "slash",
    "tempo_uid=a b": "letters",
    "smtp=\u0663": "host and a port",
    "smtp=smtp.example.com": "host and a port",
    "smtp=smtp.example.com:99999": "65535",
    "rule_namespace=A_B": "Kubernetes",
    "rule_labels=release": "list",
}


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: given[:40])
def test_refused_with_the_reason(given: str) -> None:
    """A value with which a file cannot be or an alert cannot fire is refused, by name and with the reason."""
    name, _, value = given.partition("=")
    with pytest.raises(values.ParameterError) as caught:
        values.check_values({name: value})
    assert REFUSED[given] in str(caught.value)


@pytest.mark.parametrize(
    "label",
    ["severity=low", "job=x", "instance=x", "schema_name=x", "le=1", "__name__=x", "alertname=x", "environment=staging",
     "cluster=x", "notification=progress", "http_route=/x", "a-b=c", "owner=", 'owner="x"', "owner={{ x }}",
     "owner=\udcf0\udc9f", "owner=a\nb", "\uff4fwner=x"],
)  # fmt: skip
def test_refused_label(label: str) -> None:
    """A label that is none, that is empty, or that replaces one which a rule keeps, is refused."""
    given = values.check_values({"selector": 'environment="prod"', "own_labels": "cluster"})
    name, _, value = label.partition("=")
    with pytest.raises(values.ParameterError, match="--label"):
        values.check_labels({name: value}, given)


def test_a_label_may_say_what_the_selector_says() -> None:
    """A label with the very value that the selector asks for changes nothing, and is accepted."""
    given = values.check_values({"selector": 'team="leads"'})
    assert values.check_labels({"team": "leads", "owner": "🚀"}, given)
