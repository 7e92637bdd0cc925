"""The guard's rule over many runs at once, with numpy, and the rules that it is compared with.

`test_guard_rule.py` proves that `verdicts` and `_migrations/guard/rule.py` say the same of every run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from opentelemetry.instrumentation.schema._migrations.guard import evidence, rule

Array = npt.NDArray[np.float64]
GRID = np.array(evidence.RISES)


class Steady(NamedTuple):
    n: Array
    x: Array
    rate: Array
    scatter: Array
    minutes: int


def limit(rate: Array) -> Array:
    return np.maximum(rate + evidence.MIN_RISE, np.minimum(evidence.RATIO * rate, rate + evidence.MAX_RISE))


def steady(n: Array, x: Array, trim: float) -> Steady:
    whole = n.shape[1] // evidence.MINUTE
    n, x = (a[:, : whole * evidence.MINUTE].reshape(len(a), whole, evidence.MINUTE).sum(2) for a in (n, x))
    mean = x.sum(1) / np.maximum(n.sum(1), 1)
    kept = (x - mean[:, None] * n).argsort(1, kind="stable")[:, : whole - round(trim * whole)]
    n, x = np.take_along_axis(n, kept, 1), np.take_along_axis(x, kept, 1)
    rate = (x.sum(1) + 0.5) / np.maximum(n.sum(1), 1)
    m = n * rate[:, None]
    scatter = np.maximum(1, ((x - m) ** 2).sum(1) / np.maximum(m.sum(1), 0.5))
    return Steady(n.sum(1), x.sum(1), rate, scatter, kept.shape[1])


def log_evidence(x: Array, m: Array, shape: Array) -> Array:
    ratios = x[:, None] * np.log(GRID) - (shape + x)[:, None] * np.log(
        (shape[:, None] + m[:, None] * GRID) / (shape + m)[:, None]
    )
    top = ratios.max(1)
    return top + np.log(np.exp(ratios - top[:, None]).mean(1))


def looks(
    n: Array, x: Array, rate: Array, scatter: Array, shape: Array, excluded_blocks: int
) -> tuple[Array, Array, Array]:
    """ln of the evidence at each block of the watch; n and x at its end without the worst stretch."""
    n, x = n[:, evidence.SETTLING :], x[:, evidence.SETTLING :]
    above = limit(rate)
    sum_n, sum_x = (np.concatenate([np.zeros((len(a), 1)), a.cumsum(1)], 1) for a in (n, x))
    worst, worst_n, worst_x = np.full(len(n), -np.inf), np.zeros(len(n)), np.zeros(len(n))
    out = np.full(n.shape, -np.inf)
    left_n = left_x = np.zeros(len(n))
    for t in range(excluded_blocks, n.shape[1] + 1):
        stretch_n, stretch_x = sum_n[:, t] - sum_n[:, t - excluded_blocks], sum_x[:, t] - sum_x[:, t - excluded_blocks]
        worse = stretch_x - rate * stretch_n > worst
        worst = np.where(worse, stretch_x - rate * stretch_n, worst)
        worst_n, worst_x = np.where(worse, stretch_n, worst_n), np.where(worse, stretch_x, worst_x)
        left_n, left_x = sum_n[:, t] - worst_n, sum_x[:, t] - worst_x
        minute_n, minute_x = (a[:, t] - a[:, t - evidence.MINUTE] for a in (sum_n, sum_x))
        i = np.flatnonzero(
            (left_x >= evidence.MIN_BAD_EVENTS) & (left_x > above * left_n) & (minute_x > above * minute_n)
        )
        if len(i):
            out[i, t - 1] = log_evidence(left_x[i] / scatter[i], left_n[i] * rate[i] / scatter[i], shape[i])
    return out, left_n, left_x


def usual(base: Steady, n: Array, x: Array) -> Array:
    whole = (x.sum(1) + 0.5) / np.maximum(n.sum(1), 1)
    per_minute = base.n / max(base.minutes, 1)
    rate = base.rate
    for _ in range(3):
        kept = share_kept(rate * per_minute)
        rate = np.minimum(whole, base.rate / np.maximum(kept, 1e-9))
    return rate


def share_kept(mean: Array) -> Array:
    counts = np.arange(120)
    logs = np.concatenate([[0], np.log(counts[1:]).cumsum()])
    chance = np.exp(counts * np.log(np.maximum(mean, 1e-12))[:, None] - mean[:, None] - logs)
    before = np.concatenate([np.zeros((len(mean), 1)), chance.cumsum(1)], 1)[:, :-1]
    taken = np.clip(np.minimum(chance, 0.9 - before), 0, None)
    few = (counts * taken).sum(1) / (0.9 * np.maximum(mean, 1e-9))
    return np.where(mean > 50, 1 - 0.195 / np.sqrt(np.maximum(mean, 1)), few)


class Verdicts(NamedTuple):
    """1 degraded, 0 pass, -1 inconclusive; the block at whose end it was degraded, 0 elsewhere."""

    verdict: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]


def longest(n: Array, x: Array, rate: Array) -> npt.NDArray[np.int64]:
    """Blocks of the longest stretch that was worse than chance alone makes a block."""
    mean = rate[:, None] * n
    bad = (x > limit(rate)[:, None] * n) & (x - mean >= 3 * np.sqrt(mean + 1))
    most = run = np.zeros(len(n), np.int64)
    for i in range(n.shape[1]):
        run = np.where(bad[:, i], run + 1, 0)
        most = np.maximum(most, run)
    return most


def verdicts(n: Array, x: Array, watch: int, alpha: float = rule.ALPHA, together: int = 1) -> Verdicts:
    """What the rule says of each run: history and watch in one array of blocks.

    So many runs one after the other are the endpoints of one service, judged together.
    """
    now = n.shape[1] - watch
    start = max(0, now - rule.BASELINE)
    base = steady(n[:, start:now], x[:, start:now], 0.1)
    windows = max(0, (now - rule.BASELINE) // watch)
    least = rule.EXCLUDED_BLOCKS if windows >= rule.PLACEBOS else rule.EXCLUDED_BLOCKS_SHORT_HISTORY
    stretch = np.minimum(longest(n[:, :now], x[:, :now], base.rate) + 2, min(rule.MAX_EXCLUDED_BLOCKS, watch // 3))
    all_excluded = np.maximum(least, stretch).reshape(-1, together).max(1).repeat(together)
    parts = [np.flatnonzero(all_excluded == excluded_blocks) for excluded_blocks in np.unique(all_excluded)]
    bar = np.zeros(len(n))
    wander = np.zeros(len(n))
    incident = np.zeros(len(n), bool)
    for rows in parts:
        bar[rows], wander[rows], incident[rows] = _past(n[rows], x[rows], watch, int(all_excluded[rows[0]]), together)
    threshold = -np.log(alpha)
    family = bar.reshape(-1, together).max(1).repeat(together)
    bar = np.maximum(np.maximum(bar, threshold), rule.ENDPOINTS_FACTOR * family if together > 1 else family)
    verdict, at = np.zeros(len(n), np.int64), np.zeros(len(n), np.int64)
    for rows in parts:
        verdict[rows], at[rows] = _judged(
            n[rows], x[rows], watch, bar[rows], wander[rows], incident[rows], int(all_excluded[rows[0]])
        )
    return Verdicts(verdict, at)


def _past(
    n: Array, x: Array, watch: int, excluded_blocks: int, together: int
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Highest evidence, wander, whether the baseline is an incident: of runs with one length of the worst stretch."""
    now = n.shape[1] - watch
    scatter = steady(n[:, :now], x[:, :now], 0.02).scatter
    past = []
    for end in range(now, rule.BASELINE + watch - 1, -watch):
        start = end - watch
        base = steady(n[:, start - rule.BASELINE : start], x[:, start - rule.BASELINE : start], 0.1)
        past.append((n[:, start:end], x[:, start:end], base))
    enough = len(past) >= rule.PLACEBOS
    strayed, scale = np.zeros(len(n)), np.full(len(n), 1e-9)
    for wn, wx, base in past:
        _, left_n, left_x = looks(wn, wx, base.rate, scatter, 1 / (scatter / (base.x + 0.5) + 0.2**2), excluded_blocks)
        m = left_n * base.rate
        strayed += np.maximum(left_x - m, 0) ** 2 - 0.5 * scatter * m * (1 + m / (base.x + 0.5))
        scale += 0.5 * m * m
    assumed = 0.2 if enough else 0.4
    expected = np.sqrt(2 * scale / max(len(past), 1))
    weight = len(past) * expected / (expected + 2)
    wander = (10 * assumed**2 + weight * np.clip(strayed / scale, 0, 4)) / (10 + weight)
    bar = np.full(len(n), -np.inf)
    calm = [np.minimum(a, np.median(a.reshape(-1, together), 1).repeat(together)) for a in (scatter, wander)]
    for wn, wx, base in past if enough else ():
        shape = 1 / (calm[0] / (base.x + 0.5) + calm[1])
        bar = np.maximum(bar, looks(wn, wx, base.rate, calm[0], shape, excluded_blocks)[0].max(1))
    start = max(0, now - rule.BASELINE)
    base = steady(n[:, start:now], x[:, start:now], 0.1)
    incident = np.zeros(len(n), bool)
    if enough:
        rates = np.sort(np.stack([each.rate for _, _, each in past]), 0)
        incident = (base.x >= evidence.MIN_BAD_EVENTS) & (base.rate > limit(rates[len(rates) // 2]))
    return bar, wander, incident


def _judged(
    n: Array, x: Array, watch: int, bar: Array, wander: Array, incident: npt.NDArray[np.bool_], excluded_blocks: int
) -> Verdicts:
    now = n.shape[1] - watch
    scatter = steady(n[:, :now], x[:, :now], 0.02).scatter
    start = max(0, now - rule.BASELINE)
    base = steady(n[:, start:now], x[:, start:now], 0.1)
    shape = 1 / (scatter / (base.x + 0.5) + wander)
    shown, _, _ = looks(n[:, now:], x[:, now:], base.rate, scatter, shape, excluded_blocks)
    hit = (shown >= bar[:, None]) & (base.n >= rule.MIN_EVENTS)[:, None]
    ordinary = usual(base, n[:, start:now], x[:, start:now])
    strays = wander if (now - rule.BASELINE) // watch >= rule.PLACEBOS else np.full(len(n), 0.2**2)
    most = [
        upper(ordinary, base.n, scatter, strays, n[:, s:].sum(1), x[:, s:].sum(1), z)
        for s, z in ((now + evidence.SETTLING, 1.7507), (now + watch // 2, 2.3263))
    ]
    ok = (base.n >= rule.MIN_EVENTS) & ~incident & (np.minimum(*most) <= limit(ordinary))
    degraded = hit.any(1)
    return Verdicts(
        np.where(degraded, 1, np.where(ok, 0, -1)), np.where(degraded, hit.argmax(1) + 1 + evidence.SETTLING, 0)
    )


def upper(ordinary: Array, base: Array, scatter: Array, wander: Array, n: Array, x: Array, quantile: float) -> Array:
    events = np.maximum(n, 1)
    counted = x / scatter + 1
    slope = np.where(limit(ordinary) > ordinary + evidence.MIN_RISE, evidence.RATIO, 1)
    uncertain = slope**2 * ordinary / np.maximum(base, 1) / (limit(ordinary) / events)
    shape = 1 / ((1 + uncertain) / counted + 2 * wander)
    return scatter * counted / events * (1 - 1 / (9 * shape) + quantile / (3 * np.sqrt(shape))) ** 3


def z_rule(n: Array, x: Array, watch: int) -> npt.NDArray[np.bool_]:
    """At each block: z > 3, one point more, doubled, ten events."""
    now = n.shape[1] - watch
    n0, x0 = (a[:, max(0, now - rule.BASELINE) : now].sum(1)[:, None] for a in (n, x))
    sum_n, sum_x = n[:, now:].cumsum(1), x[:, now:].cumsum(1)
    both = (sum_x + x0) / np.maximum(sum_n + n0, 1)
    before, after = x0 / np.maximum(n0, 1), sum_x / np.maximum(sum_n, 1)
    spread = both * np.maximum(1 - both, 0) * (1 / np.maximum(sum_n, 1) + 1 / np.maximum(n0, 1))
    z = (after - before) / np.sqrt(np.maximum(spread, 1e-12))
    return ((z > 3) & (after > before + 0.01) & (after > 2 * before) & (sum_n >= 10)).any(1)


def mann_whitney(n: Array, x: Array, watch: int) -> npt.NDArray[np.bool_]:
    """Minutes of the watch against those of the hour before at its end, as Kayenta's judge.

    One-sided, 98 %, corrected for ties; and the mean rate has to be a quarter higher.
    """
    now = n.shape[1] - watch
    start = max(0, now - rule.BASELINE)
    parts = []
    for first, end in ((start, now), (now, now + watch)):
        whole = (end - first) // 4
        minute_n, minute_x = (
            a[:, end - whole * 4 : end].reshape(len(a), whole, 4).sum(2).astype(float) for a in (n, x)
        )
        parts.append(np.where(minute_n > 0, minute_x / np.maximum(minute_n, 1), 0.0))
    before, after = parts
    a, b = after.shape[1], before.shape[1]
    more = (after[:, :, None] > before[:, None, :]).sum((1, 2)) + 0.5 * (after[:, :, None] == before[:, None, :]).sum(
        (1, 2)
    )
    pooled = np.sort(np.concatenate(parts, 1), 1)
    ties = np.array(
        [(counts**3 - counts).sum() for counts in (np.unique(row, return_counts=True)[1] for row in pooled)]
    )
    variance = a * b / 12 * (a + b + 1 - ties / ((a + b) * (a + b - 1)))
    z = (more - a * b / 2 - 0.5) / np.sqrt(np.maximum(variance, 1e-9))
    return (z > 2.054) & (after.mean(1) > 1.25 * before.mean(1))


def plain_e_process(n: Array, x: Array, watch: int) -> npt.NDArray[np.bool_]:
    """At each block: the Gamma-Poisson likelihood ratio alone, with the error of the baseline and nothing else."""
    now = n.shape[1] - watch
    n0, x0 = (a[:, max(0, now - rule.BASELINE) : now].sum(1) for a in (n, x))
    rate, shape = (x0 + 0.5) / np.maximum(n0, 1), x0 + 0.5
    sum_n, sum_x = n[:, now:].cumsum(1), x[:, now:].cumsum(1)
    hit = np.zeros(len(n), bool)
    for t in range(watch):
        hit |= log_evidence(sum_x[:, t], sum_n[:, t] * rate, shape) >= -np.log(rule.ALPHA)
    return hit
