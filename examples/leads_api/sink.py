"""A small OpenTelemetry backend on loopback: takes traces and metrics by OTLP and keeps them in memory.

It speaks the real protocol, OTLP/HTTP (protobuf, gzip) and OTLP/gRPC, on free ports::

    with Sink() as sink:
        start_app(OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        sink.wait_for(lambda: sink.spans("GET /leads"), deadline=10)

Run as a program it prints its endpoints and appends each span to a file as a line of JSON, until Ctrl-C or SIGTERM::

    python sink.py --out spans.jsonl
"""

from __future__ import annotations

import argparse
import gzip
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

T = TypeVar("T")
Attributes = Mapping[str, Any]

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Span:
    """One finished span. Ids are hexadecimal, times are Unix nanoseconds, names are those of the protocol."""

    trace_id: str
    span_id: str
    parent_span_id: str  # "" for a root
    name: str
    kind: str  # SERVER, INTERNAL, CLIENT, ...
    start_ns: int
    end_ns: int
    status: str  # UNSET, OK, ERROR
    status_message: str
    attributes: Attributes
    events: tuple[str, ...]
    scope: str
    resource: Attributes

    @property
    def duration(self) -> float:
        """Seconds."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Exemplar:
    """One sampled measurement and the span that it belongs to."""

    value: float
    trace_id: str
    span_id: str
    time_ns: int
    filtered_attributes: Attributes


@dataclass(frozen=True)
class MetricPoint:
    """One data point of a sum, a gauge or an explicit-bucket histogram.

    `value` is the number of a sum or gauge, and the sum of a histogram; `count`, `bounds` and `bucket_counts` are a
    histogram's, and empty otherwise.
    """

    name: str
    unit: str
    kind: str  # sum, gauge, histogram
    temporality: str  # CUMULATIVE, DELTA, or "" for a gauge
    attributes: Attributes
    start_ns: int
    time_ns: int
    value: float
    count: int
    bounds: tuple[float, ...]
    bucket_counts: tuple[int, ...]
    exemplars: tuple[Exemplar, ...]
    scope: str
    resource: Attributes


class Sink:
    """Receives OTLP from `start` (or `with`) until `close`; every query answers from what has arrived so far."""

    def __init__(self, port: int = 0, grpc_port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one.

        Raises:
            OSError: if a port is taken.
        """
        self._arrived = threading.Condition()
        self._spans: list[Span] = []
        self._points: list[MetricPoint] = []
        self._http = _HTTPServer((HOST, port), self)
        self._pool = ThreadPoolExecutor(4, "sink-grpc")
        self._grpc = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._grpc)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._grpc)
        try:
            bound = self._grpc.add_insecure_port(f"{HOST}:{grpc_port}")
        except RuntimeError as error:
            self._http.server_close()
            raise OSError(f"cannot listen on {HOST}:{grpc_port}") from error
        self.endpoint = f"http://{HOST}:{self._http.server_address[1]}"
        """Value of OTEL_EXPORTER_OTLP_ENDPOINT for the protocol http/protobuf."""
        self.grpc_endpoint = f"http://{HOST}:{bound}"
        """Value of OTEL_EXPORTER_OTLP_ENDPOINT for the protocol grpc."""
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="sink-http", daemon=True)

    def start(self) -> Sink:
        self._thread.start()
        self._grpc.start()
        return self

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._grpc.stop(0.2).wait()
        self._pool.shutdown()

    def __enter__(self) -> Sink:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def spans(self, name: str | None = None) -> list[Span]:
        """Spans in order of arrival, of that exact name or all."""
        with self._arrived:
            return [span for span in self._spans if name is None or span.name == name]

    def trace(self, trace_id: str) -> list[Span]:
        """Spans of one trace, in order of their start."""
        with self._arrived:
            return sorted((s for s in self._spans if s.trace_id == trace_id), key=lambda s: (s.start_ns, -s.end_ns))

    def metric_points(self, name: str) -> list[MetricPoint]:
        """Data points of the metric with that OpenTelemetry name, in order of arrival, one for every export."""
        with self._arrived:
            return [point for point in self._points if point.name == name]

    def wait_for(self, predicate: Callable[[], T], deadline: float = 60.0) -> T:
        """Return the predicate's first true value, asking again whenever something arrives.

        Args:
            predicate: asks this sink.
            deadline: seconds from now.

        Raises:
            TimeoutError: if the predicate is still false at the deadline; says what did arrive.
        """
        until = time.monotonic() + deadline
        with self._arrived:
            while not (answer := predicate()):
                left = until - time.monotonic()
                if left <= 0:
                    names = sorted({span.name for span in self._spans} | {point.name for point in self._points})
                    raise TimeoutError(
                        f"nothing that fits within {deadline} s; arrived: {', '.join(names) or 'nothing'}"
                    )
                self._arrived.wait(left)
            return answer

    def add(self, request: Message) -> Message:
        """Keep what one export request carries, and return its response."""
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            spans = list(spans_of(request))
            with self._arrived:
                self._spans += spans
                self._arrived.notify_all()
            return trace_service_pb2.ExportTraceServiceResponse()
        assert isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest)
        points = list(_points(request))
        with self._arrived:
            self._points += points
            self._arrived.notify_all()
        return metrics_service_pb2.ExportMetricsServiceResponse()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    # a second sink on the same port must fail, not share it
    allow_reuse_address = False

    def __init__(self, address: tuple[str, int], sink: Sink) -> None:
        super().__init__(address, _Handler)
        self.sink = sink


