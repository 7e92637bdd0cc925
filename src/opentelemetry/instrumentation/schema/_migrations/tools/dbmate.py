"""Runs DBMate's binary: only `migrate` and `rollback`, one file at a time. We do not parse its output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..._prometheus.text import cleaned
from ..._schemas import revisions
from ..._schemas.version_tables import parse_table_name
from .. import losses, outcome, snapshot
from ..classify import FunctionSource, MigrationFunction, classify_step
from ..database import Database, VersionTable, parse, read_heads, without_password
from ..errors import MigrationError, UnknownError
from ..plan import DUMP, DatabaseRevisions, Direction, Event, Limits, MissingRevisionError, Plan, Step, ToolReport
from ..process import Interrupts, events
from ..sql_text import Effects, read_effects
from .dbmate_files import File, binary, binary_version, has_statements, marked, read_file
from .dbmate_url import dbmate_url

_VARIABLE: Final = "OTEL_SCHEMA_DBMATE_URL"
_LOCKING: Final = (2, 37)


@dataclass
class Dbmate:
    """DBMate.

    Attributes:
        directories: Of the migrations.
        url: The database; `DATABASE_URL` where none is given.
        interrupts: What ends a run early.
        table: Its version table, as DBMate takes it: with or without a database schema.
    """

    directories: tuple[Path, ...]
    url: str | None = None
    interrupts: Interrupts | None = None
    table: str = "schema_migrations"
    name: str = "dbmate"

    def plan(self, direction: Direction, target: str | None) -> Plan:
        """Plan a run."""
        binary_version()
        files = self._read_files()
        current = self.read_revisions()
        missing = tuple(each for each in current.heads if each not in files)
        if missing:
            raise MissingRevisionError(current.database, current.table, missing, tuple(sorted(files)[-1:]))
        applied = set(current.heads)
        if direction == "upgrade":
            chosen = self._pending(files, applied, target)
            after = applied | {*chosen}
        else:
            chosen = self._reverted(files, applied, target)
            after = applied - {*chosen}
        dialect = current.database.dialect
        return Plan(
            tool=self.name,
            database=current.database,
            table=current.table,
            direction=direction,
            before=current.heads,
            after=tuple(sorted(after)),
            steps=tuple(self._step(files[each], direction, current, applied) for each in chosen),
            transaction="none" if dialect == "mysql" else "step",
        )

    def read_revisions(self) -> DatabaseRevisions:
        """Read the versions that the database has applied."""
        database, table = self._database(), self._version_table
        if database.dialect == "sqlite" and not database.file.exists():
            return DatabaseRevisions(database, table, (), ())
        with database.connect() as connection:
            self._own_table(connection, table)
            heads = read_heads(connection, table)
        return DatabaseRevisions(database, table, heads, tuple(sorted(heads, reverse=True)[1:]))

    def files(self) -> dict[str, Path]:
        """The file of each version."""
        return {each.id: each.file for each in revisions.read_dbmate(*self.directories)}

    def run(self, plan: Plan, limits: Limits, event: Event) -> ToolReport:
        """Run a plan: one process per file, which sees that file alone."""
        completed: list[str] = []
        sessions: list[int] = []
        snapshots: list[tuple[tuple[str, ...], bool, list[str], list[str]]] = []
        state = outcome.read(plan.database, plan.table)
        for number, step in enumerate(plan.steps, 1):
            if sha256(step.file.read_bytes()).hexdigest() != step.sha256:
                return _stopped_report(
                    completed,
                    step,
                    "changed",
                    f"{step.file.name} has changed since otel-schema made the plan",
                    changed=True,
                )
            refused = self._describe_loss(plan, step, limits)
            if refused:
                return _stopped_report(completed, step, "loss", refused, snapshots=snapshots, refused=refused)
            event("step", {"revision": step.revision, "number": number})
            code, said = self._run_file(plan, step, limits, event, sessions)
            interrupted = self.interrupts.received if self.interrupts is not None else None
            killed = interrupted or (-code if code < 0 else None)
            if code == 0 and killed is None:
                try:
                    now = outcome.read(plan.database, plan.table, sessions)
                except UnknownError:
                    return _stopped_report(
                        completed, step, "lost", "otel-schema cannot reach the database", snapshots=snapshots
                    )
                change = snapshot.difference(state.schema, now.schema)
                gone = [line[2:] for line in change if line[0] == "-"]
                snapshots.append((now.heads, True, gone, [line[2:] for line in change if line[0] == "+"]))
                state = now
                if (step.revision in now.heads) == (plan.direction == "upgrade"):
                    completed.append(step.revision)
                    event("applied", {"revision": step.revision})
                    continue
                said = "dbmate reported success, but the version table does not contain the version"
            name = signal.Signals(killed).name if killed else f"dbmate {code}"
            message = f"the process was ended by {name}" if killed else said
            return ToolReport(
                completed=tuple(completed),
                failed=step.revision,
                error=name,
                message=message,
                lock_timeout=any(each in said for each in _LOCK_WORDS),
                snapshots=tuple(snapshots),
                dirty=plan.database.dialect == "mysql" and _mixes(step.sql or ""),
                killed=killed,
                sessions=tuple(sessions),
                stderr=said,
            )
        dump = self._dump()
        return ToolReport(
            completed=tuple(completed),
            snapshots=tuple(snapshots),
            sessions=tuple(sessions),
            error=DUMP if dump else None,
            message=dump,
        )

    def rehearse(self, event: Event) -> ToolReport:
        """Run each file up, down and up again on an empty database."""
        versions = sorted(self._read_files())
        for number, version in enumerate(versions, 1):
            facts: dict[str, Any] = {"revision": version, "number": number, "total": len(versions)}
            stops = [self._read_state()]
            for way in ("up", "down", "up again"):
                event("step", {**facts, "way": way})
                plan = self.plan("upgrade", version) if way != "down" else self.plan("downgrade", "-1")
                facts["file"] = str(plan.steps[0].file)
                if way == "up again" and stops[-1].schema == stops[1].schema:
                    return ToolReport(failed=version)  # its downgrade changed nothing, so the file would fail now
                ended = self.run(plan, Limits(lossy=None), lambda _name, _facts: None)
                if not ended.ok:
                    return replace(ended, failed=version)
                stops.append(self._read_state())
                wanted = {"up": stops[-1], "down": stops[0], "up again": stops[1]}[way]
                event("stop", {**facts, "way": way, "difference": snapshot.difference(wanted.schema, stops[-1].schema)})
        return ToolReport()

    def _read_state(self) -> outcome.DatabaseState:
        return outcome.read(self._database(), self._version_table)

    # -- the database

    @property
    def _version_table(self) -> VersionTable:
        _, name, schema = parse_table_name("dbmate", self.table)
        return VersionTable(name, schema, "version")

    def _database(self) -> Database:
        return parse(self._given())

    def _given(self) -> str:
        url = self.url or os.environ.get("DATABASE_URL")
        if not url:
            raise MigrationError("no database is named: give --url, or set DATABASE_URL")
        return url

    def _own_table(self, connection: Any, table: VersionTable) -> None:
        """Refuse another tool's table: Rails, Ecto and golang-migrate use the same name."""
        try:
            if not sa.inspect(connection).has_table(table.name, table.schema):
                return
            columns = {
                each["name"]: each["type"] for each in sa.inspect(connection).get_columns(table.name, table.schema)
            }
        except SQLAlchemyError as error:
            raise UnknownError(f"cannot read table {table}: {outcome.reason(error)}") from error
        version = columns.get("version")
        if version is None or {*columns} - {"version"} or not isinstance(version, sa.types.String):
            raise MigrationError(
                f"table {table} is not DBMate's (its columns are {', '.join(sorted(columns))}): another tool uses the "
                "name. Give DBMate a table of its own: set DBMATE_MIGRATIONS_TABLE"
            )

    # -- the files

    def _read_files(self) -> dict[str, File]:
        for directory in self.directories:
            if not directory.is_dir():
                raise MigrationError(f"{directory} does not exist: name DBMate's directory with --config")
        found: dict[str, File] = {}
        for version, path in ((each.id, each.file) for each in revisions.read_dbmate(*self.directories)):
            if version in found:
                raise MigrationError(
                    f"{found[version].path.name} and {path.name} have the same version: rename one of them"
                )
            found[version] = read_file(version, path)
        return found

    def _pending(self, files: dict[str, File], applied: set[str], target: str | None) -> list[str]:
        pending = sorted(each for each in files if each not in applied)
        if target in (None, "head", "heads"):
            return pending
        if str(target).startswith("+") and str(target)[1:].isdigit():
            return pending[: int(str(target)[1:])]
        if target not in files:
            place = ", ".join(map(str, self.directories))
            raise MigrationError(
                f"there is no version {cleaned(str(target))} in {place}: give the digits at the start of a file's name"
            )
        return [each for each in pending if each <= str(target)]

    def _reverted(self, files: dict[str, File], applied: set[str], target: str | None) -> list[str]:
        newest = sorted(applied, reverse=True)
        if target in (None, "-1"):
            return newest[:1]
        if target == "base":
            return newest
        if str(target).startswith("-") and str(target)[1:].isdigit():
            if int(str(target)[1:]) > len(newest):
                raise MigrationError(f"only {len(newest)} versions are applied: {target} goes too far")
            return newest[: int(str(target)[1:])]
        if target not in applied:
            known = ", ".join(newest[:10]) or "none"
            raise MigrationError(f"version {cleaned(str(target))} is not applied: name one of {known}, or base")
        return [each for each in newest if each > str(target)]

    def _step(self, file: File, direction: Direction, current: DatabaseRevisions, applied: set[str]) -> Step:
        dialect = current.database.dialect
        up = MigrationFunction(
            FunctionSource(empty=not has_statements(file.up)), read_effects(file.up, dialect, current.table.name)
        )
        if file.down is None:
            down = MigrationFunction(FunctionSource(missing=True))
        else:
            down = MigrationFunction(
                FunctionSource(empty=not has_statements(file.down)),
                read_effects(file.down, dialect, current.table.name),
            )
        found, why = classify_step(direction, up, down)
        mine: Effects = (up if direction == "upgrade" else down).effects or Effects()
        notes = list(mine.notes)
        if direction == "upgrade" and applied and file.version < max(applied):
            notes.append(f"out of order: {max(applied)} is already applied")
        text = file.path.read_bytes()
        return Step(
            revision=file.version,
            down=(),
            title=file.path.stem.partition("_")[2].replace("_", " "),
            file=file.path,
            sha256=sha256(text).hexdigest(),
            sql=file.up if direction == "upgrade" else (file.down or ""),
            kind=found,
            why=why,
            losses=tuple(mine.losses),
            notes=tuple(notes),
            autocommit=("up" if direction == "upgrade" else "down") in file.outside,
        )

    # -- a run

    def _describe_loss(self, plan: Plan, step: Step, limits: Limits) -> str | None:
        wanted = [loss for loss in step.losses if not limits.may_lose(loss)]
        if not wanted:
            return None
        with plan.database.connect() as connection:
            for loss in wanted:
                rows = losses.count(connection, loss)
                if rows:
                    return losses.sentence(loss, rows, exact=False)
        return None

    def _run_file(self, plan: Plan, step: Step, limits: Limits, event: Event, sessions: list[int]) -> tuple[int, str]:
        token = f"otel-schema {uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="otel-schema-") as name:
            folder = Path(name)
            text = step.file.read_bytes().decode()  # with the line ends that it has
            if plan.database.dialect == "mysql":
                text = marked(text, plan.direction, f"DO GET_LOCK('{token}', 0);")
            (folder / step.file.name).write_bytes(text.encode())
            command = [binary(), "--env", _VARIABLE, "--migrations-dir", name, "--migrations-table", self.table]
            command += ["--no-dump-schema"]
            if plan.database.dialect == "postgresql" and binary_version() >= _LOCKING:
                command += ["--migration-lock", "--migration-lock-timeout", f"{max(1, round(limits.lock_timeout))}s"]
            command += ["migrate" if plan.direction == "upgrade" else "rollback"]
            environment = {**os.environ, _VARIABLE: dbmate_url(plan.database, self._given(), limits, token)}
            finder = _Sessions(plan.database, token, sessions, event)
            try:
                stream, output = events(command, None, folder, self.interrupts, finder.look, environment)
                for _ in stream:
                    pass
            finally:
                finder.close()
        lines = [line for line in output.stderr.splitlines() if line.strip()]
        return output.code, cleaned(
            without_password(" | ".join(lines[-3:])), 1000
        ) or f"dbmate ended with {output.code}"

    def _dump(self) -> str | None:
        """Write schema.sql again if the project has one; return why that failed."""
        schema = Path("db/schema.sql")
        if not schema.exists():
            return None
        environment = {
            **os.environ,
            _VARIABLE: dbmate_url(self._database(), self._given(), Limits(), "otel-schema dump"),
        }
        command = [
            binary(),
            "--env",
            _VARIABLE,
            *(word for each in self.directories for word in ("--migrations-dir", str(each.resolve()))),
            "--migrations-table",
            self.table,
            "--schema-file",
            str(schema.resolve()),
            "dump",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        if done.returncode == 0:
            return None
        said = without_password(" | ".join(done.stderr.splitlines()[-3:]))
        return f"{schema} was not written again: {cleaned(said, 500)}"


class _Sessions:
    """Finds the server's session of a dbmate process: by its application name, or by a named lock that it holds."""

    def __init__(self, database: Database, token: str, found: list[int], event: Event) -> None:
        self._dialect, self._token, self._found, self._event = database.dialect, token, found, event
        self._engine = database.engine() if self._dialect in _SESSIONS else None
        self._connection: Any = None

    def look(self) -> None:
        if self._engine is not None:
            try:
                if self._connection is None:
                    self._connection = self._engine.connect()
                for (pid,) in self._connection.execute(sa.text(_SESSIONS[self._dialect]), {"token": self._token}):
                    if pid is not None and pid not in self._found:
                        self._found.append(int(pid))
                        self._event("session", {"id": int(pid)})
            except SQLAlchemyError:
                self._engine = None
        self._event("idle", {})

    def close(self) -> None:
        self.look()
        if self._connection is not None:
            self._connection.close()


_SESSIONS: Final = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE application_name = :token",
    "mysql": "SELECT IS_USED_LOCK(:token)",
}
_LOCK_WORDS: Final = ("lock timeout", "Lock wait timeout", "database is locked", "canceling statement due to lock")


def _mixes(sql: str) -> bool:
    """Whether SQL changes rows, which MariaDB commits with the next change of a table."""
    return bool(re.search(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", sql, re.I))


def _stopped_report(completed: list[str], step: Step, error: str, message: str, **more: Any) -> ToolReport:
    more["snapshots"] = tuple(more.get("snapshots", ()))
    return ToolReport(completed=tuple(completed), failed=step.revision, error=error, message=message, **more)
