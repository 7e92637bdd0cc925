"""Counts false alarms of the rule on the past, so that people can judge the rule before it may roll back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..._prometheus.report import endpoint_name
from ...semconv import Signal
from . import rule
from .signals import SIGNALS, Signals


class Alarm(NamedTuple):
    """One past watch that the rule would have called degraded.

    Attributes:
        at: When the guard would have notified, Unix time in seconds.
        signal: The degraded signal.
        endpoint: The degraded endpoint; None for all requests together.
        before: Rate of its baseline.
        after: Rate of the watch.
    """

    at: float
    signal: Signal
    endpoint: str | None
    before: float
    after: float


class Backtest(NamedTuple):
    """The result of a backtest.

    Attributes:
        watches: How many past watches were judged.
        short: How many of them had less history than a real one has.
        alarms: The degraded ones, in chronological order.
    """

    watches: int
    short: int
    alarms: list[Alarm]


def backtest(signals: Signals, blocks: int, progress: Callable[[int, int], None] = lambda _i, _n: None) -> Backtest:
    """Judge each past watch before the change against its own past.

    Args:
        signals: The signals, after `read_history` with these blocks.
        blocks: How many blocks to go back.
        progress: Called with the number of judged watches, and of all.
    """
    alarms: list[Alarm] = []
    ends = [end for end in range(-blocks + signals.watch, 1, signals.watch) if end - signals.watch > signals.first]
    short = 0
    for i, end in enumerate(ends):
        progress(i, len(ends))
        start = end - signals.watch
        first = max(signals.first, start - signals.history)
        short += start - first < rule.BASELINE + rule.PLACEBOS * signals.watch
        for signal in SIGNALS:
            if signals.tracked(signal):
                alarms += _find_alarms(signals, signal, first, start)
    return Backtest(len(ends), short, sorted(alarms))


def _find_alarms(signals: Signals, signal: Signal, first: int, start: int) -> Iterator[Alarm]:
    overall, endpoints = signals.fit_nulls(signal, first, start)
    for key, past in [(None, overall), *endpoints.items()]:
        judged = rule.judge(past, signals.counts(signal, key, start, start + signals.watch), signals.watch)
        if judged.verdict == "degraded":
            at = signals.grid.start + (start + judged.block) * signals.grid.block
            yield Alarm(at, signal, endpoint_name(*key) if key else None, past.usual, judged.rate)
