"""The acts of the scenario, each a list of stages that must happen."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from addresses import CONFIGS
from scenario.stack import EXPORT, wait
from scenario.story import ALARMS, ERRORS, HITS, P95, WATCH, MissingStage, Story
from sink import Span
from stores import exemplars

STEADY, BLIP = 900.0, 60.0
APART = 600.0
"""Seconds by which acts 1 and 1b are apart: what they do to the machine shall not add up."""
RATE, TIME = "HighValidationErrorRate", "HighValidationTime"
UPDATED = "LeadInRegion"
PANEL = "schema-validation.json", "Validation Time (95th Percentile)"


def steady(story: Story) -> None:
    """A quiet stretch in which nothing fires."""
    seconds = story.stack.scale.seconds(STEADY)
    end = time.monotonic() + seconds
    story.say(f"steady traffic for {seconds:.0f} s")
    while time.monotonic() < end:
        if story.timeline.alerts:
            raise MissingStage(
                f"1 steady traffic, no alert: {', '.join(story.firing()) or story.timeline.alerts} fired"
            )
        time.sleep(0.5)
    story.stage("1 steady traffic, no alert", lambda: not story.excess(), 60, story.excess)


def incident(story: Story) -> None:
    """Act 1: degraded, alerts, exemplar, a person rolls back, resolved."""
    webhook, line = story.stack.webhook, story.timeline
    command = story.upgrade("0002b")
    _harm(story)
    _alerts(story, TIME, UPDATED)
    story.stage(
        "4 the guard says degraded",
        lambda: "degraded" in webhook.phases(),
        WATCH,
        lambda: _progress(story),
        hopeless=lambda: command.ended and "degraded" not in command.verdict(),
    )
    _alerts(story, RATE)
    found: list[str] = []

    def leads() -> bool:
        found[:] = found or filter(None, [_trace(story)])
        return bool(found)

    story.stage(
        "5 the p95 panel's exemplar leads to field, rule and slow query", leads, 120, lambda: found[0] if found else ""
    )
    story.stage("4 the guard has ended", lambda: command.ended and "degraded" in command.verdict(), WATCH)
    for name, schema in ((RATE, ""), (TIME, UPDATED)):
        times = len(webhook.about(name, "firing", schema_name=schema))
        story.stage(f"4 the team heard of {name} once", lambda times=times: times == 1, 1, lambda times=times: times)
    line.happened("a person: otel-schema rollback 0002a")
    done = story.stack.otel_schema("rollback", "0002a", "--json")
    story.stage("6 rolled back, through Alembic", lambda: done.returncode == 0)
    back = time.time() + 2
    story.stage("6 the app serves the old schema again", lambda: _served_again(story, back), 60)
    _check_phases(story, "6", ["degraded", "failed"])
    story.stage("7 errors, time and hit rate are back", lambda: not story.excess(), 300, story.excess)
    for name in (RATE, TIME):
        story.stage(f"7 {name} resolves", lambda name=name: not any(name in each for each in story.firing()), 900)
        story.stage(
            f"7 the team hears that {name} is resolved",
            lambda name=name: webhook.about(name, "resolved"),
            900,
        )
        line.happened(f"the team hears: {name} resolved", "notification", webhook.about(name, "resolved")[0].at)
    story.stage("7 every alert of the incident is resolved", lambda: not story.alarms(), 900)


def apart(story: Story) -> None:
    """Let act 1 go first."""
    story.sleep(APART)


def rolled_back(story: Story) -> None:
    """Act 1b: the guard rolls back before anybody is paged."""
    webhook, line = story.stack.webhook, story.timeline
    command = story.upgrade("0002b", "--auto-rollback")
    _harm(story)
    story.stage(f"4 {RATE} is pending", lambda: story.pending(RATE), 300)
    phases = ["degraded", "rolling_back", "rolled_back", "recovered"]
    story.stage(
        "6 degraded, rolled back, recovered, in this order", lambda: webhook.phases() == phases, 2 * WATCH,
        lambda: ", ".join(webhook.phases()), hopeless=lambda: command.ended and webhook.phases()[-1:] == ["failed"],
    )  # fmt: skip
    _progress(story)
    story.stage(
        "6 the command has ended", lambda: command.ended and "degraded" in command.verdict(), 300, command.verdict
    )
    _check_phases(story, "6", phases)
    story.stage("7 errors, time and hit rate are back", lambda: not story.excess(), 300, story.excess)
    heard = [each.name for each in webhook.received if each.name == RATE or each.receiver.endswith("pager")]
    story.stage(f"7 {RATE} never fired: nobody was paged", lambda: not heard and not line.fired(RATE))


def harmless(story: Story) -> None:
    """Act 2: an index is added, and the guard lets it pass."""
    _passes(story, "act 2", lambda: None)


def blip(story: Story) -> None:
    """Act 3: the same while a deployment goes wrong for a minute, and the guard does not blame the migration."""
    story.stack.otel_schema("rollback", "0002")
    story.stage("act 3: back at 0002", lambda: not story.excess(), 60)
    _passes(story, "act 3", lambda: _deployment(story))


def faults(story: Story) -> None:
    """The collector restarts once, and one worker is ended in order: nothing may be lost by it."""
    story.timeline.happened("the collector restarts", "fault")
    story.stack.stop_collector()
    story.stack.start_collector()
    workers, broken = story.stack.workers(), story.stack.broken == "worker"
    how = signal.SIGKILL if broken else signal.SIGTERM
    story.timeline.happened(f"{how.name} to {'every' if broken else 'a'} worker", "fault")
    for worker in workers if broken else workers[:1]:
        os.kill(worker, how)
    story.sleep(60)


def counts(story: Story) -> None:
    """Requests, validations, failures: what the clients counted, and what Prometheus has of every series there was."""
    story.clients.stop()
    expected, unknown = _truth(story), story.clients.unknown

    def equal() -> bool:
        return all(0 <= _measured(story, name) - count <= unknown for name, count in expected.items())

    complete = wait(equal, story.stack.scale.seconds(60) + 45)
    rows = [(name, f"{count:.0f}", f"{_measured(story, name):.0f}") for name, count in expected.items()]
    story.tables["counts"] = [("", "clients", "Prometheus"), *rows, ("requests whose connection broke", unknown, "")]
    wrong = "; ".join(story.clients.problems[:3])
    detail = ", ".join([f"{name}: {sent} sent, {found} counted" for name, sent, found in rows] + [wrong] * bool(wrong))
    story.stage("8 counts equal the clients'", lambda: complete and not wrong, detail=lambda: detail, hopeless=_now)


def killed(story: Story) -> None:
    """A worker ends without a chance to export: what is lost is less than it counts in one export interval."""
    interval = story.stack.scale.seconds(EXPORT)
    before = {name: _measured(story, name) - count for name, count in _truth(story).items()}
    story.clients.start()
    story.sleep(120)
    unknown = story.clients.unknown
    story.timeline.happened("SIGKILL to a worker", "fault")
    at = time.time()
    busiest = Counter(each.worker for each in [*story.clients.answers] if each.at > at - interval - 1).most_common(1)
    worker = busiest[0][0]
    os.kill(int(worker), signal.SIGKILL)
    story.sleep(60)
    story.clients.stop()
    answered = [each for each in story.clients.answers if each.worker == worker]
    most = sum(at - interval - 1 <= each.at for each in answered)
    unknown = story.clients.unknown - unknown

    def lost() -> float:
        return _truth(story)["requests"] + before["requests"] - _measured(story, "requests")

    wait(lambda: lost() <= most, story.stack.scale.seconds(60) + 30)
    story.sleep(30)
    rows: list[tuple[object, ...]] = [
        ("requests lost", f"{lost():.0f}"),
        (f"answered by that worker in its last {interval:g} s, and the second that an export takes", most),
        ("answered by that worker in all", len(answered)),
        ("requests whose connection broke", unknown),
    ]
    story.tables["a worker ended by SIGKILL"] = [("", ""), *rows]
    story.stage(
        "9 kill -9: at most one export interval of that worker is lost", lambda: -unknown <= lost() <= most, 1,
        lambda: f"{lost():.0f} of {most} requests", hopeless=_now,
    )  # fmt: skip


def _harm(story: Story) -> None:
    """What everybody sees of the update."""

    def shown(expression: str, factor: float, unit: str) -> Callable[[], str]:
        return lambda: f"{(story.value(expression) or 0.0) * factor:.0f} {unit}"

    def passes(expression: str, limit: float, sign: int) -> Callable[[], bool]:
        return lambda: (value := story.value(expression)) is not None and value * sign > limit * sign

    story.stage("2 the update is migrated and served", lambda: story.clients.refused > 0, 120)
    story.stage("3 validation errors spike", passes(ERRORS, 0.01, 1), 120, shown(ERRORS, 100, "%"))
    story.stage("3 validation time rises", passes(P95, story.stack.limit, 1), 120, shown(P95, 1000, "ms"))
    story.stage("3 the new cache misses", passes(HITS, 0.85, -1), 120, shown(HITS, 100, "% hits"))


def _alerts(story: Story, name: str, schema: str = "") -> None:
    """An alert fires at its own `for`, and the team hears of it."""
    webhook, what = story.stack.webhook, f"{name} {schema}".strip()
    story.stage(f"4 {what} fires", lambda: what in story.firing(), 600)
    story.stage(f"4 the team hears of {name}", lambda: webhook.about(name, "firing", schema_name=schema), 120)
    heard = webhook.about(name, "firing", schema_name=schema)[0]
    story.timeline.happened(f"the team hears: {name}", "notification", heard.at)


def _progress(story: Story) -> str:
    """Put the notified phases on the timeline, and return the message of the first."""
    progress = [
        each for each in story.stack.webhook.received if each.receiver == "progress" and each.status == "firing"
    ]
    shown = {moment.what for moment in story.timeline.moments}
    for each in progress:
        what = f"the team hears: {each.labels['phase'].replace('_', ' ')}"
        if what not in shown:
            story.timeline.happened(what, "notification", each.at)
    return progress[0].summary if progress else ""


def _check_phases(story: Story, number: str, phases: list[str]) -> None:
    """The team heard of each phase, in order, and the history has the same."""
    webhook = story.stack.webhook
    story.stage(
        f"{number} the webhook heard what the history says", lambda: webhook.phases() == story.phases() == phases,
        30, lambda: ", ".join(webhook.phases()),
    )  # fmt: skip
    _progress(story)
    heard = [each for each in webhook.received if each.receiver == "progress" and each.status == "firing"]
    lines = [line for line in story.history() if line["event"] == "phase"]
    rows = [
        (
            line["sequence"],
            line["phase"],
            line["at"],
            time.strftime("%H:%M:%S", time.gmtime(each.at)),
            each.labels["phase"],
        )
        for line, each in zip(lines, heard, strict=True)
    ]
    story.tables["progress: the history, and what the webhook heard"] = [
        ("", "history", "at", "heard at", "webhook"),
        *rows,
    ]


def _now() -> bool:
    """For what is so already, or never will be."""
    return True


def _passes(story: Story, act: str, meanwhile: Callable[[], None]) -> None:
    """A guarded migration passes, although the guard may roll it back.

    Time and queries do not decide, and on a machine that others keep busy they really get worse at times.
    """
    webhook, line = story.stack.webhook, story.timeline
    heard, migrated = len(webhook.phases()), story.migrated()
    command = story.upgrade("0002a", "--auto-rollback")
    story.stage(f"{act}: migrated", lambda: story.migrated() > migrated, 60)
    meanwhile()
    story.stage(f"{act}: the guard has judged", lambda: command.ended, WATCH + 120)
    guard = command.guard()
    errors = guard.get("signals", {}).get("errors", {})
    passed = errors.get("verdict") == "pass" and not guard["rolled_back"]
    story.stage(f"{act}: pass, with its upper limit", lambda: passed, detail=lambda: errors.get("says"), hopeless=_now)
    line.happened(f"the guard: {errors['says']}")
    fired = ", ".join(sorted({alert.name for alert in line.alerts} & {*ALARMS}))
    new = webhook.phases()[heard:] if guard["verdict"] == "pass" else []
    what = f"{act}: nothing fired, nobody was told"
    story.stage(what, lambda: not new and not fired, detail=lambda: fired or _aside(guard), hopeless=_now)


def _aside(guard: dict[str, Any]) -> str:
    """What is not judged by errors: empty where that passes too."""
    if guard["verdict"] == "pass":
        return ""
    busy = [name for name, signal in guard["signals"].items() if signal["verdict"] != "pass"]
    return f"on this busy machine {' and '.join(busy)} did not pass, which does not decide"


def _deployment(story: Story) -> None:
    """For a minute, workers end one after another and clients of a version of their own forget a field."""
    story.sleep(60)
    story.timeline.happened("a deployment goes wrong for a minute", "fault")
    story.clients.forgetful = True
    for worker in story.stack.workers()[:2]:
        os.kill(worker, signal.SIGTERM)
        story.sleep(BLIP / 2)
    story.clients.forgetful = False


def _served_again(story: Story, since: float) -> bool:
    """Whether a while has passed since then in which no lead was refused that the old schema takes."""
    quiet = story.stack.scale.seconds(20) + 1
    latest = max((each.at for each in [*story.clients.answers] if each.refused), default=0.0)
    return time.time() > max(since, latest) + quiet


def _trace(story: Story) -> str:
    """Field, rule and query behind an exemplar of the panel's query; empty where there is none yet."""
    for exemplar in exemplars(story.stack.url("prometheus"), _panel()):
        spans = story.stack.traces.trace(exemplar.trace_id)
        failed = [
            each for each in spans if each.span_id == exemplar.span_id and each.attributes.get("schema.problem.path")
        ]
        for span in failed:
            queries = [each for each in spans if each.parent_span_id == span.span_id]
            slow = max(queries, key=lambda each: each.duration, default=None)
            if slow and "SELECT" in slow.name and slow.duration > span.duration / 2:
                problem = [span.attributes[f"schema.problem.{what}"] for what in ("path", "rule")]
                return f"{span.name} {_ms(span)}: {problem}, {slow.name} {_ms(slow)}"
    return ""


