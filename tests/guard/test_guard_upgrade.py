"""`upgrade --guard` on real parts: an app under load, Prometheus, Alertmanager, a webhook, a database."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._monitoring import thresholds

from programs import Program, eventually, free_port, get
from stack import Alertmanager, Webhook
from store import Past, Store, binary

HERE = Path(__file__).parent
MIGRATIONS = {
    "0001": (
        "None",
        'op.create_table("leads", sa.Column("id", sa.Integer, primary_key=True))',
        'op.drop_table("leads")',
    ),
    "0002": ('"0001"', 'op.create_index("leads_id", "leads", ["id"])', 'op.drop_index("leads_id", "leads")'),
    "0003": (
        '"0002"',
        'op.add_column("leads", sa.Column("region", sa.String(4)))',
        'op.drop_column("leads", "region")',
    ),
}
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ.get("SHOP_URL")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


class Shop(Program):
    """The app, with its metrics on an endpoint."""

    patience = 180.0  # on a busy machine

    def __init__(self, home: Path, database: Path, **env: str) -> None:
        self.port, self.metrics = free_port(), free_port()
        bin_ = Path(sys.executable).parent
        command = [bin_ / "opentelemetry-instrument", bin_ / "uvicorn", "shop_app:app", "--port", self.port]
        variables = {
            "PYTHONPATH": str(HERE),
            "SHOP_DATABASE": str(database),
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.metrics),
            **env,
        }
        super().__init__("shop", [str(each) for each in (*command, "--no-access-log")], home, variables)

    def ready(self) -> bool:
        return bool(get(f"http://127.0.0.1:{self.metrics}/metrics"))

    def post(self, lead: dict[str, str]) -> None:
        """Sends a lead; whatever the answer."""
        body = json.dumps(lead).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/leads", body, {"Content-Type": "application/json"}
        )
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass  # a busy machine


@contextmanager
def load(shop: Shop, per_second: float) -> Iterator[None]:
    """Leads as they come all day; one in a thousand is invalid."""
    done = threading.Event()

    def run() -> None:
        number = 0
        while not done.wait(3 / per_second):
            number += 1
            shop.post({"name": "x"} if number % 1000 else {})

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@dataclass
class World:
    """All parts, as one test needs them."""

    home: Path
    shop: Shop
    prometheus: str
    alertmanager: str
    webhook: Webhook

    def upgrade(self, target: str, *more: str) -> tuple[int, dict[str, Any], str]:
        """Runs the command: its exit code, its JSON object, its stderr."""
        command = [Path(sys.executable).parent / "otel-schema", "upgrade", target, "--json"]
        guard = ["--guard", "80s", "--export-interval", "1s", "--prometheus", self.prometheus, "--match", 'job="shop"']
        done = subprocess.run(
            [*map(str, command), *(guard if "--no-guard" not in more else []), *(m for m in more if m != "--no-guard")],
            cwd=self.home,
            env={**os.environ, "SHOP_URL": f"sqlite:///{self.home / 'shop.db'}"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of the history."""
        lines = (self.home / ".otel-schema" / "history.jsonl").read_text().splitlines()
        return [data for data in map(json.loads, lines) if data["event"] == event]

    def revision(self) -> str:
        """What the database records."""
        with sqlite3.connect(self.home / "shop.db") as connection:
            return str(connection.execute("select version_num from alembic_version").fetchone()[0])


