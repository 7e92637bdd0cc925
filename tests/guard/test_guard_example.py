"""The guard on the example, all parts real: PostgreSQL, leads API, collector, Prometheus, Alertmanager, a webhook."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from leads_api import exchanges
from leads_api.mixes import STEADY
from tests.dashboards.stack import Alertmanager, Webhook
from tests.databases import Server
from tests.guard.store import binary
from tests.pipeline.programs import ROOT, STANDALONE, Collector, Program, Prometheus, eventually, free_port, get

LEADS = ROOT / "examples" / "leads_api"
BIN = Path(sys.executable).parent
INDEX = """
from alembic import op
revision, down_revision = "0002a", "0002"
def upgrade():
    op.create_index("ix_leads_company", "leads", ["company"])
def downgrade():
    op.drop_index("ix_leads_company", "leads")
"""
REGION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0003", "0002a"
def upgrade():
    op.add_column("leads", sa.Column("region", sa.String(4)))
def downgrade():
    op.drop_column("leads", "region")
"""
"""From which on the API requires a region. Nothing fills the column, so nothing is lost by going back."""

ACCEPTED = """
[[tool.otel-schema.accept]]
schema = "leads_api.*"
field = "budget"
reason = "nobody has so much money"
"""
FITS = f"""
[tool.otel-schema]
modules = ["leads_api.schemas", "leads_api.models"]
{ACCEPTED}
"""
DOES_NOT_FIT = f"""
[tool.otel-schema]
modules = ["leads_api.app"]
{ACCEPTED}
[tool.otel-schema.tables]
"leads_api.upcoming:LeadInRegion" = "leads"
"""
"""The release that goes with 0003: `otel-schema check` finds that 0002a has no column for the region."""


