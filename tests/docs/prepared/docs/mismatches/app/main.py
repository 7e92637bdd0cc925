from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, Field

metadata = sa.MetaData()
leads = sa.Table(
    "leads",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
)
engine = sa.create_engine("sqlite:///shop.db")


class LeadIn(BaseModel):
    name: Annotated[str, Field(max_length=100)]
