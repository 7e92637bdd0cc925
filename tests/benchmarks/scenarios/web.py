"""A FastAPI request: a body, one query, a response model; straight into the app, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import process_time
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from tests.benchmarks.variants import Variant

from . import Run
from .database import Row, session_of

BODY = b'{"id": 1, "name": "Ada", "email": "ada@example.org", "age": 36, "active": true}'


class LeadIn(BaseModel):
    id: int
    name: str
    email: str
    age: int
    active: bool


class LeadOut(BaseModel):
    id: int
    name: str


def app() -> FastAPI:
    app, session = FastAPI(), session_of()

    @app.post("/leads/{lead_id}")
    async def update(lead_id: int, lead: LeadIn) -> LeadOut:
        row = session.get(Row, lead_id)
        session.expunge_all()
        return LeadOut(id=row.id if row else 0, name=lead.name)

    return app


def request(variant: Variant) -> Run:
    return requests(app(), "/leads/1")


BATCH = 512
"""Requests that one figure is made of: as many as the SDK exports spans at once."""


def served(variant: Variant) -> Run:
    """The same request as a server instrumentation has it, and its share of the export."""
    run = requests(app(), "/leads/1", variant.request)

    def figure(_calls: int) -> float:
        began = process_time()
        run(BATCH)
        variant.flush()
        return (process_time() - began) / BATCH * 1e6

    return figure


def requests(app: Any, path: str, opened: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Run:
    """Requests one after the other, on one event loop."""
    loop = asyncio.new_event_loop()

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message

    async def several(calls: int) -> None:
        for _ in range(calls):
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
                "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
            }  # fmt: skip
            with opened():
                await app(scope, receive, send)

    def run(calls: int) -> None:
        loop.run_until_complete(several(calls))

    return run
