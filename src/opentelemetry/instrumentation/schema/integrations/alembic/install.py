"""Alembic: each run of `upgrade`, `downgrade` or `stamp`, whoever starts it. No env.py knows of it.

Every command enters an `EnvironmentContext`, in which env.py connects and calls `MigrationContext.run_migrations` for
each of its databases. Commands that compare or print enter one too, and are left alone.
"""

from __future__ import annotations

import logging
import sys
import weakref
from typing import Any

from ... import faults, semconv
from ..._migrations.telemetry import RunRecorder
from ..._recording.recorder import Recorder
from ...patching import Patches
from ._tracked import TrackedCommand

REQUIRES = "alembic >= 1.7, < 2"


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the environment: importing Alembic's top-level module may load nothing of it."""
    patches.on_import("alembic.runtime.migration", __name__, lambda _: _patch_migration(recorder, patches))


def _patch_migration(recorder: Recorder, patches: Patches) -> None:
    runs = RunRecorder(recorder.tracer, lambda: recorder.spans.off)
    recorder.observers |= runs.observers
    recorder.after_fork.append(runs.reset_after_fork)
    environments = _Environments(recorder, runs)
    module = sys.modules["alembic.runtime.migration"]
    patches.wrap(module.MigrationContext, "run_migrations", environments.run_migrations)
    patches.wrap(module.MigrationContext, "autocommit_block", environments.autocommit_block)
    patches.wrap(module.HeadMaintainer, "update_to_step", environments.update_to_step)
    patches.on_import("alembic.runtime.environment", __name__, lambda _: _patch_environment(environments, patches))


def _patch_environment(environments: _Environments, patches: Patches) -> None:
    cls = sys.modules["alembic.runtime.environment"].EnvironmentContext
    patches.wrap(cls, "__enter__", environments.enter)
    patches.wrap(cls, "__exit__", environments.exit)


class _Environments:
    """What runs around Alembic's own calls."""

    def __init__(self, recorder: Recorder, runs: RunRecorder) -> None:
        self._recorder, self._runs = recorder, runs
        self._tracked: weakref.WeakKeyDictionary[Any, TrackedCommand] = weakref.WeakKeyDictionary()
        self._audible: weakref.WeakKeyDictionary[Any, list[logging.Logger]] = weakref.WeakKeyDictionary()

    # -- a command

    def enter(self, wrapped: Any, environment: Any, args: Any, kwargs: Any) -> Any:
        """`EnvironmentContext.__enter__`: a command begins."""
        entered = wrapped(*args, **kwargs)
        self._enter(environment)
        return entered

    @faults.guarded("alembic", None)
    def _enter(self, environment: Any) -> None:
        self._audible[environment] = _audible()
        if not self._recorder.closed:
            flush = self._recorder.flush
            self._tracked[environment] = TrackedCommand(self._runs, environment.script, environment.context_opts, flush)

    def exit(self, wrapped: Any, environment: Any, args: Any, kwargs: Any) -> Any:
        """`EnvironmentContext.__exit__`: it ended, by an exception or not."""
        try:
            return wrapped(*args, **kwargs)
        finally:
            self._exit(environment, args[1] if len(args) > 1 else None)

    @faults.guarded("alembic", None)
    def _exit(self, environment: Any, error: BaseException | None) -> None:
        self._restore_logging(environment)
        self._audible.pop(environment, None)
        tracked = self._tracked.pop(environment, None)
        if tracked is not None:
            tracked.end(error)

    def _restore_logging(self, environment: Any) -> None:
        """`fileConfig()`, which a stock env.py calls, disables every logger that its file does not name: ours too."""
        for logger in self._audible.get(environment, ()):
            logger.disabled = False

    # -- the migrations of one database

    def run_migrations(self, wrapped: Any, context: Any, args: Any, kwargs: Any) -> Any:
        """`MigrationContext.run_migrations`: the steps of one database."""
        tracked = self._enter_database(context)
        if tracked is None:
            return wrapped(*args, **kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._leave_database(context, tracked, error)
            raise
        self._leave_database(context, tracked, None)
        return result

    @faults.guarded("alembic", None)
    def _enter_database(self, context: Any) -> TrackedCommand | None:
        environment = context.environment_context
        if environment is None:
            return None
        self._restore_logging(environment)
        tracked = self._tracked.get(environment)
        if tracked is not None:
            tracked.enter_database(context)
        return tracked

    @faults.guarded("alembic", None)
    def _leave_database(self, context: Any, tracked: TrackedCommand, error: BaseException | None) -> None:
        tracked.leave_database(context, error)

    def autocommit_block(self, wrapped: Any, context: Any, args: Any, kwargs: Any) -> Any:
        """`MigrationContext.autocommit_block`: what ran before it is committed."""
        self._note_commit(context)
        return wrapped(*args, **kwargs)

    @faults.guarded("alembic", None)
    def _note_commit(self, context: Any) -> None:
        tracked = self._of(context)
        if tracked is not None:
            tracked.note_commit(context)

    def update_to_step(self, wrapped: Any, maintainer: Any, args: Any, kwargs: Any) -> Any:
        """`HeadMaintainer.update_to_step`: a step is done, and the version table has been told."""
        result = wrapped(*args, **kwargs)
        self._end_step(maintainer)
        return result

    @faults.guarded("alembic", None)
    def _end_step(self, maintainer: Any) -> None:
        tracked = self._of(maintainer.context)
        if tracked is not None:
            tracked.end_step(maintainer.context, maintainer.heads)

    def _of(self, context: Any) -> TrackedCommand | None:
        environment = context.environment_context
        return None if environment is None else self._tracked.get(environment)


def _audible() -> list[logging.Logger]:
    """Our loggers that are not disabled."""
    known = [logger for name, logger in logging.root.manager.loggerDict.items() if name.startswith(semconv.SCOPE)]
    return [logger for logger in known if isinstance(logger, logging.Logger) and not logger.disabled]
