"""Installations of three apps for the pictures, whose metrics are made up: a large one, and one on a quiet day.

A real app on a machine that draws pictures is never quiet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering

JOBS = ("billing", "leads", "shop")
BOUNDS = (1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)
USUAL = (0.1, 0.6, 0.9, 0.97, 0.995, 0.9995, 1.0, 1.0)
SLOW = (0.0, 0.0, 0.0, 0.0, 0.02, 0.3, 0.9, 1.0)
"""Shares of the validations at or below each bound."""


class Size(NamedTuple):
    """How many instances and schemas there are, and whether one schema is slow and one fails."""

    instances: int
    schemas: int
    faulty: bool


LARGE, QUIET = Size(120, 200, True), Size(6, 24, False)


def exposition(size: Size, instance: int, seconds: float) -> str:
    """The metrics of one instance after some seconds of traffic."""
    lines: list[str] = []
    job = instance % len(JOBS)
    for number in range(job, size.schemas, len(JOBS)):
        name = f"{('Order', 'Lead', 'Invoice', 'Cart', 'Partner')[number % 5]}V{number // 5}"
        schema = f'schema_name="{name}",schema_module="{JOBS[job]}.models",schema_library="pydantic"'
        endpoint = f'http_request_method="POST",http_route="/v1/{name.lower()}"'
        grown = seconds * (1 + number % 7) / 4
        shares, failing = (
            (SLOW if size.faulty and number == 42 else USUAL),
            (0.3 if size.faulty and number == 121 else 0.001),
        )
        labels = f'{schema},schema_validation_outcome="valid",{endpoint}'
        family = "schema_validation_duration_seconds"
        for bound, share in (*zip(BOUNDS, shares, strict=True), ("+Inf", 1.0)):
            lines.append(f'{family}_bucket{{{labels},le="{bound}"}} {int(grown * share)}')
        lines.append(f"{family}_count{{{labels}}} {int(grown)}")
        lines.append(f"{family}_sum{{{labels}}} {grown * (0.2 if shares is SLOW else 5e-5)}")
        lines.append(
            f'validation_errors_total{{{schema},error_type="ValidationError",{endpoint}}} {int(grown * failing)}'
        )
        lines.append(f"api_requests_total{{{endpoint}}} {int(grown)}")
        for what, share in (("hits", 0.99), ("misses", 0.01)):
            lines.append(f'cache_{what}_total{{{schema},schema_cache_name="validator"}} {int(grown * share)}')
        lines.append(f'schema_info{{{schema},schema_version="1.{number}",schema_fingerprint="{number:08x}"}} 1')
    lines.append('target_info{service_version="1.4.2"} 1')
    return "\n".join([*lines, ""])


@contextmanager
def installation(size: Size, home: Path, prometheus: str, values: dict[str, str]) -> Iterator[Any]:
    """A Prometheus that scrapes them all, with our rules."""
    from programs import Prometheus, free_port

    began = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(exposition(size, int(self.path[1:]), time.time() - began).encode())

        def log_message(self, *_: object) -> None:
            pass

    apps = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=apps.serve_forever, daemon=True).start()

    def scraped(text: str) -> str:
        settings = yaml.safe_load(text)
        settings["scrape_configs"] = [
            {
                "job_name": job,
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{apps.server_port}"],
                        "labels": {"__metrics_path__": f"/{number}", "instance": f"{job}-{number}"},
                    }
                    for number in range(at, size.instances, len(JOBS))
                ],
            }
            for at, job in enumerate(JOBS)
        ]
        return yaml.safe_dump(settings)

    (home / "rules").mkdir(parents=True)
    for name, text in rendering.rules(values):
        (home / "rules" / name).write_text(text.replace("interval: 2m", "interval: 15s"))
    with ExitStack() as programs:
        programs.callback(apps.server_close)
        programs.callback(apps.shutdown)
        ports = {9464: apps.server_port, 9093: free_port()}
        yield programs.enter_context(Prometheus(prometheus, "app.yml", home, ports, edit=scraped, interval="15s"))
