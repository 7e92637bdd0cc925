"""Published applications, each in an environment of its own, served with this package and without it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from processes import HOST, clean_environment, free_port, tail, until
from sink import Sink

CACHE = Path(os.environ.get("SCHEMA_APPLICATIONS", Path.home() / ".cache" / "schema-applications"))
PATIENCE = 300  # s, for a start and for an answer: a request that is given up would be counted all the same

CANARY = "kestrel7canary"
"""In every value that the client sends, in no name that an application declares."""


@dataclass(frozen=True)
class Call:
    """One request of the client.

    Attributes:
        route: The template that the application's authors gave the route; None where there is none.
        body: Sent as JSON; a str as it stands.
        status: What the application answers.
        invalid: How many schemas of the application the request breaks.
        headers: Of the calls after this one; a name in braces is of the answer's JSON.
    """

    method: str
    path: str
    route: str | None
    status: int
    body: Any = None
    invalid: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Application:
    """A published application.

    Attributes:
        requirement: Its distribution, pinned.
        command: How its documentation starts it; `{port}` and `{home}` are filled in.
        ready: A path that is answered once it serves.
        ready_route: That path's template.
        calls: What the client asks, in this order.
        environment: What it needs to be told.
        prepare: Commands to run before.
        extra: Distributions that its command needs besides.
        single: Whether one process serves, so that a Prometheus endpoint shows everything.
        module: How the modules of its own schemas start.
    """

    requirement: str
    command: tuple[str, ...]
    ready: str
    ready_route: str
    calls: tuple[Call, ...]
    module: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: tuple[tuple[str, ...], ...] = ()
    extra: tuple[str, ...] = ()
    single: bool = True

    @property
    def folder(self) -> Path:
        """Its environment."""
        return CACHE / self.requirement


class Missing(Exception):
    """An application could not be installed; the message is pip's."""


def install(application: Application, wheel: Path) -> None:
    """Put an application and the wheel into the application's environment, as its users do.

    Raises:
        Missing: If pip cannot.
    """
    folder, ready = application.folder, application.folder / "ready"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            _run(_pip(folder), "install", "-q", application.requirement, *application.extra, f"{wheel}[quickstart]")
            ready.touch()
        _run(_pip(folder), "install", "-q", "--no-deps", "--force-reinstall", str(wheel))


