"""Two teams, one Prometheus, Alertmanager and set of collectors: one team has every fault, the other is at half."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds, values

from tests.dashboards import promql
from tests.dashboards.lint import panels
from tests.dashboards.stack import Alertmanager, Webhook, points, refusing_hop
from tests.pipeline.programs import AGENT, Collector, Program, Prometheus, built, eventually, free_port, get

pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
QUICK = {
    parameter.name: "2s"
    for parameter in thresholds.PARAMETERS
    if parameter.kind == "duration" and parameter.default != "0s"
} | {
    "group_wait": "1s", "group_interval": "2s", "missing_after": "2m", "absent_for": "30s",
    "deadman_interval": "2s",
    "p95_seconds": "0.25", "slo_seconds": "0.25", "query_seconds": "0.25", "burn_1h": "5", "burn_6h": "4",
}  # fmt: skip
APP_ALERTS = {
    "HighValidationErrorRate", "HighValidationTime", "LowCacheHitRate", "HighEndpointErrorRate", "CrashedValidators",
    "ValidationBudgetBurn", "SlowLinkedQueries", "ValidatorBuiltPerCall", "MeasurementsDropped",
    "SchemaTelemetryErrors", "SeveralSchemaVersions", "QueriesInValidators", "SchemaMismatch",
}  # fmt: skip
GENERIC = ("cache_misses_total", "validation_errors_total", "api_requests_total")
COLLECTOR_ALERTS = {"CollectorQueueFilling", "CollectorExportFailing", "CollectorRefusing", "CollectorDown"}


class TeamApp(Program):
    """One team's app, scraped at its own endpoint, with its spans sent to the shared collector."""

    patience = 180.0

    def __init__(self, home: Path, faulty: bool, otlp: str, version: str = "1") -> None:
        self.port, self.metrics, self.faulty = free_port(), free_port(), faulty
        self.url = f"http://127.0.0.1:{self.port}"
        env = {
            "PYTHONPATH": str(HERE), "FAULTY": str(int(faulty)), "VERSION": version,
            "TEAM_DATABASE": str(home / "team.sqlite3"),
            "OTEL_SERVICE_NAME": "shop", "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.metrics),
            "OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}", "OTEL_PYTHON_SCHEMA_SLOW_MS": "250",
        }  # fmt: skip
        serve = [sys.executable, "-m", "uvicorn", "team_app:app", "--host", "127.0.0.1", "--port", str(self.port)]
        instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
        super().__init__("team", [instrument, *serve, "--no-access-log"], home, env)

    def ready(self) -> bool:
        return "ok" in get(f"{self.url}/healthz")

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method="POST")
        try:
            urllib.request.urlopen(request, timeout=20).close()
        except urllib.error.HTTPError as refused:
            refused.close()


class Traffic:
    """Requests to an app until it is left: a fifth of them invalid if the app is faulty, else one in 300."""

    def __init__(self, app: TeamApp) -> None:
        self._app, self._over = app, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(13)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        chance, sent = random.Random(number), 0
        while not self._over.wait(0.02):
            sent += 1
            try:
                if number == 0:
                    self._app.post("/fault")
                    for _ in range(4):
                        self._app.post("/build")
                    self._over.wait(2)
                else:
                    invalid = chance.random() < 0.2 if self._app.faulty else (sent + number * 20) % 300 == 0
                    self._app.post("/leads", {} if invalid else {"value": 1})
            except OSError:  # the app was stopped
                return


