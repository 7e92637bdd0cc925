"""What `make scenario` runs: the story that this project was made for, with real programs and nobody at the keyboard.

    python examples/scenario/scenario.py [--fast] [--acts 1,1b,2,3] [--out DIRECTORY]

1. An update adds a required field. It is migrated and served under guard; errors, time and the cache show it; the guard
   says degraded; alerts fire and the team hears of them; an exemplar leads to the trace; a person rolls back; everything
   resolves. 1b. The same with --auto-rollback: rolled back before anybody is paged. 2. A harmless migration passes.
3. So does one during whose watch a deployment refuses requests for a minute.

Writes a timeline (SVG), a report and all logs. Exits with 1, naming the stage, if a stage does not happen.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

from opentelemetry.instrumentation.schema._prometheus.http import SourceError

from clients import Clients
from console import console
from processes import ProgramError, tail
from scale import Scale
from stack import EXPORT, SCRAPE, Stack, wait
from stores import exemplars
from timeline import Timeline, Watcher, draw

ERRORS = "sum(rate(validation_errors_total[{m}])) / sum(rate(api_requests_total[{m}]))"
P95 = (
    "max(histogram_quantile(0.95, sum by (schema_name, le) "
    '(rate(schema_validation_duration_seconds_bucket{{schema_name=~"LeadIn.*"}}[{m}]))))'
)
HITS = "sum(rate(cache_hits_total[{m}])) / (sum(rate(cache_hits_total[{m}])) + sum(rate(cache_misses_total[{m}])))"
REVISION = 'count by (schema_db_revision) (schema_db_info{schema_db_state!="unknown"} == 1)'
FIRING = 'count by (alertname) (ALERTS{alertstate="firing",alertname!~"Watchdog|Schema.*|ValidationBudgetBurn"})'
PENDING = 'count by (alertname) (ALERTS{alertstate="pending"})'
SERIES = "schema_validation_duration_seconds_bucket"
STEADY, WATCH, BLIP = 900.0, 600.0, 60.0


class MissingStage(Exception):
    """A stage that did not happen."""


@dataclass
class Story:
    """One stack with its clients, and what happened in it."""

    stack: Stack
    clients: Clients
    timeline: Timeline
    stages: list[tuple[float, str, str]] = field(default_factory=list)

    def stage(self, name: str, happened: Callable[[], object], promised: float, detail: Callable[[], str] = str) -> None:
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


def steady(story: Story) -> None:
    """A quiet stretch in which nothing fires."""
    seconds = story.stack.scale.seconds(STEADY)
    end = time.monotonic() + seconds
    console.print(f"  steady traffic for {seconds:.0f} s", highlight=False)
    while time.monotonic() < end:
        if story.timeline.alerts:
            raise MissingStage(f"steady traffic: {story.timeline.alerts[0].name} fired")
        time.sleep(0.5)
    story.stage("1 steady traffic, no alert", lambda: not story.timeline.alerts, 1)


def harmless(story: Story) -> None:
    """Act 2: an index is added, and the guard lets it pass."""
    command = story.upgrade("0002a")
    story.stage("act 2: the guard has judged the harmless migration", lambda: command.ended, WATCH + 120)
    story.stage("act 2: pass", lambda: command.verdict() == "pass", 1, command.verdict)
    story.timeline.happened("guard: pass")


def blip(story: Story) -> None:
    """Act 3: a deployment refuses requests for a minute, and the guard does not take it for the migration's fault."""
    story.stack.otel_schema("rollback", "0002")
    command = story.upgrade("0002a")
    time.sleep(story.stack.scale.seconds(120))
    story.timeline.happened("a deployment: every worker ends", "fault")
    end = time.monotonic() + story.stack.scale.seconds(BLIP)
    while time.monotonic() < end:
        story.stack.end_a_worker(signal.SIGTERM)
        time.sleep(story.stack.scale.seconds(BLIP) / 4)
    story.stage("act 3: the guard has judged", lambda: command.ended, WATCH + 120)
    story.stage("act 3: pass", lambda: command.verdict() == "pass", 1, command.verdict)


