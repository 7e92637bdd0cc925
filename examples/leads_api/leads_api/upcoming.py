"""What the next release changes, served as soon as the database has its revision: a lead has a region."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict
from sqlalchemy import JSON, MetaData, String
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from leads_api import db, models, revision
from leads_api.schemas import LeadIn, LeadOut

router = APIRouter(route_class=revision.FromRevision)

Region = Literal["EU", "NA", "APAC"]


class LeadInRegion(LeadIn):
    """`LeadIn` of the next release."""

    region: Region
    """Required: clients that do not send it yet are turned away."""


class LeadOutRegion(LeadOut):
    model_config = ConfigDict(from_attributes=True)

    region: Region


class _Base(DeclarativeBase):
    metadata = MetaData()  # of its own: `Lead` maps the same table, as this release knows it


class LeadRegion(_Base):
    """The table from revision 0003 on."""

    __tablename__ = "leads"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254))
    company: Mapped[str | None] = mapped_column(String(100))
    country: Mapped[str | None] = mapped_column(String(2))
    budget: Mapped[int] = mapped_column(default=0)
    phones: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    source: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), default="new")
    consent: Mapped[bool] = mapped_column(default=False)
    employees: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(models.UtcDateTime, default=models.now)
    region: Mapped[str] = mapped_column(String(4))


@router.post("/leads", status_code=201, response_model=LeadOutRegion)
def create_lead(lead: LeadInRegion) -> Any:
    values = lead.model_dump(exclude={"company"}) | {"company": lead.company.name, "country": lead.company.country}
    try:
        return _save(LeadRegion(**values))
    except DBAPIError:
        revision.forget()
        if revision.current() >= revision.FromRevision.revision:
            raise
        # the column went in this very second: the lead is saved as this release knows it
        saved = _save(models.Lead(**{key: value for key, value in values.items() if key != "region"}))
        return LeadOut.model_validate(saved).model_dump() | {"region": lead.region}


def _save(row: Any) -> Any:
    with db.session() as session:
        session.add(row)
        session.commit()
    return row
