"""Alembic with a project's alembic.ini and env.py, run in processes of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ..._prometheus.text import cleaned
from ..database import Database, VersionTable, parse, unseen_error, without_password
from ..errors import MigrationError, RefusedError, UnknownError
from ..plan import DatabaseRevisions, Direction, Event, Limits, Loss, MissingRevisionError, Plan, Step, ToolReport
from ..process import Interrupts, ProcessExit, events
from .alembic_sessions import current_schema

_PROCESS: Final = "opentelemetry.instrumentation.schema._migrations.tools.alembic_process"
_LINES: Final = 6  # of stderr that an error shows


@dataclass
class Alembic:
    """Alembic.

    Attributes:
        config: Path of alembic.ini.
        section: Section of alembic.ini.
        x: Arguments for env.py, as `-x`.
        url: URL that replaces the one in alembic.ini; env.py may overrule it.
        interrupts: Signals that end a run early.
    """

    config: Path
    section: str = "alembic"
    x: Sequence[str] = ()
    url: str | None = None
    interrupts: Interrupts | None = None
    name: str = "alembic"
    _files: dict[str, Path] | None = field(default=None, repr=False)
    _script_heads: tuple[str, ...] = ()

    def plan(self, direction: Direction, target: str | None) -> Plan:
        """Plan a run: read the database through env.py, and the file of each step."""
        facts = self._facts(direction, target or ("head" if direction == "upgrade" else "-1"))
        database = self._database(facts)
        table = self._table(facts, database)
        missing: list[str] = facts["missing"]
        if missing:
            raise MissingRevisionError(database, table, tuple(missing), tuple(facts["script_heads"]))
        return Plan(
            tool=self.name,
            database=database,
            table=table,
            direction=direction,
            before=tuple(facts["heads"]),
            after=tuple(facts["after"]),
            steps=tuple(_step(each) for each in facts["steps"]),
            transaction=facts["transaction"],
        )

    def read_revisions(self) -> DatabaseRevisions:
        """Read the revisions of the database that env.py opens."""
        facts = self._facts(None, "head")
        database = self._database(facts)
        return DatabaseRevisions(database, self._table(facts, database), tuple(facts["heads"]), tuple(facts["applied"]))

    def run(self, plan: Plan, limits: Limits, event: Event) -> ToolReport:
        """Run a plan."""
        request = {
            "direction": plan.direction,
            "before": list(plan.before),
            "after": list(plan.after),
            "steps": [
                {
                    "revision": step.revision,
                    "sha256": step.sha256,
                    "losses": [asdict(loss) for loss in step.losses if not limits.may_lose(loss)],
                }
                for step in plan.steps
            ],
            "lock_timeout": limits.lock_timeout,
            "statement_timeout": limits.statement_timeout,
            "transaction": plan.transaction,
            "dialect": plan.database.dialect,
        }
        return self._listen(request, plan, event)

    def rehearse(self, event: Event) -> ToolReport:
        """Run each revision up, down and up again on an empty database."""
        request = {
            "lock_timeout": Limits().lock_timeout,
            "statement_timeout": None,
            "transaction": "step",
        }
        command, whole, directory = self._call("rehearse", request)
        stream, output = events(command, whole, directory, self.interrupts, environment=_environment())
        problem: dict[str, Any] | None = None
        step, ended = "", False
        for each in stream:
            name = each.pop("event")
            if name == "error":
                problem = each
            elif name == "step":
                step = each["revision"]
            ended = ended or name == "ended"
            event(name, each)
        killed = self._killed(output.code, ended)
        if killed is None and problem is None and not ended:
            problem = {"kind": "failed", "type": "process", "message": f"it ended with exit code {output.code}"}
        if problem is not None and not step:
            raise self._problem(problem, output)
        return ToolReport(
            failed=None if ended else step,
            error=_error(problem, killed),
            message=_message(problem, killed),
            killed=killed,
        )

    def files(self) -> dict[str, Path]:
        """The file of each revision."""
        if self._files is None:
            self._facts(None, "head")
        assert self._files is not None
        return self._files

    def _facts(self, direction: Direction | None, target: str) -> dict[str, Any]:
        request = {
            "direction": direction,
            "target": target,
            "lock_timeout": Limits().lock_timeout,
            "statement_timeout": None,
        }
        stream, output = events(*self._call("plan", request), self.interrupts, environment=_environment())
        facts: dict[str, Any] | None = None
        problem: dict[str, Any] | None = None
        for each in stream:
            facts = each if each["event"] == "plan" else facts
            problem = each if each["event"] == "error" else problem
        if self.interrupts is not None:
            self.interrupts.raise_if_received()
        if facts is None:
            raise self._problem(problem, output)
        self._files = {revision: Path(path) for revision, path in facts["files"].items()}
        self._script_heads = tuple(facts["script_heads"])
        return facts

    def _call(self, action: str, request: dict[str, Any]) -> tuple[list[str], dict[str, Any], Path]:
        common = {
            "action": action,
            "config": str(self.config.resolve()),
            "section": self.section,
            "x": list(self.x),
            "url": self.url,
        }
        return [sys.executable, "-m", _PROCESS], {**common, **request}, Path.cwd()

    def _database(self, facts: dict[str, Any]) -> Database:
        database = parse(facts["url"])
        if self.url is not None:
            given = parse(self.url)
            nameless = not (database.url.host or database.url.database or database.url.query)  # a `creator` connects
            if given.identity != database.identity and not nameless:
                raise MigrationError(
                    f"env.py migrates {database}, not {given} as --url says: it takes its URL from somewhere else. "
                    "Set that, or let env.py read sqlalchemy.url from its config"
                )
            return given
        return database

    def _table(self, facts: dict[str, Any], database: Database) -> VersionTable:
        """The version table. If env.py sets a search_path, our own connections need the name of its schema."""
        found = VersionTable(facts["version_table"], facts["version_table_schema"])
        first: str | None = facts["current_schema"]
        if found.schema is not None or database.dialect != "postgresql" or first == "public":
            return found
        if first is None:
            raise unseen_error(found)
        with database.connect() as connection:
            return found if current_schema(connection) == first else found.in_schema(first)

    def _problem(self, problem: dict[str, Any] | None, output: ProcessExit) -> Exception:
        tail = " | ".join(cleaned(without_password(line)) for line in output.stderr.strip().splitlines()[-_LINES:])
        if problem is None:
            code = output.code
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            return UnknownError(
                f"env.py or a revision file ended Alembic's process with {how} before it could answer: "
                f"{tail or 'it printed nothing'}"
            )
        message = cleaned(without_password(str(problem["message"])), 1000)
        if problem["kind"] == "refused":
            return RefusedError(message)
        if problem["kind"] in ("files", "environment", "changed"):
            return MigrationError(message)
        if problem["kind"] == "command":
            return MigrationError(f"Alembic: {message}")
        place = f" ({problem['place']})" if problem.get("place") else ""
        kind = UnknownError if problem.get("database") else MigrationError
        return kind(f"env.py failed before any migration ran: {problem['type']}: {message}{place}")

    def _killed(self, code: int, ended: bool) -> int | None:
        """The signal that ended the process before it was done; None if none did."""
        if ended:
            return None
        received = self.interrupts.received if self.interrupts is not None else None
        return received if received is not None else -code if code < 0 else None

    def _listen(self, request: dict[str, Any], plan: Plan, event: Event) -> ToolReport:
        command, whole, directory = self._call("run", request)
        stream, output = events(command, whole, directory, self.interrupts, lambda: event("idle", {}), _environment())
        completed: list[str] = []
        sessions: list[int] = []
        change: list[tuple[tuple[str, ...], bool, list[str], list[str]]] = []
        step: str | None = None
        changes: set[str] = set()
        problem: dict[str, Any] | None = None
        ended = False
        for each in stream:
            name = each.pop("event")
            if name == "session":
                sessions.append(each["id"])
            elif name == "step":
                step, changes = each["revision"], set()
            elif name == "applied":
                completed.append(each["revision"])
                change.append((tuple(each["heads"]), each["known"], each.get("gone", []), each.get("new", [])))
                step = None
            elif name == "changed":
                changes.add(each["what"])
            elif name == "autocommit":
                changes.add("autocommit")
            elif name == "error":
                problem = each
            elif name == "ended":
                ended = True
            event(name, each)
        killed = self._killed(output.code, ended)
        if killed is None and problem is None and not ended:
            problem = {"kind": "failed", "type": "process", "message": f"it ended with exit code {output.code}"}
        return ToolReport(
            completed=tuple(completed),
            failed=step,
            error=_error(problem, killed),
            message=_message(problem, killed),
            lock_timeout=bool(problem and problem.get("lock")),
            refused=str(problem["message"]) if problem and problem["kind"] == "loss" else None,
            changed=bool(problem and problem["kind"] == "changed"),
            snapshots=tuple(change),
            dirty=_dirty(changes, plan),
            killed=killed,
            sessions=tuple(sessions),
            stderr=output.stderr,
        )


def _environment() -> dict[str, str]:
    """Our environment without the additions of `opentelemetry-instrument`: we record the run ourselves, once."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [each for each in path if not each.rstrip("/").endswith("auto_instrumentation")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(kept)} if kept != path else {**os.environ}


