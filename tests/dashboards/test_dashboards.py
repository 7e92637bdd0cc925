"""The committed dashboards: generated, linted, of Grafana's own schema, in step with alerts and conventions."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from opentelemetry.instrumentation.schema._monitoring import rendering

import promql
from lint import lint, panels
from vocabulary import SERIES, rules

ROOT = Path(__file__).parents[2]
DASHBOARDS = {
    name: json.loads((ROOT / "dashboards" / "grafana" / f"{name}.json").read_text()) for name in rendering.DASHBOARDS
}
SCHEMAS = json.loads((ROOT / "dashboards" / "schema" / "grafana.schema.json").read_text())
PROMISED = {
    "Validation Time (95th Percentile)",
    "Validation Time Distribution",
    "Error Rate by Endpoint",
    "Cache Efficiency",
    "Query Latency",
}


def test_regenerated() -> None:
    """Dashboards, rules, Alertmanager's config and the PrometheusRule are what their sources give with the defaults."""
    pytest.importorskip("grafana_foundation_sdk")  # none for Python 3.10
    command = [sys.executable, str(ROOT / "dashboards" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DASHBOARDS)
def test_lint(name: str) -> None:
    """A dashboard breaks no rule of the linter."""
    assert lint(DASHBOARDS[name]) == []


def _first(dashboard: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in panels(dashboard) if panel["type"] == "timeseries")


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(dashboard: dict[str, Any]) -> None:
        at: Any = dashboard
        for key in path[:-1]:
            at = _first(dashboard) if key == "first" else at[key]
        at[path[-1]] = to

    return change


DEFECTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "template-datasource": _set("templating", "list", 0, "label", to="Prometheus"),
    "template-job": _set("templating", "list", 2, "multi", to=False),
    "template-instance": _set("templating", "list", 3, "includeAll", to=False),
    "template-on-time-change-reload": _set("templating", "list", 2, "refresh", to=1),
    "template-label-promql": _set("templating", "list", 2, "query", to="label_values(x{, job)"),
    "undefined-variable": _set("first", "title", to="of $cluster"),
    "unused-variable": _set("templating", "list", 4, "name", to="nobody"),
    "panel-id": _set("first", "id", to=0),
    "exported-leftover": _set("__inputs", to=[]),
    "no-uid": _set("uid", to=""),
    "grid": _set("first", "gridPos", "w", to=25),
    "link-forgets": _set("links", 0, "keepTime", to=False),
    "panel-title-description": _set("first", "description", to=""),
    "panel-no-targets": _set("first", "targets", to=[]),
    "panel-datasource": _set("first", "datasource", "uid", to="webstore-metrics"),
    "panel-units": _set("first", "fieldConfig", "defaults", "unit", to=""),
    "target-datasource": _set("first", "targets", 0, "datasource", "uid", to="webstore-metrics"),
    "target-promql": _set("first", "targets", 0, "expr", to="rate(foo)"),
    "target-rate-interval": _set(
        "first", "targets", 0, "expr", to='rate(x_total{job=~"$job",instance=~"$instance"}[5m])'
    ),
    "target-job": _set("first", "targets", 0, "expr", to='x{instance=~"$instance"}'),
    "target-instance": _set("first", "targets", 0, "expr", to='x{job=~"$job"}'),
    "target-counter-agg": _set("first", "targets", 0, "expr", to='x_total{job=~"$job", instance=~"$instance"}'),
}


@pytest.mark.parametrize("rule", DEFECTS)
def test_linter_finds(rule: str) -> None:
    """The linter finds a defect put into a dashboard that has none."""
    dashboard = copy.deepcopy(DASHBOARDS["schema-validation"])
    DEFECTS[rule](dashboard)
    assert rule in {finding.rule for finding in lint(dashboard)}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_schema(name: str) -> None:
    """A dashboard and each of its panels hold nothing but what Grafana's published types name."""
    dashboard = DASHBOARDS[name]

    def check(schema: str, instance: object) -> None:
        found = [f"{schema}: {e.json_path}: {e.message}" for e in validator(schema).iter_errors(instance)]
        assert found == []

    check("dashboard", {**dashboard, "panels": []})
    for panel in dashboard["panels"]:
        check("panel", panel)
        check(f"{panel['type']}.options", panel["options"])
        if f"{panel['type']}.custom" in SCHEMAS:
            check(f"{panel['type']}.custom", panel["fieldConfig"]["defaults"].get("custom", {}))


