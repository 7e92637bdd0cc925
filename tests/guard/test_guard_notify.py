"""Progress of an incident through a real Alertmanager with the shipped config, heard by a webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema._migrations.guard.notify import Incident, Phase
from opentelemetry.instrumentation.schema._monitoring import thresholds
from opentelemetry.instrumentation.schema._prometheus.http import DEFAULT, Access

from tests.dashboards.stack import Alertmanager, Webhook
from tests.guard.store import binary
from tests.pipeline.programs import eventually, free_port, get

PHASES: tuple[Phase, ...] = ("degraded", "rolling_back", "rolled_back", "recovered")
LABELS = {"schema_migration_tool": "alembic", "db_namespace": "leads"}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Alertmanager, Webhook]]:
    """An Alertmanager, and who it notifies."""
    home = tmp_path_factory.mktemp("alertmanager")
    (home / "secrets").mkdir()
    for name in ("slack-url", "pagerduty-key", "platform-pagerduty-key", "smtp-password"):
        (home / "secrets" / name).write_text("http://127.0.0.1:9/")
    with Webhook() as webhook:
        urls = {"progress_url": f"{webhook.url}/progress", "webhook_url": webhook.url, "deadman_url": webhook.url}
        values = {**thresholds.DEFAULTS, **urls, "secrets_dir": str(home / "secrets")}
        with Alertmanager(binary("alertmanager", "prometheus-alertmanager"), home, values) as manager:
            yield manager, webhook


def firing(webhook: Webhook, incident: str) -> list[dict[str, Any]]:
    """The alerts of an incident in the order in which the webhook heard of them."""
    return [
        alert
        for _, path, message in webhook.messages
        if path == "/progress" and message["status"] == "firing"
        for alert in message["alerts"]
        if alert["labels"]["incident_id"] == incident
    ]


@pytest.mark.nightly
def test_phases_arrive_in_order(heard: tuple[Alertmanager, Webhook]) -> None:
    """Phases that are entered at once arrive one by one in their order, each with its number and its words."""
    manager, webhook = heard
    incident = Incident(manager.url, DEFAULT, LABELS)
    for phase in PHASES:
        incident.enter(phase, f"it is {phase}")
    assert incident.close(30)
    eventually(lambda: len(firing(webhook, incident.id)) >= len(PHASES), "every phase", 30)
    arrived = firing(webhook, incident.id)
    assert [(alert["labels"]["sequence"], alert["labels"]["phase"]) for alert in arrived] == [
        (str(number), phase) for number, phase in enumerate(PHASES, 1)
    ]
    assert [alert["annotations"]["summary"] for alert in arrived] == [each.summary for each in incident.phases]
    assert all(LABELS.items() <= alert["labels"].items() for alert in arrived)


@pytest.mark.nightly
def test_a_phase_that_comes_again_stands_behind(heard: tuple[Alertmanager, Webhook]) -> None:
    """A second signal that degrades waits for the group interval of the first, and what follows stands behind both."""
    manager, webhook = heard
    incident = Incident(manager.url, DEFAULT, LABELS)
    incident.enter("degraded", "validation time")
    incident.enter("degraded", "validation errors")
    incident.enter("failed", "nothing was rolled back")
    assert incident.close(40)
    eventually(lambda: any(alert["labels"]["sequence"] == "3" for alert in firing(webhook, incident.id)), "all", 30)
    seen = list(dict.fromkeys(alert["labels"]["sequence"] for alert in firing(webhook, incident.id)))
    assert seen == ["1", "2", "3"]


def test_the_end_is_kept_ahead(heard: tuple[Alertmanager, Webhook]) -> None:
    """While an incident is open its phases end later and later, by as much as was asked for."""
    manager, _ = heard
    incident = Incident(manager.url, DEFAULT, LABELS, ahead=10)
    entered = incident.enter("degraded", "it is degraded")

    def end() -> str:
        alerts = json.loads(get(f"{manager.url}/api/v2/alerts"))
        return max((each["endsAt"] for each in alerts if each["labels"]["incident_id"] == incident.id), default="")

    first = eventually(end, "the alert")
    assert datetime.fromisoformat(first.replace("Z", "+00:00")).timestamp() - entered.at >= 9.9
    eventually(lambda: end() > first, "a later end")
    incident.close()


def test_no_alertmanager_changes_nothing() -> None:
    """Where nobody listens, phases are kept, the user hears of it once, and the end comes all the same."""
    notices: list[str] = []
    incident = Incident(f"http://127.0.0.1:{free_port()}", Access(timeout=1), LABELS, notices.append)
    for phase in PHASES:
        incident.enter(phase, "x")
    eventually(lambda: notices, "the notice")
    assert not incident.close(1.5)
    assert len(notices) == 1
    assert [each.phase for each in incident.phases] == list(PHASES)


def test_without_a_url_nobody_is_notified(tmp_path: Path) -> None:
    """Phases are kept for the history also where there is no Alertmanager."""
    incident = Incident(None, DEFAULT, LABELS)
    incident.enter("degraded", "x")
    assert incident.close()
    assert [each.phase for each in incident.phases] == ["degraded"]
