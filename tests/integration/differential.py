"""Our buffered instruments beside ordinary SDK instruments with the same measurements, to compare what readers see."""

from __future__ import annotations

import gc
import inspect
import math
import os
import signal
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._recording.cells import BufferedInstrument, Cell
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

LATE_READERS = hasattr(MeterProvider, "add_metric_reader")
SDK_LIMITS = "aggregation_cardinality_limit" in inspect.signature(View).parameters

SETS: list[dict[str, Any]] = [{"schema": s, "valid": v, "n": n} for s in "ab" for v in (True, False) for n in (0, 1)]
BOUNDS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 2.5)
COARSE = ExplicitBucketHistogramAggregation([0.001, 1], record_min_max=False)

VIEWS: dict[str, Callable[[], list[View]]] = {
    "default": list,
    "attribute_keys": lambda: [
        View(instrument_type=Histogram, attribute_keys={"schema"}),
        View(instrument_type=Counter, attribute_keys={"n"}),
    ],
    "other bounds": lambda: [View(instrument_type=Histogram, aggregation=COARSE)],
    "exponential": lambda: [
        View(instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation(max_size=40))
    ],
    "drop": lambda: [View(instrument_type=Histogram, aggregation=DropAggregation())],
    "sum": lambda: [View(instrument_type=Histogram, aggregation=SumAggregation())],
    "two views": lambda: [
        View(instrument_type=Histogram),
        *(
            View(instrument_name=side, name=f"{side}.coarse", attribute_keys={"valid"}, aggregation=COARSE)
            for side in ("ours", "theirs")
        ),
    ],
}
if SDK_LIMITS:
    VIEWS["cardinality limit"] = lambda: [
        View(instrument_type=kind, aggregation_cardinality_limit=3) for kind in (Histogram, Counter)
    ]


def reader(delta: bool) -> InMemoryMetricReader:
    """A reader with delta temporality, or with the default, cumulative one."""
    kinds: dict[type, Any] = dict.fromkeys((Histogram, Counter), AggregationTemporality.DELTA)
    return InMemoryMetricReader(kinds if delta else None)


def points(source: InMemoryMetricReader, prefix: str = "") -> Iterator[tuple[str, tuple[Any, ...], Any, Any]]:
    """(name without prefix, attributes, temporality, data point) of one collection."""
    data = source.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.startswith(prefix):
                    for point in metric.data.data_points:
                        attributes = tuple(sorted(point.attributes.items()))
                        name = metric.name.removeprefix(prefix)
                        yield name, attributes, metric.data.aggregation_temporality, point


