"""The plan of a run: its steps in order, each with its SQL, its class and the data that it could lose."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from .database import Database, VersionTable
from .errors import MigrationError

Direction = Literal["upgrade", "downgrade"]

StepKind = Literal["reversible", "destructive", "irreversible", "fake-reversible", "unknown"]
"""The class of a step.

`reversible`: its downgrade undoes it, and the step itself loses nothing. `destructive`: the step, in the direction of
the run, drops, empties, overwrites or narrows what may hold data. `irreversible`: there is no downgrade, or it raises.
`fake-reversible`: the downgrade does nothing where the upgrade does something. `unknown`: it reads rows, imports
settings or asks the dialect, so nobody knows what it does before it runs; the guard never rolls it back.
"""

SAFE: Final[tuple[StepKind, ...]] = ("reversible", "destructive")
"""Classes that the guard may roll back by itself; a `destructive` step only if we counted its rows and none is lost."""


@dataclass(frozen=True)
class Loss:
    """Data that a step could lose.

    Attributes:
        action: `drop table`, `drop column`, `truncate`, `delete`, `overwrite`, `convert` or `drop schema`.
        table: With its schema, as the step names it.
        column: The column; None if whole rows are lost.
        schema: The table's database schema; None is the connection's default.
        type: The new type of a column that is converted.
    """

    action: str
    table: str
    column: str | None = None
    schema: str | None = None
    type: str | None = None

    @property
    def name(self) -> str:
        """The table with its schema."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    def __str__(self) -> str:
        return f"{self.action} {self.name}{f'.{self.column}' if self.column else ''}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One revision, applied or reverted.

    Attributes:
        revision: Id of the revision.
        down: Its down revisions.
        title: First line of its docstring, or the name of its file.
        file: Path of its file.
        sha256: SHA-256 of the file.
        sql: The SQL that it would run; None if nobody knows that before it runs.
        kind: Its class in the direction of the plan.
        why: The reason of the class.
        losses: Data that it could lose in the direction of the plan.
        notes: Remarks, such as: it touches the version table, or calls `create_all`.
        autocommit: Whether it, or a part of it, runs outside of a transaction.
    """

    revision: str
    down: tuple[str, ...]
    title: str
    file: Path
    sha256: str
    sql: str | None
    kind: StepKind
    why: str = ""
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()
    autocommit: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps that a run would take, and where they lead.

    Attributes:
        tool: `alembic` or `dbmate`.
        database: The database, as the tool itself would open it.
        table: The version table.
        direction: `upgrade` or `downgrade`.
        before: The revisions that the database holds now.
        after: The revisions that it would hold after the run.
        steps: The steps in the order in which they would run.
        transaction: The scope of one transaction: the whole `run`, one `step`, or `none` if the database commits each
            change of a table by itself.
    """

    tool: str
    database: Database
    table: VersionTable
    direction: Direction
    before: tuple[str, ...]
    after: tuple[str, ...]
    steps: tuple[Step, ...]
    transaction: Literal["run", "step", "none"]

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each step's file by revision, in the order of the steps."""
        return {step.revision: step.sha256 for step in self.steps}

    @property
    def sha256(self) -> str:
        """SHA-256 of the plan: it stays the same until the database or the files change."""
        steps = [[step.revision, step.sha256] for step in self.steps]
        what = [self.tool, self.database.identity, str(self.table), self.direction, self.before, self.after, steps]
        return sha256(json.dumps(what).encode()).hexdigest()

    def steps_of(self, kinds: Sequence[StepKind]) -> list[Step]:
        """The steps whose class is one of `kinds`."""
        return [step for step in self.steps if step.kind in kinds]

    def as_data(self) -> dict[str, Any]:
        """The plan as JSON data."""
        return {
            "tool": self.tool,
            "database": self.database.identity,
            "version_table": str(self.table),
            "direction": self.direction,
            "before": list(self.before),
            "after": list(self.after),
            "transaction": self.transaction,
            "sha256": self.sha256,
            "steps": [
                {
                    "revision": step.revision,
                    "title": step.title,
                    "file": step.file.name,
                    "sha256": step.sha256,
                    "kind": step.kind,
                    "why": step.why,
                    "losses": [str(loss) for loss in step.losses],
                    "notes": list(step.notes),
                    "sql": step.sql,
                }
                for step in self.steps
            ],
        }


DUMP: Final = "dump"
"""The error of a run whose steps are done, but whose schema file could not be written."""


