"""Where each program of the pipeline listens: a variable of its config, or one of ours, moves it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from processes import HOST, ProgramError

CONFIGS = Path(__file__).parents[2] / "collector-config"

OWN = {
    "PIPELINE_APP": "127.0.0.1:8000",
    "PIPELINE_PROMETHEUS": "127.0.0.1:9090",
    "PIPELINE_ALERTMANAGER": "127.0.0.1:9093",
}
"""Variables of programs whose own configs know none."""

LISTENERS = {
    "PIPELINE_APP": "the app",
    "PIPELINE_PROMETHEUS": "Prometheus",
    "PIPELINE_ALERTMANAGER": "Alertmanager",
    "OTELCOL_OTLP_GRPC": "the collector",
    "OTELCOL_OTLP_HTTP": "the collector",
    "OTELCOL_METRICS": "the collector",
    "OTELCOL_HEALTH": "the collector",
    "OTELCOL_TELEMETRY_PORT": "the collector",
    "JAEGER_OTLP_GRPC": "the trace store",
    "JAEGER_HTTP": "the trace store",
    "JAEGER_GRPC": "the trace store",
    "JAEGER_TELEMETRY_PORT": "the trace store",
}


class Addresses:
    """The addresses of one run, as `host:port` by variable; a variable that names a port is on loopback."""

    def __init__(self) -> None:
        texts = [path.read_text() for path in (*CONFIGS.glob("*.yaml"), *CONFIGS.glob("stores/*.yaml"))]
        self._defaults = OWN | {
            variable: default
            for text in texts
            for variable, default in re.findall(r"\$\{env:(\w+):-([^}]+)\}", text)
            if variable in LISTENERS
        }
        self._chosen = {variable: os.environ.get(variable) or self._defaults[variable] for variable in LISTENERS}

    def __getitem__(self, variable: str) -> str:
        return _address(self._chosen[variable])

    def url(self, variable: str) -> str:
        return f"http://{self[variable]}"

    def port(self, variable: str) -> int:
        return int(self[variable].rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """The variables as the configs read them."""
        return self._chosen.copy()

    def moved(self, config: str) -> str:
        """A config that reads no variable, with the addresses of this run instead of the documented ones."""
        for variable, default in self._defaults.items():
            config = config.replace(f'"{_address(default)}"', f'"{self[variable]}"')
        return config

    def must_be_free(self) -> None:
        """Look whether somebody else listens where we shall.

        Raises:
            ProgramError: if so; says who, and how to go on.
        """
        taken = [
            f"{self[variable]}, for {name}, is held by {_holder(self.port(variable))}: end it, or choose another with "
            f"{variable}"
            for variable, name in LISTENERS.items()
            if not _free(self[variable])
        ]
        if taken:
            raise ProgramError("\n".join(taken))


def build(target: str) -> Path:
    """The path of a binary of ours, built where it is not yet.

    Raises:
        ProgramError: if it cannot be built; why, is on standard error.
    """
    command = [sys.executable, CONFIGS / "distribution" / "build.py", target]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ProgramError(f"{target} cannot be built")
    return Path(done.stdout.strip())


def _address(value: str) -> str:
    return value if ":" in value else f"{HOST}:{value}"


def _free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server((host, int(port))):
            return True
    except OSError:
        return False


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            process = psutil.Process(connection.pid)
            return f"{process.name()} (pid {process.pid})"
    return "a program of another user"
