"""The recording: what readers see of instruments and cells equals what ordinary SDK instruments would show them."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import _recording, faults, semconv
from opentelemetry.instrumentation.schema._recording import cells, fold
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
)
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from tests.integration.differential import LATE_READERS, SETS, VIEWS, Differential, in_child, own_values_only, points

SDK = tuple(map(int, sdk_version.split(".")[:2]))
ODD = [-1.0, math.nan, math.inf] if SDK >= (1, 45) else [-1.0]  # to 1.44 the SDK's own sums become NaN and inf
VALUES = st.one_of(st.sampled_from([0.0, 1e-5, 1e-4, 0.005, 1, 2.5, *ODD]), st.floats(0, 1e3), st.floats(1e-6, 1e-2))
DELTA: dict[type, Any] = dict.fromkeys((Histogram, Counter), AggregationTemporality.DELTA)


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Threads take turns every 10 us."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The SDK logs every value that it refuses."""
    sdk = logging.getLogger("opentelemetry.sdk")
    level = sdk.level
    sdk.setLevel(logging.CRITICAL)
    yield
    sdk.setLevel(level)


def test_the_fold_is_usable_on_this_sdk() -> None:
    """Values are folded, not recorded one by one, on the SDK that these tests run with."""
    assert fold.usable()
    pair = Differential([False, True])
    for _ in range(10):
        pair.record(0, 0.1)
        pair.add(0, 2)
    buffered = [pair.cell(instrument, 0).values for instrument in pair.instruments]
    assert list(map(len, buffered)) == [9, 0, 9]  # the count's are known when the values are folded
    pair.compare(0)
    assert list(map(len, buffered)) == [0, 0, 0]
    pair.compare(1)


def span_of(number: int, sampled: bool = True) -> Span:
    """A span that is told from others by its number."""
    return NonRecordingSpan(SpanContext(number, number, False, TraceFlags(sampled)))


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, len(SETS) - 1), VALUES),
        st.tuples(st.just("record"), st.integers(0, 1), VALUES),
        st.tuples(st.just("record"), st.just(0), VALUES, st.builds(span_of, st.integers(1, 9), st.booleans())),
        st.tuples(st.just("add"), st.integers(0, 2), st.sampled_from([0, 1, 0.5])),
        st.tuples(st.just("collect"), st.integers(0, 5)),
        st.tuples(st.just("late"), st.booleans()),
        st.tuples(st.just("fork")),
    ),
    max_size=60,
)


