"""The real programs of the scenario: PostgreSQL, app, collector, trace store, Prometheus, Alertmanager, webhook."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import psutil
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus

from addresses import CONFIGS, build
from processes import HOST, ProgramError, answers, beside_python, clean_environment, listens, program
from scenario.scale import Scale
from scenario.webhook import Webhook
from sink import Sink
from stores import Jaeger

HERE = Path(__file__).parent
LEADS = HERE.parent / "leads_api"
EXPORT, SCRAPE = 10.0, 10.0
WORKERS = 4
ONE_CORE = "-c max_parallel_workers_per_gather=0 -c jit=off"
"""A slow look-up leaves the other core to everybody else."""

BREAKS = ("exemplar", "route", "guard", "worker")
"""What can be broken on purpose: each makes one stage fail."""


@dataclass
class Stack:
    """Everything, until `running` unwinds.

    Attributes:
        home: Takes logs, data and configs.
        scale: Of every time constant.
        limit: Seconds of a validation's 95th percentile, above which the alert fires.
        brings: Folders of migrations that the project has beside the app's own.
        broken: One of BREAKS, or nothing.
        keeps: The trace store, `sink` or `jaeger`.
        first: What lets the app and its database come first.
        where: Ports by name.
    """

    running: ExitStack
    home: Path
    scale: Scale
    limit: float
    brings: tuple[str, ...]
    broken: str = ""
    keeps: str = "sink"
    first: list[str] = field(default_factory=list)
    where: dict[str, int] = field(default_factory=dict)

    def start(self, revision: str) -> None:
        """Start the app, and all that it needs.

        Args:
            revision: Of the database.

        Raises:
            ProgramError: if one does not start.
        """
        names = ("app", "otlp", "http", "metrics", "health", "own", "prometheus", "alertmanager")
        self.where = {name: quiet_port() for name in names}
        self.database = self._postgresql() or f"sqlite:///{self.home / 'leads.sqlite3'}"
        self.project = self._project()
        self.traces, self.store = self._store()
        self.webhook = self.running.enter_context(Webhook())
        self.collector = ExitStack()
        self.running.enter_context(self.collector)
        self.start_collector()
        self.otel_schema("upgrade", revision)
        self._app()

    def watch(self) -> None:
        """Start who watches the app: not before it is warm, since a process's first validations are slow.

        Raises:
            ProgramError: if one does not start.
        """
        limits = [f"--set={name}={self.limit:g}" for name in ("p95_seconds", "slo_seconds")]
        self.configs = self.home / "configs"
        self.otel_schema("export", str(self.configs), *limits)
        self._alertmanager()
        self._prometheus()

    def url(self, name: str) -> str:
        """Of a program."""
        return f"http://{HOST}:{self.where[name]}"

    @property
    def prometheus(self) -> Prometheus:
        """To ask."""
        return Prometheus(self.url("prometheus"))

    def environment(self) -> dict[str, str]:
        """Of the app and of commands."""
        return clean_environment() | {"PYTHONPATH": f"{LEADS}:{HERE.parent}", "LEADS_DATABASE_URL": self.database}

    def otel_schema(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, as a person or a pipeline would.

        Raises:
            ProgramError: if it ends with 2, unless it is not to be checked.
        """
        done = subprocess.run(
            [beside_python("otel-schema"), *arguments],
            cwd=self.project, env=self.environment(), capture_output=True, text=True, timeout=3600,
        )  # fmt: skip
        with (self.home / "commands.log").open("a") as log:
            log.write(f"$ otel-schema {' '.join(arguments)}\n{done.stdout}{done.stderr}[exit {done.returncode}]\n\n")
        if check and done.returncode == 2:
            raise ProgramError(f"otel-schema {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done

    def start_collector(self) -> None:
        """Start it, also again after `stop_collector`."""
        configs = [f"--config={CONFIGS / name}" for name in ("base.yaml", "gateway.yaml", "standalone.yaml")]
        variables = {
            "OTELCOL_OTLP_GRPC": f"{HOST}:{self.where['otlp']}",
            "OTELCOL_OTLP_HTTP": f"{HOST}:{self.where['http']}",
            "OTELCOL_METRICS": f"{HOST}:{self.where['metrics']}",
            "OTELCOL_HEALTH": f"{HOST}:{self.where['health']}",
            "OTELCOL_TELEMETRY_PORT": str(self.where["own"]),
            "OTELCOL_NEXT": self.store,
            "OTELCOL_QUEUE_DIR": str(self.home / "queue"),
            "OTELCOL_DECISION_WAIT": self.scale.duration(10),
            "OTELCOL_KEEP_PERCENT": "1",
        }
        command: list[str | Path] = [build("small"), *configs]
        self._program("collector", command, lambda: answers(self.url("health")), variables, self.collector)

    def stop_collector(self) -> None:
        """End it in order."""
        self.collector.close()

    def workers(self) -> list[int]:
        """The process ids of the app's workers, the oldest first; uvicorn replaces each that ends."""
        found: list[tuple[float, int]] = []
        for child in psutil.Process(self.app.pid).children(recursive=True):
            with suppress(psutil.Error):  # it may end meanwhile
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append((child.create_time(), child.pid))
        return [pid for _, pid in sorted(found)]

    def _program(
        self,
        name: str,
        command: list[str | Path],
        ready: Callable[[], bool],
        variables: Mapping[str, str] | None = None,
        until: ExitStack | None = None,
    ) -> Popen[str]:
        log = self.home / f"{name}.log"
        started = program(name, command, log, ready, clean_environment() | dict(variables or {}), self.home)
        return (until or self.running).enter_context(started)

    def _store(self) -> tuple[Sink | Jaeger, str]:
        """The trace store, and where it takes traces."""
        if self.keeps == "sink":
            sink = self.running.enter_context(Sink())
            return sink, sink.grpc_endpoint.removeprefix("http://")
        ports = {name: f"{HOST}:{quiet_port()}" for name in ("OTLP_GRPC", "HTTP", "GRPC")}
        store = Jaeger(f"http://{ports['HTTP']}")
        variables = {f"JAEGER_{name}": address for name, address in ports.items()}
        variables |= {"JAEGER_DIR": str(self.home / "jaeger"), "JAEGER_TELEMETRY_PORT": str(quiet_port())}
        command: list[str | Path] = [build("jaeger"), f"--config={CONFIGS / 'stores' / 'jaeger.yaml'}"]
        self._program("jaeger", command, lambda: answers(f"{store.url}/api/services"), variables)
        return store, ports["OTLP_GRPC"]

    def _postgresql(self) -> str:
        """The URL of a server of its own; "" where there is none on this machine."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        binary = str(found[-1]) if found else shutil.which("initdb")
        if binary is None:
            return ""
        folder, port, as_server = self.home / "postgresql", quiet_port(), [*self.first]
        folder.mkdir()
        if os.getuid() == 0:  # it refuses to run as root
            as_server += ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
            shutil.chown(folder, "postgres", "postgres")
            for parent in folder.parents[:-1]:
                parent.chmod(parent.stat().st_mode | 0o011)
        data, programs = folder / "data", Path(binary).parent
        quiet = {"check": True, "cwd": "/", "stdout": subprocess.DEVNULL}
        subprocess.run([*as_server, binary, "-D", data, "-U", "leads", "-A", "trust", "-N"], **quiet)
        options = f"-c listen_addresses={HOST} -p {port} -k '' -c fsync=off -c max_connections=200 {ONE_CORE}"
        ctl = [*as_server, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        subprocess.run([*ctl, "-o", options, "start"], **quiet)
        self.running.callback(subprocess.run, [*ctl, "-m", "immediate", "stop"], cwd="/", stdout=subprocess.DEVNULL)
        return f"postgresql+psycopg://leads@{HOST}:{port}/postgres"

    def _project(self) -> Path:
        """The project whose migrations are run: those of the app, and the update's."""
        project = self.home / "project"
        project.mkdir()
        migrations = LEADS / "migrations"
        versions = os.pathsep.join(str(each) for each in (migrations / "versions", *self._brought()))
        ini = f"[alembic]\nscript_location = {migrations}\nversion_locations = {versions}\npath_separator = os\n"
        (project / "alembic.ini").write_text(ini)
        (project / "pyproject.toml").write_text("[tool.otel-schema]\nserves_by_revision = true\n")
        return project

    def _brought(self) -> list[Path]:
        return [HERE / "migrations" / each for each in self.brings]

    def _alertmanager(self) -> None:
        binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if binary is None:
            raise ProgramError("no Alertmanager on PATH (Debian: apt-get install prometheus-alertmanager)")
        routes, _, receivers = (
            (self.configs / "alertmanager" / "alertmanager.yml").read_text().partition("\nreceivers:\n")
        )
        to_webhook = "".join(
            f"  - name: {name}\n    webhook_configs: [{{url: '{self.webhook.url}/{name}', send_resolved: true}}]\n"
            for name in re.findall(r"^  - name: (\S+)", receivers, re.M)
        )
        config = self.home / "alertmanager.yml"
        routes = self.scale.config(routes).replace("[schema.tmpl]", "[]")
        # the route for progress is the one that nobody has to wait for at any scale
        routes = re.sub(r"(receiver: progress\n(?:.*\n)*?.*group_wait: )\S+", r"\g<1>1s", routes, count=1)
        if self.broken == "route":
            routes = routes.replace("receiver: chat", "receiver: mail", 1)
        config.write_text(f"{routes}\nreceivers:\n{to_webhook}")
        flags = [
            f"--config.file={config}", f"--storage.path={self.home / 'alerts'}", "--cluster.listen-address=",
            f"--web.listen-address={HOST}:{self.where['alertmanager']}",
        ]  # fmt: skip
        self._program("alertmanager", [binary, *flags], lambda: answers(f"{self.url('alertmanager')}/-/ready"))

    def _prometheus(self) -> None:
        rules = self.home / "rules"
        rules.mkdir()
        for source in (self.configs / "prometheus" / "rules").glob("*.rules.yml"):
            (rules / source.name).write_text(self.scale.config(source.read_text()))
        config = self.scale.config((self.configs / "prometheus" / "collector.yml").read_text())
        for default, name in (("9093", "alertmanager"), ("8889", "metrics"), ("8888", "own")):
            config = config.replace(f'"127.0.0.1:{default}"', f'"{HOST}:{self.where[name]}"')
        file = self.home / "prometheus.yml"
        file.write_text(config)
        flags = [
            f"--config.file={file}", f"--storage.tsdb.path={self.home / 'tsdb'}",
            f"--web.listen-address={HOST}:{self.where['prometheus']}",
        ]  # fmt: skip
        if self.broken != "exemplar":
            flags.append("--enable-feature=exemplar-storage")
        binary = shutil.which("prometheus") or build("prometheus3")
        self._program("prometheus", [binary, *flags], lambda: answers(f"{self.url('prometheus')}/-/ready"))

    def _app(self) -> None:
        telemetry = {
            "OTEL_SERVICE_NAME": "leads-api",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{self.where['otlp']}",
            "OTEL_METRIC_EXPORT_INTERVAL": f"{self.scale.seconds(EXPORT) * 1000:.0f}",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": f"{max(1.0, self.scale.seconds(30)):g}",
        }
        port = str(self.where["app"])
        serve = [
            "uvicorn",
            "scenario.served:app",
            "--host",
            HOST,
            "--port",
            port,
            "--no-access-log",
            "--workers",
            str(WORKERS),
        ]
        patience = ["--timeout-worker-healthcheck", "60", "--timeout-keep-alive", "60"]
        self.app = self.running.enter_context(
            program(
                "app",
                [*self.first, beside_python("opentelemetry-instrument"), sys.executable, "-m", *serve, *patience],
                self.home / "app.log",
                lambda: listens(self.where["app"]),
                self.environment() | telemetry,
                self.project,
            )
        )


def quiet_port() -> int:
    """A free port outside of the range from which this machine gives one to each outgoing connection."""
    while True:
        port = random.randrange(15_000, 30_000)
        try:
            with socket.create_server((HOST, port)):
                return port
        except OSError:
            continue


def come_first(priority: int) -> list[str]:
    """Let this process, and what it starts from now on, run before all else on a busy machine, where that is allowed.

    A nice value is not enough: a task that wakes up still waits until another one's time slice is over, 10 ms and more
    at each of a look-up's round trips.

    Returns:
        What lets a program come before those of a lower priority; nothing where it is not allowed.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except (AttributeError, OSError):
        return []
    return ["chrt", "--rr", str(priority + 1)] if shutil.which("chrt") else []


def wait(ready: Callable[[], object], seconds: float, pause: float = 0.25) -> bool:
    """Poll until something holds; whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(pause)
    return False
