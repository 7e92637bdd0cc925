"""The rule: from counts in blocks before and after a change, whether the change made the service worse.

A signal is a count of events `n` and of bad ones `x` in each block. The rule compares what came after the change with
what the service does without a change: how its rate scatters from minute to minute, how it wanders from watch to
watch, and how high the evidence went in each watch of the past in which nothing changed (the placebos). docs/guard.md
says it in words, and shows what the rule finds and what it misses.

Nothing here knows of seconds: a block is as long as the export interval of the apps.

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
"""The chance of a false alarm over a whole watch, all signals and endpoints together."""

BASELINE: Final = 240
"""Blocks before the change that it is compared with."""

PLACEBOS: Final = 10
"""Watches of the past with which the history counts as long."""

EXCLUDED_BLOCKS: Final = 6
"""Blocks of the worst stretch of a watch, which never count: a burst, a restart."""

EXCLUDED_BLOCKS_SHORT_HISTORY: Final = 10
"""The same without enough placebos."""

MAX_EXCLUDED_BLOCKS: Final = 14
"""The most that it grows to where bad stretches of the past were longer, and a third of the watch."""

MIN_EVENTS: Final = 10
"""Events of the baseline without which nothing is decided."""

SHARES: Final[Mapping[Signal, float]] = {"errors": 0.8, "time": 0.1, "queries": 0.1}
"""Of ALPHA, by signal: most for the one that may undo a migration."""

ENDPOINTS: Final = 0.25
"""Of a signal's share, what its endpoints share; the rest is for all requests together."""

ENDPOINTS_FACTOR: Final = 1.5
"""How far above the highest evidence of any endpoint's past that of an endpoint has to be."""

_WANDER: Final = 0.2
_WANDER_WEIGHT: Final = 10
"""Before the history says how the rate wanders from watch to watch: by a fifth, worth ten watches."""

_WANDER_EXPECTED: Final = 2.0
"""Expected bad events with which a watch of the past says half of what it could about the wander."""

_WANDER_SHORT_HISTORY: Final = 0.4
"""The same without enough placebos: nothing else would raise the bar for a service with bursts."""

_BASELINE_TRIM: Final = 0.1
_SCATTER_TRIM: Final = 0.02
_WHOLE: Final = 1.7507
_LAST_HALF: Final = 2.3263
"""Normal quantiles of the two limits that may each allow a pass: 4 % and 1 %, together 5 %."""


@dataclass(frozen=True)
class NullModel:
    """What a signal does without a change, as far as its past tells.

    Attributes:
        rate: Bad events per event, without the worst tenth of the minutes; what evidence is measured against.
        usual: The rate to show, and to double: that of the baseline, corrected for what leaving out the worst removes.
        n: Events of the baseline that count.
        x: Bad events of the baseline that count.
        scatter: Variance of a minute's bad events over their mean, at least 1.
        wander: Variance of the rate of one watch over another's, relative.
        excluded_blocks: Blocks of the worst stretch that never count.
        highest: ln of the highest evidence that a watch of the past showed; -inf where none was above its limit.
        bar: ln of the evidence from which on the change is to blame.
        placebos: Watches of the past that the bar and the wander come from.
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
        """Whether the history was too short to compare with."""
        return self.placebos < PLACEBOS


class Judgement(NamedTuple):
    """What a signal's watch shows so far.

    Attributes:
        verdict: `inconclusive` also says "not yet".
        at: The block after the change at whose end the evidence was enough, from 1; 0 where it was not.
        rate: Bad events per event since the settling; NaN without events.
        most: The upper 95 % limit of that rate; of the watch's last half where `late`.
        late: Whether the last half passes while the whole does not yet, as after a blip of a deployment.
        n: Events since the settling.
        x: Bad events since the settling.
        evidence: ln of the highest evidence so far; -inf where the rate never was above the limit.
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
    """What the blocks before a change say about a signal.

    Args:
        before: All blocks of the history, the last of them just before the change.
        watch: Blocks of a watch, the settling among them.
        alpha: The chance of a false alarm that this signal may have.
    """
    return fit_nulls([before], watch, alpha)[0]


def fit_nulls(histories: Sequence[BlockCounts], watch: int, alpha: float) -> list[NullModel]:
    """What the blocks before a change say about the endpoints of a service, judged together.

    Each has bursts of its own: with twenty of them, one has its worst watch of six hours in every second watch. So none
    is to blame for less than any of them showed without a change, or for a shorter stretch. What one showed is measured
    as if it were no less steady than most of them: a burst in its past has made it look so.

    Args:
        histories: As for `null`, of each endpoint.
        watch: Blocks of a watch.
        alpha: The chance of a false alarm that all of them may have together.
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
    """What the blocks since a change say, the settling's first among them; a pass only of a whole watch."""
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
    """What a history shows, whatever is compared with it.

    Attributes:
        baseline: The blocks just before the change.
        base: They, without the worst.
        windows: Earlier watches, the latest first, each with its own hour before.
        scatter: As in `Null`.
        wander: Likewise.
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
        """ln of the highest evidence of any earlier watch; -inf without enough of them."""
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
    """Blocks of the worst stretch: the longest of the past that was worse than chance alone makes a block."""
    length = len(before.n)
    rate = trim_worst(before.part(max(0, length - BASELINE)), _BASELINE_TRIM).rate
    longest = run = 0
    above = limit(rate)
    for n, x in zip(before.n, before.x, strict=True):
        run = run + 1 if x > above * n and x - rate * n >= 3 * math.sqrt(rate * n + 1) else 0
        longest = max(longest, run)
    least = EXCLUDED_BLOCKS if (length - BASELINE) // watch >= PLACEBOS else EXCLUDED_BLOCKS_SHORT_HISTORY
    # a stretch begins and ends somewhere inside of a block
    return max(least, min(longest + 2, MAX_EXCLUDED_BLOCKS, watch // 3))


def _estimate_wander(
    windows: Sequence[tuple[BlockCounts, TrimmedCounts]], scatter: float, excluded_blocks: int, assumed: float
) -> float:
    """How far the rate of a watch strays from its own baseline's: what the placebos show, beside what we assume.

    One bad event too many strays far where one is expected. So the fewer are expected, the less the placebos count.
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
    """The baseline's rate without what leaving out its worst minutes would remove even from a steady service."""
    whole = (math.fsum(baseline.x) + 0.5) / max(math.fsum(baseline.n), 1.0)
    per_minute = base.n / max(base.minutes, 1)
    rate = base.rate
    for _ in range(3):
        rate = min(whole, base.rate / max(_share_kept(rate * per_minute), 1e-9))
    return rate


def _share_kept(mean: float) -> float:
    """Mean of the lower nine tenths of a Poisson distribution over its whole mean."""
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
    """The upper limit of the rate behind x of n; wider for the baseline's own error and the service's wander."""
    events = max(n, 1.0)
    counted = x / past.scatter + 1
    slope = RATIO if limit(past.usual) > past.usual + MIN_RISE else 1.0
    uncertain = slope**2 * past.usual / max(past.n, 1.0) / (limit(past.usual) / events)
    wander = _WANDER**2 if past.short else past.wander
    form = 1 / ((1 + uncertain) / counted + 2 * wander)  # the hour before may have strayed too
    return past.scatter * counted / events * (1 - 1 / (9 * form) + quantile / (3 * math.sqrt(form))) ** 3
