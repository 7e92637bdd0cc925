"""One stack with its clients: what is waited for, what is asked, what happened."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from subprocess import CompletedProcess

from clients import Clients
from opentelemetry.instrumentation.schema._prometheus.http import SourceError
from timeline import Timeline

from console import console
from stack import EXPORT, Stack, wait

ERRORS = "sum(rate(validation_errors_total[{m}])) / sum(rate(api_requests_total[{m}]))"
P95 = (
    "max(histogram_quantile(0.95, sum by (schema_name, le) "
    '(rate(schema_validation_duration_seconds_bucket{{schema_name=~"LeadIn.*"}}[{m}]))))'
)
HITS = "sum(rate(cache_hits_total[{m}])) / (sum(rate(cache_hits_total[{m}])) + sum(rate(cache_misses_total[{m}])))"
REVISION = 'count by (schema_db_revision) (schema_db_info{schema_db_state!="unknown"} == 1)'
FIRING = 'count by (alertname) (ALERTS{alertstate="firing",alertname!~"Watchdog|Schema.*|ValidationBudgetBurn"})'
PENDING = 'count by (alertname) (ALERTS{alertstate="pending"})'
OFFICES = 'sum(rate(cache_misses_total{{schema_cache_name="offices"}}[{m}]))'
SERIES = "schema_validation_duration_seconds_bucket"
WATCH = 600.0
"""Seconds that the guard watches, at the promised times."""


class MissingStage(Exception):
    """A stage that did not happen."""


@dataclass
class Story:
    """One stack with its clients, and what happened in it."""

    stack: Stack
    clients: Clients
    timeline: Timeline
    stages: list[tuple[float, str, str]] = field(default_factory=list)

    def stage(
        self, name: str, happened: Callable[[], object], promised: float, detail: Callable[[], str] = str
    ) -> None:
        """Waits for a stage.

        Args:
            name: What must happen.
            happened: Whether it has.
            promised: Within how many s at the promised times; a busy machine gets more.
            detail: What to say of it afterwards.

        Raises:
            MissingStage: if it does not happen.
        """
        patience = self.stack.scale.seconds(promised) * 2 + 45
        if not wait(happened, patience):
            raise MissingStage(f"{name}: not within {patience:.0f} s")
        self.stages.append((self.timeline.now(), name, detail()))
        console.print(f"  [green]✓[/] {self.timeline.now():6.0f} s  {name}  [dim]{detail()}[/]", highlight=False)

    def value(self, expression: str) -> float | None:
        """What Prometheus says now; None where nothing, or where it does not answer."""
        try:
            rows = self.stack.prometheus.query(expression.format(m=self.stack.scale.duration(60)))
        except SourceError:
            return None
        return rows[0][1] if rows and not math.isnan(rows[0][1]) else None

    def names(self, expression: str, label: str) -> set[str]:
        """The values of a label."""
        try:
            return {labels.get(label, "") for labels, _ in self.stack.prometheus.query(expression)}
        except SourceError:
            return set()

    def look(self) -> None:
        """Adds to the timeline what is so now."""
        self.timeline.figure("error rate", _times(self.value(ERRORS), 100))
        self.timeline.figure("p95", _times(self.value(P95), 1000))
        self.timeline.figure("cache hit rate", _times(self.value(HITS), 100))
        found = sorted(self.names(REVISION, "schema_db_revision"))
        self.timeline.revision(found[-1] if len(found) == 1 else "")
        self.timeline.firing(self.names(FIRING, "alertname"))

    def upgrade(self, target: str, *more: str) -> Command:
        """Migrates under guard, in the background."""
        scale = self.stack.scale
        self.timeline.happened(f"otel-schema upgrade {target} --guard{''.join(f' {each}' for each in more)}")
        return Command(
            self.stack, "upgrade", target, "--json", "--guard", scale.duration(WATCH),
            "--export-interval", scale.duration(EXPORT), "--prometheus", self.stack.url("prometheus"),
            "--alertmanager", self.stack.url("alertmanager"), *more,
        )  # fmt: skip


class Command:
    """A command that runs beside the story."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.done: CompletedProcess[str] | None = None
        self._thread = threading.Thread(target=self._run, args=(stack, arguments), daemon=True)
        self._thread.start()

    def _run(self, stack: Stack, arguments: tuple[str, ...]) -> None:
        self.done = stack.otel_schema(*arguments)

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return not self._thread.is_alive()

    def verdict(self) -> str:
        """The guard's; "" where there is none."""
        guard = json.loads(self.done.stdout).get("guard") if self.done and self.done.stdout else None
        return str((guard or {}).get("verdict", ""))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
