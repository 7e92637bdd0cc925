"""Real processes for the pictures: many of them, or a few on a quiet day, with FastAPI, Pydantic and the SDK in each.

python fleet.py SIZE PORT: each process serves its own /metrics from PORT on, and sends itself requests.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

JOBS = ("billing", "leads", "shop")
KINDS = ("Order", "Lead", "Invoice", "Cart", "Partner")


class Size(NamedTuple):
    """An installation.

    Attributes:
        instances: How many processes there are.
        schemas: How many schemas the jobs have together.
        period: Seconds in which a process uses each of its schemas once; 0 if it is asked once, and then no more.
        faulty: Whether one schema is slow, and one fails.
    """

    instances: int
    schemas: int
    period: float
    faulty: bool = False


SIZES = {"scale": Size(120, 200, 60, faulty=True), "calm": Size(6, 24, 1.5), "idle": Size(3, 12, 0)}
SLOW, FAILING = 42, 121


def names(size: Size, job: int) -> Iterator[tuple[int, str]]:
    """Number and name of each schema of a job."""
    for number in range(job, size.schemas, len(JOBS)):
        yield number, f"{KINDS[number % 5]}V{number // 5}"


def serve(size: Size, instance: int, port: int) -> None:
    """One process: its own SDK, its own endpoints, its own requests."""
    import httpx
    from fastapi import FastAPI
    from opentelemetry import metrics
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.instrumentation.schema import SchemaInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import start_http_server
    from pydantic import create_model, field_validator

    job = instance % len(JOBS)
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()], Resource({"service.version": "1.4.2"})))
    SchemaInstrumentor().instrument()
    start_http_server(port, "127.0.0.1")
    app = FastAPI()

    def slow(value: int) -> int:
        time.sleep(0.05 + random.random() / 4)
        return value

    for number, name in names(size, job):
        waits = size.faulty and number == SLOW
        validators: Any = {"wait": field_validator("amount")(slow)} if waits else {}
        model: Any = create_model(name, __module__=f"{JOBS[job]}.models", __validators__=validators, amount=(int, ...))

        def endpoint(body: Any) -> None:
            """Take a body, and do nothing."""

        endpoint.__annotations__ = {"body": model, "return": None}
        app.post(f"/v1/{name.lower()}")(endpoint)

    async def ask() -> None:
        chosen = list(names(size, job))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            while True:
                random.shuffle(chosen)
                began = time.monotonic()
                for number, name in chosen:
                    fails = random.random() < (0.3 if size.faulty and number == FAILING else 0.0005)
                    await client.post(f"/v1/{name.lower()}", json={} if fails else {"amount": 1})
                    await asyncio.sleep(size.period / len(chosen) * random.uniform(0.4, 0.9))
                await asyncio.sleep(max(0.5, size.period - (time.monotonic() - began)) if size.period else 1e6)

    asyncio.run(ask())


def main() -> None:
    """Fork the processes after all imports, and end them when this one is ended."""
    size, port = SIZES[sys.argv[1]], int(sys.argv[2])
    import fastapi  # noqa: F401
    import httpx  # noqa: F401
    import opentelemetry.exporter.prometheus
    import opentelemetry.instrumentation.schema  # noqa: F401

    children: list[int] = []

    def end(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for instance in range(size.instances):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            random.seed(instance)
            serve(size, instance, port + instance)
        children.append(child)
    print("ready", flush=True)
    signal.pause()


@contextmanager
def installation(
    scenario: str, home: Path, prometheus: str, values: dict[str, str], rules: bool = True
) -> Iterator[Any]:
    """The processes, and a Prometheus that scrapes them all, with our rules or without."""
    import yaml
    from opentelemetry.instrumentation.schema._monitoring import rendering

    from tests.pipeline.programs import Program, Prometheus, free_port, get

    size = SIZES[scenario]
    first = _free_range(size.instances)

    class Fleet(Program):
        patience = 300.0

        def ready(self) -> bool:
            return all("python_info" in get(f"http://127.0.0.1:{first + at}/metrics") for at in range(size.instances))

    def scraped(text: str) -> str:
        settings = yaml.safe_load(text)
        settings["scrape_configs"] = [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [f"127.0.0.1:{first + number}"], "labels": {"instance": f"{job}-{number}"}}
                    for number in range(at, size.instances, len(JOBS))
                ],
            }
            for at, job in enumerate(JOBS)
        ]
        return yaml.safe_dump(settings)

    (home / "rules").mkdir(parents=True)
    for name, text in rendering.rules(values) if rules else ():
        (home / "rules" / name).write_text(text.replace("interval: 2m", "interval: 15s"))
    with ExitStack() as programs:
        command = [sys.executable, __file__, scenario, str(first)]
        programs.enter_context(Fleet("fleet", command, home))
        ports = {9464: first, 9093: free_port()}
        yield programs.enter_context(Prometheus(prometheus, "app.yml", home, ports, edit=scraped, interval="15s"))


def _free_range(length: int) -> int:
    """The first of some ports below those that the system deals out."""
    import socket

    for first in range(20000, 30000, 200):
        try:
            for port in range(first, first + length):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError("no ports are free")


if __name__ == "__main__":
    main()
