"""Interrupts this package's own code at every point where CPython runs signal handlers, one point a run.

CPython runs them after calls, when a function starts, and when a loop goes back. A trace function stops at exactly
these instructions of our files, and does what a handler, or a finalizer of the garbage collector, would do there.
"""

from __future__ import annotations

import dis
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from opentelemetry.instrumentation import schema

OURS = str(Path(str(schema.__file__)).parent)
_POINTS = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "GEN_START")


class Interrupt:
    """Calls `action` at the point `number` of our code; with a number past the last it counts the points.

    Args:
        number: Which point, from 0 on.
        action: What happens there; what it raises comes out of our code there.

    Attributes:
        seen: Points so far.
        place: The function in which `action` was called.
    """

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self.number, self.action, self.seen, self.place = number, action, 0, ""
        self._previous: dict[FrameType, int] = {}

    def run(self, scenario: Callable[[], Any]) -> Any:
        """The scenario's result; what comes out of it is raised."""
        before = sys.gettrace()
        gc.disable()  # CPython 3.11 breaks a frame if a trace function raises in a callback of a collection
        sys.settrace(self._trace)
        try:
            return scenario()
        finally:
            sys.settrace(before)
            gc.enable()
            self._previous.clear()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "exception":  # out of a call: then it is not looked for signals
            self._previous.pop(frame, None)
        elif event == "opcode":
            opcode = frame.f_code.co_code[frame.f_lasti]
            before = self._previous.get(frame)
            self._previous[frame] = opcode
            if before is not None and dis.opname[before].startswith(_POINTS):
                self.seen += 1
                if self.seen == self.number + 1:
                    self.place = frame.f_code.co_name
                    self.action()
        return self._trace


def points(scenario: Callable[[], Any]) -> int:
    """How many points a scenario has."""
    counting = Interrupt(sys.maxsize, lambda: None)
    try:
        counting.run(scenario)
    except Exception:
        pass
    return counting.seen
