"""Several gateways: an app that moves from one to another is counted once, at the rate that it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.names import Names
from tests.pipeline.programs import (
    AGENT,
    GATEWAY,
    STANDALONE,
    Collector,
    FaultRow,
    Load,
    Prometheus,
    built,
    eventually,
    free_port,
)
from tests.pipeline.relay import Relay

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

RATE = 10  # requests a second
NOBODY = "127.0.0.1:9"  # no trace store
WRITE = "--web.enable-remote-write-receiver"
Observed = list[tuple[float, float, float]]
"""The time since the move, the rate, and the sum as a multiple of what the app had counted."""


@dataclass
class Gateways:
    """Two standalone collectors behind a relay, an app, and a Prometheus that has both."""

    first: Collector
    second: Collector
    relay: Relay
    server: Prometheus
    app: Load

    def move(self, after: float, then: float, window: str) -> Observed:
        """Watch the rate, and after some seconds let the app's connection reach the second gateway."""
        eventually(lambda: self.server.value("sum(api_requests_total)"), "the first points")
        time.sleep(after)
        self.relay.move(self.second.otlp)
        moved, observed = time.monotonic(), Observed()
        handled = self.app.home / "handled"
        while time.monotonic() - moved < then:
            rate = self.server.value(f"sum(rate(api_requests_total[{window}]))")
            total = self.server.value("sum(api_requests_total)")
            if rate is not None and total is not None:
                observed.append((time.monotonic() - moved, rate, total / handled.stat().st_size))
            time.sleep(0.5)
        return observed


Start = Callable[..., Gateways]


