"""Among other people's series: a selector, own labels, a prefix, and strangers under our names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds, values

from tests.dashboards import promql
from tests.dashboards.cases import CASES, HEALTHY
from tests.dashboards.lint import panels
from tests.dashboards.neighbours import (
    OVERALL,
    OWN,
    SELECTED,
    STRANGERS,
    among_strangers,
    beside_a_healthy_one,
    labelled,
    merged,
    narrowed,
    of_another,
    unguarded,
    unscoped,
)
from tests.dashboards.promtool import Case, Promtool

TEAM = values.check_values(
    {
        "selector": 'environment="prod", team=~"leads|shop"',
        "own_labels": "cluster",
        "collector_selector": 'region="eu"',
        "prefix": "leads",
    }
)
CHOSEN, KEPT = {"environment", "team"}, {"job", "cluster", "environment", "team"}
RULES: list[dict[str, Any]] = [
    rule for _, text in rendering.rules(TEAM) for group in yaml.safe_load(text)["groups"] for rule in group["rules"]
]
DASHBOARDS = {name: json.loads(rendering.dashboard(name, TEAM)) for name in rendering.DASHBOARDS}
PROMISED = {"HighValidationErrorRate", "leads:all:validation_errors:ratio_rate1m"}
COLLECTORS = re.compile(r"^otelcol_|^up$|^leads:\w+:otelcol_")


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return Promtool(tmp_path_factory.mktemp("own"), values.check_values(OWN))


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return Promtool(tmp_path_factory.mktemp("selected"), values.check_values(SELECTED))


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return Promtool(tmp_path_factory.mktemp("default"))


def queries() -> Iterator[tuple[str, str]]:
    """Where, and the query: of every panel and variable."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}", target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"{name}: {annotation['name']}", annotation["target"]["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield (
                    f"{name}: ${variable['name']}",
                    re.sub(r"^label_values\((.*), \w+\)$", r"\1", variable["query"]["query"]),
                )


def chosen_by(selector: promql.Selector) -> set[str]:
    """The labels that a selector has to choose by."""
    if selector.name in ("ALERTS", "ALERTS_FOR_STATE"):
        (alerts,) = [value for label, _, value in selector.matchers if label == "alertname"]
        if "Collector" in alerts:
            return {"job", "region"}
        # what is told to the platform's team bears its name
        return set() if alerts == "Watchdog" else CHOSEN - {"team"} if "SchemaTelemetry" in alerts else CHOSEN
    if COLLECTORS.match(selector.name):
        return {"job", "region"}
    return set() if selector.name == "leads:schema_rules:loaded" else CHOSEN


def test_every_query_chooses_by_the_selector() -> None:
    """Every vector selector of every rule, panel and variable has the selector, and those of collectors their own."""
    found = []
    for where, expr in [*queries(), *((str(rule.get("alert", rule.get("record"))), rule["expr"]) for rule in RULES)]:
        for selector in promql.selectors(expr):
            if missing := chosen_by(selector) - selector.labels:
                found.append((where, selector.name, missing))
    assert found == []


def test_every_aggregation_keeps_the_own_labels() -> None:
    """Every by () and on () of every rule and panel names all own labels; rules never aggregate without one."""
    for rule in RULES:
        collectors = any(COLLECTORS.match(name) for name in promql.metrics(rule["expr"]))
        labels = KEPT | {"region"} if collectors else KEPT
        if (
            "validation_errors:ratio_rate1m" in str(rule.get("record"))
            or rule.get("alert") == "HighValidationErrorRate"
        ):
            labels = KEPT - {"job"}  # promised: over all jobs
        assert list(merged(rule["expr"], labels)) == [], rule
        assert not re.search(r"\b(sum|count|max|min|avg)\s*\(", rule["expr"]), rule
    lost = [(where, line) for where, expr in queries() for line in merged(expr, {"job"})]
    lost += [(w, line) for w, e in queries() if "otelcol" not in e and "up{" not in e for line in merged(e, KEPT)]
    assert lost == []


def test_links_and_texts_name_the_own_labels() -> None:
    """Every alert with a job names every own label in its text, and its link sets every own label's variable."""
    for rule in RULES:
        if "alert" not in rule or any(COLLECTORS.match(name) for name in promql.metrics(rule["expr"])):
            continue
        name, notes = rule["alert"], rule["annotations"]
        if name in OVERALL:
            continue
        for label in KEPT - ({"job"} if name == "HighValidationErrorRate" else set()):
            assert f"$labels.{label}" in notes["description"], name
            assert f"var-{label}=" in notes["dashboard_url"] or name == "SchemaTelemetryMissing", name


def test_variables_for_own_labels() -> None:
    """A dashboard has a variable for each own label, and every series of an app is chosen by it."""
    for name, dashboard in DASHBOARDS.items():
        assert {variable["name"] for variable in dashboard["templating"]["list"]} >= KEPT, name
        for where, expr in queries():
            if where.startswith(name) and "$job" in expr and ": $" not in where:
                for selector in promql.selectors(expr):
                    if selector.name.startswith(("ALERTS", "leads:schema_rules:")) or COLLECTORS.match(selector.name):
                        continue
                    labels = KEPT - {"job"} if selector.name.startswith("leads:all:") else KEPT
                    assert {(label, "Re", f"${label}") for label in labels} <= set(selector.matchers), (where, selector)


