"""The table of docs/guard.md: how often the guard is right, beside three simpler rules.

    python -m tests.guard.simulation --results build/guard.jsonl
    python -m tests.guard.simulation --results build/guard.jsonl --write docs/guard.md

The first runs what is not in the file of results yet, 2,000 runs a row; the second writes the rows that are there.

The rule's parameters were chosen on other scenarios with other seeds. These ran once, after that.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path as File
from typing import Any

import numpy as np
from opentelemetry.instrumentation.schema._migrations.guard import rule

from tests.guard import scenarios, vectors
from tests.guard.scenarios import BLOCK, WATCH, Path, Row

SEED = 20261201
CHUNK = 250
OVERALL = rule.ALPHA * rule.SHARES["errors"] * (1 - rule.ENDPOINTS)
ENDPOINTS = 20
MARK = "<!-- table of the simulation -->"

_BURSTS = {"bursts": (5, 25, 0.22)}
_RARE = {"bursts": (0.4, 80, 0.55)}
_LENGTHS = {"bursts": (2.5, 35, 0.35), "tail": 2.3}
_HALF = {"history": 120}
ROWS = (
    Row("steady, 1 %", (0.02, 0.1, 0.5, 2, 20, 200), "quiet", {"p0": 0.01}),
    Row("steady, 7 %", (1, 20), "quiet", {"p0": 0.07}),
    Row("steady, 0.2 %", (1, 20), "quiet", {"p0": 0.002}),
    Row("no errors", (0.02, 1, 20), "quiet", {"p0": 0}),
    Row("steady, 1 %, 30 min of history", (1, 20), "quiet", {"p0": 0.01, **_HALF}),
    Row("traffic doubles", (1, 20), "weather", {"p0": 0.01, "traffic": 2}),
    Row("traffic falls to a quarter", (1, 20), "weather", {"p0": 0.01, "traffic": 0.25}),
    Row("bursts: 5 an hour, 25 s, 22 % fail", (1, 20), "weather", {"p0": 0.01, **_BURSTS}),
    Row("bursts: 1.5 an hour, 40 s, 35 % fail", (1, 20), "weather", {"p0": 0.01, "bursts": (1.5, 40, 0.35)}),
    Row("bursts: 2 in 5 hours, 80 s, 55 % fail", (1, 20), "weather", {"p0": 0.01, **_RARE}),
    Row("the same, no other errors", (1, 20), "weather", {"p0": 0, **_RARE}),
    Row("bursts of very different length", (1, 20), "weather", {"p0": 0.01, **_LENGTHS}),
    Row("bursts: 5 an hour, 30 min of history", (1, 20), "weather", {"p0": 0.01, **_BURSTS, **_HALF}),
    Row("day and night, ±55 %", (1, 20), "weather", {"p0": 0.01, "daily": 0.55}),
    Row("wander, sd 0.3, 25 min", (1, 20), "weather", {"p0": 0.01, "wander": (0.3, 1500)}),
    Row("wander, sd 0.45, 6 min", (1, 20), "weather", {"p0": 0.01, "wander": (0.45, 360)}),
    Row("wander, sd 0.65, 18 min", (1, 20), "weather", {"p0": 0.01, "wander": (0.65, 1080)}),
    Row("jumps to 1.6 times and back, 30 min", (1, 20), "weather", {"p0": 0.01, "steps": (1.6, 1800)}),
    Row("clients retry: failures in runs of 4", (1, 20), "weather", {"p0": 0.01, "cluster": 4}),
    Row("clients retry: failures in runs of 7", (1, 20), "weather", {"p0": 0.01, "cluster": 7}),
    Row("a deployment: 60 s of 50 %", (1, 20), "weather", {"p0": 0.01, "blip": (0, 4, 0.5)}),
    Row("a deployment, 30 s late: 60 s of 70 %", (1, 20), "weather", {"p0": 0.01, "blip": (2, 4, 0.7)}),
    Row("1 → 2 %", (1, 20), "real", {"p0": 0.01, "p1": 0.02}),
    Row("1 → 4 %", (0.2, 1, 20), "real", {"p0": 0.01, "p1": 0.04}),
    Row("1 → 4 %, bit by bit", (1, 20), "real", {"p0": 0.01, "p1": 0.04, "ramp": True}),
    Row("1 → 30 %", (0.02, 0.05, 0.2, 1, 20), "real", {"p0": 0.01, "p1": 0.3}),
    Row("0 → 3 %", (0.2, 1, 20), "real", {"p0": 0, "p1": 0.03}),
    Row("7 → 14 %", (1, 20), "real", {"p0": 0.07, "p1": 0.14}),
    Row("0.2 → 2.5 %", (1, 20), "real", {"p0": 0.002, "p1": 0.025}),
    Row("1 → 4 %, traffic doubles", (1, 20), "real", {"p0": 0.01, "p1": 0.04, "traffic": 2}),
    Row("1 → 4 %, 30 min of history", (1, 20), "real", {"p0": 0.01, "p1": 0.04, **_HALF}),
    Row("1 → 4 %, bursts 5 an hour", (1, 20), "real", {"p0": 0.01, "p1": 0.04, **_BURSTS}),
    Row("1 → 30 %, bursts 5 an hour", (0.2, 1, 20), "real", {"p0": 0.01, "p1": 0.3, **_BURSTS}),
    Row("1 → 2 %, wander, sd 0.2", (1, 20), "real", {"p0": 0.01, "p1": 0.02, "wander": (0.2, 900)}),
    Row("1 → 4 %, wander, sd 0.3", (1, 20), "real", {"p0": 0.01, "p1": 0.04, "wander": (0.3, 1500)}),
    Row("1 → 30 %, wander, sd 0.65", (0.2, 1, 20), "real", {"p0": 0.01, "p1": 0.3, "wander": (0.65, 1080)}),
    Row("1 → 4 %, failures in runs of 4", (1, 20), "real", {"p0": 0.01, "p1": 0.04, "cluster": 4}),
    *(
        row
        for name, path in (
            ("exports and scrapes ±2 s", Path(jitter=2)),
            ("one scrape in ten lost", Path(jitter=2, lost=0.1)),
            ("workers restart", Path(jitter=2, restart=True)),
            ("workers move to another gateway", Path(jitter=2, move=True)),
            ("Prometheus down for 90 s", Path(jitter=2, outage=90)),
        )
        for row in (
            Row(f"samples: {name}, 1 %", (1, 20), "quiet", {"path": path, "p0": 0.01}, True),
            Row(f"samples: {name}, 1 → 4 %", (1, 20), "real", {"path": path, "p0": 0.01, "p1": 0.04}, True),
        )
    ),
)
MANY = (
    Row(f"{ENDPOINTS} endpoints, steady", (1,), "quiet", {"p0": 0.01}),
    Row(f"{ENDPOINTS} endpoints, each with bursts", (1,), "weather", {"p0": 0.01, **_BURSTS}),
    Row(f"{ENDPOINTS} endpoints, one 1 → 30 %", (1,), "real", {"p0": 0.01, "one": 0.3}),
    Row(f"{ENDPOINTS} endpoints, each with 2 bursts in 5 hours", (1,), "weather", {"p0": 0.01, **_RARE}),
    Row(f"{ENDPOINTS} endpoints, each with bursts of very different length", (1,), "weather", {"p0": 0.01, **_LENGTHS}),
)
"""Rows of several endpoints that the guard judges together, and all their requests too."""


def simulated(row: Row, rate: float, runs: int, seed: int = SEED) -> dict[str, Any]:
    """How often each rule said what, for one row and rate."""
    index = [*ROWS, *MANY].index(row)
    counts: dict[str, Any] = {"runs": 0, "degraded": 0, "pass": 0, "z": 0, "ranks": 0, "plain": 0, "at": []}
    for start in range(0, runs, CHUNK):
        size = min(CHUNK, runs - start)
        g = np.random.default_rng([seed, index, round(rate * 1000), start])
        if row in MANY:
            _many(g, row, rate, size, counts)
            continue
        if row.reader:
            each = [scenarios.sampled(g, rate, **row.facts) for _ in range(size)]
            n, x = (np.concatenate(parts) for parts in zip(*each, strict=True))
        else:
            n, x = scenarios.data(g, size, rate, **row.facts)
        verdict, at = vectors.verdicts(n, x, WATCH, OVERALL)
        _add(counts, size, verdict == 1, verdict == 0, at, n, x)
    return counts


def _many(g: np.random.Generator, row: Row, rate: float, size: int, counts: dict[str, Any]) -> None:
    facts = {name: value for name, value in row.facts.items() if name != "one"}
    for _ in range(0, size, 25):
        some = min(25, size)
        n, x = scenarios.data(g, some * ENDPOINTS, rate, **facts)
        if "one" in row.facts:
            n[::ENDPOINTS], x[::ENDPOINTS] = scenarios.data(g, some, rate, p0=facts["p0"], p1=row.facts["one"])
        alpha = rule.ALPHA * rule.SHARES["errors"] * rule.ENDPOINTS / ENDPOINTS
        verdict, at = (a.reshape(some, ENDPOINTS) for a in vectors.verdicts(n, x, WATCH, alpha, together=ENDPOINTS))
        n, x = (a.reshape(some, ENDPOINTS, -1).sum(1) for a in (n, x))
        overall, first = vectors.verdicts(n, x, WATCH, OVERALL)
        degraded = (verdict == 1).any(1) | (overall == 1)
        when = np.where(verdict == 1, at, 999).min(1)
        _add(counts, some, degraded, (overall == 0) & ~degraded, np.minimum(when, np.where(first, first, 999)), n, x)


def _add(counts: dict[str, Any], size: int, degraded: Any, passed: Any, at: Any, n: Any, x: Any) -> None:
    counts["runs"] += size
    counts["degraded"] += int(degraded.sum())
    counts["pass"] += int(passed.sum())
    counts["at"] += (at[degraded] * BLOCK).tolist()
    counts["z"] += int(vectors.z_rule(n, x, WATCH).sum())
    counts["ranks"] += int(vectors.mann_whitney(n, x, WATCH).sum())
    counts["plain"] += int(vectors.plain_e_process(n, x, WATCH).sum())


def share(count: int, runs: int) -> str:
    """A share in percent with its 95 % interval (Wilson)."""
    z, p = 1.96, count / runs
    scale = 1 + z * z / runs
    spread = z * math.sqrt(p * (1 - p) / runs + z * z / 4 / runs / runs)
    low, high = max(0.0, p + z * z / 2 / runs - spread) / scale, min(scale, p + z * z / 2 / runs + spread) / scale
    return f"{100 * p:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def line(name: str, rate: float, counts: dict[str, Any]) -> str:
    """One row of the table."""
    runs, found = counts["runs"], sorted(counts["at"])
    often = len(found) > runs / 10
    when = f"{np.percentile(found, 50):.0f}, {np.percentile(found, 90):.0f}" if often else ""
    unsure = runs - counts["degraded"] - counts["pass"]
    others = " | ".join(share(counts[each], runs) for each in ("z", "ranks", "plain"))
    ours = f"{share(counts['degraded'], runs)} | {share(unsure, runs)} | {share(counts['pass'], runs)}"
    return f"| {name} | {rate:g} | {ours} | {when} | {others} |"


HEAD = (
    "| data | requests/s | degraded % | inconclusive % | pass % | found after s: median, p90 "
    "| z rule % | Mann-Whitney % | plain e-process % |\n" + "|---" * 9 + "|"
)


def main() -> None:
    """Run what is missing, or writes the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--results", type=File, required=True)
    options.add_argument("--runs", type=int, default=2000)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--write", type=File)
    options.add_argument("--only", default="", help="Rows whose name begins so: several processes can share a file.")
    given = options.parse_args()
    given.results.parent.mkdir(parents=True, exist_ok=True)
    done: dict[tuple[str, float, int, int], dict[str, Any]] = {}
    if given.results.exists():
        for text in given.results.read_text().splitlines():
            entry = json.loads(text)
            done[entry["name"], entry["rate"], entry["counts"]["runs"], entry["seed"]] = entry["counts"]
    table = [HEAD]
    for row in (*ROWS, *MANY):
        for rate in row.rates if row.name.startswith(given.only) else ():
            key = (row.name, rate, given.runs, given.seed)
            if key not in done and given.write:
                continue
            if key not in done:
                began = time.process_time()
                done[key] = simulated(row, rate, given.runs, given.seed)
                entry = {"name": row.name, "rate": rate, "seed": given.seed, "counts": done[key]}
                with given.results.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
                print(line(row.name, rate, done[key]), f"{time.process_time() - began:.1f} s", flush=True)
            table.append(line(row.name, rate, done[key]))
    if given.write:
        before, _, rest = given.write.read_text().partition(MARK)
        after = rest.partition(MARK)[2]
        given.write.write_text(f"{before}{MARK}\n" + "\n".join(table) + f"\n{MARK}{after}")


if __name__ == "__main__":
    main()
