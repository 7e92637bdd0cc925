"""The table's rows: what is compared, what of it is a figure, and which goal the figure has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rounds import Case, Comparison, Times

Figure = Callable[[Times], float]


class Goal(NamedTuple):
    """One figure with a limit.

    Attributes:
        text: What is compared with what.
        figure: From µs (or instructions) by label.
        at_most: The limit.
        unit: `part` (1/20 of …), `%`, `times`, or a unit of its own.
    """

    text: str
    figure: Figure
    at_most: float
    unit: str = "part"


class Row(NamedTuple):
    """A comparison with goals.

    Attributes:
        section: Of docs/performance.md.
        comparison: What is measured.
        goals: What it should come to.
        counted: Calls to count instructions of, where time is too noisy to decide; 0 elsewhere.
        checked: Whether `make bench-check` measures it.
    """

    section: str
    comparison: Comparison
    goals: tuple[Goal, ...]
    counted: int = 0
    checked: bool = False


def added(label: str, over: str = "plain") -> Figure:
    """What a case costs more than plain."""
    return lambda times: times[label] - times[over]


def ratio(one: Figure, other: Figure) -> Figure:
    """One figure in units of another."""
    return lambda times: one(times) / other(times)


def alone(label: str) -> Figure:
    """What a case costs by itself."""
    return lambda times: times[label]


def share(label: str) -> Figure:
    """What a case adds to plain, as a part of plain."""
    return ratio(added(label), alone("plain"))


RECORD: Case = "SDK instrument", "models.record"
RECORDS = {"SDK record alone": RECORD}


def _same(scenario: str, *variants: str) -> dict[str, Case]:
    return {variant: (variant, scenario) for variant in variants}


def _pydantic(title: str, scenario: str, record: float, floor: float) -> Row:
    """A valid small validation."""
    timers = _same(scenario, "plain", "floor", "ours", "prometheus_client", "SDK instrument", "logfire metrics")
    goals = (
        Goal("of one SDK record", ratio(added("ours"), alone("SDK record alone")), record),
        Goal("of logfire metrics", ratio(added("ours"), added("logfire metrics")), record),
        Goal("of the floor", ratio(added("ours"), added("floor")), floor, "times"),
    )
    return Row("valid", Comparison(title, timers | RECORDS), goals, 1_024, checked=True)


def _leaf(title: str, scenario: str) -> Row:
    return _pydantic(f"{title}, the schema runs no code", f"models.leaf_{scenario}", 1 / 20, 1.2)


def _code(title: str, scenario: str) -> Row:
    return _pydantic(f"{title}, a field validator", f"models.code_{scenario}", 1 / 14, 1.8)


VALID = (
    _leaf("Lead(**data)", "call"),
    _leaf("Lead.model_validate", "validate"),
    _leaf("Lead.model_validate_json", "json"),
    _leaf("TypeAdapter(Lead)", "adapter"),
    _leaf("Lead(**data) in a request", "call_in_request"),
    _leaf("TypeAdapter(Lead) in a request", "adapter_in_request"),
    _code("Lead(**data)", "call"),
    _code("Lead.model_validate", "validate"),
    _code("Lead.model_validate_json", "json"),
    _code("TypeAdapter(Lead)", "adapter"),
    _code("Lead(**data) in a request", "call_in_request"),
)
"""Valid small validations by Pydantic."""

FAILING = (
    Row(
        "failing",
        Comparison(
            "a failing validation with 3 problems, in a sampled request, a span each",
            {
                "plain": ("plain", "models.failing"),
                "ours": ("ours, a span each", "models.failing"),
                "logfire failure": ("logfire failure", "models.failing"),
                "logfire all": ("logfire all", "models.failing"),
            },
        ),
        (Goal("of logfire failure", ratio(added("ours"), added("logfire failure")), 1 / 5),),
        counted=64,
    ),
    Row(
        "failing",
        Comparison(
            "the same in a request that is not sampled",
            {
                "plain": ("plain", "models.failing"),
                "ours": ("ours, unsampled", "models.failing"),
                "logfire failure": ("logfire failure, unsampled", "models.failing"),
                "logfire all": ("logfire all, unsampled", "models.failing"),
                **RECORDS,
            },
        ),
        (Goal("of logfire failure", ratio(added("ours"), added("logfire failure")), 1 / 40),),
        counted=64,
        checked=True,
    ),
)

ROWS: tuple[Row, ...] = (*VALID, *FAILING)
