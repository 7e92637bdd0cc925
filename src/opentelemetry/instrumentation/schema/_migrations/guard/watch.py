"""Watches an app after a change until there is a verdict, and after a rollback until it has recovered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ..._prometheus.http import SourceError
from ...semconv import Signal, Verdict
from . import evidence, rule
from .evidence import MINUTE, SETTLING
from .signals import Figures, Signals, SignalState

STALLED: Final = 8
"""Blocks without a newer sample after which we take the app, or its path to Prometheus, for gone."""

RECOVERY: Final = 2 * MINUTE
"""Blocks for which a service must be as before the change to count as recovered."""


class WatchView(NamedTuple):
    """The state of a watch at one moment, to show to people.

    Attributes:
        states: State of every signal.
        complete: Blocks since the change that samples cover.
        watch: Blocks of the whole watch.
        note: Why no samples come; empty if they do.
    """

    states: Mapping[Signal, SignalState]
    complete: int
    watch: int
    note: str


@dataclass(frozen=True)
class WatchResult:
    """How a watch ended.

    Attributes:
        verdict: Verdict of all signals together.
        deciding: Degraded signals that may decide.
        states: State of every signal.
        figures: Figures of every signal, to show.
        hit_rates: Hit rates of the caches, before and after; never judged.
        why: The reason of an inconclusive verdict.
        seconds: From the change to the newest sample.
    """

    verdict: Verdict
    deciding: tuple[Signal, ...]
    states: Mapping[Signal, SignalState]
    figures: Mapping[Signal, Figures]
    hit_rates: Figures
    why: str
    seconds: float

    @classmethod
    def not_started(cls, why: str) -> WatchResult:
        """The result of a watch that could not begin."""
        return cls("inconclusive", (), {}, {}, Figures(math.nan, math.nan), why, 0.0)

    @property
    def degraded(self) -> list[Signal]:
        """Every signal that is degraded."""
        return [signal for signal, state in self.states.items() if state.verdict == "degraded"]


def watch(
    signals: Signals,
    decide: Collection[Signal],
    show: Callable[[WatchView], None],
    degraded: Callable[[Mapping[Signal, Figures], Mapping[Signal, SignalState]], None] = lambda _figures, _states: None,
    stop: Callable[[], bool] = lambda: False,
) -> WatchResult:
    """Judge newer samples as they come, until a deciding signal is degraded or the watch is over.

    Args:
        signals: The signals, after `read_history`.
        decide: The deciding signals.
        show: Called with the state of the watch after every look.
        degraded: Called with newly degraded signals; those of one look together, each signal once.
        stop: Returns whether to end before there is a verdict.
    """
    reported: set[Signal] = set()
    stall = _Stall(signals)
    while True:
        try:
            signals.read_on()
        except SourceError as error:
            return _result(signals, decide, str(error))
        states = signals.states()
        newly: set[Signal] = {
            each for each, state in states.items() if state.verdict == "degraded" and each not in reported
        }
        if newly:
            reported |= newly
            degraded({each: _figures(signals, states[each]) for each in states if each in newly}, states)
        show(WatchView(states, signals.complete, signals.watch, stall.note()))
        if reported & set(decide) or signals.complete >= signals.watch:
            return _result(signals, decide, "")
        if stall.over():
            return _result(signals, decide, stall.note())
        until = time.monotonic() + signals.grid.block / 3
        while time.monotonic() < until:
            if stop():
                return _result(signals, decide, "interrupted")
            time.sleep(min(0.2, signals.grid.block / 3))


Recovery = Literal["recovered", "failed"]


def recover(
    signals: Signals, degraded: Collection[SignalState], since: float, show: Callable[[str], None]
) -> tuple[Recovery, str]:
    """Watch until degraded signals are as before the change; `failed`, with a reason, after the length of a watch.

    Args:
        signals: The signals of the change that was rolled back.
        degraded: The degraded signals.
        since: When the rollback ended, by the clock of Prometheus.
        show: Called with progress.
    """
    grid = signals.grid
    first = math.ceil((since - grid.end) / grid.block) + SETTLING
    end = first + signals.watch
    stall = _Stall(signals)
    reason = "no newer samples"
    while True:
        try:
            signals.read_on()
        except SourceError as error:
            return "failed", str(error)
        last = grid.complete(signals.newest)
        if last >= first + RECOVERY:
            reasons = [_remaining_fault(signals, state, last) for state in degraded]
            reason = "; ".join(filter(None, reasons))
            if not reason:
                return "recovered", ""
        show(f"{max(0, last - first)} blocks since the rollback{f', {reason}' if last >= first + RECOVERY else ''}")
        if last >= end or stall.over():
            return "failed", reason
        time.sleep(grid.block / 3)


def _remaining_fault(signals: Signals, state: SignalState, last: int) -> str:
    """Why a signal has not recovered in the last minutes; empty if it has."""
    for name, past, n, x in signals.degraded_counts(state, last - RECOVERY, last):
        if n < rule.MIN_EVENTS:
            return f"{state.signal}, {name}: {n:.0f} events in {RECOVERY} blocks are too few to judge"
        if x > evidence.limit(past.usual) * n:
            return f"{state.signal}, {name}: {x / n:.2%}, before the migration {past.usual:.2%}"
    return ""


class _Stall:
    """Detects that no newer samples come."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._newest = signals.newest
        self._since = time.monotonic()

    def _quiet(self) -> float:
        """Blocks since the newest sample changed."""
        if self._signals.newest > self._newest:
            self._newest, self._since = self._signals.newest, time.monotonic()
        return (time.monotonic() - self._since) / self._signals.grid.block

    def note(self) -> str:
        quiet = self._quiet()
        if self._newest == -math.inf:
            return "no samples of this app: check --match, and that it exports"
        return "no newer samples: the app exports none, or Prometheus cannot scrape them" if quiet > 4 else ""

    def over(self) -> bool:
        return self._quiet() > STALLED


def _figures(signals: Signals, state: SignalState) -> Figures:
    try:
        return signals.figures(state.signal, state)
    except SourceError:
        return Figures(math.nan, math.nan)


def _result(signals: Signals, decide: Collection[Signal], why: str) -> WatchResult:
    states = signals.states()
    degraded: list[Signal] = [signal for signal, state in states.items() if state.verdict == "degraded"]
    verdict: Verdict = "inconclusive"
    if degraded:
        verdict = "degraded"
    elif not why and all(states[signal].verdict == "pass" for signal in decide):
        verdict = "pass"
    reasons = [f"{signal}: {states[signal].why}" for signal in decide if states[signal].why]
    return WatchResult(
        verdict,
        tuple(signal for signal in degraded if signal in decide),
        states,
        {signal: _figures(signals, state) for signal, state in states.items()},
        signals.hit_rates(),
        why or ("; ".join(reasons) if verdict == "inconclusive" else ""),
        max(0.0, signals.newest - signals.grid.end),
    )
