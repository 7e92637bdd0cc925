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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, NamedTuple

from ...semconv import Signal, Verdict

ALPHA: Final = 0.01
"""The chance of a false alarm over a whole watch, all signals and endpoints together."""

MINUTE: Final = 4
"""Blocks of a minute: the grain of the scatter, and how long a fault must still be going on."""

SETTLING: Final = 2
"""Blocks after the change that belong to neither side: the last export before it, and its scrape."""

BASELINE: Final = 240
"""Blocks before the change that it is compared with."""

PLACEBOS: Final = 10
"""Watches of the past with which the history counts as long."""

HOLE: Final = 6
"""Blocks of the worst stretch of a watch, which never count: a burst, a restart."""

HOLE_SHORT_HISTORY: Final = 10
"""The same without enough placebos."""

HOLE_MOST: Final = 14
"""The most that it grows to where bad stretches of the past were longer, and a third of the watch."""

RATIO: Final = 2.0
PLUS: Final = 0.01
CAP: Final = 0.05
"""What counts as degraded: a rate that doubled, or rose by CAP, and by PLUS in any case."""

BAD: Final = 5
"""Bad events without which nothing is degraded."""

EVENTS: Final = 10
"""Events of the baseline without which nothing is decided."""

RISES: Final = (2.0, 3.0, 5.0, 10.0)
"""How many times higher the rate may be after the change: the evidence is the mean over these."""

SHARES: Final[Mapping[Signal, float]] = {"errors": 0.8, "time": 0.1, "queries": 0.1}
"""Of ALPHA, by signal: most for the one that may undo a migration."""

ENDPOINTS: Final = 0.25
"""Of a signal's share, what its endpoints share; the rest is for all requests together."""

TOGETHER: Final = 1.5
"""How far above the highest evidence of any endpoint's past that of an endpoint has to be."""

_LN_RISES: Final = tuple(map(math.log, RISES))
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


class Counts(NamedTuple):
    """Events and bad events of each block, in time's order.

    Attributes:
        n: Events.
        x: Bad events.
    """

    n: Sequence[float]
    x: Sequence[float]

    def part(self, start: int, end: int | None = None) -> Counts:
        """The blocks from `start` to before `end`."""
        return Counts(self.n[start:end], self.x[start:end])


@dataclass(frozen=True)
class Null:
    """What a signal does without a change, as far as its past tells.

    Attributes:
        rate: Bad events per event, without the worst tenth of the minutes; what evidence is measured against.
        usual: The rate to show, and to double: that of the baseline, corrected for what leaving out the worst removes.
        n: Events of the baseline that count.
        x: Bad events of the baseline that count.
        scatter: Variance of a minute's bad events over their mean, at least 1.
        wander: Variance of the rate of one watch over another's, relative.
        hole: Blocks of the worst stretch that never count.
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
    hole: int
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
        most: The upper 95 % limit of that rate.
        n: Events since the settling.
        x: Bad events since the settling.
        evidence: ln of the highest evidence so far; -inf where the rate never was above the limit.
    """

    verdict: Verdict
    at: int
    rate: float
    most: float
    n: float
    x: float
    evidence: float


class _Look(NamedTuple):
    """The watch at the end of one block: `n` and `x` are without the worst stretch."""

    evidence: float
    n: float
    x: float


def limit(rate: float) -> float:
    """The rate above which a service with this rate is degraded."""
    return max(rate + PLUS, min(RATIO * rate, rate + CAP))


class _Siblings(NamedTuple):
    """What endpoints that are judged together have in common.

    Attributes:
        hole: Blocks of the worst stretch, the longest of any.
        scatter: The median of theirs.
        wander: Likewise.
    """

    hole: int
    scatter: float
    wander: float


_ALONE: Final = _Siblings(0, math.inf, math.inf)