@pytest.fixture
def start(otelcol: Path, prometheus: str, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def gateways(export: float, scrape: str, seconds: float, write: bool = False) -> Gateways:
            port = free_port()
            overlays = ["overlays/unsampled.yaml", *(["overlays/remote-write.yaml"] if write else [])]
            hops = {"OTELCOL_NEXT": NOBODY, "OTELCOL_REMOTE_WRITE": f"http://127.0.0.1:{port}/api/v1/write"}
            first, second = (
                Collector(otelcol, (*STANDALONE, *overlays), tmp_path, name, **hops) for name in ("first", "second")
            )
            scraped = [f'"127.0.0.1:{gateway.ports["metrics"]}"' for gateway in (first, second)]
            server = Prometheus(
                prometheus,
                "remote-write.yml" if write else "collector.yml",
                tmp_path,
                {8888: first.ports["telemetry"]},
                [WRITE],
                lambda text: text.replace('["127.0.0.1:8889"]', f"[{', '.join(scraped)}]"),
                scrape,
                port,
            )
            relay = Relay(first.otlp)
            app = Load(f"http://{relay.address}", tmp_path, seconds=seconds, rate=RATE, interval=export, quiet=0)
            for program in (server, first, second, relay, app):
                stack.enter_context(program)
            return Gateways(first, second, relay, server, app)

        yield gateways


def bounds(observed: Observed) -> tuple[float, float]:
    rates = [rate for _, rate, _ in observed]
    return min(rates), max(rates)


def doubled(observed: Observed) -> float:
    """The seconds after the move until the sum is right again, 0 if it always was."""
    return max((since for since, _, factor in observed if factor > 1.3), default=0)


def test_moved_connection_keeps_the_rate(start: Start) -> None:
    """An app whose connection moves to another gateway keeps its rate within 30 % when both are scraped.

    Exports are a twentieth of the window here. The next test has the documented intervals.
    """
    observed = start(export=1, scrape="1s", seconds=50).move(after=20, then=25, window="20s")
    low, high = bounds(observed)
    assert 0.7 * RATE < low <= high < 1.3 * RATE


@pytest.mark.nightly
def test_moved_connection_at_documented_intervals(start: Start, fault_row: FaultRow) -> None:
    """Scraped every 10 s, a move costs the one-minute rate the export that it falls into; sums double for 130 s."""
    observed = start(export=15, scrape="10s", seconds=240).move(after=70, then=150, window="1m")
    low, high = bounds(observed)
    twice = doubled(observed)
    what = f"move to another gateway, scraped: {RATE}/s reads {low:.1f} to {high:.1f}, sums double for {twice:.0f} s"
    fault_row((what, "-", "-", 0, 0, "exact after that"))
    assert low > 0.5 * RATE
    assert high < 1.3 * RATE
    assert twice < 130


@pytest.mark.nightly
def test_moved_connection_by_remote_write(start: Start, fault_row: FaultRow) -> None:
    """Where gateways write, the series goes on from the other one: the rate is within 30 %, and no sum doubles."""
    observed = start(export=15, scrape="10s", seconds=180, write=True).move(after=70, then=100, window="1m")
    low, high = bounds(observed)
    what = f"move to another gateway, remote write: {RATE}/s reads {low:.1f} to {high:.1f}"
    fault_row((what, "-", "-", 0, 0, "exact"))
    assert 0.7 * RATE < low <= high < 1.3 * RATE
    assert doubled(observed) == 0


def test_a_name_of_several_gateways_is_one_of_them(otelcol: Path, tmp_path: Path) -> None:
    """An agent whose next hop is a name with two addresses sends all to one: both would count the whole app."""
    port = free_port()
    with ExitStack() as stack:
        names = stack.enter_context(Names("127.0.0.1", "127.0.0.2"))
        gateways = [
            stack.enter_context(
                Collector(otelcol, GATEWAY, tmp_path, host, OTELCOL_NEXT=NOBODY, OTELCOL_OTLP_GRPC=f"{host}:{port}")
            )
            for host in ("127.0.0.1", "127.0.0.2")
        ]
        hop = f"dns://{names.address}/gateways.test:{port}"
        agent = stack.enter_context(Collector(otelcol, AGENT, tmp_path, "agent", OTELCOL_NEXT=hop))
        app = stack.enter_context(Load(f"http://{agent.otlp}", tmp_path, seconds=5, quiet=0))
        app.truth()

        def accepted() -> list[float]:
            return [gateway.own("otelcol_receiver_accepted_metric_points_total") for gateway in gateways]

        eventually(lambda: sum(accepted()) >= agent.own("otelcol_receiver_accepted_metric_points_total"), "all points")
        assert min(accepted()) == 0


@dataclass
class Balanced:
    """A balancing agent in front of two gateways that write to one Prometheus."""

    agent: Collector
    gateways: list[Collector]
    server: Prometheus

    def points(self) -> list[float]:
        """The metric points that each gateway has taken."""
        return [gateway.own("otelcol_receiver_accepted_metric_points_total") for gateway in self.gateways]


@pytest.fixture
def balanced(otelcol: Path, prometheus: str, tmp_path: Path) -> Iterator[Balanced]:
    port = free_port()
    variables = {"OTELCOL_NEXT": NOBODY, "OTELCOL_REMOTE_WRITE": f"http://127.0.0.1:{port}/api/v1/write"}
    configs = (*GATEWAY, "overlays/unsampled.yaml", "overlays/remote-write.yaml")
    gateways = [Collector(otelcol, configs, tmp_path, f"gateway-{number}", **variables) for number in (1, 2)]
    addresses = {f"OTELCOL_GATEWAY_{number}": gateway.otlp for number, gateway in enumerate(gateways, 1)}
    agent = Collector(built("full"), (*AGENT, "overlays/balance.yaml"), tmp_path, "agent", **addresses)
    server = Prometheus(
        prometheus, "remote-write.yml", tmp_path, {}, [WRITE], lambda text: text.partition("scrape_c")[0], port=port
    )
    with ExitStack() as stack:
        for program in (server, *gateways, agent):
            stack.enter_context(program)
        yield Balanced(agent, gateways, server)


@pytest.mark.nightly
def test_balanced_app_survives_its_gateway(balanced: Balanced, tmp_path: Path, fault_row: FaultRow) -> None:
    """Behind a balancing agent a process's metrics stay with one gateway, also over its kill: rate and counts hold."""
    otlp, server = f"http://{balanced.agent.otlp}", balanced.server
    with Load(otlp, tmp_path, seconds=120, rate=RATE, interval=5, quiet=0) as app:
        eventually(lambda: sum(balanced.points()), "the first points")
        serving = balanced.points().index(max(balanced.points()))
        time.sleep(70)
        balanced.gateways[serving].kill()
        time.sleep(5)
        balanced.gateways[serving].start()
        rates, until = list[float](), time.monotonic() + 35
        while time.monotonic() < until:
            rates.append(server.value("sum(rate(api_requests_total[1m]))") or 0)
            time.sleep(0.5)
        requests = app.truth()["requests"]
        eventually(lambda: server.value("sum(api_requests_total)") == requests, "every request")
    what = f"kill -9 of one of two gateways, balanced: {RATE}/s reads {min(rates):.1f} to {max(rates):.1f}"
    fault_row((what, "-", "-", 0, 0, "exact"))
    assert balanced.points()[1 - serving] == 0
    assert 0.7 * RATE < min(rates) <= max(rates) < 1.3 * RATE


@pytest.mark.nightly
def test_span_metrics_of_two_gateways_add_up(balanced: Balanced, tmp_path: Path) -> None:
    """Two gateways that each get a part of one process's spans write series of their own, whose sum is the truth."""
    with Load(f"http://{balanced.agent.otlp}", tmp_path, seconds=20, rate=RATE, quiet=0) as app:
        spans = app.truth()["spans"]
        calls = "sum(traces_span_metrics_calls_total)"
        eventually(lambda: balanced.server.value(calls) == spans, f"{spans} calls")
        assert balanced.server.value(f"count({calls.replace('sum', 'sum by (collector_instance_id)')})") == 2
