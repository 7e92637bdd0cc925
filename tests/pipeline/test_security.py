"""With TLS and tokens on, nothing gets in or out without both, and what is refused is said and harms nobody else."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from certificates import certificates
from programs import AGENT, GATEWAY, STANDALONE, Collector, Load, eventually, status
from sink import Sink

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector


@dataclass
class Secured:
    """A gateway with TLS and tokens in front of a sink, and the secrets that open it."""

    gateway: Collector
    sink: Sink
    secrets: dict[str, str]

    @property
    def token(self) -> str:
        return Path(self.secrets["OTELCOL_TOKENS_FILE"]).read_text().split()[0]

    def https(self, port: str, path: str, token: str | None, data: bytes | None = None) -> int:
        """Return the HTTP status of a request over TLS. Raises OSError if there is no answer."""
        trust = ssl.create_default_context(cafile=self.secrets["OTELCOL_CA_FILE"])
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": "application/x-protobuf"} if data is not None else {}
        return status(f"https://127.0.0.1:{self.gateway.ports[port]}{path}", data, headers, trust)


@pytest.fixture(scope="module")
def secured(otelcol: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured")
    secrets = certificates(home)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        configs = (*GATEWAY, "overlays/tls-receive.yaml")
        gateway = stack.enter_context(Collector(otelcol, configs, home, "gateway", **hop, **secrets))
        yield Secured(gateway, sink, secrets)


def agent_of(secured: Secured, otelcol: Path, home: Path, **changed: str) -> Collector:
    configs = (*AGENT, "overlays/tls-send.yaml")
    return Collector(
        otelcol, configs, home, "agent", OTELCOL_NEXT=secured.gateway.otlp, **{**secured.secrets, **changed}
    )


def test_good_token_passes(secured: Secured, otelcol: Path, tmp_path: Path) -> None:
    """An agent with the right certificate authority and token brings every notable trace to the store."""
    with (
        agent_of(secured, otelcol, tmp_path) as agent,
        Load(f"http://{agent.otlp}", tmp_path, seconds=2, quiet=0) as app,
    ):
        notable = set(app.truth()["notable"])
        secured.sink.wait_for(lambda: notable <= {span.trace_id for span in secured.sink.spans()}, deadline=30)


def test_wrong_token_is_refused_and_said(secured: Secured, otelcol: Path, tmp_path: Path) -> None:
    """An agent with a wrong token says so in its log, counts what it lost, and nothing of it arrives."""
    wrong = tmp_path / "tokens"
    wrong.write_text("wrong-token\n")
    before = len(secured.sink.spans())
    with (
        agent_of(secured, otelcol, tmp_path, OTELCOL_TOKENS_FILE=str(wrong)) as agent,
        Load(f"http://{agent.otlp}", tmp_path, seconds=1, quiet=0) as app,
    ):
        spans = app.truth()["spans"]
        eventually(lambda: agent.own("otelcol_exporter_send_failed_spans_total") == spans, "every lost span is counted")
        log = agent.log.read_text()
    assert "Unauthenticated" in log
    assert "wrong-token" not in log
    assert len(secured.sink.spans()) == before


@pytest.mark.parametrize(("port", "path"), [("otlp_http", "/v1/traces"), ("metrics", "/metrics")])
def test_http_ports_want_a_token(secured: Secured, port: str, path: str) -> None:
    """OTLP over HTTP and the metrics for Prometheus answer 401 unless the token is right."""
    data = b"" if port == "otlp_http" else None
    assert [secured.https(port, path, token, data) for token in (None, "wrong", secured.token)] == [401, 401, 200]


@pytest.mark.parametrize("port", ["otlp_http", "metrics"])
def test_http_ports_want_tls(secured: Secured, port: str) -> None:
    """Plain HTTP to a TLS port gets no data."""
    assert status(f"http://127.0.0.1:{secured.gateway.ports[port]}/metrics") == 400


@pytest.mark.parametrize("token", [None, "wrong"])
def test_grpc_port_wants_a_token(secured: Secured, token: str | None) -> None:
    """OTLP over gRPC answers UNAUTHENTICATED for traces and metrics without the right token."""
    trust = grpc.ssl_channel_credentials(Path(secured.secrets["OTELCOL_CA_FILE"]).read_bytes())
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.secure_channel(secured.gateway.otlp, trust) as channel:
        calls = (
            lambda: TraceServiceStub(channel).Export(ExportTraceServiceRequest(), metadata=metadata, timeout=5),
            lambda: MetricsServiceStub(channel).Export(ExportMetricsServiceRequest(), metadata=metadata, timeout=5),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_plain_grpc_to_a_tls_port_is_refused(secured: Secured) -> None:
    """An app that speaks plain gRPC to a TLS port is not served."""
    with grpc.insecure_channel(secured.gateway.otlp) as channel, pytest.raises(grpc.RpcError) as refused:
        TraceServiceStub(channel).Export(ExportTraceServiceRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_malformed_otlp_harms_nobody_else(otelcol: Path, tmp_path: Path) -> None:
    """Bytes that are no OTLP get a 400, and the next sender is served as before."""
    with Sink() as sink:
        hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        with Collector(otelcol, STANDALONE, tmp_path, **hop) as collector:
            url = f"http://127.0.0.1:{collector.ports['otlp_http']}/v1/metrics"
            assert status(url, b"\xff\x00nonsense", {"Content-Type": "application/x-protobuf"}) == 400
            with Load(f"http://{collector.otlp}", tmp_path, seconds=1, quiet=0) as app:
                notable = set(app.truth()["notable"])
                sink.wait_for(lambda: notable <= {span.trace_id for span in sink.spans()}, deadline=30)
