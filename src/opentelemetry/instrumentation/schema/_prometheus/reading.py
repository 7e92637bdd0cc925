"""One look at the instruments of `semconv`, wherever it came from."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,  # pyright: ignore[reportUnknownVariableType]
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from .. import semconv
from ..semconv import Instrument
from .quantile import Counts

Values = tuple[str, ...]
"""Values of attributes, "" for an absent one."""

Parser = Callable[[str], Iterable[Metric]]

_OPENMETRICS: Final = "application/openmetrics-text"

Sample = tuple[str, Mapping[str, str], float]
"""Sample name, labels, value."""


def sample_name(instrument: Instrument) -> str:
    """The name of the samples that are read of an instrument; a histogram's `+Inf` bucket is also its count."""
    return instrument.prometheus + ("_bucket" if instrument.kind == "histogram" else "")


def label_names(instrument: Instrument) -> list[str]:
    """The labels that are kept of an instrument; those of the road (job, instance, scope) are summed over."""
    names = [attribute.replace(".", "_") for attribute in instrument.attributes]
    return [*names, "le"] if instrument.kind == "histogram" else names


_INSTRUMENTS: Final = {sample_name(instrument): instrument for instrument in semconv.INSTRUMENTS}


@dataclass(frozen=True)
class Reading:
    """What had been counted at one moment, or, with `seconds`, during that many seconds.

    Attributes:
        series: By instrument name, then by the values of the instrument's attributes in their order.
        seconds: Length of the time covered; None from each process's start.
    """

    series: Mapping[str, Mapping[Values, Counts]]
    seconds: float | None = None

    @classmethod
    def of(cls, samples: Iterable[Sample], seconds: float | None = None) -> Reading:
        """Sums samples over every label that is not the instrument's own; ignores those of other metrics."""
        series: dict[str, dict[Values, dict[float, float]]] = {i.name: {} for i in semconv.INSTRUMENTS}
        for name, labels, value in samples:
            instrument = _INSTRUMENTS.get(name)
            if instrument is None or math.isnan(value):
                continue
            key = tuple(labels.get(attribute.replace(".", "_"), "") for attribute in instrument.attributes)
            bound = float(labels.get("le", "+Inf"))
            counts = series[instrument.name].setdefault(key, {})
            counts[bound] = counts.get(bound, 0.0) + value
        return cls(series, seconds)

    @property
    def empty(self) -> bool:
        """Whether not a single series of ours is there."""
        return not any(self.series.values())

    def by(self, instrument: Instrument, *attributes: str) -> dict[Values, Counts]:
        """Sums an instrument by some of its attributes.

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
        """As `by`, but only how many."""
        return {values: counts.get(math.inf, 0.0) for values, counts in self.by(instrument, *attributes).items()}

    def since(self, earlier: Reading, seconds: float) -> Reading:
        """What was counted after `earlier`, of the same source; a series that fell has restarted from zero."""
        return Reading(
            {
                name: {
                    values: _increase(counts, earlier.series[name].get(values, {})) for values, counts in now.items()
                }
                for name, now in self.series.items()
            },
            seconds,
        )


def _increase(now: Counts, before: Counts) -> Counts:
    if any(now.get(bound, 0.0) < count for bound, count in before.items()):
        return now
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def parse(exposition: str, content_type: str = "") -> list[Sample]:
    """Parses a /metrics answer.

    Args:
        exposition: The Prometheus text format, or OpenMetrics.
        content_type: The answer's header, which tells the two apart.

    Raises:
        ValueError: if it is neither.
    """
    # the OpenMetrics parser is not annotated
    parser = cast("Parser", parse_openmetrics if content_type.startswith(_OPENMETRICS) else parse_text)
    return [
        (sample.name, sample.labels, float(sample.value)) for family in parser(exposition) for sample in family.samples
    ]
