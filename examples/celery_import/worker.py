"""A Celery worker that imports contacts, each checked by a JSON Schema.

    pip install "opentelemetry-instrumentation-schema[quickstart]" celery jsonschema
    OTEL_METRIC_EXPORT_INTERVAL=15000 opentelemetry-instrument celery -A worker worker
    celery -A worker call worker.contacts --args '[[{"email": "ann@example.com"}, {"name": "no address"}]]'

Workers are several processes, so they export by OTLP, each as an `instance` of its own. `endpoint()` makes a job what a
request is in a web app: it counts in `api.requests`, and its failed validations in `validation.errors`, both with
`schema_endpoint="import-contacts"`. Without an active instrumentation it does nothing.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from jsonschema import Draft202012Validator
from opentelemetry.instrumentation.schema import endpoint

app = Celery("worker", broker=os.environ.get("BROKER_URL", "redis://localhost"))

# Built once: it is checked and compiled when the module is loaded, not for each row.
CONTACT = Draft202012Validator(
    {
        "title": "Contact",
        "type": "object",
        "required": ["email"],
        "properties": {"email": {"type": "string", "pattern": "@"}, "name": {"type": "string", "maxLength": 100}},
    }
)


@app.task(name="worker.contacts")
def contacts(rows: list[dict[str, Any]]) -> int:
    """Import the rows that are valid, and return their number."""
    with endpoint("import-contacts"):
        return sum(CONTACT.is_valid(row) for row in rows)
