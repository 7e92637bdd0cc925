"""Runs a tool in a process group of its own, reads events as lines of JSON, and passes signals on to it."""

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

from .errors import StoppedBySignalError

_HANGUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # not on Windows
SIGNALS: Final = tuple({signal.SIGINT, signal.SIGTERM, _HANGUP})
"""Signals that end a run: Ctrl-C, the end of a container, and of a terminal."""

POLL: Final = 0.25  # s between two calls of `idle`
GRACE: Final = 5.0  # s that an interrupted process has to end by itself
_STDERR: Final = 20_000  # bytes of stderr that we read, from its end


class Interrupts:
    """Remembers signals that end a run, instead of raising in the middle of it; `catch_interrupts` creates it.

    Attributes:
        received: The first signal that came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Handle a signal: remember the first one, and pass each on as SIGINT to the process."""
        if self.received is None:
            self.received = number
        if self._process is not None and self._process.poll() is None:
            _signal(self._process, signal.SIGINT)

    def raise_if_received(self) -> None:
        """Stop before anything was changed.

        Raises:
            StoppedBySignalError: if a signal came.
        """
        if self.received is not None:
            raise StoppedBySignalError(self.received)

    @contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Generator[None]:
        """Pass signals on to this process while the block runs."""
        self._process = process
        if self.received is not None:
            _signal(process, signal.SIGINT)
        try:
            yield
        finally:
            self._process = None


@contextmanager
def catch_interrupts() -> Generator[Interrupts]:
    """Remember signals during the block; restore the previous handlers afterwards."""
    found = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {
        number: signal.signal(number, found.note)
        for number in SIGNALS
        if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN  # nohup
    }
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ProcessExit:
    """How a process ended.

    Attributes:
        code: Its exit code; a negative one is the signal that ended it.
        stderr: The end of its stderr.
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
) -> tuple[Iterator[dict[str, Any]], ProcessExit]:
    """Start a process, send it a request, and return its events and, after the last event, how it ended.

    Args:
        command: Program and arguments.
        request: Written to its stdin as a line of JSON. stdin stays open, so the process notices when we die. None
            writes nothing.
        directory: Working directory.
        interrupts: Signals that end it early.
        idle: Called every `POLL` s.
        environment: Environment variables; ours by default.
    """
    output = ProcessExit()

    def run() -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(  # noqa: S603 -- the interpreter that runs us
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C at the terminal reaches us alone, and we pass it on
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
    """Let the kernel kill the child with us: our death frees the lock, and the child must not go on without it."""
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
