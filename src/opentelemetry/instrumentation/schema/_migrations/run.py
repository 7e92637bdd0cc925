"""Runs a plan under the database's lock, and records it in the history before and after."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from . import losses, mutex, outcome
from .errors import MigrationError, RefusedError, UnknownError
from .history import HistoryFile, RunRecord
from .lock_waits import LockWatcher
from .outcome import DatabaseState, RunOutcome
from .plan import Direction, Event, Limits, Plan, Step, Tool, ToolReport
from .process import Interrupts
from .telemetry import RunRecorder, Target

RETRIES: Final = 3
PAUSE: Final = 10.0  # s between two tries, varied by up to a fifth


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a plan is run.

    Attributes:
        limits: Time-outs, and tables that may lose rows.
        wait: Seconds to wait for another run.
        retries: Further tries after a lock time-out.
        pause: Seconds between two tries.
        accepted: Revisions to roll back although their downgrade does nothing, or has unknown effects.
        commit: Commit of the checkout.
        image: Image of the release.
        by_guard: Whether the guard started the run.
    """

    limits: Limits = field(default_factory=Limits)
    wait: float = 0.0
    retries: int = RETRIES
    pause: float = PAUSE
    accepted: frozenset[str] = frozenset()
    commit: str | None = None
    image: str | None = None
    by_guard: bool = False


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        plan: The plan of the run.
        outcome: What the database says about the run.
        before: The database before the run.
        after: The database after the run; None if it could not be read.
        report: The report of the tool's process in the last try.
        duration: Seconds.
        unread: Why the database could not be read.
        unrecorded: Why the end of the run is not in the history.
    """

    plan: Plan
    outcome: RunOutcome
    before: DatabaseState
    after: DatabaseState | None
    report: ToolReport
    duration: float
    unread: str | None = None
    unrecorded: str | None = None

    @property
    def reached(self) -> bool:
        """Whether the database is at the target of the plan."""
        return self.outcome.name in ("applied", "rolled_back")


Say = Callable[[str], None]


@contextmanager
def plan_under_lock(
    tool: Tool,
    direction: Direction,
    target: str | None,
    options: Options,
    say: Say,
    interrupts: Interrupts | None = None,
) -> Generator[Plan]:
    """Make a plan and take the database's lock; plan again if another run changed the database in between.

    Raises:
        MigrationError: as `Tool.plan` and `mutex.hold` do, or because a signal came.
    """
    plan = tool.plan(direction, target)
    if not plan.steps:
        yield plan
        return
    go_on = interrupts.raise_if_received if interrupts is not None else lambda: None
    with mutex.hold(plan.database, options.wait, say, go_on) as lock:
        if outcome.read(plan.database, plan.table).heads != tuple(sorted(plan.before)):
            plan = tool.plan(direction, target)
        yield plan
        if not lock.still_held():
            say("the run lost its lock (did the server restart?): another run may have started in the meantime")


def refuse_unsafe(plan: Plan, options: Options) -> None:
    """Refuse a plan with steps that no downgrade undoes, or that would lose rows.

    Raises:
        RefusedError: with the step, and with table, column and number.
        UnknownError: if the rows cannot be counted.
    """
    for step in plan.steps:
        if plan.direction == "downgrade" and step.revision not in options.accepted:
            _refuse(step)
    lost = estimate_losses(plan, options.limits)
    if lost:
        tables = sorted({each[1] for each in lost})
        raise RefusedError(
            f"{'; '.join(each[0] for each in lost)}. Nothing was run. Save the rows first, or accept the loss: "
            f"{' '.join(f'--allow-data-loss {table}' for table in tables)}"
        )


def _refuse(step: Step) -> None:
    where = f"revision {step.revision} ({step.file.name})"
    if step.kind == "irreversible":
        raise RefusedError(
            f"{where} cannot be rolled back: {step.why}. Nothing was run. Write its downgrade, or restore a backup"
        )
    if step.kind == "fake-reversible":
        raise RefusedError(
            f"{where} cannot be rolled back: {step.why}, so the schema would stay as it is and the recorded revision "
            f"would be wrong. Nothing was run. Write its downgrade, or skip it: --accept {step.revision}"
        )
    if step.kind == "unknown":
        raise RefusedError(
            f"cannot tell what a rollback of {where} does before it runs: {step.why}. Nothing was run. Read its "
            f"downgrade, and if it is right: --accept {step.revision}"
        )


def estimate_losses(plan: Plan, limits: Limits) -> list[tuple[str, str]]:
    """Count the rows that a plan would lose, in the tables that exist now: sentence and table of each loss.

    Alembic's process counts again right before each step, since earlier steps of the plan may change the tables.

    Raises:
        UnknownError: if the rows cannot be counted.
    """
    wanted = [(step, loss) for step in plan.steps for loss in step.losses]
    wanted = [(step, loss) for step, loss in wanted if not limits.may_lose(loss)]
    if not wanted or (plan.database.dialect == "sqlite" and not plan.database.file.exists()):
        return []
    found: list[tuple[str, str]] = []
    with plan.database.connect() as connection:
        for step, loss in wanted:
            try:
                rows = losses.count(connection, loss)
            except Exception as error:
                raise UnknownError(
                    f"revision {step.revision} would {loss}, and its rows cannot be counted: {outcome.reason(error)}. "
                    f"To accept the loss: --allow-data-loss {loss.name}"
                ) from error
            if rows:
                found.append((f"revision {step.revision} {losses.sentence(loss, rows, exact=False)}", loss.name))
    return found


def execute(
    tool: Tool,
    plan: Plan,
    history: HistoryFile,
    options: Options,
    say: Say,
    interrupts: Interrupts | None = None,
    runs: RunRecorder | None = None,
) -> RunResult:
    """Run a checked plan under a lock that the caller holds.

    Args:
        tool: The migration tool.
        plan: A plan that was made under the same lock.
        history: The file in which the run is recorded.
        options: Limits, retries and facts to record.
        say: Prints progress.
        interrupts: Signals that end the run early.
        runs: Records telemetry of the run.

    Raises:
        MigrationError: if nothing was run: the history cannot be written, or the database not read before.
    """
    before = outcome.read(plan.database, plan.table)
    if before.heads != tuple(sorted(plan.before)):
        raise MigrationError(f"{plan.database} is at another revision than planned: run the command again")
    if interrupts is not None:
        interrupts.raise_if_received()
    run = history.record_start(
        database=plan.database.identity,
        table=str(plan.table),
        tool=plan.tool,
        direction=plan.direction,
        before=plan.before,
        target=plan.after,
        files=plan.files,
        plan=plan.sha256,
        commit=options.commit,
        image=options.image,
        by_guard=options.by_guard,
    )
    began = time.monotonic()
    traced = runs.begin(_target(plan), plan.direction, plan.steps[0].file.parent) if runs is not None else None

    def trace(name: str, facts: dict[str, Any]) -> None:
        if traced is not None and name == "step":
            traced.begin_step(facts["revision"])
        elif traced is not None and name == "applied":
            traced.end_step()
        elif traced is not None and name == "statement":
            traced.record_statement(facts["verb"], facts["began"], facts["ended"], facts["failed"])

    result = _attempts(tool, plan, before, options, say, interrupts, trace)
    if traced is not None:
        outcome_ = result.outcome.name
        traced.end(None if outcome_ == "unknown" else outcome_, _error(result.report))
    took = time.monotonic() - began
    return _record_finish(replace(result, plan=plan, before=before, duration=took), history, run)


def _target(plan: Plan) -> Target:
    dialect = plan.database.dialect
    if dialect == "sqlite":  # which has no name but a file
        return Target(plan.tool, "", dialect)
    default = "public" if dialect == "postgresql" else ""
    return Target(plan.tool, Target.namespaced(plan.database.name, plan.table.schema or "", default), dialect)


def _error(report: ToolReport) -> BaseException | None:
    """Rebuild the error of the tool's process with its class and code; the object itself stayed in that process."""
    if report.error is None:
        return None
    name, _, code = report.error.partition(" ")
    return type(name, (Exception,), {"sqlstate": code})()


