"""A forked child starts from zero and never hangs, whatever other threads of its parent were doing."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.schema import semconv, settings
from opentelemetry.instrumentation.schema._recording import recorder
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.integration.differential import Differential, in_child, own_values_only, points, reader

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Forking:
    """A recorder with two readers and one schema."""

    def __init__(self) -> None:
        self.readers = [reader(False), reader(True)]
        provider = MeterProvider(self.readers, shutdown_on_exit=False)
        meter = provider.get_meter(semconv.SCOPE)
        self.recorder = recorder.Recorder(settings.load({}, {}), meter, trace.NoOpTracer())
        self.probe = self.recorder.bind("pydantic", "Lead", "app")

    def validate(self, times: int) -> None:
        for _ in range(times):
            self.probe.succeeded(0.001)

    def validations(self, source: InMemoryMetricReader) -> int:
        return sum(p.count for name, _, _, p in points(source) if name == "schema.validation.duration")

    def counts_its_own(self) -> None:
        """In a child: three validations are three, for the cumulative and the delta reader."""
        self.validate(3)
        for source in self.readers:
            assert self.validations(source) == 3


def meanwhile(work: Callable[[], object]) -> Any:
    """A thread that works all the time, as a context manager."""

    class Meanwhile:
        def __enter__(self) -> None:
            self.stop = threading.Event()
            self.thread = threading.Thread(target=self.loop)
            self.thread.start()

        def loop(self) -> None:
            while not self.stop.is_set():
                work()

        def __exit__(self, *_: object) -> None:
            self.stop.set()
            self.thread.join()

    return Meanwhile()


def test_a_child_reports_what_it_measured_and_its_parent_the_rest() -> None:
    """The fork hook drops what the parent aggregated and buffered; the parent loses nothing."""
    forking = Forking()
    forking.validate(10)
    in_child(forking.counts_its_own)
    forking.validate(5)
    in_child(forking.counts_its_own)
    assert [forking.validations(source) for source in forking.readers] == [15, 15]


def test_a_child_of_a_child() -> None:
    """Forked twice, as a daemon is, still counts from zero."""
    forking = Forking()
    forking.validate(10)

    def child() -> None:
        forking.validate(4)
        in_child(forking.counts_its_own)
        assert [forking.validations(source) for source in forking.readers] == [4, 4]

    in_child(child)


def test_fork_while_another_thread_measures() -> None:
    """A child whose parent's threads were measuring counts exactly its own values."""
    forking = Forking()
    with meanwhile(lambda: forking.validate(10)), meanwhile(lambda: forking.validate(700)):
        for _ in range(30):
            in_child(forking.counts_its_own)


def test_fork_while_another_thread_collects() -> None:
    """A child measures although a thread of its parent held the SDK's locks for a collection."""
    forking = Forking()
    forking.validate(10)
    with meanwhile(forking.readers[0].get_metrics_data):
        for _ in range(60):
            in_child(lambda: forking.validate(600))


def test_fork_inside_a_fold() -> None:
    """A child forked while its parent folds a full buffer, on another thread, has a lock of its own."""
    pair = Differential([False, True])
    for n in range(50):
        pair.record(n % 4, 0.1)
    with pair.values.lock, pair.count.lock:
        in_child(lambda: (pair.reset_after_fork(), own_values_only(pair)))
    for i in (0, 1):
        pair.compare(i)


def test_multiprocessing_fork() -> None:
    """A `multiprocessing` worker counts its own values only."""
    forking = Forking()
    forking.validate(50)
    context = multiprocessing.get_context("fork")
    answers: Any = context.SimpleQueue()

    def work() -> None:
        forking.counts_its_own()
        answers.put("counted")

    worker = context.Process(target=work)
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0
    assert answers.get() == "counted"
    assert [forking.validations(source) for source in forking.readers] == [50, 50]
