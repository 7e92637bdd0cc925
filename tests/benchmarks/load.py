"""An illustration: what `wrk` says of the FastAPI app of the benchmark behind uvicorn, plain and with ours in turn.

    python -m tests.benchmarks.load                  measure, and put the table into docs/performance.md
    python -m tests.benchmarks.load --serve VARIANT  the server, on a free port that it prints

Client and server share the machine, so the shares are what counts, and only roughly; no goal is decided by it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import uvicorn

from tests.benchmarks import report, variants
from tests.benchmarks.rounds import environment

VARIANTS = ("plain", "ours")
ROUNDS, SECONDS, CONNECTIONS = 7, 4, 16
_POST = """
wrk.method = "POST"
wrk.body = '{}'
wrk.headers["Content-Type"] = "application/json"
"""
_MILLISECONDS = {"us": 1e-3, "ms": 1, "s": 1e3}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=VARIANTS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
        return
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: sudo apt-get install wrk, or brew install wrk")
    found = measure()
    lines = [
        [variant, f"{rate:,.0f}", *(f"{value:.1f}" for value in times)] for variant, (rate, *times) in found.items()
    ]
    table = report.table(["", "requests/s", "median, ms", "99 %, ms"], lines)
    print(table)
    report.write_section("load", table)


def measure() -> dict[str, tuple[float, ...]]:
    """Requests a second, and the median and 99th percentile in ms: of each the median of the rounds."""
    from tests.benchmarks.scenarios import web

    seen: dict[str, list[tuple[float, ...]]] = {variant: [] for variant in VARIANTS}
    with ExitStack() as stack:
        script = Path(stack.enter_context(tempfile.TemporaryDirectory()), "post.lua")
        script.write_text(_POST.format(web.BODY.decode()))
        urls = {variant: _started(stack, variant) for variant in VARIANTS}
        for number in range(ROUNDS + 1):  # the first warms up
            for variant, url in urls.items():
                print(f"round {number} of {ROUNDS}: {variant}", file=sys.stderr)
                result = _wrk(url, script)
                if number:
                    seen[variant].append(result)
    return {
        variant: tuple(median(column) for column in zip(*results, strict=True)) for variant, results in seen.items()
    }


def _started(stack: ExitStack, variant: str) -> str:
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", variant], stdout=subprocess.PIPE, text=True, env=environment()
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)
    assert server.stdout is not None
    return f"http://127.0.0.1:{int(server.stdout.readline())}/leads/1"


def _wrk(url: str, script: Path) -> tuple[float, ...]:
    command = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    shares = [re.search(rf"\s{share}%\s+([\d.]+)(us|ms|s)", text) for share in (50, 99)]
    assert rate is not None, text
    return float(rate[1]), *(float(each[1]) * _MILLISECONDS[each[2]] for each in shares if each is not None)


def serve(name: str) -> None:
    """One uvicorn worker; prints its port."""
    variants.enter(name)
    from tests.benchmarks.scenarios import web  # after it, as an app is imported under `opentelemetry-instrument`

    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(web.app(), log_level="warning", access_log=False))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
