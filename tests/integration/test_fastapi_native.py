"""FastAPI that sets up the SDK and makes the server spans itself, without `opentelemetry-instrument`."""

from __future__ import annotations

from pathlib import Path

import fastapi
import httpx
import pytest
from packaging.version import Version

from processes import beside_python, clean_environment, free_port, listens, program
from sink import Sink

APP = """
from opentelemetry.instrumentation.schema import SchemaInstrumentor

SchemaInstrumentor().instrument()

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()

class Order(BaseModel):
    quantity: int

@app.post("/orders/{number}")
def create(number: int, order: Order) -> Order:
    return order
"""


@pytest.mark.skipif(Version(fastapi.__version__) < Version("0.142"), reason="FastAPI makes no spans before 0.142")
def test_validations_under_fastapis_own_spans(tmp_path: Path) -> None:
    """Metrics reach FastAPI's exporter, and a failed validation is below the server span, which counts it."""
    (tmp_path / "native.py").write_text(APP)
    port = free_port()
    with Sink() as sink:
        environment = {
            **clean_environment(), "FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_BSP_SCHEDULE_DELAY": "200",
        }  # fmt: skip
        command: list[str | Path] = [beside_python("uvicorn"), "--port", str(port), "native:app"]
        with program("native", command, tmp_path / "log", lambda: listens(port), environment, tmp_path):
            assert httpx.post(f"http://127.0.0.1:{port}/orders/1", json={"quantity": "many"}).status_code == 422
            errors = sink.wait_for(lambda: [each for each in sink.metric_points("validation.errors") if each.value])
            spans = sink.wait_for(
                lambda: sink.spans("schema.validate Order") and sink.spans("POST /orders/{number}"), 30
            )
        assert errors[0].attributes["http.route"] == "/orders/{number}"
        (server,) = spans
        (validation,) = sink.spans("schema.validate Order")
        by_id = {span.span_id: span for span in sink.trace(validation.trace_id)}
        above = validation
        while above.parent_span_id in by_id:
            above = by_id[above.parent_span_id]
        assert above == server
        assert server.attributes["schema.validation.count"] == 2
