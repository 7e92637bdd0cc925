"""A real Prometheus whose past was written by hours of an app that never ran."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.instrumentation.schema import semconv

from tests.pipeline.programs import Program, free_port, get

Labels = Mapping[str, str]


def binary(name: str, *others: str) -> str:
    """A program that must be there in CI, and is skipped elsewhere."""
    for each in (name, *others):
        if found := shutil.which(each):
            return found
    message = f"{name} is not installed"
    return pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@dataclass
class Past:
    """Counters of an app, sampled every so many seconds.

    Attributes:
        lines: Samples in OpenMetrics, by metric family.
    """

    step: float = 15.0
    lines: dict[str, list[str]] = field(default_factory=dict)

    def counter(self, name: str, labels: Labels, samples: Sequence[tuple[float, float]]) -> None:
        """Add one series."""
        family = name.removesuffix("_total")
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        into = self.lines.setdefault(family, [])
        into += [f"{name}{{{shown}}} {value:g} {at:.3f}" for at, value in samples]

    def histogram(self, name: str, labels: Labels, samples: Mapping[float, Sequence[tuple[float, float]]]) -> None:
        """Add the buckets of one histogram."""
        for bound, counts in samples.items():
            self.counter(f"{name}_bucket", {**labels, "le": "+Inf" if bound == float("inf") else f"{bound:g}"}, counts)

    def text(self) -> str:
        """All of it."""
        out: list[str] = []
        for family, lines in self.lines.items():
            out += [f"# TYPE {family} {'counter' if '_bucket' not in lines[0] else 'unknown'}", *lines]
        return "\n".join([*out, "# EOF", ""])


def app(
    past: Past,
    until: float,
    *,
    seconds: float,
    changed: float,
    rates: tuple[float, float],
    requests: float = 2,
    slow: tuple[float, float] = (0.0, 0.0),
    queries: tuple[float, float] | None = None,
    workers: int = 2,
    route: str = "/leads",
    job: str = "leads",
    seed: int = 1,
    more: Labels | None = None,
) -> None:
    """Write the counters of an app.

    Args:
        past: Where to.
        until: Unix time of the last sample.
        seconds: How long it had run by then.
        changed: When the rate changed, Unix time.
        rates: Of failed validations, before and after.
        requests: A second, of all workers.
        slow: Shares of validations of 30 ms, before and after; the others take 3 ms.
        queries: Shares of queries of 300 ms, likewise; None for no queries.
        workers: How many.
        route: Of the requests.
        job: Of the app.
        seed: Of what chance decides.
        more: Further labels.
    """
    g = np.random.default_rng(seed)
    step = past.step
    schema = {"schema_name": "LeadIn", "schema_module": "leads", "schema_library": "pydantic"}
    where = {"http_request_method": "POST", "http_route": route}
    for worker in range(workers):
        process = {"job": job, "instance": f"{job}-{worker}", **(more or {})}
        totals: dict[str, float] = dict.fromkeys(("requests", "errors", "slow", "queries", "slow queries"), 0.0)
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in totals}
        at = until - seconds + worker
        while at <= until:
            i = int(at > changed)
            n = int(g.poisson(requests * step / workers))
            bad, late, heavy = (int(g.binomial(n, share[i])) for share in (rates, slow, queries or (0, 0)))
            for name, count in (
                ("requests", n),
                ("errors", bad),
                ("slow", late),
                ("queries", n),
                ("slow queries", heavy),
            ):
                totals[name] += count
                rows[name].append((at, totals[name]))
            at += step
        past.counter("api_requests_total", {**process, **where}, rows["requests"])
        past.counter(
            "validation_errors_total", {**process, **schema, **where, "error_type": "ValidationError"}, rows["errors"]
        )
        times = {
            bound: [
                (at, 0.0 if bound < 0.003 else n - late if bound < 0.03 else n)
                for (at, n), (_, late) in zip(rows["requests"], rows["slow"], strict=True)
            ]
            for bound in (*semconv.VALIDATION_BUCKETS[5:12], float("inf"))
        }
        labels = {**process, **schema, **where, "schema_validation_outcome": "valid"}
        past.histogram("schema_validation_duration_seconds", labels, times)
        if queries is not None:
            times = {
                bound: [
                    (at, 0.0 if bound < 0.003 else n - late if bound < 0.3 else n)
                    for (at, n), (_, late) in zip(rows["queries"], rows["slow queries"], strict=True)
                ]
                for bound in (*semconv.QUERY_BUCKETS[2:11], float("inf"))
            }
            labels = {**process, **schema, "schema_query_relation": "after", "db_system_name": "postgresql"}
            past.histogram("schema_query_duration_seconds", labels, times)


class Store(Program):
    """A Prometheus that holds a past, and scrapes nothing."""

    def __init__(self, home: Path, past: Past, config: str = "", flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        home.mkdir(parents=True, exist_ok=True)
        (home / "past.om").write_text(past.text())
        data = home / "tsdb"
        if past.lines:
            subprocess.run(
                [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", home / "past.om", data],
                check=True,
                capture_output=True,
            )
        (home / "prometheus.yml").write_text(config or "global: {scrape_interval: 1s}\n")
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        command = [
            binary("prometheus"),
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={data}",
            listen,
        ]
        super().__init__("prometheus", [*command, "--storage.tsdb.retention.time=10y", *flags], home)

    def ready(self) -> bool:
        return "Ready" in get(f"{self.url}/-/ready")
