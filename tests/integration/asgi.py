"""Calls an ASGI application as a server does, without a network; every thread it makes ends with the call."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


def request(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request; an exception of the application is a response with status 500."""
    return requests(app, (method, path, options))[0]


def requests(app: Any, *calls: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """Requests at the same time, by one client."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return list(await asyncio.gather(*(client.request(m, path, **options) for m, path, options in calls)))

    return asyncio.run(run())


def lifespan(app: Any) -> None:
    """Start the application and end it."""

    async def run() -> list[str]:
        events = iter(["lifespan.startup", "lifespan.shutdown"])
        sent: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": next(events)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        return sent

    assert asyncio.run(run()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def websocket(app: Any, path: str) -> list[str]:
    """Connects, hears what the application sends until it closes; the types of its messages."""

    async def run() -> list[str]:
        sent: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "ws", "path": path, "raw_path": path.encode(),
            "query_string": b"", "root_path": "", "headers": [], "client": ("127.0.0.1", 1), "subprotocols": [],
            "server": ("shop.example", 80),
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    return asyncio.run(run())
