"""What a hostile or broken sender may send to a collector: OTLP requests, compressed bodies and raw connections."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import Span

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What opens a connection of HTTP/2, and so of gRPC: the preface and empty settings."""

KINDS = ("sum", "gauge", "histogram", "exponential_histogram", "summary")


def flood(kind: str, vary: str, first: int, number: int) -> ExportMetricsServiceRequest:
    """Return `number` series, numbered from `first`, all of one time.

    Args:
        kind: one of `KINDS`.
        vary: what tells them apart: attribute, resource, scope or name.
        first: number of the first.
        number: how many.
    """
    request, now = ExportMetricsServiceRequest(), time.time_ns()
    resource = scope = metric = None
    for index in range(first, first + number):
        if resource is None or vary == "resource":
            resource = _resource(request, f"instance-{index}")
            scope = None
        if scope is None or vary == "scope":
            scope = resource.scope_metrics.add()
            scope.scope.name = f"scope-{index}"
            metric = None
        if metric is None or vary == "name":
            metric = scope.metrics.add(name=f"flood.{index if vary == 'name' else kind}")
        _point(metric, kind, now).attributes.add(
            key="user"
        ).value.string_value = f"{index if vary == 'attribute' else 0}"
    return request


def _resource(request: ExportMetricsServiceRequest, instance: str) -> ResourceMetrics:
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "flood"
    resource.resource.attributes.add(key="service.instance.id").value.string_value = instance
    return resource


def _point(metric: Metric, kind: str, now: int):
    if kind == "sum":
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
        return metric.sum.data_points.add(as_int=1, time_unix_nano=now)
    if kind == "gauge":
        return metric.gauge.data_points.add(as_int=1, time_unix_nano=now)
    if kind == "summary":
        return metric.summary.data_points.add(count=1, sum=1, time_unix_nano=now)
    if kind == "histogram":
        metric.histogram.aggregation_temporality = 2
        points = metric.histogram.data_points
        return points.add(count=1, sum=1, bucket_counts=[1, 0, 0], explicit_bounds=[1, 2], time_unix_nano=now)
    metric.exponential_histogram.aggregation_temporality = 2
    point = metric.exponential_histogram.data_points.add(count=1, sum=1, time_unix_nano=now)
    point.positive.bucket_counts.append(1)
    return point


