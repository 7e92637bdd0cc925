"""One agent in front of two gateways: whoever samples whole traces must get whole traces."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from sink import Sink
from tests.pipeline.certificates import certificates
from tests.pipeline.programs import AGENT, GATEWAY, Collector, Load, built, eventually

pytestmark = [pytest.mark.timeout(900), pytest.mark.nightly]  # the full distribution takes minutes to build


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_trace_goes_to_one_gateway(otelcol: Path, tmp_path: Path, tls: bool) -> None:
    """Every span arrives once, both gateways get a share, and none of them gets a part of a trace."""
    secrets = certificates(tmp_path) if tls else {}
    receiving = ["overlays/tls-receive.yaml"] if tls else []
    sending = ["overlays/tls-send.yaml", "overlays/balance.yaml", "overlays/balance-tls.yaml"]
    with ExitStack() as stack:
        sinks = [stack.enter_context(Sink()) for _ in range(2)]
        gateways = [
            stack.enter_context(
                Collector(
                    otelcol,
                    (*GATEWAY, *receiving, "overlays/unsampled.yaml"),
                    tmp_path,
                    f"gateway-{number}",
                    OTELCOL_NEXT=sink.grpc_endpoint.removeprefix("http://"),
                    **secrets,
                )
            )
            for number, sink in enumerate(sinks, 1)
        ]
        addresses = {f"OTELCOL_GATEWAY_{number}": gateway.otlp for number, gateway in enumerate(gateways, 1)}
        configs = (*AGENT, *(sending if tls else ["overlays/balance.yaml"]))
        agent = stack.enter_context(Collector(built("full"), configs, tmp_path, "agent", **addresses, **secrets))
        app = stack.enter_context(Load(f"http://{agent.otlp}", tmp_path, seconds=4, quiet=0))
        sent = app.truth()["spans"]

        def arrived() -> list[str]:
            return [span.span_id for sink in sinks for span in sink.spans()]

        eventually(lambda: len(arrived()) >= sent, "every span")
        assert len(arrived()) == len(set(arrived())) == sent
        first, second = ({span.trace_id for span in sink.spans()} for sink in sinks)
        assert first
        assert second
        assert not first & second
