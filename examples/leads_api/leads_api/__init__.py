"""A small lead-intake service: an ordinary FastAPI app that knows nothing of telemetry."""
