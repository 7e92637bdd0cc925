"""Turns raw samples of counters into counts per block, without `rate()` or `increase()`.

These functions lose what a new worker counted before its first sample, and each deployment starts new workers. So we
read the samples as Prometheus stored them:

- A counter that falls has restarted from 0.
- One process is one `job` and `instance`. What one process counted under one set of attributes may come by several
  paths at once (gateways, replicas, scopes): the largest value counts.
- A series counts from 0 only where its process is new, or has just restarted. A series that comes back after a gap, by
  another gateway or after a restart of Prometheus goes on from its last value.
- If samples do not show whether an event was before or after the change, we assign it to neither side. With too many
  unassigned events there is no verdict.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .evidence import SETTLING

GAP: Final = 4
"""Blocks without a sample that make a gap. A process is new only if Prometheus scraped within the gap before."""

Process = tuple[str, str]
"""`job` and `instance`."""

Values = tuple[str, ...]
"""Values of labels, "" for an absent label."""

Sample = tuple[float, float]
"""Unix time in seconds, value."""

_PROCESS: Final = ("job", "instance")


class Series(NamedTuple):
    """The samples of one series in chronological order.

    Attributes:
        labels: All labels but the name.
        samples: The samples as Prometheus stored them.
    """

    labels: Mapping[str, str]
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Grid:
    """Time in blocks, counted from a change in both directions: block -1 ends when the change starts.

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
        """When every count from before the change has certainly arrived."""
        return self.end + SETTLING * self.block

    def complete(self, until: float) -> int:
        """How many blocks after the change end by `until`."""
        return math.floor((until - self.end) / self.block) if until > self.end else 0

    def spread(self, cells: dict[int, float], since: float, until: float, count: float) -> float:
        """Spread the increase between two samples evenly over blocks; return the count that belongs to neither side.

        Events during the change itself are dropped, and not returned either.
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
    """The processes of an app, and since when each exists.

    Attributes:
        newest: Process → time of its newest sample.
        first: Time of the very first sample.
    """

    def __init__(self, grid: Grid, known: Iterable[Process] = ()) -> None:
        """Start with the processes that existed before.

        Args:
            grid: The grid, for the length of a gap.
            known: Processes that Prometheus sampled before the first sample that we read.
        """
        self._gap = GAP * grid.block
        self._born = dict.fromkeys(known, -math.inf)
        self._sampled: list[float] = []
        self.first: float = math.inf
        self.newest: dict[Process, float] = {}

    def add_scrape_times(self, times: Iterable[float]) -> None:
        """Add times at which Prometheus scraped any target: a process that first appears then is new."""
        self._sampled = sorted({*self._sampled, *times})

    def add_series(self, series: Sequence[Series]) -> None:
        """Note the processes of some series; call this before counting their samples."""
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
        """Whether Prometheus scraped well before the first sample of a process, and so saw that process start."""
        if first - self.first < self._gap:
            return False
        at = bisect_left(self._sampled, first - self._gap)
        return at < len(self._sampled) and self._sampled[at] <= first - self._gap / 2

    def note_restart(self, process: Process, time: float) -> None:
        """Note that a counter of a process fell."""
        self._born[process] = max(time, self._born.get(process, time))

    def is_new(self, process: Process, time: float) -> bool:
        """Whether a series that first appears now counts from 0, since its process is new."""
        return abs(time - self._born.get(process, -math.inf)) <= self._gap

    def complete(self) -> float:
        """Time until which we have samples of every process that still exists; -inf before the first sample."""
        if not self.newest:
            return -math.inf
        latest = max(self.newest.values())
        return min(time for time in self.newest.values() if time > latest - self._gap / 2)


def process_of(labels: Mapping[str, str]) -> Process:
    """The process that a series belongs to."""
    return labels.get("job", ""), labels.get("instance", "")


@dataclass
class _Path:
    """One path on which the counter of a process reaches Prometheus.

    Attributes:
        time: Time of its last sample.
        value: Value of its last sample.
        run: How often the process had restarted by then.
    """

    time: float
    value: float
    run: int


@dataclass
class _Counter:
    """The counter of one process for one attribute set.

    Attributes:
        level: The largest value on any path since the last start.
        run: How often the process has restarted.
        time: Time of the last sample.
        raised: When a path last showed the level or more.
    """

    level: float
    run: int
    time: float
    raised: float
    paths: dict[Values, _Path] = field(default_factory=dict[Values, _Path])


class BlockCounter:
    """Counts the events of one metric per block.

    Attributes:
        cells: Values of the kept labels → block → count.
        unassigned: Events that belong to neither side of the change.
    """

    def __init__(self, grid: Grid, processes: Processes, attributes: Sequence[str], kept: Sequence[str]) -> None:
        """Start with no counts.

        Args:
            grid: The blocks.
            processes: The processes, shared by the metrics of one app.
            attributes: Labels of the metric's own attributes; every other label belongs to the path.
            kept: The attributes by which `cells` is grouped.
        """
        self._grid = grid
        self._processes = processes
        self._attributes = tuple(attributes)
        self._kept = tuple(kept)
        self._counters: dict[tuple[Process, Values], _Counter] = {}
        self.cells: dict[Values, dict[int, float]] = {}
        self.unassigned = 0.0

    def add(self, series: Sequence[Series]) -> None:
        """Count samples that are newer than all before; call `Processes.add_series` first."""
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
        """A counter that starts from 0 one block ago if its process is new, and from its first value otherwise."""
        level = 0.0 if self._processes.is_new(process, time) else math.nan
        return _Counter(level, 0, time - self._grid.block, time)

    def _increase(self, process: Process, counter: _Counter, name: Values, time: float, value: float) -> float:
        """Update a counter with one sample; return the increase."""
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
        if path.run < counter.run:  # an old path that still shows the value from before the restart
            return 0.0
        if counter.level != counter.level:
            counter.level, counter.raised = value, time
            return 0.0
        if value >= counter.level:
            grown = value - counter.level
            counter.level, counter.raised = value, time
            return grown
        if time - counter.raised > GAP * self._grid.block:
            # No path shows the old total any longer: the process restarted while it moved to another gateway.
            counter.level, counter.raised = value, time
            self._processes.note_restart(process, time)
            self.unassigned += value
        return 0.0
