"""OpenTelemetry metrics and spans for every schema validation.

Run an app under `opentelemetry-instrument`, or call `SchemaInstrumentor().instrument()`. The functions here are for
what no integration can see: a worker's jobs, an app's own caches, a validator of one's own.
"""

from ._recording.app_caches import observe_cache
from .api import ValidationBlock, endpoint, validation
from .instrumentor import SchemaInstrumentor

__all__ = ["SchemaInstrumentor", "ValidationBlock", "endpoint", "observe_cache", "validation"]
