"""Runs one application as its server loads it, asks it a few things, and prints what was observed and what not.

Started by `test_whose_schemas.py` with a JSON object as its argument:
    load: `module:app`, or `module:function()`; or None where the program is what was started itself.
    server: `uvicorn`, whose loading and event loop are real, or `gunicorn`, whose loading is.
    requests: [method, path, body] of each.
    blocked: whether reading a file on the event loop is an error, once the app is loaded.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
from typing import Any

from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.instrumentation.schema._recording import left_out, recorder
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

READER = InMemoryMetricReader()
WARNINGS: list[str] = []


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        WARNINGS.append(record.getMessage())


def start() -> None:
    """Instrument, and print at the end of the process."""
    logging.getLogger("opentelemetry.instrumentation.schema").addHandler(_Warnings(logging.WARNING))
    faults.reraise = True
    SchemaInstrumentor().instrument(meter_provider=MeterProvider([READER], shutdown_on_exit=False))
    atexit.register(report)


def report() -> None:
    left_out.FIRST_MINUTE = 0.0
    owned = recorder.active.owned if recorder.active else None
    schemas: dict[str, float] = {}
    outside: dict[str, float] = {}
    data: Any = READER.get_metrics_data()
    for scope in data.resource_metrics[0].scope_metrics if data else ():
        for metric in scope.metrics:
            for point in metric.data.data_points:
                if metric.name == "schema.validation.duration":
                    name = point.attributes["schema.name"]
                    schemas[name] = schemas.get(name, 0) + point.count
                if metric.name == "schema.left_out":
                    outside[point.attributes["schema.distribution"]] = point.value
    print(
        json.dumps(
            {
                "schemas": schemas,
                "left_out": outside,
                "application": sorted(each.name for each in owned.application.distributions) if owned else [],
                "warnings": WARNINGS,
            }
        )
    )


def _asgi(app: Any, requests: list[Any], blocked: bool) -> list[int]:
    import httpx

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return [(await client.request(method, path, json=body)).status_code for method, path, body in requests]

    if not blocked:
        return asyncio.run(run())
    from blockbuster import blockbuster_ctx

    with blockbuster_ctx():
        return asyncio.run(run())


def _wsgi(app: Any, requests: list[Any]) -> list[int]:
    from werkzeug.test import Client

    return [Client(app).open(path, method=method, json=body).status_code for method, path, body in requests]


def main() -> None:
    """Load and ask."""
    told = json.loads(sys.argv[1])
    if told["server"] == "gunicorn":
        from gunicorn.util import import_app

        statuses = _wsgi(import_app(told["load"]), told["requests"])
    else:
        import uvicorn

        config = uvicorn.Config(told["load"].removesuffix("()"), factory=told["load"].endswith("()"), log_config=None)
        config.load()
        statuses = _asgi(config.loaded_app, told["requests"], told["blocked"])
    print("statuses", statuses, file=sys.stderr)
    assert all(status < 500 for status in statuses), statuses


if __name__ == "__main__":
    start()
    main()
