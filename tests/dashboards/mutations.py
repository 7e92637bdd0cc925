"""Changes the rules in every way that matters: for every change some case must fail.

It changes each threshold, `for` and guard, and drops each selector, own label and guard against strangers.

    python -m tests.dashboards.mutations

Exits with 1 and names the changes that no case notices.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds, values

from tests.dashboards.cases import CASES
from tests.dashboards.neighbours import (
    OWN,
    SELECTED,
    among_strangers,
    beside_a_healthy_one,
    merged,
    of_another,
    unguarded,
    unscoped,
)
from tests.dashboards.promtool import Promtool

NEIGHBOURS = {"slo_seconds": ("0.005", "0.025"), "schema_versions": ("0", "2")}
"""Where only some values mean anything: the bucket boundaries beside the default, whole numbers."""


def mutants() -> Iterator[tuple[str, str]]:
    """Name and changed value of every parameter that a rule's expression or `for` depends on."""
    for parameter in thresholds.PARAMETERS:
        if parameter.default[:1].isdigit() and users(parameter.name):
            for value in changed(parameter):
                yield parameter.name, value


def changed(parameter: thresholds.Parameter) -> tuple[str, ...]:
    name, default = parameter.name, parameter.default
    if name in NEIGHBOURS:
        return NEIGHBOURS[name]
    if parameter.kind in ("duration", "interval"):
        number, unit = int(default[:-1]), default[-1]
        if number == 0:
            return ("30s",)
        seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
        return f"{seconds * 2}s", f"{seconds // 2}s"
    number = float(default)
    if number == 0:
        return ("5",) if parameter.kind == "count" else ("0.5",)
    if parameter.kind == "ratio" and number > 0.5:  # what is missing to 1 is what matters
        return f"{1 - (1 - number) * 1.5:.6f}", f"{1 - (1 - number) / 1.5:.6f}"
    return f"{number * 1.5:.6f}", f"{number / 1.5:.6f}"


def users(name: str) -> set[str]:
    """The alerts whose rule names a parameter outside of its texts; through a recording rule: all of that file."""
    found: set[str] = set()
    for file in rendering.RULES:
        text = (rendering.templates() / file).read_text()
        rules = text.split("      - ")[1:]
        names = [rule.split("\n", 1)[0].partition(": ") for rule in rules]
        alerts = {name for kind, _, name in names if kind == "alert"}
        for (kind, _, title), rule in zip(names, rules, strict=True):
            judged = rule.split("        annotations:")[0]
            if f"@{{{name}}}" in judged:
                found |= {title} if kind == "alert" else alerts
    return found


def noticed(name: str, value: str) -> bool:
    affected = users(name)
    with tempfile.TemporaryDirectory() as home:
        promtool = Promtool(Path(home), thresholds.DEFAULTS | {name: value})
        return any(promtool.failure(case) for case in CASES if case.name in affected)


PROMISED = "all:validation_errors:ratio_rate1m"


class Dropped(NamedTuple):
    """Something left out of one rule of a scope's rendering.

    Attributes:
        what: `selector`, `own label` or `guard`.
        rule: the alert or the recorded series.
        file: of the rule.
        text: the file's, without it.
        expr: the rule's expression, without it.
    """

    what: str
    rule: str
    file: str
    text: str
    expr: str

    def __str__(self) -> str:
        return f"{self.rule} without a {self.what}: {' '.join(self.expr.split())[:160]}"


SCOPES = {
    "selector": (SELECTED, r', environment="a"|\{environment="a"\}', of_another),
    "own label": (OWN, r", environment(?=[,)])|(?<=by \()environment(?=\))", beside_a_healthy_one),
    "guard": ({}, r'\{(?:schema_name|schema_cache_name|http_request_method|schema_endpoint)!=""\}', among_strangers),
}
"""What is dropped → the parameters, how it looks in a rule, and the case that must notice."""


def dropped() -> Iterator[Dropped]:
    """Every selector, own label and guard, each left out alone."""
    for what, (given, pattern, _) in SCOPES.items():
        for file, text in rendering.rules(values.check_values(given)):
            for rule in re.finditer(
                r"      - (?:alert|record): (\S+)\n        expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", text
            ):
                if rule[1] == PROMISED:  # the alert's expression once more, which test_scope compares
                    continue
                part = 2 if rule[2] else 3
                for found in re.finditer(pattern, rule[part]):
                    at = rule.start(part) + found.start()
                    expr = rule[part][: found.start()] + rule[part][found.end() :]
                    yield Dropped(what, rule[1], file, text[:at] + text[at + len(found[0]) :], expr)


def noticed_in_scope(change: Dropped) -> str:
    """What fails without what was dropped: `a case` of an alert that the rule feeds, else `the syntax`."""
    given, _, beside = SCOPES[change.what]
    checks = {
        "selector": lambda: unscoped(change.expr, {"environment"}),
        "own label": lambda: merged(change.expr, {"environment"}),
        "guard": lambda: unguarded(change.expr),
    }
    with tempfile.TemporaryDirectory() as home:
        promtool = Promtool(Path(home), values.check_values(given), changed={change.file: change.text})
        fed = {change.rule} | feeds(change.text, change.rule)
        cases = [case for case in CASES if case.name in fed and case.fires is not None]
        if any(promtool.failure(beside(case)) for case in cases):
            return "a case"
    return "the syntax" if list(checks[change.what]()) else ""


def feeds(text: str, record: str) -> set[str]:
    """The alerts of a file that read what a rule records, also through another one."""
    readers: set[str] = set()
    for part in text.split("      - ")[1:]:
        kind, _, name = part.split("\n", 1)[0].partition(": ")
        if (
            kind in ("alert", "record")
            and name != record
            and record in part.partition("expr:")[2].split("annotations:")[0]
        ):
            readers |= {name} if kind == "alert" else feeds(text, name)
    return readers


def main() -> int:
    changes = list(mutants())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(lambda change: noticed(*change), changes))
        losses = list(dropped())
        notices = list(pool.map(noticed_in_scope, losses))
    unnoticed = [loss for loss, notice in zip(losses, notices, strict=True) if not notice]
    survivors = [change for change, seen in zip(changes, verdicts, strict=True) if not seen]
    for name, value in survivors:
        print(f"no case notices {name}={value} (default {thresholds.DEFAULTS[name]})", file=sys.stderr)
    for loss in unnoticed:
        print(f"no case notices {loss}", file=sys.stderr)
    print(f"{len(changes) - len(survivors)} of {len(changes)} changes noticed")
    print(
        f"{len(losses) - len(unnoticed)} of {len(losses)} selectors, own labels and guards missed when dropped, "
        f"{notices.count('a case')} of them by a case"
    )
    return 1 if survivors or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
