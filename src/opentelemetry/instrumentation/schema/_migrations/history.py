"""The history: who migrated what, and when, as JSON lines in a file, never in the migrated database.

We write a line `started` before a run begins and a line `finished` after it. A `started` without its `finished` is a
run that was killed, or still runs.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

from .._prometheus.text import cleaned
from .errors import MigrationError

NAME: Final = Path(".otel-schema") / "history.jsonl"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The record of one run of a migration tool.

    Attributes:
        run: Id of the run.
        database: `Database.identity`: no user, no password.
        table: The version table, since two tools or environments may share a database.
        tool: `alembic` or `dbmate`.
        direction: `upgrade` or `downgrade`.
        started: When, as ISO 8601 in UTC.
        by: Who: user, host, process.
        before: The revisions of the database before the run.
        target: The revisions that the run should reach.
        files: SHA-256 of each step's file, by revision, in the order of the steps.
        plan: SHA-256 of the plan.
        commit: Of the checkout that ran it.
        image: Name of the image or release that ran it.
        by_guard: Whether the guard started it.
        finished: When, as ISO 8601 in UTC; None if it still runs, or was killed.
        outcome: `applied`, `rolled_back`, `partial`, `failed` or `unknown`; None if it did not finish.
        after: The revisions that the database held afterwards; None if they could not be read.
        clean: Whether the schema was then exactly that of those revisions; None if nobody knows.
        duration: Seconds.
        error: Class of the error and the database's code; never its text, which may hold values.
    """

    run: str
    database: str
    table: str
    tool: str
    direction: str
    started: str
    by: Mapping[str, Any]
    before: tuple[str, ...]
    target: tuple[str, ...]
    files: Mapping[str, str]
    plan: str
    commit: str | None = None
    image: str | None = None
    by_guard: bool = False
    finished: str | None = None
    outcome: str | None = None
    after: tuple[str, ...] | None = None
    clean: bool | None = None
    duration: float | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The run for people: its direction, when it began and who ran it."""
        return f"the {self.direction} of {self.started[:19]}Z by {self.by.get('user')}@{self.by.get('host')}"

    @property
    def undone_to(self) -> tuple[str, ...]:
        """Where an undoing of the run returns to: where it began, or where it ended if there is nothing to undo."""
        return self.before if self.outcome in ("applied", "partial") else self.after or ()

    @property
    def left_halfway(self) -> bool:
        """Whether the run stopped in the middle of a step, and left changes that no revision describes."""
        return self.outcome == "partial" and self.clean is not True


@dataclass(frozen=True)
class HistoryFile:
    """A history file.

    Attributes:
        path: Path of the file, which need not exist.
    """

    path: Path

    def record_start(self, **facts: Any) -> RunRecord:
        """Write a `started` line before a run; `facts` are fields of `RunRecord`.

        Raises:
            MigrationError: if the file cannot be written: no run begins without its record.
        """
        by = {"user": _user(), "host": socket.gethostname(), "pid": os.getpid()}
        run = RunRecord(run=uuid.uuid4().hex, started=_now(), by=by, **facts)
        data = {name: value for name, value in asdict(run).items() if name not in _AFTER}
        self._append({"version": VERSION, "event": "started", **data})
        return run

    def record_finish(
        self,
        run: RunRecord,
        outcome: str,
        after: tuple[str, ...] | None,
        clean: bool | None,
        duration: float,
        error: str | None = None,
    ) -> None:
        """Write a `finished` line after a run.

        Raises:
            MigrationError: if the file cannot be written.
        """
        data = {"outcome": outcome, "after": after, "clean": clean}
        data |= {"duration": round(duration, 3), "error": error, "finished": _now()}
        identity = {"run": run.run, "database": run.database, "table": run.table, "tool": run.tool}
        self._append({"version": VERSION, "event": "finished", **identity, **data})

    def record_verdict(self, incident: str, **numbers: Any) -> None:
        """Write the verdict of the guard, with its numbers.

        Raises:
            MigrationError: if the file cannot be written.
        """
        self._append({"version": VERSION, "event": "judged", "at": _now(), "incident": incident, **numbers})

    def record_phase(self, incident: str, sequence: int, phase: str, summary: str) -> None:
        """Write a phase of an incident, as the guard posts it to Alertmanager.

        Raises:
            MigrationError: if the file cannot be written.
        """
        phases = {"incident": incident, "sequence": sequence, "phase": phase, "summary": summary}
        self._append({"version": VERSION, "event": "phase", "at": _now(), **phases})

    def record_rehearsal(self, files: Iterable[str]) -> None:
        """Write which migration files, by SHA-256, were rehearsed on an empty database.

        Raises:
            MigrationError: if the file cannot be written.
        """
        self._append({"version": VERSION, "event": "rehearsed", "at": _now(), "files": sorted(files)})

    def rehearsed_files(self) -> set[str]:
        """SHA-256 of every migration file that was rehearsed; empty if the history cannot be read."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return set()
        events = [
            data for data in map(_object, lines) if data.get("version") == VERSION and data.get("event") == "rehearsed"
        ]
        listed = [data.get("files") for data in events]
        return {str(file) for each in listed if isinstance(each, list) for file in cast("list[Any]", each)}

    def runs(self, database: str | None = None, table: str | None = None) -> list[RunRecord]:
        """The runs in the order in which they began, filtered by database and version table if given.

        We skip lines that are damaged, such as those that a killed process left incomplete.

        Raises:
            MigrationError: if the file exists and cannot be read, or a newer version wrote in it.
        """
        try:
            if self.path.exists() and not self.path.is_file():  # a device need not have an end
                raise MigrationError(f"the history {self.path} is not a file: name a file with --history")
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MigrationError(
                f"cannot read the history {self.path}: {error.strerror}. Name another file with --history"
            ) from error
        started: dict[str, dict[str, Any]] = {}
        for line in lines:
            data = _object(line)
            version = data.get("version")
            if isinstance(version, int) and version > VERSION:
                raise MigrationError(
                    f"a newer version of otel-schema wrote in the history {self.path}, and this one cannot read it: "
                    "run the newer version, or name another file with --history"
                )
            if version != VERSION:
                continue
            if data.get("event") == "started":
                started[str(data.get("run"))] = data
            elif data.get("event") == "finished" and str(data.get("run")) in started:
                started[str(data.get("run"))].update({name: data.get(name) for name in _AFTER})
        found = [run for run in map(_run, started.values()) if run is not None]
        return [run for run in found if database in (None, run.database) and table in (None, run.table)]

    def _append(self, data: Mapping[str, Any]) -> None:
        try:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(parents=True)
                if self.path.parent.name == NAME.parent.name:  # keep it out of Git: it names users and hosts
                    (self.path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
            # One write for a whole line, so that lines of two processes do not mix. If a full disk cut the last line,
            # we start a new one.
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(file).st_size
                cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                line = ("\n" if cut else "") + json.dumps(data) + "\n"
                if os.write(file, line.encode()) < len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise MigrationError(
                f"cannot write the history {self.path}: {error.strerror}. Name another file with --history"
            ) from error


_AFTER: Final = ("finished", "outcome", "after", "clean", "duration", "error")
_LISTS: Final = ("before", "target", "after")
_OPTIONAL: Final = frozenset(each.name for each in fields(RunRecord) if each.default is None)
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "by": dict, "files": dict, "before": list, "target": list, "after": list, "by_guard": bool, "clean": bool,
    "duration": (int, float),
}  # fmt: skip
"""`str` for the others."""


