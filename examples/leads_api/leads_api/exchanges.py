"""The kinds of request that clients send, each with what it must bring about in the app.

Which validations FastAPI runs for a request (the same from 0.100 to 0.165):

- every path, query and header parameter that was sent is one validation, named `path.lead_id`, `query.limit`. One that
  was left out takes its default unvalidated: whether a default is validated has changed between versions, so these
  requests always send `limit`, and the other parameters default to None, which never is;
- all parameters and the body are validated even where one of them failed; only then comes the 422;
- the body is one validation, named after its model; one that is not JSON is invalid as well;
- the response model is one validation, unless the endpoint raised or returned a Response.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from leads_api.truth import Truth

Problems = tuple[tuple[str, str], ...]
"""(templated path, rule) of each failed field of one validation."""

LEADS = "GET /leads"
LEAD = "GET /leads/{lead_id}"
CREATE = "POST /leads"
ENRICH = "POST /leads/{lead_id}/enrich"
IMPORT = "POST /leads/import"
VERIFIED = "POST /leads/verified"
QUOTE = "POST /leads/quote"
WEBHOOK = "POST /partners/{partner}/webhook"
HEALTH = "GET /healthz"

NOBODY = 2**31 - 1  # a lead id that no run reaches

NAMES = ("Ann Lee", "Bo Ek", "Cem Ak", "Dana Roy", "Eva Holm", "Femi Obi", "Gus Lind", "Hana Mori")
COMPANIES = ("Nordlicht", "Tidewater", "Bluebird", "Kestrel", "Larkspur")


@dataclass(frozen=True)
class Exchange:
    """A request, the status it must be answered with, and the validations that the app must run for it.

    Attributes:
        endpoint: method and route template.
        path: the path to request.
        status: the status code of a correct app.
        query: query parameters.
        body: bytes are sent as they are, None is no body, anything else is JSON.
        valid: schemas whose validation succeeds.
        invalid: schemas whose validation fails, with the failed fields.
        rebuilt: the schema whose validator is built for this call alone.
        slow: the schema whose validation runs the unindexed look-up.
        queries: the schema whose validation runs a database query.
    """

    endpoint: str
    path: str
    status: int
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    valid: tuple[str, ...] = ()
    invalid: dict[str, Problems] = field(default_factory=dict)
    rebuilt: str | None = None
    slow: str | None = None
    queries: str | None = None

    def count(self, truth: Truth) -> None:
        """Add this exchange, once it happened as stated, to the truth."""
        truth.requests[self.endpoint] += 1
        truth.statuses[self.status] += 1
        for schema in (*self.valid, *self.invalid):
            (truth.rebuilt if schema == self.rebuilt else truth.validators)[self.endpoint, schema] += 1
        for schema, problems in self.invalid.items():
            truth.failures[self.endpoint, schema] += 1
            for path, rule in problems:
                truth.problems[schema, path, rule] += 1
        if self.slow:
            truth.slow[self.slow] += 1
        if self.queries:
            truth.queries[self.queries] += 1


Kind = Callable[[Random, list[int]], Exchange]
"""Makes an exchange from a source of chance and the ids of leads that this client created."""


def _lead(rng: Random) -> dict[str, Any]:
    name = rng.choice(NAMES)
    return {
        "name": name,
        "email": f"{name.split()[0].lower()}{rng.randrange(10**9)}@{rng.choice(COMPANIES).lower()}.example",
        "company": {"name": rng.choice(COMPANIES), "country": rng.choice(("SE", "DE", "NG", "JP"))},
        "budget": rng.randrange(0, 50_000, 500),
        "phones": [{"kind": "work", "number": f"+4670{rng.randrange(10**7):07d}"} for _ in range(rng.randrange(3))],
        "source": rng.choice(("web", "fair", "phone")),
        "consent": True,
    }


def create(rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(CREATE, "/leads", 201, body=_lead(rng), valid=("LeadIn", "LeadOut"))


def create_without_consent(rng: Random, _ids: list[int]) -> Exchange:
    """A client that does not know the new required field."""
    body = _lead(rng)
    del body["consent"]
    return Exchange(CREATE, "/leads", 422, body=body, invalid={"LeadIn": (("consent", "missing"),)})


def create_wrong(rng: Random, _ids: list[int]) -> Exchange:
    body = _lead(rng)
    faults: list[tuple[dict[str, Any], Problems]] = [
        ({"email": "nobody at example"}, (("email", "string_pattern_mismatch"),)),
        ({"budget": -1}, (("budget", "greater_than_equal"),)),
        ({"source": "pigeon"}, (("source", "literal_error"),)),
        ({"company": {"name": "Kestrel", "country": "Sweden"}}, (("company.country", "string_pattern_mismatch"),)),
        (
            {"budget": "much", "phones": [{"kind": "work", "number": "+46701234567"}, {"kind": "work", "number": "?"}]},
            (("budget", "int_parsing"), ("phones.*.number", "string_pattern_mismatch")),
        ),
    ]
    change, problems = rng.choice(faults)
    return Exchange(CREATE, "/leads", 422, body=body | change, invalid={"LeadIn": problems})


def create_garbled(_rng: Random, _ids: list[int]) -> Exchange:
    """Not JSON: FastAPI refuses it before any validator sees it, which is an invalid body all the same."""
    return Exchange(CREATE, "/leads", 422, body=b'{"name": ', invalid={"LeadIn": (("$", "json_invalid"),)})


def list_leads(rng: Random, _ids: list[int]) -> Exchange:
    query = {"limit": str(rng.randint(1, 20))}
    return Exchange(LEADS, "/leads", 200, query=query, valid=("query.limit", "list[LeadOut]"))


def search(rng: Random, _ids: list[int]) -> Exchange:
    query = {"limit": "5", "status": rng.choice(("new", "enriched")), "q": rng.choice(NAMES).split()[1]}
    return Exchange(
        LEADS, "/leads", 200, query=query, valid=("query.limit", "query.status", "query.q", "list[LeadOut]")
    )


def search_wrong(_rng: Random, _ids: list[int]) -> Exchange:
    """One request, two failed validations."""
    return Exchange(
        LEADS,
        "/leads",
        422,
        query={"limit": "0", "status": "lost", "q": "Lee"},
        valid=("query.q",),
        invalid={"query.limit": (("$", "greater_than_equal"),), "query.status": (("$", "literal_error"),)},
    )


def read(rng: Random, ids: list[int]) -> Exchange:
    return Exchange(LEAD, f"/leads/{rng.choice(ids)}", 200, valid=("path.lead_id", "LeadOut"))


def read_nobody(_rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(LEAD, f"/leads/{NOBODY}", 404, valid=("path.lead_id",))


def read_wrong(_rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(LEAD, "/leads/latest", 422, invalid={"path.lead_id": (("$", "int_parsing"),)})


def enrich(rng: Random, ids: list[int]) -> Exchange:
    return Exchange(
        ENRICH,
        f"/leads/{rng.choice(ids)}/enrich",
        200,
        body={"source": "registry"},
        valid=("path.lead_id", "EnrichIn", "CompanyProfile", "LeadOut"),
    )


def enrich_wrong(rng: Random, ids: list[int]) -> Exchange:
    return Exchange(
        ENRICH,
        f"/leads/{rng.choice(ids)}/enrich",
        422,
        body={"source": "hearsay"},
        valid=("path.lead_id",),
        invalid={"EnrichIn": (("source", "literal_error"),)},
    )


def enrich_legacy(rng: Random, ids: list[int]) -> Exchange:
    """The failure is not the client's: the directory answers nonsense."""
    return Exchange(
        ENRICH,
        f"/leads/{rng.choice(ids)}/enrich",
        502,
        body={"source": "legacy"},
        valid=("path.lead_id", "EnrichIn"),
        invalid={"CompanyProfile": (("employees", "int_parsing"),)},
    )


