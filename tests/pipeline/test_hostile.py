"""What a hostile sender can do to a collector with the shipped configs, plain and with TLS.

Each test attacks one standalone collector and then holds three things: its memory stayed under its limit, an honest
app is served with exact counts, and the collector's own series say what was refused.
"""

from __future__ import annotations

import http.client
import re
import resource
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from sink import Sink
from tests.pipeline import attacks
from tests.pipeline.certificates import certificates
from tests.pipeline.exports import points, trace
from tests.pipeline.load import SCOPE
from tests.pipeline.programs import STANDALONE, Collector, eventually, get

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
MEMORY = 400  # MiB, the default of OTELCOL_MEMORY_MIB
TRUE = {"flood_sum_total": 10_000, "flood_gauge": 1, "flood_histogram_count": 10_000, "flood_summary_count": 1}
AGE = "receivers::otlp::protocols::grpc::keepalive::server_parameters::max_connection_age"


@dataclass
class Victim:
    """A standalone collector, how to reach it, and whether it still does its work."""

    collector: Collector
    sink: Sink
    trust: ssl.SSLContext | None
    authority: bytes
    metadata: list[tuple[str, str]]
    numbers: Iterator[int] = field(default_factory=count)

    def channel(self, **options: object) -> grpc.Channel:
        arguments = [(f"grpc.{name}", value) for name, value in options.items()]
        arguments.append(("grpc.use_local_subchannel_pool", 1))  # each attacker has a connection of its own
        if self.trust is None:
            return grpc.insecure_channel(self.collector.otlp, arguments)
        return grpc.secure_channel(self.collector.otlp, grpc.ssl_channel_credentials(self.authority), arguments)

    def offer(self, request: ExportMetricsServiceRequest | ExportTraceServiceRequest) -> bool:
        """Send one request; return whether it was taken. Raises grpc.RpcError unless a sender would try again."""
        try:
            self.export(request)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            return False
        return True

    def export(self, request: ExportMetricsServiceRequest | ExportTraceServiceRequest) -> None:
        """Send one request as an app does. Raises grpc.RpcError if it is refused."""
        metrics = isinstance(request, ExportMetricsServiceRequest)
        with self.channel() as channel:
            stub = MetricsServiceStub(channel) if metrics else TraceServiceStub(channel)
            stub.Export(request, metadata=self.metadata, timeout=30)

    def http(self, port: str, method: str, path: str, body: bytes = b"", encoding: str = "") -> tuple[int, str]:
        """Return status and body of an HTTP request with the right token."""
        address = ("127.0.0.1", self.collector.ports[port])
        connection = (
            http.client.HTTPSConnection(*address, timeout=30, context=self.trust)
            if self.trust
            else http.client.HTTPConnection(*address, timeout=30)
        )
        headers = {**dict(self.metadata), "Content-Type": "application/x-protobuf"}
        headers |= {"Content-Encoding": encoding} if encoding else {}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def page(self) -> str:
        """Return what Prometheus would scrape."""
        status, text = self.http("metrics", "GET", "/metrics")
        assert status == 200
        return text

    def own_page(self) -> str:
        """Return the collector's own series."""
        return get(f"http://127.0.0.1:{self.collector.ports['telemetry']}/metrics")

    def peak(self) -> float:
        """Return the most memory that the process has had, in MiB (Linux)."""
        assert self.collector.process is not None
        text = Path(f"/proc/{self.collector.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024

    def serves(self) -> None:
        """Hold that another app's counts and spans come out as they went in."""
        number = next(self.numbers)
        service, name = f"honest-{number}", f"honest-span-{number}"
        self.export(points(0, 7, service, SCOPE))
        self.export(trace(name, failed=True))
        series = re.findall(rf'^api_requests_total{{.*job="{service}".*}} (\S+)', self.page(), re.M)
        assert [float(value) for value in series] == [1] * 7
        self.sink.wait_for(lambda: self.sink.spans(name))

    def unharmed(self) -> None:
        """Hold that nobody else was harmed, and memory stayed under the limit."""
        self.serves()
        assert self.collector.own("otelcol_receiver_refused_metric_points_total") == 0
        assert self.collector.own("otelcol_receiver_refused_spans_total") == 0
        assert self.peak() < MEMORY


Start = Callable[..., Victim]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificates(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(params=[pytest.param("plain", marks=pytest.mark.nightly), "tls"])
def start(request: pytest.FixtureRequest, otelcol: Path, secrets: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the collector of a test; settings (`a::b::c` = YAML) are changed for what would take minutes."""
    with Sink() as sink:
        started: list[Collector] = []

        def victim(**settings: str) -> Victim:
            secure = request.param == "tls"
            configs = (*STANDALONE, "overlays/tls-receive.yaml") if secure else STANDALONE
            hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
            collector = Collector(otelcol, configs, tmp_path, **hop, **secrets)
            collector.command += [f"--config=yaml:{path}: {value}" for path, value in settings.items()]
            collector.start()
            started.append(collector)
            if not secure:
                return Victim(collector, sink, None, b"", [])
            authority = Path(secrets["OTELCOL_CA_FILE"])
            token = Path(secrets["OTELCOL_TOKENS_FILE"]).read_text().split()[0]
            trust = ssl.create_default_context(cafile=authority)
            return Victim(collector, sink, trust, authority.read_bytes(), [("authorization", f"Bearer {token}")])

        try:
            yield victim
        finally:
            for collector in started:
                collector.kill()


@pytest.fixture
def victim(start: Start) -> Victim:
    return start()


@pytest.fixture
def many_files() -> Iterator[int]:
    """How many connections this process may open, at most 2,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(2000, hard // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_attribute_sets_of_any_kind(victim: Victim) -> None:
    """100,000 attribute sets of each kind of metric become one marked series for each process that sends them."""
    for kind in attacks.KINDS:
        for first in range(0, 100_000, 10_000):
            victim.export(attacks.flood(kind, "attribute", first, 10_000))
    lines = [line for line in victim.page().splitlines() if line.startswith("flood_")]
    assert all('otel_metric_overflow="true"' in line for line in lines)
    values = {name: [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{")] for name in TRUE}
    assert values == {name: [value] * 10 for name, value in TRUE.items()}
    assert len(lines) < 200  # 10 processes, 5 metrics, their buckets
    victim.unharmed()
    assert not re.findall(r"\t(?:warn|error)\t(?!.*createTransport).*", victim.collector.log.read_text())


def test_heavy_metrics(victim: Victim) -> None:
    """3.5 MB in any part of a metric leave the page that Prometheus scrapes small."""
    requests = attacks.heavy_metrics(3_500_000)
    for request in requests.values():
        victim.export(request)
    page = victim.page()
    heaviest = max(page.splitlines(), key=len)
    assert len(heaviest) < 100 * 1024, heaviest[:200]  # 64 attributes of 1 KiB
    assert len(page) < 1_000_000
    missing = {part for part in requests if f'instance="{part}"' not in page}
    assert missing <= {"service"}  # nothing was lost: a point without its payload is a point
    victim.unharmed()


def test_heavy_spans(victim: Victim) -> None:
    """A span with megabytes in any part arrives at the store with its head, and those beside it arrive too."""
    heavy = trace("heavy", failed=True)
    attacks.make_heavy(heavy.resource_spans[0].scope_spans[0].spans[0], 700_000)
    victim.export(heavy)
    long_name = trace("n" * 3_000_000, failed=True)
    victim.export(long_name)
    victim.sink.wait_for(lambda: victim.sink.spans("heavy") and victim.sink.spans("n" * 255))
    (span,) = victim.sink.spans("heavy")
    assert len(span.attributes) == 128
    assert max(len(str(value)) for value in span.attributes.values()) == 16_384
    assert len(span.status_message) == 1024
    assert [len(name) for name in span.events] == [255]
    victim.unharmed()


def test_batch_that_the_next_hop_would_refuse(victim: Victim) -> None:
    """Spans that are too heavy together travel in several requests: no honest span is refused with them."""
    for number in range(8):
        request = trace(f"neighbour-{number}", failed=True)
        span = request.resource_spans[0].scope_spans[0].spans[0]
        for index in range(100):
            span.attributes.add(key=f"k{index}").value.string_value = "x" * 16_000
        victim.export(request)
    victim.unharmed()
    victim.sink.wait_for(lambda: all(victim.sink.spans(f"neighbour-{n}") for n in range(8)))
    assert victim.collector.own("otelcol_exporter_send_failed_spans_total") == 0


def test_bodies_too_large_over_http(victim: Victim) -> None:
    """A body above 4 MiB, also by decompression, is refused with 400 and counted as that."""
    bombs = [
        ("", bytes(5 * 2**20)),
        ("gzip", attacks.gzip_bomb(1024)),
        ("zlib", attacks.zlib_bomb(1024)),
        ("deflate", attacks.zlib_bomb(1024)),
        ("zstd", attacks.zstd_bomb(1024)),
        ("zstd", attacks.zstd_bomb(64, window_log=40)),
    ]
    for encoding, body in bombs * 20:
        status, said = victim.http("otlp_http", "POST", "/v1/metrics", body, encoding)
        assert status == 400, f"{encoding}: {said}"
    counted = 'http_server_request_duration_seconds_count{.*http_response_status_code="400".*}'
    assert re.search(rf"^{counted} {20 * len(bombs)}$", victim.own_page(), re.M)
    victim.unharmed()


def test_bodies_too_large_over_grpc(victim: Victim) -> None:
    """A message above 4 MiB, also by decompression, is refused as RESOURCE_EXHAUSTED and counted as that."""
    for algorithm, size in ((0, 5), (1, 128), (2, 128)):  # none, deflate, gzip
        with (
            victim.channel(default_compression_algorithm=algorithm) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            channel.unary_unary(EXPORT)(bytes(size * 2**20), metadata=victim.metadata, timeout=30)
        expected = grpc.StatusCode.UNIMPLEMENTED if algorithm == 1 else grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.code() is expected, refused.value.details()
    counted = 'rpc_server_call_duration_seconds_count{.*rpc_response_status_code="RESOURCE_EXHAUSTED".*}'
    assert re.search(rf"^{counted} 2$", victim.own_page(), re.M)
    victim.unharmed()


@pytest.mark.parametrize("port", ["otlp_grpc", "otlp_http", "metrics"])
def test_idle_connections(victim: Victim, port: str, many_files: int) -> None:
    """Thousands of connections that send nothing take little memory and keep nobody out; those of HTTP are closed."""
    with attacks.Connections(victim.collector.ports[port], many_files) as idle:
        victim.unharmed()
        if port != "otlp_grpc":  # gRPC gives two minutes for the first bytes, and no setting changes that
            idle.until_closed(20)
    victim.unharmed()


def test_idle_grpc_connections(start: Start, many_files: int) -> None:
    """Thousands of connections that opened gRPC and ask nothing take little memory and are closed when they are old."""
    idle_time = AGE.replace("max_connection_age", "max_connection_idle")
    victim = start(**{idle_time: "8s"})
    trust = ssl.create_default_context(cadata=victim.authority.decode()) if victim.trust else None
    if trust:
        trust.set_alpn_protocols(["h2"])
    port = victim.collector.ports["otlp_grpc"]
    with attacks.Connections(port, many_files, attacks.HTTP2, trust) as idle:
        victim.unharmed()
        assert victim.collector.own("otelcol_process_runtime_heap_alloc_bytes") < 150 * 2**20
        idle.until_closed(40)
    victim.unharmed()


@pytest.mark.parametrize("part", ["head", "body"])
def test_slow_http(victim: Victim, part: str) -> None:
    """A request whose head or body comes a byte at a time is cut off within seconds, and nobody waits for it."""
    lines = ["POST /v1/metrics HTTP/1.1", "Host: x", *(f"{key}: {value}" for key, value in victim.metadata)]
    lines += ["Content-Type: application/x-protobuf", "Content-Length: 4000000"]
    opening = "\r\n".join(lines).encode() + (b"\r\n\r\n" + bytes(1_000_000) if part == "body" else b"\r\nX-Slow: ")
    port = victim.collector.ports["otlp_http"]
    with attacks.Connections(port, 100, opening, victim.trust) as slow:
        victim.unharmed()
        slow.until_closed(20, lambda _: b"x")
    victim.unharmed()


def test_slow_grpc(start: Start) -> None:
    """Requests that never end hold 8 places of their own connection, none of another, and end with it."""
    victim = start(**{AGE: "6s", f"{AGE}_grace": "1s"})
    ended = threading.Event()

    def never(_: object = None) -> Iterator[bytes]:
        ended.wait(60)
        yield from ()

    channels = [victim.channel() for _ in range(10)]
    try:
        started = time.monotonic()
        hanging = [
            channel.stream_unary(EXPORT).future(never(), metadata=victim.metadata, timeout=60)
            for channel in channels
            for _ in range(8)
        ]
        victim.unharmed()
        with pytest.raises(grpc.RpcError) as waits:
            channels[0].unary_unary(EXPORT)(b"", metadata=victim.metadata, timeout=0.5)
        assert waits.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for call in hanging:
            assert call.exception(timeout=30) is not None
        assert time.monotonic() - started < 30
    finally:
        ended.set()
        for channel in channels:
            channel.close()
    victim.unharmed()


@pytest.mark.parametrize("start", ["tls"], indirect=True)
@pytest.mark.parametrize("port", ["otlp_http", "otlp_grpc"])
def test_without_a_token_nothing_is_unpacked(start: Start, port: str) -> None:
    """Where tokens are wanted a bomb without one is refused for that reason, counted as that, and costs no memory."""
    victim = start()
    stranger = Victim(victim.collector, victim.sink, victim.trust, victim.authority, [])
    if port == "otlp_http":
        bomb = attacks.gzip_bomb(1024)
        assert [stranger.http(port, "POST", "/v1/metrics", bomb, "gzip")[0] for _ in range(20)] == [401] * 20
        assert re.search(r'http_response_status_code="401".*} 20$', victim.own_page(), re.M)
    else:
        with stranger.channel() as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(EXPORT)(b"", timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert re.search(r'rpc_response_status_code="UNAUTHENTICATED".*} 1$', victim.own_page(), re.M)
    victim.unharmed()


def test_own_series_are_not_the_senders_choice(victim: Victim) -> None:
    """Hosts, paths and methods that a client makes up add no series of the collector's own."""
    for number in range(20):
        victim.http("otlp_http", "POST", f"/path-{number}")
        with victim.channel() as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(f"/service-{number}/method")(b"", metadata=victim.metadata, timeout=5)
    page = victim.own_page()
    assert not re.findall(r"(?:path|service|method)-\d", page)
    assert len(re.findall(r"^http_server_request_duration_seconds_count", page, re.M)) <= 2


@pytest.mark.nightly
@pytest.mark.parametrize("vary", ["attribute", "resource", "scope", "name"])
def test_flood_over_many_requests(start: Start, vary: str) -> None:
    """Series spread over many small requests are refused at the memory limit, counted and logged, until they expire."""
    victim = start(**{"exporters::prometheus::metric_expiration": "20s"})
    until = time.monotonic() + 30
    refused = 0
    for first in count(step=4000):
        if time.monotonic() > until:
            break
        if not victim.offer(attacks.flood("gauge", vary, first, 4000)):
            refused += 1
            time.sleep(0.05)
    assert refused
    assert victim.collector.own("otelcol_receiver_refused_metric_points_total") == 4000 * refused
    assert "Memory usage is above soft limit. Refusing data." in victim.collector.log.read_text()

    def served() -> bool:
        try:
            victim.serves()
        except (grpc.RpcError, AssertionError, OSError):
            return False
        return True

    eventually(served, "an honest app is served again")
    assert victim.peak() < 4 * MEMORY


@pytest.mark.nightly
def test_flood_of_span_names(victim: Victim) -> None:
    """Spans of 1,000 services with 500 names each fill the span metrics' share; soon all are served again."""
    for first in range(0, 1000, 25):
        request = ExportTraceServiceRequest()
        for number in range(first, first + 25):
            added = request.resource_spans.add()
            added.resource.attributes.add(key="service.name").value.string_value = f"service-{number}"
            scope = added.scope_spans.add()
            for name in range(500):
                scope.spans.extend(trace(f"name-{name}").resource_spans[0].scope_spans[0].spans)
        if not victim.offer(request):
            time.sleep(0.5)

    def served() -> bool:
        try:
            victim.serves()
        except (grpc.RpcError, OSError):
            return False
        return True

    eventually(served, "an honest app is served again")

    def summed() -> list[tuple[str, str]]:  # at the connector's next flush
        return re.findall(r'^traces_span_metrics_calls_total{job="(.*?)"(.*)}', victim.page(), re.M)

    eventually(lambda: any('otel_metric_overflow="true"' in labels for _, labels in summed()), "an overflow is counted")
    assert max(Counter(service for service, _ in summed()).values()) == 201
    assert victim.peak() < 4 * MEMORY
