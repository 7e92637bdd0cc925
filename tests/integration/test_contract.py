"""What holds for every library: each claim is written once and run for each."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import sqlalchemy  # noqa: F401  # its patches are undone, too
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import endpoint, faults
from opentelemetry.instrumentation.schema._recording import ownership, problems, recorder, schema_cells, spans
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

from tests.integration.contract import CANARY, CRASH, IN_REQUEST, LIBRARIES, VALID, Validator, outcome
from tests.telemetry import Telemetry


@pytest.fixture(params=LIBRARIES.values(), ids=LIBRARIES)
def make(request: pytest.FixtureRequest) -> Callable[[], Validator]:
    return request.param


@pytest.fixture(params=["made before", "made after"])
def lead(request: pytest.FixtureRequest, make: Callable[[], Validator], watch: Any) -> Validator:
    """A validator that is older than `instrument()`, and one that is younger."""
    if request.param == "made before":
        made = make()
        watch.telemetry = watch()
        return made
    watch.telemetry = watch()
    return make()


@pytest.fixture
def telemetry(lead: Validator, watch: Any) -> Telemetry:
    return watch.telemetry


# -- what a validation is


def test_a_valid_validation_counts_once(lead: Validator, telemetry: Telemetry) -> None:
    """A valid validation is one value of the histogram, under the schema's name, and nothing else."""
    lead.validate(VALID)
    assert telemetry.by("schema.validation.duration", "schema.name", "schema.validation.outcome") == {
        ("Lead", "valid"): 1
    }
    assert (telemetry.problems(), telemetry.spans()) == ({}, ())


def test_a_failed_validation_counts_once(lead: Validator, telemetry: Telemetry) -> None:
    """A failed validation is one value with outcome `invalid`, one span, and its problems, templated."""
    assert outcome(lead, {"email": "a@b", "items": [{"price": 1}, {"price": CANARY}]}) is lead.failure
    assert telemetry.validations(schema_name="Lead") == {"invalid": 1}
    assert telemetry.problems() == {("items.*.price", lead.price): 1}
    (span,) = telemetry.spans()
    assert (span.name, span.attributes["schema.problem.path"], span.status.status_code) == (
        "schema.validate Lead",
        ("items.*.price",),
        StatusCode.UNSET,
    )


def test_an_unknown_key_is_never_named(lead: Validator, telemetry: Telemetry) -> None:
    """A key that the schema does not declare is a problem whose path does not hold it."""
    outcome(lead, {"email": "a@b", f"{CANARY}_key": 1})
    path, rule = lead.unknown
    assert telemetry.problems() == {(path, rule): 1}


def test_a_crash_is_an_error(lead: Validator, telemetry: Telemetry) -> None:
    """What is not the library's own exception leaves as the same object, and is the outcome `error` with its class."""
    with endpoint("job"), pytest.raises(RuntimeError) as raised:
        lead.validate({"email": "crash"})
    assert raised.value is CRASH
    assert telemetry.validations(schema_name="Lead") == {"error": 1}
    assert telemetry.by("validation.errors", "error.type") == {"RuntimeError": 1}
    (span,) = telemetry.spans()
    assert (span.status.status_code, span.status.description, span.attributes["error.type"], span.events) == (
        StatusCode.ERROR,
        None,
        "RuntimeError",
        (),
    )


def test_a_validation_inside_another_is_part_of_it(lead: Validator, telemetry: Telemetry) -> None:
    """A validation that a validator's own code runs counts nothing of its own."""
    lead.validate({"email": "nest"})
    assert telemetry.by("schema.validation.duration", "schema.name") == {"Lead": 1}


def test_after_a_crash_the_next_validation_is_no_part_of_it(lead: Validator, telemetry: Telemetry) -> None:
    """An exception leaves nothing behind that would hide what comes next."""
    outcome(lead, {"email": "crash"})
    lead.validate(VALID)
    assert telemetry.validations(schema_name="Lead") == {"error": 1, "valid": 1}


