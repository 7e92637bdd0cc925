"""The pipeline's real programs as child processes on free loopback ports: start, wait until ready, kill, start."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
P = TypeVar("P", bound="Program")

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "collector-config"
STANDALONE = ("base.yaml", "gateway.yaml", "standalone.yaml")
GATEWAY = ("base.yaml", "gateway.yaml")
AGENT = ("base.yaml", "agent.yaml")
FaultRow = Callable[[Sequence[object]], None]
"""Adds to the table of faults: what, spans sent, received, lost, duplicated, counts lost."""


def built(target: str) -> Path:
    """Return the path of a binary of ours, building it where it is not yet.

    Without a Go toolchain the tests are skipped on a laptop and fail in CI, where nothing may be skipped in silence.
    """
    command = [sys.executable, ROOT / "collector-config" / "distribution" / "build.py", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        message = f"{target} cannot be built:\n{done.stderr[-2000:]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return Path(done.stdout.strip())


_dealt: set[int] = set()


def free_port() -> int:
    """Return a port that nothing listens on at this moment, and never one twice: programs start at the same time."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _dealt:
            _dealt.add(port)
            return port


def eventually(ask: Callable[[], T], what: str, deadline: float = 120) -> T:
    """Return the first true answer of `ask`, which may also fail with OSError while it is too early.

    Raises:
        AssertionError: if there is none within `deadline` seconds; names `what` and the last answer.
    """
    until, last = time.monotonic() + deadline, None
    while time.monotonic() < until:
        try:
            last = ask()
            if last:
                return last
        except OSError as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"not within {deadline} s: {what} (last: {last!r})")


def get(url: str, headers: Mapping[str, str] | None = None) -> str:
    """Return the body of an HTTP answer. Raises OSError (an HTTPError too) if there is none."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=30) as answer:
        return answer.read().decode()


def status(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None, trust: ssl.SSLContext | None = None
) -> int:
    """Return the HTTP status of a request, of whatever kind. Raises OSError if there is no answer."""
    request = urllib.request.Request(url, data, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def listening(pid: int) -> set[str]:
    """Return the addresses, in the kernel's hexadecimal, on which a process listens (Linux)."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.update(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
        except FileNotFoundError:  # closed since it was listed: a connection attempt, not a listener
            continue
    tables = [Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in sockets}


class Program:
    """One process, whose output goes to a file in `home` and which can be killed and started again.

    Attributes:
        patience: Seconds that it may take to be ready.
    """

    patience = 30.0

    def __init__(self, name: str, command: Sequence[str], home: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.command, self.home = name, list(command), home
        self.env = {**os.environ, **(env or {})}
        self.log, self.cwd = home / f"{name}.log", home
        self.process: subprocess.Popen[str] | None = None
        home.mkdir(parents=True, exist_ok=True)

    def ready(self) -> bool:
        return True

    def start(self) -> None:
        """Start, and return when it is ready. Raises AssertionError with the end of its output if it does not."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            eventually(lambda: self.process.poll() is not None or self.ready(), f"{self.name} is ready", self.patience)
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}"
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from None

    def __enter__(self: P) -> P:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def end(self, sign: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(sign)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise


class Collector(Program):
    """A collector with the given configs (paths under collector-config), every endpoint on a free port."""

    def __init__(
        self, binary: Path, configs: Sequence[str], home: Path, name: str = "collector", **variables: object
    ) -> None:
        self.ports = {name: free_port() for name in ("otlp_grpc", "otlp_http", "health", "metrics", "telemetry")}
        env = {f"OTELCOL_{key.upper()}": f"127.0.0.1:{port}" for key, port in self.ports.items()}
        env["OTELCOL_TELEMETRY_PORT"] = str(self.ports["telemetry"])
        env["OTELCOL_QUEUE_DIR"] = str(home / f"queue-{name}")
        env |= {key: str(value) for key, value in variables.items()}
        self.flags = [f"--config={CONFIGS / config}" for config in configs]
        super().__init__(name, [str(binary), *self.flags], home, env)
        self.otlp = f"127.0.0.1:{self.ports['otlp_grpc']}"

    def ready(self) -> bool:
        return "available" in get(f"http://127.0.0.1:{self.ports['health']}").lower()

    def own(self, series: str) -> float:
        """Return the sum of one of the collector's own series, 0 if it has none."""
        text = get(f"http://127.0.0.1:{self.ports['telemetry']}/metrics")
        return sum(float(value) for value in re.findall(rf"^{series}(?:{{.*}})? (\S+)$", text, re.M))


class Prometheus(Program):
    """A Prometheus with one of our configs, its ports moved and its intervals shortened for the test."""

    def __init__(
        self,
        binary: str,
        config: str,
        home: Path,
        ports: Mapping[int, int],
        flags: Sequence[str] = (),
        edit: Callable[[str], str] = lambda text: text,
        interval: str = "1s",
        port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        text = (CONFIGS / "prometheus" / config).read_text().replace("_interval: 10s", f"_interval: {interval}")
        for documented, actual in ports.items():
            text = text.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{actual}")
        home.mkdir(parents=True, exist_ok=True)
        (home / config).write_text(edit(text))
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        command = [binary, f"--config.file={home / config}", f"--storage.tsdb.path={home / 'tsdb'}", listen, *flags]
        super().__init__("prometheus", command, home)

    def ready(self) -> bool:
        # it takes its scrape targets in 5 s later, for which no test has to stand still
        return "Ready" in get(f"{self.url}/-/ready")

    def api(self, path: str, **parameters: str | float) -> Any:
        return json.loads(get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression evaluates to now, as (labels, value) pairs."""
        return [(row["metric"], float(row["value"][1])) for row in self.api("query", query=expression)["result"]]

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression, None while it has none."""
        rows = self.query(expression)
        assert len(rows) <= 1, f"{expression} has {len(rows)} values"
        return rows[0][1] if rows else None

    def series(self, matcher: str) -> list[dict[str, str]]:
        return self.api("series", **{"match[]": matcher})

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        found = self.api("query_exemplars", query=expression, start=time.time() - 3600, end=time.time() + 60)
        return [exemplar for row in found for exemplar in row["exemplars"]]


class Load(Program):
    """The load script: `truth()` waits until it has sent everything; it lives on for scrapes until stopped."""

    def __init__(self, otlp: str, home: Path, env: Mapping[str, str] | None = None, **options: object) -> None:
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items() if value is not True]
        flags += [f"--{key}" for key, value in options.items() if value is True]
        command = [sys.executable, str(Path(__file__).with_name("load.py")), f"--otlp={otlp}", *flags]
        super().__init__("load", command, home, env)

    def truth(self) -> dict[str, Any]:
        assert self.process is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-3000:]
        return json.loads(line)
