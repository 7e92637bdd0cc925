"""Services to simulate: their traffic, their weather, and what a change does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from opentelemetry.instrumentation.schema._migrations.guard.samples import BlockCounter, Grid, Processes, Series

Array = npt.NDArray[np.float64]
Expectation = Literal["quiet", "weather", "real", ""]

BLOCK, WATCH, HISTORY = 15, 40, 1440


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        name: As in the table.
        rates: Requests a second, one run of the table each.
        kind: `quiet` may alarm in 0.5 %, `weather` in 2 %, `real` is a change for the worse.
        facts: Arguments of `data` or of `sampled`.
        reader: Whether raw samples are made, and read by the guard's own reader.
    """

    name: str
    rates: tuple[float, ...]
    kind: Expectation
    facts: dict[str, Any]
    reader: bool = False


def rates(
    g: np.random.Generator,
    runs: int,
    p0: float,
    p1: float | None = None,
    *,
    bursts: tuple[float, float, float] | None = None,
    tail: float = 0,
    wander: tuple[float, float] | None = None,
    steps: tuple[float, float] | None = None,
    daily: float = 0,
    ramp: bool = False,
    blip: tuple[int, int, float] | None = None,
    history: int = HISTORY,
) -> Array:
    """The chance of a bad event in each block of each run.

    Args:
        g: Where chance comes from.
        runs: How many.
        p0: Before the change.
        p1: After it.
        bursts: How many an hour, of how many seconds in the mean, what share then fails.
        tail: Shape of a Pareto distribution of their lengths instead of an exponential one.
        wander: Standard deviation of the rate's logarithm, and how many seconds it remembers.
        steps: The rate jumps up by this factor and back; how many seconds it stays.
        daily: By what part of itself the rate moves in a day.
        ramp: The change comes bit by bit over the watch.
        blip: The block after the change, how many blocks, what share then fails.
        history: Blocks before the change.
    """
    total, now = history + WATCH, history
    t, phase = np.arange(total) * BLOCK, g.random((runs, 1)) * 2 * np.pi
    p = p0 * (1 + daily * np.sin(2 * np.pi * t / 86400 + phase + 1)) * np.ones((runs, total))
    if wander:
        a, y = np.exp(-BLOCK / wander[1]), g.normal(size=runs)
        for i in range(total):
            y = a * y + np.sqrt(1 - a * a) * g.normal(size=runs)
            p[:, i] *= np.exp(wander[0] * y - wander[0] ** 2 / 2)
    if steps:
        up = g.random(runs) < 0.5
        for i in range(total):
            up ^= g.random(runs) < BLOCK / steps[1]
            p[:, i] *= np.where(up, steps[0], 1)
    if p1 is not None:
        factor = np.linspace(1, p1 / p0, WATCH) if ramp else p1 / p0 if p0 else 0
        p[:, now:] = p[:, now:] * factor if p0 else p1
    if bursts:
        left = np.zeros(runs)
        for i in range(total):
            long = g.exponential(bursts[1], runs) if not tail else g.pareto(tail, runs) * bursts[1] * (tail - 1)
            left = np.where(g.random(runs) < bursts[0] * BLOCK / 3600, long, left)
            p[:, i], left = np.maximum(p[:, i], bursts[2] * np.clip(left / BLOCK, 0, 1)), np.maximum(left - BLOCK, 0)
    if blip:
        first, length, share = blip
        p[:, now + first : now + first + length] = np.maximum(p[:, now + first : now + first + length], share)
    return np.clip(p, 0, 1)


def data(
    g: np.random.Generator,
    runs: int,
    rate: float,
    *,
    cluster: float = 1,
    traffic: float = 1,
    daily: float = 0,
    history: int = HISTORY,
    **facts: Any,
) -> tuple[Array, Array]:
    """Requests and bad ones in each block: history, then watch.

    Args:
        g: Where chance comes from.
        runs: How many.
        rate: Requests a second.
        cluster: Failures come in runs of so many, from clients that try again.
        traffic: What the change multiplies the requests by.
        daily: By what part of itself traffic and rate move in a day.
        history: Blocks before the change.
        facts: See `rates`.
    """
    t = np.arange(history + WATCH) * BLOCK
    day = 1 + daily * np.sin(2 * np.pi * t / 86400 + g.random((runs, 1)) * 2 * np.pi)
    n = g.poisson(rate * BLOCK * day * np.where(t >= history * BLOCK, traffic, 1))
    p = rates(g, runs, daily=daily, history=history, **facts)
    if cluster == 1:
        return n.astype(float), g.binomial(n, p).astype(float)
    starts = g.poisson(n * p / cluster)
    more = g.negative_binomial(np.maximum(starts, 1), 1 / cluster) * (starts > 0)
    return n.astype(float), (starts + more).astype(float)


