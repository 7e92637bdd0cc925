"""What an application calls itself: `endpoint`, `validation`, `observe_cache`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import ValidationBlock, endpoint, faults, observe_cache, validation
from opentelemetry.instrumentation.schema._recording import app_caches, stack
from opentelemetry.instrumentation.schema._recording.request import NO_REQUEST, current_request
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, field_validator

from tests.integration import asgi
from tests.telemetry import Telemetry

LEAD = validation("LeadRow", module=__name__, library="csv", invalid=KeyError)


@pytest.fixture(autouse=True)
def no_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_caches, "_sources", {})


# -- endpoint()


def test_a_block_counts_and_so_do_its_failures(telemetry: Telemetry) -> None:
    """Each block is a request of that endpoint, also one that raises; outside nothing has an endpoint."""
    for _ in range(2):
        with endpoint("import"), LEAD() as row:
            row.problem("email", "required")
    with pytest.raises(ZeroDivisionError), endpoint("import"):
        raise ZeroDivisionError
    with LEAD():
        pass
    assert telemetry.points("api.requests") == [({"schema.endpoint": "import"}, 3)]
    assert telemetry.by("validation.errors", "schema.endpoint", "error.type") == {("import", "ValidationError"): 2}
    assert telemetry.by("schema.validation.duration", "schema.endpoint", "schema.validation.outcome") == {
        ("import", "invalid"): 2,
        (None, "valid"): 1,
    }


def wrong() -> None:
    """One failed validation."""
    with LEAD() as row:
        row.problem("email", "required")


def a_function() -> None:
    wrong()


async def a_coroutine() -> None:
    await asyncio.sleep(0)
    wrong()


def a_generator() -> Iterator[int]:
    wrong()
    yield 1


async def an_asynchronous_generator() -> AsyncIterator[int]:
    wrong()
    yield 1


class Callable_:
    """An object that is called as a coroutine function is."""

    async def __call__(self) -> None:
        wrong()


async def _drain(made: Any) -> None:
    async for _ in made:
        pass


RUN: dict[Any, Callable[[Any], object]] = {
    a_function: lambda job: job(),
    a_coroutine: lambda job: asyncio.run(job()),
    a_generator: lambda job: list(job()),
    an_asynchronous_generator: lambda job: asyncio.run(_drain(job())),
    Callable_(): lambda job: asyncio.run(job()),
}


@pytest.mark.parametrize("function", RUN, ids=lambda function: getattr(function, "__name__", "an object"))
def test_a_block_decorates_a_job(function: Any, telemetry: Telemetry) -> None:
    """`@endpoint(...)` makes every run of a function's body a block, of whichever of the four kinds it is."""
    job = endpoint("job")(function)
    for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert kind(job) == (kind(function) or kind(type(function).__call__)), kind
    assert inspect.signature(job) == inspect.signature(function)
    for _ in range(2):
        RUN[function](job)
    assert telemetry.points("api.requests") == [({"schema.endpoint": "job"}, 2)]
    assert telemetry.by("validation.errors", "schema.endpoint") == {"job": 2}


def test_a_generators_body_is_a_job_and_its_caller_is_not(telemetry: Telemetry) -> None:
    """Values sent, exceptions thrown and results pass as they do without us; the caller's failures are its own."""

    @endpoint("job")
    def job() -> Generator[str, str, str]:
        try:
            got = yield "first"
        except KeyError:
            got = "thrown"
        wrong()
        try:
            yield got
        except GeneratorExit:
            wrong()
            raise
        return "result"

    one, other, closed = job(), job(), job()
    assert (next(one), one.send("sent")) == ("first", "sent")
    wrong()
    with pytest.raises(StopIteration) as stopped:
        next(one)
    assert stopped.value.value == "result"
    assert (next(other), other.throw(KeyError)) == ("first", "thrown")
    other.close()
    next(closed)
    del closed
    assert telemetry.total("api.requests", schema_endpoint="job") == 3
    assert telemetry.by("validation.errors", "schema.endpoint") == {"job": 3}
    assert telemetry.validations() == {"invalid": 4}


