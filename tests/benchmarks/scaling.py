"""How the cost grows: one series a scenario, plain and ours, over numbers that go up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.benchmarks import chart
from tests.benchmarks.rounds import Comparison, Workers, measure, typical

ROUNDS = 3


class Series(NamedTuple):
    """One small plot.

    Attributes:
        scenario: In `scenarios.scaling`.
        what: What grows.
        numbers: To measure at.
        grows: Whether the validation itself grows with it; otherwise it is one small validation each time.
    """

    scenario: str
    what: str
    numbers: tuple[int, ...]
    grows: bool = False


SERIES = (
    Series("schemas", "schemas", (1, 10, 100, 1_000, 5_000)),
    Series("routes", "routes", (1, 5, 50, 500)),
    Series("threads", "threads", (1, 2, 4, 8, 16, 32)),
    Series("problems", "problems a failure", (1, 10, 100, 1_000, 2_000), grows=True),
    Series("payload", "bytes of payload", (1_000, 10_000, 100_000, 1_000_000, 10_000_000), grows=True),
)


def run(progress: Callable[[str], object]) -> list[dict[str, Any]]:
    """Measure all series: µs a validation by number, plain and ours."""
    found: list[dict[str, Any]] = []
    for series in SERIES:
        progress(f"scaling: {series.what}")
        points = []
        with Workers() as workers:
            for number in series.numbers:
                scenario = f"scaling.{series.scenario}:{number}"
                cases = {variant: (variant, scenario) for variant in ("plain", "ours")}
                rounds = measure(workers, Comparison(scenario, cases), ROUNDS)
                values = {label: typical(rounds, lambda times, label=label: times[label]) for label in cases}
                points.append({"number": number, **{label: round(value, 3) for label, value in values.items()}})
        found.append({"what": series.what, "grows": series.grows, "points": points})
    return found


def picture(found: list[dict[str, Any]]) -> str:
    """The small plots."""
    return chart.plots([
        chart.Plot(
            f"µs a validation, by {series['what']}",
            series["what"],
            {label: [(point["number"], point[label]) for point in series["points"]] for label in ("ours", "plain")},
        )
        for series in found
    ])  # fmt: skip


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """A line a series: what ours adds to plain, at each number."""
    return [
        [
            series["what"],
            "; ".join(
                f"{point['number']:,}: {chart.number_of(point['plain'])} + "
                f"{chart.number_of(max(0, point['ours'] - point['plain']))}"
                for point in series["points"]
            ),
        ]
        for series in found
    ]