@dataclass
class Path:
    """How counts reach Prometheus.

    Attributes:
        jitter: Seconds by which exports and scrapes come early or late, at most.
        lost: Share of the scrapes that fail.
        restart: Whether the change replaces the workers, one after the other, and others end now and then.
        move: Whether workers move to another gateway during the watch; the first shows their old totals for 2 min.
        outage: Seconds during which Prometheus is down, from 200 s after the change.
    """

    jitter: float = 0
    lost: float = 0
    restart: bool = False
    move: bool = False
    outage: float = 0
    workers: int = 2
    scrape: float = 10
    export: float = 15
    labels: dict[str, str] = field(default_factory=lambda: {"job": "leads"})


def sampled(
    g: np.random.Generator, rate: float, path: Path, *, history: int = 720, **facts: Any
) -> tuple[Array, Array]:
    """As `data` for one run, but through samples of counters, and the guard's reader."""
    p = rates(g, 1, history=history, **facts)[0]
    change, end = 0.0, float(WATCH * BLOCK)
    start = -history * BLOCK + 0.0
    scrapes = np.arange(start + g.random() * path.scrape, end + 30, path.scrape)
    scrapes = np.sort(scrapes + g.uniform(-path.jitter, path.jitter, len(scrapes)))
    if path.outage:
        scrapes = scrapes[(scrapes < change + 200) | (scrapes >= change + 200 + path.outage)]
    requests, errors = [], []
    for worker, (since, until) in enumerate(_lives(g, path, start, end)):
        first = since + g.random() * path.export if since > start else start - g.random() * path.export
        exports = np.arange(first + path.export, min(until, end + 30), path.export)
        exports = np.sort(exports + g.uniform(-path.jitter, path.jitter, len(exports)))
        if until < end:
            exports = np.append(exports, until)  # the last export of a process that ends
        if not len(exports):
            continue
        spans = np.diff(np.concatenate([[max(since, first)], exports]))
        n = g.poisson(rate / path.workers * np.maximum(spans, 0))
        at = np.clip(((exports - spans / 2 - start) / BLOCK).astype(int), 0, len(p) - 1)
        x = g.binomial(n, p[at])
        total_n, total_x = n.cumsum() + 100 * (since <= start), x.cumsum() + 3 * (since <= start)
        taken = scrapes[(scrapes > exports[0]) & (scrapes < until + 120)]
        taken = taken[g.random(len(taken)) >= path.lost]
        seen = np.searchsorted(exports, taken) - 1
        moved = change + g.uniform(60, 400) if path.move and until >= end else np.inf
        instance = {"job": "leads", "instance": f"worker-{worker}"}
        for gateway, rows in (
            ("a", taken < min(moved, until) + 120),
            ("b", (taken >= moved + path.export) & (taken < until)),
        ):
            shown = seen[rows] if gateway == "b" else np.minimum(seen[rows], np.searchsorted(exports, moved) - 1)
            times, labels = taken[rows].tolist(), {**instance, "gateway": gateway}
            for into, totals in ((requests, total_n), (errors, total_x)):
                into.append(Series(labels, list(zip(times, totals[shown].tolist(), strict=True))))
    return _read(requests, errors, history, change)


def _lives(g: np.random.Generator, path: Path, start: float, end: float) -> list[tuple[float, float]]:
    """When each worker starts and ends."""
    if not path.restart:
        return [(start, np.inf)] * path.workers
    lives = []
    for i in range(path.workers):
        earlier = g.uniform(start, -600)
        replaced = 10.0 * i + g.uniform(0, 10)
        later = g.uniform(200, end)
        lives += [(start, earlier), (earlier, replaced), (replaced, later), (later, np.inf)]
    return lives


def _read(requests: list[Series], errors: list[Series], history: int, change: float) -> tuple[Array, Array]:
    grid = Grid(change, change, BLOCK)
    processes = Processes(grid)
    n, x = BlockCounter(grid, processes, (), ()), BlockCounter(grid, processes, (), ())
    processes.add_series(requests)
    n.add(requests)
    x.add(errors)
    return np.array([n.counts((), -history, WATCH)]), np.array([x.counts((), -history, WATCH)])
