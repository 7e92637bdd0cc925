"""One stack with its clients: what is waited for, what is asked, what happened."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from subprocess import CompletedProcess
from typing import Any, NamedTuple

from opentelemetry.instrumentation.schema._prometheus.http import SourceError

from console import console
from scenario.clients import Clients
from scenario.stack import EXPORT, Stack, wait
from scenario.timeline import Timeline

ERRORS = "sum(rate(validation_errors_total[{m}])) / sum(rate(api_requests_total[{m}]))"
P95 = "max(schema:schema_validation_duration_seconds:p95_rate5m)"
HITS = (
    'min(1 - sum by (schema_cache_name) (rate(cache_misses_total{{schema_cache_name!=""}}[{m}])) / ('
    "sum by (schema_cache_name) (rate(cache_hits_total[{m}])) "
    "+ sum by (schema_cache_name) (rate(cache_misses_total[{m}]))))"
)
"""Of the cache that hits least, as LowCacheHitRate looks at each: one that always misses hardly shows in the sum."""

REVISION = 'count by (schema_db_revision) (schema_db_info{schema_db_state!="unknown"} == 1)'
FIRING = 'ALERTS{alertstate="firing",severity!~"none|info"}'
PENDING = 'ALERTS{alertstate="pending"}'
ALARMS = (
    "HighValidationErrorRate",
    "HighValidationTime",
    "HighEndpointErrorRate",
    "LowCacheHitRate",
    "SlowLinkedQueries",
)
"""What an incident sets off. Others tell of what this app does all day: a schema does not fit its table, say."""

WATCH = 600.0
"""Seconds that the guard watches, at the promised times."""


class MissingStage(Exception):
    """A stage that did not happen."""


class Stage(NamedTuple):
    """A stage that happened.

    Attributes:
        at: s since the beginning.
        what: It was.
        detail: Its figures.
    """

    at: float
    what: str
    detail: str


@dataclass
class Story:
    """One stack with its clients, and what happened in it.

    Attributes:
        name: Of what is played.
        stages: That happened.
        tables: Of the report: by title, rows of which the first is the header.
    """

    name: str
    stack: Stack
    clients: Clients
    timeline: Timeline
    stages: list[Stage] = field(default_factory=list)
    tables: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print a line: several stories may run at the same time."""
        console.print(f"[dim]{self.name:>4} {self.timeline.now():6.0f} s[/]  {text}", highlight=False, soft_wrap=True)

    def stage(
        self,
        name: str,
        happened: Callable[[], object],
        promised: float = 1,
        detail: Callable[[], object] = str,
        hopeless: Callable[[], object] = bool,
    ) -> None:
        """Wait for a stage.

        Args:
            name: What must happen.
            happened: Whether it has.
            promised: Within how many s at the promised times; a busy machine gets more.
            detail: What to say of it afterwards.
            hopeless: Whether it cannot happen any more.

        Raises:
            MissingStage: if it does not happen.
        """
        patience = self.stack.scale.seconds(promised) * 2 + 45
        if not wait(lambda: happened() or hopeless(), patience):
            raise MissingStage(": ".join(filter(None, [name, f"not within {patience:.0f} s", str(detail())])))
        if not happened():
            raise MissingStage(f"{name}: {detail() or 'it cannot happen any more'}")
        self.stages.append(Stage(self.timeline.now(), name, str(detail())))
        self.say(f"[green]✓[/] {name}  [dim]{detail()}[/]")

    def sleep(self, promised: float) -> None:
        """Let time pass."""
        time.sleep(self.stack.scale.seconds(promised))

    def value(self, expression: str) -> float | None:
        """What Prometheus says now; None where nothing, or where it does not answer."""
        try:
            rows = self.stack.prometheus.query(expression.format(m=self.stack.scale.duration(60)))
        except SourceError:
            return None
        return rows[0][1] if rows and not math.isnan(rows[0][1]) else None

    def rows(self, expression: str) -> list[Mapping[str, str]]:
        """The labels of what Prometheus finds; none where it does not answer."""
        try:
            return [labels for labels, _ in self.stack.prometheus.query(expression)]
        except SourceError:
            return []

    def firing(self) -> list[str]:
        """The alerts that fire now, each with the schema or cache that it names."""
        named = ("schema_name", "schema_cache_name", "schema_query_relation")
        return sorted(
            " ".join([each["alertname"], *(each[name] for name in named if each.get(name))])
            for each in self.rows(FIRING)
        )

    def alarms(self) -> list[str]:
        """Those that fire of an incident."""
        return [each for each in self.firing() if each.startswith(ALARMS)]

    def pending(self, name: str) -> bool:
        """Whether an alert is pending now."""
        return any(each["alertname"] == name for each in self.rows(PENDING))

    def look(self) -> None:
        """Add to the timeline what is so now."""
        self.timeline.figure("error rate", _times(self.value(ERRORS), 100))
        self.timeline.figure("p95", _times(self.value(P95), 1000))
        self.timeline.figure("cache hit rate", _times(self.value(HITS), 100))
        found = sorted({each.get("schema_db_revision", "") for each in self.rows(REVISION)})
        self.timeline.revision(found[-1] if len(found) == 1 else "")
        self.timeline.firing(each["alertname"] for each in self.rows(FIRING))

    def excess(self) -> str:
        """What is above or below its limit now; empty where nothing is."""
        errors, p95, hits = (self.value(each) for each in (ERRORS, P95, HITS))
        if errors is None or p95 is None or hits is None:
            return "no figures"
        found = {
            f"error rate {errors:.1%}": errors > 0.01,
            f"p95 {p95 * 1000:.0f} ms": p95 > self.stack.limit,
            f"cache hit rate {hits:.0%}": hits < 0.85,
        }
        return ", ".join(name for name, wrong in found.items() if wrong)

    def upgrade(self, target: str, *more: str) -> Command:
        """Migrate under guard, in the background."""
        scale, stack = self.stack.scale, self.stack
        self.timeline.happened(f"otel-schema upgrade {target} --guard {' '.join(more)}")
        watch = [
            "--guard", scale.duration(WATCH), "--export-interval", scale.duration(EXPORT),
            "--prometheus", stack.url("prometheus"), "--alertmanager", stack.url("alertmanager"), *more,
        ]  # fmt: skip
        return Command(stack, "upgrade", target, "--json", *([] if stack.broken == "guard" else watch))

    def history(self) -> list[dict[str, Any]]:
        """The lines of the history file."""
        file = self.stack.project / ".otel-schema" / "history.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def phases(self) -> list[str]:
        """The phases that the history has, in its order."""
        return [line["phase"] for line in self.history() if line["event"] == "phase"]

    def migrated(self) -> int:
        """How many runs have ended."""
        return sum(line["event"] == "finished" for line in self.history())


class Command:
    """A command that runs beside the story."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.done: CompletedProcess[str] | None = None
        self._thread = threading.Thread(target=self._run, args=(stack, arguments), daemon=True)
        self._thread.start()

    def _run(self, stack: Stack, arguments: tuple[str, ...]) -> None:
        self.done = stack.otel_schema(*arguments, check=False)

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return not self._thread.is_alive()

    def guard(self) -> dict[str, Any]:
        """What it says of the guard; empty until it has ended, and where it had none."""
        if self.done is None:
            return {}
        try:
            return json.loads(self.done.stdout).get("guard") or {}
        except ValueError:
            return {}

    def verdict(self) -> str:
        """The guard's, with its reason; "" where there is none."""
        found = self.guard()
        return ": ".join(filter(None, (str(found.get("verdict", "")), str(found.get("why") or ""))))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
