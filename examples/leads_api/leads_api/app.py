"""The HTTP service. Start it with `uvicorn leads_api.app:app`."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from leads_api import db, directories, upcoming
from leads_api.bulk import read_import
from leads_api.models import Lead
from leads_api.partners import PARTNERS
from leads_api.payload import InvalidPayload, json_body, refuse
from leads_api.schemas import (
    CompanyProfile,
    EnrichIn,
    ImportSummary,
    LeadIn,
    LeadOut,
    LeadVerified,
    QuoteLine,
    QuoteOut,
    Status,
)

JsonBody = Annotated[Any, Depends(json_body)]

app = FastAPI(title="Leads", exception_handlers={InvalidPayload: refuse})
app.include_router(upcoming.router)  # first: its routes take over once the database has their revision

# Endpoints open their session themselves rather than through a dependency: a dependency gives its connection back
# only when the event loop gets to it, and the event loop may be inside a LeadVerified, waiting for a connection.


@app.post("/leads", status_code=201, response_model=LeadOut)
def create_lead(lead: LeadIn) -> Lead:
    return _save(lead)


@app.get("/leads", response_model=list[LeadOut])
def list_leads(
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    status: Status | None = None,
    q: Annotated[str | None, Query(min_length=2, description="part of the name")] = None,
) -> list[Lead]:
    query = select(Lead).order_by(Lead.id.desc()).limit(limit)
    if status is not None:
        query = query.where(Lead.status == status)
    if q is not None:
        query = query.where(Lead.name.contains(q, autoescape=True))
    with db.session() as session:
        return list(session.scalars(query))


@app.get("/leads/{lead_id}", response_model=LeadOut)
def read_lead(lead_id: int) -> Lead:
    with db.session() as session:
        lead = session.get(Lead, lead_id)
    if lead is None:
        raise HTTPException(404, "no such lead")
    return lead


@app.post("/leads/{lead_id}/enrich", response_model=LeadOut)
def enrich_lead(lead_id: int, request: EnrichIn) -> Lead:
    with db.session() as session:
        lead = session.get(Lead, lead_id)
        if lead is None:
            raise HTTPException(404, "no such lead")
        answer = directories.look_up(request.source, lead.company or lead.email)
        try:
            profile = CompanyProfile.model_validate_json(answer)
        except ValidationError as error:
            raise HTTPException(502, "the directory's answer makes no sense") from error
        lead.company, lead.employees, lead.status = profile.name, profile.employees, "enriched"
        session.commit()
        return lead


@app.post("/leads/import", response_model=ImportSummary)
def import_leads(payload: JsonBody) -> dict[str, int]:
    return _save_all(read_import(payload))


@app.post("/leads/verified", status_code=201, response_model=LeadOut)
def create_verified_lead(lead: LeadVerified) -> Lead:
    return _save(lead)


@app.post("/leads/quote", response_model=QuoteOut)
def quote(payload: JsonBody) -> dict[str, int]:
    # wasteful: builds the same validator anew for each call, where a module-level adapter would do
    adapter = TypeAdapter(list[QuoteLine])
    try:
        lines = adapter.validate_python(payload)
    except ValidationError as error:
        raise InvalidPayload(error.errors(include_url=False, include_context=False)) from error
    return {"lines": len(lines), "total": sum(line.quantity * line.unit_price for line in lines)}


@app.post("/partners/{partner}/webhook", status_code=202, response_model=ImportSummary)
def partner_webhook(partner: str, payload: JsonBody) -> dict[str, int]:
    if partner not in PARTNERS:
        raise HTTPException(404, "no such partner")
    return _save_all(PARTNERS[partner].read(payload))


@app.get("/healthz", response_model=None)
def healthz() -> dict[str, str]:
    with db.session() as session:
        session.scalar(select(1))
    return {"status": "ok"}


def _save(lead: LeadIn) -> Lead:
    row = Lead(**lead.model_dump(exclude={"company"}), company=lead.company.name, country=lead.company.country)
    with db.session() as session:
        session.add(row)
        session.commit()
    return row


def _save_all(leads: list[Lead]) -> dict[str, int]:
    with db.session() as session:
        session.add_all(leads)
        session.commit()
    return {"imported": len(leads)}
