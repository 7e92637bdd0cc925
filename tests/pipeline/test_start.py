"""What a collector finds when it starts: a damaged or taken queue, a variable that says something else, a late file."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from opentelemetry.instrumentation.schema import settings
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from sink import Sink
from tests.pipeline.certificates import certificates
from tests.pipeline.exports import points, trace
from tests.pipeline.load import SCOPE
from tests.pipeline.programs import AGENT, CONFIGS, GATEWAY, STANDALONE, Collector, eventually

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

READ = {name for path in CONFIGS.rglob("*.yaml") for name in re.findall(r"\$\{env:(\w+)", path.read_text())}
OURS = sorted(name for name in READ if name.startswith("OTEL"))
SLOW_MS = "OTEL_PYTHON_SCHEMA_SLOW_MS"
NOBODY = "127.0.0.1:9"  # no next hop


def refusal(collector: Collector) -> str:
    """What a collector that must not start says."""
    done = subprocess.run(collector.command, cwd=collector.home, env=collector.env, capture_output=True, text=True)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("name", OURS)
def test_empty_variable_ends_the_start(otelcol: Path, tmp_path: Path, name: str, value: str) -> None:
    """A variable that is set, but blank, is refused by its name: empty, it would not mean its default."""
    assert f"{name} is set, but empty" in refusal(Collector(otelcol, STANDALONE, tmp_path, **{name: value}))


@pytest.mark.parametrize("value", ["http://u:pa$$word@h/", "http://u:${env:HOME}@h/"])
def test_dollar_that_would_be_replaced_is_refused(otelcol: Path, tmp_path: Path, value: str) -> None:
    """A password with $$ or ${ in a variable is refused by the variable's name: the collector would change it."""
    said = refusal(Collector(otelcol, STANDALONE, tmp_path, OTELCOL_REMOTE_WRITE=value))
    assert "OTELCOL_REMOTE_WRITE holds $" in said
    assert "pa$" not in said


def test_official_build_does_not_open_a_port_for_an_empty_variable() -> None:
    """Each address on which OTLP is received is an exporter's too, which no build starts with an empty one."""
    for config, receivers in (("base.yaml", 2), ("stores/jaeger.yaml", 3)):
        text = (CONFIGS / config).read_text()
        checked = re.findall(r"^  otlp\w*/(\w+): \{endpoint: \"\$\{env:(\w+):-([\d.:]+)\}\"\}", text, re.M)
        assert len(checked) == receivers
        for name, variable, default in checked:
            assert name == variable
            assert text.count(f"${{env:{variable}:-{default}}}") == 2


def sends_longer(otelcol: Path, home: Path, spelled: str, milliseconds: float) -> set[str]:
    """The spans that a gateway keeps of one a little shorter and one a little longer than its variable says."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        variables = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        variables |= {"OTELCOL_KEEP_PERCENT": "0", SLOW_MS: spelled}
        gateway = stack.enter_context(Collector(otelcol, GATEWAY, home, **variables))
        with grpc.insecure_channel(gateway.otlp) as channel:
            for name, took in (("shorter", milliseconds - 0.01), ("longer", milliseconds + 0.01)):
                request = trace(f"schema.validate {name}")
                (span,) = request.resource_spans[0].scope_spans[0].spans
                span.start_time_unix_nano = span.end_time_unix_nano - int(took * 1e6)
                span.attributes.add(key="schema.validation.outcome").value.string_value = "valid"
                TraceServiceStub(channel).Export(request, timeout=5)
        sink.wait_for(sink.spans)
        return {span.name for span in sink.spans()}


@pytest.mark.parametrize("spelled", ["10", "1e1", " 10 ", "+10", "10.", ".5e2", "0.25", "2.5E-1"])
def test_slow_means_the_same_in_app_and_gateway(otelcol: Path, tmp_path: Path, spelled: str) -> None:
    """Every spelling of the app's limit that the app takes is the same limit in the gateway's sampling."""
    limit = settings.load({}, {SLOW_MS: spelled}).slow_ms
    assert limit == float(spelled)
    assert sends_longer(otelcol, tmp_path, spelled, limit) == {"schema.validate longer"}


def test_app_and_collector_check_by_one_expression() -> None:
    """What is a number of milliseconds is the same text in the app's settings and in the collector's check."""
    check = (CONFIGS / "distribution" / "own" / "variables" / "variables.go").read_text()
    assert f"milliseconds = regexp.MustCompile(`{settings._MILLISECONDS.pattern}`)" in check


@pytest.mark.parametrize(
    "spelled", ["ten", "-1", "nan", "inf", "1_0", "0x10", "10ms", "1e999", "10\n", "\N{FULLWIDTH DIGIT ONE}"]
)
def test_what_the_app_refuses_the_gateway_refuses(
    otelcol: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spelled: str
) -> None:
    """A spelling of the limit that the app does not take ends the gateway's start, by the variable's name."""
    assert settings.load({}, {SLOW_MS: spelled}).slow_ms == 10
    assert SLOW_MS in caplog.text
    said = refusal(Collector(otelcol, GATEWAY, tmp_path, **{SLOW_MS: spelled}))
    assert f"{SLOW_MS}=" in said
    assert "is not a number of milliseconds" in said


def zeroed(queue: bytes) -> bytes:
    return bytes(8192) + queue[8192:]  # both meta pages


def halved(queue: bytes) -> bytes:
    return queue[: len(queue) // 2]


def two_pages(queue: bytes) -> bytes:
    return queue[:8192]


def a_text(queue: bytes) -> bytes:
    return b"this is no database\n" * 1000


def overwritten(queue: bytes) -> bytes:
    return queue[:8192] + b"\xff" * (len(queue) - 8192)


def with_queues(otelcol: Path, home: Path) -> tuple[Collector, Path]:
    """An agent that was killed with 40 spans and 20 points on disk, and the directory of its queues."""
    agent = Collector(otelcol, AGENT, home, "agent", OTELCOL_NEXT=NOBODY)
    with agent, grpc.insecure_channel(agent.otlp) as channel:
        for _ in range(40):
            TraceServiceStub(channel).Export(trace("queued", 3000), timeout=5)
        MetricsServiceStub(channel).Export(points(0, 20, "app", SCOPE), timeout=5)
        eventually(lambda: agent.own("otelcol_exporter_queue_size") == 60, "all of it is on disk")
        agent.kill()
    return agent, Path(agent.env["OTELCOL_QUEUE_DIR"])


@pytest.mark.parametrize("damage", [zeroed, halved, two_pages, a_text, overwritten])
@pytest.mark.parametrize(("damaged", "other", "left"), [("traces", "metrics", 20), ("metrics", "traces", 40)])
def test_damaged_queue_is_moved_aside(
    otelcol: Path, tmp_path: Path, damage: Callable[[bytes], bytes], damaged: str, other: str, left: int
) -> None:
    """A damaged queue stops neither the collector nor the other signal: it is moved aside, and said in the log."""
    agent, directory = with_queues(otelcol, tmp_path)
    queue = directory / f"exporter_otlp_grpc_next_{damaged}"
    broken = damage(queue.read_bytes())
    queue.write_bytes(broken)
    with Sink() as sink:
        agent.env["OTELCOL_NEXT"] = sink.grpc_endpoint.removeprefix("http://")
        with agent, grpc.insecure_channel(agent.otlp) as channel:
            TraceServiceStub(channel).Export(trace("next"), timeout=5)
            sink.wait_for(lambda: sink.spans("next"))
            if other == "traces":
                sink.wait_for(lambda: len(sink.spans("queued")) == left)
            else:
                sink.wait_for(lambda: len(sink.metric_points("api.requests")) == left)
    (aside,) = directory.glob("*.damaged-*")
    assert aside.name.startswith(queue.name)
    assert aside.read_bytes() == broken
    log = agent.log.read_text()
    assert "A queue is damaged: it is moved aside" in log
    assert str(aside) in log


@pytest.mark.nightly
def test_collector_starts_whatever_is_in_its_queue(otelcol: Path, tmp_path: Path) -> None:
    """Of 30 queues with a few random pages overwritten, none keeps the collector from its start and its work."""
    agent, directory = with_queues(otelcol, tmp_path)
    queues = {path: path.read_bytes() for path in directory.iterdir()}
    for seed in range(30):
        rng = random.Random(seed)
        for path, content in queues.items():
            broken = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                page = rng.randrange(len(broken) // 4096) * 4096
                start = page + rng.choice([0, 0, rng.randrange(4096)])
                length = rng.choice([16, 256, 4096])
                broken[start : start + length] = rng.randbytes(len(broken[start : start + length]))
            path.write_bytes(broken)
        with agent, grpc.insecure_channel(agent.otlp) as channel:
            TraceServiceStub(channel).Export(trace("next"), timeout=5)
            time.sleep(1)  # it reads its queue
            assert agent.process is not None
            assert agent.process.poll() is None, f"seed {seed}: {agent.log.read_text()[-2000:]}"


def test_one_queue_for_two_processes_is_refused(otelcol: Path, tmp_path: Path) -> None:
    """A second process with the first one's directory of queues ends, says so, and harms nothing of the first's."""
    with Collector(otelcol, AGENT, tmp_path, "first", OTELCOL_NEXT=NOBODY) as first:
        with grpc.insecure_channel(first.otlp) as channel:
            TraceServiceStub(channel).Export(trace("queued"), timeout=5)
        directory = first.env["OTELCOL_QUEUE_DIR"]
        said = refusal(Collector(otelcol, AGENT, tmp_path, "second", OTELCOL_QUEUE_DIR=directory))
        assert "in use by another process: give each process its own directory (OTELCOL_QUEUE_DIR)" in said
        assert not list(Path(directory).glob("*.damaged-*"))
        assert first.own("otelcol_exporter_queue_size") == 1


@pytest.mark.parametrize("configs", [(*GATEWAY, "overlays/tls-receive.yaml"), (*AGENT, "overlays/tls-send.yaml")])
def test_late_tokens_file_is_waited_for(otelcol: Path, tmp_path: Path, configs: tuple[str, ...]) -> None:
    """A tokens file that comes two seconds late is waited for, with a word in the log, before it takes any data."""
    secrets = certificates(tmp_path)
    tokens = Path(secrets["OTELCOL_TOKENS_FILE"])
    token = tokens.read_text()
    tokens.unlink()
    collector = Collector(otelcol, configs, tmp_path, OTELCOL_NEXT=NOBODY, **secrets)
    with collector.log.open("w") as log:
        process = subprocess.Popen(collector.command, cwd=tmp_path, env=collector.env, stderr=log)
    try:
        eventually(lambda: "retrying to read credentials file" in collector.log.read_text(), "it waits")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", collector.ports["otlp_grpc"]))
        tokens.write_text(token)
        eventually(collector.ready, "it is ready")
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)


def test_little_memory_is_enough_to_start(otelcol: Path, tmp_path: Path) -> None:
    """A limit of 64 MiB starts and takes an app's telemetry: the part kept for a burst is a fifth of any limit."""
    with (
        Collector(otelcol, AGENT, tmp_path, OTELCOL_MEMORY_MIB=64, OTELCOL_NEXT=NOBODY) as agent,
        grpc.insecure_channel(agent.otlp) as channel,
    ):
        for _ in range(20):
            TraceServiceStub(channel).Export(trace("small", 10_000), timeout=5)
        assert agent.own("otelcol_receiver_accepted_spans_total") == 20
