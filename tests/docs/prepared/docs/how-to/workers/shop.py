"""The reader's own app."""

from functools import lru_cache
from typing import Annotated

from fastapi import FastAPI, Path
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    quantity: int


@app.get("/orders/{number}")
def order(number: Annotated[int, Path(ge=1)]) -> Order:
    return Order(quantity=number)


class LeadIn(BaseModel):
    email: str


def read_rows() -> list[dict[str, str]]:
    return [{"email": "ann@example.com"}]


@lru_cache
def load_country(code: str) -> str:
    return code.upper()