class App(Program):
    """The leads API, as it is, which exports every second."""

    patience = 180.0  # on a busy machine

    def __init__(self, home: Path, database: str, otlp: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        serve = [str(BIN / "uvicorn"), "leads_api.app:app", "--port", str(port), "--no-access-log"]
        super().__init__(
            "app", [str(BIN / "opentelemetry-instrument"), *serve], home, environment(database, otlp, "leads-api")
        )

    def ready(self) -> bool:
        return "ok" in get(f"{self.url}/healthz")


def environment(database: str, otlp: str, service: str) -> dict[str, str]:
    """Of the app and of commands."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": str(LEADS),
        "LEADS_DATABASE_URL": database,
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_LOGS_EXPORTER": "none",
    }


@contextmanager
def clients(url: str, per_second: float, threads: int = 4) -> Iterator[None]:
    """The quiet day's mix, whatever the answers: no client sends a region."""
    done = threading.Event()

    def run(seed: int) -> None:
        rng, ids, kinds = random.Random(seed), list[int](), list(STEADY)
        with httpx.Client(base_url=url, timeout=30) as http:
            while not done.wait(threads / per_second):
                chosen = rng.choices(kinds, [STEADY[kind] for kind in kinds])[0] if ids else exchanges.create
                sent = chosen(rng, ids)
                method = sent.endpoint.split(" ")[0]
                try:
                    answer = http.request(method, sent.path, params=sent.query, json=sent.body)
                except httpx.TransportError:
                    continue  # a busy machine
                if answer.status_code == 201 and sent.endpoint == exchanges.CREATE:
                    ids = [*ids[-50:], answer.json()["id"]]

    running = [threading.Thread(target=run, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in running:
            thread.join()


@dataclass
class World:
    """All parts, in use."""

    home: Path
    env: dict[str, str]
    server: Server
    prometheus: Prometheus
    alertmanager: Alertmanager
    webhook: Webhook

    def otel_schema(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Run a command in the project: its exit code, its JSON object, its stderr."""
        command = [str(BIN / "otel-schema"), *arguments, "--json"]
        done = subprocess.run(command, cwd=self.home, env=self.env, capture_output=True, text=True, timeout=900)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    def guarded(self, target: str, project: str) -> tuple[int, dict[str, Any], str]:
        """Upgrade under the guard, which may roll back."""
        (self.home / "pyproject.toml").write_text(project)
        where = ["--prometheus", self.prometheus.url, "--alertmanager", self.alertmanager.url]
        app = ["--match", 'job="leads-api"', "--export-interval", "1s"]
        return self.otel_schema("upgrade", target, "--guard", "80s", "--auto-rollback", *where, *app)

    def revision(self) -> str:
        """What the database records."""
        database = self.env["LEADS_DATABASE_URL"].rpartition("/")[2]
        return self.server.run(database, "SELECT version_num FROM alembic_version")

    def history(self, event: str) -> list[dict[str, Any]]:
        """Lines of the history."""
        lines = (self.home / ".otel-schema" / "history.jsonl").read_text().splitlines()
        return [data for data in map(json.loads, lines) if data["event"] == event]

    def heard(self, incident: str) -> list[tuple[int, str, str]]:
        """The phases of an incident in the order in which the webhook heard of them."""
        return [
            (int(alert["labels"]["sequence"]), alert["labels"]["phase"], alert["annotations"]["summary"])
            for _, path, message in self.webhook.messages
            if path == "/progress" and message["status"] == "firing"
            for alert in message["alerts"]
            if alert["labels"]["incident_id"] == incident
        ]

    def phases(self, data: dict[str, Any]) -> list[str]:
        """The phases of a command's incident: as it says them, as the history has them and as they were heard."""
        incident = data["guard"]["incident"]
        phases = [(number, phase, summary) for number, phase, summary in data["guard"]["phases"]]
        recorded = [
            (line["sequence"], line["phase"], line["summary"])
            for line in self.history("phase")
            if line["incident"] == incident
        ]
        eventually(lambda: len(self.heard(incident)) >= len(phases), "every notification", 60)
        assert self.heard(incident) == recorded == phases
        return [phase for _, phase, _ in phases]


@contextmanager
def world(home: Path, server: Server, otelcol: Path) -> Iterator[World]:
    """Start everything, and let a minute of traffic pass."""
    database = server.fresh()
    (home / "next").mkdir(parents=True)
    (home / "next" / "0002a_index.py").write_text(INDEX)
    (home / "next" / "0003_region.py").write_text(REGION)
    migrations = LEADS / "migrations"
    (home / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {migrations}\nversion_locations = {migrations / 'versions'}:{home / 'next'}\n"
        "path_separator = os\n"
    )
    with ExitStack() as stack:
        webhook = stack.enter_context(Webhook())
        urls = {"progress_url": f"{webhook.url}/progress", "webhook_url": webhook.url, "deadman_url": webhook.url}
        values = {**thresholds.DEFAULTS, **urls, "secrets_dir": str(home / "secrets")}
        collector = stack.enter_context(
            Collector(otelcol, STANDALONE, home / "collector", OTELCOL_NEXT=f"127.0.0.1:{free_port()}")
        )
        program = binary("alertmanager", "prometheus-alertmanager")
        manager = stack.enter_context(Alertmanager(program, home / "alertmanager", values))
        (home / "prometheus" / "rules").mkdir(parents=True)
        for name, text in rendering.rules(values):
            (home / "prometheus" / "rules" / name).write_text(text)
        ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"], 9093: manager.port}
        prometheus = stack.enter_context(Prometheus(binary("prometheus"), "collector.yml", home / "prometheus", ports))
        env = environment(database, collector.otlp, "otel-schema")
        whole = World(home, env, server, prometheus, manager, webhook)
        whole.otel_schema("upgrade", "0002")
        app = stack.enter_context(App(home / "app", database, collector.otlp))
        stack.enter_context(clients(app.url, 40))
        sampled = 'max(count_over_time(api_requests_total{job="leads-api"}[1h])) > 60'
        eventually(lambda: prometheus.query(sampled), "a minute of samples", 300)
        yield whole


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_the_guard_on_the_example(tmp_path: Path, postgresql: Server, otelcol: Path) -> None:
    """A harmless migration passes; a required field is rolled back, or told where the code would not fit."""
    with world(tmp_path, postgresql, otelcol) as whole:
        code, data, errors = whole.guarded("0002a", FITS)
        signals = data["guard"]["signals"]
        slower = "degraded" in (signals["time"]["verdict"], signals["queries"]["verdict"])  # on a busy machine
        assert (code, data["guard"]["verdict"]) == ((1, "degraded") if slower else (0, "pass")), (errors, signals)
        assert signals["errors"]["verdict"] == "pass"
        assert "at most" in signals["errors"]["says"]
        assert signals["errors"]["at_most"] < signals["errors"]["limit"]
        assert whole.phases(data) == (["degraded", "failed"] if slower else [])
        assert whole.revision() == "0002a"

        code, data, errors = whole.guarded("0003", FITS)
        assert (code, data["guard"]["verdict"]) == (1, "degraded"), errors
        assert whole.phases(data) == ["degraded", "rolling_back", "rolled_back", "recovered"], data["guard"]
        assert whole.revision() == "0002a"
        assert "0003 was never rehearsed" in errors
        assert [each["by_guard"] for each in whole.history("started")] == [False, False, False, True]

        time.sleep(60)  # of ordinary traffic, as the baseline of the next
        code, data, errors = whole.guarded("0003", DOES_NOT_FIT)
        assert (code, data["guard"]["verdict"]) == (1, "degraded"), errors
        assert whole.phases(data) == ["degraded", "failed"]
        assert "--auto-rollback will not roll back" in errors
        assert "does not fit 0002a" in data["guard"]["not_rolled_back"]
        assert whole.revision() == "0003"
        assert [each["verdict"] for each in whole.history("judged")][1:] == ["degraded", "degraded"]

        firing = 'ALERTS{alertname="MigrationDegraded", alertstate="firing", schema_guard_signal="errors"}'
        eventually(lambda: whole.prometheus.query(firing), "the alert", 60)
        code, _, errors = whole.otel_schema("rollback", "0002a")
        assert code == 0, errors
        eventually(lambda: not whole.prometheus.query(firing), "the end of the alert", 60)