def test_the_first_use_is_the_miss_and_the_others_are_hits(lead: Validator, telemetry: Telemetry) -> None:
    """Of n validations by one validator one is a miss, whether it failed or not, and n - 1 are hits."""
    outcome(lead, {"email": 1})
    for _ in range(3):
        lead.validate(VALID)
    outcome(lead, {"email": 1})
    assert telemetry.by("cache.misses", "schema.cache.name", "schema.name") == {("validator", "Lead"): 1}
    assert telemetry.by("cache.hits", "schema.cache.name", "schema.name") == {("validator", "Lead"): 4}


def test_of_threads_that_are_first_at_once_one_is_the_miss(make: Callable[[], Validator], watch: Any) -> None:
    """However finely threads are switched, a validator that they use for the first time was built once."""
    telemetry, rounds, threads = watch(), 20, 8
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(rounds):
            lead, barrier = make(), threading.Barrier(threads)

            def use(lead: Validator = lead, barrier: threading.Barrier = barrier) -> None:
                barrier.wait(30)
                lead.validate(VALID)

            running = [threading.Thread(target=use) for _ in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert telemetry.validations(schema_name="Lead") == {"valid": rounds * threads}
    assert telemetry.total("cache.misses", schema_name="Lead") == rounds
    assert telemetry.total("cache.hits", schema_name="Lead") == rounds * (threads - 1)


# -- what the application sees


def _seen(validator: Validator, data: Any) -> Any:
    """All that a caller can tell from a validation."""
    try:
        return validator.validate(data)
    except Exception as error:
        return (
            type(error),
            str(error),
            error.args,
            error.__cause__,
            type(error.__context__),
            error.__suppress_context__,
            getattr(error, "__notes__", None),
            type(error.__traceback__),
        )


@pytest.mark.parametrize("data", [VALID, {"email": 1}, {}, {"email": "crash"}, None, [], {"items": 1}], ids=repr)
def test_the_caller_sees_no_difference(make: Callable[[], Validator], data: Any, watch: Any) -> None:
    """Result, exception, its message, cause, context and notes are those without us."""
    validator = make()
    plain = repr(_seen(validator, data))
    watch()
    assert repr(_seen(validator, data)) == plain
    assert repr(_seen(make(), data)) == plain


FAULTS = [
    (recorder.Recorder, "bind"),
    (schema_cells.SchemaCells, "duration"),
    (schema_cells.SchemaCells, "problem"),
    (spans.Spans, "end_span"),
    (ownership.Ownership, "__call__"),
    (problems, "path"),
]


@pytest.mark.parametrize(("where", "name"), FAULTS, ids=[f"{where.__name__}.{name}" for where, name in FAULTS])
def test_our_own_fault_does_not_reach_the_app(
    make: Callable[[], Validator],
    where: Any,
    name: str,
    watch: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault of ours changes neither result nor exception; it is counted, and logged once and without its message."""
    validator = make()
    data = [VALID, {"email": CANARY, "items": [{"price": CANARY}]}, {"email": "crash"}] * 2
    plain = [repr(_seen(validator, each)) for each in data]
    monkeypatch.setattr(faults, "reraise", False)
    hits = []

    def broken(*_: Any, **__: Any) -> Any:
        hits.append(1)
        raise ZeroDivisionError(CANARY)

    telemetry = watch()
    monkeypatch.setattr(where, name, broken)
    assert [repr(_seen(validator, each)) for each in data] == plain
    assert hits, "the fault was not where validations come by"
    assert telemetry.total("schema.telemetry.errors", error_type="ZeroDivisionError") == len(hits)
    logged = [record for record in caplog.records if record.name.startswith("opentelemetry.instrumentation.schema")]
    assert [record.levelno for record in logged] == [logging.ERROR]
    assert CANARY not in logged[0].getMessage()


# -- off


def test_suppressed_instrumentation_stops_spans_and_no_counts(lead: Validator, telemetry: Telemetry) -> None:
    """Under `suppress_instrumentation` a failure counts, and has no span."""
    with suppress_instrumentation():
        outcome(lead, {"email": 1})
    assert telemetry.validations(schema_name="Lead") == {"invalid": 1}
    assert telemetry.spans() == ()


LIBRARY_MODULES = ("pydantic", "pydantic_core", "jsonschema", "marshmallow", "starlette", "fastapi", "flask")


def _held() -> dict[tuple[str, str], Any]:
    """Every attribute of every module and class of the patched libraries."""
    held: dict[tuple[str, str], Any] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in LIBRARY_MODULES or name.startswith("pydantic.v1"):
            continue
        for attribute, value in list(vars(module).items()):
            held[name, attribute] = value
            if isinstance(value, type) and value.__module__ == name:
                for inner, what in list(vars(value).items()):
                    held[f"{name}.{value.__qualname__}", inner] = what
    return held


def _changed(before: dict[tuple[str, str], Any], after: dict[tuple[str, str], Any]) -> set[tuple[str, str]]:
    """What is another object now; numbers are the libraries' own counters."""
    return {key for key, value in before.items() if after.get(key) is not value and not isinstance(value, int)}


@pytest.mark.parametrize("used", [False, True])
def test_uninstrument_restores_identity(used: bool) -> None:
    """After `uninstrument()` every attribute of every patched library is the very object that it was before."""
    made = {name: build() for name, build in LIBRARIES.items()}
    for inside in IN_REQUEST:  # what a framework itself keeps from its first request on
        inside(lambda: None)
    before = _held()
    for _ in range(2):
        telemetry = Telemetry()
        touched = _changed(before, _held())
        assert {key[0].partition(".")[0] for key in touched} == {
            "pydantic", "jsonschema", "marshmallow", "starlette", "fastapi", "flask",
        }  # fmt: skip
        if used:
            for validator in made.values():
                validator.validate(VALID)
            for inside in IN_REQUEST:
                inside(lambda: None)
        telemetry.off()
        assert _changed(before, _held()) == set()


def test_nothing_counts_once_it_is_off(lead: Validator, telemetry: Telemetry) -> None:
    """A validator that was used while we were on validates on, and records nothing; switched on again it counts."""
    lead.validate(VALID)
    telemetry.off()
    lead.validate(VALID)
    assert outcome(lead, {"email": 1}) is lead.failure
    assert telemetry.validations(schema_name="Lead") == {"valid": 1}
    telemetry.on()
    lead.validate(VALID)
    assert telemetry.validations(schema_name="Lead") == {"valid": 2}


# -- privacy

_text = st.text(max_size=8).map(lambda text: CANARY + text)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text | st.sampled_from(["email", "items"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("inside", [nullcontext, lambda: endpoint("job")], ids=["outside", "inside"])
def test_no_value_and_no_unknown_key_is_ever_exported(
    make: Callable[[], Validator],
    watch: Any,
    caplog: pytest.LogCaptureFixture,
    inside: Callable[[], AbstractContextManager[None]],
) -> None:
    """Whatever the data is, its values, undeclared keys and the validators' messages are in no metric, span or log."""
    telemetry = watch(spans="all")
    validator = make()

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(_values | st.fixed_dictionaries({"email": _text, "items": _values, f"{CANARY} key": _values}))
    def check(data: Any) -> None:
        with inside():
            outcome(validator, data)

    with caplog.at_level(logging.DEBUG):
        outcome(validator, {"email": f"{CANARY}@", "items": [{"price": CANARY}]})
        outcome(validator, {"email": "crash"})
        check()
    exported = telemetry.everything()
    assert "schema.problem.path" in exported
    assert CANARY not in exported
    logged = [each.getMessage() for each in caplog.records if each.name.startswith("opentelemetry")]
    assert CANARY not in "".join(logged)