def incident(story: Story) -> None:
    """Act 1: degraded, alerts, exemplar, a person rolls back, resolved."""
    webhook, line = story.stack.webhook, story.timeline
    since, command = line.now(), story.upgrade("0002b")
    story.stage("2 the update is served", lambda: story.clients.refused.total() > 0, 120)
    story.stage("3 validation errors spike", lambda: (story.value(ERRORS) or 0) > 0.01, 120)
    story.stage("3 validation time rises", lambda: (story.value(P95) or 0) > 0.01, 120)
    story.stage("3 the new cache misses", lambda: (story.value('sum(rate(cache_misses_total{{schema_cache_name="offices"}}[{m}]))') or 0) > 0, 120)
    story.stage("4 the guard says degraded", lambda: "degraded" in webhook.phases(), WATCH)
    for at in [each.at for each in webhook.heard if each.receiver == "progress"][:1]:
        line.happened("the team hears: degraded", "notification", at)
    for name in ("HighValidationErrorRate", "HighValidationTime"):
        story.stage(f"4 {name} fires", lambda name=name: line.fired(name, since), 600)
        story.stage(f"4 the team hears of {name}", lambda name=name: webhook.told(name, "firing"), 120)
        line.happened(f"the team hears: {name}", "notification", webhook.told(name, "firing")[0].at)
    story.stage("5 an exemplar leads to the slow, failed validation and its query", lambda: _trace(story), 120)
    story.stage("4 the guard has ended", lambda: command.ended and command.verdict() == "degraded", WATCH)
    line.happened("a person: otel-schema rollback 0002a")
    done = story.stack.otel_schema("rollback", "0002a", "--json")
    story.stage("6 rolled back", lambda: done.returncode == 0, 1)
    back = int(time.time()) + 2
    story.stage("6 the app serves the old schema again", lambda: _served_again(story, back), 60)
    _resolved(story)


def rolled_back(story: Story) -> None:
    """Act 1b: the guard rolls back before anybody is paged."""
    webhook, line = story.stack.webhook, story.timeline
    command = story.upgrade("0002b", "--auto-rollback")
    story.stage("1b the update is served", lambda: story.clients.refused.total() > 0, 120)
    story.stage("1b HighValidationErrorRate is pending", lambda: "HighValidationErrorRate" in story.names(PENDING, "alertname"), 300)
    phases = ["degraded", "rolling_back", "rolled_back", "recovered"]
    story.stage("1b degraded, rolled back, recovered, in this order", lambda: webhook.phases() == phases, 2 * WATCH)
    for each in webhook.heard:
        if each.receiver == "progress" and each.status == "firing":
            line.happened(f"the team hears: {each.labels['phase'].replace('_', ' ')}", "notification", each.at)
    story.stage("1b the command has ended", lambda: command.ended, 300)
    story.stage("1b nobody was paged", lambda: not line.fired("HighValidationErrorRate"), 1)
    told = json.loads(command.done.stdout)["guard"]["told"] if command.done else []
    story.stage("1b the webhook heard what the history says", lambda: [phase for _, phase, _ in told] == webhook.phases(), 1)


def _served_again(story: Story, since: int) -> bool:
    """Whether a while has passed since then in which no lead was refused for its region."""
    quiet = story.stack.scale.seconds(20) + 1
    latest = max((at for at in story.clients.refused), default=0)
    return time.time() > max(since, latest) + quiet


def _resolved(story: Story) -> None:
    for name in ("HighValidationErrorRate", "HighValidationTime"):
        story.stage(f"7 {name} resolves", lambda name=name: not story.timeline.fires(name), 600)
        story.stage(f"7 the team hears that {name} is resolved", lambda name=name: story.stack.webhook.told(name, "resolved"), 900)
        story.timeline.happened(f"the team hears: {name} resolved", "notification", story.stack.webhook.told(name, "resolved")[0].at)


def _trace(story: Story) -> bool:
    """Whether an exemplar of the panel's series leads to a trace as promised: field, rule, and the query below."""
    for exemplar in exemplars(story.stack.url("prometheus"), f'{SERIES}{{schema_name="LeadInRegion"}}'):
        spans = story.stack.sink.trace(exemplar.trace_id)
        for span in spans:
            if span.span_id == exemplar.span_id and span.attributes.get("schema.problem.path"):
                if any(below.parent_span_id == span.span_id and "SELECT" in below.name for below in spans):
                    return True
    return False


