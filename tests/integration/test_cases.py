"""Every way to validate with every library: how many validations, of what, with which outcome, problems and cache.

Each library's table has one row per way; docs/semantics.md says why a way counts as it does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import endpoint

from tests.integration import cases_jsonschema, cases_marshmallow, cases_pydantic, cases_pydantic_types
from tests.integration.validation_cases import Calls, Table, Way, local
from tests.telemetry import Telemetry

TABLES = {
    "models": cases_pydantic.TABLE,
    "types": cases_pydantic_types.TABLE,
    "jsonschema": cases_jsonschema.TABLE,
    "marshmallow": cases_marshmallow.TABLE,
}
KEPT = {
    "schema.validation.duration": ("schema.name", "schema.validation.outcome"),
    "schema.validation.problems": ("schema.problem.path", "schema.problem.rule"),
    "validation.errors": ("schema.endpoint", "schema.name"),
    "cache.hits": ("schema.cache.name", "schema.library"),
    "cache.misses": ("schema.cache.name", "schema.library"),
}

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def built(table: Table) -> Iterator[tuple[Way, Calls]]:
    """Every row with its calls made anew; without those whose library is not there."""
    for way in table.rows:
        try:
            yield way, way.make()
        except pytest.skip.Exception:
            continue


def totals(telemetry: Telemetry) -> Counter[tuple[str, ...]]:
    """(instrument, attributes …) → what it has counted so far."""
    counts: Counter[tuple[str, ...]] = Counter()
    for name, keys in KEPT.items():
        for values, number in telemetry.by(name, *keys).items():
            counts[(name, *map(local, values))] += int(number)
    return counts


def expected(way: Way, library: str) -> dict[tuple[str, ...], int]:
    """What two good calls and a bad one are to count."""
    counts: Counter[tuple[str, ...]] = Counter()
    for name, number in way.good.items():
        counts["schema.validation.duration", name, "valid"] += 2 * number
    for (name, outcome), number in way.bad.items():
        counts["schema.validation.duration", name, outcome] += number
        if outcome != "valid":
            counts["validation.errors", "job", name] += number
    for (path, rule), number in way.problems.items():
        counts["schema.validation.problems", path, rule] += number
    counts["cache.hits", "validator", library] = way.hits
    counts["cache.misses", "validator", library] = way.misses
    return dict(+counts)


def outcome(call: Callable[[], Any]) -> type[BaseException] | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("made", ["before", "after"])
@every_table
def test_a_way_to_validate_counts_what_its_row_says(table: Table, made: str, watch: Callable[..., Telemetry]) -> None:
    """Two good calls and a bad one leave what their row says and nothing else; `instrument()` comes before or after."""
    rows = built(table) if made == "after" else [row for row in built(table) if row[0].before]
    telemetry = watch()
    before: Counter[tuple[str, ...]] = Counter()
    different = {}
    for way, calls in rows:
        with endpoint("job"):
            raised = [outcome(call) for call in (calls.good, calls.good, calls.bad)]
        counted = totals(telemetry)
        found = raised, dict(counted - before)
        wanted = [None, None, way.raises], expected(way, table.library)
        if found != wanted:
            different[way.name] = {"found": found, "wanted": wanted}
        before = counted
    assert not different


def seen(call: Callable[[], Any]) -> tuple[str, ...]:
    """What a caller can tell from a call, but for addresses."""
    try:
        shown = repr(call()), "", ""
    except Exception as error:
        shown = repr(error), str(error), repr(error.__cause__)
    return tuple(re.sub("0x[0-9a-f]+", "", text) for text in shown)


@every_table
def test_the_caller_of_a_way_sees_no_difference(table: Table, watch: Callable[..., Telemetry]) -> None:
    """Results and exceptions, with their texts and causes, are those without us."""
    plain = {way.name: [seen(call) for call in calls] for way, calls in built(table)}
    watch()
    assert {way.name: [seen(call) for call in calls] for way, calls in built(table)} == plain