def _attempts(
    tool: Tool,
    plan: Plan,
    before: DatabaseState,
    options: Options,
    say: Say,
    interrupts: Interrupts | None,
    trace: Event,
) -> RunResult:
    attempt, tries = 0, options.retries
    while True:
        result = _attempt(tool, plan, before, options, say, trace)
        attempt += 1
        if not result.report.lock_timeout or result.reached or result.after is None:
            return result
        why_not = _no_retry(plan, result)
        if why_not:
            say(f"no retry: {why_not}")
            return result
        if attempt > tries:
            return result
        pause = options.pause * random.uniform(0.8, 1.2)
        say(f"trying again in {pause:.0f} s (retry {attempt} of {tries})")
        if not _sleep(pause, interrupts):
            return result
        done = set(result.report.completed) if plan.transaction == "step" else set[str]()
        steps = tuple(step for step in plan.steps if step.revision not in done)
        plan, before = replace(plan, before=result.after.heads, steps=steps), result.after


def _no_retry(plan: Plan, result: RunResult) -> str | None:
    failed = next((step for step in plan.steps if step.revision == result.report.failed), None)
    if plan.transaction == "none":
        return "the database may have kept a part of the step"
    if failed is None or failed.autocommit:
        return "the step commits before it ends"
    return None if result.outcome.clean else "the database is not as it was before the step"


