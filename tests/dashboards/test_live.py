"""Every query of every panel, rule and runbook on real Prometheus servers, and an alert's way to a person."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from opentelemetry.instrumentation.schema._monitoring import thresholds

from tests.dashboards import promql
from tests.dashboards.lint import panels
from tests.dashboards.stack import Stack, stack
from tests.dashboards.test_dashboards import DASHBOARDS
from tests.dashboards.test_runbooks import ALERTS, queries
from tests.dashboards.vocabulary import rules
from tests.pipeline.programs import Prometheus, built, eventually

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

SECONDS = 65  # a minute is counted at its full minute
SCALED = {
    parameter.name: "2s" if parameter.default != "0s" else "0s"
    for parameter in thresholds.PARAMETERS
    if parameter.kind == "duration"
} | {"group_wait": "1s", "group_interval": "2s"}  # fmt: skip
RATE_INTERVAL = "20s"

COLLECTORS = re.compile(r"^up$|\botelcol_")
"""Series of the collectors: on the app's path, where there is none, their panels say so."""

ANY_STATE = re.compile(r'\{schema_db_state=~?"[^"]*"\}')
RANGES = {
    "percentunit": (0, 100),  # errors over requests may pass 1, the burn of a budget is a share of its limit
    "s": (0, 30),
    "ops": (0, 5000),
    "reqps": (0, 5000),
    "short": (0, 100_000),  # counts of ten minutes, more of them the longer the machine takes
}


@contextmanager
def started(home: Path, values: Mapping[str, str]) -> Iterator[Stack]:
    found = {name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")}
    if missing := [name for name, path in found.items() if path is None]:
        message = f"not on PATH: {', '.join(missing)} (Debian packages)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with stack(home, built("small"), found["prometheus"], found["prometheus-alertmanager"], values) as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("live"), thresholds.DEFAULTS | SCALED) as running:
        running.traffic(SECONDS)
        yield running


def variables(server: Prometheus, dashboard: dict[str, Any]) -> dict[str, str]:
    """The dashboard's variables as Grafana resolves them with All chosen, in order, each with those before it."""
    values = {"$__rate_interval": RATE_INTERVAL, "$__range": "1m", "$__interval": "5s"}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        inner, label = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", variable["query"]["query"]).groups()
        match = promql.resolved(inner, values)
        found = server.api(f"label/{label}/values", **{"match[]": match})
        assert found, f"{variable['name']} has no value on this path"
        # twice: once for the regular expression, once for the string that holds it
        listed = "|".join(re.escape(value).replace("\\", "\\\\") for value in found)
        values[f"${variable['name']}"] = variable.get("allValue") or f"({listed})"
    return values


def samples(server: Prometheus, expr: str, target: dict[str, Any]) -> list[float]:
    if target.get("instant"):
        return [value for _, value in server.query(expr) if not math.isnan(value)]
    end = time.time()
    result = server.api("query_range", query=expr, start=end - 30, end=end, step=5)["result"]
    return [float(value) for row in result for _, value in row["values"] if value != "NaN"]


@pytest.mark.parametrize("path", ["app", "collector"])
@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels(live: Stack, name: str, path: str) -> None:
    """Every query of a dashboard gives numbers, of its unit's size, with its variables resolved as Grafana does."""
    server, dashboard = live.servers[path], DASHBOARDS[name]
    values = variables(server, dashboard)
    for panel in panels(dashboard):
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        for target in panel.get("targets", []):
            expr = promql.resolved(target["expr"], values)
            if " offset " in expr:
                continue  # the stack is too young for what was an hour ago
            if path == "app" and any(map(COLLECTORS.search, promql.metrics(target["expr"]))):
                continue
            found = samples(server, expr, target)
            assert found, f"{panel['title']}: {expr} is empty"
            assert not re.search(r"\$\{?[a-z]", expr), f"{panel['title']}: {expr} has an unresolved variable"
            low, high = RANGES.get(unit, (0, math.inf))
            assert all(low <= value <= high for value in found), (panel["title"], unit, sorted(found)[-3:])


@pytest.mark.nightly
def test_panels_as_grafana_makes_them(live: Stack, tmp_path: Path) -> None:
    """Grafana's own data source and transformations make columns with names, numbers with units and whole links of it.

    An endpoint without an observed schema shows a dash.
    """
    if not (PICTURES / "node_modules").is_dir():
        pytest.skip("no node_modules: make dashboards-pictures installs them")
    from dashboards.pictures import draw

    for path, server in live.servers.items():
        asked = [
            {"dashboard": str(draw.JSON / f"{name}.json"), "json": str(tmp_path / f"{name}.json"), "open": True}
            for name in DASHBOARDS
        ]
        draw.shoot(server.url, "5s", asked, tmp_path)
        made = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in DASHBOARDS}
        assert [f"{path} {name}: {fault}" for name in DASHBOARDS for fault in draw.faults(made[name])] == []
        columns = {
            (panel["title"], field["shown"]): field
            for name in ("schema-health", "schema-validation")
            for panel in made[name]["panels"]
            for frame in panel["frames"]
            for field in frame["fields"]
        }
        ranks = columns["Alerts That Fire", "Severity"]
        assert {text["text"] for text in ranks["texts"]} <= {"critical", "warning", "info"}
        shares = columns["Endpoints", "Errors"]
        unobserved = [index for index, value in enumerate(shares["values"]) if value is None]
        validated = columns["Endpoints", "Validations"]["values"]
        assert unobserved == [index for index, value in enumerate(validated) if value is None] != []
        assert {shares["texts"][index]["text"] for index in unobserved} == {"\u2013"}


