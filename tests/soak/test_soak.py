"""Mixed hostile traffic against the example on two workers, with this package and without it, at a bounded rate.

Both run side by side, so that what else the machine does slows both. `SOAK_SECONDS` says how long (600). Loopback only.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import service
from processes import free_port, until
from sink import Sink

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
HONEST, HOSTILE = 20, 10  # requests a second of each kind
SETTLED = 0.2  # of the time, after which memory is flat: two minutes of ten
FLAT = 12e6  # bytes that a worker may still grow
P99 = 1.2  # times that of the run without us
NOISE = 0.005  # s that the p99 of two runs on one busy machine may differ anyway

HONESTLY = ("POST", "/leads/quote"), ("GET", "/leads")

LINES = [{"product": "seat", "quantity": 3, "unit_price": 40}]
LEAD = {"name": "Ann Lee", "email": "ann@kestrel.example", "source": "web", "consent": True}


@dataclass
class Seen:
    """What the clients saw."""

    took: list[float] = field(default_factory=list)
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    memory: list[tuple[float, list[int]]] = field(default_factory=list)
    log: str = ""

    def p99(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.99)]


def honest(client: httpx.Client, seen: Seen, number: int) -> None:
    kind = number % 3
    began = time.perf_counter()
    if kind == 0:
        answer = client.post("/leads/quote", json=LINES)
    elif kind == 1:
        answer = client.post("/leads/quote", json=[{**LINES[0], "quantity": 0}])
    else:
        answer = client.get("/leads", params={"limit": 5})
    seen.took.append(time.perf_counter() - began)
    assert answer.status_code == (200, 422, 200)[kind], answer.text
    seen.answers[answer.request.method, answer.request.url.path, answer.status_code] += 1


def hostile(client: httpx.Client, seen: Seen, number: int) -> None:
    key, rng = f"{number}" + "k" * 50_000, random.Random(number)
    nasty = ["\ud800", "\x1b]0;x\x07", "\u202e" * 100, "\0", "n" * 50_000][number % 5]
    deep: Any = 1
    for _ in range(80):
        deep = {"a": deep}
    path, body = rng.choice(
        [
            ("/leads", {**LEAD, key: 1, "email": nasty}),
            ("/leads", {"name": nasty, "phones": [{"kind": key[:5000]}] * 50}),
            ("/leads/import", {"batch": "b", "rows": [{key[:500]: nasty[:500]}] * 500}),
            ("/leads/import", {nasty: [1] * 2000}),
            ("/partners/acme/webhook", {"contact": {key: nasty, "email": 1}, nasty: deep}),
            ("/partners/globex/webhook", {"referrals": [{key[:500]: 1}] * 1500}),
            ("/leads/quote", [{"product": nasty[:200].replace("\ud800", "?"), "quantity": "x" * 1000}] * 1200),
            (f"/{key[:6000]}", None),
            ("/leads/quote?" + "client/" * 1000, [1]),
        ]
    )
    method = rng.choice(["POST", "POST", "POST", "POST", "PROPFIND"])  # what is none at all, uvicorn refuses itself
    content = None if body is None or method != "POST" else json.dumps(body).encode()
    # Whoever answers before it has read a body closes the connection: the next request would be lost with it.
    headers = {"content-type": "application/json", "connection": "close"}
    try:
        answer = client.request(method, path, content=content, headers=headers)
    except httpx.TransportError:  # FastAPI cannot encode its own answer: it quotes what it was sent
        assert "quote" not in path
        seen.lost[method, path] += 1
        return
    seen.answers[method if method == "POST" else "_OTHER", answer.request.url.path, answer.status_code] += 1


@contextmanager
def clients(url: str, seen: Seen, until: float) -> Iterator[None]:
    failures: list[BaseException] = []

    def run(work: Callable[[httpx.Client, Seen, int], None], rate: float, first: int) -> None:
        try:
            with httpx.Client(base_url=url, timeout=30) as client:
                number = first
                due = time.monotonic()
                while time.monotonic() < until:
                    work(client, seen, number)
                    number += 2
                    due = max(due + 2 / rate, time.monotonic() - 1)
                    time.sleep(max(0.0, due - time.monotonic()))
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=(work, rate, first))
        for work, rate in ((honest, HONEST), (hostile, HOSTILE))
        for first in (0, 1)
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def workers(port: int) -> list[psutil.Process]:
    """The two processes that serve a port."""
    servers = [each for each in psutil.Process().children(recursive=True) if str(port) in each.cmdline()]
    return [
        worker
        for server in servers
        for worker in server.children()
        if "spawn_main" in " ".join(worker.cmdline()) and "resource_tracker" not in " ".join(worker.cmdline())
    ]


def started(stack: ExitStack, folder: Path, sink: Sink, ours: bool) -> tuple[str, int]:
    """The example, on two workers; its URL and port."""
    settings = {
        "OTEL_SERVICE_NAME": "leads",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    if not ours:
        settings["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "schema"
    folder.mkdir()
    port = free_port()
    url = service.start(stack, folder, port, settings, "--workers", "2", "--timeout-worker-healthcheck", "60")
    assert until(lambda: len(workers(port)) == 2, 30)
    return url, port


def soak(folder: Path, sink: Sink) -> tuple[Seen, Seen]:
    """Honest and hostile clients side by side: plain, and ours."""
    runs = Seen(), Seen()
    folders = folder / "plain", folder / "ours"
    with ExitStack() as stack:
        served = [started(stack, each, sink, each.name == "ours") for each in folders]
        began = time.monotonic()
        with ExitStack() as traffic:
            for seen, (url, _) in zip(runs, served, strict=True):
                traffic.enter_context(clients(url, seen, began + SECONDS))
            while time.monotonic() < began + SECONDS:
                for seen, (_, port) in zip(runs, served, strict=True):
                    seen.memory.append((time.monotonic() - began, [one.memory_info().rss for one in workers(port)]))
                time.sleep(2)
        time.sleep(6)  # one more export
    for seen, each in zip(runs, folders, strict=True):
        seen.log = (each / "app.log").read_text()
    return runs


def total(sink: Sink, name: str, **wanted: str) -> int:
    keys = {key.replace("_", "."): value for key, value in wanted.items()}
    points = [point for point in sink.metric_points(name) if keys.items() <= point.attributes.items()]
    return int(sum(point.count or point.value for point in points))


@pytest.mark.nightly
@pytest.mark.timeout(SECONDS + 300)
def test_hostile_traffic(tmp_path: Path) -> None:
    """Memory is flat, honest requests are as fast as without us, every count is exact, and the logs are quiet."""
    with Sink() as sink:
        plain, ours = soak(tmp_path, sink)
    settled = [sum(rss) for at, rss in ours.memory if at > SETTLED * SECONDS]
    unsettled = [sum(rss) for at, rss in plain.memory if at > SETTLED * SECONDS]
    print(
        f"\np99 {plain.p99() * 1e3:.1f} ms plain, {ours.p99() * 1e3:.1f} ms ours; "
        f"memory of both workers {settled[0] / 1e6:.1f} to {max(settled) / 1e6:.1f} MB "
        f"(plain {unsettled[0] / 1e6:.1f} to {max(unsettled) / 1e6:.1f}); {sum(ours.answers.values())} requests, "
        f"{sum(ours.lost.values())} without an answer"
    )
    requests = {
        key: sum(count for (method, path, _), count in ours.answers.items() if (method, path) == key)
        for key in (("POST", "/leads/quote"), ("GET", "/leads"), ("POST", "/leads/import"), ("POST", "/leads"))
    }
    counted = {
        (method, route): total(sink, "api.requests", http_request_method=method, http_route=route)
        for method, route in requests
    }
    for key, number in requests.items():
        assert number <= counted[key] <= number + ours.lost[key]
    assert {key: counted[key] for key in HONESTLY} == {key: requests[key] for key in HONESTLY}
    refused = sum(count for (method, path, code), count in ours.answers.items()
                  if (method, path, code) == ("POST", "/leads/quote", 422))  # fmt: skip
    assert total(sink, "validation.errors", http_request_method="POST", http_route="/leads/quote") == refused
    assert not total(sink, "schema.telemetry.errors")
    assert max(settled) - settled[0] < 2 * FLAT
    assert ours.p99() < max(P99 * plain.p99(), plain.p99() + NOISE)
    # The application's own tracebacks run through our frames, so what is indented is theirs.
    lines = {
        name: Counter(re.sub(r"[0-9]+", "0", line) for line in run.log.splitlines() if line[:1].strip())
        for name, run in (("plain", plain), ("ours", ours))
    }
    often = 2 * (SECONDS / 60 + 1)  # of two workers
    assert not {line for line, count in lines["ours"].items() if count > often and line not in lines["plain"]}