def _step(data: dict[str, Any]) -> Step:
    return Step(
        revision=data["revision"],
        down=tuple(data["down"]),
        title=data["title"],
        file=Path(data["file"]),
        sha256=data["sha256"],
        sql=data["sql"],
        kind=data["kind"],
        why=data["why"],
        losses=tuple(Loss(**loss) for loss in data["losses"]),
        notes=tuple(data["notes"]),
        autocommit=data["autocommit"],
    )


def _error(problem: dict[str, Any] | None, killed: int | None) -> str | None:
    if killed is not None:
        return signal.Signals(killed).name
    if problem is None:
        return None
    code = problem.get("code")
    return f"{problem.get('type', problem['kind'])}{f' {code}' if code else ''}"


def _message(problem: dict[str, Any] | None, killed: int | None) -> str | None:
    if problem is not None and killed is None:
        place = f" ({problem['place']})" if problem.get("place") else ""
        code = f" [{problem['code']}]" if problem.get("code") else ""
        return f"{cleaned(without_password(str(problem['message'])), 1000)}{code}{place}"
    return f"the process was ended by {signal.Signals(killed).name}" if killed is not None else None


def _dirty(changes: set[str], plan: Plan) -> bool:
    """Whether the unfinished step committed changes of rows, which a comparison of schemas does not show."""
    if any(each.endswith("outside") for each in changes) or ("autocommit" in changes and "rows" in changes):
        return True
    if plan.transaction == "none" and plan.database.dialect == "mysql":
        return "schema after rows" in changes
    return False
