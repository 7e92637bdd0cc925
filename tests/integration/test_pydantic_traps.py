"""Where a validation ends and another begins: tasks, threads, greenlets, signals, recursion, generators, forks."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
from opentelemetry.instrumentation.schema import faults
from opentelemetry.instrumentation.schema._recording import stack
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import SchemaValidator

from tests.integration.differential import in_child
from tests.telemetry import Telemetry

greenlet = pytest.importorskip("greenlet")
VERSION = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])


class Leaf(BaseModel):
    """Its core schema runs no Python code."""

    x: int


class Outer(BaseModel):
    """Its validator does what a test hooks into it."""

    x: int

    @field_validator("x")
    @classmethod
    def check(cls, x: int) -> int:
        hook()
        return x


def hook() -> None:
    """What runs inside a validation of `Outer`; once, unless a test says otherwise."""
    inside, hooked.function = hooked.function, None
    if inside is not None:
        inside()


class hooked:  # a cell
    function: Callable[[], object] | None = None


def inside(function: Callable[[], object]) -> None:
    """Validate once, with `function` called in the middle of it."""
    hooked.function = function
    Outer(x=1)


@pytest.fixture(autouse=True)
def unhooked() -> None:
    hooked.function = None


def test_validations_inside_a_validator_are_part_of_it(telemetry: Telemetry) -> None:
    """Two models that a validator builds are no validations of their own."""
    inside(lambda: (Leaf(x=1), Leaf.model_validate({"x": 2}), Outer(x=3)))
    assert telemetry.validations() == {"valid": 1}


def test_a_nested_failure_that_is_swallowed_is_nothing(telemetry: Telemetry) -> None:
    """A validator that tries and forgives leaves a valid validation."""

    def forgive() -> None:
        with pytest.raises(ValidationError):
            Leaf(x="x")

    inside(forgive)
    assert telemetry.validations() == {"valid": 1}
    assert telemetry.problems() == {}
    # a slow machine may make it slow, but nothing makes it invalid
    assert {(span.attributes or {})["schema.validation.outcome"] for span in telemetry.spans()} <= {"valid"}


def test_everything_that_can_nest_does(telemetry: Telemetry) -> None:
    """Before and wrap validators, default factories, own `__init__`, properties: what they validate is no call."""

    class Before(BaseModel):
        leaf: Leaf

        @model_validator(mode="before")
        @classmethod
        def fill(cls, _: object) -> dict[str, Any]:
            return {"leaf": Leaf(x=1)}

    class Factory(BaseModel):
        leaf: Leaf = Field(default_factory=lambda: Leaf(x=1))

    class Tree(BaseModel):
        trees: list[Tree] = []

        @model_validator(mode="wrap")
        @classmethod
        def wrap(cls, data: Any, handler: Any) -> Any:
            return handler(data)

    class Init(BaseModel):
        x: int

        def __init__(self, **data: Any) -> None:
            Leaf(x=1)
            super().__init__(**data)

    class HasInit(BaseModel):
        init: Init

    class Attributes(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        x: int

    class Row:
        @property
        def x(self) -> int:
            return Leaf(x=1).x

    Tree.model_rebuild(_types_namespace={"Tree": Tree, "Any": Any})
    calls: list[Callable[[], object]] = [
        lambda: Before.model_validate({}),
        Factory,
        lambda: Tree.model_validate({"trees": [{"trees": []}, {"trees": [{}]}]}),
        lambda: HasInit(init={"x": 1}),
        lambda: Attributes.model_validate(Row()),
        lambda: TypeAdapter(Leaf).validate_python(Row(), from_attributes=True),
    ]
    for number, call in enumerate(calls, 1):
        call()
        assert telemetry.validations() == {"valid": number}


def test_a_task_started_inside_counts_for_itself(telemetry: Telemetry) -> None:
    """An asyncio task copies its creator's context, not its stack."""

    async def background() -> None:
        await asyncio.sleep(0)
        Leaf(x=1), Outer(x=2)

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        inside(lambda: tasks.append(asyncio.get_running_loop().create_task(background())))
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert telemetry.validations() == {"valid": 3}


@pytest.mark.parametrize("copied", [False, True])
def test_a_thread_started_inside_counts_for_itself(copied: bool, telemetry: Telemetry) -> None:
    """Also with a copied context, and while the validator waits for it."""

    def work() -> None:
        Leaf(x=1), Outer.model_validate({"x": 2})

    def start() -> None:
        thread = threading.Thread(target=contextvars.copy_context().run if copied else work, args=[work] * copied)
        thread.start()
        thread.join()

    inside(start)
    assert telemetry.validations() == {"valid": 3}


