"""The database: SQLite beside the example, or whatever `LEADS_DATABASE_URL` names."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

DEFAULT_FILE = Path(__file__).resolve().parent.parent / "leads.sqlite3"


def database_url() -> str:
    return os.environ.get("LEADS_DATABASE_URL") or f"sqlite:///{DEFAULT_FILE}"


@cache
def engine() -> Engine:
    """The process's engine, made at first use: a forked worker must not inherit its parent's connections."""
    made = create_engine(database_url())
    if made.dialect.name == "sqlite":
        event.listen(made, "connect", _prepare_sqlite)
    return made


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Let several workers share the file: readers do not block the writer, and a second writer waits its turn."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 10000")  # first: switching to WAL may itself have to wait
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def session() -> Session:
    """A new session; rows stay readable after commit, so that answering a request runs no further query."""
    return Session(engine(), expire_on_commit=False)
