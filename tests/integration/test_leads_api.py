"""The leads API as its users see it: a plain app, before any telemetry."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import func, inspect, select

from leads_api import db
from leads_api.app import app
from leads_api.contacts import is_known
from leads_api.models import Contact
from leads_api.partners import PARTNERS

LEADS = Path(__file__).parents[2] / "examples" / "leads_api"


ALEMBIC = Config(LEADS / "alembic.ini")
LEAD = {
    "name": "Ann Lee",
    "email": "ann@kestrel.example",
    "company": {"name": "Kestrel", "country": "SE"},
    "budget": 500,
    "phones": [{"kind": "work", "number": "+46701234567"}],
    "source": "web",
    "consent": True,
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A migrated SQLite database, which the app in this process uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADS_DATABASE_URL", f"sqlite:///{tmp_path_factory.mktemp('leads')}/leads.sqlite3")
        db.engine.cache_clear()
        command.upgrade(ALEMBIC, "head")
        yield db.engine()
        db.engine().dispose()
        db.engine.cache_clear()


@pytest.fixture
def request_app(database):
    """Send one request to the app through ASGI."""

    def send(method: str, path: str, **options) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://leads") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    return send


def test_a_lead_is_created_found_read_and_enriched(request_app):
    """A created lead is read by id, found by a part of its name, and carries a head count once enriched."""
    created = request_app("POST", "/leads", json=LEAD | {"name": "Zora Quist"})
    assert created.status_code == 201
    lead = created.json()
    assert lead["company"] == "Kestrel"
    assert lead["phones"] == LEAD["phones"]
    assert lead["employees"] is None
    assert request_app("GET", f"/leads/{lead['id']}").json() == lead
    assert request_app("GET", "/leads", params={"q": "ra Qu", "status": "new"}).json() == [lead]
    enriched = request_app("POST", f"/leads/{lead['id']}/enrich", json={"source": "registry"}).json()
    assert enriched["employees"] > 0
    assert enriched == lead | {"status": "enriched", "employees": enriched["employees"]}
    assert request_app("GET", "/leads", params={"q": "ra Qu", "status": "new"}).json() == []


def test_imports_and_webhooks_become_leads(request_app):
    """Bulk imports and both partners' payloads end up as leads of their source, with the fields where they belong."""
    rows = [{"name": f"Row {number}", "email": f"row{number}@x.example", "budget": number} for number in range(3)]
    sent = {
        "import": ("/leads/import", {"batch": "fair", "rows": rows}),
        "acme": ("/partners/acme/webhook", {"contact": {"name": "Cem", "email": "cem@x.example"}, "budget": 7}),
        "globex": ("/partners/globex/webhook", {"referrals": [{"fullName": "Eva", "mail": "eva@x.example"}]}),
    }
    answers = {source: request_app("POST", path, json=body).json() for source, (path, body) in sent.items()}
    assert answers == {"import": {"imported": 3}, "acme": {"imported": 1}, "globex": {"imported": 1}}
    leads = request_app("GET", "/leads", params={"limit": 5}).json()
    assert [(lead["source"], lead["name"], lead["email"], lead["budget"]) for lead in leads] == [
        ("globex", "Eva", "eva@x.example", 0),
        ("acme", "Cem", "cem@x.example", 7),
        ("import", "Row 2", "row2@x.example", 2),
        ("import", "Row 1", "row1@x.example", 1),
        ("import", "Row 0", "row0@x.example", 0),
    ]


def test_a_quote_adds_up(request_app):
    """A quote is the sum of quantity times price over its lines."""
    lines = [{"product": "seat", "quantity": 3, "unit_price": 40}, {"product": "hub", "quantity": 1, "unit_price": 5}]
    assert request_app("POST", "/leads/quote", json=lines).json() == {"lines": 2, "total": 125}


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("POST", "/leads", LEAD | {"budget": -1}, "budget"),
        ("POST", "/leads", {**LEAD, "company": {"name": "Kestrel", "country": "Sweden"}}, "country"),
        ("POST", "/leads", {part: LEAD[part] for part in LEAD if part != "consent"}, "consent"),
        ("GET", "/leads?limit=0", None, "limit"),
        ("GET", "/leads?status=lost", None, "status"),
        ("GET", "/leads/latest", None, "lead_id"),
        ("POST", "/leads/1/enrich", {"source": "hearsay"}, "source"),
        ("POST", "/leads/import", {"batch": "fair", "rows": [{"name": "Bo"}]}, "email"),
        ("POST", "/leads/import", [1], "_schema"),
        ("POST", "/leads/verified", LEAD | {"email": "contact5@crm.example"}, "is a contact already"),
        ("POST", "/leads/quote", [{"product": "seat", "quantity": 0, "unit_price": 4}], "quantity"),
        ("POST", "/partners/acme/webhook", {"contact": {"name": "Ann", "email": "ann"}}, "email"),
        ("POST", "/partners/globex/webhook", {"referrals": [{"mail": "bo@x.example"}]}, "fullName"),
    ],
)
def test_an_invalid_request_is_refused_with_the_field(request_app, method, path, body, complaint):
    """Input that breaks its schema, whichever library holds it, is answered with 422 that names the field at fault."""
    answer = request_app(method, path, json=body)
    assert answer.status_code == 422, answer.text
    assert complaint in answer.text


