"""The leads API serves the schema that fits the revision it finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from opentelemetry.instrumentation.schema._schemas import migrations

from leads_api import db, revision
from leads_api.app import app

LEADS = Path(__file__).parents[2] / "examples" / "leads_api"


NEXT = Config(LEADS / "alembic.ini", ini_section="next")
LEAD = {
    "name": "Ann Lee",
    "email": "ann@kestrel.example",
    "company": {"name": "Kestrel", "country": "SE"},
    "budget": 500,
    "source": "web",
    "consent": True,
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The app on a database at today's revision; what it knows of the revision is never older than a request."""
    monkeypatch.setenv("LEADS_DATABASE_URL", f"sqlite:///{tmp_path / 'leads.sqlite3'}")
    monkeypatch.setattr(revision, "SECONDS", 0.0)
    db.engine.cache_clear()
    revision.forget()
    command.upgrade(NEXT, "0002")
    with TestClient(app) as made:
        yield made
    db.engine().dispose()
    db.engine.cache_clear()
    revision.forget()


def post(client: TestClient, **more: str) -> httpx.Response:
    return client.post("/leads", json=LEAD | more)


def test_a_downgrade_restores_service(client: TestClient) -> None:
    """The new revision turns clients of before away, and after the downgrade they are served as before."""
    assert post(client).status_code == 201
    command.upgrade(NEXT, "head")
    refused = post(client)
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "region"])
    created = post(client, region="NA")
    assert (created.status_code, created.json()["region"]) == (201, "NA")
    command.downgrade(NEXT, "0002")
    again = post(client)
    assert again.status_code == 201
    assert "region" not in again.json()


def test_what_the_release_before_writes_is_kept(client: TestClient) -> None:
    """At the new revision, the endpoints that do not know the region yet go on."""
    command.upgrade(NEXT, "head")
    assert client.post("/leads/import", json={"leads": []}).status_code in (200, 422)
    assert client.post("/leads/verified", json=LEAD).status_code == 201
    assert client.get("/leads").status_code == 200


def test_a_migration_in_the_very_second_fails_no_request(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the app does not know yet that the revision changed, requests with the region are served, up and down."""
    assert post(client, region="NA").status_code == 201
    monkeypatch.setattr(revision, "SECONDS", 1000.0)
    revision.forget()
    assert post(client, region="NA").status_code == 201
    command.upgrade(NEXT, "head")
    assert post(client, region="NA").status_code == 201
    revision.forget()
    assert post(client, region="NA").json()["region"] == "NA"
    command.downgrade(NEXT, "0002")
    answer = post(client, region="APAC")
    assert (answer.status_code, answer.json()["region"]) == (201, "APAC")


def test_todays_release_does_not_know_the_next_revision() -> None:
    """alembic.ini's own section ends at today's revision; the section `next` has one more."""
    today, upcoming = migrations.find(LEADS, {})
    assert (today.read_graph().heads, upcoming.read_graph().heads) == (("0002",), ("0003",))


def test_the_how_to_shows_what_the_example_does() -> None:
    """The block of the how-to holds a route class and a router, and its rule is the example's."""
    page = (LEADS.parents[1] / "docs/how-to" / "revisions.md").read_text()
    block = page.partition("```python\n")[2].partition("```")[0]
    compile(block, "revisions.md", "exec")
    rule = 'super().matches(scope) if current() >= "0003" else (Match.NONE, {})'
    assert rule in block
    assert rule.replace('"0003"', "self.revision") in (LEADS / "leads_api/revision.py").read_text()
