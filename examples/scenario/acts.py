"""The acts of the scenario, each a list of stages that must happen."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

from story import ERRORS, OFFICES, P95, PENDING, SERIES, WATCH, MissingStage, Story

from console import console
from stack import wait
from stores import exemplars

STEADY, BLIP = 900.0, 60.0
PROMISED = ("HighValidationErrorRate", "HighValidationTime")


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
    story.stage("3 the new cache misses", lambda: (story.value(OFFICES) or 0) > 0, 120)
    story.stage("4 the guard says degraded", lambda: "degraded" in webhook.phases(), WATCH)
    for at in [each.at for each in webhook.heard if each.receiver == "progress"][:1]:
        line.happened("the team hears: degraded", "notification", at)
    for name in PROMISED:
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

    def pending() -> bool:
        return PROMISED[0] in story.names(PENDING, "alertname")

    story.stage("1b HighValidationErrorRate is pending", pending, 300)
    phases = ["degraded", "rolling_back", "rolled_back", "recovered"]
    story.stage("1b degraded, rolled back, recovered, in this order", lambda: webhook.phases() == phases, 2 * WATCH)
    for each in webhook.heard:
        if each.receiver == "progress" and each.status == "firing":
            line.happened(f"the team hears: {each.labels['phase'].replace('_', ' ')}", "notification", each.at)
    story.stage("1b the command has ended", lambda: command.ended, 300)
    story.stage("1b nobody was paged", lambda: not line.fired("HighValidationErrorRate"), 1)
    told = json.loads(command.done.stdout)["guard"]["told"] if command.done else []
    phases_told = [phase for _, phase, _ in told]
    story.stage("1b the webhook heard what the history says", lambda: phases_told == webhook.phases(), 1)


def _served_again(story: Story, since: int) -> bool:
    """Whether a while has passed since then in which no lead was refused for its region."""
    quiet = story.stack.scale.seconds(20) + 1
    latest = max((at for at in story.clients.refused), default=0)
    return time.time() > max(since, latest) + quiet


def _resolved(story: Story) -> None:
    webhook = story.stack.webhook
    for name in PROMISED:
        story.stage(f"7 {name} resolves", lambda name=name: not story.timeline.fires(name), 600)
        told = f"7 the team hears that {name} is resolved"
        story.stage(told, lambda name=name: webhook.told(name, "resolved"), 900)
        at = webhook.told(name, "resolved")[0].at
        story.timeline.happened(f"the team hears: {name} resolved", "notification", at)


def _trace(story: Story) -> bool:
    """Whether an exemplar of the panel's series leads to a trace as promised: field, rule, and the query below."""
    for exemplar in exemplars(story.stack.url("prometheus"), f'{SERIES}{{schema_name="LeadInRegion"}}'):
        spans = story.stack.sink.trace(exemplar.trace_id)
        named = [
            span.span_id
            for span in spans
            if span.span_id == exemplar.span_id and span.attributes.get("schema.problem.path")
        ]
        if any(below.parent_span_id in named and "SELECT" in below.name for below in spans):
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
        return all(
            abs((story.value(query) or 0) - count) <= story.clients.unknown for count, query in expected.values()
        )

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
