"""What a migration's error says: its class, the database's code, the line of the revision."""

from __future__ import annotations

import asyncio
import socket
import traceback
from pathlib import Path
from typing import Any, Final

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, InvalidRequestError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..database import reason

_LOCK_CODES: Final = ("55P03", "1205")
_UNREACHABLE: Final = (DBAPIError, PoolTimeoutError, ConnectionError, socket.gaierror, asyncio.TimeoutError)
"""asyncpg raises the last three, and its own errors, as they are: SQLAlchemy does not wrap them at connect."""


def _code(error: BaseException) -> str | None:
    said: Any = getattr(error, "orig", None)
    arguments = getattr(said, "args", ())
    if arguments and type(arguments[0]) is int:  # MySQL's number says more than its SQLSTATE
        return str(arguments[0])
    code = getattr(said, "sqlstate", None) or getattr(said, "pgcode", None)
    return None if code is None else str(code)


def place(error: BaseException, directory: str) -> str:
    """The line of the project at which an error was raised, such as `r1_lead.py:9`; empty if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = [each for each in frames if each.filename.startswith(directory)]
    return f"{Path(inner[-1].filename).name}:{inner[-1].lineno}" if inner else ""


def _reason(error: BaseException) -> str:
    said = reason(error)
    if isinstance(error, InvalidRequestError) and "requires an async driver" in said:
        return f"{said.rstrip('.')}. Name env.py's driver in the URL, as in postgresql+asyncpg://…"
    if isinstance(error, MissingGreenlet):
        return "env.py opens the URL without an event loop: name a driver without one, as in postgresql+psycopg://…"
    return said


def failure(error: BaseException, directory: str) -> dict[str, Any]:
    """An error as facts.

    Args:
        error: What env.py or a revision raised.
        directory: Of the project, whose lines are worth naming.
    """
    code = _code(error)
    said = getattr(error, "orig", None) or error
    return {
        "kind": "command" if isinstance(error, (CommandError, RevisionError)) else "failed",
        "type": type(said).__qualname__,
        "database": isinstance(error, _UNREACHABLE) or hasattr(said, "sqlstate"),
        "code": code,
        "message": _reason(error),
        "place": place(error, directory),
        "lock": code in _LOCK_CODES or "database is locked" in str(said) or "table is locked" in str(said),
    }
