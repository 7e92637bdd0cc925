"""From raw samples of counters to counts in blocks, without `rate()` or `increase()`.

Those lose what a new worker counted before its first sample, and each deployment starts new workers. Here the samples
themselves are read, as Prometheus stored them:

- A counter that falls has restarted from 0.
- One process is one `job` and `instance`. What one process counted under one set of attributes may come by several
  paths at once (gateways, replicas, scopes): the largest value counts.
- A series counts from 0 only where its process is new, or has just restarted. A series that comes back after a gap, by
  another gateway or after a restart of Prometheus goes on from its last value.
- What was counted while nobody knows on which side of the change is not placed: too much of that, and there is no
  verdict.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .evidence import SETTLING

GAP: Final = 4
"""Blocks without a sample that are a gap; a process is new only if others were sampled within so many before."""

Process = tuple[str, str]
"""`job` and `instance`."""

Values = tuple[str, ...]
"""Values of labels, "" for an absent one."""

Sample = tuple[float, float]
"""Unix time in seconds, value."""

_PROCESS: Final = ("job", "instance")


class Series(NamedTuple):
    """The samples of one series in time's order.

    Attributes:
        labels: All labels but the name.
        samples: As they were stored.
    """

    labels: Mapping[str, str]
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Grid:
    """Time in blocks, counted from a change on both sides of it: block -1 ends where the change starts.

    Attributes:
        start: When the change started, Unix time in seconds.
        end: When it ended; block 0 starts here.
        block: Seconds.
    """

    start: float
    end: float
    block: float

    @property
    def settled(self) -> float:
        """When what was counted before the change has certainly arrived."""
        return self.end + SETTLING * self.block

    def complete(self, until: float) -> int:
        """Blocks after the change that end by then."""
        return math.floor((until - self.end) / self.block) if until > self.end else 0

    def spread(self, cells: dict[int, float], since: float, until: float, count: float) -> float:
        """Adds what was counted between two samples, evenly, to the blocks; returns what belongs to neither side.

        What was counted during the change belongs to nobody and is not returned either.
        """
        across = since < self.start and until > self.settled
        long = until - since > GAP * self.block and since < self.settled and until > self.start
        if across or long:
            return count
        if until <= self.start:
            self._even(cells, (since - self.start) / self.block, (until - self.start) / self.block, count)
        elif since >= self.end:
            self._even(cells, (since - self.end) / self.block, (until - self.end) / self.block, count)
        else:
            length = until - since
            if since < self.start:
                self._even(cells, (since - self.start) / self.block, 0.0, count * (self.start - since) / length)
            if until > self.end:
                self._even(cells, 0.0, (until - self.end) / self.block, count * (until - self.end) / length)
        return 0.0

    @staticmethod
    def _even(cells: dict[int, float], since: float, until: float, count: float) -> None:
        first, last = math.floor(since), math.ceil(until) - 1
        if last <= first:
            cells[first] = cells.get(first, 0.0) + count
            return
        each = count / (until - since)
        cells[first] = cells.get(first, 0.0) + each * (first + 1 - since)
        for i in range(first + 1, last):
            cells[i] = cells.get(i, 0.0) + each
        cells[last] = cells.get(last, 0.0) + each * (until - last)


class Processes:
    """Which processes there are, and since when.

    Attributes:
        newest: The time of the newest sample of each.
        first: The time of the first sample of all.
    """

    def __init__(self, grid: Grid, known: Iterable[Process] = ()) -> None:
        """Knows nobody but those who were there before.

        Args:
            grid: How long a gap is.
            known: Those that were sampled before the first sample that will be read.
        """
        self._gap = GAP * grid.block
        self._born = dict.fromkeys(known, -math.inf)
        self._sampled: list[float] = []
        self.first: float = math.inf
        self.newest: dict[Process, float] = {}

    def add_scrape_times(self, times: Iterable[float]) -> None:
        """Says when Prometheus took samples of anything: a process that appears then is new."""
        self._sampled = sorted({*self._sampled, *times})

    def add_series(self, series: Sequence[Series]) -> None:
        """Notes who appears in samples: before these samples are counted."""
        appeared: dict[Process, float] = {}
        for each in series:
            if each.samples:
                process = process_of(each.labels)
                first, last = each.samples[0][0], each.samples[-1][0]
                appeared[process] = min(first, appeared.get(process, first))
                self.newest[process] = max(last, self.newest.get(process, last))
        self.first = min([self.first, *appeared.values()])
        unknown = {process: first for process, first in appeared.items() if process not in self._born}
        if unknown:
            times = {time for each in series for time, _ in each.samples}
            self._sampled = sorted(times.union(self._sampled))
            for process, first in unknown.items():
                self._born[process] = first if self._seen_starting(first) else -math.inf
        elif series:
            self._sampled.extend(sorted(self.newest.values()))
        del self._sampled[:-10_000]

    def _seen_starting(self, first: float) -> bool:
        """Whether Prometheus took samples well before a process's first one; else nobody saw that process start."""
        if first - self.first < self._gap:
            return False
        at = bisect_left(self._sampled, first - self._gap)
        return at < len(self._sampled) and self._sampled[at] <= first - self._gap / 2

    def note_restart(self, process: Process, time: float) -> None:
        """Says that a counter of a process fell."""
        self._born[process] = max(time, self._born.get(process, time))

    def is_new(self, process: Process, time: float) -> bool:
        """Whether a series of a process that first appears now counts from 0."""
        return abs(time - self._born.get(process, -math.inf)) <= self._gap

    def complete(self) -> float:
        """Until when every process that is still there was sampled; -inf before the first sample."""
        if not self.newest:
            return -math.inf
        latest = max(self.newest.values())
        return min(time for time in self.newest.values() if time > latest - self._gap / 2)