def _in_thread(function: Callable[[], object]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert raised == []


@pytest.mark.parametrize("instrumented", [True, False])
def test_a_block_that_is_left_in_another_context(instrumented: bool, watch: Callable[..., Telemetry]) -> None:
    """A generator that is closed by another thread or task raises nothing, and its job counts once."""
    telemetry = watch() if instrumented else None

    def steps() -> Iterator[None]:
        with endpoint("job"):
            wrong()
            yield

    async def asynchronous_steps() -> AsyncIterator[None]:
        async with endpoint("job"):
            wrong()
            yield

    def started(made: Any) -> Any:
        contextvars.copy_context().run(next, made)
        return made

    async def closed_by_another_task() -> None:
        made: Any = asynchronous_steps()
        await asyncio.create_task(made.__anext__())
        await asyncio.create_task(made.aclose())

    _in_thread(started(steps()).close)
    asyncio.run(closed_by_another_task())
    assert current_request.get() is NO_REQUEST
    if telemetry is not None:
        assert telemetry.total("api.requests", schema_endpoint="job") == 2
        assert telemetry.by("validation.errors", "schema.endpoint") == {"job": 2}


def test_blocks_of_dependencies_and_streamed_bodies(telemetry: Telemetry) -> None:
    """FastAPI runs both ends of a dependency and each step of a body in contexts of their own: a job counts once."""
    from fastapi import Depends, FastAPI
    from fastapi.responses import StreamingResponse

    def dependency() -> Iterator[int]:
        with endpoint("dependency"):
            yield 1

    async def asynchronous() -> AsyncIterator[int]:
        with endpoint("asynchronous"):
            yield 1

    def rows() -> Iterator[str]:
        with endpoint("rows"):
            yield "1"
            yield "2"

    app = FastAPI()
    app.get("/sync", dependencies=[Depends(dependency)])(lambda: None)
    app.get("/async", dependencies=[Depends(asynchronous)])(lambda: None)
    app.get("/rows")(lambda: StreamingResponse(rows()))
    for path in ("/sync", "/async", "/rows"):
        assert asgi.request(app, "GET", path).status_code == 200
    counted = telemetry.by("api.requests", "schema.endpoint", "http.route")
    blocks = {("dependency", None): 1, ("asynchronous", None): 1, ("rows", None): 1}
    assert counted == blocks | {(None, path): 1 for path in ("/sync", "/async", "/rows")}


def test_one_block_for_many_jobs(telemetry: Telemetry) -> None:
    """An `endpoint` that is made once and entered by many tasks at once is a job for each."""
    shared = endpoint("job")

    async def job(failures: int) -> None:
        with shared:
            for _ in range(failures):
                await asyncio.sleep(0)
                wrong()

    async def jobs() -> None:
        await asyncio.gather(*(job(number) for number in range(5)))

    asyncio.run(jobs())
    assert telemetry.total("api.requests", schema_endpoint="job") == 5
    assert telemetry.by("validation.errors", "schema.endpoint") == {"job": 10}
    assert shared._jobs == []


def test_blocks_of_tasks_and_threads_keep_apart(telemetry: Telemetry) -> None:
    """Interleaved blocks each have their own failures."""

    async def job(name: str, failures: int) -> None:
        with endpoint(name):
            for _ in range(failures):
                await asyncio.sleep(0)
                with LEAD() as row:
                    row.problem("email", "required")

    async def all_jobs() -> None:
        await asyncio.gather(*(job(f"job-{n}", n) for n in range(1, 5)))

    threads = [threading.Thread(target=asyncio.run, args=(all_jobs(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.by("validation.errors", "schema.endpoint") == {f"job-{n}": 3 * n for n in range(1, 5)}


def test_without_instrumentation_nothing_happens() -> None:
    """All three do nothing, and raise nothing, where nobody instruments."""
    with endpoint("job"), LEAD() as row:
        row.problem("email", "required")
    observe_cache("countries", lambda: (1, 1))
    assert stack.running == {}


def test_on_and_off_within_a_block(watch: Callable[..., Telemetry]) -> None:
    """A block that was open when the instrumentation came or went leaves nothing behind."""
    with endpoint("job"):
        telemetry = watch()
        with LEAD():
            pass
    with endpoint("job"), LEAD():
        telemetry.off()
    assert stack.running == {}
    assert telemetry.validations() == {"valid": 1}


# -- validation()


def test_outcomes(telemetry: Telemetry) -> None:
    """Nothing is valid; a named problem or one of `invalid` is invalid; all else is an error. Exceptions pass."""
    with LEAD():
        pass
    with LEAD() as row:
        row.problem("items.*.price", "min")
        row.problem("email", "required")
    with suppress(KeyError), LEAD() as row:
        row.problem("email", "required")
        raise KeyError("secret")
    with pytest.raises(ZeroDivisionError), LEAD():
        raise ZeroDivisionError("secret")
    assert telemetry.validations(schema_name="LeadRow", schema_module=__name__, schema_library="csv") == {
        "valid": 1,
        "invalid": 2,
        "error": 1,
    }
    assert telemetry.problems() == {("items.*.price", "min"): 1, ("email", "required"): 2}
    assert [span.status.status_code for span in telemetry.spans()] == [StatusCode.UNSET] * 2 + [StatusCode.ERROR]
    assert "secret" not in telemetry.everything()


def test_a_validator_of_ones_own_has_no_cache(telemetry: Telemetry) -> None:
    """Where nothing is built there are neither hits nor misses."""
    with LEAD():
        pass
    assert telemetry.points("cache.hits") + telemetry.points("cache.misses") == []


def test_a_block_inside_another_is_part_of_it(telemetry: Telemetry) -> None:
    """Of nested blocks the outermost is the validation, with the problems that were named in it."""
    inner = validation("Inner")
    with LEAD() as row:
        with inner() as nested:
            nested.problem("x", "y")
        row.problem("email", "required")
    assert telemetry.by("schema.validation.duration", "schema.name") == {"LeadRow": 1}
    assert telemetry.problems() == {("email", "required"): 1}


def test_a_validation_survives_the_instrumentation(watch: Callable[..., Telemetry]) -> None:
    """One made at import counts for each `instrument()` that comes, without a module where none was named."""
    plain = validation("Plain")
    for _ in range(2):
        telemetry = watch()
        with plain():
            pass
        ((attributes, count),) = telemetry.points("schema.validation.duration")
        assert count == 1
        assert attributes == {
            "schema.name": "Plain",
            "schema.library": "custom",
            "schema.validation.outcome": "valid",
        }
        telemetry.off()


def test_blocks_of_threads_are_each_their_own(telemetry: Telemetry) -> None:
    """A block that a thread enters while another is inside one is no part of that."""
    barrier = threading.Barrier(4)

    def work() -> None:
        with LEAD():
            barrier.wait(10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.validations() == {"valid": 4}


def test_a_block_that_awaits_belongs_to_its_task(telemetry: Telemetry) -> None:
    """Other tasks' validations, with `with` or `async with`, are their own; what its own task runs is part of it."""
    seen = []

    class Inner(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, name: str) -> str:
            return name

    async def blocks() -> None:
        with LEAD():
            await asyncio.sleep(0.01)
            Inner(name="Ann")
            with validation("Nested")():
                pass
            await asyncio.to_thread(lambda: None)
        async with LEAD():
            await asyncio.sleep(0.01)

    async def other() -> None:
        for _ in range(10):
            Inner(name="Ann")
            seen.append(len(stack.running))
            await asyncio.sleep(0.001)

    async def main() -> None:
        await asyncio.gather(*(blocks() for _ in range(20)), other())

    asyncio.run(main())
    assert max(seen) == 20, "the blocks were open meanwhile"
    found = telemetry.by("schema.validation.duration", "schema.name")
    assert found == {"LeadRow": 40, Inner.__qualname__: 10}
    assert stack.running == {}


def test_a_block_that_a_task_enters_in_a_thread_with_a_loop_leaves_other_threads_alone(telemetry: Telemetry) -> None:
    """Once tasks are told apart, threads without a loop still are."""
    asyncio.run(_block())
    inner = validation("Inner")
    with LEAD():
        _in_thread(lambda: inner().__enter__().__exit__(None, None, None))
        with inner():
            pass
    assert telemetry.by("schema.validation.duration", "schema.name") == {"LeadRow": 2, "Inner": 1}


async def _block() -> None:
    async with LEAD():
        await asyncio.sleep(0)


@pytest.mark.parametrize("named", ["", "x" * 101])
def test_names_are_checked(named: str) -> None:
    """Schemas, modules, libraries, paths and rules have 1 to 100 characters; the error does not hold what was given."""
    block = validation("Lead")()
    for wrong_name in (
        lambda: validation(named),
        lambda: validation("Lead", module=named),
        lambda: validation("Lead", library=named),
        lambda: block.problem(named, "required"),
        lambda: block.problem("email", named),
        lambda: observe_cache(named, lambda: (0, 0)),
        lambda: endpoint(named),
    ):
        with pytest.raises(ValueError, match="1 to 100 characters") as raised:
            wrong_name()
        assert "xx" not in str(raised.value)
    with pytest.raises(TypeError, match="a schema's name is a str, not int"):
        validation(5)  # type: ignore[arg-type]


def test_a_problem_that_is_named_as_something_else_is(telemetry: Telemetry) -> None:
    """A path and rule that read like an outcome or an error type are counted where problems are."""
    for path, rule in (("$", "invalid"), ("errors", "ValidationError"), ("hits", "misses")):
        with LEAD() as row:
            row.problem(path, rule)
    assert telemetry.problems() == {("$", "invalid"): 1, ("errors", "ValidationError"): 1, ("hits", "misses"): 1}
    assert telemetry.validations() == {"invalid": 3}


def test_what_a_user_receives_can_be_named() -> None:
    """The class of a validation's block is exported."""
    assert type(LEAD()) is ValidationBlock


# -- observe_cache()


def test_a_cache_is_read_at_each_collection(telemetry: Telemetry) -> None:
    """The counters are the cache's own, under its name and no schema's, and start at 0."""

    @functools.lru_cache
    def load(number: int) -> int:
        return number

    observe_cache("countries", load)
    assert telemetry.by("cache.hits", "schema.cache.name", zeros=True) == {"countries": 0}
    for number in (1, 1, 2, 1):
        load(number)
    assert telemetry.points("cache.hits") == [({"schema.cache.name": "countries"}, 2)]
    load.cache_clear()
    load(1)
    assert telemetry.points("cache.misses") == [({"schema.cache.name": "countries"}, 3)]


def test_a_source_that_raises_is_counted_and_the_collection_goes_on(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken source is one fault a collection; validations and other caches are collected."""
    monkeypatch.setattr(faults, "reraise", False)
    observe_cache("broken", lambda: (1 // 0, 0))
    observe_cache("sound", lambda: (1, 2))
    with LEAD():
        pass
    assert telemetry.by("cache.hits", "schema.cache.name") == {"sound": 1}
    assert telemetry.validations() == {"valid": 1}
    errors: list[Any] = telemetry.points("schema.telemetry.errors")
    assert [attributes["schema.telemetry.component"] for attributes, _ in errors] == ["cache"]
    assert errors[0][1] >= 2


@pytest.fixture
def collected_by_two_readers() -> Iterator[Any]:
    from opentelemetry.instrumentation.schema import SchemaInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    SchemaInstrumentor().instrument(meter_provider=MeterProvider(readers, shutdown_on_exit=False))
    yield readers
    SchemaInstrumentor().uninstrument()


def test_every_reader_sees_a_cache_whole(collected_by_two_readers: Any) -> None:
    """What one reader's collection took out of the source is in the other's data points too."""
    totals = [3, 1]
    observe_cache("countries", lambda: (totals[0], totals[1]))
    seen = []
    for reader in collected_by_two_readers * 2:
        (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        (hits,) = [metric for metric in scope.metrics if metric.name == "cache.hits"]
        seen.append(hits.data.data_points[0].value)
        totals[0] += 1
    assert seen == [3, 4, 5, 6]