class Differential:
    """A histogram, the counter of its values and a counter of amounts: ours, and the SDK's own.

    Args:
        deltas: For each reader, whether its temporality is delta.
        views: The provider's views.
        readers: Further readers, not compared.
    """

    def __init__(self, deltas: Sequence[bool], views: Sequence[View] = (), readers: Sequence[Any] = ()) -> None:
        self.deltas, self.readers = list(deltas), [reader(delta) for delta in deltas]
        self.first = len(self.readers)
        self.provider = MeterProvider([*self.readers, *readers], views=views, shutdown_on_exit=False)
        meter = self.provider.get_meter("pair")
        buckets = {"explicit_bucket_boundaries_advisory": BOUNDS}
        self.theirs: Any = meter.create_histogram("theirs", "s", **buckets)
        self.their_count, self.their_amount = (meter.create_counter(f"theirs.{name}") for name in ("count", "amount"))
        spec = semconv.VALIDATION_DURATION
        self.values = BufferedInstrument(spec, meter.create_histogram("ours", "s", **buckets), 2000, True)
        self.count, self.amounts = (
            BufferedInstrument(semconv.CACHE_HITS, meter.create_counter(f"ours.{name}"), 2000, True)
            for name in ("count", "amount")
        )
        self.instruments = self.values, self.count, self.amounts
        self.cells: dict[tuple[BufferedInstrument, int], Cell] = {}
        self._seen: list[dict[Any, tuple[int, int]]] = [defaultdict(lambda: (0, 0)) for _ in range(9)]
        meter.create_observable_gauge("hook", callbacks=[lambda _: self.fold() or ()])

    def cell(self, instrument: BufferedInstrument, i: int) -> Cell:
        """The cell of `SETS[i]`."""
        cell = self.cells.get((instrument, i))
        if cell is None:
            hit_counter = self.cell(self.count, i) if instrument is self.values else None
            made = instrument.cell(SETS[i], hit_counter)
            assert made is not None
            cell = self.cells.setdefault((instrument, i), made)
        return cell

    def record(self, i: int, value: float, span: Span = INVALID_SPAN) -> None:
        """One duration, to both; in a span, where one is given."""
        context = set_span_in_context(span)
        self.cell(self.values, i).add(value, None if span is INVALID_SPAN else context)
        self.theirs.record(value, SETS[i], context)
        self.their_count.add(1, SETS[i])

    def add(self, i: int, amount: float) -> None:
        """An amount to both counters."""
        self.cell(self.amounts, i).add(amount)
        self.their_amount.add(amount, SETS[i])

    def fold(self) -> None:
        """As each collection does."""
        for instrument in self.instruments:
            instrument.fold()

    def reset_after_fork(self) -> None:
        """As the child's fork hook does."""
        for instrument in self.instruments:
            instrument.reset_after_fork()

    def late(self, delta: bool) -> None:
        """Add a reader; what is buffered is not for it."""
        self.fold()
        self.readers.append(reader(delta))
        self.deltas.append(delta)
        self.provider.add_metric_reader(self.readers[-1])

    def collect(self, i: int) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """(name, attributes) → (temporality, data point): of our instruments, and of the SDK's instruments."""
        got: dict[str, dict[Any, Any]] = {"ours": {}, "theirs": {}}
        for name, attributes, temporality, point in points(self.readers[i]):
            for side, table in got.items():
                if name.startswith(side):
                    table[name.removeprefix(side), attributes] = temporality, point
        return got["ours"], got["theirs"]

    def compare(self, i: int, totals_only: bool = False) -> None:
        """Collect reader `i` and hold every data point of ours to the SDK's.

        Args:
            i: The reader.
            totals_only: Over the SDK's cardinality limit: *which* attribute sets share the overflow point follows the
                cells' order instead of arrival, where a reader's aggregations were made anew.
        """
        ours, theirs = self.collect(i)
        if totals_only:
            for instrument in {name for name, _ in (*ours, *theirs)}:
                for field in ("count", "sum", "value"):
                    a, b = (
                        math.fsum(getattr(p, field, 0) for (name, _), (_, p) in side.items() if name == instrument)
                        for side in (ours, theirs)
                    )
                    assert math.isclose(a, b, rel_tol=1e-9), (instrument, field)
            return
        assert ours.keys() == theirs.keys()
        for key, (temporality, point) in ours.items():
            assert temporality == theirs[key][0]
            same(point, theirs[key][1])
            self._times(i, key, point, theirs[key][1])

    def _times(self, i: int, key: Any, ours: Any, theirs: Any) -> None:
        start, end = ours.start_time_unix_nano, ours.time_unix_nano
        was_start, was_end = self._seen[i][key]
        assert start <= min(end, theirs.start_time_unix_nano)
        assert end > was_end
        assert start >= was_end if self.deltas[i] else was_start in (0, start)
        self._seen[i][key] = start, end


def same(ours: Any, theirs: Any, *ignored: str) -> None:
    """Two data points are equal, but for when they start, what is ignored, and a sum's rounding.

    Of a reservoir that chooses at random only the number of exemplars is.
    """
    a, b = ({**vars(point), **dict.fromkeys(("start_time_unix_nano", *ignored))} for point in (ours, theirs))
    for side in (a, b):
        seen = [(e.value, e.span_id, e.trace_id, e.filtered_attributes) for e in side["exemplars"]]
        side["exemplars"] = seen if isinstance(ours, HistogramDataPoint) else len(seen)
    for field in ("sum", "value"):
        assert math.isclose(a.pop(field, 0), b.pop(field, 0), rel_tol=1e-9)
    assert a == b


def own_values_only(pair: Differential, views: Sequence[View] = ()) -> None:
    """In a forked child: readers see what the child records, and nothing of what its parent did."""
    fresh = Differential(pair.deltas, views)
    for i in (0, 3, 3):
        for value in (0.002, 0.3):
            pair.cell(pair.values, i).add(value)
            fresh.theirs.record(value, SETS[i])
            fresh.their_count.add(1, SETS[i])
    for i in range(len(pair.readers)):
        for _ in range(2):
            ours = {key: p for key, p in pair.collect(i)[0].items() if getattr(p[1], "value", 1)}
            theirs = fresh.collect(i)[1]
            assert ours.keys() == theirs.keys()
            for key, (_, point) in ours.items():
                same(point, theirs[key][1], "time_unix_nano")


def in_child(function: Callable[[], object], seconds: int = 20) -> None:
    """Run a function in a forked child; what it raises, or that it hangs, fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is the point
        receiving, sending = os.pipe()
        child = os.fork()
    if not child:
        problem = ""
        try:
            gc.freeze()  # what the parent left (gRPC's servers abort the process) is not the child's to end
            signal.alarm(seconds)
            function()
        except BaseException:
            problem = traceback.format_exc()
        os.write(sending, problem.encode()[:60_000])
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, encoding="utf-8") as pipe:
        problem = pipe.read()
    _, status = os.waitpid(child, 0)
    assert not problem, problem
    assert status == 0, f"the child ended by signal {status}"