def process_of(labels: Mapping[str, str]) -> Process:
    """The process that a series is of."""
    return labels.get("job", ""), labels.get("instance", "")


@dataclass
class _Path:
    """One way on which one process's counter arrives.

    Attributes:
        value: Its last value.
        run: How often the process had restarted by then.
    """

    time: float
    value: float
    run: int


@dataclass
class _Counter:
    """What one process counted under one set of attributes.

    Attributes:
        level: The largest value since its last start, by whatever path.
        run: How often it has restarted.
        time: Of the last sample.
        raised: When a path last showed the level or more.
    """

    level: float
    run: int
    time: float
    raised: float
    paths: dict[Values, _Path] = field(default_factory=dict[Values, _Path])


class BlockCounter:
    """Counts one metric in blocks.

    Attributes:
        cells: By the values of the labels that are kept, the counts of each block.
        unplaced: What was counted and belongs to neither side.
    """

    def __init__(self, grid: Grid, processes: Processes, attributes: Sequence[str], kept: Sequence[str]) -> None:
        """Has counted nothing yet.

        Args:
            grid: Where blocks begin.
            processes: Shared by the metrics of one app.
            attributes: Labels that the metric's own attributes become; every other label is of the path.
            kept: Those of them that `cells` tells apart.
        """
        self._grid = grid
        self._processes = processes
        self._attributes = tuple(attributes)
        self._kept = tuple(kept)
        self._counters: dict[tuple[Process, Values], _Counter] = {}
        self.cells: dict[Values, dict[int, float]] = {}
        self.unassigned = 0.0

    def add(self, series: Sequence[Series]) -> None:
        """Counts samples that are newer than all before; `Processes.see` has seen them."""
        groups: dict[tuple[Process, Values], list[Series]] = {}
        for each in series:
            if each.samples:
                key = process_of(each.labels), tuple(each.labels.get(name, "") for name in self._attributes)
                groups.setdefault(key, []).append(each)
        for key, paths in groups.items():
            self._count(key, paths)

    def counts(self, key: Values, first: int, last: int) -> list[float]:
        """The counts of a key in the blocks from `first` to before `last`."""
        cells = self.cells.get(key, {})
        return [cells.get(i, 0.0) for i in range(first, last)]

    def _count(self, key: tuple[Process, Values], paths: list[Series]) -> None:
        process, values = key
        kept = tuple(value for name, value in zip(self._attributes, values, strict=True) if name in self._kept)
        cells = self.cells.setdefault(kept, {})
        counter = self._counters.get(key)
        if counter is None:
            first = min(each.samples[0][0] for each in paths)
            counter = self._counters[key] = self._new_counter(process, first)
        if len(paths) == 1:
            path = self._path(paths[0])
            steps: Iterable[tuple[float, float, Values]] = ((time, value, path) for time, value in paths[0].samples)
        else:
            named = [(self._path(each), each) for each in paths]
            steps = sorted((time, value, path) for path, each in named for time, value in each.samples)
        spread = self._grid.spread
        for time, value, path in steps:
            if value != value or value < 0:  # NaN: the series ended
                continue
            since = counter.time
            grown = self._increase(process, counter, path, time, value)
            if grown > 0:
                self.unassigned += spread(cells, since, time, grown)

    def _path(self, series: Series) -> Values:
        own = {*self._attributes, *_PROCESS}
        return tuple(f"{name}={value}" for name, value in sorted(series.labels.items()) if name not in own)

    def _new_counter(self, process: Process, time: float) -> _Counter:
        """A counter at 0 one block ago where its process is new, else one that starts with its first value."""
        level = 0.0 if self._processes.is_new(process, time) else math.nan
        return _Counter(level, 0, time - self._grid.block, time)

    def _increase(self, process: Process, counter: _Counter, name: Values, time: float, value: float) -> float:
        """How much one sample adds to a counter."""
        path = counter.paths.get(name)
        if path is None:
            path = counter.paths[name] = _Path(time, value, counter.run)
        elif time <= path.time:
            return 0.0
        elif value < path.value:
            path.run += 1
            if path.run > counter.run:
                counter.run, counter.level = path.run, 0.0
                self._processes.note_restart(process, time)
        path.time, path.value = time, value
        counter.time = max(counter.time, time)
        if path.run < counter.run:  # an old path that still shows what was before the restart
            return 0.0
        if counter.level != counter.level:
            counter.level, counter.raised = value, time
            return 0.0
        if value >= counter.level:
            grown = value - counter.level
            counter.level, counter.raised = value, time
            return grown
        if time - counter.raised > GAP * self._grid.block:
            # no path shows the old total any longer: it restarted unseen, on the way from one gateway to another
            counter.level, counter.raised = value, time
            self._processes.note_restart(process, time)
            self.unassigned += value
        return 0.0