def heavy_metrics(size: int) -> dict[str, ExportMetricsServiceRequest]:
    """Return requests of one point each, of which one part has `size` bytes, by that part's name."""
    text, requests = "x" * size, {}

    def request(part: str) -> tuple[ResourceMetrics, Metric]:
        requests[part] = ExportMetricsServiceRequest()
        resource = _resource(requests[part], part)
        resource.scope_metrics.add().metrics.add(name=f"heavy.{part}")
        return resource, resource.scope_metrics[0].metrics[0]

    def point(part: str):
        return _point(request(part)[1], "sum", time.time_ns())

    point("value").attributes.add(key="k").value.string_value = text
    point("key").attributes.add(key=text).value.string_value = "v"
    point("bytes").attributes.add(key="k").value.bytes_value = text.encode()
    point("list").attributes.add(key="k").value.array_value.values.add().string_value = text
    inner = point("map").attributes.add(key="k").value.kvlist_value.values.add(key="inner")
    inner.value.string_value = text
    many = point("number_of_attributes")
    for index in range(size // 20):
        many.attributes.add(key=f"k{index}").value.string_value = "v"
    exemplar = point("exemplar").exemplars.add(as_int=1, time_unix_nano=time.time_ns())
    exemplar.filtered_attributes.add(key="k").value.string_value = text
    gauge = _point(request("gauge")[1], "gauge", time.time_ns())
    gauge.attributes.add(key="k").value.string_value = text
    buckets = _point(request("buckets")[1], "histogram", time.time_ns())
    buckets.explicit_bounds[:] = range(size // 20)
    buckets.bucket_counts[:] = [1, *(0 for _ in buckets.explicit_bounds)]
    for field in ("name", "description", "unit"):
        metric = request(field)[1]
        _point(metric, "sum", time.time_ns())
        setattr(metric, field, text)
    for field in ("name", "version"):
        resource, metric = request(f"scope_{field}")
        _point(metric, "sum", time.time_ns())
        setattr(resource.scope_metrics[0].scope, field, text)
    resource, metric = request("scope_attribute")
    _point(metric, "sum", time.time_ns())
    resource.scope_metrics[0].scope.attributes.add(key="k").value.string_value = text
    for level in ("resource", "scope"):
        resource, metric = request(f"{level}_schema_url")
        _point(metric, "sum", time.time_ns())
        (resource if level == "resource" else resource.scope_metrics[0]).schema_url = text
    resource, metric = request("resource_attribute")
    _point(metric, "sum", time.time_ns())
    resource.resource.attributes.add(key="k").value.string_value = text
    resource, metric = request("service")
    _point(metric, "sum", time.time_ns())
    resource.resource.attributes[0].value.string_value = text
    return requests


def make_heavy(span: Span, size: int) -> None:
    """Give a span `size` bytes in each of its parts that the guard cuts."""
    text = "x" * size
    span.attributes.add(key="value").value.string_value = text
    span.attributes.add(key=text).value.string_value = "v"
    for index in range(1000):
        span.attributes.add(key=f"k{index}").value.string_value = "v"
    event = span.events.add(name="e" * size)
    event.attributes.add(key="value").value.string_value = text
    span.status.message = text


def gzip_bomb(mebibytes: int) -> bytes:
    return _deflate(mebibytes, zlib.MAX_WBITS | 16)


def zlib_bomb(mebibytes: int) -> bytes:
    return _deflate(mebibytes, zlib.MAX_WBITS)


def _deflate(mebibytes: int, window: int) -> bytes:
    packer, zeros = zlib.compressobj(9, zlib.DEFLATED, window), bytes(2**20)
    return b"".join([*(packer.compress(zeros) for _ in range(mebibytes)), packer.flush()])


def zstd_bomb(mebibytes: int, window_log: int = 17) -> bytes:
    """Return a Zstandard frame of repeated zeros (RFC 8878), made by hand: Python has no encoder before 3.14.

    Args:
        mebibytes: size when decompressed.
        window_log: of the memory that the frame asks a decoder for.
    """
    header = struct.pack("<IBB", 0xFD2FB528, 0, window_log - 10 << 3)
    run = struct.pack("<I", (128 * 1024 << 3) | (1 << 1))[:3] + b"\0"  # a block of type RLE
    return header + run * (mebibytes * 8) + struct.pack("<I", 1)[:3]


class Connections:
    """Many connections to one port, each with the same opening bytes, until the block ends."""

    def __init__(self, port: int, number: int, opening: bytes = b"", trust: ssl.SSLContext | None = None) -> None:
        self.port, self.number, self.opening, self.trust = port, number, opening, trust
        self.stack = ExitStack()
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Connections:
        for _ in range(self.number):
            plain = self.stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
            wrapped = self.trust.wrap_socket(plain, server_hostname="127.0.0.1") if self.trust else plain
            connection = self.stack.enter_context(wrapped)
            connection.sendall(self.opening)
            self.sockets.append(connection)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def until_closed(self, deadline: float, trickle: Callable[[int], bytes] | None = None) -> float:
        """Return after how many seconds the server has closed every connection.

        Args:
            deadline: seconds.
            trickle: what to send each half a second meanwhile, by the number of the round.

        Raises:
            AssertionError: if one is still open at the deadline.
        """
        started, left = time.monotonic(), list(self.sockets)
        for connection in left:
            connection.settimeout(0.001)
        for turn in count():
            left = [connection for connection in left if not _closed(connection, trickle and trickle(turn))]
            took = time.monotonic() - started
            if not left:
                return took
            assert took < deadline, f"{len(left)} of {self.number} connections are open after {took:.0f} s"
            time.sleep(0.5)
        return math.inf


def _closed(connection: socket.socket, more: bytes | None) -> bool:
    try:
        if more:
            connection.sendall(more)
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