@contextmanager
def world(home: Path, serves_by_revision: bool, **env: str) -> Iterator[World]:
    """Starts everything, and lets a minute of traffic pass."""
    (home / "migrations" / "versions").mkdir(parents=True)
    (home / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (home / "migrations" / "env.py").write_text(ENV)
    for name, (down, up, back) in MIGRATIONS.items():
        (home / "migrations" / "versions" / f"{name}.py").write_text(
            f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{name}"\ndown_revision = {down}\n'
            f"def upgrade():\n    {up}\ndef downgrade():\n    {back}\n"
        )
    (home / "pyproject.toml").write_text(
        f"[tool.otel-schema]\nserves_by_revision = {str(serves_by_revision).lower()}\n"
    )
    for name in ("slack-url", "pagerduty-key", "platform-pagerduty-key", "smtp-password"):
        (home / "secrets").mkdir(exist_ok=True)
        (home / "secrets" / name).write_text("http://127.0.0.1:9/")
    shop = Shop(home, home / "shop.db", **env)
    scrape = (
        "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: shop\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{shop.metrics}']}}]\n"
    )
    with Webhook() as webhook:
        urls = {"progress_url": f"{webhook.url}/progress", "webhook_url": webhook.url, "deadman_url": webhook.url}
        values = {**thresholds.DEFAULTS, **urls, "secrets_dir": str(home / "secrets")}
        manager = Alertmanager(binary("alertmanager", "prometheus-alertmanager"), home / "alertmanager", values)
        store = Store(home / "prometheus", Past(), scrape)
        whole = World(home, shop, store.url, manager.url, webhook)
        whole.upgrade("0001", "--no-guard")
        with shop, manager, store, load(shop, 60):
            counted = 'count_over_time(api_requests_total{job="shop"}[1h]) > 60'
            query = f"{store.url}/api/v1/query?query={urllib.parse.quote(counted)}"
            eventually(lambda: json.loads(get(query))["data"]["result"], "a minute of samples", 200)
            yield whole


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_harmless_then_degraded_then_recovered(tmp_path: Path) -> None:
    """A harmless migration passes; one that demands a field nobody sends is rolled back, and production recovers."""
    with world(tmp_path, True) as whole:
        code, data, errors = whole.upgrade("0002", "--auto-rollback", "--alertmanager", whole.alertmanager)
        assert (code, data["guard"]["verdict"]) == (0, "pass"), (errors, data["guard"]["why"])
        assert whole.events("told") == []
        code, data, errors = whole.upgrade("0003", "--auto-rollback", "--alertmanager", whole.alertmanager)
        assert (code, data["guard"]["verdict"]) == (1, "degraded"), errors
        assert whole.revision() == "0002"
        assert "0003 was never rehearsed" in errors
        phases = ["degraded", "rolling_back", "rolled_back", "recovered"]
        assert [phase for _, phase, _ in data["guard"]["told"]] == phases
        incident = data["guard"]["incident"]
        eventually(lambda: len(heard(whole.webhook, incident)) >= 4, "every notification", 60)
        history = [(told["sequence"], told["phase"], told["summary"]) for told in whole.events("told")]
        assert heard(whole.webhook, incident) == history
        assert [each["phase"] for each in whole.events("told")] == phases
        assert [each["verdict"] for each in whole.events("judged")] == ["pass", "degraded"]
        assert [each["by_guard"] for each in whole.events("started")] == [False, False, False, True]


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_code_that_does_not_fit_is_told_and_nothing_is_rolled_back(tmp_path: Path) -> None:
    """Where the code would not fit the older schema the guard tells, and leaves the database where it is."""
    with world(tmp_path, False) as whole:
        code, data, errors = whole.upgrade("0003", "--auto-rollback", "--alertmanager", whole.alertmanager)
        assert (code, data["guard"]["verdict"]) == (1, "degraded"), errors
        assert whole.revision() == "0003"
        assert "nothing will be rolled back" in errors
        assert [phase for _, phase, _ in data["guard"]["told"]] == ["degraded", "failed"]
        assert "0001" in data["guard"]["not_rolled_back"]
        eventually(lambda: len(heard(whole.webhook, data["guard"]["incident"])) == 2, "both notifications", 60)


def heard(webhook: Webhook, incident: str) -> list[tuple[int, str, str]]:
    """The phases of an incident in the order in which the webhook heard of them."""
    return [
        (int(alert["labels"]["sequence"]), alert["labels"]["phase"], alert["annotations"]["summary"])
        for _, path, message in webhook.messages
        if path == "/progress" and message["status"] == "firing"
        for alert in message["alerts"]
        if alert["labels"]["incident_id"] == incident
    ]
