"""What goes in and out over HTTP, as Pydantic models."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from leads_api.contacts import is_known

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[a-z]+$", max_length=254)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Status = Literal["new", "enriched"]


class Phone(BaseModel):
    kind: Literal["work", "mobile"]
    number: Annotated[str, StringConstraints(pattern=r"^\+[0-9]{7,15}$")]


class Company(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    country: Country


class LeadIn(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    email: Email
    company: Company
    budget: Annotated[int, Field(ge=0)]
    phones: Annotated[list[Phone], Field(max_length=5)] = []
    source: Literal["web", "fair", "phone"]
    consent: bool
    """Required since 2026: clients that do not send it yet are turned away."""


class LeadVerified(LeadIn):
    """A lead who is not yet a contact: its validation asks the database."""

    @field_validator("email")
    @classmethod
    def unknown_so_far(cls, email: str) -> str:
        if is_known(email):
            raise ValueError("is a contact already")
        return email


class LeadOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
    company: str | None
    country: str | None
    budget: int
    phones: list[Phone]
    source: str
    status: Status
    consent: bool
    employees: int | None
    created_at: datetime


class EnrichIn(BaseModel):
    source: Literal["registry", "legacy"]


class CompanyProfile(BaseModel):
    """What a company directory answers."""

    name: str
    employees: Annotated[int, Field(ge=1)]


class QuoteLine(BaseModel):
    product: str
    quantity: Annotated[int, Field(gt=0)]
    unit_price: Annotated[int, Field(ge=0)]


class QuoteOut(BaseModel):
    lines: int
    total: int


class ImportSummary(BaseModel):
    imported: int
