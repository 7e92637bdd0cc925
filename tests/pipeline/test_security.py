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

from sink import Sink
from tests.pipeline.certificates import certificates
from tests.pipeline.exports import trace
from tests.pipeline.programs import AGENT, GATEWAY, Collector, Load, eventually, listening, status
from tests.pipeline.relay import Relay

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
        otelcol, configs, home, "agent", **{"OTELCOL_NEXT": secured.gateway.otlp, **secured.secrets, **changed}
    )


def send(otlp: str, request: ExportTraceServiceRequest) -> None:
    with grpc.insecure_channel(otlp) as channel:
        TraceServiceStub(channel).Export(request, timeout=10)


def test_good_token_passes(secured: Secured, otelcol: Path, tmp_path: Path) -> None:
    """An agent with the right authority and token brings a trace to the store, and no log shows the token."""
    with agent_of(secured, otelcol, tmp_path) as agent:
        send(agent.otlp, trace("good", failed=True))
        secured.sink.wait_for(lambda: secured.sink.spans("good"))
        assert secured.token not in agent.log.read_text() + secured.gateway.log.read_text()


def test_wrong_token_is_refused_and_said(secured: Secured, otelcol: Path, tmp_path: Path) -> None:
    """An agent with a wrong token says so in its log, counts what it lost, and nothing of it arrives."""
    wrong = tmp_path / "tokens"
    wrong.write_text("wrong-token\n")
    with agent_of(secured, otelcol, tmp_path, OTELCOL_TOKENS_FILE=str(wrong)) as agent:
        send(agent.otlp, trace("bad", failed=True))
        eventually(lambda: agent.own("otelcol_exporter_send_failed_spans_total") == 1, "the lost span is counted")
        log = agent.log.read_text()
    assert "Unauthenticated" in log
    assert "wrong-token" not in log + secured.gateway.log.read_text()
    assert not secured.sink.spans("bad")


def test_app_says_that_its_token_is_wrong(secured: Secured, tmp_path: Path) -> None:
    """An app that sends to the gateway itself with a wrong token logs what it was answered, and not the token."""
    variables = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": secured.secrets["OTELCOL_CA_FILE"],
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20wrong-token",
    }
    with Load(f"https://{secured.gateway.otlp}", tmp_path, variables, seconds=0.5, quiet=0) as app:
        app.truth()
        assert "UNAUTHENTICATED" in app.log.read_text()
        assert "wrong-token" not in app.log.read_text() + secured.gateway.log.read_text()


def test_no_other_port_is_open(secured: Secured) -> None:
    """Beside the ports that want a token there are two, for health and own metrics, and these stay on loopback."""
    assert secured.gateway.process is not None
    loopback = {f"0100007F:{port:04X}" for port in secured.gateway.ports.values()}
    assert listening(secured.gateway.process.pid) == loopback


@pytest.mark.parametrize(("port", "path"), [("otlp_http", "/v1/traces"), ("metrics", "/metrics")])
def test_http_ports_want_a_token(secured: Secured, port: str, path: str) -> None:
    """OTLP over HTTP and the metrics for Prometheus answer 401 unless the token is right."""
    data = b"" if port == "otlp_http" else None
    assert [secured.https(port, path, token, data) for token in (None, "wrong", secured.token)] == [401, 401, 200]


@pytest.mark.parametrize("port", ["otlp_http", "metrics"])
def test_http_ports_want_tls(secured: Secured, port: str) -> None:
    """Plain HTTP to a TLS port gets no data, and the gateway's log says what was wrong."""
    before = len(secured.gateway.log.read_text())
    assert status(f"http://127.0.0.1:{secured.gateway.ports[port]}/metrics") == 400
    said = "client sent an HTTP request to an HTTPS server"
    eventually(lambda: said in secured.gateway.log.read_text()[before:], said)


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


