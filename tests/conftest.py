"""Fixtures for all tests, and checks at the end of each test."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import trace
from opentelemetry.instrumentation.schema import SchemaInstrumentor, faults
from opentelemetry.instrumentation.schema._recording import app_caches, inside, recorder, request, stack

from tests.databases import mariadb, postgresql
from tests.telemetry import Telemetry

__all__ = ["mariadb", "postgresql"]  # fixtures, for every test

THREAD_END = 5.0  # s that a thread may take to end after its test

# How long an example takes says how busy the machine is.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", _PATIENT, max_examples=200)
settings.register_profile("each change", _PATIENT, max_examples=50)
settings.load_profile("each change")  # --hypothesis-profile=nightly is read later


def pytest_configure() -> None:
    """A job in a shell's background ignores Ctrl-C, and so would every program that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that mostly wait for servers first, so that others can run beside them."""
    items.sort(key=lambda item: "pipeline" not in item.path.parts and "two_teams" not in item.path.name)


class Forks:
    """Children leave alone what their parent left: gRPC's servers abort a process that collects them after a fork.

    From the fork on, since code of others runs in the child before `fork` returns.
    """

    collecting = True

    def before(self) -> None:
        self.collecting = gc.isenabled()
        gc.disable()

    def after_in_parent(self) -> None:
        if self.collecting:
            gc.enable()


forks = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forks.before, after_in_parent=forks.after_in_parent)


@pytest.fixture(autouse=True, scope="module")
def hide_older_objects() -> None:
    """`instrument()` looks through all objects that the collector lists; without this, mostly through other files'."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fault of ours fails the test, and no test leaves a patch, a span, a running validation or a thread behind."""
    threads = set(threading.enumerate())
    monkeypatch.setattr(faults, "reraise", True)
    monkeypatch.setattr(app_caches, "_sources", {})
    faults.take()
    faults._logged.clear()
    yield
    left_on = SchemaInstrumentor().is_instrumented_by_opentelemetry
    if left_on:
        SchemaInstrumentor().uninstrument()
    recorder._recorders.clear()  # of a test without `instrument()`: it is not to take the next test's faults
    running = dict(stack.running)
    stack.running.clear()
    entered = set(inside.threads)
    inside.threads.clear()
    assert not left_on, "the test left its instrumentation on"
    assert not running, "a validation was left running"
    assert not entered, "a thread was left inside the SDK"
    assert not trace.get_current_span().get_span_context().is_valid, "a span was left active"
    assert request.current_request.get() is request.NO_REQUEST, "a request was left open"
    deadline = time.monotonic() + THREAD_END
    while started := set(threading.enumerate()) - threads:
        assert time.monotonic() < deadline, f"threads were left: {started}"
        time.sleep(0.01)


@pytest.fixture
def watch() -> Iterator[Callable[..., Telemetry]]:
    """Switch on with the settings that it is given; off again at the end."""
    on: list[Telemetry] = []

    def start(**settings: object) -> Telemetry:
        on.append(Telemetry(**settings))
        return on[-1]

    yield start
    for telemetry in on:
        telemetry.off()


@pytest.fixture
def telemetry(watch: Callable[..., Telemetry]) -> Telemetry:
    """Switched on with the default settings, but no validation is slow."""
    return watch()
