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
from opentelemetry.instrumentation.schema._monitoring import rendering, values

from tests.dashboards import promql
from tests.dashboards.lint import lint, panels
from tests.dashboards.vocabulary import SERIES, rules

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
    command = [sys.executable, "-m", "dashboards.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
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
    "template-job": _set("templating", "list", 1, "multi", to=False),
    "template-instance": _set("templating", "list", 2, "allValue", to=""),
    "template-on-time-change-reload": _set("templating", "list", 2, "refresh", to=1),
    "template-label-promql": _set("templating", "list", 2, "query", to="label_values(x{, job)"),
    "undefined-variable": _set("first", "title", to="of $cluster"),
    "unused-variable": _set("templating", "list", 3, "name", to="nobody"),
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


OF_PROMETHEUS = {"target", "titleFormat", "textFormat", "tagKeys", "useValueForTime"}
"""What an annotation of the Prometheus data source has: Grafana publishes the type of its own annotations alone."""


@pytest.mark.parametrize("name", DASHBOARDS)
def test_schema(name: str) -> None:
    """A dashboard and each of its panels hold nothing but what Grafana's published types name."""
    dashboard = DASHBOARDS[name]

    def check(schema: str, instance: object) -> None:
        found = [f"{schema}: {e.json_path}: {e.message}" for e in validator(schema).iter_errors(instance)]
        assert found == []

    notes = [
        {key: value for key, value in note.items() if key not in OF_PROMETHEUS}
        for note in dashboard["annotations"]["list"]
    ]
    check("dashboard", {**dashboard, "panels": [], "annotations": {"list": notes}})
    for panel in panels(dashboard):
        if panel["type"] == "row":
            check("dashboard", {**dashboard, "panels": [{**panel, "panels": []}], "annotations": {"list": []}})
            continue
        check("panel", panel)
        check(f"{panel['type']}.options", panel["options"])
        if f"{panel['type']}.custom" in SCHEMAS:
            check(f"{panel['type']}.custom", panel["fieldConfig"]["defaults"].get("custom", {}))


def test_the_landing_page_counts_every_alert() -> None:
    """The landing page asks for every alert of the rules but the dead-man's switch, and for no other."""
    names = {str(rule["alert"]) for rule in rules() if "alert" in rule} - {"Watchdog"}
    (panel,) = [panel for panel in panels(DASHBOARDS["schema-health"]) if panel["title"] == "Alerts That Fire"]
    for state in ("ALERTS", "ALERTS_FOR_STATE"):
        asked = [value for one in promql.selectors(panel["targets"][0]["expr"]) for label, _, value in one.matchers
                 if one.name == state and label == "alertname" and value != "Watchdog"]  # fmt: skip
        assert sorted("|".join(asked).split("|")) == sorted(names)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_migrations_are_annotations(name: str) -> None:
    """Every dashboard shows the runs of migrations of all outcomes, at their own times, in ms."""
    outcomes = []
    for note in DASHBOARDS[name]["annotations"]["list"]:
        expr = note["target"]["expr"]
        if "schema_migration" not in expr:
            continue
        assert (note["useValueForTime"], note["enable"]) == (True, True)
        assert expr.endswith("[$__rate_interval])) * 1000")
        (selector,) = promql.selectors(promql.resolved(expr))
        outcomes += [value for label, _, value in selector.matchers if label == "schema_migration_outcome"]
        for form in ("titleFormat", "textFormat"):
            assert set(re.findall(r"\{\{(\w+)\}\}", note[form])) <= promql.kept_labels(promql.resolved(expr))
    assert sorted("|".join(outcomes).split("|")) == ["applied", "failed", "partial", "rolled_back"]


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
    found += [
        (f"{name}: {note['name']}", note["target"]["expr"])
        for name, dashboard in DASHBOARDS.items()
        for note in dashboard["annotations"]["list"]
    ]
    return found + [(str(rule.get("alert", rule.get("record"))), str(rule["expr"])) for rule in rules()]


RECORDED = {str(rule["record"]): str(rule["expr"]) for rule in rules() if "record" in rule}


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
        known |= promql.made_labels(expr)
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
            shown |= {name for record in shown & RECORDED.keys() for name in promql.metrics(RECORDED[record])}
            compared = promql.metrics(str(rule["expr"])) or {"ALERTS"}  # the Watchdog compares nothing
            assert shown & compared, (rule["alert"], panel["title"])


TEMPLATES = ROOT / "dashboards" / "templates"
MARK = re.compile(r"@\{(\w+)(?::\w+)?\}")


def compared() -> dict[str, list[str]]:
    """Mark of a limit → names of the alerts that compare with it."""
    found: dict[str, list[str]] = {}
    for file in rendering.RULES:
        for rule in (TEMPLATES / file).read_text().split("      - alert: ")[1:]:
            name, _, rest = rule.partition("\n")
            for mark in re.findall(r"(?<![>=])[<>] \(?@\{(\w+)\}", rest.partition("annotations:")[0]):
                if name not in found.setdefault(mark, []):
                    found[mark].append(name)
    return found


LIMITS = compared()


def drawn() -> list[tuple[str, dict[str, Any], set[str]]]:
    """Dashboard, panel and marks of the limits that it draws: as threshold, or as what its values are divided by."""
    found = []
    for name in DASHBOARDS:
        for panel in panels(json.loads((TEMPLATES / f"{name}.json").read_text())):
            steps = json.dumps(panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}))
            marks = set(MARK.findall(steps)) & LIMITS.keys()
            if marks:
                found.append((name, panel, marks))
    return found


