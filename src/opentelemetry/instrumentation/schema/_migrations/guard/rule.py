"""The rule: decides from counts in blocks whether a change made the service worse.

A signal is a count of events `n` and of bad events `x` in each block. The rule compares the blocks after the change
with the behaviour of the service without a change: how its rate scatters from minute to minute, how the rate wanders
from watch to watch, and how high the evidence went in past watches without a change (the placebos). docs/guard.md
explains the rule, and shows what it finds and what it misses.

Time is counted in blocks, not in seconds: a block is as long as the export interval of the apps.

References:
    Ville's inequality for an e-process: https://arxiv.org/abs/2205.14762
    the Gamma limit as a power of a normal one: Wilson and Hilferty, 1931
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from ...semconv import Signal, Verdict
from .evidence import (
    MIN_BAD_EVENTS,
    MIN_RISE,
    RATIO,
    SETTLING,
    BlockCounts,
    TrimmedCounts,
    limit,
    looks,
    shape,
    trim_worst,
)

ALPHA: Final = 0.01
"""The probability of a false alarm in a whole watch, for all signals and endpoints together."""

BASELINE: Final = 240
"""Blocks just before the change, with which we compare."""

PLACEBOS: Final = 10
"""Past watches that a history needs to count as long."""

EXCLUDED_BLOCKS: Final = 6
"""Blocks of a watch that we exclude: its worst stretch, such as a burst or a restart."""

EXCLUDED_BLOCKS_SHORT_HISTORY: Final = 10
"""Blocks that we exclude if there are too few placebos."""

MAX_EXCLUDED_BLOCKS: Final = 14
"""The largest exclusion, if bad stretches of the past were longer; it is also at most a third of the watch."""

MIN_EVENTS: Final = 10
"""Events that the baseline must have for a decision."""

SHARES: Final[Mapping[Signal, float]] = {"errors": 0.8, "time": 0.1, "queries": 0.1}
"""Share of ALPHA by signal: most for the signal that may roll back a migration."""

ENDPOINTS: Final = 0.25
"""The part of a signal's share for its endpoints; the rest is for all requests together."""

ENDPOINTS_FACTOR: Final = 1.5
"""The bar of each endpoint is this many times the highest past evidence of any endpoint."""

_WANDER: Final = 0.2
_WANDER_WEIGHT: Final = 10
"""Our assumption about the wander of the rate from watch to watch, a fifth; it weighs as much as ten watches."""

_WANDER_EXPECTED: Final = 2.0
"""Expected bad events at which a past watch counts half in the estimate of the wander."""

_WANDER_SHORT_HISTORY: Final = 0.4
"""The assumption without enough placebos: then nothing else raises the bar for a service with bursts."""

_BASELINE_TRIM: Final = 0.1
_SCATTER_TRIM: Final = 0.02
_WHOLE: Final = 1.7507
_LAST_HALF: Final = 2.3263
"""Normal quantiles of the two limits that may each allow a pass: 4 % and 1 %, together 5 %."""


@dataclass(frozen=True)
class NullModel:
    """The null hypothesis: how a signal behaves without a change, estimated from its past.

    Attributes:
        rate: Bad events per event, without the worst tenth of the minutes; the evidence compares with it.
        usual: The usual rate, which we show and whose double is degraded: the baseline's rate, corrected for the
            minutes that `rate` leaves out.
        n: Events of the baseline that count.
        x: Bad events of the baseline that count.
        scatter: Variance of a minute's bad events over their mean, at least 1.
        wander: Relative variance of the rate between watches.
        excluded_blocks: Length of the worst stretch, which we exclude.
        highest: ln of the highest evidence in past watches; -inf if no rate was above its limit.
        bar: ln of the evidence from which on the signal is degraded.
        placebos: Number of past watches from which bar and wander are estimated.
        incident: Whether the baseline was itself worse than the hours before it.
    """

    rate: float
    usual: float
    n: float
    x: float
    scatter: float
    wander: float
    excluded_blocks: int
    highest: float
    bar: float
    placebos: int
    incident: bool

    @property
    def limit(self) -> float:
        """A rate above this is degraded."""
        return limit(self.rate)

    @property
    def short(self) -> bool:
        """Whether the history has too few placebos."""
        return self.placebos < PLACEBOS


class Judgement(NamedTuple):
    """The judgement of one signal so far.

    Attributes:
        verdict: `inconclusive` also means "not yet".
        block: The block after the change, from 1, at whose end the evidence reached the bar; 0 if it never did.
        rate: Bad events per event since the settling; NaN without events.
        upper_limit: The upper 95 % limit of that rate; if `late`, of the rate in the last half of the watch.
        late: Whether the last half passes and the whole watch does not, as after a short fault of a deployment.
        n: Events since the settling.
        x: Bad events since the settling.
        evidence: ln of the highest evidence so far; -inf if the rate was never above the limit.
    """

    verdict: Verdict
    block: int
    rate: float
    upper_limit: float
    late: bool
    n: float
    x: float
    evidence: float


