"""The signals of one app: their counters, their null models from the past, and their judgement since a change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ... import semconv
from ..._prometheus.quantile import Counts as Distribution
from ..._prometheus.quantile import histogram_quantile
from ..._prometheus.reading import label_names
from ..._prometheus.report import endpoint_name
from ...semconv import Instrument, Signal, Verdict
from . import evidence, rule
from .evidence import BlockCounts
from .rule import ALPHA, BASELINE, ENDPOINTS, SHARES, Judgement, NullModel
from .sample_reader import SampleReader, matcher
from .samples import BlockCounter, Grid, Processes, Values

SIGNALS: Final[tuple[Signal, ...]] = ("errors", "time", "queries")

HISTORY: Final = 36
"""Length of the history in watches; at least HISTORY_LEAST."""

HISTORY_LEAST: Final = 1440
"""Blocks: six hours of 15 s."""

SLOW_LEAST: Final = 1e-3
"""Seconds: an event that takes no longer is never slow, however fast events were before."""

_SLOW_SHARE: Final = 0.05
_ENDPOINT_EVENTS: Final = 20
"""Events that the baseline of an endpoint must have for a judgement."""

_UNPLACED: Final = 0.1
"""Share of a watch's events that may be unassigned."""

_ENDPOINT_LABELS: Final[Values] = tuple(name.replace(".", "_") for name in semconv.ENDPOINT)
_SLOW: Final[Mapping[Signal, Instrument]] = {
    "time": semconv.VALIDATION_DURATION,
    "queries": semconv.QUERY_DURATION,
}
_END: Final = repr(math.inf)

Progress = Callable[[str], None]


class Figures(NamedTuple):
    """The figures that we show beside a verdict.

    Attributes:
        before: The rate of the baseline, or the 95th percentile in seconds; NaN without events.
        after: The same since the change.
    """

    before: float
    after: float


@dataclass(frozen=True)
class SignalState:
    """The state of a signal during a watch.

    Attributes:
        signal: The signal.
        verdict: Verdict of all requests and all endpoints together.
        overall: Judgement of all requests together.
        endpoints: Name of an endpoint of the baseline → its judgement; the worst first.
        null: Null model of all requests; None if there is no baseline.
        slow: Seconds above which an event is bad; None for errors.
        why: Why there is no verdict yet, or none is possible; empty otherwise.
    """

    signal: Signal
    verdict: Verdict
    overall: Judgement
    endpoints: Mapping[str, Judgement]
    null: NullModel | None
    slow: float | None
    why: str

    @property
    def degraded(self) -> list[str]:
        """Names of the degraded endpoints."""
        return [name for name, judged in self.endpoints.items() if judged.verdict == "degraded"]


@dataclass
class _TrackedSignal:
    """The counters of one signal, and its null models.

    Attributes:
        events: Counts n.
        bad: Counts x; for a histogram the events up to the boundary, and x is n minus them.
        slow: The boundary in seconds.
    """

    events: BlockCounter
    bad: BlockCounter
    slow: float | None = None
    overall: NullModel | None = None
    endpoints: dict[Values, NullModel] = field(default_factory=dict[Values, NullModel])


