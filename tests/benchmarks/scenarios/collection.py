"""A collection of many cells: what it takes to move what waits into the SDK, against recording it at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from threading import Thread
from time import process_time
from typing import Any

from pydantic import BaseModel

from tests.benchmarks.variants import BUCKETS, Variant

from . import Run

_DEADLINE = 10.0  # s
TOOK = 0.0001  # s of each validation


def _fill(variant: Variant, number: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """One value for each of so many schemas; and what a collection does with those that wait."""
    if variant.timer is not None:
        meter = variant.meters.get_meter("bench")
        histogram = meter.create_histogram("each", "s", explicit_bucket_boundaries_advisory=BUCKETS)
        hits = meter.create_counter("hits")
        attributes = [
            {"schema.name": f"Model{each}", "schema.module": "bench", "schema.library": "pydantic"}
            for each in range(number)
        ]

        def record() -> None:
            for each in attributes:
                histogram.record(TOOK, each)
                hits.add(1, each)

        return record, lambda: None

    from opentelemetry.instrumentation.schema._recording import recorder

    active: Any = recorder.active
    probes = [active.bind("pydantic", f"Model{each}", "bench") for each in range(number)]

    def validate() -> None:
        for probe in probes:
            probe.succeeded(TOOK)

    return validate, active.collect


def _collecting(variant: Variant, number: int, each: int) -> Run:
    validate, collect = _fill(variant, number)
    recorded_at_once = variant.timer is not None

    def once() -> float:
        began = process_time()
        for _ in range(each):
            validate()
        if not recorded_at_once:
            began = process_time()  # what the validations themselves pay is in other rows
        collect()
        return process_time() - began

    for _ in range(3):
        once()
    return lambda calls: sum(once() for _ in range(calls)) / calls * 1e6


def idle(variant: Variant, number: int) -> Run:
    return _collecting(variant, number, 0)


def one_each(variant: Variant, number: int) -> Run:
    return _collecting(variant, number, 1)


def ten_each(variant: Variant, number: int) -> Run:
    return _collecting(variant, number, 10)


def waiting(variant: Variant) -> Run:
    """The part of 2,000 validations that do not end while a collection is held up."""
    from opentelemetry.instrumentation.schema._recording import recorder

    class Lead(BaseModel):
        id: int

    active: Any = recorder.active
    ended: list[Lead] = []

    def validations() -> None:
        for _ in range(2_000):
            ended.append(Lead(id=1))

    def run(calls: int) -> float:
        ended.clear()
        thread = Thread(target=validations, daemon=True)
        with ExitStack() as held:
            for stream in active.instruments:
                held.enter_context(stream.lock)
            thread.start()
            thread.join(_DEADLINE)
            return 1 - len(ended) / 2_000

    return run