def test_the_landing_page_counts_every_alert() -> None:
    """The landing page asks for every alert of the rules but the dead-man's switch, and for no other."""
    names = {str(rule["alert"]) for rule in rules() if "alert" in rule} - {"Watchdog"}
    (panel,) = [panel for panel in panels(DASHBOARDS["schema-health"]) if panel["title"] == "Firing Alerts"]
    asked = [value for one in promql.selectors(panel["targets"][0]["expr"]) for label, _, value in one.matchers
             if label == "alertname"]  # fmt: skip
    assert sorted("|".join(asked).split("|")) == sorted(names)


def validator(schema: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(SCHEMAS[schema])


def test_schema_refuses_what_it_does_not_name() -> None:
    """The published types refuse an option that a panel does not have."""
    panel = _first(DASHBOARDS["schema-validation"])
    assert list(validator("timeseries.options").iter_errors({**panel["options"], "footer": {}}))
    assert list(validator("panel").iter_errors({**panel, "alert": {}}))


def test_promised_titles() -> None:
    """The promised panels exist under exactly their titles, once."""
    titles = [panel["title"] for dashboard in DASHBOARDS.values() for panel in panels(dashboard)]
    assert {title for title in titles if titles.count(title) == 1} >= PROMISED


def expressions() -> list[tuple[str, str]]:
    found = [
        (f"{name}: {panel['title']}", target["expr"])
        for name, dashboard in DASHBOARDS.items()
        for panel in panels(dashboard)
        for target in panel.get("targets", [])
    ]
    return found + [(str(rule.get("alert", rule.get("record"))), str(rule["expr"])) for rule in rules()]


def test_series_and_labels_exist() -> None:
    """Every panel and rule reads series of the conventions, and filters and groups by labels that they carry."""
    for where, expr in expressions():
        selectors = promql.selectors(expr)
        known = set[str]()
        for selector in selectors:
            for name in selector.names:
                assert name in SERIES, (where, name)
                assert selector.labels <= SERIES[name], (where, name, selector.labels - SERIES[name])
                known |= SERIES[name]
        assert promql.kept_labels(expr) <= known, (where, promql.kept_labels(expr) - known)


def test_alert_links() -> None:
    """Every alert's link opens an existing panel that reads the alert's series, and sets variables that exist there."""
    for rule in rules():
        if "alert" not in rule:
            continue
        url = urlsplit(re.sub(r"\{\{.*?\}\}", "x", str(rule["annotations"]["dashboard_url"])))
        _, _, uid, slug = url.path.split("/")
        dashboard, query = DASHBOARDS[uid], parse_qs(url.query)
        assert slug == dashboard["title"].lower().replace(" ", "-"), rule["alert"]
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        assert {name.removeprefix("var-") for name in query if name.startswith("var-")} <= variables
        if "viewPanel" in query:
            (panel,) = [panel for panel in panels(dashboard) if panel["id"] == int(query["viewPanel"][0])]
            shown = {name for target in panel["targets"] for name in promql.metrics(target["expr"])}
            compared = promql.metrics(str(rule["expr"])) or {"ALERTS"}  # the Watchdog compares nothing
            assert shown & compared, (rule["alert"], panel["title"])


def test_thresholds_are_the_alerts() -> None:
    """A panel's limit is the very parameter of the alert that links to it, so that no export can part them."""
    for file in rendering.RULES:
        for rule in (ROOT / "dashboards" / "templates" / file).read_text().split("      - alert: ")[1:]:
            link = re.search(r"/d/@{prefix}([\w-]+)/[\w-]+\?viewPanel=(\d+)", rule)
            limit = re.search(r"(?:[<>]|> \()\s*\(?@\{(\w+)\}", rule)
            if not link or not limit or limit[1] in UNDRAWN:
                continue
            uid, identity = link[1], int(link[2])
            template = json.loads((ROOT / "dashboards" / "templates" / f"{uid}.json").read_text())
            (panel,) = [panel for panel in template["panels"] if panel["id"] == identity]
            drawn = [step.get("value") for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
            assert f"@{{{limit[1]}}}" in drawn, (rule.split("\n")[0], limit[1], drawn)


UNDRAWN = {"burn_1d", "burn_3d", "missing_after"}
"""Slow burning is no line in the panel of four windows; who is missing has no number."""
