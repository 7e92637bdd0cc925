"""The reader of raw samples: every event counts once, on its side of the change, or is known to belong to neither."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._migrations.guard.samples import BlockCounter, Grid, Processes, Sample, Series

GRID = Grid(0.0, 60.0, 15.0)
LEADS = {"job": "leads", "instance": "1"}
OTHER = {"job": "leads", "instance": "other"}


def read(
    *feeds: Iterable[Series],
    grid: Grid = GRID,
    known: Iterable[tuple[str, str]] = (),
    attributes: tuple[str, ...] = ("route",),
    kept: tuple[str, ...] = ("route",),
) -> BlockCounter:
    """What a reader counts in samples that come in several answers."""
    processes = Processes(grid, known)
    reader = BlockCounter(grid, processes, attributes, kept)
    for feed in feeds:
        series = [*feed]
        processes.add_series(series)
        reader.add(series)
    return reader


def total(reader: BlockCounter, *key: str) -> float:
    """All that was placed."""
    return math.fsum(reader.cells.get(key or ("/leads",), {}).values())


def other(first: float = -600, last: float = 1200) -> Series:
    """A process that is sampled all the time, so that Prometheus is known to be up; it counts nothing."""
    return Series({**OTHER, "route": "/other"}, [(float(at), 0.0) for at in range(int(first), int(last), 10)])


def leads(samples: list[Sample], **labels: str) -> Series:
    """The series of a process."""
    return Series({**LEADS, "route": "/leads", **labels}, samples)


def test_a_series_that_was_there_starts_with_its_first_value() -> None:
    """What an old process counted before the first sample that is read is not counted."""
    assert total(read([leads([(-600, 500), (-590, 507), (-580, 507)])])) == 7


def test_a_new_process_counts_from_zero() -> None:
    """The first sample of a new worker holds what it counted since it started."""
    assert total(read([other(), leads([(100, 40), (110, 45)])])) == 45


def test_a_new_series_of_an_old_process_starts_with_its_first_value() -> None:
    """A series that appears counts from 0 only where its process is new: it may have been there, unseen."""
    old = Series({**LEADS, "route": "/other"}, [(float(at), 1.0) for at in range(-600, 400, 10)])
    assert total(read([old, other(), leads([(100, 40), (110, 45)])])) == 5


def test_a_process_known_from_before_is_not_new() -> None:
    """A process that was away when the reading began, and was sampled the day before, does not count from 0."""
    reader = read([other(), leads([(100, 4000), (110, 4005)])], known=[("leads", "1")])
    assert total(reader) == 5


def test_a_fall_is_a_restart_from_zero() -> None:
    """A counter that falls counts its new value; a series that appears with the restart counts from 0 too."""
    old = Series({**LEADS, "route": "/other"}, [(-600, 90), (-590, 91), (100, 2), (110, 3)])
    reader = read([other(), old, leads([(110, 6), (120, 8)])])
    assert total(reader, "/other") + reader.unassigned == 4
    assert total(reader) == 8


def test_after_an_outage_of_prometheus_nobody_is_new() -> None:
    """A process that appears when Prometheus is back goes on: what it counted meanwhile has no known time."""
    before = [other(-600, 200), leads([(-600, 10), (190, 10)])]
    fresh = Series({**LEADS, "instance": "2", "route": "/leads"}, [(505, 300), (515, 310)])
    after = [other(500, 900), leads([(501, 60), (511, 61)]), fresh]
    assert total(read(before, after)) == pytest.approx(51 + 10)


def test_a_gap_goes_on() -> None:
    """A series that reappears after a gap goes on from its last value, spread over the gap."""
    reader = read([other(), leads([(100, 10), (400, 40), (410, 41)])], known=[("leads", "1")])
    assert total(reader) == pytest.approx(31)
    assert reader.counts(("/leads",), 4, 22) == pytest.approx([1.5] * 18, rel=0.4)


def test_a_gap_across_the_change_belongs_to_neither_side() -> None:
    """What was counted in a gap around the change is not placed, and is known as such."""
    reader = read([leads([(-50, 10), (130, 500), (140, 503)])])
    assert reader.unassigned == 490
    assert total(reader) == pytest.approx(3)


def test_the_change_belongs_to_nobody() -> None:
    """What is counted while the migration runs is neither before nor after, nor missing."""
    reader = read([leads([(-10, 0), (0, 5), (10, 20), (50, 80), (60, 90), (75, 93)])])
    assert total(reader) == 5 + 3
    assert reader.unassigned == 0
    assert GRID.settled == 90


def test_a_gateway_move_goes_on() -> None:
    """A worker whose samples come by another gateway goes on, while the first still shows its old totals."""
    a = leads([(float(at), min(at, 200.0)) for at in range(100, 320, 10)], gateway="a")
    b = leads([(float(at), float(at)) for at in range(220, 500, 10)], gateway="b")
    reader = read([other(), a, b], known=[("leads", "1")])
    assert total(reader) == 490 - 100


def test_a_restart_during_a_gateway_move_is_no_loss_in_silence() -> None:
    """A process that restarts and moves at once is either counted, or what is not placed is known."""
    a = leads([(float(at), min(at, 200.0)) for at in range(100, 320, 10)], gateway="a")
    b = leads([(float(at), float(at - 215)) for at in range(220, 500, 10)], gateway="b")
    reader = read([other(), a, b], known=[("leads", "1")])
    assert total(reader) + reader.unassigned == pytest.approx(100 + 490 - 215, abs=1)


def test_replicas_count_once() -> None:
    """Two Prometheus replicas that scrape one process are one process."""
    replicas = [
        leads([(at + 3.0 * i, float(int(at / 15))) for at in range(100, 500, 10)], replica=str(i)) for i in range(2)
    ]
    assert total(read([other(), *replicas], known=[("leads", "1")])) == int(490 / 15) - int(100 / 15)


def test_samples_that_were_read_before_are_passed_over() -> None:
    """An answer that repeats samples adds nothing."""
    samples = [(float(at), float(at)) for at in range(100, 300, 10)]
    once = read([leads(samples)])
    twice = read([leads(samples[:12])], [leads(samples[8:])], [leads(samples)])
    assert once.cells[("/leads",)] == pytest.approx(twice.cells[("/leads",)])


def test_looks_wait_for_samples() -> None:
    """Blocks are complete when every process was sampled after them, however late it is."""
    processes = Processes(GRID)
    assert GRID.complete(processes.complete()) == 0
    processes.add_series([leads([(100, 1)]), other(0, 101)])
    assert GRID.complete(processes.complete()) == 2
    gone = Series({**LEADS, "instance": "gone", "route": "/leads"}, [(-100, 1)])
    processes.add_series([gone, leads([(104, 1)]), other(0, 120)])
    assert GRID.complete(processes.complete()) == 2
    processes.add_series([leads([(121, 1)]), other(0, 131)])
    assert GRID.complete(processes.complete()) == 4


CHOICES = st.tuples(
    st.floats(1, 25),  # seconds to the next sample
    st.integers(0, 20),  # events until then
    st.sampled_from(["", "", "", "lost", "gateway", "restart"]),
)


@settings(max_examples=60)
@given(st.lists(CHOICES, min_size=5, max_size=40), st.integers(0, 1000), st.floats(0, 1))
def test_every_event_is_counted_once(steps: list[tuple[float, int, str]], start: int, cut: float) -> None:
    """What is placed and what is known as not placed are what happened, whatever restarts, moves or gets lost.

    A process that restarts and moves before its next sample may hide what it counted, and never adds to it.
    """
    grid = Grid(-10_000.0, -9_000.0, 15.0)
    at, value, gateway, sampled = 0.0, float(start), 0, float(start)
    paths: dict[int, list[Sample]] = {0: [(0.0, value)]}
    happened = 0.0
    for seconds, events, what in steps:
        at, value = at + seconds, value + events
        if what == "restart":  # what it counted since the last sample goes with it
            value = float(events)
            happened += events if value < sampled else value - sampled
        elif what != "lost":
            happened += value - sampled
        gateway += what == "gateway"
        if what != "lost":
            sampled = value
            paths.setdefault(gateway, []).append((at, value))
    series = [leads(samples, gateway=str(name)) for name, samples in paths.items()]
    whole = read(series, grid=grid, known=[("leads", "1")])
    found = total(whole) + whole.unassigned
    if len(paths) == 1:
        assert found == pytest.approx(happened)
    else:
        assert found <= happened + 1e-6
        if all(what != "restart" for _, _, what in steps):
            assert found == pytest.approx(happened)
    parts = [
        [Series(each.labels, [one for one in each.samples if (one[0] <= cut * at) is early]) for each in series]
        for early in (True, False)
    ]
    again = read(*parts, grid=grid, known=[("leads", "1")])
    assert total(again) + again.unassigned == pytest.approx(found)


@given(st.floats(-500, 500), st.floats(0.01, 400), st.floats(0, 1e6))
def test_what_is_spread_is_all_there(since: float, length: float, count: float) -> None:
    """What is placed and what is not add up, but for what was counted during the change itself."""
    cells: dict[int, float] = {}
    until = since + length
    lost = GRID.spread(cells, since, until, count)
    during = max(0.0, min(until, GRID.end) - max(since, GRID.start)) / length * count
    if lost:
        assert (lost, cells) == (count, {})
    else:
        assert math.fsum(cells.values()) + during == pytest.approx(count, abs=1e-6)
        assert all(i * 15 - 1e-6 <= (until if i < 0 else until - 60) for i in cells)