def fit_null(before: BlockCounts, watch: int, alpha: float = ALPHA) -> NullModel:
    """Estimate the null model of a signal from the blocks before a change.

    Args:
        before: All blocks of the history; the last one ends at the change.
        watch: Blocks of a watch, including the settling.
        alpha: The allowed probability of a false alarm.
    """
    return fit_nulls([before], watch, alpha)[0]


def fit_nulls(histories: Sequence[BlockCounts], watch: int, alpha: float) -> list[NullModel]:
    """Estimate the null models of the endpoints of a service, which are judged together.

    Each endpoint has bursts. With twenty endpoints, in every second watch one of them has its worst watch of six hours.
    So all endpoints share one bar, above the highest past evidence of any of them, and one number of excluded blocks.
    For this bar, scatter and wander of an endpoint count as at most the median of all: a burst in its past makes an
    endpoint look less steady than it is.

    Args:
        histories: As for `fit_null`, one per endpoint.
        watch: Blocks of a watch.
        alpha: The allowed probability of a false alarm, for all of them together.
    """
    excluded_blocks = max((_excluded_blocks(before, watch) for before in histories), default=0)
    pasts = [_HistorySummary.of(before, watch, excluded_blocks) for before in histories]
    scatter = median([past.scatter for past in pasts] or [1.0])
    wander = median([past.wander for past in pasts] or [0.0])
    highest = [past.highest(min(past.scatter, scatter), min(past.wander, wander), excluded_blocks) for past in pasts]
    family = ENDPOINTS_FACTOR * max(highest, default=-math.inf) if len(pasts) > 1 else -math.inf
    least = -math.log(alpha / max(len(pasts), 1))
    return [
        NullModel(
            past.base.rate,
            _usual_rate(past.base, past.baseline),
            past.base.n,
            past.base.x,
            past.scatter,
            past.wander,
            excluded_blocks,
            own,
            max(least, own, family),
            len(past.windows),
            past.incident,
        )
        for past, own in zip(pasts, highest, strict=True)
    ]


