"""Cells buffer measurements; a fold moves them into the SDK's own aggregations when a reader collects.

One `Histogram.record` costs several small validations, an append to a list a fifteenth of one. What a cell holds
becomes part of the SDK's data points at every collection, so temporality, views, exemplars and late readers stay the
SDK's. `fold.py` alone knows the private side of the SDK. If it does not recognise that, values go in by the public API.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Sequence
from threading import get_ident
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from .. import faults, semconv
from . import inside
from .locking import call_locked

_log = logging.getLogger(__name__)

BUFFER_SIZE = 512
"""Values that a cell holds (16 kB). At this number the measuring thread folds the cell, even if no reader collects."""

MAX_EXEMPLARS = 32
"""Exemplars (1 kB each) that a cell holds, likewise. The SDK's reservoirs keep fewer."""

Exemplar = tuple[float, int, Context]
"""A value, when it was measured (Unix time in ns), and the context that holds its span."""

OVERFLOW: dict[str, Any] = {semconv.OVERFLOW: True}
_NO_SPAN = set_span_in_context(INVALID_SPAN, Context())  # an empty context would stand for the current one
_WAIT = 1.0  # s that a collection waits for a fold of another thread, which may itself wait for that collection


def warm_up_fold(_cells: object = None) -> None:
    """Import the fold and try it. Called once the SDK is there, so that no first request reads files."""
    with contextlib.suppress(Exception):  # each instrument logs it when it first folds
        from . import fold

        fold.usable()


class Cell:
    """What one attribute set has buffered since the last collection.

    Attributes:
        values: Durations, or amounts of a counter. An exact list: append, slice and del are atomic.
        exemplars: Those of the values that have a span.
        buffering: Whether values may wait here; false until the SDK has made the aggregation that they will go to.
        hit_counter: A counter's cell that the number of this cell's values is added to.
        since: Unix time in ns of the last fold: every value that waits is younger.
        keys: The fold's memo of the SDK's keys by view.
    """

    instrument: BufferedInstrument
    attributes: dict[str, Any]
    hit_counter: Cell | None
    buffering: bool
    published: bool
    since: int

    __slots__ = (
        "attributes",
        "buffering",
        "exemplars",
        "hit_counter",
        "instrument",
        "keys",
        "published",
        "since",
        "values",
    )

    def __init__(
        self, instrument: BufferedInstrument, attributes: dict[str, Any], hit_counter: Cell | None = None
    ) -> None:
        self.instrument, self.attributes, self.hit_counter = instrument, attributes, hit_counter
        self.values: list[float] = []
        self.exemplars: list[Exemplar] = []
        self.keys: dict[Any, Any] = {}
        self.buffering = self.published = False
        self.since = time_ns()

    def add(self, value: float, context: Context | None = None) -> None:
        """Record `value`, with an exemplar if there is a context. All but the first are buffered."""
        if self.buffering:
            self.values.append(value)
            if context is not None:
                self.exemplars.append((value, time_ns(), context))
            if len(self.values) >= BUFFER_SIZE or len(self.exemplars) >= MAX_EXEMPLARS:
                self.instrument.fold_one(self)
            return
        instrument = self.instrument
        if instrument.closed:
            return
        if get_ident() in inside.threads:
            if len(self.values) < BUFFER_SIZE:
                self.values.append(value)
            return
        instrument.record(value, self.attributes, context)
        if self.hit_counter is not None:
            self.hit_counter.add(1)
        if self.attributes is OVERFLOW:
            instrument.count_overflow(1)
        if not self.buffering:
            self.buffering = instrument.folds()
            if self.values:  # measured while this thread was inside the SDK
                instrument.fold_one(self)


