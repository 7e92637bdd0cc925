"""One command of Alembic: the spans of its run, and the outcome of each of its databases."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from ... import faults, semconv
from ..._migrations.telemetry import Run, RunRecorder, Target
from ._database import MigratedDatabase, unreached_target
from ._termination import Termination

READ: Final = 5.0
"""Seconds to wait for all version tables together: another run may lock one."""

_ABANDONED: Final = 1.0
"""The same in a process that is about to end."""

_COMMANDS: Final = {"upgrade": "upgrade", "downgrade": "downgrade", "do_stamp": "stamp"}
"""What Alembic calls the function that picks a command's steps → what a span calls the command."""

_WORST: Final[tuple[semconv.MigrationOutcome, ...]] = ("partial", "failed", "rolled_back", "applied")


class TrackedCommand:
    """One command, from its begin to its end. Without steps, it is a run only if it is one of `_COMMANDS`.

    Args:
        runs: Records it.
        script: Alembic's directory of scripts.
        options: Of the command.
        flush: Exports buffered telemetry, for at most so many seconds.
    """

    def __init__(
        self, runs: RunRecorder, script: Any, options: Mapping[str, Any], flush: Callable[[float], object]
    ) -> None:
        self._runs, self._script, self._flush = runs, script, flush
        self._offline = bool(options.get("as_sql"))
        self._direction: semconv.Direction = "upgrade"
        self._databases: dict[Any, MigratedDatabase] = {}
        self._run: Run | None = None
        self._termination: Termination | None = None
        command = _COMMANDS.get(getattr(options.get("fn"), "__name__", ""))
        if command is not None:
            self._begin(command)

    def _begin(self, command: str) -> Run:
        if command == "downgrade":
            self._direction = "downgrade"
        more: dict[str, Any] = {semconv.MIGRATION_OFFLINE: True} if self._offline else {}
        name, folder = f"{semconv.MIGRATION_SPAN_NAME} {command}", Path(str(self._script.dir))
        self._run = self._runs.begin(Target("alembic"), self._direction, folder, name=name, **more)
        self._termination = Termination(self._flush, self._abandon)
        return self._run

    # -- one of its databases

    def enter_database(self, context: Any) -> None:
        """Note that the migrations of a database begin."""
        database = self._databases[context] = MigratedDatabase(context)
        if self._run is not None:
            self._run.set_target(database.target)
        database.pick = context._migrations_fn
        if database.pick is not None:
            context._migrations_fn = self._watch_steps(database.pick, database)

    def leave_database(self, context: Any, error: BaseException | None) -> None:
        """Note that the migrations of a database ended. env.py may commit later."""
        if self._run is not None:
            self._run.end_step(error)
        database = self._databases[context]
        database.close()
        context._migrations_fn = database.pick

    def _watch_steps(self, pick: Callable[..., Any], database: MigratedDatabase) -> Callable[..., Iterator[Any]]:
        """Wrap the function that picks the steps: note when each step begins and, unless it fails, when it ends."""

        def steps(heads: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            database.before = frozenset(heads)
            for step in pick(heads, *args, **kwargs):
                self._begin_step(step, database)
                yield step
                if self._run is not None:
                    self._run.end_step()
            database.exhausted = True

        return steps

    @faults.guarded("alembic", None)
    def _begin_step(self, step: Any, database: MigratedDatabase) -> None:
        info = step.info
        self._direction = "upgrade" if info.is_upgrade else "downgrade"
        run = self._run or self._begin(self._direction)  # by code of the application's own
        run.set_target(database.target, self._direction)
        database.begin_step()
        revisions = info.up_revision_ids if info.is_stamp else (info.up_revision_id,)
        run.begin_step(",".join(map(str, revisions)), self._direction)

    def end_step(self, context: Any, heads: Any) -> None:
        """Note that a step wrote to the version table, which holds these heads now unless it is rolled back."""
        if context in self._databases:
            self._databases[context].end_step(heads)

    def note_commit(self, context: Any) -> None:
        """Note that the present step's statements so far are committed."""
        if context in self._databases:
            self._databases[context].note_commit()

    # -- the run

    def end(self, error: BaseException | None) -> None:
        """End the command, and read from each database what it holds."""
        if self._run is not None:
            self._run.end_step(error)
            self._run.end(*(self._outcomes(self._run, error) or (None, error, [])))
        if self._termination is not None:
            self._termination.end()

    def _abandon(self) -> None:
        """Record the run, from another thread: the process is about to end in the middle of a statement."""
        if self._run is not None:
            error = SystemExit(128 + signal.SIGTERM)
            self._run.leave_context()
            self._run.end(*(self._outcomes(self._run, error, _ABANDONED) or (None, error, [])))

    @faults.guarded("alembic", None)
    def _outcomes(
        self, run: Run, error: BaseException | None, wait: float = READ
    ) -> tuple[semconv.MigrationOutcome | None, BaseException | None, list[tuple[Target, semconv.MigrationOutcome]]]:
        """The worst outcome, the error, and what became of the other databases."""
        until = monotonic() + wait
        databases = [] if self._offline else list(self._databases.values())
        found: list[tuple[Target, semconv.MigrationOutcome]] = [
            (each.target, each.outcome(error, self._direction, until)) for each in databases
        ]
        if not found:
            target = None if error is None else unreached_target(error)
            run.set_target(target or Target("alembic"))
            return "failed" if target else None, error, []
        found.sort(key=lambda each: _WORST.index(each[1]))
        run.set_target(found[0][0], self._direction, moved=any(each.steps for each in databases))
        return found[0][1], error, found[1:]
