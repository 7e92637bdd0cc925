"""The values of the instruments of `semconv` at one moment, from whichever source."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .. import semconv
from ..semconv import Instrument
from .quantile import Counts
from .text import cleaned

Values = tuple[str, ...]
"""Values of attributes, "" for an absent one."""

_GAUGES: Final = {instrument.name for instrument in semconv.INSTRUMENTS if instrument.kind == "gauge"}

_MOST: Final = 2.0**64
"""Counts above this are not believed."""

Sample = tuple[str, Mapping[str, str], float]
"""Sample name, labels, value."""


def sample_name(instrument: Instrument) -> str:
    """The name of the samples that we read of an instrument. A histogram's `+Inf` bucket is also its count."""
    return instrument.prometheus + ("_bucket" if instrument.kind == "histogram" else "")


def label_names(instrument: Instrument) -> list[str]:
    """The labels that we keep of an instrument. We sum over those of the path (job, instance, scope)."""
    names = [*(attribute.replace(".", "_") for attribute in instrument.attributes), _OVERFLOW]
    return [*names, "le"] if instrument.kind == "histogram" else names


_OVERFLOW: Final = semconv.OVERFLOW.replace(".", "_")
_INSTRUMENTS: Final = {sample_name(instrument): instrument for instrument in semconv.INSTRUMENTS}


@dataclass(frozen=True)
class Reading:
    """The counts at one moment or, with `seconds`, the increases during so many seconds.

    Attributes:
        series: By instrument name, then by the values of the instrument's attributes in their order.
        seconds: Length of the time covered; None from each process's start.
        start: The totals since each process's start, if this is an increase and they are known.
    """

    series: Mapping[str, Mapping[Values, Counts]]
    seconds: float | None = None
    start: Reading | None = None

    @classmethod
    def of(cls, samples: Iterable[Sample], seconds: float | None = None) -> Reading:
        """Sum samples over every label that is not the instrument's own; ignore those of other metrics.

        Of a gauge the largest value counts: each process reports the same.

        The sum of the attribute sets past a limit has `otel.metric.overflow` as its first attribute.

        Raises:
            ValueError: if a sample is no count; the message names it.
        """
        series: dict[str, dict[Values, dict[float, float]]] = {i.name: {} for i in semconv.INSTRUMENTS}
        for name, labels, value in samples:
            instrument = _INSTRUMENTS.get(name)
            if instrument is None or math.isnan(value):
                continue
            if not 0 <= value < _MOST:
                raise ValueError(f"{name} is {value:g}, which is not a count")
            if labels.get(_OVERFLOW) == "true":
                key = (semconv.OVERFLOW, *[""] * (len(instrument.attributes) - 1))
            else:
                key = tuple(cleaned(labels.get(attribute.replace(".", "_"), "")) for attribute in instrument.attributes)
            bound = _bound(name, labels.get("le", "+Inf"))
            counts = series[instrument.name].setdefault(key, {})
            before = counts.get(bound, 0.0)
            counts[bound] = max(before, value) if instrument.kind == "gauge" else before + value
        return cls(series, seconds)

    @property
    def empty(self) -> bool:
        """Whether there is no series of ours at all."""
        return not any(self.series.values())

    def by(self, instrument: Instrument, *attributes: str) -> dict[Values, Counts]:
        """Sum an instrument by some of its attributes.

        Raises:
            ValueError: if the instrument has no such attribute.
        """
        at = [instrument.attributes.index(attribute) for attribute in attributes]
        summed: defaultdict[Values, dict[float, float]] = defaultdict(dict)
        for values, counts in self.series[instrument.name].items():
            group = summed[tuple(values[i] for i in at)]
            for bound, count in counts.items():
                group[bound] = group.get(bound, 0.0) + count
        return dict(summed)

    def totals(self, instrument: Instrument, *attributes: str) -> dict[Values, float]:
        """As `by`, with the total count of each group alone."""
        return {values: counts.get(math.inf, 0.0) for values, counts in self.by(instrument, *attributes).items()}

    def counted(self, instrument: Instrument, *attributes: str) -> set[Values]:
        """The groups of `by` whose count was ever above 0, as far as we know."""
        return {values for values, count in (self.start or self).totals(instrument, *attributes).items() if count}

    def since(self, earlier: Reading, seconds: float) -> Reading:
        """The increase since `earlier`, a reading of the same source. A series that fell has restarted from zero."""
        return Reading(
            {
                name: {
                    values: counts if name in _GAUGES else _increase(counts, earlier.series[name].get(values, {}))
                    for values, counts in now.items()
                }
                for name, now in self.series.items()
            },
            seconds,
            self,
        )


def _bound(name: str, text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise ValueError(f"{name} has a bucket le={cleaned(text, 20)!r}, which is not a number")
    return bound


def _increase(now: Counts, before: Counts) -> Counts:
    if any(now.get(bound, 0.0) < count for bound, count in before.items()):
        return now
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
