"""Which series exist, and which labels each may carry: what expressions are compared with."""

from __future__ import annotations

from pathlib import Path

import yaml
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._monitoring import rendering

from tests.dashboards import promql

ROOT = Path(__file__).parents[2]
RULES = ROOT / "collector-config" / "prometheus" / "rules"
TARGET = {"job", "instance"}

COLLECTOR = {
    "otelcol_exporter_queue_size": {"exporter", "data_type"},
    "otelcol_exporter_queue_capacity": {"exporter", "data_type"},
    "otelcol_exporter_send_failed_spans_total": {"exporter", "data_type"},
    "otelcol_exporter_send_failed_metric_points_total": {"exporter", "data_type"},
    "otelcol_receiver_accepted_spans_total": {"receiver", "transport"},
    "otelcol_receiver_accepted_metric_points_total": {"receiver", "transport"},
    "otelcol_receiver_refused_spans_total": {"receiver", "transport"},
    "otelcol_receiver_refused_metric_points_total": {"receiver", "transport"},
}
RULES_LABELS = {"signal", "long"}
PROMETHEUS = {
    "up": set[str](),
    "target_info": {"service_version", "vcs_ref_head_revision", "deployment_environment_name"},
    "ALERTS": {"alertname", "alertstate", "severity", "schema_name"},
    "ALERTS_FOR_STATE": {"alertname", "severity", "schema_name"},
}


def rules() -> list[dict[str, object]]:
    """Every committed rule."""
    return [
        rule
        for name in rendering.RULES
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def _instruments() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for instrument in semconv.INSTRUMENTS:
        labels = {attribute.replace(".", "_") for attribute in instrument.attributes}
        if instrument.kind == "histogram":
            for part, extra in (("bucket", {"le"}), ("count", set[str]()), ("sum", set[str]())):
                found[f"{instrument.prometheus}_{part}"] = labels | extra
        else:
            found[instrument.prometheus] = labels
    return found


SERIES: dict[str, set[str]] = {
    name: labels | TARGET
    for name, labels in (
        _instruments()
        | COLLECTOR
        | PROMETHEUS
        | {
            str(rule["record"]): promql.kept_labels(str(rule["expr"])) | RULES_LABELS
            for rule in rules()
            if "record" in rule
        }
    ).items()
}
"""Series → labels that it may carry."""
