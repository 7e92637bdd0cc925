"""A run that SIGTERM ends: it ends as an error does, so that its telemetry is exported, and then the signal kills."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

from ... import faults

FLUSH: Final = 2.0
"""Seconds that the last export may take."""


class Termination:
    """Sees SIGTERM while a run runs: in the main thread, and only where nobody else handles it.

    Args:
        flush: Exports what waits, for at most so many seconds.
    """

    def __init__(self, flush: Callable[[float], object]) -> None:
        self._flush, self._pid, self._received, self._set = flush, os.getpid(), False, False
        self._begin()

    @faults.guarded("alembic", None)
    def _begin(self) -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)
            self._set = True

    def _handle(self, number: int, _frame: Any) -> None:
        if os.getpid() != self._pid:  # a child that the run forked
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._received = True
        raise SystemExit(128 + number)

    def end(self) -> None:
        """The run ended and is recorded: leave no handler, and die of the signal if one came, as without us."""
        if not self._set:
            return
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._received:
            self._flush(FLUSH)
            os.kill(os.getpid(), signal.SIGTERM)
