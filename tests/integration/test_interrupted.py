"""Signal handlers, finalizers and forks in the middle of our own code: no hang, nothing left behind, nothing hidden."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import marshmallow
import pydantic
import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.schema import faults, observe_cache, validation
from opentelemetry.instrumentation.schema._recording import inside, spans, stack

from tests.integration.contract import LIBRARIES, VALID
from tests.integration.interrupted import Interrupt, points
from tests.telemetry import Telemetry

pytestmark = [
    pytest.mark.timeout(300),  # a hang shows as a failure
    pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or a coverage tool traces already"),
]

BAD: dict[str, Any] = {"email": 1, "unknown": 1, "items": [{"price": "x"}]}
FAILURES = pydantic.ValidationError, jsonschema.ValidationError, marshmallow.ValidationError, RuntimeError


def attempt(validate: Callable[[Any], Any], data: Any) -> None:
    try:
        validate(data)
    except FAILURES:
        pass


class Scenarios:
    """What runs when it is interrupted: made once, with everything used once, so that each run goes the same way."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.made = {name: make() for name, make in LIBRARIES.items()}
        self.engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0)
        self.block = validation("Row", library="csv")
        for made in self.made.values():
            attempt(made.validate, BAD)
            made.validate(VALID)

    def of(self, name: str) -> Callable[[], object]:
        """The scenario of this name."""
        kind, _, library = name.partition(" ")
        return getattr(self, kind) if not library else lambda: getattr(self, kind)(library)

    def fails(self, library: str) -> None:
        attempt(self.made[library].validate, BAD)

    def crashes(self, library: str) -> None:
        attempt(self.made[library].validate, {"email": "crash"})

    def starts(self, library: str) -> None:
        attempt(LIBRARIES[library]().validate, BAD)

    def passes(self, library: str) -> None:
        self.made[library].validate(VALID)

    def queries(self) -> None:
        with self.block(), self.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def blocks(self) -> None:
        with self.block() as row:
            row.problem("email", "required")

    def collects(self) -> None:
        self.telemetry.reader.get_metrics_data()

    def fills(self) -> None:
        """A buffer that is full is folded by the measuring thread."""
        for _ in range(3):
            recorder = self.telemetry.instrumentor._recorder
            assert recorder is not None
            for instrument in recorder.instruments:
                for cell in instrument.cells:
                    instrument.fold_one(cell)

    def observes(self) -> None:
        observe_cache("leads", lambda: (1, 1))

    def swallows(self) -> None:
        faults.swallow("ours", ValueError())


MOST = pytest.mark.parametrize("most", [12, pytest.param(10**6, marks=pytest.mark.nightly)])
"""Points of a scenario that are tried in each change, and all of them at night."""

NAMES = [f"{kind} {library}" for kind in ("fails", "crashes", "starts", "passes") for library in LIBRARIES]
NAMES += ["queries", "blocks", "collects", "fills", "observes", "swallows"]


@pytest.fixture
def scenarios(watch: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenarios]:
    faults.reraise = False  # the fixture of all tests sets it back
    monkeypatch.setattr(spans, "MAX_FAILED_PER_SECOND", 10**9)  # or a run goes another way than the one before
    made = Scenarios(watch(slow_ms=60_000, revision_interval=0.000001))
    yield made
    made.engine.dispose()