class Signals:
    """All signals of one app on one grid."""

    def __init__(self, samples: SampleReader, grid: Grid, watch: int) -> None:
        """Create the signals; `read_history` reads them.

        Args:
            samples: Reads samples of the app.
            grid: The blocks around the change.
            watch: Blocks of the watch, including the settling.
        """
        self._samples = samples
        self.grid = grid
        self.watch = watch
        self.history: int = max(HISTORY * watch, HISTORY_LEAST)
        self._until = -math.inf
        self._first = 0
        self.processes: Processes = Processes(grid)
        self._tracked: dict[Signal, _TrackedSignal] = {}
        self._cache: tuple[BlockCounter, BlockCounter] | None = None
        self._before: dict[Signal, Distribution] = {}

    @property
    def newest(self) -> float:
        """Time until which we have samples of every process."""
        return self.processes.complete()

    @property
    def complete(self) -> int:
        """Blocks after the change that samples cover."""
        return min(self.watch, self.grid.complete(self.newest))

    def read_history(self, progress: Progress = lambda _: None, further: int = 0) -> None:
        """Read the blocks before the change, and estimate the null models.

        Args:
            progress: Called with what we read.
            further: Blocks beyond the history, for a backtest.

        Raises:
            SourceError: if Prometheus does not answer.
        """
        since = self.grid.start - (self.history + further) * self.grid.block
        baseline = self.grid.start - BASELINE * self.grid.block
        progress("which processes there are")
        self.processes = Processes(self.grid, self._samples.read_processes(since))
        self.processes.add_scrape_times(self._samples.read_scrape_times(since, self.grid.start))
        for signal, instrument in _SLOW.items():
            progress(f"how long {_NOUNS[signal]} take")
            self._before[signal] = self._samples.read_distribution(instrument, baseline, self.grid.start)
        self._track()
        self._read(since, self.grid.start, progress)
        earliest = (self.processes.first - self.grid.start) / self.grid.block
        self._first = max(-(self.history + further), math.ceil(earliest)) if earliest < 0 else 0
        self._fit()

    def read_on(self) -> None:
        """Read samples since the last call.

        Raises:
            SourceError: if Prometheus does not answer.
        """
        # Late samples come between earlier ones, so we read an overlap; the counters skip samples that they know.
        self._read(self._until - 2 * self.grid.block, self._samples.now(), lambda _: None)

    def states(self) -> dict[Signal, SignalState]:
        """The state of every signal now."""
        return {signal: self._state(signal) for signal in SIGNALS}

    def figures(self, signal: Signal, state: SignalState) -> Figures:
        """The figures of a signal: the rate of errors, or the 95th percentile of durations.

        Raises:
            SourceError: if Prometheus does not answer.
        """
        if signal == "errors":
            return Figures(state.null.usual if state.null else math.nan, state.overall.rate)
        since = self.grid.settled
        after = self._samples.read_distribution(
            _SLOW[signal], since, max(since, min(self.newest, self.grid.end + self.watch * self.grid.block))
        )
        return Figures(histogram_quantile(0.95, self._before.get(signal, {})), histogram_quantile(0.95, after))

    def hit_rates(self) -> Figures:
        """The hit rate of the caches in the baseline and since the change: we show it, and never judge it."""
        if self._cache is None:
            return Figures(math.nan, math.nan)
        hits, misses = self._cache
        sums = [
            (math.fsum(hits.counts((), *span)), math.fsum(misses.counts((), *span)))
            for span in ((-BASELINE, 0), (evidence.SETTLING, self.complete))
        ]
        return Figures(*(found / (found + missed) if found + missed else math.nan for found, missed in sums))

    def degraded_counts(self, state: SignalState, first: int, last: int) -> list[tuple[str, NullModel, float, float]]:
        """Count events of a degraded signal in the blocks from `first` to before `last`.

        Returns:
            For all requests together, and for each degraded endpoint: name, null model, events and bad events.
        """
        tracked = self._tracked[state.signal]
        chosen = [("all requests", None, tracked.overall)]
        chosen += [(endpoint_name(*key), key, null) for key, null in tracked.endpoints.items()]
        found: list[tuple[str, NullModel, float, float]] = []
        for name, key, past in chosen:
            if past is not None and (key is None or name in state.degraded):
                counts = self.counts(state.signal, key, first, last)
                found.append((name, past, math.fsum(counts.n), math.fsum(counts.x)))
        return found

    def counts(self, signal: Signal, key: Values | None, first: int, last: int) -> BlockCounts:
        """The counts of one endpoint, None for all together, in the blocks from `first` to before `last`."""
        tracked = self._tracked[signal]
        keys = self._keys(tracked) if key is None else [key]
        n = [0.0] * (last - first)
        x = [0.0] * (last - first)
        for each in keys:
            if tracked.slow is None:
                events, bad = tracked.events.counts(each, first, last), tracked.bad.counts(each, first, last)
            else:
                events = tracked.events.counts((*each, _END), first, last)
                fast = tracked.events.counts((*each, repr(tracked.slow)), first, last)
                bad = [max(0.0, all_ - quick) for all_, quick in zip(events, fast, strict=True)]
            n = [a + b for a, b in zip(n, events, strict=True)]
            x = [a + b for a, b in zip(x, bad, strict=True)]
        return BlockCounts(n, x)

    def fit_nulls(self, signal: Signal, first: int, last: int) -> tuple[NullModel, dict[Values, NullModel]]:
        """Fit null models to the blocks from `first` to before `last`: for all requests, and per endpoint to judge."""
        tracked = self._tracked[signal]
        keys = [
            key
            for key in self._keys(tracked)
            if any(key) and math.fsum(self.counts(signal, key, max(first, last - BASELINE), last).n) >= _ENDPOINT_EVENTS
        ]
        alpha = ALPHA * SHARES[signal]
        several = len(keys) > 1
        overall = rule.fit_null(
            self.counts(signal, None, first, last), self.watch, alpha * (1 - ENDPOINTS if several else 1)
        )
        if not several:
            return overall, {}
        histories = [self.counts(signal, key, first, last) for key in keys]
        return overall, dict(zip(keys, rule.fit_nulls(histories, self.watch, alpha * ENDPOINTS), strict=True))

    @property
    def first(self) -> int:
        """The first block with samples, as a negative number."""
        return self._first

    def tracked(self, signal: Signal) -> bool:
        """Whether a signal has any events."""
        return signal in self._tracked

    def _keys(self, tracked: _TrackedSignal) -> list[Values]:
        if tracked.slow is None:
            return sorted(tracked.events.cells)
        return sorted({key[:-1] for key in tracked.events.cells})

    def _track(self) -> None:
        def reader(instrument: Instrument, *kept: str) -> BlockCounter:
            return BlockCounter(self.grid, self.processes, label_names(instrument), kept)

        self._tracked["errors"] = _TrackedSignal(
            reader(semconv.API_REQUESTS, *_ENDPOINT_LABELS), reader(semconv.VALIDATION_ERRORS, *_ENDPOINT_LABELS)
        )
        for signal, instrument in _SLOW.items():
            bound = slow_from(self._before[signal])
            if bound is not None:
                kept = (*(_ENDPOINT_LABELS if signal == "time" else ()), "le")
                shared = reader(instrument, *kept)
                self._tracked[signal] = _TrackedSignal(shared, shared, bound)
        self._cache = reader(semconv.CACHE_HITS), reader(semconv.CACHE_MISSES)

    def _read(self, since: float, until: float, progress: Progress) -> None:
        for signal, tracked in self._tracked.items():
            progress(f"{_NOUNS[signal]} of {(until - since) / 3600:.1f} h")
            if signal == "errors":
                requests = self._samples.read_series(semconv.API_REQUESTS, since, until)
                errors = self._samples.read_series(semconv.VALIDATION_ERRORS, since, until)
                self.processes.add_series([*requests, *errors])
                tracked.events.add(requests)
                tracked.bad.add(errors)
            else:
                bounds = (tracked.slow,) if tracked.slow is not None else ()
                series = self._samples.read_series(_SLOW[signal], since, until, matcher(bounds))
                self.processes.add_series(series)
                tracked.events.add(series)
        if self._cache is not None:
            cached = max(since, self.grid.start - BASELINE * self.grid.block)
            for instrument, reader in zip((semconv.CACHE_HITS, semconv.CACHE_MISSES), self._cache, strict=True):
                reader.add(self._samples.read_series(instrument, cached, until))
        self._until = until

    def _fit(self) -> None:
        for signal, tracked in self._tracked.items():
            tracked.overall, tracked.endpoints = self.fit_nulls(signal, self._first, 0)

    def _state(self, signal: Signal) -> SignalState:
        tracked = self._tracked.get(signal)
        if tracked is None or tracked.overall is None:
            nothing = Judgement("inconclusive", 0, math.nan, math.nan, False, 0.0, 0.0, -math.inf)
            return SignalState(signal, "inconclusive", nothing, {}, None, None, f"no {_NOUNS[signal]} in the baseline")
        done = self.complete
        overall = rule.judge(tracked.overall, self.counts(signal, None, 0, done), self.watch)
        judged = {
            endpoint_name(*key): rule.judge(null, self.counts(signal, key, 0, done), self.watch)
            for key, null in tracked.endpoints.items()
        }
        ordered = dict(sorted(judged.items(), key=lambda item: -item[1].evidence))
        verdict: Verdict = overall.verdict
        if any(each.verdict == "degraded" for each in ordered.values()):
            verdict = "degraded"
        why = "" if verdict == "degraded" else self._missing(tracked, tracked.overall, overall)
        lost = tracked.events.unassigned
        if verdict == "pass" and lost > _UNPLACED * max(overall.n, 1.0):
            verdict = "inconclusive"
            why = f"{lost:,.0f} {_NOUNS[signal]} belong to neither side: samples are missing around the change"
        return SignalState(signal, verdict, overall, ordered, tracked.overall, tracked.slow, why)

    def _missing(self, tracked: _TrackedSignal, past: NullModel, judged: Judgement) -> str:
        if past.n < rule.MIN_EVENTS:
            return f"the baseline has {past.n:.0f} events, fewer than {rule.MIN_EVENTS}"
        if past.incident:
            return "there was an incident during the baseline, so the baseline does not show the usual rate"
        if judged.verdict == "pass":
            return ""
        if self.complete < self.watch:
            return f"{self.complete} of {self.watch} blocks"
        worst = evidence.limit(past.usual)
        tells = "watch longer, or with more traffic"
        return f"the rate may be {judged.upper_limit:.2%}, and above {worst:.2%} is degraded: {tells}"


def slow_from(before: Distribution) -> float | None:
    """The smallest boundary that at most a twentieth of the values exceeded; None without values."""
    total = before.get(math.inf, 0.0)
    if not total > 0:
        return None
    fitting = [
        bound
        for bound, count in before.items()
        if SLOW_LEAST <= bound < math.inf and 1 - count / total <= _SLOW_SHARE + 1e-9
    ]
    highest = max((bound for bound in before if bound < math.inf), default=None)
    return min(fitting, default=highest)


_NOUNS: Final[Mapping[Signal, str]] = {
    "errors": "requests",
    "time": "validations",
    "queries": "linked queries",
}
