"""A real Alertmanager with the shipped config: secrets, the dead-man's heartbeat, what reaches Slack."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._monitoring import values

from tests.dashboards.stack import Alertmanager, Webhook
from tests.pipeline.programs import eventually

INTERVAL = 2  # s


@pytest.fixture(scope="module")
def notifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Webhook, Alertmanager]]:
    binary = shutil.which("prometheus-alertmanager")
    if binary is None:
        message = "not on PATH: prometheus-alertmanager (Debian package)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    home, elsewhere = tmp_path_factory.mktemp("alertmanager"), tmp_path_factory.mktemp("elsewhere")
    with Webhook() as webhook:
        secrets = home / "secrets"
        secrets.mkdir()
        (secrets / "slack-url").write_text(f"{webhook.url}/slack")
        given = {
            "secrets_dir": str(secrets), "webhook_url": f"{webhook.url}/alerts", "smtp": "127.0.0.1:1",
            "deadman_url": f"{webhook.url}/deadman",
            "deadman_interval": f"{INTERVAL}s", "group_wait": "0s", "group_interval": "1s",
        }  # fmt: skip
        manager = Alertmanager(binary, home, values.check_values(given))
        manager.cwd = elsewhere
        with manager:
            yield webhook, manager


def post(manager: Alertmanager, annotations: dict[str, str], **labels: str) -> None:
    ends = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    body: list[dict[str, Any]] = [{"labels": labels, "annotations": annotations, "endsAt": ends}]
    request = urllib.request.Request(
        f"{manager.url}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()


def sent(webhook: Webhook, path: str) -> list[tuple[float, dict[str, Any]]]:
    return [(at, message) for at, where, message in webhook.messages if where == path]


def test_secrets_are_found_from_anywhere(notifying: tuple[Webhook, Alertmanager]) -> None:
    """Started from another directory than its config's, Alertmanager reads its secret files and reaches Slack."""
    webhook, manager = notifying
    labels = {"job": "shop", "environment": "prod", "schema_name": "<!channel>", "severity": "warning"}
    post(manager, {"summary": "S.", "description": "of <!channel>"}, alertname="HighValidationTime", **labels)
    ((_, message),) = eventually(lambda: sent(webhook, "/slack"), "a message to Slack")[:1]
    (attachment,) = message["attachments"]
    assert message["channel"] == "#schema-alerts"
    assert "&lt;!channel&gt;" in attachment["text"]
    assert "<!channel>" not in json.dumps(message)
    assert "environment=prod" in attachment["text"]


def test_heartbeats_arrive_each_interval(notifying: tuple[Webhook, Alertmanager]) -> None:
    """The dead-man's switch hears of the Watchdog at every interval, not at every second one."""
    webhook, manager = notifying
    post(manager, {}, alertname="Watchdog", severity="none", team="platform")
    beats = eventually(lambda: len(found := sent(webhook, "/deadman")) > 7 and found, "eight heartbeats", INTERVAL * 30)
    times = [at for at, _ in beats]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert statistics.median(gaps) == pytest.approx(INTERVAL, rel=0.3)
