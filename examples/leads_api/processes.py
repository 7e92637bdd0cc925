"""Programs on ports of loopback: started, waited for, and ended in every case with whatever they started themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from mirakuru.base import ENV_UUID, Executor
from mirakuru.exceptions import ProcessExitedWithError, ProcessFinishedWithError, TimeoutExpired

HOST = "127.0.0.1"

# a program is started by a fork, of which the sink's gRPC would complain on standard error; it never runs in the child
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


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
) -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block runs.

    Args:
        name: for messages.
        command: its arguments.
        log: file that takes what it prints.
        ready: whether it has started, as `answers` and `listens` tell.
        environment: all of it; None inherits.
        cwd: where it runs.

    Raises:
        ProgramError: if it ends, or is not ready after 60 s; the end of its log tells why (a taken port, ...).
    """
    with log.open("wb") as output:
        executor = _Program(command, output.fileno(), ready, environment, cwd)
        try:
            yield _started(executor, name, log)
        finally:
            # its exit code after SIGTERM does not matter
            with suppress(ProcessFinishedWithError):
                executor.stop()


def once(name: str, command: list[str | Path], environment: Mapping[str, str], cwd: Path) -> None:
    """Run a program to its end.

    Raises:
        ProgramError: if it fails.
    """
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ProgramError(f"{name} failed:\n{done.stdout}{done.stderr}")


def until(predicate: Callable[[], bool], deadline: float) -> bool:
    """Wait until a predicate holds; False if it does not within `deadline` seconds."""
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
    """This process's environment without settings of OpenTelemetry and gRPC, but for the schema instrumentation's."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "GRPC_")) or key.startswith("OTEL_PYTHON_SCHEMA_")
    }


def tail(log: Path) -> str:
    """The last lines of a log, indented, to follow a message."""
    lines = log.read_text(errors="replace").splitlines()[-12:]
    return "".join(f"\n  | {line}" for line in lines)


class _Program(Executor):
    """One program in a session of its own: Ctrl-C reaches this process alone, which then ends its programs in order."""

    def __init__(
        self,
        command: list[str | Path],
        output: int,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None,
        cwd: Path | None,
    ) -> None:
        super().__init__(
            [str(part) for part in command],
            cwd=str(cwd) if cwd else None,
            timeout=60,
            sleep=0.05,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        self._ready = ready
        self._environment = os.environ if environment is None else environment

    @property
    def envvars(self) -> dict[str, str]:
        """All of the environment and no more, with the mark by which what the program started itself is found again."""
        return {**self._environment, ENV_UUID: super().envvars[ENV_UUID]}

    def pre_start_check(self) -> bool:
        return False

    def after_start_check(self) -> bool:
        if not self.running():
            raise ProcessExitedWithError(self, 0)
        return self._ready()


def _started(executor: _Program, name: str, log: Path) -> subprocess.Popen[str]:
    try:
        executor.start()
    except ProcessExitedWithError as error:
        raise ProgramError(f"{name} ended with {error.exit_code} before it was ready:{tail(log)}") from error
    except TimeoutExpired as error:
        raise ProgramError(f"{name} is not ready after 60 s:{tail(log)}") from error
    assert executor.process is not None
    return executor.process