def _ms(span: Span) -> str:
    return f"{span.duration * 1000:.0f} ms"


def _panel() -> str:
    """The query with exemplars of the panel of the 95th percentile, for the schema of the update."""
    file, title = PANEL
    dashboard = json.loads((CONFIGS.parent / "dashboards" / "grafana" / file).read_text())
    (panel,) = (each for each in dashboard["panels"] if each["title"] == title)
    (query,) = (each["expr"] for each in panel["targets"] if each.get("exemplar"))
    for variable, value in (("$job", ".*"), ("$instance", ".*"), ("$schema", UPDATED), ("$__rate_interval", "1m")):
        query = query.replace(variable, value)
    return query


COUNTED = {
    "requests": "api_requests_total",
    "validations": "schema_validation_duration_seconds_count",
    "failed validations": "validation_errors_total",
}


def _truth(story: Story) -> dict[str, float]:
    truth = story.clients.truth
    values = truth.requests.total(), truth.validations.total(), truth.failures.total()
    return dict(zip(COUNTED, map(float, values), strict=True))


def _measured(story: Story, name: str) -> float:
    """What Prometheus has of each series at its highest: those of ended workers are gone by now."""
    return story.value(f"sum(max_over_time({COUNTED[name]}[{story.timeline.now() + 120:.0f}s]))") or 0.0


ACTS: dict[str, list[Callable[[Story], None]]] = {
    "1": [incident, faults, counts],
    "1b": [apart, rolled_back, counts],
    "2": [harmless],
    "3": [blip, counts, killed],
}
