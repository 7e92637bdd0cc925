"""`otel-schema export`: the user's thresholds, labels and addresses everywhere, and nothing that cannot be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds
from opentelemetry.instrumentation.schema.cli.commands import export


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(export.export, arguments)
    return result.exit_code, result.output


def test_thresholds_reach_rules_dashboards_and_alertmanager(tmp_path: Path) -> None:
    """A threshold changes rule, text and panel alike; labels and addresses arrive; everything stays valid."""
    code, output = run(
        str(tmp_path),
        *("--set", "error_ratio=0.02", "--set", "error_for=90s", "--set", "p95_seconds=0.05"),
        *("--set", "grafana_url=https://grafana.shop.example", "--label", "team=leads"),
    )
    assert code == 0, output
    rules = yaml.safe_load((tmp_path / "prometheus/rules/schema.rules.yml").read_text())
    alert = rules["groups"][0]["rules"][0]
    assert alert["expr"].endswith("> 0.02")
    assert alert["for"] == "90s"
    assert alert["labels"] == {"severity": "warning", "team": "leads"}
    assert alert["annotations"]["description"] == "Validation errors have exceeded 2% for the past 90 seconds."
    assert alert["annotations"]["dashboard_url"].startswith("https://grafana.shop.example/d/")
    board = json.loads((tmp_path / "grafana/schema-validation.json").read_text())
    assert board["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 0.05
    assert "50ms" in board["panels"][0]["fieldConfig"]["defaults"]["links"][0]["url"]
    checks = [
        ["promtool", "check", "rules", *map(str, (tmp_path / "prometheus/rules").glob("*.yml"))],
        ["amtool", "check-config", str(tmp_path / "alertmanager/alertmanager.yml")],
    ]
    for check in checks:
        assert subprocess.run(check, capture_output=True).returncode == 0
    assert "@{" not in "".join(path.read_text() for path in tmp_path.rglob("*.*"))


def test_prometheus_rule_holds_the_same_groups() -> None:
    """The PrometheusRule has the groups of the rule files, all of them, in order."""
    custom = yaml.safe_load(rendering.prometheus_rule(thresholds.DEFAULTS))
    groups = [group for _, text in rendering.rules(thresholds.DEFAULTS) for group in yaml.safe_load(text)["groups"]]
    assert custom["kind"] == "PrometheusRule"
    assert custom["spec"]["groups"] == groups


@pytest.mark.parametrize(
    "given",
    ["nothing=1", "error_ratio=1.5", "error_ratio=x", "error_ratio=-1", "error_for=5", "error_for=", "p95_seconds=1e-3",
     'smtp=a"b', "grafana_url={{ evil }}", "mail_to=a\nb"],
)  # fmt: skip
def test_refused(tmp_path: Path, given: str) -> None:
    """What no file can hold is refused with 2, by name, before anything is written."""
    code, output = run(str(tmp_path), "--set", given)
    assert code == 2
    assert given.partition("=")[0] in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("label", ["severity=low", "a-b=c", "team", 'team="x"', "team={{ x }}"])
def test_refused_label(tmp_path: Path, label: str) -> None:
    """A label that is none, or that the rules set themselves, is refused with 2."""
    assert run(str(tmp_path), "--label", label)[0] == 2


def test_list() -> None:
    """`--list` names every parameter with its default and where it comes from."""
    code, output = run("--list")
    assert code == 0
    for parameter in thresholds.PARAMETERS:
        assert parameter.name in output
        assert parameter.why in output


def test_every_parameter_is_used() -> None:
    """No parameter is without effect."""
    text = "".join(path.read_text() for path in rendering.templates().iterdir())
    forms = {
        "own_labels": "own",
        "collector_job": "collector",
        "collector_selector": "collector",
        "teams": "team_routes",
    }
    kubernetes = {"rule_name", "rule_namespace", "rule_labels"}  # see test_prometheus_rule_is_selected
    used = {
        parameter.name: f"@{{{forms.get(parameter.name, parameter.name)}" in text for parameter in thresholds.PARAMETERS
    }
    assert {name for name, found in used.items() if not found} == kubernetes