def bulk_import(rng: Random, _ids: list[int]) -> Exchange:
    body = {"batch": "fair", "rows": [_row(rng) for _ in range(rng.randint(2, 12))]}
    return Exchange(IMPORT, "/leads/import", 200, body=body, valid=("BulkImport", "ImportSummary"))


def bulk_import_wrong(rng: Random, _ids: list[int]) -> Exchange:
    rows = [_row(rng) for _ in range(4)]
    del rows[1]["email"]
    rows[3]["budget"] = "unknown"
    problems = (("rows.*.email", "required"), ("rows.*.budget", "invalid"))
    return Exchange(
        IMPORT, "/leads/import", 422, body={"batch": "fair", "rows": rows}, invalid={"BulkImport": problems}
    )


def _row(rng: Random) -> dict[str, Any]:
    lead = _lead(rng)
    return {part: lead[part] for part in ("name", "email", "budget")}


def webhook(rng: Random, _ids: list[int]) -> Exchange:
    lead = _lead(rng)
    if rng.random() < 0.5:
        partner, schema = "acme", "AcmeLead"
        body: Any = {"contact": {"name": lead["name"], "email": lead["email"]}, "budget": lead["budget"]}
    else:
        partner, schema = "globex", "GlobexReferrals"
        body = {"referrals": [{"fullName": lead["name"], "mail": lead["email"]} for _ in range(rng.randint(1, 4))]}
    return Exchange(
        WEBHOOK,
        f"/partners/{partner}/webhook",
        202,
        body=body,
        valid=("path.partner", schema, "ImportSummary"),
    )


