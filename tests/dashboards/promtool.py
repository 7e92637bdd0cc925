"""Alerts judged by promtool: input series are functions of time, and what must fire when is a case."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

Value = Callable[[int], float | None]
"""A sample's value at a time in seconds; None where nothing is scraped."""


@dataclass(frozen=True)
class Case:
    """A history and what one alert makes of it.

    Attributes:
        alert: name of the alert, and where needed further matchers: `ValidationBudgetBurn{long="1h"}`.
        claim: what the case shows.
        series: selector → value.
        fires: the second of the first evaluation at which it fires; None if it never does.
        resolved: a second at which it has stopped firing.
        until: last second of the history.
        every: seconds between evaluations.
        scrape: seconds between samples.
        exact: whether `fires` is the very first evaluation; otherwise it fires by then.
        quiet: matchers of alerts that never fire meanwhile.
    """

    alert: str
    claim: str
    series: Mapping[str, Value]
    fires: int | None = None
    resolved: int | None = None
    until: int = 1500
    every: int = 10
    scrape: int = 10
    exact: bool = True
    quiet: str = ""

    @property
    def name(self) -> str:
        return re.split(r"\W", self.alert)[0]

    def document(self, rule_files: Sequence[str]) -> dict[str, object]:
        """The case as a promtool test file."""
        ends = max(self.until, self.fires or 0, self.resolved or 0)
        firing = f"ALERTS{{{self._matchers()}}}"
        ever = f"count(count_over_time({firing}[30d])) or vector(0)"
        checks: list[tuple[int, str, float]] = []
        if self.fires is None:
            checks.append((ends, ever, 0))
        else:
            checks.append((self.fires, f"clamp_max(count({firing}), 1) or vector(0)", 1))
            if self.exact:
                checks.append((self.fires - self.every, ever, 0))
        if self.quiet:
            others = f'ALERTS{{alertstate="firing",{self.quiet}}}'
            checks.append((ends, f"count(count_over_time({others}[30d])) or vector(0)", 0))
        if self.resolved is not None:
            checks.append((self.resolved, f"count({firing}) or vector(0)", 0))
        return {
            "rule_files": list(rule_files),
            "evaluation_interval": f"{self.every}s",
            "tests": [
                {
                    "name": f"{self.alert}: {self.claim}",
                    "interval": f"{self.scrape}s",
                    "input_series": [
                        {"series": selector, "values": _samples(value, ends, self.scrape)}
                        for selector, value in self.series.items()
                    ],
                    "promql_expr_test": [
                        {"expr": expr, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": value}]}
                        for at, expr, value in checks
                    ],
                }
            ],
        }

    def _matchers(self) -> str:
        _, _, further = self.alert.partition("{")
        return f'alertname="{self.name}",alertstate="firing"' + (f",{further.rstrip('}')}" if further else "")


def _samples(value: Value, until: int, scrape: int) -> str:
    samples = (value(at) for at in range(0, until + scrape, scrape))
    return " ".join("_" if sample is None else f"{sample:.10g}" for sample in samples)


@dataclass
class Promtool:
    """Runs cases against the rules as rendered with some values."""

    home: Path
    values: Mapping[str, str] = field(default_factory=lambda: thresholds.DEFAULTS)
    changed: Mapping[str, str] = field(default_factory=dict)  # rule file → its text, where it is not as rendered

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.files = {name: self.home / name for name in rendering.RULES}
        for name, text in rendering.rules(self.values):
            self.files[name].write_text(self.changed.get(name, text))

    def failure(self, case: Case) -> str:
        """What promtool says of a case, empty if it holds."""
        rule_files = [str(path) for path in self.files.values() if f"alert: {case.name}\n" in path.read_text()]
        return self.verdict(case.document(rule_files))

    def verdict(self, document: Mapping[str, object]) -> str:
        """What promtool says of a test file, empty if it passes."""
        test = self.home / "case.json"  # JSON is YAML
        test.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        done = subprocess.run(["promtool", "test", "rules", str(test)], capture_output=True, text=True, timeout=100)
        return "" if done.returncode == 0 else done.stdout + done.stderr