def test_malformed_otlp_harms_nobody_else(secured: Secured) -> None:
    """Bytes that are no OTLP are refused with the reason, and the next sender is served as before."""
    nonsense = b"\xff\x00nonsense"
    assert secured.https("otlp_http", "/v1/traces", secured.token, nonsense) == 400
    trust = grpc.ssl_channel_credentials(Path(secured.secrets["OTELCOL_CA_FILE"]).read_bytes())
    metadata = [("authorization", f"Bearer {secured.token}")]
    with grpc.secure_channel(secured.gateway.otlp, trust) as channel:
        raw = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError, match="unmarshal"):
            raw(nonsense, metadata=metadata, timeout=5)
        TraceServiceStub(channel).Export(trace("next", failed=True), metadata=metadata, timeout=5)
    secured.sink.wait_for(lambda: secured.sink.spans("next"))


TLS_PORTS = ("otlp_grpc", "otlp_http", "metrics")


def served(gateway: Collector) -> set[str]:
    """The certificates, as PEM, that new connections to the gateway's TLS ports get."""
    return {ssl.get_server_certificate(("127.0.0.1", gateway.ports[port]), timeout=5) for port in TLS_PORTS}


def refused(gateway: Collector) -> bool:
    """Whether the gateway's port for OTLP ends a handshake."""
    try:
        served(gateway)
    except ssl.SSLError:
        return True
    return False


def test_certificate_is_rotated_without_a_restart(otelcol: Path, tmp_path: Path) -> None:
    """New connections get a new certificate within 15 s on every port, and an agent loses nothing meanwhile.

    It trusts both authorities, and connects again while only half of the new pair is in its place.
    """
    old, new = (certificates(tmp_path / name) for name in ("old", "new"))
    pem, key = Path(old["OTELCOL_CERT_FILE"]), Path(old["OTELCOL_KEY_FILE"])
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(secrets["OTELCOL_CA_FILE"]).read_text() for secrets in (old, new)))
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        configs = (*GATEWAY, "overlays/tls-receive.yaml")
        gateway = stack.enter_context(Collector(otelcol, configs, tmp_path, "gateway", **hop, **old))
        relay = stack.enter_context(Relay(gateway.otlp))
        way = {"OTELCOL_NEXT": relay.address, "OTELCOL_CA_FILE": str(both)}
        agent = stack.enter_context(agent_of(Secured(gateway, sink, old), otelcol, tmp_path, **way))
        first = pem.read_text()
        assert served(gateway) == {first}
        relay.move(gateway.otlp)
        send(agent.otlp, trace("before", failed=True))
        sink.wait_for(lambda: sink.spans("before"))
        pem.write_text(Path(new["OTELCOL_CERT_FILE"]).read_text())
        eventually(lambda: refused(gateway), "half a pair is refused")
        relay.move(gateway.otlp)  # the agent has to connect again
        send(agent.otlp, trace("between", failed=True))
        eventually(lambda: "Will retry" in agent.log.read_text(), "the agent keeps it")
        key.write_text(Path(new["OTELCOL_KEY_FILE"]).read_text())
        eventually(lambda: served(gateway) == {pem.read_text()}, "the new certificate on every port")
        assert pem.read_text() != first
        sink.wait_for(lambda: sink.spans("between"))


def test_token_is_rotated_without_a_restart(secured: Secured, otelcol: Path, tmp_path: Path) -> None:
    """A receiver takes each token of its file, a sender sends the first of its own, as the files are at the moment."""
    tokens = Path(secured.secrets["OTELCOL_TOKENS_FILE"])
    before, after = tokens.read_text(), "a$token${HOME}$$\n"
    own = tmp_path / "tokens"
    own.write_text(before)
    with agent_of(secured, otelcol, tmp_path, OTELCOL_TOKENS_FILE=str(own)) as agent:
        tokens.write_text(before + after)
        eventually(lambda: secured.https("otlp_http", "/v1/traces", after.strip(), b"") == 200, "the second is taken")
        own.write_text(after)
        eventually(lambda: agent.log.read_text().count("refresh token") >= 1, "the agent has the new one")
        tokens.write_text(after)
        eventually(lambda: secured.https("otlp_http", "/v1/traces", before.strip(), b"") == 401, "the first is not")
        send(agent.otlp, trace("new-token", failed=True))
        secured.sink.wait_for(lambda: secured.sink.spans("new-token"))
        assert after.strip() not in agent.log.read_text() + secured.gateway.log.read_text()
    tokens.write_text(before)
    eventually(lambda: secured.https("otlp_http", "/v1/traces", before.strip(), b"") == 200, "the first is taken again")
