"""What a request pays for the watch of the revision between two reads, in instructions: the same on any machine."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PHASES, REQUESTS = 20, 20

APP = """
import asyncio, gc, os
import sqlalchemy as sa
from fastapi import FastAPI
from opentelemetry.instrumentation.schema import SchemaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SchemaInstrumentor().instrument(meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))


class Base(DeclarativeBase):
    pass


class Lead(Base):
    __tablename__ = "leads"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Body(BaseModel):
    name: str


engine = sa.create_engine("sqlite:///leads.db")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Lead(id=1, name="Ada"))
    session.commit()
app = FastAPI()


@app.post("/leads/{number}")
async def update(number: int, body: Body) -> Body:
    with Session(engine) as session:
        lead = session.get(Lead, number)
    return Body(name=lead.name)


async def receive():
    return {"type": "http.request", "body": b'{"name": "Ada"}', "more_body": False}


async def send(message):
    assert message.get("status", 200) == 200, message


async def requests(number):
    for _ in range(number):
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
                 "path": "/leads/1", "raw_path": b"/leads/1", "query_string": b"", "root_path": "",
                 "headers": [(b"content-type", b"application/json")], "client": ("c", 1), "server": ("s", 80)}
        await app(scope, receive, send)


asyncio.run(requests(100))
checkin = engine.dialect._otel_schema_watched.watch.checkin
gc.collect()
gc.disable()  # a collection costs as much as many requests
for phase in range(PHASES):
    (sa.event.listen if phase % 2 else sa.event.remove)(sa.pool.Pool, "checkin", checkin)
    asyncio.run(requests(5))
    os.getppid()  # callgrind writes what it counted at each call of this function
    asyncio.run(requests(REQUESTS))
    os.getppid()
os._exit(0)
"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind on this machine")
def test_a_request_between_two_reads(tmp_path: Path) -> None:
    """A FastAPI request with one ORM query takes at most 1 % more instructions with the watch than without it."""
    # One process, in turn without and with: two processes differ by more, since their objects are elsewhere.
    (tmp_path / "served.py").write_text(f"PHASES, REQUESTS = {PHASES}, {REQUESTS}\n{APP}")
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={tmp_path}/out", "--dump-before=getppid"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": "86400",
        "OTEL_PYTHON_SCHEMA_SLOW_MS": "60000",  # everything takes 50 times longer here, and what is slow has a span
    }
    subprocess.run([*command, sys.executable, "served.py"], cwd=tmp_path, env=environment, check=True)
    counted = [total(tmp_path / f"out.{2 * phase + 2}") / REQUESTS for phase in range(PHASES)]
    without, watched = statistics.median(counted[::2]), statistics.median(counted[1::2])
    print(f"instructions a request: {without:,.0f} without the watch, {watched:,.0f} with it; phases {counted}")
    assert watched / without < 1.01


def total(dump: Path) -> int:
    """Instructions since the dump before."""
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    assert found
    return int(found[1])
