"""OTLP requests made by hand, for what no SDK sends or what needs no app."""

from __future__ import annotations

import secrets
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


def trace(name: str, ballast: int = 0, failed: bool = False) -> ExportTraceServiceRequest:
    """Return a trace of one span that ended now.

    Args:
        name: of the span.
        ballast: bytes that it carries in an attribute.
        failed: whether it has an error, for which tail sampling keeps it.
    """
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name=name)
    span.trace_id, span.span_id = secrets.token_bytes(16), secrets.token_bytes(8)
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    span.status.code = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET
    span.attributes.add(key="ballast").value.string_value = "x" * ballast
    return request


def points(first: int, count: int, service: str, scope: str) -> ExportMetricsServiceRequest:
    """Return `count` series of api.requests, numbered from `first`, each at 1 and of one time."""
    now = time.time_ns()  # as every SDK does: the guard sums only points of one time
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scoped = resource.scope_metrics.add()
    scoped.scope.name = scope
    metric = scoped.metrics.add(name="api.requests", unit="{request}")
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2  # cumulative
    for number in range(first, first + count):
        point = metric.sum.data_points.add(as_int=1, time_unix_nano=now)
        point.attributes.add(key="http.route").value.string_value = f"/flood/{number}"
        point.attributes.add(key="http.request.method").value.string_value = "GET"
    return request