PICTURES = Path(__file__).parents[2] / "dashboards" / "pictures"


def operands(expr: str) -> list[str]:
    """What an alert compares, so that it can be asked for while nothing is wrong."""
    found = []
    for node in promql.nodes(expr):
        if isinstance(node, promql_parser.BinaryExpr) and str(node.op) in (">", "<", ">=", "<=", "=="):
            found.append(str(node.lhs))
        if isinstance(node, promql_parser.BinaryExpr) and "unless" in str(node.op):
            found.append(str(node.rhs))
        if isinstance(node, promql_parser.Call) and node.func.name == "absent":
            found += map(str, node.args)
    return found


def test_rules(live: Stack) -> None:
    """Every recording rule has numbers, and so has all that an alert compares with its limit."""
    server = live.servers["collector"]
    for rule in rules():
        expr = str(rule["expr"])
        asked = [str(rule["record"])] if "record" in rule else operands(expr) or [expr]
        for expr in asked:
            somehow = ANY_STATE.sub("", expr)  # which of its states a database is in depends on how fast it answered
            found = [value for _, value in server.query(somehow) if not math.isnan(value)]
            assert found, f"{rule.get('alert', rule.get('record'))}: {expr} is empty"


def test_no_rule_fails(live: Stack) -> None:
    """No rule fails on either path (a join of many to many would)."""
    for path, server in live.servers.items():
        groups = server.api("rules")["groups"]
        assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == [], path


@pytest.mark.parametrize("alert", ALERTS)
def test_runbook_queries(live: Stack, alert: str) -> None:
    """Every query of a runbook runs, and gives an answer where there is something to say."""
    for query in queries(alert):
        found = live.servers["collector"].query(query)
        assert found or re.search(r"[><=]=? ?0$", query.strip()), f"{alert}: {query} is empty"


FIRING = {
    "HighValidationErrorRate",
    "HighEndpointErrorRate",
    "CrashedValidators",
    "ValidatorBuiltPerCall",
    "SchemaTelemetryErrors",
    "MeasurementsDropped",
    "CollectorExportFailing",
    "Watchdog",
}
"""What the faults raise, whatever the machine."""


