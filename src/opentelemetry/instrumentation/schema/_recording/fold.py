"""The private side of the OpenTelemetry SDK (1.30 to 1.45): every private name is in this file.

The fold never makes an aggregation: it looks up the one that a public `record` or `add` made, and where any reader
lacks it, says so. It is transactional: all readers get a batch, or none. What it does not recognise raises before
anything is changed, and the caller goes on with the public API: slow, never wrong.
"""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from operator import add as plus
from time import time_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import opentelemetry.sdk.metrics._internal._view_instrument_match as _view_instrument_match
from opentelemetry.context import Context
from opentelemetry.sdk.metrics._internal.aggregation import (
    _DropAggregation as Drop,  # pyright: ignore[reportPrivateUsage]
)
from opentelemetry.sdk.metrics._internal.aggregation import (
    _ExplicitBucketHistogramAggregation as Explicit,  # pyright: ignore[reportPrivateUsage]
)
from opentelemetry.sdk.metrics._internal.instrument import (
    _Counter,  # pyright: ignore[reportPrivateUsage]
    _Histogram,  # pyright: ignore[reportPrivateUsage]
)

from .. import faults

if TYPE_CHECKING:
    from .cells import Cell, Exemplar

_log = logging.getLogger(__name__)

_sdk: Any = _view_instrument_match


def _key_to_1_44(kept: dict[str, Any]) -> Any:
    return frozenset(kept.items())


_key_of: Any = getattr(_sdk, "_hash_attributes", _key_to_1_44)
_OVERFLOW_KEY: Any = getattr(_sdk, "_OVERFLOW_KEY", None)  # from 1.45.2
_SPAN_ONLY = ("TraceBasedExemplarFilter", "AlwaysOffExemplarFilter")


def _target(instrument: Any) -> Any:
    real = getattr(instrument, "_real_instrument", None) or instrument  # a proxy until the provider is set
    return real if type(real) in (_Histogram, _Counter) else None


def folds(instrument: Any) -> bool:
    """Whether the instrument is the SDK's, and its exemplars come from spans (others need every single `record`)."""
    target = _target(instrument)
    if target is None:
        return False
    return type(target._measurement_consumer._sdk_config.exemplar_filter).__name__ in _SPAN_ONLY


def matches(instrument: Any) -> list[Any] | None:
    """Return where the SDK keeps the instrument's values, by reader and view; None if only the public API can tell."""
    target = _target(instrument)
    if target is None or not getattr(target, "_is_enabled", lambda: True)():
        return None
    storages = list(target._measurement_consumer._reader_storages.values())
    return [match for storage in storages for match in storage._get_or_init_view_instrument_match(target)]


def add(where: list[Any] | None, cell: Cell, batch: Sequence[float], exemplars: Sequence[Exemplar]) -> bool:
    """Add all of the batch to every reader's aggregation, with its exemplars, or nothing to any.

    Returns:
        Whether it was added; False where some reader lacks the aggregation, or a value is one that `record` refuses.
    """
    total, ordered = sum(batch), sorted(batch)
    low, high = (ordered[0], ordered[-1]) if ordered else (0, 0)
    if where is None or not (low >= 0 and total < math.inf):  # NaN compares as not less
        return False
    found: list[tuple[Any, Any, Any, Any]] = []
    bounds: Any = None
    buckets: list[int] | None = None
    sampled = _sampled(where, cell, exemplars) if exemplars and where else []
    for match in where:
        view, table = match._view, match._attributes_aggregation
        key = cell.keys.get(view)
        if key is None:
            kept = view._attribute_keys
            key = cell.keys[view] = _key_of({k: v for k, v in cell.attributes.items() if kept is None or k in kept})
        aggregation = table.get(key)
        if aggregation is None and len(table) >= getattr(match, "_cardinality_limit", math.inf):
            aggregation = table.get(_OVERFLOW_KEY)
        if aggregation is None:
            return False
        if type(aggregation) is Explicit:
            known: Any = aggregation
            # Touch every private attribute before changing anything: if a later SDK lacks one, it must raise here.
            _ = known._value, known._sum, known._min, known._max, known._record_min_max, known._lock
            _ = known._sample_exemplar
            if known._boundaries != bounds:
                bounds = known._boundaries
                buckets = _bucketed(ordered, bounds)
        found.append((match, table, aggregation, buckets))
    return _commit_all(found, 0, cell, batch, sampled, total, low, high)


def _commit_all(
    found: list[tuple[Any, Any, Any, Any]],
    held: int,
    cell: Cell,
    batch: Sequence[float],
    sampled: Sequence[Any],
    total: float,
    low: float,
    high: float,
) -> bool:
    """Commit the batch to every entry of `found`. The locks of its first `held` entries are held already.

    One `with` for each lock: between `acquire` and `release` an exception of a signal handler would leave it held.
    """
    if held < len(found):
        match, table, _, _ = found[held]
        with match._lock:
            if match._attributes_aggregation is not table:
                return False  # a delta reader collected just now, and dropped it
            return _commit_all(found, held + 1, cell, batch, sampled, total, low, high)
    for match, _, aggregation, _ in found:
        _backdate(match, aggregation, cell.since)
    if batch:
        for _, _, aggregation, buckets in found:
            _commit(aggregation, cell, batch, sampled, buckets, total, low, high)
    return True


def _bucketed(ordered: list[float], bounds: Sequence[float]) -> list[int]:
    edges = [0, *(bisect_right(ordered, bound) for bound in bounds), len(ordered)]
    return [right - left for left, right in pairwise(edges)]