def _sleep(seconds: float, interrupts: Interrupts | None) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if interrupts is not None and interrupts.received is not None:
            return False
        time.sleep(min(0.1, max(0.0, end - time.monotonic())))
    return True


def _attempt(tool: Tool, plan: Plan, before: DatabaseState, options: Options, say: Say, trace: Event) -> RunResult:
    watch = LockWatcher(plan.database)
    total = len(plan.steps)

    def on_event(name: str, facts: dict[str, Any]) -> None:
        watch.on_event(name, facts)
        trace(name, facts)
        if name == "step":
            step = next(step for step in plan.steps if step.revision == facts["revision"])
            say(f"{plan.direction} {facts['number']}/{total} {step.revision} {step.title}".rstrip())

    began = time.monotonic()
    try:
        report = tool.run(plan, options.limits, on_event)
    finally:
        watch.close()
    if report.lock_timeout:
        waited = f"lock time-out after {options.limits.lock_timeout:g} s in {report.failed or 'the run'}"
        say(f"{waited}: {watch.message()}")
    unread: str | None = None
    after: DatabaseState | None = None
    try:
        after = outcome.read(plan.database, plan.table, report.sessions)
        found = outcome.determine(plan, before, report, after)
    except UnknownError as error:
        unread, found = str(error), RunOutcome("unknown", None)
    took = time.monotonic() - began
    return RunResult(plan=plan, outcome=found, before=before, after=after, report=report, duration=took, unread=unread)


def _record_finish(result: RunResult, history: HistoryFile, run: RunRecord) -> RunResult:
    try:
        history.record_finish(
            run,
            result.outcome.name,
            result.after.heads if result.after is not None else None,
            result.outcome.clean,
            result.duration,
            result.report.error,
        )
    except MigrationError as error:  # the disk is full by now: the user must still learn the state of the database
        return replace(result, unrecorded=str(error))
    return result


def rollback_obstacle(plan: Plan, result: RunResult) -> str | None:
    """Why we cannot roll the database back to the start of the run without a person; None if we can."""
    if result.after is None:
        return "the state of the database is unknown"
    if not result.outcome.clean:
        return "the database is between two revisions"
    if result.after.heads == tuple(sorted(plan.before)):
        return "the database is at that revision already"
    return None
