"""A report as tables to read in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from .._prometheus.report import SLOW, Report
from .output import text

Cell = str | Text

UNKNOWN: Final = "\N{EN DASH}"
"""Shown for a figure that nobody measured."""

_NOT_OURS: Final = "(not ours)"
"""Shown after the name in a row that another program counted under one of our metric names."""


def tables(report: Report, limit: int = 20) -> Iterator[Table]:
    """The tables that have rows, each with at most `limit` of them and a line that says how many are left out.

    A row that never counted is not shown: each schema of a route has one from the start.
    """
    order = _validations, _endpoints, _problems, _caches, _queries, _compiled_caches, _health, _left_out
    for table in order:
        yield from table(report, limit)


def _validations(report: Report, limit: int) -> Iterator[Table]:
    validated = [row for row in report.validations if row.counted]
    libraries = {row.library for row in validated}
    several = len(libraries) > 1  # a single library goes into the title, which leaves more room for names of schemas
    return _table(
        "Validations by schema" if several else f"Validations by schema, {' '.join(libraries)}",
        ["Schema", *(["Library"] if several else [])],
        ["Count", *_per_second(report), "Failed", "p50", "p95", "p99", _slower()],
        [
            [
                *(row.schema, *([row.library] if several else [])),
                *(number(row.count), *_rate(row.count, report), number(row.failed)),
                *(seconds(row.p50), _marked(row.p95), seconds(row.p99), share(row.slow_share)),
            ]
            for row in validated
        ],
        limit,
    )


def _endpoints(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "Validation errors by endpoint",
        ["Endpoint"],
        ["Requests", *_per_second(report), "Errors", "Errors/requests", "Error types"],
        [
            [
                *(_owned(row.endpoint, row.ours), number(row.requests), *_rate(row.requests, report)),
                *(number(row.errors), share(row.error_rate)),
                ", ".join(f"{name} {number(count)}" for name, count in row.error_types.items()),
            ]
            for row in report.endpoints
            if row.counted
        ],
        limit,
    )


def _problems(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "Problems by field and rule",
        ["Schema", "Field", "Rule"],
        ["Count"],
        [[row.schema, row.path or "(whole)", row.rule, number(row.count)] for row in report.problems],
        limit,
    )


def _caches(report: Report, limit: int) -> Iterator[Table]:
    looked_up = [row for row in report.caches if row.counted]
    caches = [*looked_up, report.cache_total] if looked_up else []
    return _table(
        "Caches",
        ["Cache", "Schema"],
        ["Hits", "Misses", "Hit rate"],
        [
            [_owned(row.cache, row.ours), row.schema, number(row.hits), number(row.misses), share(row.hit_rate)]
            for row in caches
        ],
        limit,
        total=True,
    )


def _queries(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "Database queries by schema",
        ["Schema", "Validation", "Operation", "Database"],
        ["Count", *_per_second(report), "p50", "p95", _slower()],
        [
            [
                *(row.schema, row.relation, row.operation, row.system, number(row.count), *_rate(row.count, report)),
                *(seconds(row.p50), _marked(row.p95), share(row.slow_share)),
            ]
            for row in report.queries
            if row.counted
        ],
        limit,
    )


def _compiled_caches(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "SQLAlchemy's compiled cache",
        ["Database"],
        ["Hits", "Misses", "Hit rate"],
        [
            [row.cache, number(row.hits), number(row.misses), share(row.hit_rate)]
            for row in report.compiled_caches
            if row.counted
        ],
        limit,
    )


def _health(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "The telemetry itself",
        ["What", "Where"],
        ["Count"],
        [[row.what, row.where, number(row.count)] for row in report.health],
        limit,
    )


def _left_out(report: Report, limit: int) -> Iterator[Table]:
    return _table(
        "Left out: schemas of third-party distributions (OTEL_PYTHON_SCHEMA_INCLUDE adds them)",
        ["Distribution"],
        ["Schemas"],
        [[row.distribution, number(row.schemas)] for row in report.left_out],
        limit,
    )


def _per_second(report: Report) -> list[str]:
    return ["Per s"] if report.seconds else []


def _rate(count: float, report: Report) -> list[Cell]:
    # totals of several processes have no single duration to divide by
    return [f"{count / report.seconds:,.1f}"] if report.seconds else []


def _slower() -> str:
    return f"> {seconds(SLOW)}"


def number(value: float) -> str:
    """A count. `increase()` extrapolates, so it may not be whole."""
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.1f}"


def seconds(value: float) -> str:
    """A duration in the unit that a person would choose; a dash for NaN."""
    if math.isnan(value):
        return UNKNOWN
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        # a value that would round up to 1000 belongs to the next unit
        if value * factor < 999.5:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s"


def share(value: float) -> str:
    """A percentage. Never rounds a small one to 0 or a large one to 100. A dash for NaN."""
    if math.isnan(value):
        return UNKNOWN
    if 0 < value < 0.0001:
        return "<0.01 %"
    if 0.9999 < value < 1:
        return ">99.99 %"
    return f"{value * 100:.2f} %"


def _owned(name: str, ours: bool) -> Cell:
    return name if ours else text(f"{name} {_NOT_OURS}", "dim")


def _marked(value: float) -> Text:
    return Text(seconds(value), style="bold red" if value > SLOW else "bold")


def _table(
    title: str,
    left: Sequence[str],
    right: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    limit: int,
    total: bool = False,
) -> Iterator[Table]:
    shown = list(rows)
    if not shown:
        return
    last = [shown.pop()] if total else []
    table = Table(
        title=title, title_justify="left", title_style="bold cyan", border_style="dim", caption_justify="left"
    )
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=name != "Error types", overflow="fold")
    for row in shown[:limit]:
        table.add_row(*map(_plain, row))
    if len(shown) > limit:
        table.caption = f"and {len(shown) - limit} more (--limit)"
    for row in last:
        table.add_section()
        table.add_row(*map(_plain, row), style="bold")
    yield table


def _plain(cell: Cell) -> Text:
    return text(cell) if isinstance(cell, str) else cell