def counts(story: Story) -> list[tuple[str, float, float]]:
    """Requests and failed validations: what the clients counted, and what Prometheus has of every series there was."""
    story.clients.stop()
    truth = story.clients.truth
    rows: list[tuple[str, float, float]] = []
    expected = {
        "requests": (truth.requests.total(), "sum(max_over_time(api_requests_total[1h]))"),
        "failed validations": (truth.failures.total(), "sum(max_over_time(validation_errors_total[1h]))"),
    }

    def arrived() -> bool:
        return all(abs((story.value(query) or 0) - count) <= story.clients.unknown for count, query in expected.values())

    complete = wait(arrived, story.stack.scale.seconds(60) + 60)
    for name, (count, query) in expected.items():
        rows.append((name, count, story.value(query) or 0))
    story.stages.append((story.timeline.now(), "counts equal the clients'", f"{rows}, {story.clients.unknown} unknown"))
    if not complete or story.clients.problems:
        raise MissingStage(f"counts: {rows}, {story.clients.unknown} unknown, {story.clients.problems[:3]}")
    console.print(f"  [green]✓[/] counts equal the clients': {rows}", highlight=False)
    return rows


def faults(story: Story) -> None:
    """The collector restarts once, and one worker is ended in order: nothing may be lost by it."""
    story.timeline.happened("the collector restarts", "fault")
    story.stack.stop_collector()
    story.stack.start_collector()
    story.timeline.happened("SIGTERM to a worker", "fault")
    story.stack.end_a_worker(signal.SIGTERM)


ACTS: dict[str, list[Callable[[Story], None]]] = {
    "1": [steady, incident, faults],
    "1b": [steady, rolled_back],
    "2": [steady, harmless],
    "3": [steady, blip],
}


def play(name: str, acts: list[Callable[[Story], None]], scale: Scale, out: Path, rate: float) -> bool:
    """Plays acts in a stack of their own; whether every stage happened."""
    console.rule(f"Act {name}", align="left")
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="scenario-", dir="/tmp") as home:
        stack = Stack(running, Path(home), scale)
        story: Story | None = None
        problem = ""
        try:
            stack.start()
            story = Story(stack, Clients(stack.url("app"), rate), Timeline())
            story.clients.start()
            with Watcher(story.look, scale.seconds(SCRAPE)):
                for act in acts:
                    act(story)
                counts(story)
        except (MissingStage, ProgramError) as error:
            problem = str(error)
            console.print(f"  [bold red]✗ {problem}[/]", highlight=False)
            for log in ("app.log", "commands.log"):
                if (stack.home / log).exists():
                    console.print(tail(stack.home / log), style="dim", highlight=False)
        finally:
            if story:
                story.clients.stop()
                _write(story, name, out, problem)
            running.close()
    return not problem


def _write(story: Story, name: str, out: Path, problem: str) -> None:
    folder = out / f"act-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Act {name}, {story.stack.scale.factor:g} times faster than promised" if story.stack.scale.factor > 1 else f"Act {name}"
    (folder / "timeline.svg").write_text(draw(story.timeline, title))
    lines = [f"# Act {name}", "", "| s | stage | |", "|---|---|---|"]
    lines += [f"| {at:.0f} | {what} | {detail} |" for at, what, detail in story.stages]
    if problem:
        lines += ["", f"**Missing: {problem}**"]
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    heard = [each._asdict() for each in story.stack.webhook.heard]
    (folder / "heard.json").write_text(json.dumps(heard, indent=1))
    for log in story.stack.home.glob("*.log"):
        (folder / log.name).write_bytes(log.read_bytes())
    console.print(f"  timeline, report and logs: {folder}", highlight=False)


def main() -> int:
    """Runs the acts; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="every time constant divided by ten")
    parser.add_argument("--acts", default="1,1b,2,3")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--out", type=Path, default=Path("build/scenario"))
    options = parser.parse_args()
    scale = Scale(10.0 if options.fast else 1.0)
    began = time.monotonic()
    played = {name: play(name, ACTS[name], scale, options.out, options.rate) for name in options.acts.split(",")}
    console.rule(f"{time.monotonic() - began:.0f} s", align="left")
    for name, happened in played.items():
        console.print(f"  act {name}: {'every stage happened' if happened else '[red]a stage is missing[/]'}")
    return 0 if all(played.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
