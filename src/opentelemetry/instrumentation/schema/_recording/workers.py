"""Children of `multiprocessing` and billiard, which end without `atexit`: what they measured last is not lost.

A pool may end a thousand such children a minute, each with a validation or two, so an export for each would cost more
than they do. A child that ends before its first collection hands its measurements to the process that it was forked
from, which has them from its own next collection on. A child that exported before exports once more, for at most a
second; where that is not done in time (the collector is down), its siblings do not try for a while.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from .. import faults
from .instruments import Instruments

EXIT_TIMEOUT = 1.0
"""Seconds that the end of such a process may wait."""

PAUSE = 30.0
"""Seconds without a try, after an export that was not done in time."""

_LAST = -100  # after the finalizers of everybody else


class Workers:
    """What a process and its forked children share.

    Args:
        instruments: Measure in all of them.
        flush: Exports what waits, for at most so many seconds; says whether that was done.
    """

    def __init__(self, instruments: Instruments, flush: Callable[[float], bool]) -> None:
        self._instruments, self._flush, self._parent = instruments, flush, os.getpid()
        self._ended = False
        self._not_in_time = mmap.mmap(-1, 8)  # by the clock that all processes share
        self._handed, name = tempfile.mkstemp(prefix="otel-schema-")
        os.unlink(name)

    def close(self) -> None:
        """Nobody hands anything over any more."""
        os.close(self._handed)
        self._not_in_time.close()

    def watch(self, util: str) -> None:
        """See each child of `multiprocessing` or billiard start and end, by the hooks of its module `util`."""
        sys.modules[util].register_after_fork(self, _ChildStart(util))

    def start_child(self, util: str) -> None:
        """This is a child, which has just dropped the finalizers that it inherited."""
        if os.getpid() != self._parent:  # it was not spawned
            self._instruments.hold()
        sys.modules[util].Finalize(None, self.end, exitpriority=_LAST)

    @faults.guarded("recorder", None)
    def end(self) -> None:
        """The process ends without `atexit`."""
        if self._ended or not any(each.holds_measurements for each in self._instruments):
            return
        self._ended = True
        if self._instruments.held and self._locked():
            try:
                text = json.dumps(self._instruments.take_held()) + "\n"
                os.pwrite(self._handed, text.encode(), os.fstat(self._handed).st_size)
            finally:
                fcntl.lockf(self._handed, fcntl.LOCK_UN)
            return
        (failed,) = struct.unpack("d", self._not_in_time[:8])
        if (not failed or monotonic() - failed > PAUSE) and not self._flush(EXIT_TIMEOUT):
            self._not_in_time[:8] = struct.pack("d", monotonic())

    def take(self) -> list[tuple[str, dict[str, Any], list[float]]]:
        """What children handed over since the last call: instrument, attributes, values."""
        if os.getpid() != self._parent or not os.fstat(self._handed).st_size or not self._locked(0):
            return []
        try:
            lines = os.pread(self._handed, os.fstat(self._handed).st_size, 0).splitlines()
            os.ftruncate(self._handed, 0)
        finally:
            fcntl.lockf(self._handed, fcntl.LOCK_UN)
        return [tuple(each) for line in lines for each in json.loads(line)]

    def _locked(self, limit: float = EXIT_TIMEOUT) -> bool:
        """Whether the file is this process's now. It is held for a write, but a process may be stopped meanwhile."""
        until = monotonic() + limit
        while True:
            try:
                fcntl.lockf(self._handed, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                if monotonic() >= until:
                    return False
                sleep(0.001)


class _ChildStart:
    """What `register_after_fork` calls; it keeps the object that it calls this with weakly."""

    def __init__(self, util: str) -> None:
        self._util = util

    def __call__(self, workers: Workers) -> None:
        workers.start_child(self._util)
