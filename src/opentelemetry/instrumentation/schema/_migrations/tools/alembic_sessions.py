"""Sets time-outs and a name on the sessions that env.py opens, and reads their ids."""

from __future__ import annotations

from typing import Any, Final

_SESSIONS: Final[dict[str, tuple[str | None, tuple[str, ...]]]] = {
    "postgresql": (
        "SELECT pg_backend_pid()",
        (
            "SET application_name = 'otel-schema'",
            "SET lock_timeout = {lock_ms}",
            "SET statement_timeout = {statement_ms}",
        ),
    ),
    "mysql": (
        "SELECT connection_id()",
        (
            "SET SESSION lock_wait_timeout = {lock}",
            "SET SESSION innodb_lock_wait_timeout = {lock}",
            "SET SESSION max_statement_time = {statement}",
        ),
    ),
    "sqlite": (None, ("PRAGMA busy_timeout = {lock_ms}",)),
}


def prepare(connection: Any, dialect: str, lock: float, statement: float | None) -> int | None:
    """Set the time-outs of a new session, and return its id.

    Args:
        connection: As the driver made it.
        dialect: Of its database.
        lock: Seconds that a statement may wait for a lock.
        statement: Seconds that a statement may run.
    """
    ask, settings = _SESSIONS.get(dialect, (None, ()))
    found: int | None = None
    cursor = connection.cursor()
    try:
        for setting in settings:
            if "{statement" not in setting:
                cursor.execute(setting.format(lock=max(1, round(lock)), lock_ms=max(1, round(lock * 1000))))
            elif statement is not None:
                cursor.execute(setting.format(statement=statement, statement_ms=max(1, round(statement * 1000))))
        if ask is not None:
            cursor.execute(ask)
            found = int(cursor.fetchone()[0])
    finally:
        cursor.close()
    if dialect != "sqlite":
        connection.commit()
    return found


def dialect_of(connection: Any) -> str:
    """The dialect of a driver's connection; empty if the driver is not known."""
    inner = getattr(connection, "dbapi_connection", connection)
    name = f"{type(connection).__module__} {type(inner).__module__}".lower()
    for word, dialect in (("sqlite", "sqlite"), ("mysql", "mysql"), ("maria", "mysql"), ("asyncmy", "mysql")):
        if word in name:
            return dialect
    return "postgresql" if "pg" in name or "psycopg" in name else ""


def commits_by_itself(connection: Any) -> bool:
    """Whether each statement of a connection of SQLAlchemy is a transaction of its own."""
    if str(connection.get_isolation_level()).upper() == "AUTOCOMMIT":
        return True
    inner = connection.connection
    inner = getattr(inner, "dbapi_connection", None) or getattr(inner, "connection", inner)
    return getattr(inner, "autocommit", False) is True  # psycopg says so there alone


def current_schema(connection: Any) -> str | None:
    """The schema in which PostgreSQL looks first for a table; None for other databases."""
    if connection.dialect.name != "postgresql":
        return None
    return connection.exec_driver_sql("SELECT current_schema()").scalar()