def null(before: Counts, watch: int, alpha: float = ALPHA, siblings: _Siblings = _ALONE) -> Null:
    """What the blocks before a change say about a signal.

    Args:
        before: All blocks of the history, the last of them just before the change.
        watch: Blocks of a watch, the settling among them.
        alpha: The chance of a false alarm that this signal may have.
        siblings: What other endpoints, with which this one is judged, are like.
    """
    length = len(before.n)
    scatter = _steady(before, _SCATTER_TRIM).scatter
    windows = [
        (before.part(end - watch, end), _steady(before.part(end - watch - BASELINE, end - watch), _BASELINE_TRIM))
        for end in range(length, BASELINE + watch - 1, -watch)
    ]
    enough = len(windows) >= PLACEBOS
    baseline = before.part(max(0, length - BASELINE))
    base = _steady(baseline, _BASELINE_TRIM)
    hole = max(siblings.hole, HOLE if enough else HOLE_SHORT_HISTORY, _stretch(before, base.rate, watch))
    wander = _wandering(windows, scatter, hole, _WANDER if enough else _WANDER_SHORT_HISTORY)
    highest, calm = -math.inf, min(scatter, siblings.scatter)
    for window, own in windows if enough else ():
        shape = _shape(own.x, calm, min(wander, siblings.wander))
        highest = max(highest, *(look.evidence for look in _looks(window, own.rate, calm, shape, hole)))
    rates = sorted(each.rate for _, each in windows)
    incident = enough and base.x >= BAD and base.rate > limit(rates[len(rates) // 2])
    return Null(
        base.rate,
        _usual(base, baseline),
        base.n,
        base.x,
        scatter,
        wander,
        hole,
        highest,
        max(-math.log(alpha), highest),
        len(windows),
        incident,
    )


def judge(past: Null, after: Counts, watch: int) -> Judgement:
    """What the blocks since a change say, the settling's first among them; a pass only of a whole watch."""
    highest, at = -math.inf, 0
    for block, look in enumerate(
        _looks(after, past.rate, past.scatter, _shape(past.x, past.scatter, past.wander), past.hole),
        SETTLING + past.hole,
    ):
        highest = max(highest, look.evidence)
        if look.evidence >= past.bar and past.n >= EVENTS:
            at = block
            break
    n, x = math.fsum(after.n[SETTLING:]), math.fsum(after.x[SETTLING:])
    half_n, half_x = math.fsum(after.n[watch // 2 :]), math.fsum(after.x[watch // 2 :])
    most = _most(past, n, x, _WHOLE)
    late = _most(past, half_n, half_x, _LAST_HALF)
    verdict: Verdict = "inconclusive"
    if at:
        verdict = "degraded"
    elif len(after.n) >= watch and past.n >= EVENTS and not past.incident:
        verdict = "pass" if min(most, late) <= limit(past.usual) else "inconclusive"
    shown = min(most, late) if verdict == "pass" else most
    return Judgement(verdict, at, x / n if n else math.nan, shown, n, x, highest)


def nulls(befores: Sequence[Counts], watch: int, alpha: float) -> list[Null]:
    """What the blocks before a change say about the endpoints of a service, judged together.

    Each has bursts of its own: with twenty of them, one has its worst watch of six hours in every second watch. So none
    is to blame for less than any of them showed without a change, or for a shorter stretch. What one showed is measured
    as if it were no less steady than most of them: a burst in its past has made it look so.

    Args:
        befores: As for `null`, of each endpoint.
        watch: Blocks of a watch.
        alpha: The chance of a false alarm that all of them may have together.
    """
    share = alpha / max(len(befores), 1)
    each = [null(before, watch, share) for before in befores]
    if len(each) > 1:
        siblings = _Siblings(
            max(past.hole for past in each),
            median(past.scatter for past in each),
            median(past.wander for past in each),
        )
        each = [null(before, watch, share, siblings) for before in befores]
    highest = max((past.highest for past in each), default=-math.inf)
    return [replace(past, bar=max(past.bar, TOGETHER * highest)) for past in each]


class _Steady(NamedTuple):
    """A stretch without its worst minutes.

    Attributes:
        n: Events that are left.
        x: Bad events that are left.
        rate: Half a bad event more per event.
        scatter: Variance over mean of what is left, at least 1.
        minutes: How many are left.
    """

    n: float
    x: float
    rate: float
    scatter: float
    minutes: int


def _steady(counts: Counts, trim: float) -> _Steady:
    whole = len(counts.n) // MINUTE
    n = [math.fsum(counts.n[i : i + MINUTE]) for i in range(0, whole * MINUTE, MINUTE)]
    x = [math.fsum(counts.x[i : i + MINUTE]) for i in range(0, whole * MINUTE, MINUTE)]
    mean = sum(x) / max(sum(n), 1.0)
    kept = sorted(range(whole), key=lambda i: x[i] - mean * n[i])[: whole - round(trim * whole)]
    total_n, total_x = sum(n[i] for i in kept), sum(x[i] for i in kept)
    rate = (total_x + 0.5) / max(total_n, 1.0)
    expected = [n[i] * rate for i in kept]
    squares = sum((x[i] - m) ** 2 for i, m in zip(kept, expected, strict=True))
    return _Steady(total_n, total_x, rate, max(1.0, squares / max(sum(expected), 0.5)), len(kept))


def _stretch(counts: Counts, rate: float, watch: int) -> int:
    """Blocks of the longest stretch that was worse than chance alone makes a block, as far as it may be left out."""
    longest = run = 0
    above = limit(rate)
    for n, x in zip(counts.n, counts.x, strict=True):
        run = run + 1 if x > above * n and x - rate * n >= 3 * math.sqrt(rate * n + 1) else 0
        longest = max(longest, run)
    # a stretch begins and ends somewhere inside of a block
    return min(longest + 2, HOLE_MOST, watch // 3)


def _shape(x: float, scatter: float, wander: float) -> float:
    """Shape of the Gamma that the rate after the change has if nothing changed: the baseline's error, and wander."""
    return 1 / (scatter / (x + 0.5) + wander)


def _looks(after: Counts, rate: float, scatter: float, shape: float, hole: int) -> Iterator[_Look]:
    """Each look from the first with a block beside the worst stretch's, with the evidence where it may decide."""
    n, x = after.n[SETTLING:], after.x[SETTLING:]
    above = limit(rate)
    sum_n, sum_x = [0.0], [0.0]
    worst, worst_n, worst_x = -math.inf, 0.0, 0.0
    for t, (events, bad) in enumerate(zip(n, x, strict=True), 1):
        sum_n.append(sum_n[-1] + events)
        sum_x.append(sum_x[-1] + bad)
        if t < hole:
            continue
        stretch_n, stretch_x = sum_n[t] - sum_n[t - hole], sum_x[t] - sum_x[t - hole]
        if stretch_x - rate * stretch_n > worst:
            worst, worst_n, worst_x = stretch_x - rate * stretch_n, stretch_n, stretch_x
        left_n, left_x = sum_n[t] - worst_n, sum_x[t] - worst_x
        going_on = sum_x[t] - sum_x[t - MINUTE] > above * (sum_n[t] - sum_n[t - MINUTE])
        evidence = -math.inf
        if left_x >= BAD and left_x > above * left_n and going_on:
            evidence = log_evidence(left_x / scatter, left_n * rate / scatter, shape)
        yield _Look(evidence, left_n, left_x)


def log_evidence(x: float, m: float, shape: float) -> float:
    """ln of how much likelier x bad events are after a rise than without one, where m are expected.

    The mean of the likelihood ratios of RISES, each a Gamma-Poisson of the same shape: an e-process while m grows,
    so the chance that it ever exceeds 1/alpha without a rise is at most alpha.
    """
    ratios = [x * ln - (shape + x) * math.log((shape + m * math.exp(ln)) / (shape + m)) for ln in _LN_RISES]
    top = max(ratios)
    return top + math.log(sum(math.exp(ratio - top) for ratio in ratios) / len(ratios))


def _wandering(windows: Sequence[tuple[Counts, _Steady]], scatter: float, hole: int, assumed: float) -> float:
    """How far the rate of a watch strays from its own baseline's: what the placebos show, beside what we assume.

    One bad event too many strays far where one is expected. So the fewer are expected, the less the placebos count.
    """
    strayed, scale = 0.0, 1e-9
    for window, base in windows:
        *_, last = _looks(window, base.rate, scatter, _shape(base.x, scatter, _WANDER**2), hole)
        m = last.n * base.rate
        by_chance = 0.5 * scatter * m * (1 + m / (base.x + 0.5))
        strayed += max(last.x - m, 0.0) ** 2 - by_chance
        scale += 0.5 * m * m
    seen = min(max(strayed / scale, 0.0), 4.0)
    expected = math.sqrt(2 * scale / max(len(windows), 1))
    weight = len(windows) * expected / (expected + _WANDER_EXPECTED)
    return (_WANDER_WEIGHT * assumed**2 + weight * seen) / (_WANDER_WEIGHT + weight)


def _usual(base: _Steady, baseline: Counts) -> float:
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


def _most(past: Null, n: float, x: float, quantile: float) -> float:
    """The upper limit of the rate behind x of n; wider for the baseline's own error and the service's wander."""
    events = max(n, 1.0)
    counted = x / past.scatter + 1
    slope = RATIO if limit(past.usual) > past.usual + PLUS else 1.0
    uncertain = slope**2 * past.usual / max(past.n, 1.0) / (limit(past.usual) / events)
    wander = _WANDER**2 if past.short else past.wander
    shape = 1 / ((1 + uncertain) / counted + 2 * wander)  # the hour before may have strayed too
    return past.scatter * counted / events * (1 - 1 / (9 * shape) + quantile / (3 * math.sqrt(shape))) ** 3
