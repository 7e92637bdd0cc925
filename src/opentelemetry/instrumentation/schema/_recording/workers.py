"""Saves the last measurements of children of `multiprocessing` and billiard, which end without `atexit`.

A pool may end a thousand such children a minute, each with a validation or two. An export for each would cost more
than the validations. A child that ends before its first collection hands its measurements to the process that it was
forked from, which exports them with its own next collection. A child that exported before exports once more, for at
most a second. If that takes longer (the collector is down), the other children do not try for a while.
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
"""Seconds that such a child may wait before it ends."""

PAUSE = 30.0
"""Seconds without another try after an export that took too long."""

_LAST = -100  # after the finalizers of everybody else


class Workers:
    """What a process and its forked children share.

    Args:
        instruments: Measure in all of them.
        flush: Exports buffered telemetry, for at most so many seconds; returns whether it ended in time.
    """

    def __init__(self, instruments: Instruments, flush: Callable[[float], bool]) -> None:
        self._instruments, self._flush, self._parent = instruments, flush, os.getpid()
        self._ended = False
        self._not_in_time = mmap.mmap(-1, 8)  # by the clock that all processes share
        self._handed, name = tempfile.mkstemp(prefix="otel-schema-")
        os.unlink(name)

    def close(self) -> None:
        """Close the file through which children hand measurements over."""
        os.close(self._handed)
        self._not_in_time.close()

    def watch(self, util: str) -> None:
        """See each child of `multiprocessing` or billiard start and end, by the hooks of its module `util`."""
        sys.modules[util].register_after_fork(self, _ChildStart(util))

    def start_child(self, util: str) -> None:
        """In a child, which has just dropped the finalizers that it inherited: register ours."""
        if os.getpid() != self._parent:  # it was not spawned
            self._instruments.hold()
        sys.modules[util].Finalize(None, self.end, exitpriority=_LAST)

    @faults.guarded("recorder", None)
    def end(self) -> None:
        """Hand over or export the last measurements: the process ends."""
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
        """Return what children handed over since the last call: instrument, attributes, values."""
        if os.getpid() != self._parent or not os.fstat(self._handed).st_size or not self._locked(0):
            return []
        try:
            lines = os.pread(self._handed, os.fstat(self._handed).st_size, 0).splitlines()
            os.ftruncate(self._handed, 0)
        finally:
            fcntl.lockf(self._handed, fcntl.LOCK_UN)
        return [tuple(each) for line in lines for each in json.loads(line)]

    def _locked(self, limit: float = EXIT_TIMEOUT) -> bool:
        """Lock the file; False if that takes longer than `limit` s, since a process may be stopped during its write."""
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
    """The callback of `register_after_fork`, which keeps only a weak reference to the object that it passes."""

    def __init__(self, util: str) -> None:
        self._util = util

    def __call__(self, workers: Workers) -> None:
        workers.start_child(self._util)
