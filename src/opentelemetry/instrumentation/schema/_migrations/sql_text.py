"""Parses SQL to find what it does to rows. A regular expression would be misled by strings and comments."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from .plan import Loss

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # we report ourselves what it cannot parse

DIALECTS: Final = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}

_HARMLESS: Final = re.compile(
    r"\s*(CREATE|COMMENT|GRANT|REVOKE|SET|RESET|VACUUM|ANALYZE|REINDEX|LOCK|REFRESH|PRAGMA|BEGIN|COMMIT|USE|RENAME)\b",
    re.I,
)
_LOSING: Final = re.compile(r"\b(DROP|TRUNCATE|DELETE|DETACH|MODIFY|CHANGE|USING|SET\s+DATA)\b", re.I)
_ROWLESS: Final = frozenset(
    [
        "INDEX",
        "VIEW",
        "FUNCTION",
        "PROCEDURE",
        "TRIGGER",
        "TYPE",
        "SEQUENCE",
        "EXTENSION",
        "DOMAIN",
        "ROLE",
        "POLICY",
        "RULE",
        "CONSTRAINT",
    ]
)


@dataclass
class Effects:
    """What statements do to rows.

    Attributes:
        losses: Data that they could lose.
        unknown: Reasons why we do not know what they do.
        notes: Remarks for the plan.
        statements: Number of statements, without BEGIN and COMMIT.
    """

    losses: list[Loss] = field(default_factory=list["Loss"])
    unknown: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    statements: int = 0

    def add(self, other: Effects) -> None:
        """Add the effects of further statements."""
        for mine, theirs in ((self.unknown, other.unknown), (self.notes, other.notes)):
            mine.extend(each for each in theirs if each not in mine)
        self.losses.extend(loss for loss in other.losses if loss not in self.losses)
        self.statements += other.statements


def read_effects(sql: str, dialect: str, version_table: str) -> Effects:
    """Read the effects of SQL text.

    Args:
        sql: One statement or several.
        dialect: SQLAlchemy's name of the dialect.
        version_table: The tool's own table, which a migration should not touch.
    """
    found = Effects()
    try:
        statements = [each for each in sqlglot.parse(sql, dialect=DIALECTS.get(dialect)) if each is not None]
    except (SqlglotError, RecursionError):
        if _LOSING.search(sql) or not _HARMLESS.match(sql):
            found.unknown.append(f"SQL that cannot be parsed: {_start(sql)}")
        found.statements = 1
        return found
    for statement in statements:
        found.statements += not isinstance(statement, (exp.Transaction, exp.Commit, exp.Semicolon))
        _judge(statement, found)
        if any(table.name.lower() == version_table.lower() for table in statement.find_all(exp.Table)):
            found.notes.append(f"uses the version table {version_table}")
    return found


def _judge(statement: Any, found: Effects) -> None:
    inner = [
        each for each in statement.find_all(exp.Delete, exp.Update, exp.Insert, exp.Merge) if each is not statement
    ]
    if inner and not isinstance(statement, exp.Create):  # in a WITH
        found.unknown.append(f"changes rows in a sub-query: {_start(statement.sql())}")
    if isinstance(statement, exp.Drop):
        _drop(statement, found)
    elif isinstance(statement, exp.TruncateTable):
        found.losses += [_loss("truncate", table) for table in statement.expressions]
    elif isinstance(statement, exp.Delete):
        if statement.args.get("where") is None:
            found.losses.append(_loss("delete", statement.this))
        else:
            found.unknown.append(f"deletes rows by a condition: {_start(statement.sql())}")
    elif isinstance(statement, exp.Update):
        if statement.args.get("where") is None:
            found.losses += [_loss("overwrite", statement.this, column) for column in _assigned(statement)]
        else:
            found.unknown.append(f"changes rows by a condition: {_start(statement.sql())}")
    elif isinstance(statement, exp.Alter):
        _alter(statement, found)
    elif isinstance(statement, exp.Command):
        text = f"{statement.this} {statement.expression}"
        if not _HARMLESS.match(text) and (str(statement.this).upper() != "ALTER" or _LOSING.search(text)):
            found.unknown.append(f"runs {_start(text)}")
    elif isinstance(statement, exp.Select):
        if any(True for _ in statement.find_all(exp.Anonymous)):
            found.unknown.append(f"calls a function: {_start(statement.sql())}")
    elif isinstance(statement, (exp.Merge, exp.Copy)):
        found.unknown.append(f"runs {_start(statement.sql())}")


def _drop(statement: Any, found: Effects) -> None:
    kind = str(statement.args.get("kind") or "").upper()
    tables: list[Any] = statement.args.get("tables") or [statement.this]
    if kind == "TABLE":
        found.losses += [_loss("drop table", table) for table in tables]
    elif kind in ("SCHEMA", "DATABASE"):
        found.losses += [Loss("drop schema", str(table.db or table.name)) for table in tables]
    elif kind == "MATERIALIZED VIEW" or kind.rpartition(" ")[2] in _ROWLESS:
        if kind == "TYPE" and statement.args.get("cascade"):
            found.unknown.append(f"drops what uses the type: {_start(statement.sql())}")
    else:
        found.unknown.append(f"runs {_start(statement.sql())}")


def _alter(statement: Any, found: Effects) -> None:
    actions: list[Any] = statement.args.get("actions") or []
    for action in actions:
        name = type(action).__name__
        if name == "Drop":
            if str(action.args.get("kind") or "COLUMN").upper() == "COLUMN":
                dropped: list[Any] = action.args.get("tables") or [action.this]
                found.losses += [_loss("drop column", statement.this, each.name) for each in dropped]
        elif action.args.get("dtype") is not None:
            found.losses.append(_loss("convert", statement.this, _name(action.this), action.args["dtype"].sql()))
        elif name in ("ModifyColumn", "ChangeColumn"):
            spec: Any = action.find(exp.ColumnDef)
            if spec is None or spec.args.get("kind") is None or spec.name != _name(action.this):
                found.unknown.append(f"changes a column: {_start(statement.sql('mysql'))}")
            else:
                found.losses.append(_loss("convert", statement.this, spec.name, spec.args["kind"].sql("mysql")))


def _name(node: Any) -> str:
    return str(getattr(node, "name", node))


def _assigned(update: Any) -> Iterator[str]:
    for each in update.expressions:
        yield each.this.name if isinstance(each, exp.EQ) else "?"


def _loss(action: str, table: Any, column: str | None = None, type_: str | None = None) -> Loss:
    if isinstance(table, exp.Schema):
        table = table.this
    return Loss(action, table.name, column, table.db or None, type_)


def _start(sql: str) -> str:
    """The first words, without values."""
    text = re.sub(r"'(?:[^']|'')*'", "'…'", " ".join(sql.split()))
    return text if len(text) <= 60 else f"{text[:59]}…"
