"""Jaeger v2, as users run it behind the collector."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.pipeline.programs import (
    CONFIGS,
    STANDALONE,
    Collector,
    FaultRow,
    Load,
    Program,
    built,
    eventually,
    free_port,
    get,
)

pytestmark = [pytest.mark.timeout(900), pytest.mark.nightly]  # minutes to build


class Jaeger(Program):
    """Jaeger with the config that is shipped, on free ports."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.ports = {name: free_port() for name in ("OTLP_GRPC", "HTTP", "GRPC")}
        env = {f"JAEGER_{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        env |= {"JAEGER_DIR": str(home / "jaeger"), "JAEGER_TELEMETRY_PORT": str(free_port())}
        super().__init__("jaeger", [str(binary), f"--config={CONFIGS / 'stores' / 'jaeger.yaml'}"], home, env)

    def ready(self) -> bool:
        return "data" in self.api("services")

    def api(self, path: str) -> dict:
        return json.loads(get(f"http://127.0.0.1:{self.ports['HTTP']}/api/{path}"))


@pytest.mark.parametrize("name", ["JAEGER_OTLP_GRPC", "JAEGER_HTTP", "JAEGER_GRPC"])
def test_empty_address_opens_no_port(tmp_path: Path, name: str) -> None:
    """An address that is set, but empty, ends Jaeger's start by its name instead of meaning every interface."""
    jaeger = Jaeger(built("jaeger"), tmp_path)
    done = subprocess.run(jaeger.command, env={**jaeger.env, name: ""}, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert f'otlp/{name}: requires a non-empty "endpoint"' in done.stderr


def test_notable_traces_survive_a_kill(otelcol: Path, tmp_path: Path, fault_row: FaultRow) -> None:
    """Every notable trace is in Jaeger with its validation span below its request, although Jaeger is killed midway."""
    with ExitStack() as stack:
        jaeger = stack.enter_context(Jaeger(built("jaeger"), tmp_path))
        hop = {"OTELCOL_NEXT": f"127.0.0.1:{jaeger.ports['OTLP_GRPC']}", "OTELCOL_DECISION_WAIT": "1s"}
        collector = stack.enter_context(Collector(otelcol, STANDALONE, tmp_path, **hop))
        app = stack.enter_context(Load(f"http://{collector.otlp}", tmp_path, seconds=8, quiet=0))
        eventually(lambda: "leads" in (jaeger.api("services")["data"] or []), "the first traces arrived")
        jaeger.kill()
        jaeger.start()
        notable = app.truth()["notable"]
        for trace_id in notable:
            (trace,) = eventually(lambda trace_id=trace_id: jaeger.api(f"traces/{trace_id}")["data"], trace_id)
            names = {span["spanID"]: span["operationName"] for span in trace["spans"]}
            validation = next(span for span in trace["spans"] if span["operationName"].startswith("schema.validate "))
            assert names[validation["references"][0]["spanID"]].startswith("POST ")
        fault_row(("kill -9 Jaeger, with sampling: notable traces", len(notable), len(notable), 0, 0, "-"))
