"""Checks where an app's metrics go, and whether somebody listens there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from .check import Check
from .command import App
from .environment import Export

PATIENCE: Final = 3.0
"""Seconds to wait for a connection."""

SLOW: Final = 1.0
"""Seconds after which a connection is too slow. An app that ends waits five seconds for its last export."""

_PORTS: Final = {"otlp_proto_grpc": 4317, "otlp_proto_http": 4318}


def checks(app: App) -> Iterator[Check]:
    """Whether metrics leave the process, and whether their receiver answers."""
    exporters = Export.of(app).exporters
    if exporters and set(exporters) == {"console"}:
        message = (
            "OTEL_METRICS_EXPORTER=console prints the metrics and sends them nowhere: choose otlp, or prometheus for "
            "an app of one process"
        )
        yield Check("endpoint", "finding", message)
    for exporter in exporters:
        if exporter in _PORTS:
            yield _reached(*_endpoint(app.variables, _PORTS[exporter]))


def _endpoint(variables: Mapping[str, str], port: int) -> tuple[str, int]:
    """Host and port, as the exporters read them, without credentials."""
    text = variables.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""
    url = urlsplit(text if "://" in text else f"//{text}")
    default = {"https": 443, "http": 80}.get(url.scheme, port) if text else port
    try:
        return url.hostname or "localhost", url.port or default
    except ValueError:
        return url.hostname or "localhost", 0


def _reached(host: str, port: int) -> Check:
    where = f"{host}:{port}"
    if not port:
        message = f"the port of OTEL_EXPORTER_OTLP_ENDPOINT ({host}) is not a number: nothing is sent"
        return Check("endpoint", "finding", message)
    began = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        message = (
            f"nothing answers at {where}, to which the app exports metrics ({error.strerror or error}): the metrics "
            "are lost, and the app waits for the exporter when it ends. Start the collector, or set "
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
        return Check("endpoint", "finding", message)
    took = time.monotonic() - began
    if took > SLOW:
        message = (
            f"{where} took {took:.1f} s to accept a connection: at its end an app waits 5 s for its last export, "
            "which may be lost. Export to a collector nearby"
        )
        return Check("endpoint", "finding", message)
    return Check("endpoint", "fine", f"{where}, to which the app exports metrics, accepts connections")
