from pydantic import BaseModel


class LeadIn(BaseModel):
    name: str