@pytest.mark.parametrize("views", VIEWS)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    operations=OPERATIONS, deltas=st.lists(st.booleans(), min_size=1, max_size=3), limit=st.sampled_from([2, 5, 4096])
)
@example([("add", 0, 0), ("collect", 0), ("add", 0, 1)], [False], 4096)  # collected, with nothing to tell it by
@example(  # one and the same object as a value in two spans, to be recorded by the public API
    [("record", 0, 0.0), ("late", False), *(("record", 0, 1, span_of(n, n > 1)) for n in (1, 2, 3))], [False], 4096
)
@example(  # a late reader whose aggregation was made by another cell's first value
    [("record", 0, 1.0), ("late", True), ("record", 1, 1.0), ("record", 0, 1.0)], [False], 4096
)
def test_every_data_point_equals_the_sdks_own(
    views: str, operations: list[tuple[Any, ...]], deltas: list[bool], limit: int
) -> None:
    """Whatever is recorded, collected, added late or forked: readers see what ordinary instruments would show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "BUFFER_SIZE", limit)
        pair, forks = Differential(deltas, VIEWS[views]()), 0
        for operation, *arguments in [*operations, *(("collect", i) for i in range(6))]:
            if operation == "collect":
                i = arguments[0] % len(pair.readers)
                pair.compare(i, totals_only=views == "cardinality limit" and (pair.deltas[i] or i >= pair.first))
            elif operation == "late":
                if LATE_READERS and len(pair.readers) < 5:
                    pair.late(*arguments)
            elif operation == "fork":
                forks += 1
                if forks == 1 and views != "cardinality limit":
                    in_child(lambda: (pair.reset_after_fork(), own_values_only(pair, VIEWS[views]())))
            else:
                getattr(pair, operation)(*arguments)


@pytest.mark.skipif(not LATE_READERS, reason="this SDK adds no readers later")
@pytest.mark.parametrize("delta", [False, True])
def test_a_late_reader_dates_what_was_buffered_before_it(delta: bool) -> None:
    """What waited when a reader was added reaches it too, in an interval that covers when it was measured."""
    pair = Differential([False])
    for _ in range(5):
        pair.record(0, 0.1)
    before = max(point.time_unix_nano for *_, point in points(pair.readers[0], "ours"))
    pair.record(0, 0.1)
    pair.provider.add_metric_reader(late := InMemoryMetricReader(DELTA if delta else None))
    pair.record(0, 0.1)
    ours = {name: point for name, *_, point in points(late, "ours")}
    assert ours[""].count == ours[".count"].value == 2
    assert all(point.start_time_unix_nano <= before < point.time_unix_nano for point in ours.values())


@pytest.mark.parametrize("limit", [7, 64, 4096])
def test_threads_lose_and_double_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads measure while two readers collect in a loop: every attribute set's total is exact in both."""
    monkeypatch.setattr(cells, "BUFFER_SIZE", limit)
    pair, stop = Differential([False, True]), threading.Event()
    for i in range(len(SETS)):
        pair.record(i, 0.1)
    truth: list[list[int]] = [[0] * len(SETS) for _ in range(8)]
    totals: list[dict[Any, int]] = [defaultdict(int), defaultdict(int)]

    def measure(thread: int) -> None:
        rng = random.Random(thread)
        for _ in range(4_000):
            i = rng.randrange(len(SETS))
            pair.cell(pair.values, i).add(rng.random())
            truth[thread][i] += 1

    def collect(i: int) -> None:
        while True:
            last = stop.is_set()
            for name, attributes, _, point in points(pair.readers[i], "ours"):
                value = getattr(point, "count", None) or getattr(point, "value", 0)
                assert i or value >= totals[i][name, attributes]
                totals[i][name, attributes] = value + (totals[i][name, attributes] if i else 0)
            if last:
                return

    collecting = [threading.Thread(target=collect, args=(i,)) for i in (0, 1)]
    measuring = [threading.Thread(target=measure, args=(thread,)) for thread in range(8)]
    with switching_often():
        for thread in collecting + measuring:
            thread.start()
        for thread in measuring:
            thread.join()
        stop.set()
        for thread in collecting:
            thread.join()
    for i, attributes in enumerate(SETS):
        for seen in totals:
            for name in ("", ".count"):
                assert seen[name, tuple(sorted(attributes.items()))] == 1 + sum(counts[i] for counts in truth)


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8, 12])
@pytest.mark.parametrize("function", ["add", "matches", "_key_of", "_backdate"])
def test_a_surprise_loses_and_doubles_nothing(
    function: str, nth: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A private side that behaves unexpectedly from the nth call on costs one warning an instrument, and no value."""
    pair, real, calls = Differential([False, True], VIEWS["two views"]()), getattr(fold, function), 0
    monkeypatch.setattr(cells, "BUFFER_SIZE", 6)
    for i in range(4):
        pair.record(i, 0.1)

    def surprise(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise AttributeError("a new SDK")
        return real(*arguments)

    monkeypatch.setattr(fold, function, surprise)
    for n in range(60):
        pair.record(n % 4, n / 100)
        if n % 9 == 0:
            pair.compare(n % 2)
    for reader in (0, 1):
        pair.compare(reader)
    warnings = ["unexpected OpenTelemetry SDK" in record.getMessage() for record in caplog.records]
    assert calls >= nth
    assert sum(warnings) == sum(instrument.broken for instrument in pair.instruments) > 0


def test_an_sdk_without_our_private_names(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the private side cannot even be imported, every value goes in by the public API, after one warning."""
    monkeypatch.delattr(_recording, "fold")
    monkeypatch.setitem(sys.modules, fold.__name__, None)  # type: ignore[arg-type]  # as import.c has it
    cells.warm_up_fold()
    pair = Differential([False, True])
    for n in range(20):
        pair.record(n % 4, n / 100)
        pair.add(0, n)
    for reader in (0, 1):
        pair.compare(reader)
    warnings = ["unexpected OpenTelemetry SDK" in record.getMessage() for record in caplog.records]
    assert sum(warnings) == sum(instrument.broken for instrument in pair.instruments) == len(pair.instruments)


def test_an_sdk_with_other_keys_is_told_value_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no aggregation is found under the key we know, every value goes in by the public API."""
    monkeypatch.setattr(fold, "_key_of", lambda _: "a key that this SDK does not have")
    pair = Differential([False, True])
    for n in range(100):
        pair.record(n % 4, n / 100)
    for reader in (0, 1):
        pair.compare(reader)


def test_a_public_record_that_raises_keeps_no_other_cell_from_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attribute set that the instrument refuses loses its own values only."""
    monkeypatch.setattr(fold, "add", lambda *_: False)
    monkeypatch.setattr(faults, "reraise", False)
    pair = Differential([False])
    for i in (0, 1):
        for _ in range(3):
            pair.record(i, 0.1)
    real = pair.values._record

    def refuse(value: float, attributes: dict[str, Any], context: Any = None) -> None:
        if attributes is SETS[0]:
            raise ValueError("no")
        real(value, attributes, context)

    monkeypatch.setattr(pair.values, "_record", refuse)
    pair.fold()
    ours, _ = pair.collect(0)
    assert {key[1]: point.count for key, (_, point) in ours.items() if key[0] == ""} == {
        tuple(sorted(SETS[0].items())): 1,
        tuple(sorted(SETS[1].items())): 3,
    }
    assert ("recorder", "ValueError") in faults.take()


class Beforehand:
    """A lock; what comes before its first acquisition happens at exactly that point of a fold."""

    def __init__(self, lock: Any, before: Any) -> None:
        self._lock, self._before = lock, before

    def acquire(self, *arguments: Any) -> bool:
        before, self._before = self._before, None
        if before is not None:
            before()
        return self._lock.acquire(*arguments)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_a_collection_between_look_up_and_lock() -> None:
    """A delta reader that takes an aggregation away in the middle of a fold gets the values with the next one."""
    pair, seen = Differential([True]), []
    for _ in range(3):
        pair.cell(pair.values, 0).add(0.1)
    (match,) = fold.matches(pair.values.wrapped) or ()
    match._lock = Beforehand(
        match._lock, lambda: seen.extend(match.collect(AggregationTemporality.DELTA, time.time_ns()))
    )
    pair.values.fold()
    ours, _ = pair.collect(0)
    assert [point.count for point in seen] == [1]
    assert [point.count for (name, _), (_, point) in ours.items() if name == ""] == [2]


def test_a_measurement_with_a_span_waits_with_its_exemplar() -> None:
    """A value measured in a sampled span is buffered as any other, and its exemplar with it."""
    pair = Differential([False, True])
    for _ in range(3):
        pair.record(0, 0.001)
    pair.record(0, 2.0, span_of(7))
    pair.record(0, 0.5, span_of(8, sampled=False))
    assert len(pair.cell(pair.values, 0).values) == 4  # the first value made the aggregation
    for reader in (0, 1):
        ours, theirs = pair.collect(reader)
        for side in (ours, theirs):
            (point,) = [point for (name, _), (_, point) in side.items() if name == ""]
            assert [(e.value, e.span_id, e.filtered_attributes) for e in point.exemplars] == [(2.0, 7, {})]
    assert not pair.cell(pair.values, 0).exemplars


@pytest.mark.parametrize("refused", [1, 2])
def test_an_exemplar_survives_the_way_by_the_public_api(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a public record has to make the aggregation, of the first value or of all, each keeps its exemplar."""
    pair, real, calls = Differential([False]), fold.add, itertools.count(1)
    pair.record(0, 0.001)
    for n in range(4):
        pair.record(0, 10.0**-n, span_of(1 + n))
    monkeypatch.setattr(fold, "add", lambda *given: next(calls) > refused and real(*given))
    pair.values.fold()
    assert next(calls) > refused
    pair.compare(0)


def test_an_exemplar_filter_that_wants_every_value_gets_every_value() -> None:
    """With `always_on` nothing is buffered: any value may become an exemplar."""
    provider = MeterProvider([InMemoryMetricReader()], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False)
    instrument = cells.BufferedInstrument(
        semconv.VALIDATION_DURATION, provider.get_meter("m").create_histogram("h"), 10, True
    )
    cell = instrument.cell({"a": 1})
    assert cell is not None
    for _ in range(3):
        cell.add(1.0)
    assert not cell.values


def test_prometheus_shows_the_same_text() -> None:
    """The Prometheus exporter's lines of both are equal, also when another reader collects in between."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader

    reader = PrometheusMetricReader()
    try:
        pair = Differential([True], readers=[reader])
        for _ in range(3):
            for n in range(200):
                pair.record(n % 8, 2.0 ** -(n % 16))
                pair.add(n % 3, 2)
            text = prometheus_client.generate_latest(prometheus_client.REGISTRY).decode().splitlines()
            ours, theirs = (
                sorted(line.replace(side, "", 1) for line in text if line.startswith(f"{side}_"))
                for side in ("ours", "theirs")
            )
            assert ours == theirs
            assert len(ours) > 50
            pair.compare(0)
    finally:
        reader.shutdown()