def _backdate(match: Any, aggregation: Any, since: int) -> None:
    """Move the start of an aggregation back to `since`: a reader added late may have made it after the values."""
    start = getattr(aggregation, "_start_time_unix_nano", 0)
    collected = (
        getattr(match, "_previous_collection_start_nanos", None)
        or getattr(aggregation, "_previous_value", None)
        or getattr(aggregation, "_previous_count", None)
    )
    if start > since and start == aggregation._previous_collection_start_nano and not collected:
        aggregation._start_time_unix_nano = aggregation._previous_collection_start_nano = since


def _sampled(where: list[Any], cell: Cell, exemplars: Sequence[Exemplar]) -> list[Any]:
    """The SDK's measurements of the exemplars that its filter lets through."""
    wanted = where[0]._instrument._measurement_consumer._sdk_config.exemplar_filter.should_sample
    return [
        SimpleNamespace(value=value, time_unix_nano=measured, attributes=cell.attributes, context=context)
        for value, measured, context in exemplars
        if wanted(value, measured, cell.attributes, context)
    ]


def _commit(
    aggregation: Any,
    cell: Cell,
    batch: Sequence[float],
    sampled: Sequence[Any],
    buckets: Any,
    total: float,
    low: float,
    high: float,
) -> None:
    if type(aggregation) is Drop:
        return
    # Another reader may have the batch already: to stop here would lose it or double it.
    if type(aggregation) is Explicit:
        known: Any = aggregation
        with known._lock:
            old = known._value
            value = list(buckets) if old is None else list(map(plus, old, buckets))
            if known._record_min_max:
                low, high = min(known._min, low), max(known._max, high)
            # Last, and without a call in between: a signal handler's exception can come out of any call.
            known._value = value
            known._sum += total
            if known._record_min_max:
                known._min, known._max = low, high
        for one in sampled:
            _try(known._sample_exemplar, one, True)
    else:
        waiting = list(sampled)
        plain = SimpleNamespace(time_unix_nano=time_ns(), context=Context(), attributes=cell.attributes, value=0.0)
        for plain.value in batch:
            mine = next((one for one in waiting if one.value is plain.value), None)
            if mine is not None:
                waiting.remove(mine)
            _try(aggregation.aggregate, mine or plain, mine is not None)


def _try(function: Any, measurement: Any, sample: bool) -> None:
    try:
        function(measurement, sample)
    except Exception as error:
        if faults.interrupts(error):
            raise
        _log.exception("a measurement could not be aggregated")


def forget(instrument: Any) -> None:
    """In a forked child: drop our data points of the parent, and renew every lock that a collection holds.

    A thread of the parent may have been collecting, and is not here to go on.
    """
    target = _target(instrument)
    if target is not None:
        consumer = target._measurement_consumer
        consumer._lock = threading.RLock()
        for reader, storage in list(consumer._reader_storages.items()):
            storage._lock = threading.RLock()  # the child's next `record` takes it
            if hasattr(reader, "_export_lock"):
                reader._export_lock = threading.Lock()
            for other, matches in list(storage._instrument_view_instrument_matches.items()):
                if other.instrumentation_scope is target.instrumentation_scope:
                    del storage._instrument_view_instrument_matches[other]
                    continue
                for match in matches:
                    match._lock = threading.Lock()
                    for aggregation in match._attributes_aggregation.values():
                        aggregation._lock = threading.Lock()
                        reservoir = getattr(aggregation, "_reservoir", None)
                        if reservoir is not None and hasattr(reservoir, "_lock"):
                            reservoir._lock = threading.Lock()


def served_by_parent(instrument: Any) -> bool:
    """In a forked child: whether its only reader is a Prometheus exporter, whose server runs in the parent."""
    target = _target(instrument)
    readers = () if target is None else target._measurement_consumer._reader_storages
    return bool(readers) and all(type(reader).__name__ == "PrometheusMetricReader" for reader in readers)


@cache
def usable() -> bool:
    """Whether folded and recorded values give the same data points: tried once, on a throwaway provider (1 ms)."""
    try:
        return _self_test()
    except Exception:
        _log.debug("measurements are recorded one by one", exc_info=True)
        return False


def _self_test() -> bool:
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter, Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
    from opentelemetry.sdk.resources import Resource

    from .cells import Cell

    delta: dict[type, AggregationTemporality] = dict.fromkeys((Histogram, Counter), AggregationTemporality.DELTA)
    readers = [InMemoryMetricReader(), InMemoryMetricReader(delta)]
    meter = MeterProvider(
        readers,
        resource=Resource({}),
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
        views=[View(instrument_name="*.e", aggregation=ExponentialBucketHistogramAggregation())],
    ).get_meter("self-test")
    attributes: dict[str, Any] = {"a": "b", "c": True}
    values = [0.0, 1.5, 7.0, 20000.0]
    makers: dict[str, Any] = {"h": meter.create_histogram, "e": meter.create_histogram, "c": meter.create_counter}
    made = {kind: (make(f"ours.{kind}"), make(f"theirs.{kind}")) for kind, make in makers.items()}
    cells = {kind: Cell(None, attributes) for kind in makers}  # type: ignore[arg-type]  # `add` never asks a cell's instrument
    for reader in readers * 2:
        for kind, (ours, theirs) in made.items():
            put: tuple[Any, Any] = (ours.add, theirs.add) if kind == "c" else (ours.record, theirs.record)
            put[0](3.0, attributes)
            if not add(matches(ours), cells[kind], values, []):
                return False
            for value in (3.0, *values):
                put[1](value, attributes)
        points: dict[str, dict[str, Any]] = {"ours": {}, "theirs": {}}
        data: Any = reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            side, _, kind = metric.name.partition(".")
            (point,) = metric.data.data_points
            points[side][kind] = {**vars(point), "start_time_unix_nano": 0}
        if points["ours"] != points["theirs"] or points["ours"].keys() != made.keys():
            return False
    return True