class BufferedInstrument:
    """One instrument and the cells of its attribute sets, of which there are at most `limit`.

    Args:
        spec: Its row in `semconv`.
        wrapped: The public instrument.
        limit: Attribute sets it makes; further ones share one with `otel.metric.overflow`.
        fold: Whether values may be buffered at all.
    """

    spec: semconv.Instrument
    wrapped: Histogram | Counter
    dropped: int
    broken: bool
    closed: bool
    counts: bool

    def __init__(self, spec: semconv.Instrument, wrapped: Histogram | Counter, limit: int, fold: bool) -> None:
        self.spec, self.wrapped, self._limit, self._fold = spec, wrapped, limit, fold
        self.cells: list[Cell] = []
        self.dropped = 0
        self.held: list[tuple[dict[str, Any], float]] | None = None
        self.broken = self.closed = self._overflowing = self._warned = self._recorded = False
        self.lock: Any = threading.RLock()
        if isinstance(wrapped, Histogram):
            self._record = wrapped.record
            self.counts = False
        else:
            self._record = wrapped.add
            self.counts = True

    def record(self, value: float, attributes: dict[str, Any], context: Context | None = None) -> None:
        """Record one value through the public API. Without a context it belongs to no span, and offers no exemplar."""
        self._recorded = True
        if self.held is not None:
            if len(self.held) < BUFFER_SIZE:
                self.held.append((attributes, value))
                return
            inside.call(self.release)
        inside.call(self._put, value, attributes, context)

    def _put(self, value: float, attributes: dict[str, Any], context: Context | None = None) -> None:
        self._record(value, attributes, _NO_SPAN if context is None else context)

    def release(self) -> None:
        """Record what was held: this process lives on, and will export it."""
        held, self.held = self.held, None
        for attributes, value in held or ():
            self._put(value, attributes)

    def take_held(self) -> list[tuple[str, dict[str, Any], list[float]]]:
        """Everything measured and never collected: instrument, attributes, values. Hits are entries of their own."""
        taken = [(self.spec.name, attributes, [value]) for attributes, value in self.held or ()]
        for cell in self.cells:
            values = cell.values[:]
            if values:
                taken.append((self.spec.name, cell.attributes, values))
                if cell.hit_counter is not None:
                    hits = cell.hit_counter
                    taken.append((hits.instrument.spec.name, hits.attributes, [len(values)]))
        return taken

    def cell(self, attributes: dict[str, Any], hit_counter: Cell | None = None) -> Cell | None:
        """A cell for a new attribute set; None past the limit. A counter's is published as 0 at the next collection."""
        if len(self.cells) >= self._limit:
            return None
        cell = Cell(self, attributes, hit_counter)
        self.cells.append(cell)
        return cell

    def overflow(self, hit_counter: Cell | None = None) -> Cell:
        """A cell of the attribute set that all measurements past the limit share."""
        self._overflowing = True
        cell = Cell(self, OVERFLOW, hit_counter)
        self.cells.append(cell)
        return cell

    def count_overflow(self, number: int) -> None:
        """Count measurements that lost their own attribute set, or their span."""
        self.dropped += number

    def folds(self) -> bool:
        """Whether the instrument is the SDK's, and its private side behaves as known."""
        if not self._fold or "opentelemetry.sdk.metrics" not in sys.modules:
            return False
        return bool(self._sdk("folds", self.wrapped) and self._sdk("usable"))

    def fold_one(self, cell: Cell) -> None:
        """Fold a full cell on the measuring thread, unless another thread folds: it never waits for that."""
        if get_ident() not in inside.threads:
            call_locked(self.lock, 0, inside.call, self._fold_cells, (cell,))
            self._recorded = True

    def fold(self) -> None:
        """Fold every cell; called by each collection."""
        if self._overflowing and not self._warned:  # no lock is held here, so a log handler may validate
            self._warned = True
            _log.warning(
                "%s has %d attribute sets, which is its limit (OTEL_PYTHON_SCHEMA_CARDINALITY_LIMIT): all others share "
                "one with %s=true",
                self.spec.name,
                self._limit,
                semconv.OVERFLOW,
            )
        if get_ident() not in inside.threads:  # else a signal handler collects: the values stay for the next time
            call_locked(self.lock, _WAIT, inside.call, self._fold_cells, list(self.cells))
            self._recorded = False

    def _fold_cells(self, cells: Sequence[Cell]) -> None:
        matches: Any = _UNKNOWN
        self.release()
        for cell in cells:
            if self.closed:  # uninstrumented: a bound method that somebody kept still measures
                del cell.values[:], cell.exemplars[:]
                continue
            try:
                if self.counts and not cell.published:
                    cell.published = True
                    self._put(0, cell.attributes)
                    cell.buffering = cell.buffering or self.folds()
                began = time_ns()  # after the 0, whose data point starts when it is measured
                if cell.values:
                    if matches is _UNKNOWN:
                        matches = self._sdk("matches", self.wrapped)
                    self._fold_cell(cell, matches)
                cell.since = began
            except Exception as error:  # the public API refused this cell's values; the others' are still to come
                faults.swallow("recorder", error)

    def _fold_cell(self, cell: Cell, matches: Any) -> None:  # one at a time; threads append meanwhile, to the right
        exemplars = cell.exemplars[:]  # first, so that the value of each is among the values
        del cell.exemplars[: len(exemplars)]
        batch = cell.values[:]
        number = len(batch)
        if self.counts:
            total = sum(batch)
            if not self._sdk("add", matches, cell, [total], []):
                self._put(total, cell.attributes)
                self._sdk("add", matches, cell, [], [])  # for the start time
            del cell.values[:number]
        elif self._sdk("add", matches, cell, batch, exemplars):
            del cell.values[:number]
        else:  # some reader has no aggregation of this attribute set at the moment: a public record makes it
            self._replay(cell, 1, exemplars)
            if self._sdk("add", matches, cell, batch[1:], exemplars):
                del cell.values[: number - 1]
            else:
                self._replay(cell, number - 1, exemplars)
                self._sdk("add", matches, cell, [], [])
        if cell.hit_counter is not None:
            cell.hit_counter.add(number)
        if cell.attributes is OVERFLOW:
            self.dropped += number

    def _replay(self, cell: Cell, number: int, exemplars: list[Exemplar]) -> None:
        for _ in range(number):
            value = cell.values[0]
            del cell.values[:1]
            mine = next((each for each in exemplars if each[0] is value), None)
            if mine is not None:
                exemplars.remove(mine)
            self._put(value, cell.attributes, None if mine is None else mine[2])

    def _sdk(self, function: str, *args: Any) -> Any:
        if self.broken or not self._fold:
            return None
        try:
            from . import fold

            return getattr(fold, function)(*args)
        except Exception as error:
            if faults.interrupts(error):
                raise
            self.broken = True
            _log.warning("unexpected OpenTelemetry SDK: %s is recorded value by value", self.spec.name, exc_info=True)
            return None

    @property
    def holds_measurements(self) -> bool:
        """Whether anything was measured since the last collection."""
        return self._recorded or any(cell.values for cell in self.cells)

    def read_by_the_parent_only(self) -> bool:
        """In a forked child: whether the only reader is a Prometheus exporter, whose server runs in the parent."""
        return "opentelemetry.sdk.metrics" in sys.modules and bool(self._sdk("served_by_parent", self.wrapped))

    def reset_after_fork(self) -> None:
        """In a forked child: drop what was buffered or aggregated before the fork. The parent reports it."""
        self.lock, self.dropped, self._recorded, self.held = threading.RLock(), 0, False, None
        for cell in self.cells:
            del cell.values[:], cell.exemplars[:]
            cell.published, cell.since = False, time_ns()
        if any(cell.buffering for cell in self.cells):
            self._sdk("forget", self.wrapped)


_UNKNOWN: Any = object()
