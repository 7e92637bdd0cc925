"""Alertmanager's config: accepted, each alert to its receiver, and messages that say what a person needs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "collector-config" / "alertmanager" / "alertmanager.yml"
RULES = ROOT / "collector-config" / "prometheus" / "rules"

RECEIVERS = {
    "HighValidationErrorRate": {"chat"},
    "HighValidationTime": {"chat"},
    "LowCacheHitRate": {"chat"},
    "HighEndpointErrorRate": {"chat"},
    "CrashedValidators": {"pager"},
    "ValidationBudgetBurn": {"pager", "chat"},
    "SlowLinkedQueries": {"chat"},
    "ValidatorBuiltPerCall": {"mail"},
    "QueriesInValidators": {"mail"},
    "SeveralSchemaVersions": {"chat"},
    "SchemaMismatch": {"chat"},
    "MigrationsPending": {"chat"},
    "MigrationFailed": {"chat"},
    "MigrationPartial": {"pager"},
    "RevisionAheadOrDiverged": {"chat"},
    "RevisionUnknown": {"mail"},
    "MigrationDegraded": {"pager"},
    "SchemaTelemetryMissing": {"platform"},
    "SchemaTelemetryAbsent": {"platform"},
    "MeasurementsDropped": {"platform"},
    "SchemaTelemetryErrors": {"platform"},
    "Watchdog": {"deadman"},
    "CollectorQueueFilling": {"platform"},
    "CollectorExportFailing": {"platform-pager"},
    "CollectorRefusing": {"platform"},
    "CollectorDown": {"platform-pager"},
}


def alerts() -> list[tuple[str, dict[str, str]]]:
    return [
        (rule["alert"], rule["labels"])
        for name in rendering.RULES
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def route(**labels: str) -> str:
    return amtool(
        "config", "routes", "test", f"--config.file={CONFIG}", *(f"{k}={v}" for k, v in labels.items())
    ).strip()


def test_config() -> None:
    """amtool accepts the config with its template, and no secret stands in it."""
    amtool("check-config", str(CONFIG))
    secrets = {"api_url", "slack_api_url", "routing_key", "service_key", "smtp_auth_password", "auth_password"}

    def keys(node: object) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {key for value in node.values() for key in keys(value)}
        return {key for value in node for key in keys(value)} if isinstance(node, list) else set()

    assert not keys(yaml.safe_load(CONFIG.read_text())) & secrets


def test_routes() -> None:
    """Every alert reaches the receiver of its severity and team, and no other."""
    reached: dict[str, set[str]] = {}
    for alert, labels in alerts():
        receiver = route(alertname=alert, job="shop", **{key: str(value) for key, value in labels.items()})
        reached.setdefault(alert, set()).add(receiver)
    assert reached == RECEIVERS


@pytest.mark.parametrize("phase", ["investigating", "rolling back", "monitoring", "resolved"])
def test_progress_route(phase: str) -> None:
    """The progress of an incident has its own receiver, whichever phase it is in."""
    labels = {"notification": "progress", "incident_id": "42", "phase": phase, "severity": "info"}
    assert route(alertname="SchemaIncidentProgress", **labels) == "progress"


def test_inhibition_needs_its_labels() -> None:
    """A rule that inhibits by job or instance demands them on both sides: missing on both they are equal."""
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for label in {"job", "instance"} & set(rule["equal"]):
            for side in ("source_matchers", "target_matchers"):
                assert f'{label}=~".+"' in rule[side], rule


def test_message(tmp_path: Path) -> None:
    """A message says schema, endpoint, own labels, since when, and links; what a name brings is text in Slack."""
    alert = {
        "status": "resolved",
        "labels": {
            "alertname": "HighEndpointErrorRate",
            "schema_name": "<!channel>.<locals>.Lead & Co",
            "schema_module": "shop.models",
            "job": "shop",
            "environment": "prod",
            "http_request_method": "POST",
            "http_route": "/leads",
        },
        "annotations": {
            "summary": "S.",
            "description": "D of <!here>\nRunbook: http://evil",
            "dashboard_url": "http://g/d",
            "runbook_url": "http://r",
        },
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "2026-01-02T03:09:05Z",
    }
    data = tmp_path / "data.json"
    group = {"alertname": "HighEndpointErrorRate", "environment": "prod", "job": "<@U1>"}
    data.write_text(json.dumps({"status": "resolved", "alerts": [alert], "groupLabels": group, "commonLabels": {}}))

    def rendered(name: str) -> str:
        glob = f"--template.glob={CONFIG.with_name('schema.tmpl')}"
        text = f'--template.text={{{{ template "{name}" . }}}}'
        return amtool("template", "render", glob, text, f"--template.data={data}")

    assert rendered("schema.title").strip() == "[RESOLVED] HighEndpointErrorRate in <@U1>, prod"
    assert rendered("schema.slack.title").strip() == "[RESOLVED] HighEndpointErrorRate in &lt;@U1&gt;, prod"
    assert rendered("schema.color").strip() == "good"
    lines = rendered("schema.text").strip().splitlines()
    assert lines == [
        "S. D of <!here> Runbook: http://evil",
        "Schema: <!channel>.<locals>.Lead & Co (shop.models)",
        "Endpoint: POST /leads",
        "Where: environment=prod job=shop",
        "Since: 2026-01-02 03:04:05 UTC",
        "Until: 2026-01-02 03:09:05 UTC",
        "Dashboard: http://g/d",
        "Runbook: http://r",
    ]
    escaped = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines]
    assert rendered("schema.slack.text").strip().splitlines() == escaped
