"""What an application calls itself: `endpoint`, `validation`, `observe_cache`."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import endpoint, faults, observe_cache, validation
from opentelemetry.instrumentation.schema._recording import app_caches, stack
from opentelemetry.trace import StatusCode
from telemetry import Telemetry

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


def test_a_block_decorates_a_job(telemetry: Telemetry) -> None:
    """`@endpoint(...)` makes every call of a function a block."""

    @endpoint("job")
    def job() -> int:
        return 1

    assert job() + job() == 2
    assert telemetry.total("api.requests", schema_endpoint="job") == 2


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
