"""What a run would do: its steps in order, each with its SQL, its class and what it could lose."""

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

Kind = Literal["reversible", "destructive", "irreversible", "fake-reversible", "unknown"]
"""The class of a step.

`reversible`: its downgrade undoes it, and the step itself loses nothing. `destructive`: the step, in the direction of
the run, drops, empties, overwrites or narrows what may hold data. `irreversible`: there is no downgrade, or it raises.
`fake-reversible`: the downgrade does nothing where the upgrade does something. `unknown`: it reads rows, imports
settings or asks the dialect, so what it does is not known before it runs; never rolled back by itself.
"""

SAFE: Final[tuple[Kind, ...]] = ("reversible", "destructive")
"""What may be rolled back without a person, where `destructive` steps were counted and lose no row."""


@dataclass(frozen=True)
class Loss:
    """What a step could lose.

    Attributes:
        action: `drop table`, `drop column`, `truncate`, `delete`, `overwrite`, `convert` or `drop schema`.
        table: With its schema, as the step names it.
        column: None for whole rows.
        schema: Of the table; None is the connection's default.
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
        revision: Its id.
        down: The revisions that it follows.
        title: Its first line of prose, or its file's name.
        file: Where it is.
        sha256: Of the file.
        sql: What it would run; None where that is not known before it runs.
        kind: Its class in the direction of the plan.
        why: The reason of the class.
        losses: What it could lose in the direction of the plan.
        notes: What else is worth saying: it touches the version table, or calls `create_all`.
        autocommit: Whether it, or a part of it, runs outside of a transaction.
    """

    revision: str
    down: tuple[str, ...]
    title: str
    file: Path
    sha256: str
    sql: str | None
    kind: Kind
    why: str = ""
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()
    autocommit: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do.

    Attributes:
        tool: `alembic` or `dbmate`.
        database: Which database, as the tool itself would open it.
        table: Where the tool keeps the revision.
        direction: `upgrade` or `downgrade`.
        before: The revisions that the database holds now.
        after: Those that it would hold.
        steps: In the order in which they would run.
        transaction: What one transaction holds: the whole `run`, one `step`, or `none` where the database commits each
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
        """Of what would be run where; the same as long as neither database nor files change."""
        steps = [[step.revision, step.sha256] for step in self.steps]
        what = [self.tool, self.database.identity, str(self.table), self.direction, self.before, self.after, steps]
        return sha256(json.dumps(what).encode()).hexdigest()

    def worst(self, kinds: Sequence[Kind]) -> list[Step]:
        """The steps of some classes."""
        return [step for step in self.steps if step.kind in kinds]

    def as_data(self) -> dict[str, Any]:
        """The plan for machines."""
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
"""The error of a run whose steps are done, and after which the file of the schema could not be written."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the tool's process ended: what it said, which need not be what the database holds.

    Attributes:
        completed: The revisions whose step it completed, in order; a transaction may have undone them since.
        failed: The revision whose step failed.
        error: Class of the error, and the database's code.
        message: One line for people; may hold values.
        lock_timeout: Whether a lock was not to be had in time.
        refused: What the step would have lost, where it was stopped before.
        changed: Whether database or files were not as planned, so that nothing was run.
        snapshots: After each completed step: the heads, whether the schema could be read, and which of its lines went
            and came.
        dirty: Whether the step that did not complete changed rows that no transaction brings back.
        killed: The signal that ended the process.
        sessions: The server's ids of the sessions that it opened.
        stderr: The end of what the tool printed.
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
        """Whether it said that all went well."""
        return self.error is None and self.killed is None and self.refused is None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may take and lose.

    Attributes:
        lock_timeout: Seconds that a statement waits for a lock.
        statement_timeout: Seconds that a statement runs; None is as long as it takes.
        lossy: Tables that may lose rows; None is every table.
    """

    lock_timeout: float = 5.0
    statement_timeout: float | None = None
    lossy: frozenset[str] | None = frozenset()

    def may_lose(self, loss: Loss) -> bool:
        """Whether it was said that these rows may be lost."""
        return self.lossy is None or bool({loss.name, loss.table} & self.lossy)


Event = Callable[[str, dict[str, Any]], None]
"""Called with what happens during a run: `session` (id), `step` (revision, number), `applied` (revision), `idle`."""


class Standing(NamedTuple):
    """Where a database stands.

    Attributes:
        database: Which, as the tool itself would open it.
        table: Where the tool keeps the revision.
        heads: The revisions that it holds; of DBMate all versions.
        applied: Those that are applied below them, the newest first.
    """

    database: Database
    table: VersionTable
    heads: tuple[str, ...]
    applied: tuple[str, ...]


class MissingRevisionError(MigrationError):
    """The database holds revisions that this checkout has no file of.

    Attributes:
        database: Which.
        table: Its version table.
        missing: The revisions.
        heads: Of this checkout.
    """

    def __init__(
        self, database: Database, table: VersionTable, missing: tuple[str, ...], heads: tuple[str, ...]
    ) -> None:
        super().__init__(
            f"{database} is at {', '.join(missing)}, and this checkout has no file of that revision: newer code, or "
            "another branch, has migrated it"
        )
        self.database, self.table, self.missing, self.heads = database, table, missing, heads


def named(heads: Sequence[str], tool: str) -> str:
    """Revisions as a person names them: DBMate's newest version stands for those before it; `base` is none."""
    if not heads:
        return "base"
    return max(heads) if tool == "dbmate" else ", ".join(heads)


class Tool(Protocol):
    """A migration tool with a project's settings."""

    name: str

    def plan(self, direction: Direction, target: str | None) -> Plan:
        """Reads the database and the files, and says what would be done; changes nothing.

        Args:
            direction: Up or down.
            target: As the tool writes it, relative too; None is the newest revision for an upgrade.

        Raises:
            MigrationError: if there is no such target, or a file is missing.
            RefusedError: if it is not clear what would be rolled back.
            UnknownError: if the database cannot be read.
        """
        ...

    def run(self, plan: Plan, limits: Limits, event: Event) -> Ended:
        """Runs a plan in a process of its own, if database and files are as they were when it was made.

        Raises:
            MigrationError: if they are not.
        """
        ...

    def rehearse(self, event: Event) -> Ended:
        """Takes each revision up, down and up again, on an empty database.

        Args:
            event: Called with `step` (revision, way, number, total) before each, and `stop` (revision, way, difference,
                missing) after it; ways are `up`, `down` and `up again`.

        Raises:
            MigrationError: if no step could be run.
        """
        ...

    def state(self) -> Standing:
        """Reads where the database stands."""
        ...

    def files(self) -> dict[str, Path]:
        """The file of each revision of this checkout."""
        ...
