"""The instruments that one recorder measures with, built from the rows of `semconv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.metrics import Meter

from .. import semconv
from .cells import BufferedInstrument


class Instruments:
    """The counters and histograms of `semconv.INSTRUMENTS`, by their rows, in that order.

    Args:
        meter: Makes them.
        limit: Attribute sets of each; further ones share one.
        fold: Whether values may be buffered.
    """

    def __init__(self, meter: Meter, limit: int, fold: bool) -> None:
        self._by_name: dict[str, BufferedInstrument] = {}
        for spec in semconv.INSTRUMENTS:
            if spec.kind == "gauge":
                continue
            if spec.kind == "counter":
                made: Any = meter.create_counter(spec.name, spec.unit, spec.description)
            else:
                made = meter.create_histogram(
                    spec.name, spec.unit, spec.description, explicit_bucket_boundaries_advisory=spec.buckets
                )
            self._by_name[spec.name] = BufferedInstrument(spec, made, limit, fold)

    def hold(self) -> None:
        """Hold new measurements back until a reader collects, or `take_held` is called."""
        for instrument in self:
            instrument.held = []

    @property
    def held(self) -> bool:
        """Whether every measurement is still held back."""
        return all(instrument.held is not None for instrument in self)

    def take_held(self) -> list[tuple[str, dict[str, Any], list[float]]]:
        """Return every measurement that is held back: instrument, attributes, values."""
        return [each for instrument in self for each in instrument.take_held()]

    def __getitem__(self, spec: semconv.Instrument) -> BufferedInstrument:
        return self._by_name[spec.name]

    def __iter__(self) -> Iterator[BufferedInstrument]:
        return iter(self._by_name.values())
