"""Every alert, in promtool: when it fires, and when it must not."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering

from tests.dashboards.cases import CASES, SILENCE
from tests.dashboards.promtool import Case, Promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "collector-config" / "prometheus" / "rules"

PROMISED = """
alert: HighValidationErrorRate
expr: sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m])) > 0.01
for: 5m
labels: {severity: warning}
annotations:
  summary: "High validation error rate detected"
  description: "Validation errors have exceeded 1% for the past 5 minutes."
"""


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return Promtool(tmp_path_factory.mktemp("promtool"))


def committed() -> list[dict[str, object]]:
    return [
        rule
        for name in rendering.RULES
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.claim}")
def test_fires(promtool: Promtool, case: Case) -> None:
    """The alert fires at its time and not one evaluation earlier, or not at all, as its case says."""
    assert promtool.failure(case) == ""


@pytest.mark.parametrize("history", SILENCE)
def test_silent(promtool: Promtool, history: str) -> None:
    """No alert but the dead-man's switch fires on an ordinary event of life."""
    others = 'ALERTS{alertname!="Watchdog", alertstate="firing"}'
    case = Case("Watchdog", history, SILENCE[history], until=3600)
    document = case.document([str(path) for path in promtool.files.values()])
    (test,) = document["tests"]
    test["promql_expr_test"][0]["expr"] = f"count(count_over_time({others}[1d])) or vector(0)"
    assert promtool.verdict(document) == ""


def test_every_alert_has_cases() -> None:
    """Every alert has a case in which it fires, and but for the dead-man's switch one in which it does not."""
    alerts = {str(rule["alert"]) for rule in committed() if "alert" in rule}
    assert {case.name for case in CASES if case.fires is not None} == alerts
    assert {case.name for case in CASES if case.fires is None} == alerts - {"Watchdog"}


def test_promised() -> None:
    """The promised alert stands as promised, with nothing added but its links."""
    (rule,) = [rule for rule in committed() if rule.get("alert") == "HighValidationErrorRate"]
    links = {"runbook_url", "dashboard_url"}
    rule["annotations"] = {key: text for key, text in rule["annotations"].items() if key not in links}
    assert rule == yaml.safe_load(PROMISED)
    text = (RULES / "schema.rules.yml").read_text()
    assert "\n".join(f"        {line}" for line in PROMISED.strip().splitlines()[1:]) in text


def test_lint() -> None:
    """promtool accepts the committed rules with every lint fatal."""
    command = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, sorted(RULES.glob("*.yml")))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_what_and_where() -> None:
    """Every alert has its severity, texts and links, and its comment says where the threshold comes from."""
    for rule in committed():
        if "alert" not in rule:
            continue
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}, rule["alert"]
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")
    for name in rendering.RULES:
        lines = (RULES / name).read_text().splitlines()
        bare = [
            line
            for above, line in itertools.pairwise(lines)
            if "- alert:" in line and not above.strip().startswith("#")
        ]
        assert bare == []


def test_aggregations_keep_named_labels() -> None:
    """No rule aggregates `without`, joins on all labels by accident of the topology, or names a label of the scope."""
    for rule in committed():
        assert not re.search(r"\bwithout\b|otel_scope", str(rule["expr"])), rule