def test_every_alert_with_a_limit_has_it_drawn() -> None:
    """Every alert's limit is drawn in the panel that its link opens, as the very parameter: no export can part them."""
    for file in rendering.RULES:
        for rule in (TEMPLATES / file).read_text().split("      - alert: ")[1:]:
            link = re.search(r"/d/@{prefix}([\w-]+)/[\w-]+\?viewPanel=(\d+)", rule)
            limit = re.search(r"(?:[<>]|> \()\s*\(?@\{(\w+)\}", rule)
            if not link or not limit or limit[1] in ("missing_after", "absent_for"):
                continue  # who is missing has no number
            drawn_there = [marks for name, panel, marks in drawn() if (name, panel["id"]) == (link[1], int(link[2]))]
            assert any(limit[1] in marks for marks in drawn_there), (rule.split("\n")[0], limit[1])


@pytest.mark.parametrize(("name", "panel", "marks"), drawn())
def test_a_limit_is_over_its_alerts_population_and_window(name: str, panel: dict[str, Any], marks: set[str]) -> None:
    """A panel with a limit shows the very recorded series that the limit's alert compares: its grouping, its window."""
    alerts = {alert for mark in marks for alert in LIMITS[mark]}
    read = set[str]()
    for rule in rules():
        if rule.get("alert") in alerts:
            expr = str(rule["expr"])
            read |= promql.metrics(expr)
            read |= {record for record, recorded in RECORDED.items() if expr.startswith(recorded.strip())}
    (committed,) = [one for one in panels(DASHBOARDS[name]) if one["id"] == panel["id"]]
    for target in committed["targets"]:
        value = target["expr"].split(" or on () ")[0]  # what follows says why there is no value
        if target.get("legendFormat") == "limit" or hidden(committed, target["refId"]):
            continue
        names = promql.metrics(value)
        assert names <= read, (panel["title"], names - read)
        assert all(":" in one for one in names), (panel["title"], names)
        assert not re.search(r"\b(?:rate|increase|sum|avg|count|histogram_quantile)\b ?(?:by )?\(", value), panel[
            "title"
        ]
        assert set(re.findall(r"\[([^\]]+)\]", value)) <= {"$__range"}, panel["title"]


