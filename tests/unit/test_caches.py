"""Caches of the application: what they counted since the last look, whatever they do meanwhile."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import faults, observe_cache
from opentelemetry.instrumentation.schema._recording import app_caches


@pytest.fixture(autouse=True)
def no_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_caches, "_sources", {})


def test_an_lru_cache_is_read_since_the_last_look() -> None:
    """Hits and misses are those since the cache was read last; the first read takes all that there were."""

    @functools.lru_cache(maxsize=8)
    def load(number: int) -> int:
        return number

    load(1)
    observe_cache("countries", load)
    for number in (1, 1, 2):
        load(number)
    assert app_caches.take() == [("countries", 2, 2)]
    load(2)
    assert app_caches.take() == [("countries", 1, 0)]
    assert app_caches.take() == [("countries", 0, 0)]


def test_a_cleared_cache_has_restarted() -> None:
    """After `cache_clear()` what it counts since then is added, and nothing is negative."""

    @functools.lru_cache
    def load(number: int) -> int:
        return number

    observe_cache("countries", load)
    for _ in range(5):
        load(1)
    assert app_caches.take() == [("countries", 4, 1)]
    load.cache_clear()
    load(1)
    load(1)
    assert app_caches.take() == [("countries", 1, 1)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)) | st.just("cleared")))
def test_everything_counted_between_looks_arrives(steps: list[Any]) -> None:
    """However often the cache is cleared, what is taken adds up to what was counted, and nothing is negative."""
    totals, counted, taken = (0, 0), (0, 0), (0, 0)
    observe_cache("any", lambda: totals)
    for step in steps:
        if step == "cleared":
            totals = 0, 0
        else:
            totals = totals[0] + step[0], totals[1] + step[1]
            counted = counted[0] + step[0], counted[1] + step[1]
        ((_, hits, misses),) = app_caches.take()
        assert hits >= 0
        assert misses >= 0
        taken = taken[0] + hits, taken[1] + misses
    assert taken == counted


def test_a_source_that_raises_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is counted, the others are read, and next time nothing is lost."""
    monkeypatch.setattr(faults, "reraise", False)
    answers: list[Any] = [ZeroDivisionError(), (3, 1)]

    def source() -> tuple[int, int]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    observe_cache("broken", source)
    observe_cache("sound", lambda: (1, 1))
    assert app_caches.take() == [("sound", 1, 1)]
    assert faults.take() == {("cache", "ZeroDivisionError"): 1}
    assert app_caches.take() == [("broken", 3, 1), ("sound", 0, 0)]


@pytest.mark.parametrize("answer", [None, 1, (1,), (1, 2, 3), ("a", "b")])
def test_an_answer_that_is_no_pair_of_numbers_is_a_fault(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a source returns is checked where it is read."""
    monkeypatch.setattr(faults, "reraise", False)
    observe_cache("odd", lambda: answer)
    assert app_caches.take() == []
    assert sum(faults.take().values()) == 1


def test_a_name_observed_again_has_the_new_source() -> None:
    """The last source of a name is the one that is read."""
    observe_cache("countries", lambda: (10, 10))
    observe_cache("countries", lambda: (1, 2))
    assert app_caches.take() == [("countries", 1, 2)]


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_name_that_is_none_or_too_long_is_refused(name: str) -> None:
    """A cache's name has 1 to 100 characters."""
    with pytest.raises(ValueError, match="1 to 100"):
        observe_cache(name, lambda: (0, 0))


def test_a_source_that_is_none_is_refused() -> None:
    """What is neither a cached function nor callable is a TypeError that names the cache."""
    with pytest.raises(TypeError, match="countries"):
        observe_cache("countries", 3)  # type: ignore[arg-type]


def test_what_a_cache_counted_before_a_fork_is_the_parents() -> None:
    """A forked child reports what its cache counts from then on."""
    totals = [5, 5]
    observe_cache("countries", lambda: (totals[0], totals[1]))
    app_caches.reset_after_fork()
    totals[:] = 7, 5
    assert app_caches.take() == [("countries", 2, 0)]
