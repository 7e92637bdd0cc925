"""A run that SIGTERM ends: it ends as an error does, so that its telemetry is exported, and then the signal kills.

Python runs a signal's handler between two of its own instructions, but a driver written in C may wait an hour for a
statement. Without us the signal would kill the process at once. So a thread watches for the signal too, and does not
wait that long.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

from ... import faults

FLUSH: Final = 2.0
"""Seconds that the last export may take."""

PATIENCE: Final = 1.0
"""Seconds after which the run counts as stuck in a driver."""

_STOP: Final = b"\0"


class Termination:
    """Sees SIGTERM while a run runs: in the main thread, and only where nobody else handles it.

    Args:
        flush: Exports buffered telemetry, for at most so many seconds.
        abandon: Records the run as it is; called once, by a thread of ours, if the run does not end.
    """

    def __init__(self, flush: Callable[[float], object], abandon: Callable[[], object]) -> None:
        self._flush, self._abandon = flush, abandon
        self._arrived, self._set = threading.Event(), False
        self._pipe: tuple[int, int] | None = None
        self._begin()

    @faults.guarded("alembic", None)
    def _begin(self) -> None:
        global _active
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._watch()
            signal.signal(signal.SIGTERM, self._handle)
            self._set, _active = True, self

    def _watch(self) -> None:
        """Have the signal's number written to a pipe, unless somebody else does: that happens whatever runs."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        theirs = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        if theirs != -1:
            signal.set_wakeup_fd(theirs)
            os.close(read)
            os.close(write)
            return
        self._pipe = read, write
        self._thread = threading.Thread(target=self._wait, args=(read,), name="schema-sigterm", daemon=True)
        self._thread.start()

    def _wait(self, read: int) -> None:
        while (found := os.read(read, 1)) not in (_STOP, b""):
            if found[0] == signal.SIGTERM and not self._arrived.wait(PATIENCE):
                faults.guarded("alembic", None)(self._abandon)()
                self._flush(FLUSH)
                import ctypes  # only the main thread may set a handler by Python's own means, and it is stuck

                ctypes.CDLL(None).signal(int(signal.SIGTERM), 0)
                os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, _frame: Any) -> None:
        self._arrived.set()
        raise SystemExit(128 + number)

    @faults.guarded("alembic", None)
    def end(self) -> None:
        """Remove the handler, after the run was recorded. If the signal came, let it end the process, as without us."""
        global _active
        if not self._set:
            return
        self._set, _active = False, None
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._pipe is not None:
            read, write = self._pipe
            now = signal.set_wakeup_fd(-1)
            if now not in (-1, write):
                signal.set_wakeup_fd(now)
            os.write(write, _STOP)
            self._thread.join()
            os.close(read)
            os.close(write)
        if self._arrived.is_set():
            self._flush(FLUSH)
            os.kill(os.getpid(), signal.SIGTERM)

    def reset_after_fork(self) -> None:
        """In a forked child: its signals are its own."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
        self._set = False


_active: Termination | None = None


def _reset_after_fork() -> None:
    if _active is not None:
        faults.guarded("alembic", None)(_active.reset_after_fork)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
