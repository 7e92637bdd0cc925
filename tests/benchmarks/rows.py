"""The table's rows: what is compared, what of it is a figure, and which goal the figure has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.benchmarks.rounds import Case, Comparison, Times

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
        unit: Of the cases: µs of CPU a call, where the scenario gives no figure of its own.
    """

    section: str
    comparison: Comparison
    goals: tuple[Goal, ...]
    counted: int = 0
    checked: bool = False
    unit: str = "µs"


def added(label: str, over: str = "plain") -> Figure:
    """What a case costs more than another."""
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


_MANY = 4_096  # eight folds, of which the first costs more than the others

_CHECKED = {"models.leaf_call", "models.leaf_adapter", "models.code_validate", "models.code_call_in_request"}

RECORD: Case = "SDK instrument", "models.record"
RECORDS = {"SDK record alone": RECORD}


def _same(scenario: str, *variants: str) -> dict[str, Case]:
    return {variant: (variant, scenario) for variant in variants}


def _pydantic(title: str, scenario: str, record: float, floor: float) -> Row:
    """A valid small validation. What a quick check asks is one of each kind."""
    timers = _same(scenario, "plain", "floor", "ours", "prometheus_client", "SDK instrument", "logfire metrics")
    goals = (
        Goal("of one SDK record", ratio(added("ours"), alone("SDK record alone")), record),
        Goal("of logfire metrics", ratio(added("ours"), added("logfire metrics")), record),
        Goal("of the floor", ratio(added("ours"), added("floor")), floor, "times"),
    )
    return Row("valid", Comparison(title, timers | RECORDS), goals, _MANY, scenario in _CHECKED)


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
        counted=512,
    ),
    Row(
        "failing",
        Comparison(
            "a failing validation with 3 problems, in a request that is not sampled",
            {
                "plain": ("plain", "models.failing"),
                "ours": ("ours, unsampled", "models.failing"),
                "logfire failure": ("logfire failure, unsampled", "models.failing"),
                "logfire all": ("logfire all, unsampled", "models.failing"),
                **RECORDS,
            },
        ),
        (Goal("of logfire failure", ratio(added("ours"), added("logfire failure")), 1 / 40),),
        counted=512,
        checked=True,
    ),
)


def _document(library: str, scenario: str) -> tuple[Row, Row]:
    """A small document, and one of 500 items."""
    small, items = f"documents.{scenario}_small", f"documents.{scenario}_items"
    floor = {"nothing": ("plain", "documents.nothing"), "floor around nothing": ("floor", "documents.nothing")}
    times_floor = Goal("of the floor", ratio(added("ours"), added("floor around nothing", "nothing")), 3, "times")
    part = Goal("of plain", share("ours"), 0.02, "%")
    return (
        Row(
            "documents",
            Comparison(f"{library}, a small document", _same(small, "plain", "ours") | floor | RECORDS),
            (times_floor,),
            counted=_MANY,
            checked=True,
        ),
        Row(
            "documents",
            Comparison(f"{library}, 500 items", _same(items, "plain", "ours")),
            (part,),
            counted=4,
        ),
    )


def _query(title: str, scenario: str, sampling: str = "", *, checked: bool = False) -> Row:
    cases = {
        "plain": ("plain", scenario),
        "ours": (f"ours{sampling}", scenario),
        "contrib": (f"contrib{sampling}", scenario),
    }
    limits = (
        Goal("of plain", share("ours"), 0.05, "%"),
        Goal("of contrib", ratio(added("ours"), added("contrib")), 1 / 5),
    )
    return Row("database", Comparison(title, cases | RECORDS), limits, counted=512, checked=checked)


DATABASE = (
    _query("ORM get, linked to no schema", "database.get", checked=True),
    _query("ORM get, linked, in a request that is not sampled", "database.get_in_request", ", unsampled"),
    _query("ORM get, linked, in a sampled request: a span of ours", "database.get_in_request"),
)

WEB = (
    Row(
        "web",
        Comparison("a request: body, one query, response model", _same("web.request", "plain", "ours") | RECORDS),
        (Goal("of plain", share("ours"), 0.02, "%"),),
        counted=512,
    ),
    Row(
        "served",
        Comparison(
            "the same request with a server span and a duration, exported by OTLP",
            {
                "plain": ("plain", "web.served"),
                "SDK and exporter, neither ours nor contrib": ("SDK and exporter", "web.served"),
                "SDK and exporter, and ours": ("SDK and exporter, ours", "web.served"),
                "SDK and exporter, and ours without spans": ("SDK and exporter, ours without spans", "web.served"),
            },
        ),
        (),
    ),
)

STARTUP = (
    Row(
        "startup",
        Comparison("import of 200 models", _same("startup.models:200", "plain", "ours")),
        (Goal("of plain", share("ours"), 0.02, "%"),),
        counted=2,
    ),
    Row(
        "startup",
        Comparison("memory of a model", _same("startup.memory:500", "plain", "ours")),
        (Goal("a model", added("ours"), 1_500, "bytes"),),
        unit="bytes",
    ),
    Row(
        "startup",
        Comparison("validators that reuse a nested model's, of 200", _same("startup.reused:200", "plain", "ours")),
        (Goal("lost", lambda times: times["plain"] - times["ours"], 0, "validators"),),
        unit="validators",
    ),
)

_CELLS = "ours, 9,000 attribute sets"


def _collection(title: str, scenario: str, at_most: float) -> Row:
    cases = {"ours": (_CELLS, scenario), "record and add": ("SDK instrument", scenario)}
    goal = Goal("of the SDK's records", ratio(alone("ours"), alone("record and add")), at_most, "times")
    return Row("collection", Comparison(title, cases), (goal,))


COLLECTION = (
    Row(
        "collection",
        Comparison("2,000 schemas, idle", {"ours": (_CELLS, "collection.idle:2000")}),
        (Goal("in all", alone("ours"), 1_000, "µs"),),
    ),
    _collection("2,000 schemas with a value each", "collection.one_each:2000", 1.5),
    _collection("2,000 schemas with ten values each", "collection.ten_each:2000", 0.25),
    Row(
        "collection",
        Comparison("validations that wait for a collection", {"ours": ("ours", "collection.waiting")}),
        (Goal("of 2,000", alone("ours"), 0, "%"),),
        unit="%",
    ),
)

UNCOUNTED = {"logfire all"}
"""Labels of cases that no goal asks for: their instructions are not counted."""

ROWS: tuple[Row, ...] = (
    *VALID,
    *FAILING,
    *_document("jsonschema", "jsonschema"),
    *_document("marshmallow", "marshmallow"),
    *DATABASE,
    *WEB,
    *STARTUP,
    *COLLECTION,
)
