"""`make pipeline`, with quick intervals: all of it right, nothing left of it, and a taken port explained."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from addresses import LISTENERS
from tests.pipeline.programs import ROOT, eventually, free_port

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

LEADS = ROOT / "examples" / "leads_api"
QUICK = ["--export=1", "--scrape=1", "--requests=300"]


def environment(**changed: str) -> dict[str, str]:
    """Every address on a free port, as a user would move them."""
    moved = {variable: f"127.0.0.1:{free_port()}" for variable in LISTENERS}
    moved |= {name: address.rpartition(":")[2] for name, address in moved.items() if name.endswith("_PORT")}
    return {**os.environ, "PYTHONPATH": str(LEADS), "PYTHONUNBUFFERED": "1", **moved, **changed}


def command(*flags: str) -> list[str]:
    return [sys.executable, str(LEADS / "pipeline.py"), *flags]


@pytest.mark.nightly
@pytest.mark.parametrize("store", ["sink", "jaeger"])
def test_everything_is_right(otelcol: Path, prometheus: str, store: str) -> None:
    """From four workers through the collector every figure is right, and an exemplar's trace is drawn."""
    flags = [f"--store={store}", "--end", *QUICK]
    done = subprocess.run(command(*flags), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    for table in ("Validations by schema", "Validation errors by endpoint", "Problems by field and rule", "Caches"):
        assert table in done.stdout
    assert re.search(r"POST /leads/verified .*\n(.*\n)*.*schema\.validate LeadVerified .*\n.*SELECT", done.stdout)


@pytest.mark.nightly
def test_interrupted_pipeline_leaves_nothing(otelcol: Path, prometheus: str) -> None:
    """Ctrl-C amid the traffic ends every program that the pipeline started, the workers too."""
    variables = environment()
    with subprocess.Popen(
        command("--store=sink", *QUICK), env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as pipeline:
        try:
            assert pipeline.stdout is not None
            shown = list(takewhile(lambda line: not line.startswith("first"), pipeline.stdout))
            assert pipeline.poll() is None, "".join(shown)
            children = psutil.Process(pipeline.pid).children(recursive=True)
        finally:
            pipeline.send_signal(signal.SIGINT)
        assert pipeline.wait(60) == 130
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert len(children) >= 7  # collector, Alertmanager, Prometheus, the app and its workers


def test_port_in_use_is_told_with_its_holder() -> None:
    """A port that is taken is told with the program that holds it and the variable that moves it; nothing starts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            command("--end"), env=environment(OTELCOL_METRICS=taken), capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert f"{taken}, for the collector, is held by {psutil.Process().name()} (pid {os.getpid()})" in said
    assert "OTELCOL_METRICS" in said
    assert eventually(lambda: not psutil.Process().children(), "nothing was started")
