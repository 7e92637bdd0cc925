"""Worker processes of one service are told apart, whatever the SDK and the operator gave them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from textwrap import dedent
from urllib.request import urlopen

import pytest

from processes import until
from sink import Sink
from tests.integration import export_path

ID = "service.instance.id"
APP = """
    import os
    from pydantic import BaseModel

    class Lead(BaseModel):
        number: int

    def answer():
        Lead(number=1)
        return str(os.getpid()).encode()

    def wsgi(environ, start_response):
        body = answer()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    async def asgi(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": answer()})
"""
SERVERS = {
    "uvicorn": ["uvicorn", "workers:asgi", "--workers=3", "--port"],
    "gunicorn": ["gunicorn", "workers:wsgi", "--workers=3", "--bind=127.0.0.1:"],
    "gunicorn --preload": ["gunicorn", "workers:wsgi", "--preload", "--workers=3", "--bind=127.0.0.1:"],
}


@pytest.mark.parametrize("injected", [False, True], ids=["", "id injected"])
@pytest.mark.parametrize("server", SERVERS)
def test_workers_are_told_apart(tmp_path: Path, server: str, injected: bool) -> None:
    """Each worker's measurements come under an id of its own, also where the environment gives all of them one."""
    (tmp_path / "workers.py").write_text(dedent(APP))

    def command(port: int) -> list[str]:
        *options, last = SERVERS[server]
        return [*options, last + str(port)] if last.endswith(":") else [*options, last, str(port)]

    with Sink() as sink:
        telemetry = export_path.by_otlp(sink)
        if injected:
            telemetry["OTEL_RESOURCE_ATTRIBUTES"] = f"{ID}=pod-1"
        asked: Counter[str] = Counter()
        with export_path.leads(tmp_path, telemetry, command) as (url, _):
            assert until(lambda: _ask(url, asked) and len(asked) == 3, 30), asked

            def told() -> list[int]:
                points = export_path.latest(sink.metric_points("schema.validation.duration"))
                return sorted(point.count for point in points)

            assert until(lambda: told() == sorted(asked.values()), 20), (told(), asked)


def _ask(url: str, asked: Counter[str]) -> bool:
    with urlopen(url, timeout=5) as answer:
        asked[answer.read().decode()] += 1
    return True