def judge(past: NullModel, after: BlockCounts, watch: int) -> Judgement:
    """Judge the blocks since a change, from the settling on; `pass` needs a whole watch."""
    highest, at = -math.inf, 0
    for block, look in enumerate(
        looks(after, past.rate, past.scatter, shape(past.x, past.scatter, past.wander), past.excluded_blocks),
        SETTLING + past.excluded_blocks,
    ):
        highest = max(highest, look.evidence)
        if look.evidence >= past.bar and past.n >= MIN_EVENTS:
            at = block
            break
    n, x = math.fsum(after.n[SETTLING:]), math.fsum(after.x[SETTLING:])
    half_n, half_x = math.fsum(after.n[watch // 2 :]), math.fsum(after.x[watch // 2 :])
    most, allowed = _upper_limit(past, n, x, _WHOLE), limit(past.usual)
    half = _upper_limit(past, half_n, half_x, _LAST_HALF)
    verdict: Verdict = "inconclusive"
    if at:
        verdict = "degraded"
    elif len(after.n) >= watch and past.n >= MIN_EVENTS and not past.incident:
        verdict = "pass" if min(most, half) <= allowed else "inconclusive"
    late = verdict == "pass" and most > allowed
    return Judgement(verdict, at, x / n if n else math.nan, half if late else most, late, n, x, highest)


@dataclass(frozen=True)
class _HistorySummary:
    """The estimates from one history, before endpoints are compared.

    Attributes:
        baseline: The blocks just before the change.
        base: The baseline without its worst minutes.
        windows: Past watches, the latest first, each with its own baseline.
        scatter: As in `NullModel`.
        wander: As in `NullModel`.
    """

    baseline: BlockCounts
    base: TrimmedCounts
    windows: list[tuple[BlockCounts, TrimmedCounts]]
    scatter: float
    wander: float

    @classmethod
    def of(cls, before: BlockCounts, watch: int, excluded_blocks: int) -> _HistorySummary:
        length = len(before.n)
        windows = [
            (
                before.part(end - watch, end),
                trim_worst(before.part(end - watch - BASELINE, end - watch), _BASELINE_TRIM),
            )
            for end in range(length, BASELINE + watch - 1, -watch)
        ]
        scatter = trim_worst(before, _SCATTER_TRIM).scatter
        assumed = _WANDER if len(windows) >= PLACEBOS else _WANDER_SHORT_HISTORY
        baseline = before.part(max(0, length - BASELINE))
        base = trim_worst(baseline, _BASELINE_TRIM)
        return cls(baseline, base, windows, scatter, _estimate_wander(windows, scatter, excluded_blocks, assumed))

    def highest(self, scatter: float, wander: float, excluded_blocks: int) -> float:
        """ln of the highest evidence of any past watch; -inf if there are too few."""
        if len(self.windows) < PLACEBOS:
            return -math.inf
        return max(
            look.evidence
            for window, own in self.windows
            for look in looks(window, own.rate, scatter, shape(own.x, scatter, wander), excluded_blocks)
        )

    @property
    def incident(self) -> bool:
        """Whether the baseline was itself worse than the hours before it."""
        rates = sorted(own.rate for _, own in self.windows)
        return (
            len(rates) >= PLACEBOS and self.base.x >= MIN_BAD_EVENTS and self.base.rate > limit(rates[len(rates) // 2])
        )


def _excluded_blocks(before: BlockCounts, watch: int) -> int:
    """How many blocks to exclude: as long as the longest past stretch whose blocks chance alone does not explain."""
    length = len(before.n)
    rate = trim_worst(before.part(max(0, length - BASELINE)), _BASELINE_TRIM).rate
    longest = run = 0
    above = limit(rate)
    for n, x in zip(before.n, before.x, strict=True):
        run = run + 1 if x > above * n and x - rate * n >= 3 * math.sqrt(rate * n + 1) else 0
        longest = max(longest, run)
    least = EXCLUDED_BLOCKS if (length - BASELINE) // watch >= PLACEBOS else EXCLUDED_BLOCKS_SHORT_HISTORY
    # a stretch begins and ends inside a block
    return max(least, min(longest + 2, MAX_EXCLUDED_BLOCKS, watch // 3))


def _estimate_wander(
    windows: Sequence[tuple[BlockCounts, TrimmedCounts]], scatter: float, excluded_blocks: int, assumed: float
) -> float:
    """Estimate how far the rate of a watch strays from its own baseline: from the placebos, and from our assumption.

    If one bad event is expected, one more is a large deviation. So the fewer events are expected, the less the placebos
    count.
    """
    strayed, scale = 0.0, 1e-9
    for window, base in windows:
        *_, last = looks(window, base.rate, scatter, shape(base.x, scatter, _WANDER**2), excluded_blocks)
        m = last.n * base.rate
        by_chance = 0.5 * scatter * m * (1 + m / (base.x + 0.5))
        strayed += max(last.x - m, 0.0) ** 2 - by_chance
        scale += 0.5 * m * m
    seen = min(max(strayed / scale, 0.0), 4.0)
    expected = math.sqrt(2 * scale / max(len(windows), 1))
    weight = len(windows) * expected / (expected + _WANDER_EXPECTED)
    return (_WANDER_WEIGHT * assumed**2 + weight * seen) / (_WANDER_WEIGHT + weight)


def _usual_rate(base: TrimmedCounts, baseline: BlockCounts) -> float:
    """The baseline's rate, corrected: leaving out the worst minutes lowers the rate even of a steady service."""
    whole = (math.fsum(baseline.x) + 0.5) / max(math.fsum(baseline.n), 1.0)
    per_minute = base.n / max(base.minutes, 1)
    rate = base.rate
    for _ in range(3):
        rate = min(whole, base.rate / max(_share_kept(rate * per_minute), 1e-9))
    return rate


def _share_kept(mean: float) -> float:
    """Ratio of the mean of the lower nine tenths of a Poisson distribution to its whole mean."""
    if mean > 50:
        return 1 - 0.195 / math.sqrt(mean)
    left, kept, chance, count = 1 - _BASELINE_TRIM, 0.0, math.exp(-mean), 0
    while chance < left:
        kept += count * chance
        left -= chance
        count += 1
        chance *= mean / count
    return (kept + count * left) / ((1 - _BASELINE_TRIM) * max(mean, 1e-9))


def _upper_limit(past: NullModel, n: float, x: float, quantile: float) -> float:
    """The upper limit of the rate behind x of n events, with the baseline's own error and the service's wander."""
    events = max(n, 1.0)
    counted = x / past.scatter + 1
    slope = RATIO if limit(past.usual) > past.usual + MIN_RISE else 1.0
    uncertain = slope**2 * past.usual / max(past.n, 1.0) / (limit(past.usual) / events)
    wander = _WANDER**2 if past.short else past.wander
    form = 1 / ((1 + uncertain) / counted + 2 * wander)  # the baseline may have strayed too
    return past.scatter * counted / events * (1 - 1 / (9 * form) + quantile / (3 * math.sqrt(form))) ** 3
