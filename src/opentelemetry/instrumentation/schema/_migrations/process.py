"""A tool's process: its own process group, events as lines of JSON, and an end that a signal to us brings about."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

POLL: Final = 0.25  # s between two looks at what else there is to do
GRACE: Final = 5.0  # s that an interrupted process has to end by itself
_STDERR: Final = 20_000  # bytes of it that are read


class Interrupts:
    """Notes SIGINT and SIGTERM instead of raising in the middle of something; made by `interrupts()`.

    Attributes:
        received: The first signal that came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def note(self, number: int, _: FrameType | None = None) -> None:
        """A signal came."""
        if self.received is None:
            self.received = number
        if self._process is not None and self._process.poll() is None:
            _signal(self._process, signal.SIGINT)

    @contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Generator[None]:
        """A signal ends this process while the block runs."""
        self._process = process
        if self.received is not None:
            _signal(process, signal.SIGINT)
        try:
            yield
        finally:
            self._process = None


@contextmanager
def interrupts() -> Generator[Interrupts]:
    """Notes signals for the block; the handlers that were there are back afterwards."""
    found = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: signal.signal(number, found.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Output:
    """What a process left behind.

    Attributes:
        code: Its exit code; negative is the signal that ended it.
        stderr: The end of what it printed there.
    """

    code: int = 0
    stderr: str = ""


def events(
    command: Sequence[str],
    request: Mapping[str, Any] | None,
    directory: Path,
    interrupts: Interrupts | None,
    idle: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Iterator[dict[str, Any]], Output]:
    """Starts a process, writes it a request and gives the events that it answers; afterwards, how it ended.

    Args:
        command: The program.
        request: A line of JSON on its stdin, which stays open: the process ends when we do. None writes nothing.
        directory: Where it runs.
        interrupts: What ends it early.
        idle: Is called every `POLL` s.
        environment: Its variables; ours by default.
    """
    output = Output()

    def run() -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(  # noqa: S603 -- the interpreter that runs us
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C at the terminal comes to us alone, and we pass it on
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            try:
                with interrupts.ending(process) if interrupts is not None else contextlib.nullcontext():
                    assert process.stdin is not None
                    with contextlib.suppress(BrokenPipeError):
                        if request is not None:
                            process.stdin.write(json.dumps(request).encode() + b"\n")
                            process.stdin.flush()
                    for line in _lines(process, interrupts, idle):
                        with contextlib.suppress(ValueError):
                            found: Any = json.loads(line)
                            if isinstance(found, dict) and "event" in found:
                                yield cast("dict[str, Any]", found)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(GRACE)
            finally:
                if process.poll() is None:
                    _kill(process)
                output.code = process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with contextlib.suppress(BrokenPipeError):
                            pipe.close()
                stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _STDERR))
                output.stderr = stderr.read().decode("utf-8", "replace")

    return run(), output


_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_LIBC: Final[Any] = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before a fork, not after it


def _die_with_parent() -> None:
    """Our lock is free when we are killed, so what we started must not go on without it."""
    if _LIBC is not None:
        _LIBC.prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _lines(
    process: subprocess.Popen[bytes], interrupts: Interrupts | None, idle: Callable[[], None] | None
) -> Iterator[bytes]:
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    waiting = b""
    limit: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if interrupts is not None and interrupts.received is not None:
                limit = limit or time.monotonic() + GRACE
                if time.monotonic() > limit:
                    _kill(process)
            if selector.select(POLL):
                read = os.read(pipe, 65536)
                if not read:
                    break
                *whole, waiting = (waiting + read).split(b"\n")
                yield from whole
            elif process.poll() is not None:  # a grandchild may hold the pipe open
                break
            if idle is not None:
                idle()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _kill(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGKILL)
