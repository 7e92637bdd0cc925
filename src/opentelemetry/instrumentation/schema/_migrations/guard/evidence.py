"""Statistics of a stretch of blocks: its rate without the worst minutes, and the evidence that the rate rose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MINUTE: Final = 4
"""Blocks of a minute: we measure the scatter by minutes, and a fault must last until the latest minute."""

SETTLING: Final = 2
"""Blocks after the change that belong to neither side: the last export before the change, and its scrape."""

RATIO: Final = 2.0
MIN_RISE: Final = 0.01
MAX_RISE: Final = 0.05
"""A rate is degraded if it doubled or rose by MAX_RISE, and rose by at least MIN_RISE."""

MIN_BAD_EVENTS: Final = 5
"""Bad events that a degraded signal must have."""

RISES: Final = (2.0, 3.0, 5.0, 10.0)
"""Factors by which the rate may have risen: the evidence is the mean over them."""

_LN_RISES: Final = tuple(map(math.log, RISES))


class BlockCounts(NamedTuple):
    """Events and bad events of each block, in chronological order.

    Attributes:
        n: Events.
        x: Bad events.
    """

    n: Sequence[float]
    x: Sequence[float]

    def part(self, start: int, end: int | None = None) -> BlockCounts:
        """The blocks from `start` to before `end`."""
        return BlockCounts(self.n[start:end], self.x[start:end])


def limit(rate: float) -> float:
    """The rate above which a service with this rate is degraded."""
    return max(rate + MIN_RISE, min(RATIO * rate, rate + MAX_RISE))


class TrimmedCounts(NamedTuple):
    """The counts of a stretch without its worst minutes.

    Attributes:
        n: Events in the remaining minutes.
        x: Bad events in the remaining minutes.
        rate: `x` and half a bad event more, per event.
        scatter: Variance of the remaining minutes over their mean, at least 1.
        minutes: Number of remaining minutes.
    """

    n: float
    x: float
    rate: float
    scatter: float
    minutes: int


def trim_worst(counts: BlockCounts, trim: float) -> TrimmedCounts:
    """Leave out the worst minutes of a stretch; `trim` is their share."""
    whole = len(counts.n) // MINUTE
    n = [math.fsum(counts.n[i : i + MINUTE]) for i in range(0, whole * MINUTE, MINUTE)]
    x = [math.fsum(counts.x[i : i + MINUTE]) for i in range(0, whole * MINUTE, MINUTE)]
    mean = sum(x) / max(sum(n), 1.0)
    kept = sorted(range(whole), key=lambda i: x[i] - mean * n[i])[: whole - round(trim * whole)]
    total_n, total_x = sum(n[i] for i in kept), sum(x[i] for i in kept)
    rate = (total_x + 0.5) / max(total_n, 1.0)
    expected = [n[i] * rate for i in kept]
    squares = sum((x[i] - m) ** 2 for i, m in zip(kept, expected, strict=True))
    return TrimmedCounts(total_n, total_x, rate, max(1.0, squares / max(sum(expected), 0.5)), len(kept))


class Look(NamedTuple):
    """An interim look at the watch, at the end of one block; `n` and `x` are without the worst stretch."""

    evidence: float
    n: float
    x: float


def shape(x: float, scatter: float, wander: float) -> float:
    """Shape of the Gamma distribution of the rate if nothing changed: from the baseline's error and the wander.

    Args:
        x: Bad events of the baseline.
        scatter: As in `rule.NullModel`.
        wander: As in `rule.NullModel`.
    """
    return 1 / (scatter / (x + 0.5) + wander)


def looks(after: BlockCounts, rate: float, scatter: float, shape: float, excluded_blocks: int) -> Iterator[Look]:
    """Yield a look per block outside the worst stretch; its evidence is -inf if the look may not decide."""
    n, x = after.n[SETTLING:], after.x[SETTLING:]
    above = limit(rate)
    sum_n, sum_x = [0.0], [0.0]
    worst, worst_n, worst_x = -math.inf, 0.0, 0.0
    for t, (events, bad) in enumerate(zip(n, x, strict=True), 1):
        sum_n.append(sum_n[-1] + events)
        sum_x.append(sum_x[-1] + bad)
        if t < excluded_blocks:
            continue
        stretch_n, stretch_x = sum_n[t] - sum_n[t - excluded_blocks], sum_x[t] - sum_x[t - excluded_blocks]
        if stretch_x - rate * stretch_n > worst:
            worst, worst_n, worst_x = stretch_x - rate * stretch_n, stretch_n, stretch_x
        left_n, left_x = sum_n[t] - worst_n, sum_x[t] - worst_x
        going_on = sum_x[t] - sum_x[t - MINUTE] > above * (sum_n[t] - sum_n[t - MINUTE])
        evidence = -math.inf
        if left_x >= MIN_BAD_EVENTS and left_x > above * left_n and going_on:
            evidence = log_evidence(left_x / scatter, left_n * rate / scatter, shape)
        yield Look(evidence, left_n, left_x)


def log_evidence(x: float, m: float, shape: float) -> float:
    """ln of the likelihood ratio of x bad events, with a rise over without one, if m are expected.

    The mean of the likelihood ratios of RISES, each a Gamma-Poisson of the same shape: an e-process while m grows,
    so the chance that it ever exceeds 1/alpha without a rise is at most alpha.
    """
    ratios = [x * ln - (shape + x) * math.log((shape + m * math.exp(ln)) / (shape + m)) for ln in _LN_RISES]
    top = max(ratios)
    return top + math.log(sum(math.exp(ratio - top) for ratio in ratios) / len(ratios))