@pytest.mark.parametrize("path", ["/leads", "/leads/import", "/leads/quote", "/partners/acme/webhook"])
def test_a_body_that_is_not_json_is_refused(request_app, path):
    """A truncated body is answered with 422, never with 500."""
    answer = request_app("POST", path, content=b'{"name": ', headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_what_does_not_exist_is_not_found(request_app):
    """Unknown leads, partners and routes are 404, and a directory that answers nonsense is 502."""
    lead = request_app("POST", "/leads", json=LEAD).json()["id"]
    assert request_app("GET", "/leads/2147483647").status_code == 404
    assert request_app("POST", "/leads/2147483647/enrich", json={"source": "registry"}).status_code == 404
    assert request_app("POST", "/partners/initech/webhook", json={}).status_code == 404
    assert request_app("GET", "/lead").status_code == 404
    assert request_app("POST", f"/leads/{lead}/enrich", json={"source": "legacy"}).status_code == 502


@pytest.mark.parametrize(
    ("email", "known"),
    [
        ("contact17@crm.example", True),
        ("con.tact17+fair@crm.example", True),
        ("Contact17@crm.example", True),
        ("contact17@elsewhere.example", False),
        ("con.tact17@elsewhere.example", False),
    ],
)
def test_a_contact_is_known_under_each_of_its_aliases(database, email, known):
    """Tags, dots and capitals do not hide a contact, and a stranger is none."""
    assert is_known(email) is known


def test_the_look_up_of_an_alias_is_slow_and_that_of_a_plain_address_is_not(database):
    """An alias takes more than five times as long as a plain address, without any sleep."""

    def best(email: str) -> float:
        seconds = []
        for _ in range(40):
            start = time.perf_counter()
            is_known(email)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    assert best("nobody@x.example") < best("no.body@x.example") / 5
    assert not [
        file for file in LEADS.rglob("leads_api/*.py") if "sleep" in file.read_text() and "traffic" not in file.name
    ]


def test_models_and_migrations_agree(database):
    """Autogenerate finds nothing to add to the migrations."""
    command.check(ALEMBIC)


def test_migrations_go_down_again(tmp_path, monkeypatch):
    """A downgrade to base removes every table, and a second upgrade brings the archive back."""
    db.engine().dispose()  # of the tests above
    db.engine.cache_clear()
    monkeypatch.setenv("LEADS_DATABASE_URL", f"sqlite:///{tmp_path}/leads.sqlite3")
    try:
        command.upgrade(ALEMBIC, "head")
        command.downgrade(ALEMBIC, "base")
        assert inspect(db.engine()).get_table_names() == ["alembic_version"]
        command.upgrade(ALEMBIC, "head")
        with db.session() as session:
            assert session.scalar(select(func.count()).select_from(Contact)) > 0
    finally:
        db.engine().dispose()
        db.engine.cache_clear()


def test_partner_schemas_are_schemas_with_a_title():
    """Each partner's JSON Schema is valid in its own draft and has the title that people know it by."""
    titles = []
    for partner in PARTNERS.values():
        partner.validator.check_schema(partner.validator.schema)
        titles.append(partner.validator.schema["title"])
    assert titles == ["AcmeLead", "GlobexReferrals"]


def test_the_app_knows_nothing_of_telemetry():
    """No file of the service names OpenTelemetry: whatever is measured comes from outside."""
    files = list((LEADS / "leads_api").glob("*.py"))
    assert len(files) > 10
    assert not [file.name for file in files if re.search("opentelemetry|prometheus", file.read_text(), re.IGNORECASE)]