def webhook_wrong(rng: Random, _ids: list[int]) -> Exchange:
    if rng.random() < 0.5:
        partner, schema, problems = "acme", "AcmeLead", (("contact.email", "pattern"), ("budget", "type"))
        body: Any = {"contact": {"name": "Ann", "email": "ann"}, "budget": "2k"}
    else:
        partner, schema, problems = "globex", "GlobexReferrals", (("referrals.*.budget", "minimum"),)
        body = {"referrals": [{"fullName": "Bo", "mail": "bo@tidewater.example", "budget": -5}]}
    return Exchange(
        WEBHOOK,
        f"/partners/{partner}/webhook",
        422,
        body=body,
        valid=("path.partner",),
        invalid={schema: problems},
    )


def webhook_stranger(_rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(WEBHOOK, "/partners/initech/webhook", 404, body={}, valid=("path.partner",))


def verify(rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(
        VERIFIED,
        "/leads/verified",
        201,
        body=_lead(rng),
        valid=("LeadVerified", "LeadOut"),
        queries="LeadVerified",
    )


def verify_alias(rng: Random, _ids: list[int]) -> Exchange:
    body = _lead(rng) | {"email": f"jo.berg+fair{rng.randrange(10**6)}@larkspur.example"}
    return Exchange(
        VERIFIED,
        "/leads/verified",
        201,
        body=body,
        valid=("LeadVerified", "LeadOut"),
        slow="LeadVerified",
        queries="LeadVerified",
    )


def verify_known(rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(
        VERIFIED,
        "/leads/verified",
        422,
        body=_lead(rng) | {"email": "contact17@crm.example"},
        invalid={"LeadVerified": (("email", "value_error"),)},
        queries="LeadVerified",
    )


def verify_known_alias(rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(
        VERIFIED,
        "/leads/verified",
        422,
        body=_lead(rng) | {"email": "con.tact17+fair@crm.example"},
        invalid={"LeadVerified": (("email", "value_error"),)},
        slow="LeadVerified",
        queries="LeadVerified",
    )


def quote(rng: Random, _ids: list[int]) -> Exchange:
    lines = [
        {"product": "seat", "quantity": rng.randint(1, 9), "unit_price": 40 + number}
        for number in range(rng.randint(1, 5))
    ]
    return Exchange(
        QUOTE, "/leads/quote", 200, body=lines, valid=("list[QuoteLine]", "QuoteOut"), rebuilt="list[QuoteLine]"
    )


def quote_wrong(_rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(
        QUOTE,
        "/leads/quote",
        422,
        body=[
            {"product": "seat", "quantity": 1, "unit_price": 40},
            {"product": "seat", "quantity": 0, "unit_price": 4},
        ],
        invalid={"list[QuoteLine]": (("*.quantity", "greater_than"),)},
        rebuilt="list[QuoteLine]",
    )


def health(_rng: Random, _ids: list[int]) -> Exchange:
    return Exchange(HEALTH, "/healthz", 200)


def lost(_rng: Random, _ids: list[int]) -> Exchange:
    """No route matches."""
    return Exchange("GET ", "/lead", 404)