def test_alerts_fire_with_whole_texts(live: Stack) -> None:
    """The injected faults raise their alerts, whose texts and links have no hole and no failed template."""
    found = live.servers["collector"].api("alerts")["alerts"]
    assert {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"} >= FIRING
    for alert in found:
        text = json.dumps(alert["annotations"])
        assert not re.search(r"<no value>|<error|error expanding|\{\{|  | ,|\(\)", text), text


def test_notified_and_resolved(live: Stack) -> None:
    """The promised alert reaches the webhook after its `for`, in one message, with working links; then it resolves."""
    alert = "HighValidationErrorRate"
    server = live.servers["collector"]
    fired = eventually(lambda: live.webhook.of(alert, "firing"), "a message of the promised alert")
    active = min(one["startsAt"] for one in fired[0][1]["alerts"])
    pending = server.query(f'min_over_time(ALERTS_FOR_STATE{{alertname="{alert}"}}[5m])')[0][1]
    assert time_of(active) - pending >= 2  # the scaled `for`
    (first,) = fired[0][1]["alerts"]
    assert first["annotations"]["description"] == ("Validation errors have exceeded 1% for the past 2 seconds.")
    assert first["annotations"]["dashboard_url"].startswith(f"{thresholds.DEFAULTS['grafana_url']}/d/schema-health/")
    runbook = first["annotations"]["runbook_url"].rpartition("/")[2]
    assert (Path(__file__).parents[2] / "docs" / "runbooks" / runbook).exists()
    # no traffic from here on: the one-minute window empties
    (resolved, *_) = eventually(lambda: live.webhook.of(alert, "resolved"), "its end", 120)
    assert resolved[0] > fired[0][0]
    assert len(live.webhook.of(alert, "firing")) == 1


def test_deadman_is_fed(live: Stack) -> None:
    """The dead-man's switch hears of the Watchdog, and of nothing else."""
    eventually(lambda: live.webhook.of("Watchdog", "firing"), "the Watchdog's message")
    heard = {
        message["groupLabels"].get("alertname") for _, path, message in live.webhook.messages if path == "/deadman"
    }
    assert heard == {"Watchdog"}


PHASES = ("investigating", "rolling back", "monitoring", "resolved")


def test_progress(live: Stack) -> None:
    """Each phase of an incident notifies once: as a new alert of the incident's group, while the one before it ends."""
    for number, phase in enumerate(PHASES):
        post(live.alertmanager.url, PHASES[number - 1] if number else None, phase)
        eventually(lambda phase=phase: phase in notified_phases(live), f"the message that it is {phase}")
    post(live.alertmanager.url, PHASES[-1], None)
    eventually(lambda: any(message["status"] == "resolved" for message in progress(live)), "the end of the incident")
    assert notified_phases(live) == list(PHASES)
    assert {path for _, path, message in live.webhook.messages if "incident_id" in message["groupLabels"]} == {
        "/progress"
    }


def post(url: str, ended: str | None, begun: str | None) -> None:
    now = datetime.now(timezone.utc)

    def alert(phase: str, **times: datetime) -> dict[str, Any]:
        labels = {"alertname": "SchemaIncidentProgress", "notification": "progress", "severity": "info"}
        stamps = {key: at.isoformat() for key, at in times.items()}
        return {"labels": {**labels, "incident_id": "42", "phase": phase}, "annotations": {"summary": phase}, **stamps}

    alerts = [alert(ended, endsAt=now)] if ended else []
    alerts += [alert(begun, startsAt=now, endsAt=now + timedelta(hours=1))] if begun else []
    body = json.dumps(alerts).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()


def progress(live: Stack) -> list[dict[str, Any]]:
    return [message for _, path, message in live.webhook.messages if path == "/progress"]


def notified_phases(live: Stack) -> list[str]:
    """The phases, in the order of the first notification about each."""
    firing = [
        alert["labels"]["phase"]
        for message in progress(live)
        for alert in message["alerts"]
        if alert["status"] == "firing"
    ]
    return list(dict.fromkeys(firing))


@pytest.mark.nightly
def test_true_time(tmp_path: Path) -> None:
    """With the shipped values the promised alert arrives after its five minutes, and not before."""
    with started(tmp_path, thresholds.DEFAULTS | {"group_wait": "1s"}) as running:
        began = time.time()
        running.traffic(330)
        alert = "HighValidationErrorRate"
        fired = eventually(lambda: running.webhook.of(alert, "firing"), "a message of the promised alert")
        assert 300 <= fired[0][0] - began <= 400
        (first,) = fired[0][1]["alerts"]
        assert first["annotations"]["description"] == "Validation errors have exceeded 1% for the past 5 minutes."


def time_of(stamp: str) -> float:
    return datetime.fromisoformat(re.sub(r"\.\d+", "", stamp).replace("Z", "+00:00")).timestamp()