def _object(line: str) -> dict[str, Any]:
    try:
        data: Any = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _run(data: dict[str, Any]) -> RunRecord | None:
    """The record of a line; None if the line is damaged: it lacks a field, or a field has another type."""
    values = {each.name: data[each.name] for each in fields(RunRecord) if each.name in data}
    for name, value in values.items():
        if value is None and name in _OPTIONAL:
            continue
        if not isinstance(value, _TYPES.get(name, str)):
            return None
        if name in _LISTS:
            values[name] = tuple(map(str, cast("list[Any]", value)))
    try:
        return RunRecord(**values)
    except TypeError:
        return None


def find_unfinished(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Find the runs at the end of the history that have no `finished` line: they still run, or were killed."""
    found: list[RunRecord] = []
    for run in reversed(list(runs)):
        if run.outcome is not None:
            break
        found.append(run)
    return found


def find_last_upgrade(runs: Iterable[RunRecord], heads: tuple[str, ...]) -> tuple[RunRecord | None, str]:
    """Find the upgrade that a rollback without a target undoes; `undone_to` is where the rollback goes.

    It is the last upgrade, also one that stopped after some of its steps, or that failed and changed nothing. If the
    last run is a rollback, it is that: a command that is run twice by mistake must not undo two upgrades.

    Args:
        runs: Of one database and version table.
        heads: The revisions that the database holds now.

    Returns:
        The run, and an empty text; or None, and why the history does not say where to go.
    """
    runs = list(runs)
    last = runs[-1] if runs else None
    if last is not None and last.outcome is None:
        return None, f"{last.label} has no recorded end: somebody killed it, or it is still running"
    if last is not None and last.outcome == "unknown":
        return None, f"nobody knows what the database held after {last.label}"
    if last is not None and last.left_halfway:
        return None, f"{last.label} stopped in the middle of a step, and left changes that no revision describes"
    if last is not None and (last.direction, last.outcome) == ("downgrade", "partial"):
        return None, f"{last.label} stopped halfway"
    if last is not None and sorted(last.after or ()) != sorted(heads):
        return None, f"{last.label} left it elsewhere, so somebody else has migrated it since"
    if last is not None and last.outcome == "rolled_back":
        return last, ""
    for run in reversed(runs):
        if run.direction != "upgrade" or run.after is None or sorted(run.after) != sorted(heads):
            continue
        if run.outcome in ("applied", "partial") or (run is last and run.outcome == "failed"):
            return run, ""
    return None, "the history has no upgrade that ended there"


def applied_files(runs: Iterable[RunRecord]) -> dict[str, str]:
    """SHA-256 of the file of each applied revision, as of its last run; without revisions that were rolled back."""
    found: dict[str, str] = {}
    for run in runs:
        if run.direction == "upgrade" and run.outcome in ("applied", "partial", "failed"):
            reached = set(run.after or ()) if run.outcome != "applied" else set(run.files)
            names = list(run.files)
            last = max((names.index(each) for each in reached if each in names), default=-1)
            found.update({name: run.files[name] for name in names[: last + 1]})
        elif run.direction == "downgrade" and run.outcome == "rolled_back":
            for name in run.files:
                found.pop(name, None)
    return found


@dataclass(frozen=True)
class EditedFile:
    """A migration file that was edited or deleted after it was applied.

    Attributes:
        revision: Its revision.
        file: Path of the file; None if it is gone.
    """

    revision: str
    file: Path | None = field(default=None)


def find_edited_files(runs: Iterable[RunRecord], files: Mapping[str, Path]) -> list[EditedFile]:
    """Find applied revisions whose file was edited or deleted since.

    Args:
        runs: Of one database and version table.
        files: The file of each revision of this checkout.
    """
    found: list[EditedFile] = []
    for revision, digest in applied_files(runs).items():
        file = files.get(revision)
        try:
            if file is None or sha256(file.read_bytes()).hexdigest() != digest:
                found.append(EditedFile(revision, file))
        except OSError:
            found.append(EditedFile(revision))
    return found


def find_runs_with(runs: Iterable[RunRecord], revision: str) -> list[RunRecord]:
    """Find the runs that included a revision, the newest first: their `commit` or `image` has its file."""
    return [run for run in reversed(list(runs)) if revision in run.files]


def _user() -> str:
    try:
        return cleaned(getpass.getuser())
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid()) if hasattr(os, "getuid") else "?"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