def _pip(folder: Path) -> str:
    return str(folder / "bin" / "pip")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    if done.returncode:
        raise Missing(f"{' '.join(command)}:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


@dataclass
class Served:
    """What one run showed.

    Attributes:
        answers: Status and masked body of each call.
        log: Method, template and status of every request that the client sent, from its own notes.
        idle: Series before the first call, by instrument; used: after the last.
        top: What `otel-schema top --json` said in the first minute, of a single process.
        output: What the application printed.
    """

    sink: Sink
    answers: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    log: list[tuple[str, str | None, int]] = field(default_factory=list[tuple[str, "str | None", int]])
    idle: Counter[str] = field(default_factory=Counter[str])
    used: Counter[str] = field(default_factory=Counter[str])
    top: dict[str, Any] = field(default_factory=dict[str, Any])
    output: str = ""

    def requests(self) -> Counter[tuple[str, str | None]]:
        """Requests by method and template, as the client counted them."""
        return Counter((method, route) for method, route, _ in self.log)


def latest(sink: Sink, name: str) -> dict[tuple[Any, ...], float]:
    """Instance and attributes of each series → its last value."""
    found: dict[tuple[Any, ...], float] = {}
    for point in sink.metric_points(name):
        key = (point.resource.get("service.instance.id"), *sorted(point.attributes.items()))
        found[key] = point.count if point.kind == "histogram" else point.value
    return found


def total(sink: Sink, name: str, *by: str) -> Counter[tuple[Any, ...]]:
    """Sum over all instances, by attributes; what is 0 is left out."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for (_, *attributes), value in latest(sink, name).items():
        held = dict(attributes)
        sums[tuple(held.get(each) for each in by)] += int(value)
    return +sums


def series(sink: Sink, names: list[str]) -> Counter[str]:
    """How many series each instrument has."""
    return Counter({name: len(latest(sink, name)) for name in names})


@contextmanager
def _serving(application: Application, home: Path, environment: dict[str, str], port: int) -> Iterator[Path]:
    fill = {"port": str(port), "home": str(home)}
    bin_ = application.folder / "bin"
    for command in application.prepare:
        done = subprocess.run(
            [str(bin_ / command[0]), *(part.format(**fill) for part in command[1:])],
            env=environment | {"OTEL_SDK_DISABLED": "true"}, cwd=home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    log = home / "log"
    command = [str(bin_ / application.command[0]), *(part.format(**fill) for part in application.command[1:])]
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(bin_ / "opentelemetry-instrument"), "--", *command],
            env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield log
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                pass
            with _nobody_left():
                os.killpg(running.pid, 9)
            running.wait()


@contextmanager
def _nobody_left() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        pass


def serve(application: Application, home: Path, sink: Sink, names: list[str], ours: bool, prompt: str) -> Served:
    """Start an application, ask it everything, and wait until everything is exported."""
    home.mkdir()
    port, prometheus = free_port(), free_port()
    environment = clean_environment() | {
        "PATH": f"{application.folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "OTEL_SERVICE_NAME": "application",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "2000",
        "OTEL_METRICS_EXPORTER": "otlp,prometheus" if application.single else "otlp",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(prometheus),
        "OTEL_EXPORTER_PROMETHEUS_HOST": HOST,
        "OTEL_LOGS_EXPORTER": "none",
    }
    environment |= {key: value.format(home=home, port=port) for key, value in application.environment.items()}
    if not ours:
        environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "schema"
    served = Served(sink)
    with (
        _serving(application, home, environment, port) as log,
        httpx.Client(base_url=f"http://{HOST}:{port}", timeout=PATIENCE) as client,
    ):

        def ask(call: Call) -> httpx.Response:
            content = call.body if isinstance(call.body, str) or call.body is None else json.dumps(call.body)
            answer = client.request(
                call.method, call.path, content=content, headers={"content-type": "application/json"}
            )
            served.log.append((call.method, call.route, answer.status_code))
            for header, value in call.headers.items():
                client.headers[header] = value.format(**answer.json())
            return answer

        def answered() -> bool:
            try:
                return ask(Call("GET", application.ready, application.ready_route, 200)).status_code == 200
            except httpx.ConnectError:
                return False

        assert until(answered, PATIENCE), f"{application.requirement} does not start:{tail(log)}"
        if ours:
            until(lambda: bool(latest(sink, "api.requests")), 20)
            served.idle = series(sink, names)
        for call in application.calls:
            answer = ask(call)
            served.answers.append((answer.status_code, masked(answer.text)))
        if ours:
            arrived = time.time_ns() + 1_000_000_000
            instances = {point.resource.get("service.instance.id") for point in sink.metric_points("api.requests")}
            sink.wait_for(
                lambda: (
                    instances
                    <= {
                        point.resource.get("service.instance.id")
                        for point in sink.metric_points("api.requests")
                        if point.time_ns > arrived
                    }
                ),
                30,
            )
            served.used = series(sink, names)
            if application.single:
                command = [prompt, "top", f"http://{HOST}:{prometheus}/metrics", "--json"]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                served.top = json.loads(done.stdout)
    served.output = log.read_text(errors="replace")
    return served


_MASKED = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b1[6-9]\d{8}(\.\d+|\d{3}|\d{6}|\d{9})?\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "<id>"),
    (re.compile(r"\b0\.\d{3,}\b"), "<seconds>"),
    (re.compile(r"\b[\w-]{20,}\.[\w-]{5,}\.[\w-]{20,}"), "<token>"),
    (re.compile(rf"{re.escape(HOST)}:\d+"), "<host>"),
    (re.compile(r"[^\s\"']*/(plain|ours)\b"), "<home>"),
]
"""What differs from run to run in any case: ids, times, tokens, ports, folders."""


def masked(text: str) -> str:
    """An answer without what differs from run to run."""
    for pattern, name in _MASKED:
        text = pattern.sub(name, text)
    return text