def test_threads_are_exact(telemetry: Telemetry) -> None:
    """Four threads, half of their validations with nested ones, against a reader that collects all the time."""

    class Nesting(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def nest(cls, x: int) -> int:
            return Leaf(x=x).x

    stop = threading.Event()

    def work() -> None:
        for n in range(2_000):
            Leaf(x=n), Nesting(x=n)
            if n % 50 == 0:
                with pytest.raises(ValidationError):
                    Leaf(x="x")

    def collect() -> None:
        while not stop.is_set():
            telemetry.reader.get_metrics_data()

    threads = [threading.Thread(target=work) for _ in range(4)]
    collector = threading.Thread(target=collect)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in (collector, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        collector.join()
    finally:
        sys.setswitchinterval(interval)
    assert telemetry.validations() == {"valid": 16_000, "invalid": 160}
    assert telemetry.total("cache.misses") + telemetry.total("cache.hits") == 16_160


@pytest.mark.parametrize("copied", [False, True])
def test_a_greenlet_switched_to_inside_counts_for_itself(copied: bool, telemetry: Telemetry) -> None:
    """A greenlet is a stack of its own, on the same thread."""
    main = greenlet.getcurrent()

    def work() -> None:
        Leaf(x=1), Outer(x=2)
        main.switch()

    def switch() -> None:
        other = greenlet.greenlet(work)
        if copied:
            other.gr_context = contextvars.copy_context()
        other.switch()

    inside(switch)
    assert telemetry.validations() == {"valid": 3}


def test_a_greenlet_killed_inside(telemetry: Telemetry) -> None:
    """`GreenletExit` ends its validation as an error, and nothing is left running."""
    other = greenlet.greenlet(lambda: inside(greenlet.getcurrent().parent.switch))
    other.switch()
    other.throw()
    assert telemetry.validations() == {"error": 1}


def test_a_query_awaited_inside_a_validator(telemetry: Telemetry) -> None:
    """SQLAlchemy's asyncio suspends a validation in the middle; another task's validations are its own."""
    concurrency = pytest.importorskip("sqlalchemy.util.concurrency")

    async def other() -> None:
        for _ in range(3):
            Leaf(x=1), Outer(x=1)
            await asyncio.sleep(0)

    async def main() -> None:
        def work() -> None:
            inside(lambda: (concurrency.await_only(asyncio.sleep(0.01)), Leaf(x=7)))

        await asyncio.gather(concurrency.greenlet_spawn(work), other())

    asyncio.run(main())
    assert telemetry.validations() == {"valid": 7}


@pytest.mark.skipif(VERSION < (2, 6), reason="this Pydantic crashes under gevent, also without us")
def test_gevent() -> None:
    """Greenlets that sleep inside their validations do not see each other's."""
    pytest.importorskip("gevent")
    code = f"""
ROOT = {str(Path(__file__).parents[2])!r}
from gevent import monkey
monkey.patch_all()
import sys, time, gevent
sys.path.insert(0, ROOT)
from tests.telemetry import Telemetry
telemetry = Telemetry()
from pydantic import BaseModel, field_validator
class Leaf(BaseModel):
    x: int
class Lead(BaseModel):
    x: int
    @field_validator("x")
    @classmethod
    def check(cls, x):
        time.sleep(0.001)
        return Leaf(x=x).x
def work():
    for n in range(20):
        Lead(x=n), Leaf(x=n)
gevent.joinall([gevent.spawn(work) for _ in range(10)], raise_error=True)
print(telemetry.validations())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'valid': 400}", done.stderr


def test_endless_recursion_is_one_error(telemetry: Telemetry) -> None:
    """A validator that calls itself for ever gets its RecursionError, once."""

    class Endless(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def again(cls, x: int) -> int:
            return Endless(x=x).x

    with pytest.raises(RecursionError):
        Endless(x=1)
    assert telemetry.validations() == {"error": 1}


def test_what_is_no_exception_passes(telemetry: Telemetry) -> None:
    """`SystemExit` and `KeyboardInterrupt` pass through and leave nothing running."""

    def leave(error: BaseException) -> None:
        raise error

    for error in (SystemExit(3), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            inside(lambda error=error: leave(error))
        assert caught.value is error
    assert telemetry.validations() == {"error": 2}


def test_wrong_calls_are_the_type_errors_that_they_were(telemetry: Telemetry) -> None:
    """A wrong signature is refused as the core validator refuses it."""
    validator: Any = vars(Leaf)["__pydantic_validator__"]
    for call in (
        lambda: validator.validate_python(),
        lambda: validator.validate_python({"x": 1}, nonsense=1),
        lambda: validator.validate_json("{}", from_attributes=True),
    ):
        with pytest.raises(TypeError):
            call()
    assert validator.isinstance_python({"x": 1})


@pytest.mark.parametrize("method", ["validate_python", "validate_json", "validate_strings"])
def test_arguments_reach_the_core_as_given(method: str, telemetry: Telemetry) -> None:
    """Positional and keyword arguments mean what they mean without us."""
    ours: Any = vars(Leaf)["__pydantic_validator__"]
    plain = ours._otel_wrapped
    data = {"validate_python": {"x": "1"}, "validate_json": '{"x": "1"}', "validate_strings": {"x": "1"}}[method]
    for arguments, keywords in (
        ((data,), {}), ((), {"input": data}), ((data,), {"strict": True}), ((data,), {"strict": False}),
        ((data, True), {}), ((data,), {"context": {"a": 1}}), ((data,), {"context": None}),
    ):  # fmt: skip
        assert outcome(ours, method, arguments, keywords) == outcome(plain, method, arguments, keywords)


def outcome(validator: Any, method: str, arguments: Any, keywords: Any) -> Any:
    try:
        return getattr(validator, method)(*arguments, **keywords)
    except ValidationError as error:
        return error.errors(include_url=False)
    except TypeError:
        return TypeError


def test_generators_interleaved(telemetry: Telemetry) -> None:
    """Validations in generators that take turns are each their own."""

    def steps() -> Iterator[None]:
        Outer(x=1)
        yield
        Outer(x=2)
        yield

    first, second = steps(), steps()
    for one in (first, second, second, first):
        next(one)
    assert telemetry.validations() == {"valid": 4}


def test_a_lazy_iterable(telemetry: Telemetry) -> None:
    """`Iterable[Outer]` is validated at the call and again, by nobody's call, as it is read: one validation."""
    lazy = TypeAdapter(Iterable[Outer]).validate_python({"x": n} for n in range(3))
    Leaf(x=1)
    assert [one.x for one in lazy] == [0, 1, 2]
    assert telemetry.validations() == {"valid": 2}


class Late(Exception):
    """As Celery's soft time limit, raised by a signal handler anywhere."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
def test_an_exception_of_a_signal_handler_leaves_nothing_running(telemetry: Telemetry) -> None:
    """Interrupted at 500 random points, a thread still counts its next validation."""

    def handle(*_: object) -> None:
        raise Late

    rng, interrupted, left = random.Random(5), 0, 0
    gc.disable()  # what a handler raises in a callback of the collector (Hypothesis has one), Python ignores
    before = signal.signal(signal.SIGALRM, handle)
    faults.reraise = False
    try:
        for _ in range(500):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-6, 6e-5))
                for _ in range(60):
                    Outer.model_validate({"x": 1})
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Late:
                interrupted += 1
            left += bool(stack.running)
            stack.running.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interrupted > 100
    assert left == 0


def test_fork_inside_a_validation(telemetry: Telemetry) -> None:
    """A child forked by another thread does not inherit that a thread was inside; its own validations count."""
    reached, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: inside(lambda: (reached.set(), go.wait(10))))
    thread.start()
    assert reached.wait(10)

    def child() -> None:
        assert not stack.running
        Outer(x=1)
        assert telemetry.validations() == {"valid": 1}

    try:
        in_child(child)
    finally:
        go.set()
        thread.join()
    assert telemetry.validations() == {"valid": 1}


def test_fork_by_a_validator(telemetry: Telemetry) -> None:
    """A child forked in the middle of a validation is still inside it, and so is its parent."""

    def fork() -> None:
        child = os.fork()
        if not child:
            Leaf(x=1)
            os._exit(len(stack.running))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    inside(fork)
    assert telemetry.validations() == {"valid": 1}


def test_a_validator_passes_for_what_it_is(telemetry: Telemetry) -> None:
    """Models and validators pickle without us, copy, and are instances of what they were."""
    validator: Any = vars(Leaf)["__pydantic_validator__"]
    assert isinstance(validator, SchemaValidator)
    assert repr(validator) == repr(validator._otel_wrapped)
    assert validator.title == "Leaf"
    assert copy.copy(validator) is copy.deepcopy(validator) is validator
    if VERSION >= (2, 10):  # earlier ones pickle no validators of models
        assert type(pickle.loads(pickle.dumps(validator))) is SchemaValidator
        assert b"otel" not in pickle.dumps(validator)
    leaf = Leaf(x=1)
    assert pickle.loads(pickle.dumps(leaf)) == copy.deepcopy(leaf) == leaf.model_copy() == leaf
    assert "validate_python" in dir(validator)
    with pytest.raises(AttributeError):
        _ = validator.nonsense


def test_the_traceback_names_one_frame_of_ours(telemetry: Telemetry) -> None:
    """A failing validation's traceback is one frame longer, and the exception otherwise the same."""

    def fail() -> ValidationError:
        with pytest.raises(ValidationError) as caught:
            Leaf(x="x")
        return caught.value

    error = fail()
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    telemetry.off()
    plain = fail()
    assert frames == [*(frame.name for frame in traceback.extract_tb(plain.__traceback__)), "validate"]
    assert error.__context__ is None
    assert (error.title, error.errors()) == (plain.title, plain.errors())


def test_nested_models_still_share_their_validators(telemetry: Telemetry) -> None:
    """Where Pydantic reuses a nested model's built validator, it does so with us on."""
    if VERSION < (2, 11):
        pytest.skip("this Pydantic reuses none")

    class Holder(BaseModel):
        leaf: Leaf

    validator: Any = vars(Holder)["__pydantic_validator__"]
    assert "Prebuilt" in repr(validator)
