"""What `make bench` leaves: results.json, the tables of docs/performance.md between their markers, and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import chart, scaling

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
NOT_OVER_PLAIN = {"plain", "SDK record alone"}


def write(results: Mapping[str, Any]) -> None:
    """Put the results into the page, and draw its pictures."""
    page = PAGE.read_text()
    page = _between(page, "machine", _machine(results["machine"]))
    for section in dict.fromkeys(row["section"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["section"] == section]
        measured = [times(rows), goals(rows)] if any(row["goals"] for row in rows) else [times(rows)]
        page = _between(page, section, "\n\n".join(measured))
    page = _between(page, "scaling", table(["", "µs a validation: plain + ours"], scaling.rows(results["scaling"])))
    PAGE.write_text(page)
    (DOCS / "images/performance-scaling.svg").write_text(scaling.picture(results["scaling"]))
    (DOCS / "images/performance.svg").write_text(_bars(results["rows"][0]))


def _bars(row: Mapping[str, Any]) -> str:
    """What the cases of one row cost more than plain."""
    cases = row["cases"]
    unit = "instructions" if all("instructions" in case for case in cases.values()) else "us"
    over = {label: case[unit] - cases["plain"][unit] for label, case in cases.items() if label not in NOT_OVER_PLAIN}
    title = f"What one {row['name'].split(',')[0]} costs more than plain (logarithmic)"
    shown = "µs" if unit == "us" else unit
    return chart.bars(title, dict(sorted(over.items(), key=lambda each: each[1])), "ours", shown)


def times(rows: Sequence[Mapping[str, Any]]) -> str:
    """µs a call, by row and case."""
    labels = list(dict.fromkeys(label for row in rows for label in row["cases"]))
    return table(
        ["µs of CPU a call", *labels],
        (
            [
                row["name"],
                *(chart.number_of(case["us"]) if (case := row["cases"].get(label)) else "" for label in labels),
            ]
            for row in rows
        ),
    )


def goals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Goals, what was measured, and whether that reaches them."""
    return table(
        ["what we add", "goal", "by time", "by instructions", ""],
        (
            [
                f"{row['name']}: {goal['text']}",
                "≤ " + figure(goal["at_most"], goal["unit"]),
                figure(goal["by_time"], goal["unit"]),
                "" if goal["by_instructions"] is None else figure(goal["by_instructions"], goal["unit"]),
                "reached" if goal["reached"] else "**missed**",
            ]
            for row in rows
            for goal in row["goals"]
        ),
    )


def figure(value: float, unit: str) -> str:
    """A goal's limit or measured value, as a reader expects it."""
    if unit == "part":
        return f"1/{round(1 / value, 1):g}" if 0 < value < 0.5 else f"{value:.2f}"
    if unit == "%":
        return f"{value:.1%}"
    return f"{chart.number_of(value)} {unit}"


def _machine(machine: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


def write_section(marker: str, text: str) -> None:
    """Put a text into the page, at its marker."""
    PAGE.write_text(_between(PAGE.read_text(), marker, text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _between(page: str, marker: str, text: str) -> str:
    """The page with `text` between `<!-- bench: marker -->` and `<!-- end -->`.

    Raises:
        LookupError: If the page has no such marker.
    """
    pattern = re.compile(rf"(<!-- bench: {re.escape(marker)} -->\n).*?(<!-- end -->)", re.DOTALL)
    page, found = pattern.subn(lambda match: match[1] + text + "\n" + match[2], page)
    if not found:
        raise LookupError(f"{PAGE.name} has no marker for {marker!r}")
    return page
