"""Counts the rows that a step would lose, up to a limit."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .plan import Loss

MAX_COUNTED_ROWS: Final = 10_000
"""Rows that we count; above that the message says `more than`."""


def count(connection: Connection, loss: Loss, lock: bool = False) -> int:
    """Count the rows that a step would lose, at most `MAX_COUNTED_ROWS` + 1; 0 if the table or column does not exist.

    Args:
        connection: A connection; with `lock`, that of the migration itself.
        loss: The data that the step would lose.
        lock: Take the lock that the step will take, so that nobody adds rows after the count.

    Raises:
        SQLAlchemyError: if they cannot be counted.
    """
    if loss.action == "drop schema":
        return _count_schema(connection, loss)
    inspector = sa.inspect(connection)
    if not inspector.has_table(loss.table, loss.schema):
        return 0
    table = sa.table(loss.table, schema=loss.schema)
    condition: Any = sa.true()
    if loss.column is not None:
        found = {each["name"].lower(): each for each in inspector.get_columns(loss.table, loss.schema)}
        column = found.get(loss.column.lower())
        if column is None:
            return 0
        name = cast("Any", sa.column)(column["name"])
        condition = name.isnot(None)
        if loss.action == "convert":
            narrowed = narrows(str(column["type"]), loss.type or "")
            if narrowed is None:
                return 0
            if narrowed is not True:
                condition = sa.func.char_length(name) > narrowed
                if connection.dialect.name == "sqlite":
                    condition = sa.func.length(name) > narrowed
    if lock:
        named = sa.Table(loss.table, sa.MetaData(), schema=loss.schema)
        quoted = connection.dialect.identifier_preparer.format_table(named)
        connection.exec_driver_sql(f"LOCK TABLE {quoted} IN ACCESS EXCLUSIVE MODE")
    rows = sa.select(sa.literal(1)).select_from(table).where(condition).limit(MAX_COUNTED_ROWS + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _count_schema(connection: Connection, loss: Loss) -> int:
    total = 0
    for name in sa.inspect(connection).get_table_names(loss.table):
        total += count(connection, Loss("drop table", name, None, loss.table))
        if total > MAX_COUNTED_ROWS:
            break
    return min(total, MAX_COUNTED_ROWS + 1)


def sentence(loss: Loss, rows: int, exact: bool) -> str:
    """Say what a step would lose: table, column and number of rows."""
    number = f"more than {MAX_COUNTED_ROWS}" if rows > MAX_COUNTED_ROWS else str(rows)
    about = "" if exact else " (an estimate: the number may change until the step runs)"
    where = f"column {loss.name}.{loss.column}" if loss.column else f"table {loss.name}"
    if loss.action == "drop schema":
        where = f"schema {loss.table}"
    does = {"overwrite": "overwrites", "convert": "converts", "truncate": "empties", "delete": "empties"}
    return (
        f"{does.get(loss.action, 'drops')} {where}{f' to {loss.type}' if loss.type else ''}, which has {number} "
        f"row{'' if rows == 1 else 's'}{' with a value' if loss.column else ''}{about}"
    )


_TEXT: Final = re.compile(r"(?:N?VARCHAR|N?CHAR|CHARACTER)(?: VARYING)?\s*(?:\((\d+)\))?.*|TEXT.*", re.I)
_DECIMAL: Final = re.compile(r"(?:NUMERIC|DECIMAL)\s*(?:\((\d+)(?:\s*,\s*(\d+))?\))?.*", re.I)
_INTEGERS: Final = {"TINYINT": 1, "SMALLINT": 2, "MEDIUMINT": 3, "INT": 4, "INTEGER": 4, "BIGINT": 8}
_WIDER: Final = {
    ("REAL", "DOUBLE PRECISION"),
    ("FLOAT", "DOUBLE PRECISION"),
    ("FLOAT", "DOUBLE"),
    ("DATE", "TIMESTAMP"),
    ("DATE", "DATETIME"),
    ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    ("TIMESTAMP", "TIMESTAMPTZ"),
    ("DATETIME", "TIMESTAMP"),
    ("JSON", "JSONB"),
}


def narrows(old: str, new: str) -> bool | int | None:
    """How a conversion may lose data: None if it cannot, the new length of a text, True for everything else."""
    old, new = old.strip().upper(), new.strip().upper()
    if old == new or not new:
        return None
    text = _TEXT.fullmatch(new)
    if text is not None:
        length = next((int(each) for each in text.groups() if each), None)
        return length if length is not None and not _fits(old, length) else None
    before, after = _INTEGERS.get(_head(old)), _INTEGERS.get(_head(new))
    decimals, were = _DECIMAL.fullmatch(new), _DECIMAL.fullmatch(old)
    if before is not None and after is not None:
        return None if after >= before else True
    if decimals is not None and decimals[1] is None:
        return None if before is not None or were is not None else True
    if decimals is not None and were is not None and were[1] is not None:
        scale, old_scale = int(decimals[2] or 0), int(were[2] or 0)
        return None if scale >= old_scale and int(decimals[1]) - scale >= int(were[1]) - old_scale else True
    return None if (re.sub(r"\(.*\)", "", old), re.sub(r"\(.*\)", "", new)) in _WIDER else True


def _head(text: str) -> str:
    return re.split(r"[\s(]", text, maxsplit=1)[0]


def _fits(old: str, length: int) -> bool:
    found = _TEXT.fullmatch(old)
    before = next((int(each) for each in found.groups() if each), None) if found else None
    return before is not None and before <= length