class _Handler(BaseHTTPRequestHandler):
    """OTLP/HTTP.

    https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
    """

    server: _HTTPServer
    protocol_version = "HTTP/1.1"
    requests: Mapping[str, type[Message]] = {
        "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
        "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    }

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.requests.get(self.path)
        if kind is None:
            self.answer(404)
        elif self.headers.get_content_type() != "application/x-protobuf":
            self.answer(415)
        else:
            try:
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = kind.FromString(body)
            except (DecodeError, OSError, EOFError):
                self.answer(400)
            else:
                self.answer(200, self.server.sink.add(request).SerializeToString())

    def answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Export are too many to log."""


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def Export(self, request: Message, context: grpc.ServicerContext) -> Message:
        return self.sink.add(request)


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def Export(self, request: Message, context: grpc.ServicerContext) -> Message:
        return self.sink.add(request)


def spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_span_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    status_message=span.status.message,
                    attributes=_attributes(span.attributes),
                    events=tuple(event.name for event in span.events),
                    scope=scoped.scope.name,
                    resource=resource,
                )


def _points(request: metrics_service_pb2.ExportMetricsServiceRequest) -> Iterator[MetricPoint]:
    for group in request.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                kind = metric.WhichOneof("data")
                if kind not in ("sum", "gauge", "histogram"):
                    continue
                data = getattr(metric, kind)
                temporality = ""
                if kind != "gauge":
                    name = metrics_pb2.AggregationTemporality.Name(data.aggregation_temporality)
                    temporality = name.removeprefix("AGGREGATION_TEMPORALITY_")
                for point in data.data_points:
                    histogram = kind == "histogram"
                    yield MetricPoint(
                        name=metric.name,
                        unit=metric.unit,
                        kind=kind,
                        temporality=temporality,
                        attributes=_attributes(point.attributes),
                        start_ns=point.start_time_unix_nano,
                        time_ns=point.time_unix_nano,
                        value=point.sum if histogram else _number(point),
                        count=point.count if histogram else 0,
                        bounds=tuple(point.explicit_bounds) if histogram else (),
                        bucket_counts=tuple(point.bucket_counts) if histogram else (),
                        exemplars=tuple(_exemplar(exemplar) for exemplar in point.exemplars),
                        scope=scoped.scope.name,
                        resource=resource,
                    )


def _exemplar(exemplar: metrics_pb2.Exemplar) -> Exemplar:
    return Exemplar(
        value=_number(exemplar),
        trace_id=exemplar.trace_id.hex(),
        span_id=exemplar.span_id.hex(),
        time_ns=exemplar.time_unix_nano,
        filtered_attributes=_attributes(exemplar.filtered_attributes),
    )


def _number(point: metrics_pb2.NumberDataPoint | metrics_pb2.Exemplar) -> float:
    return getattr(point, point.WhichOneof("value") or "as_int")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def main() -> None:
    options = argparse.ArgumentParser(description="Receive OTLP on loopback and append each span to a file as JSON.")
    options.add_argument("--port", type=int, default=0, help="OTLP/HTTP port (0: a free one)")
    options.add_argument("--grpc-port", type=int, default=0, help="OTLP/gRPC port (0: a free one)")
    options.add_argument("--out", type=argparse.FileType("a"), default=sys.stdout, help="default: standard output")
    chosen = options.parse_args()
    # blocked in every thread, so that only the loop below sees them
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with Sink(chosen.port, chosen.grpc_port) as sink:
        print(f"OTLP/HTTP {sink.endpoint}  OTLP/gRPC {sink.grpc_endpoint}", file=sys.stderr, flush=True)
        written, stopped = 0, None
        while stopped is None:
            stopped = signal.sigtimedwait({signal.SIGINT, signal.SIGTERM}, 0.2)
            for span in sink.spans()[written:]:
                chosen.out.write(json.dumps(asdict(span)) + "\n")
                written += 1
            chosen.out.flush()


if __name__ == "__main__":
    main()
