"""Reads raw samples from Prometheus for the guard, in portions, by the clock of Prometheus."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

from ..._prometheus.http import LARGEST, SourceError
from ..._prometheus.reading import label_names, sample_name
from ..._prometheus.server import Prometheus, shaped
from ...semconv import API_REQUESTS, VALIDATION_DURATION, Instrument
from .samples import Process, Series

T = TypeVar("T")

_SAMPLE: Final = 6
"""Bytes of an answer for one second of one series with a scrape every 5 s."""

_KNOWN: Final = "1d"
"""How long a process may be absent without being new."""


class SampleReader:
    """Reads the samples of one app.

    Attributes:
        prometheus: The Prometheus; its selector chooses the app.
        block: Seconds of one block.
    """

    def __init__(self, prometheus: Prometheus, block: float, patience: float) -> None:
        """Ask Prometheus for its time once, so that a wrong URL or token fails at once.

        Args:
            prometheus: The Prometheus to read from.
            block: Seconds of one block.
            patience: Seconds for which we retry if Prometheus stops answering.

        Raises:
            SourceError: if it does not answer.
        """
        self.prometheus = prometheus
        self.block = block
        self._patience = patience
        self._ahead = prometheus.query("time()")[0][1] - time.time()

    def now(self) -> float:
        """Unix time in seconds, by the clock of Prometheus."""
        return self.at(time.time())

    def at(self, local: float) -> float:
        """Convert a time of this machine's clock to the clock of Prometheus."""
        return local + self._ahead

    def read_series(self, instrument: Instrument, since: float, until: float, *more: str) -> list[Series]:
        """Read the stored samples of an instrument, by series.

        Args:
            instrument: The instrument.
            since: Unix time in seconds.
            until: Unix time in seconds.
            more: Further matchers.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        if until <= since:
            return []
        selector = self.prometheus.selector.of(sample_name(instrument), *more)
        series = self._count(selector, since, until)
        if not series:
            return []
        portion = max(LARGEST / 2 / _SAMPLE / series, self.block)
        parts: dict[str, tuple[dict[str, str], list[tuple[float, float]]]] = {}
        for i in range(math.ceil((until - since) / portion)):
            end = min(until, since + (i + 1) * portion)
            start = since + i * portion
            expression = f"{selector}[{_seconds(end - start)}]"
            answer = self._ask(lambda at=end, of=expression: self.prometheus.api("query", query=of, time=f"{at:.3f}"))
            for row in self._rows(answer):
                labels = self._labels(row)
                _, samples = parts.setdefault(json.dumps(sorted(labels.items())), (labels, []))
                samples.extend(self._samples(row))
        return [Series(labels, samples) for labels, samples in parts.values()]

    def _count(self, selector: str, since: float, until: float) -> float:
        query = f"count(last_over_time({selector}[{_seconds(until - since)}]))"
        answer = self._ask(lambda: self.prometheus.api("query", query=query, time=f"{until:.3f}"))
        try:
            return max((float(shaped(row, str, "value", 1)) for row in self._rows(answer)), default=0.0)
        except ValueError as error:
            raise self.prometheus.odd(error) from error

    def read_processes(self, at: float) -> set[Process]:
        """Read the processes that have samples in the day before a time.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        found: set[Process] = set()
        for instrument in (API_REQUESTS, VALIDATION_DURATION):
            name = sample_name(instrument)
            more = ('le="+Inf"',) if instrument.kind == "histogram" else ()
            selector = self.prometheus.selector.of(name, *more)
            query = f"count by (job, instance) (last_over_time({selector}[{_KNOWN}]))"
            answer = self._ask(lambda of=query: self.prometheus.api("query", query=of, time=f"{at:.3f}"))
            for row in self._rows(answer):
                labels = self._labels(row)
                found.add((labels.get("job", ""), labels.get("instance", "")))
        return found

    def read_scrape_times(self, since: float, until: float) -> list[float]:
        """Read the times at which Prometheus scraped any target, one per block; empty if it scrapes nothing.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        query = f"count(count_over_time(up[{_seconds(self.block)}]))"
        step = max(self.block, (until - since) / 10_000)
        answer = self._ask(
            lambda: self.prometheus.api(
                "query_range", query=query, start=f"{since:.3f}", end=f"{until:.3f}", step=f"{step:.3f}"
            )
        )
        return [time for row in self._rows(answer) for time, _ in self._samples(row)]

    def read_distribution(self, instrument: Instrument, since: float, until: float) -> dict[float, float]:
        """Read how many values of a histogram were at most each boundary, between two times.

        We sum the increases of each process over twenty points in time. That is exact enough to show, and to find the
        boundary above which an event is slow.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        if until <= since:
            return {}
        own = ", ".join(("job", "instance", *label_names(instrument)))
        selector = self.prometheus.selector.of(sample_name(instrument))
        query = f"sum by (job, instance, le) (max by ({own}) ({selector}))"
        step = max(self.block, (until - since) / 20)
        answer = self._ask(
            lambda: self.prometheus.api(
                "query_range", query=query, start=f"{since:.3f}", end=f"{until:.3f}", step=f"{step:.3f}"
            )
        )
        counts: dict[float, float] = {}
        for row in self._rows(answer):
            samples = self._samples(row)
            bound = float(self._labels(row).get("le", "inf"))
            grown = samples[0][1] if samples and samples[0][0] > since + step / 2 else 0.0
            for (_, before), (_, after) in pairwise(samples):
                grown += after - before if after >= before else after
            counts[bound] = counts.get(bound, 0.0) + grown
        return counts

    def _ask(self, ask: Callable[[], T]) -> T:
        """Ask, and retry for some time if Prometheus does not answer."""
        until = time.monotonic() + self._patience
        pause = min(1.0, self.block / 5)
        while True:
            try:
                return ask()
            except SourceError:
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, self.block)

    def _rows(self, answer: object) -> Iterable[object]:
        try:
            return shaped(answer, list[Any], "result")
        except ValueError as error:
            raise self.prometheus.odd(error) from error

    def _labels(self, row: object) -> dict[str, str]:
        try:
            labels = shaped(row, dict[str, str], "metric")
        except ValueError as error:
            raise self.prometheus.odd(error) from error
        kept = {name: value for name, value in labels.items() if name != "__name__"}
        if "le" in kept:
            kept["le"] = boundary(kept["le"])
        return kept

    def _samples(self, row: object) -> list[tuple[float, float]]:
        try:
            return [(float(at), float(value)) for at, value in shaped(row, list[Any], "values")]
        except (ValueError, TypeError) as error:
            raise self.prometheus.odd(ValueError(f"a sample that is no number: {error}")) from error


def boundary(text: str) -> str:
    """Spell the boundary of a bucket in one way: the paths spell it differently.

    Raises:
        SourceError: if it is no number.
    """
    try:
        return repr(float(text))
    except ValueError as error:
        raise SourceError(
            f"a bucket le={text[:20]!r} is not a number: exclude other programs' series with --match"
        ) from error


def matcher(bounds: Sequence[float]) -> str:
    """A matcher for buckets, in every spelling of their boundaries, and for the last bucket."""
    spelled = ["[+]Inf"]
    for bound in bounds:
        spelled += [f"{bound:.7f}".rstrip("0").rstrip("."), f"{bound:g}", repr(bound)]
    patterns = "|".join(dict.fromkeys(each.replace(".", "[.]") for each in spelled))
    return f'le=~"{patterns}"'


def _seconds(length: float) -> str:
    return f"{max(1, math.ceil(length * 1000))}ms"
