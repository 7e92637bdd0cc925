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
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .. import faults

if TYPE_CHECKING:
    from .recorder import Recorder

LIMIT = 1.0
"""Seconds that the end of such a process may wait."""

PAUSE = 30.0
"""Seconds without a try, after an export that was not done in time."""

_LAST = -100  # after the finalizers of everybody else


class Workers:
    """What a process and its forked children share.

    Args:
        recorder: Measures in all of them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._parent = recorder, os.getpid()
        self._not_in_time = mmap.mmap(-1, 8)  # by the clock that all processes share
        self._handed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # open as long as this is

    def watch(self, util: str) -> None:
        """See each child of `multiprocessing` or billiard start and end, by the hooks of its module `util`."""
        sys.modules[util].register_after_fork(self, _Started(util))

    def started(self, util: str) -> None:
        """This is a child, which has just dropped the finalizers that it inherited."""
        if os.getpid() != self._parent:  # it was not spawned
            self._recorder.instruments.hold()
        sys.modules[util].Finalize(None, self.end, exitpriority=_LAST)

    @faults.guarded("recorder", None)
    def end(self) -> None:
        """The process ends without `atexit`."""
        instruments = self._recorder.instruments
        if self._recorder.closed or not any(each.holds_measurements for each in instruments):
            return
        self._recorder.closed = True  # nothing is measured after this
        if instruments.held and self._locked():
            try:
                text = json.dumps(instruments.take_held()) + "\n"
                os.lseek(self._handed.fileno(), 0, os.SEEK_END)
                self._handed.write(text.encode())
            finally:
                fcntl.lockf(self._handed, fcntl.LOCK_UN)
            return
        (failed,) = struct.unpack("d", self._not_in_time[:8])
        if (not failed or monotonic() - failed > PAUSE) and not self._recorder.flush(LIMIT):
            self._not_in_time[:8] = struct.pack("d", monotonic())

    def take(self) -> list[tuple[str, dict[str, Any], list[float]]]:
        """What children handed over since the last call: instrument, attributes, values."""
        if os.getpid() != self._parent or not os.fstat(self._handed.fileno()).st_size or not self._locked(0):
            return []
        try:
            os.lseek(self._handed.fileno(), 0, os.SEEK_SET)
            lines = self._handed.readall().splitlines()
            self._handed.truncate(0)
        finally:
            fcntl.lockf(self._handed, fcntl.LOCK_UN)
        return [tuple(each) for line in lines for each in json.loads(line)]

    def _locked(self, limit: float = LIMIT) -> bool:
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


class _Started:
    """What `register_after_fork` calls; it keeps the object that it calls this with weakly."""

    def __init__(self, util: str) -> None:
        self._util = util

    def __call__(self, workers: Workers) -> None:
        workers.started(self._util)