def interruptions(scenario: Callable[[], object], most: int) -> Iterator[int]:
    """Points of a scenario, spread over all of them if there are more than `most`."""
    scenario()
    number = points(scenario)
    assert number > 3
    yield from range(0, number, -(-number // most))


@MOST
@pytest.mark.parametrize("name", NAMES)
def test_our_code_can_be_entered_again_anywhere(name: str, most: int, scenarios: Scenarios) -> None:
    """At every point of our code a handler may validate, fail, meet new schemas and be counted, and nothing hangs."""
    scenario, others = scenarios.of(name), list(LIBRARIES)

    def handler() -> None:
        for library in others:
            scenarios.fails(library)
            scenarios.passes(library)
        scenarios.starts(others[0])
        scenarios.blocks()
        scenarios.swallows()
        scenarios.observes()

    interrupted = missed = 0
    for number in interruptions(scenario, most):
        interrupt = Interrupt(number, handler)
        interrupt.run(scenario)
        interrupted += interrupt.seen > number
        missed += interrupt.seen <= number  # it may be shorter than the one that was counted
        assert not stack.running
        assert not inside.threads
    assert interrupted > 3 * missed
    before = total(scenarios)
    scenarios.passes("pydantic")
    assert total(scenarios) == before + 1


def total(scenarios: Scenarios) -> float:
    return sum(scenarios.telemetry.validations(schema_name="Lead").values())


class Finalized:
    """Validates when the garbage collector finds it."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.me, self.action = self, action

    def __del__(self) -> None:
        self.action()


@MOST
@pytest.mark.parametrize("name", ["fails pydantic", "starts jsonschema", "collects", "fills"])
def test_a_finalizer_may_validate(name: str, most: int, scenarios: Scenarios) -> None:
    """At every point of our code the garbage collector may run a finalizer that validates."""
    scenario, finalized = scenarios.of(name), []

    def handler() -> None:
        Finalized(lambda: finalized.append(scenarios.fails("marshmallow")))
        gc.collect()

    for number in interruptions(scenario, most):
        Interrupt(number, handler).run(scenario)
    assert len(finalized) > 5
    assert not stack.running


@MOST
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("name", ["fails pydantic", "starts jsonschema", "collects", "fills", "swallows"])
def test_a_fork_in_the_middle(name: str, most: int, scenarios: Scenarios) -> None:
    """At every point of our code a child may be forked, which validates, fails and collects, and the parent goes on."""
    scenario = scenarios.of(name)

    def child() -> int:
        signal.alarm(20)
        scenarios.fails("marshmallow")
        scenarios.starts("pydantic")
        faults.take()
        return 0

    def handler() -> None:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = child()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    for number in interruptions(scenario, most):
        Interrupt(number, handler).run(scenario)
    assert not stack.running


class Late(Exception):
    """As Celery's soft time limit, raised by a signal handler anywhere."""


def late(*_: object) -> None:
    raise Late


class Ending(BaseException):
    """As gevent's timeout."""


def ending(*_: object) -> None:
    raise Ending


@MOST
@pytest.mark.parametrize("handler", [late, ending], ids=["an Exception", "a BaseException"])
@pytest.mark.parametrize("name", NAMES)
def test_an_exception_of_a_handler(
    name: str, handler: Callable[[], object], most: int, scenarios: Scenarios, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised anywhere in our code it reaches the application, once; no lock or connection stays taken."""
    scenario, reached, swallowed, pythons, lost = scenarios.of(name), 0, set[str](), list[object](), 0
    # Python itself lets nothing out of a generator that is dropped, such as jsonschema's when one error is enough.
    monkeypatch.setattr(sys, "unraisablehook", lambda given: pythons.append(given.exc_type))
    before = signal.signal(signal.SIGUSR1, handler)  # type: ignore[arg-type]
    try:
        for number in interruptions(scenario, most):
            interrupt = Interrupt(number, handler)
            try:
                interrupt.run(scenario)
            except (Late, Ending):
                reached += 1
            else:
                if interrupt.seen > number and not pythons:
                    swallowed.add(interrupt.place)
                pythons.clear()
            assert not stack.running, f"left running at point {number}"
            assert not inside.threads, f"left inside at point {number}"
            lost += scenarios.engine.pool.checkedout()
            scenarios.engine.dispose()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lost <= 1, (
        "the pool lost its connection at more than the first point of the listener, which nobody can guard"
    )
    if name != "collects":  # the SDK keeps what its callbacks raise, pydantic-core what a property of a validator does
        assert swallowed <= {"__pydantic_schema_validator__"}
        assert reached > 2
    everything = threading.Thread(target=lambda: [scenarios.of(each)() for each in NAMES], daemon=True)
    everything.start()
    everything.join(30)
    assert not everything.is_alive(), "a lock is still held"
    counted = total(scenarios)
    scenarios.passes("pydantic")
    assert total(scenarios) == counted + 1