@dataclass(frozen=True, kw_only=True)
class ToolReport:
    """What the tool's process reported. The database may hold something else: `outcome` reads that.

    Attributes:
        completed: The revisions whose step completed, in order; a transaction may have undone them since.
        failed: The revision whose step failed.
        error: Class of the error, and the database's code.
        message: One line for people; may hold values.
        lock_timeout: Whether a lock was not granted in time.
        refused: The data that the step would have lost, if we stopped the step for it.
        changed: Whether database or files differed from the plan, so that nothing was run.
        snapshots: After each completed step: the heads, whether the schema could be read, the lines of the schema that
            are gone, and the lines that are new.
        dirty: Whether the step that did not complete changed rows that no transaction restores.
        killed: The signal that ended the process.
        sessions: The server's ids of the sessions that the process opened.
        stderr: The end of the tool's stderr.
    """

    completed: tuple[str, ...] = ()
    failed: str | None = None
    error: str | None = None
    message: str | None = None
    lock_timeout: bool = False
    refused: str | None = None
    changed: bool = False
    snapshots: tuple[tuple[tuple[str, ...], bool, list[str], list[str]], ...] = ()
    dirty: bool = False
    killed: int | None = None
    sessions: tuple[int, ...] = ()
    stderr: str = ""

    @property
    def ok(self) -> bool:
        """Whether the process reported success."""
        return self.error is None and self.killed is None and self.refused is None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a run: how long statements may take, and which tables may lose rows.

    Attributes:
        lock_timeout: Seconds that a statement waits for a lock.
        statement_timeout: Seconds that a statement may run; None is no limit.
        lossy: Tables that may lose rows; None is every table.
    """

    lock_timeout: float = 5.0
    statement_timeout: float | None = None
    lossy: frozenset[str] | None = frozenset()

    def may_lose(self, loss: Loss) -> bool:
        """Whether the user accepted that these rows are lost."""
        return self.lossy is None or bool({loss.name, loss.table} & self.lossy)


Event = Callable[[str, dict[str, Any]], None]
"""Called with each event of a run: `session` (id), `step` (revision, number), `applied` (revision), `idle`."""


class DatabaseRevisions(NamedTuple):
    """The revisions that a database has applied.

    Attributes:
        database: The database, as the tool itself would open it.
        table: The version table.
        heads: The revisions in the version table; for DBMate, all versions.
        applied: The applied revisions below the heads, the newest first.
    """

    database: Database
    table: VersionTable
    heads: tuple[str, ...]
    applied: tuple[str, ...]


class MissingRevisionError(MigrationError):
    """The database holds revisions that this checkout has no file of.

    Attributes:
        database: The database.
        table: Its version table.
        missing: The revisions without a file.
        heads: The heads of this checkout.
    """

    def __init__(
        self, database: Database, table: VersionTable, missing: tuple[str, ...], heads: tuple[str, ...]
    ) -> None:
        super().__init__(
            f"{database} is at {', '.join(missing)}, and this checkout has no file of that revision: newer code, or "
            "another branch, has migrated it"
        )
        self.database, self.table, self.missing, self.heads = database, table, missing, heads


def format_heads(heads: Sequence[str], tool: str) -> str:
    """Format revisions for people: for DBMate the newest version alone; `base` if there are none."""
    if not heads:
        return "base"
    return max(heads) if tool == "dbmate" else ", ".join(heads)


class Tool(Protocol):
    """A migration tool with a project's settings."""

    name: str

    def plan(self, direction: Direction, target: str | None) -> Plan:
        """Read the database and the files, and plan a run; change nothing.

        Args:
            direction: `upgrade` or `downgrade`.
            target: As the tool writes it, also relative such as `+1`; None is the newest revision for an upgrade.

        Raises:
            MigrationError: if there is no such target, or a file is missing.
            RefusedError: if it is ambiguous which branch to roll back.
            UnknownError: if the database cannot be read.
        """
        ...

    def run(self, plan: Plan, limits: Limits, event: Event) -> ToolReport:
        """Run a plan in a process of its own, unless database or files changed since the plan was made.

        Raises:
            MigrationError: if they changed.
        """
        ...

    def rehearse(self, event: Event) -> ToolReport:
        """Run each revision up, down and up again, on an empty database.

        Args:
            event: Called with `step` (revision, way, number, total) before each, and `stop` (revision, way, difference,
                missing) after it; ways are `up`, `down` and `up again`.

        Raises:
            MigrationError: if no step could be run.
        """
        ...

    def read_revisions(self) -> DatabaseRevisions:
        """Read the revisions that the database has applied."""
        ...

    def files(self) -> dict[str, Path]:
        """The file of each revision of this checkout."""
        ...