def test_two_exports_share_no_name() -> None:
    """A prefix tells files, groups, recorded series, dashboards, tags and the PrometheusRule from any other's."""
    plain = thresholds.DEFAULTS

    def names(values: Any) -> set[str]:
        found = {path for path, _ in rendering.files(values) if not path.startswith("alertmanager/")}
        for _, text in rendering.rules(values):
            for group in yaml.safe_load(text)["groups"]:
                found |= {group["name"], *(rule["record"] for rule in group["rules"] if "record" in rule)}
        for name in rendering.DASHBOARDS:
            dashboard = json.loads(rendering.dashboard(name, values))
            found |= {dashboard["uid"], dashboard["title"], *dashboard["tags"]}
        return found | {yaml.safe_load(rendering.prometheus_rule(values))["metadata"]["name"]}

    assert names(plain) & names(TEAM) == set()
    text = "".join(text for _, text in rendering.files(TEAM))
    for name in names(plain):
        if ":" in name:
            assert not re.search(rf"(?<![\w:]){re.escape(name)}", text), f"{name} is read by both"


FIRING = {case.name: case for case in CASES if case.fires is not None and case.name != "Watchdog"}
OWNED = [
    pytest.param(
        case, id=f"{case.alert}: {case.claim}", marks=[] if case is FIRING.get(case.name) else pytest.mark.nightly
    )
    for case in CASES
    if case.name not in OVERALL
]
"""A case of each alert in each change, and all of them at night."""


@pytest.mark.parametrize("case", OWNED)
def test_a_busy_neighbour_hides_nothing(owned: Promtool, case: Case) -> None:
    """With own labels an alert fires at its time for its environment alone, whatever the same app does elsewhere."""
    assert owned.failure(beside_a_healthy_one(case)) == ""


@pytest.mark.parametrize("alert", sorted(set(FIRING) - OVERALL))
def test_another_environments_fault_is_not_ours(selected: Promtool, alert: str) -> None:
    """With a selector nothing that happens outside of it fires."""
    assert selected.failure(of_another(FIRING[alert])) == ""


def test_the_absence_of_ours_is_seen_beside_others(selected: Promtool) -> None:
    """With a selector SchemaTelemetryAbsent fires where only another environment reports."""
    (case,) = [case for case in CASES if case.claim == "nothing since the start"]
    document = narrowed(case)
    series = {**case.series, **labelled(HEALTHY, "b")}
    assert selected.failure(Case(document.alert, document.claim, series, fires=case.fires)) == ""


@pytest.mark.parametrize("alert", sorted(set(FIRING) - {"HighValidationErrorRate"}))
def test_a_stranger_hides_nothing(default: Promtool, alert: str) -> None:
    """Strangers' series under our generic names, and a foreign collector, change no alert's time."""
    assert default.failure(among_strangers(FIRING[alert])) == ""


@pytest.mark.parametrize("scope", ["default", "owned"])
def test_a_stranger_fires_nothing(scope: str, request: pytest.FixtureRequest) -> None:
    """Strangers' series fire nothing on a quiet day, but by default the promised alert, which is everybody's."""
    promtool: Promtool = request.getfixturevalue(scope)
    series = HEALTHY if scope == "default" else labelled(HEALTHY, "a")
    promised = ', alertname!="HighValidationErrorRate"' if scope == "default" else ""
    case = Case("Watchdog", "strangers", {**series, **STRANGERS}, fires=0, until=3600, exact=False)
    quiet = f'alertname!="Watchdog"{promised}'
    files = [str(path) for path in promtool.files.values()]
    assert promtool.verdict(Case(**{**vars(case), "quiet": quiet, "resolved": None}).document(files)) == ""


@pytest.mark.parametrize("case", [c for c in CASES if c.name == "HighValidationErrorRate"], ids=lambda c: c.claim)
def test_a_scope_closes_the_promised_alert(owned: Promtool, case: Case) -> None:
    """With own labels or a selector strangers neither raise nor hide the promised alert."""
    series = {**labelled(case.series, "a"), **labelled(STRANGERS, "a")}
    assert owned.failure(Case(**{**vars(narrowed(case)), "series": series})) == ""


def test_everybodys_names_are_guarded() -> None:
    """Every use of a generic name in rules and panels asks for a label that strangers lack; the promised one apart."""
    plain = [rule for _, text in rendering.rules(thresholds.DEFAULTS) for group in yaml.safe_load(text)["groups"]
             for rule in group["rules"]]  # fmt: skip
    promised = "sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))"
    exprs = [str(rule["expr"]).replace(promised, "vector(0)") for rule in [*plain, *RULES]] + [
        expr for _, expr in queries()
    ]
    assert [line for expr in exprs for line in unguarded(expr)] == []
    assert list(unguarded("sum(cache_hits_total)"))
    assert list(unguarded('api_requests_total{http_route!=""}'))


def test_checks_find_what_they_look_for() -> None:
    """The checks by syntax find a selector without the label and an aggregation that loses it."""
    assert list(unscoped('sum by (job) (x{environment="a"}) / y', {"environment"}))
    assert not list(unscoped('x{environment="a"}', {"environment"}))
    assert len(list(merged("sum by (job) (x) / on (job) group_left () y", {"job", "environment"}))) == 2


@pytest.mark.parametrize("given", [{}, OWN, SELECTED], ids=["default", "own labels", "selector"])
def test_the_promised_expression_is_recorded_as_the_alert_has_it(given: dict[str, str]) -> None:
    """What the panel draws is the alert's own expression, without its limit, in every scope."""
    rules = [
        rule
        for _, text in rendering.rules(values.check_values(given))
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]
    (recorded,) = (
        rule["expr"] for rule in rules if rule.get("record", "").endswith("all:validation_errors:ratio_rate1m")
    )
    (alert,) = (rule["expr"] for rule in rules if rule.get("alert") == "HighValidationErrorRate")
    assert alert.split() == [*recorded.split(), ">", "0.01"]