def test_the_budgets_limit_is_one() -> None:
    """What is recorded of the budget is a share of each limit: alert and panels draw the line at 1."""
    burn = "job:schema_budget_burn:of_limit"
    for rule in rules():
        if rule.get("alert") == "ValidationBudgetBurn":
            assert re.fullmatch(rf'{burn}{{long="\w+"}} > 1\n?', str(rule["expr"])), rule["expr"]
    shown = [panel for panel in panels(DASHBOARDS["schema-health"]) if burn in json.dumps(panel.get("targets", []))]
    assert [panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] for panel in shown] == [1, 1]


FEW = {
    "schema_mismatch_kind",
    "schema_mismatch_severity",
    "schema_validation_outcome",
    "schema_query_relation",
    "db_system_name",
    "receiver",
    "job",
    "le",
}
"""Labels with a handful of values."""
FEW_PANELS = {"Pending Migrations", "Duration of the Last Run", "Database State"}
"""Of databases there are a handful too."""


@pytest.mark.parametrize("name", DASHBOARDS)
def test_at_most_ten_lines(name: str) -> None:
    """A graph asks for at most ten series, chosen over the whole range, or by labels that have few values."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] != "timeseries" or panel["title"] in FEW_PANELS:
            continue
        for target in panel["targets"]:
            expr = target["expr"]
            chosen = re.search(r"\b(?:topk|bottomk)\(10, .*@ end\(\)", expr, re.S)
            few = (":" not in expr and promql.kept_labels(expr) <= FEW) or expr.startswith(("all:", "job:otelcol_gone"))
            limit = target.get("legendFormat") == "limit" or hidden(panel, target["refId"])
            assert chosen or few or limit, (panel["title"], expr)


def hidden(panel: dict[str, Any], ref: str) -> bool:
    """Whether a query is asked for its exemplars alone."""
    return any(
        override["matcher"] == {"id": "byFrameRefID", "options": ref}
        and {"id": "custom.hideFrom", "value": {"legend": True, "tooltip": True, "viz": True}} in override["properties"]
        for override in panel["fieldConfig"]["overrides"]
    )


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {key: value for name, inner in node.items() for key, value in _flat(inner, f"{path}.{name}").items()}
    return {path.lstrip("."): node}


UNASKED: dict[str, dict[str, Any]] = {
    "link": {
        "asDropdown": False,
        "icon": "",
        "includeVars": False,
        "keepTime": False,
        "placement": "inControlsMenu",
        "tags": [],
        "targetBlank": False,
        "title": "",
        "tooltip": "",
        "type": "link",
    },
    "annotation": {
        "builtIn": 0,
        "enable": True,
        "hide": False,
        "iconColor": "",
        "name": "",
        "placement": "inControlsMenu",
    },
    "row": {"collapsed": False, "id": 0, "panels": [], "title": "", "type": "row"},
    "dashboard": {
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 0,
        "schemaVersion": 42,
        "timezone": "browser",
        "title": "",
    },
    "query variable": {
        "allowCustomValue": True,
        "auto": False,
        "auto_count": 30,
        "auto_min": "10s",
        "includeAll": False,
        "multi": False,
        "name": "x",
        "skipUrlSync": False,
        "type": "query",
    },
    "datasource variable": {
        "allowCustomValue": True,
        "auto": False,
        "auto_count": 30,
        "auto_min": "10s",
        "includeAll": False,
        "multi": False,
        "name": "x",
        "skipUrlSync": False,
        "type": "datasource",
    },
    "timeseries": {
        "fieldConfig.overrides": [],
        "options.legend.calcs": [],
        "options.legend.displayMode": "list",
        "options.legend.placement": "bottom",
        "options.legend.showLegend": False,
        "options.tooltip.mode": "single",
        "options.tooltip.sort": "asc",
        "repeatDirection": "h",
        "transparent": False,
        "type": "timeseries",
    },
    "stat": {
        "options.colorMode": "value",
        "options.graphMode": "area",
        "options.justifyMode": "auto",
        "options.orientation": "auto",
        "options.percentChangeColorMode": "standard",
        "options.reduceOptions.calcs": [],
        "options.showPercentChange": False,
        "options.textMode": "auto",
        "options.wideLayout": True,
        "repeatDirection": "h",
        "transparent": False,
        "type": "stat",
    },
    "table": {
        "fieldConfig.defaults.custom.align": "auto",
        "fieldConfig.defaults.custom.inspect": False,
        "fieldConfig.overrides": [],
        "options.cellHeight": "sm",
        "options.footer.countRows": False,
        "options.footer.reducer": [],
        "options.footer.show": False,
        "options.frameIndex": 0,
        "options.showHeader": True,
        "options.showTypeIcons": False,
        "repeatDirection": "h",
        "transparent": False,
        "type": "table",
    },
    "heatmap": {
        "fieldConfig.overrides": [],
        "options.calculate": False,
        "options.cellGap": 1,
        "options.color.exponent": 0.5,
        "options.color.fill": "dark-orange",
        "options.color.reverse": False,
        "options.color.scheme": "Oranges",
        "options.color.steps": 64,
        "options.exemplars.color": "rgba(255,0,255,0.7)",
        "options.filterValues.le": 1e-09,
        "options.legend.show": True,
        "options.selectionMode": "x",
        "options.showValue": "auto",
        "options.tooltip.mode": "single",
        "repeatDirection": "h",
        "transparent": False,
        "type": "heatmap",
    },
    "text": {
        "options.content": "# Title\n\nFor markdown syntax help: [commonmark.org/help](https://commonmark.org/help/)",
        "options.mode": "markdown",
        "repeatDirection": "h",
        "transparent": False,
        "type": "text",
    },
}
"""What the SDK writes into an object of which nobody asked anything: `generate.py` drops what does harm."""


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")  # which no file can provision
def test_the_sdk_adds_no_constant_that_nobody_reviewed() -> None:
    """Nothing that the SDK adds of its own is new; a link's placement, which hides it, is in no dashboard."""
    sdk = pytest.importorskip("grafana_foundation_sdk.builders.dashboard")
    from grafana_foundation_sdk.builders import heatmap, stat, table, text, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    made = {
        "link": sdk.DashboardLink(""),
        "annotation": sdk.AnnotationQuery(),
        "row": sdk.Row(""),
        "dashboard": sdk.Dashboard(""),
        "query variable": sdk.QueryVariable("x"),
        "datasource variable": sdk.DatasourceVariable("x"),
        "timeseries": timeseries.Panel(),
        "stat": stat.Panel(),
        "table": table.Panel(),
        "heatmap": heatmap.Panel(),
        "text": text.Panel(),
    }
    added = {name: _flat(json.loads(JSONEncoder(sort_keys=True).encode(one.build()))) for name, one in made.items()}
    assert added == UNASKED
    for dashboard in DASHBOARDS.values():
        assert dashboard["links"]
        for one in (*dashboard["links"], *dashboard["annotations"]["list"]):
            assert "placement" not in one
            assert one.get("hide") in (None, False)


