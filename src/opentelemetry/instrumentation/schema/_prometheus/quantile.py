"""Computes quantiles and shares of a classic histogram, as Prometheus does."""

from __future__ import annotations

import math
from collections.abc import Mapping

Counts = Mapping[float, float]
"""Upper bound of a bucket → its cumulative count. A counter is the single bucket +Inf."""


def histogram_quantile(q: float, counts: Counts) -> float:
    """PromQL's `histogram_quantile` on one classic histogram.

    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile

    Args:
        q: The quantile, 0.95 for p95.
        counts: Cumulative counts; without a bucket +Inf, or with no other, the answer is NaN, as in Prometheus.

    Returns:
        A value in the unit of the bounds, interpolated inside the bucket that holds the rank; the highest finite bound
        if the rank lies above it; NaN where nothing was observed.
    """
    if math.isnan(q):
        return math.nan
    if q < 0 or q > 1:
        return math.copysign(math.inf, q)
    bounds = sorted(counts)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    # with scrapes of different moments, the sum of a bucket may be below that of the bucket before
    cumulative: list[float] = []
    for bound in bounds:
        cumulative.append(max(counts[bound], cumulative[-1]) if cumulative else counts[bound])
    observations = cumulative[-1]
    if not observations > 0:
        return math.nan
    rank = q * observations
    at = next((i for i, count in enumerate(cumulative[:-1]) if count >= rank), len(bounds) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    below, start = (cumulative[at - 1], bounds[at - 1]) if at else (0.0, 0.0)
    inside = cumulative[at] - below
    # q = 0 on an empty first bucket: 0/0 in Prometheus
    return start + (bounds[at] - start) * ((rank - below) / inside) if inside else math.nan


def share_above(bound: float, counts: Counts) -> float:
    """The share of observations above a bucket's bound, 0 to 1; NaN if there is no such bucket or no observation."""
    total = counts.get(math.inf, 0.0)
    if bound not in counts or not total > 0:
        return math.nan
    return 1 - counts[bound] / total
