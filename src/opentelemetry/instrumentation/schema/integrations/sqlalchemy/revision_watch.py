"""Reads the database's revision when a connection returns to its pool, after the application's work.

It needs no thread and no connection of its own, and never reads inside a transaction of the application: the pool has
rolled that back. It leaves a connection alone that is invalidated, or that the garbage collector returns.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import weakref
from time import monotonic, perf_counter
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import event
from sqlalchemy.pool import Pool, StaticPool
from sqlalchemy.util import await_only

from ... import faults
from ..._recording.revisions import Revisions, WatchedDatabase
from ...patching import Patches
from ._drivers import DEADLINE, Driver, Unusable, driver_of

_log = logging.getLogger(__name__)
_POOL = "_ConnectionRecord__pool"
_WATCHED = "_otel_schema_watched"
"""On a dialect, which lives as long as its engine, while pools come and go: its `_Watched`."""


def install(revisions: Revisions, patches: Patches) -> None:
    """Watch the database of every engine, whenever and however that was made."""
    revisions.prepare()
    watch = _Watch(revisions)
    event.listen(Pool, "checkin", watch.checkin)
    patches.undo(watch.forget)
    patches.undo(event.remove, Pool, "checkin", watch.checkin)


class _Watched:
    """A dialect's database and driver; None where we do not read. A copy of the dialect is pickled without it."""

    def __init__(self, watch: _Watch, database: WatchedDatabase | None, driver: Driver | None) -> None:
        self.watch, self.database, self.driver = watch, database, driver

    def __reduce__(self) -> Any:
        return type(None), ()


class _Watch:
    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._dialects: weakref.WeakSet[Any] = weakref.WeakSet()

    def checkin(self, connection: Any, record: Any) -> None:
        """Read, if it is due, on a connection that returns to its pool."""
        try:
            pool = getattr(record, _POOL)
            dialect = pool._dialect
            watched = getattr(dialect, _WATCHED, None)
            if watched is None or watched.watch is not self:
                watched = self._begin(dialect, pool)
            database, driver = watched.database, watched.driver
            if database is None or driver is None or monotonic() < database.due:
                return
            if connection is None or _collected():
                return
            if database.reading.acquire(blocking=False):
                try:
                    self._read(database, driver, dialect, connection, record)
                finally:
                    database.reading.release()
        except BaseException as error:
            try:
                if not isinstance(error, Exception):
                    raise
                faults.swallow("sqlalchemy", error)
            except BaseException:
                getattr(record, _POOL)._return_conn(record)  # the exception keeps the pool from doing so
                raise

    def _begin(self, dialect: Any, pool: Any) -> _Watched:
        # The one connection of a StaticPool may be in somebody else's use when it returns.
        read = self._revisions.supports(dialect.name) and not isinstance(pool, StaticPool)
        driver = driver_of(dialect) if read else None
        watched = _Watched(self, None if driver is None else self._revisions.watch_database(), driver)
        setattr(dialect, _WATCHED, watched)
        self._dialects.add(dialect)
        return watched

    def _read(self, database: WatchedDatabase, driver: Driver, dialect: Any, connection: Any, record: Any) -> None:
        revisions = self._revisions
        if driver.read_async is not None and not _in_greenlet():
            return
        revisions.begin_read(database)
        questions = revisions.ask(database, dialect.name)
        mariadb = bool(getattr(dialect, "is_mariadb", False))
        before, cancelled = perf_counter(), None
        try:
            with suppress_instrumentation():
                if driver.read is not None:
                    done = driver.read(connection, questions, dialect.dbapi, mariadb)
                else:
                    done = _read_async(driver, connection, questions, dialect.dbapi, mariadb)
        except BaseException as error:
            revisions.fail_read(database)
            origin = error.__cause__ if isinstance(error, Unusable) and error.__cause__ is not None else error
            cancelled = origin if isinstance(origin, asyncio.CancelledError) else None
            interrupts = not isinstance(origin, Exception) or faults.interrupts(origin)
            if interrupts or isinstance(error, Unusable):
                _discard(driver, connection, record)
            if interrupts and cancelled is None:
                raise origin  # noqa: B904 -- the application's, as it was
            _log.debug("cannot read the revision of the database: %s", type(error).__qualname__)
        else:
            if done:
                revisions.finish_read(database, perf_counter() - before)
            else:
                database.due = 0.0  # it is the application's: another connection will do
        if cancelled is not None:
            _cancel_later(cancelled)

    def forget(self) -> None:
        """Leave nothing on the dialects."""
        for dialect in list(self._dialects):
            dialect.__dict__.pop(_WATCHED, None)


def _collected() -> bool:
    """Whether the garbage collector returns the connection: then any code may have been interrupted."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "_finalize_fairy":
            found = frame.f_locals
            if "is_gc_cleanup" in found:
                return bool(found["is_gc_cleanup"])
            return found.get("ref", frame) is not None  # SQLAlchemy 1.4
        frame = frame.f_back
    return True


def _in_greenlet() -> bool:
    """Whether an asynchronous driver can be awaited here."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and type(greenlet.getcurrent()).__name__ == "_AsyncIoGreenlet"


def _read_async(driver: Driver, connection: Any, questions: Any, dbapi: Any, mariadb: bool) -> bool:
    async def bounded() -> bool:
        assert driver.read_async is not None
        try:
            return await asyncio.wait_for(driver.read_async(_raw(connection), questions, dbapi, mariadb), DEADLINE)
        except asyncio.TimeoutError as error:
            raise Unusable from error

    return await_only(bounded())


def _raw(connection: Any) -> Any:
    """The asynchronous driver's own connection."""
    return getattr(connection, "driver_connection", None) or connection._connection


def _discard(driver: Driver, connection: Any, record: Any) -> None:
    """Close a connection without asking the server; its place in the pool connects anew."""
    if driver.read_async is not None:
        driver.discard(_raw(connection))
    record.invalidate()


def _cancel_later(error: asyncio.CancelledError) -> None:
    """Cancel the task again, at its next await: an exception from here would cost the pool a place."""
    task = asyncio.current_task()
    if task is None:
        raise error
    if sys.version_info >= (3, 11):
        task.uncancel()
    task.cancel(*error.args[:1])
