"""The process that runs Alembic with the project's unchanged env.py; we limit its sessions, and send events on stdout.

The parent starts it as `python -m …`. The request is one line of JSON on stdin, and each event one line of JSON on
stdout. Output of env.py goes to stderr. When stdin closes, the parent is dead: the process ends at once, and the server
rolls back the open transaction.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Final, TextIO

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import Pool

from .. import losses, snapshot
from ..database import VersionTable
from ..plan import Loss
from . import alembic_sessions
from .alembic_errors import failure
from .alembic_rehearsal import rehearse
from .alembic_render import Renderer
from .alembic_steps import StoppedError, after, below, describe, digest, load, steps

_ORPHANED: Final = 70
_READING: Final = frozenset(
    [
        "SELECT",
        "SHOW",
        "SET",
        "PRAGMA",
        "EXPLAIN",
        "DESCRIBE",
        "BEGIN",
        "START",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "USE",
        "LOCK",
        "UNLOCK",
    ]
)
_WRITING: Final = frozenset(["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH", "COPY", "CALL", "DO"])
_VERBS: Final = _WRITING | {"ALTER", "COMMENT", "CREATE", "DROP", "GRANT", "RENAME", "REVOKE", "SELECT", "TRUNCATE"}
_MOST_STATEMENTS: Final = 200
"""Statements of a step that we send: a step may change a million rows one by one."""


def _die_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_ORPHANED)


class RequestHandler:
    """Answers one request.

    Args:
        request: The parent's request.
        out: The stream for events.
    """

    def __init__(self, request: dict[str, Any], out: TextIO) -> None:
        self._request, self._out = request, out
        self._lock = threading.Lock()
        self._contexts: list[MigrationContext] = []
        self._autocommit = self._inside = False
        self._began = self._statements = 0
        self._step: str | None = None
        self._sent_changes: set[str] = set()
        self._table = VersionTable()
        self._last: snapshot.Snapshot | None = None
        options = argparse.Namespace(
            config=request["config"], name=request["section"], x=request["x"] or None, raiseerr=True
        )
        self._config = Config(request["config"], ini_section=request["section"], cmd_opts=options)
        if request.get("url"):
            self._config.set_main_option("sqlalchemy.url", request["url"].replace("%", "%%"))

    def send(self, name: str, **facts: Any) -> None:
        """Send the parent an event."""
        with self._lock:
            self._out.write(json.dumps({"event": name, **facts}) + "\n")
            self._out.flush()

    # -- reading

    def plan(self) -> None:
        """Send the plan for the request's direction and target, with facts about database and files."""
        script = load(self._config)
        direction, target = self._request["direction"], self._request["target"]
        found: dict[str, Any] = {}

        def read(heads: Any, context: MigrationContext) -> list[Any]:
            if not all(heads):
                raise StoppedError(
                    "environment",
                    f"table {context.version_table} has a row without a revision: delete that row, or write the "
                    "revision into it",
                )
            found["heads"], found["context"], found["facts"] = tuple(sorted(heads)), context, self._facts(context)
            return []

        self._run_env(script, read, target, dont_mutate=True)
        context: MigrationContext | None = found.get("context")
        if context is None:
            raise StoppedError("environment", "env.py ran no migrations: it must call context.run_migrations()")
        facts: dict[str, Any] = found["facts"]
        heads: tuple[str, ...] = found["heads"]
        facts["heads"] = list(heads)
        known = {each.revision for each in script.walk_revisions()}
        facts["files"] = {each.revision: each.path for each in script.walk_revisions()}
        facts["missing"] = [head for head in heads if head not in known]
        facts["script_heads"] = sorted(script.get_heads())
        try:
            facts["applied"] = [] if facts["missing"] else below(script, heads)
        except RevisionError as error:
            raise StoppedError(
                "environment",
                f"the rows of table {facts['version_table']} contradict each other ({', '.join(heads)}): one of these "
                "revisions comes before another. Delete the row of the older one",
            ) from error
        if facts["missing"] or direction is None:
            self.send("plan", steps=[], after=list(heads), **facts)
            return
        if direction == "downgrade" and len(heads) > 1 and "@" not in str(target):
            raise StoppedError(
                "refused",
                f"the database has {len(heads)} heads ({', '.join(heads)}): name the branch that goes down, as in "
                f"{heads[0]}@-1",
            )
        found_steps = steps(script, direction, target, heads)
        renderer = Renderer(self._config, script, context.dialect.name, context.opts)
        self.send(
            "plan",
            steps=[describe(renderer, step, direction) for step in found_steps],
            after=after(script, found_steps, heads),
            **facts,
        )

    def _facts(self, context: MigrationContext) -> dict[str, Any]:
        connection = context.connection
        if connection is None:
            raise StoppedError("environment", "env.py configured no connection")
        own = context.impl.transactional_ddl and not alembic_sessions.commits_by_itself(connection)
        return {
            "url": connection.engine.url.render_as_string(hide_password=False),
            "dialect": context.dialect.name,
            "version_table": context.version_table,
            "version_table_schema": context.version_table_schema,
            "current_schema": alembic_sessions.current_schema(connection),
            "transaction": "none" if not own else "step" if context._transaction_per_migration else "run",  # pyright: ignore[reportPrivateUsage]
        }

    # -- running

    def run(self) -> None:
        """Run the plan of the request, unless database or files changed since the plan was made."""
        script = load(self._config)
        direction = self._request["direction"]
        planned: list[dict[str, Any]] = self._request["steps"]

        def begin(heads: Any, context: MigrationContext) -> Any:
            return self._begin(script, heads, context, planned)

        begin.__name__ = direction  # the name that Alembic's own commands use
        self._run_env(script, begin, self._request["after"][0] if self._request["after"] else "base")
        if not self._contexts:
            raise StoppedError("environment", "env.py ran no migrations: it must call context.run_migrations()")
        self.send("ended")

    def _begin(
        self, script: ScriptDirectory, heads: Any, context: MigrationContext, planned: list[dict[str, Any]]
    ) -> Any:
        direction = self._request["direction"]
        if sorted(heads) != self._request["before"]:
            raise StoppedError(
                "changed", f"the database is at {', '.join(sorted(heads)) or 'base'} now: another run has changed it"
            )
        makers = {"upgrade": "upgrade_from_script", "downgrade": "downgrade_from_script"}
        make = getattr(MigrationStep, makers[direction])
        self._table = VersionTable(context.version_table, context.version_table_schema)
        self._last = self._snapshot(context)
        for number, each in enumerate(planned, 1):
            revision = script.get_revision(each["revision"])
            if digest(revision.path) != each["sha256"]:
                raise StoppedError(
                    "changed", f"the file of {each['revision']} has changed since otel-schema made the plan"
                )
            step = make(script.revision_map, revision)
            step.migration_fn = self._count_losses_first(step.migration_fn, each, context)
            self._step = each["revision"]
            self._sent_changes.clear()
            self._autocommit, self._statements = False, 0
            self.send("step", revision=each["revision"], number=number)
            yield step

    def _count_losses_first(self, function: Any, planned: dict[str, Any], context: MigrationContext) -> Any:
        def count_first(**arguments: Any) -> None:
            connection = context.connection
            assert connection is not None
            locked = context.dialect.name == "postgresql" and self._request["transaction"] != "none"
            for data in planned["losses"]:
                loss = Loss(**data)
                lost = losses.count(connection, loss, lock=locked)
                if lost:
                    raise StoppedError("loss", losses.sentence(loss, lost, exact=locked))
            self._inside = True
            function(**arguments)
            self._inside = False

        return count_first

    def _on_version_apply(self, ctx: MigrationContext, step: Any, heads: Any, **_: Any) -> None:
        now = self._snapshot(ctx)
        before, self._last = self._last, now
        change: dict[str, Any] = {}
        if before is not None and now is not None:
            change = {"gone": sorted({*before} - {*now}), "new": sorted({*now} - {*before})}
        self.send("applied", revision=self._step, heads=sorted(heads), known=now is not None, **change)

    def _snapshot(self, context: MigrationContext) -> snapshot.Snapshot | None:
        """Take a snapshot, inside a transaction with a savepoint: a failed read must not fail the migration."""
        connection: Any = context.connection
        try:
            if context.dialect.name == "postgresql" and self._request["transaction"] != "none":
                with connection.begin_nested():
                    return snapshot.take(connection, self._table)
            return snapshot.take(connection, self._table)
        except SQLAlchemyError:
            return None

    # -- rehearsing

    def rehearse(self) -> None:
        """Run each revision up, down and up again, and send unexpected differences of the schema."""
        script = load(self._config)

        def upgrade(heads: Any, context: MigrationContext) -> Any:
            if heads:
                raise StoppedError(
                    "environment", f"the database is at {', '.join(heads)}, but rehearse needs an empty database"
                )
            self._table = VersionTable(context.version_table, context.version_table_schema)
            yield from rehearse(script, self.send, lambda: self._snapshot(context))

        self._run_env(script, upgrade, "heads")
        self.send("ended")

    # -- both

    def _run_env(self, script: ScriptDirectory, function: Any, target: str, **more: Any) -> None:
        run_migrations, block = MigrationContext.run_migrations, MigrationContext.autocommit_block
        applied = self._on_version_apply if self._request["action"] == "run" else None

        rehearsing = self._request["action"] == "rehearse"
        if rehearsing:  # as in production, where each revision is deployed by itself
            configured = MigrationContext.__init__

            def each_by_itself(context: MigrationContext, dialect: Any, connection: Any, opts: Any, *rest: Any) -> None:
                configured(context, dialect, connection, {**opts, "transaction_per_migration": True}, *rest)

            MigrationContext.__init__ = each_by_itself  # pyright: ignore[reportAttributeAccessIssue]

        def once(context: MigrationContext, **arguments: Any) -> None:
            self._contexts.append(context)
            if len(self._contexts) > 1:
                raise StoppedError(
                    "environment",
                    "env.py migrates more than one database in one run: let it migrate one, such as the one of -x "
                    "database=NAME, and run this command for each",
                )
            if applied is not None:
                context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, applied)
            run_migrations(context, **arguments)

        def autocommit(context: MigrationContext) -> Any:
            self.send("autocommit", revision=self._step)
            self._autocommit = True
            return block(context)

        MigrationContext.run_migrations = once  # pyright: ignore[reportAttributeAccessIssue]
        MigrationContext.autocommit_block = autocommit  # pyright: ignore[reportAttributeAccessIssue]
        event.listen(Pool, "connect", self._on_connect)
        event.listen(Engine, "before_cursor_execute", self._before_execute)
        event.listen(Engine, "after_cursor_execute", self._after_execute)
        event.listen(Engine, "handle_error", self._on_error)
        with EnvironmentContext(self._config, script, fn=function, as_sql=False, destination_rev=target, **more):
            script.run_env()

    def _on_connect(self, connection: Any, _: object) -> None:
        dialect = self._request.get("dialect") or alembic_sessions.dialect_of(connection)
        lock, statement = self._request["lock_timeout"], self._request["statement_timeout"]
        session = alembic_sessions.prepare(connection, dialect, lock, statement)
        if session is not None:
            self.send("session", id=session)

    def _before_execute(self, *_: Any) -> None:
        self._began = time.time_ns()

    def _on_error(self, failed: Any) -> None:
        if failed.statement is not None:
            self._send_statement(_verb(failed.statement), failed=True)

    def _send_statement(self, verb: str, failed: bool = False) -> None:
        """Send verb and times of a statement of the step; our own queries are left out."""
        if self._inside and verb in _VERBS and self._statements < _MOST_STATEMENTS:
            self._statements += 1
            self.send("statement", verb=verb, began=self._began, ended=time.time_ns(), failed=failed)

    def _after_execute(self, _c: Any, _k: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
        if self._step is None:
            return
        word = _verb(statement)
        self._send_statement(word)
        if word in _READING:
            return
        what = "rows" if word in _WRITING else "schema"
        if what == "schema" and "rows" in self._sent_changes:
            what = "schema after rows"
        if self._autocommit:
            what += " outside"
        if what not in self._sent_changes:
            self._sent_changes.add(what)
            self.send("changed", revision=self._step, what=what)


def _verb(statement: str) -> str:
    return statement.lstrip("( \n\t").partition(" ")[0].upper()


def main() -> None:
    """Answers the request on stdin."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, 65536)
        if not read:
            os._exit(_ORPHANED)
        line += read
    threading.Thread(target=_die_with_parent, daemon=True).start()
    request = json.loads(line)
    sys.path.insert(0, "")
    code = 1
    driver: RequestHandler | None = None
    try:
        driver = RequestHandler(request, out)
        {"plan": driver.plan, "run": driver.run, "rehearse": driver.rehearse}[request["action"]]()
        code = 0
    except StoppedError as error:
        assert driver is not None
        driver.send("error", kind=error.kind, message=str(error))
    except BaseException as error:  # env.py may call sys.exit
        directory = str(Path(request["config"]).resolve().parent)
        facts = failure(error, directory)
        out.write(json.dumps({"event": "error", **facts}) + "\n")
        out.flush()
        traceback.print_exc()
    out.close()
    sys.stderr.flush()
    os._exit(code)  # whatever env.py left running


if __name__ == "__main__":
    main()