TOGETHER = {"schema_name": {"schema_module", "job"}, "http_route": {"http_request_method", "job"}}
"""A label → those that tell apart what has the same value of it."""


@pytest.mark.parametrize("name", DASHBOARDS)
def test_nothing_of_one_name_is_one(name: str) -> None:
    """Two schemas of one name, and two endpoints of one route, are two in every query, legend and table."""
    for panel in panels(DASHBOARDS[name]):
        hidden = re.findall(r"by \(([^)]*\babout\b[^)]*)\)", json.dumps(panel.get("targets", [])))
        for target in panel.get("targets", []):
            expr = target["expr"]
            joined = re.findall(r'"(\w+)"', expr.partition('"about", " "')[2].partition(")")[0])
            for by in re.findall(r"(?:by|on) \(([^)]+)\)", expr):
                labels = {label.strip() for label in by.split(",")}
                labels |= set(joined) if "about" in labels else set()
                for label, others in TOGETHER.items():
                    assert label not in labels or others <= labels, f"{panel['title']}: {by}"
            legend = target.get("legendFormat", "")
            assert "schema_name" not in legend or "schema_module" in legend, panel["title"]
            assert "http_route" not in legend or "http_request_method" in legend, panel["title"]
        columns = (
            {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
            if (panel["type"] == "table")
            else set()
        )
        assert "Schema" not in columns or {"Module", "Job"} <= columns or hidden, panel["title"]
        assert "Route" not in columns or {"Method", "Job"} <= columns, panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_own_labels_push_no_number_out_of_sight(name: str) -> None:
    """In a table of a scoped export the own labels are the last columns, and where one has no value there is a dash."""
    given = values.check_values({"selector": 'environment="a",team="a"', "own_labels": "region"})
    for panel in panels(json.loads(rendering.dashboard(name, given))):
        if panel["type"] != "table":
            continue
        order = panel["transformations"][1]["options"]["indexByName"]
        own = {label for label in ("environment", "team", "region") if label in order}
        assert all(order[label] >= max(at for other, at in order.items() if other not in own) for label in own)
        overrides = {(one["matcher"]["id"], one["matcher"]["options"]): one["properties"] for one in
                     panel["fieldConfig"]["overrides"]}  # fmt: skip
        assert {"id": "noValue", "value": "\u2013"} in overrides["byType", "string"]


def test_the_panel_of_an_alert_is_opened_for_its_own_labels(tmp_path: Path) -> None:
    """A row's link chooses the alert's own labels; all of them where it has none, or the team of whom it notifies."""
    given = values.check_values({"own_labels": "region,team", "selector": 'environment="a"'})
    (table,) = (
        panel
        for panel in panels(json.loads(rendering.dashboard("schema-health", given)))
        if panel["title"] == "Alerts That Fire"
    )
    expr = re.sub(r'=~"\$\w+"', '=~".*"', table["targets"][0]["expr"])
    alerts = [
        'alertname="CrashedValidators", severity="critical", job="shop", schema_name="Lead", region="eu", team="x", '
        'environment="a"',
        'alertname="MeasurementsDropped", severity="info", job="shop", region="eu", team="platform", environment="a"',
        'alertname="CollectorDown", severity="critical", job="otelcol", team="platform"',
    ]
    series = [f'ALERTS{{alertstate="firing", {one}}}' for one in alerts]
    series += [f"ALERTS_FOR_STATE{{{one}}}" for one in alerts]
    document = {
        "rule_files": [],
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [{"series": one, "values": "1x10"} for one in series],
                "promql_expr_test": [{"expr": expr, "eval_time": "1m", "exp_samples": []}],
            }
        ],
    }
    (tmp_path / "links.json").write_text(json.dumps(document))
    done = subprocess.run(["promtool", "test", "rules", "links.json"], cwd=tmp_path, capture_output=True, text=True)
    got = sorted(re.findall(r'alertname=\\?"(\w+).*?panel=\\?"[^"]*?viewPanel=\d+([^"\\]*)', done.stdout + done.stderr))
    assert got == [
        ("CollectorDown", "&var-job=otelcol&var-schema=$__all&var-region=$__all&var-team=$__all"),
        ("CrashedValidators", "&var-job=shop&var-schema=Lead&var-region=eu&var-team=x"),
        ("MeasurementsDropped", "&var-job=shop&var-schema=$__all&var-region=eu&var-team=$__all"),
        ("Watchdog", "&var-job=$__all&var-schema=$__all&var-region=$__all&var-team=$__all"),  # no rules are loaded
    ]
