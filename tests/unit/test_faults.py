"""Faults of ours: counted, logged once by place, never raised into the application."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry.instrumentation.schema import faults


@pytest.fixture(autouse=True)
def in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


@faults.guarded("ours", "default")
def broken(kind: type[BaseException]) -> str:
    """Documented."""
    raise kind("secret")


def test_a_fault_is_swallowed_and_counted() -> None:
    """A guarded function returns its default, and each fault counts under its component and class."""
    assert [broken(ZeroDivisionError), broken(ZeroDivisionError), broken(KeyError)] == ["default"] * 3
    assert faults.take() == {("ours", "ZeroDivisionError"): 2, ("ours", "KeyError"): 1}
    assert faults.take() == {}


def test_a_fault_is_logged_once_and_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    """The first of a kind logs component, class and place; the message may quote a payload, and is not logged."""
    for _ in range(3):
        broken(ZeroDivisionError)
    (record,) = caplog.records
    line = broken.__wrapped__.__code__.co_firstlineno + 3  # type: ignore[attr-defined]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"ours: internal error ZeroDivisionError at {__file__}:{line}")
    assert "secret" not in caplog.text


def test_an_error_that_was_never_raised_has_no_place(caplog: pytest.LogCaptureFixture) -> None:
    """An exception without a traceback is counted and logged, too."""
    faults.swallow("ours", ValueError())
    assert "at unknown" in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_is_not_swallowed(kind: type[BaseException]) -> None:
    """An interrupt that arrives inside our code is not a fault of ours."""
    with pytest.raises(kind):
        broken(kind)
    assert faults.take() == {}


def test_tests_see_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `reraise` a fault is counted, and raised."""
    monkeypatch.setattr(faults, "reraise", True)
    with pytest.raises(ZeroDivisionError):
        broken(ZeroDivisionError)
    assert faults.take() == {("ours", "ZeroDivisionError"): 1}


def test_a_guarded_function_keeps_its_name() -> None:
    """A guard passes for what it guards."""
    assert (broken.__name__, broken.__doc__) == ("broken", "Documented.")


def test_faults_of_many_threads_are_all_counted() -> None:
    """No fault is lost or counted twice while another thread takes them."""
    threads = [threading.Thread(target=lambda: [broken(KeyError) for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    total = 0
    while any(thread.is_alive() for thread in threads):
        total += sum(faults.take().values())
    for thread in threads:
        thread.join()
    assert total + sum(faults.take().values()) == 1600
