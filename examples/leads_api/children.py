"""The demo's programs: started on free ports of loopback, and ended in every case."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

HOST = "127.0.0.1"


class ProgramError(Exception):
    """A program that did not start, or ended before its time; the message says how to go on."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as server:
        return server.getsockname()[1]


@contextmanager
def program(
    name: str,
    command: list[str | Path],
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program while the block runs.

    Args:
        name: for messages.
        command: its arguments.
        log: file that takes what it prints.
        ready: whether it has started, as `answers` and `listens` tell.
        environment: all of it; None inherits.
        cwd: where it runs.

    Raises:
        ProgramError: if it ends, or is not ready after 30 s; the end of its log tells why (a taken port, ...).
    """
    with log.open("wb") as output:
        # a session of its own: Ctrl-C reaches this process alone, which then ends its programs in order
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=cwd, start_new_session=True
        )
    try:
        if not until(lambda: _alive(process, name, log) and ready(), 30):
            raise ProgramError(f"{name} is not ready after 30 s:{_tail(log)}")
        yield process
    finally:
        _end(process)


def once(name: str, command: list[str | Path], environment: Mapping[str, str], cwd: Path) -> None:
    """Runs a program to its end.

    Raises:
        ProgramError: if it fails.
    """
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ProgramError(f"{name} failed:\n{done.stdout}{done.stderr}")


def until(predicate: Callable[[], bool], deadline: float) -> bool:
    """Waits until a predicate holds; False if it does not within `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (held := predicate()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port; asks nothing, so nothing is counted."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def beside_python(name: str) -> Path:
    """A script that is installed in this Python's environment."""
    return Path(sys.executable).with_name(name)


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of OpenTelemetry, but for those of the schema instrumentation."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("OTEL_") or key.startswith("OTEL_PYTHON_SCHEMA_")
    }


def _alive(process: subprocess.Popen[bytes], name: str, log: Path) -> bool:
    if process.poll() is not None:
        raise ProgramError(f"{name} ended with {process.returncode} before it was ready:{_tail(log)}")
    return True


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-12:]
    return "".join(f"\n  | {line}" for line in lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            # the group: what the program started itself ends too
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            continue
