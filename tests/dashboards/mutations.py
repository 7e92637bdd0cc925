"""Changes each threshold, `for` and guard of the rules: for every change some case must fail.

    python tests/dashboards/mutations.py

Exits with 1 and names the changes that no case notices.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from cases import CASES
from promtool import Promtool

NEIGHBOURS = {"slo_seconds": ("0.005", "0.025")}
"""Where only some values mean anything: the bucket boundaries beside the default."""


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
    if parameter.kind == "duration":
        number, unit = int(default[:-1]), default[-1]
        if number == 0:
            return ("30s",)
        seconds = number * {"s": 1, "m": 60, "h": 3600}[unit]
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


def main() -> int:
    changes = list(mutants())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(lambda change: noticed(*change), changes))
    survivors = [change for change, seen in zip(changes, verdicts, strict=True) if not seen]
    for name, value in survivors:
        print(f"no case notices {name}={value} (default {thresholds.DEFAULTS[name]})", file=sys.stderr)
    print(f"{len(changes) - len(survivors)} of {len(changes)} changes noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
