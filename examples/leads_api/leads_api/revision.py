"""Which revision the database has, so that the app serves the API schema that fits it."""

from time import monotonic
from typing import Any

from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from starlette.routing import Match

from leads_api import db

SECONDS = 1.0
"""How old an answer may be: that long after a migration, the app still serves the schema of before."""

_known = ("", 0.0)


def current() -> str:
    """The revision, read at most every second; empty where there is none."""
    global _known
    found, until = _known
    if monotonic() >= until:
        found = _read()
        _known = found, monotonic() + SECONDS
    return found


def forget() -> None:
    """Read it again next time: it has changed."""
    global _known
    _known = "", 0.0


def _read() -> str:
    try:
        connection = db.engine().raw_connection()
    except DBAPIError:
        return ""
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT version_num FROM alembic_version")
        rows = cursor.fetchall()
        cursor.close()
    except Exception:  # of whichever driver: no such table, or the database is busy
        return ""
    finally:
        connection.close()
    return max((str(row[0]) for row in rows), default="")


class FromRevision(APIRoute):
    """A route that is there from a revision on; before, the route after it with the same path answers.

    Revisions of this app ascend (`0001`, `0002`). With Alembic's random ones, compare with a set of them.
    """

    revision = "0003"

    def matches(self, scope: Any) -> Any:
        return super().matches(scope) if current() >= self.revision else (Match.NONE, {})