class Stranger:
    """Series of others under our generic names, as bad as can be, and a foreign collector's."""

    def __init__(self) -> None:
        began = time.time()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                grown = int((time.time() - began) * 1000)
                lines = [
                    *(f"{name}{labels} {grown}" for name in GENERIC for labels in ("", '{code="200"}')),
                    "cache_hits_total 0",
                    'otelcol_exporter_queue_size{exporter="x",data_type="traces"} 10',
                    'otelcol_exporter_queue_capacity{exporter="x",data_type="traces"} 10',
                    f'otelcol_exporter_send_failed_spans_total{{exporter="x"}} {grown}',
                    f'otelcol_receiver_refused_spans_total{{receiver="x"}} {grown}',
                ]  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("\n".join([*lines, ""]).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Stranger:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def team(name: str) -> dict[str, str]:
    """What a team exports with."""
    return values.check_values({**QUICK, "selector": f'environment="{name}", team="{name}"', "prefix": f"team-{name}"})


@dataclass
class Installation:
    """What runs."""

    server: Prometheus
    webhook: Webhook
    apps: dict[str, TeamApp]
    other: TeamApp
    collectors: list[Collector]

    def await_firing(self, alerts: set[str], matchers: str, deadline: float) -> None:
        """Return when all of the alerts fire. Raises AssertionError with those that do not."""
        until, lacking = time.monotonic() + deadline, alerts
        while lacking:
            assert time.monotonic() < until, f"not firing within {deadline} s: {lacking}"
            time.sleep(0.5)
            lacking = alerts - self.firing(matchers)

    def firing(self, matchers: str) -> set[str]:
        """Names of the alerts that fire now."""
        found = self.server.query(f'ALERTS{{alertstate="firing", {matchers}}}')
        return {labels["alertname"] for labels, _ in found}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = {name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")}
    if missing := [name for name, path in found.items() if path is None]:
        message = f"not on PATH: {', '.join(missing)} (Debian packages)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with shared(tmp_path_factory.mktemp("teams"), **found) as running:
        yield running


@contextmanager
def shared(home: Path, **found: str | None) -> Iterator[Installation]:
    """What both teams share, with their apps under traffic.

    Args:
        home: A folder for everything.
        found: Where the programs are.
    """
    otelcol = built("small")
    with ExitStack() as programs:
        enter = programs.enter_context
        webhook, stranger, hop = enter(Webhook()), enter(Stranger()), enter(refusing_hop())
        refused = enter(Collector(otelcol, AGENT, home / "refused", name="refused", OTELCOL_NEXT=hop))
        nowhere = f"127.0.0.1:{free_port()}"
        full = Collector(otelcol, AGENT, home / "full", name="full", OTELCOL_NEXT=nowhere, OTELCOL_QUEUE_SIZE="3")
        for collector in (refused, enter(full)):
            enter(points(collector.otlp))
        apps = {name: enter(TeamApp(home / name, name == "a", refused.otlp)) for name in ("a", "b")}
        other = enter(TeamApp(home / "other", True, refused.otlp, "2"))  # a's other instance, with another version
        other.post("/leads", {"value": 1})
        urls = {"webhook_url": webhook.url, "deadman_url": f"{webhook.url}/deadman", "progress_url": webhook.url}
        platform = {**QUICK, **urls, "own_labels": "environment,team", "teams": "a,b", "smtp": "127.0.0.1:1"}
        manager = enter(Alertmanager(found["prometheus-alertmanager"], home / "manager", values.check_values(platform)))
        (home / "rules").mkdir(parents=True)
        for name in ("a", "b"):  # each team's whole export, with the rules of the collectors too
            for path, text in rendering.files(team(name)):
                if path.startswith("prometheus/rules/"):
                    (home / "rules" / Path(path).name).write_text(text.replace("interval: 2m", "interval: 2s"))

        def scraped(text: str) -> str:
            settings = yaml.safe_load(text)

            def job(name: str, *ports: int, **labels: str) -> dict[str, Any]:
                return {"job_name": name, "static_configs": [
                    {"targets": [f"127.0.0.1:{port}" for port in ports], "labels": labels}
                ]}  # fmt: skip

            settings["rule_files"] = [str(home / "rules" / "*.yml")]
            telemetry = [collector.ports["telemetry"] for collector in (refused, full)]
            settings["scrape_configs"] = [
                {**job("shop", apps["a"].metrics, other.metrics, environment="a", team="a")},
                {**job("otelcol", *telemetry)},
                {**job("stranger", stranger.port)},
                {**job("stranger-in-b", stranger.port, environment="b", team="b")},
                {**job("foreign-otelcol", stranger.port, free_port())},
            ]
            settings["scrape_configs"][0]["static_configs"] += job("", apps["b"].metrics, environment="b", team="b")[
                "static_configs"
            ]
            return yaml.safe_dump(settings)

        server = enter(Prometheus(found["prometheus"], "app.yml", home / "tsdb", {9093: manager.port}, edit=scraped))
        for app in apps.values():
            enter(Traffic(app))
        yield Installation(server, webhook, apps, other, [refused, full])


def test_every_fault_of_one_team(installation: Installation) -> None:
    """Every alert about an app fires for the team that has the fault, and none for the other; so do the collectors'."""
    installation.await_firing(APP_ALERTS, 'environment="a"', 240)

    def burning() -> bool:
        found = installation.server.query('ALERTS{alertname="ValidationBudgetBurn", alertstate="firing"}')
        return {labels["long"] for labels, _ in found} == {"1h", "6h", "1d", "3d"}

    eventually(burning, "the budget burns over all windows")
    installation.await_firing(COLLECTOR_ALERTS - {"CollectorDown"}, 'team="platform"', 180)
    silent_for_others(installation)


def silent_for_others(installation: Installation) -> None:
    """Nothing has fired for b, for a stranger or for a foreign collector; b counted all the while."""
    ever = 'count by (alertname, environment, job) (count_over_time(ALERTS{alertstate="firing"}[1h]))'
    fired = [labels for labels, _ in installation.server.query(ever)]
    assert [labels for labels in fired if labels.get("environment") == "b"] == []
    assert {labels["job"] for labels in fired if "job" in labels} == {"shop", "otelcol"}
    (rate,) = installation.server.query(
        'sum(rate(api_requests_total{http_request_method="POST", environment="b"}[1m]))'
    )
    assert rate[1] > 1


def test_only_its_team_is_told(installation: Installation) -> None:
    """Every message about an app names its environment and goes to team a or, about telemetry, to the platform."""

    def notified() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for _, _, message in installation.webhook.messages:
            for alert in message["alerts"]:
                found.setdefault(message["receiver"], set()).add(alert["labels"]["alertname"])
        return found

    telemetry = {"MeasurementsDropped", "SchemaTelemetryErrors"}
    apps = APP_ALERTS - telemetry - {"HighValidationTime"}  # which the budget's critical alert inhibits
    eventually(lambda: notified().get("a", set()) | notified().get("a-pager", set()) >= apps, "team a is notified")
    eventually(lambda: notified().get("platform", set()) >= telemetry, "the platform's team is notified")
    assert set(notified()) <= {"a", "a-pager", "platform", "platform-pager", "deadman"}
    for _, _, message in installation.webhook.messages:
        for alert in message["alerts"]:
            if alert["labels"]["alertname"] in APP_ALERTS:
                assert alert["labels"]["environment"] == "a"
                assert message["groupLabels"]["environment"] == "a"


def test_collectors_and_watchdog_are_told_once(installation: Installation) -> None:
    """Two exports with the same collector rules give one alert each, and the platform's team hears of it once."""
    installation.collectors[0].kill()
    installation.await_firing({"CollectorDown"}, 'team="platform"', 60)
    heard: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def collect() -> bool:
        heard.clear()
        for _, _, message in installation.webhook.messages:
            for alert in message["alerts"]:
                labels = alert["labels"]
                if labels["alertname"] in COLLECTOR_ALERTS and alert["status"] == "firing":
                    key = tuple(
                        labels.get(name, "")
                        for name in ("alertname", "instance", "exporter", "receiver", "data_type", "signal")
                    )
                    heard.setdefault(key, []).append((message["receiver"], json.dumps(labels, sort_keys=True)))
        return {key[0] for key in heard} >= COLLECTOR_ALERTS

    eventually(collect, "messages about the collectors")
    for key, messages in heard.items():
        assert len(set(messages)) == 1, (key, messages)
        assert messages[0][0] in ("platform", "platform-pager")

    def watched() -> set[tuple[str, int]]:
        found = [message for _, _, message in installation.webhook.messages]
        beats = [message for message in found if message["groupLabels"].get("alertname") == "Watchdog"]
        return {(message["receiver"], len(message["alerts"])) for message in beats}

    assert eventually(watched, "the heartbeat") == {("deadman", 1)}
    silent_for_others(installation)


LINKS = [
    rule
    for _, text in rendering.rules(team("a"))
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
    if rule.get("alert") in APP_ALERTS | COLLECTOR_ALERTS
]


@pytest.mark.parametrize("rule", LINKS, ids=lambda rule: rule["alert"] + rule["labels"].get("long", ""))
def test_the_panel_shows_the_alerts_number(installation: Installation, rule: dict[str, Any]) -> None:
    """What an alert says at a moment the panel that its link opens shows at that moment, with the link's variables."""
    deadline = time.monotonic() + 60
    while hidden := hidden_numbers(installation.server, rule, time.time() - 10):  # that moment's samples are stored
        # A recording rule misses a sample that a busy Prometheus stores after the rule's evaluation.
        assert rule["alert"] == "HighValidationErrorRate", hidden
        assert time.monotonic() < deadline, hidden
        time.sleep(1)


def hidden_numbers(server: Prometheus, rule: dict[str, Any], at: float) -> list[Any]:
    """Numbers of an alert that its panel does not show, with the numbers that the panel shows."""
    if rule["alert"] == "HighValidationErrorRate":
        # it compares what it reads itself: at its evaluation that is what was recorded
        recorded = 'timestamp(team_a:all:validation_errors:ratio_rate1m{environment="a"})'
        at = float(server.api("query", query=recorded, time=at)["result"][0]["value"][1])
    found = [
        (row["metric"], float(row["value"][1])) for row in server.api("query", query=rule["expr"], time=at)["result"]
    ]
    assert found, f"{rule['alert']} is not over its limit"
    hidden = []
    for labels, value in found:
        url = re.sub(
            r"\{\{ \$labels\.(\w+) \| urlquery \}\}",
            lambda mark, labels=labels: labels.get(mark[1], ""),
            rule["annotations"]["dashboard_url"],
        )
        asked = parse_qs(urlsplit(url).query)
        name = urlsplit(url).path.split("/")[2].removeprefix("team-a-")
        dashboard = json.loads(rendering.dashboard(name, team("a")))
        chosen = {f"${variable['name']}": ".*" for variable in dashboard["templating"]["list"]}
        chosen |= {
            f"${key.removeprefix('var-')}": re.escape(one).replace("\\", "\\\\")
            for key, (one,) in asked.items()
            if key.startswith("var-")
        }
        (panel,) = [panel for panel in panels(dashboard) if panel["id"] == int(asked["viewPanel"][0])]
        shown = [
            float(row["value"][1])
            for target in panel["targets"]
            for row in server.api(
                "query", query=promql.resolved(target["expr"], {**promql.GRAFANA, **chosen}), time=at
            )["result"]
        ]
        if not any(math.isclose(value, one, rel_tol=1e-9) for one in shown):
            hidden.append((rule["alert"], labels, value, shown))
    return hidden


def test_a_team_that_falls_silent(installation: Installation) -> None:
    """When one team's app is gone that is noticed although the other's reports on, which nobody misses."""
    gone = {"SchemaTelemetryMissing", "SchemaTelemetryAbsent"}
    minutes = 'max(team_a:job:schema_telemetry_minutes:count{environment="a"}) >= 1'
    eventually(lambda: installation.server.query(minutes), "a was seen at a full minute", 180)
    for app in (installation.apps["a"], installation.other):
        app.kill()
    installation.await_firing(gone, 'environment="a"', 120)
    silent_for_others(installation)
