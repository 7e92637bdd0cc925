"""SQLAlchemy: one ORM get on SQLite in memory, a session each."""

from __future__ import annotations

from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from tests.benchmarks.variants import Variant

from . import Run, in_request, times


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "leads"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def session_of() -> Session:
    """A session on a new database with one row."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Row(id=1, name="Ada"))
        session.commit()
    return Session(engine)


def get(variant: Variant) -> Run:
    """Outside a request: linked to no schema."""
    session = session_of()

    def read() -> None:
        session.get(Row, 1)
        session.expunge_all()

    return times(read)


def get_in_request(variant: Variant) -> Run:
    """In a request that validated before, so each query is linked to that schema, and has a span if sampled."""

    class Lead(BaseModel):
        id: int

    read = get(variant)

    def run(calls: int) -> None:
        Lead(id=1)
        read(calls)

    return in_request(run, variant)
