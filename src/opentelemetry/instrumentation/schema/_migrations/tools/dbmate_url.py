"""A database's URL as DBMate's drivers take it, with the limits of a run."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url

from ..database import Database
from ..plan import Limits


def dbmate_url(database: Database, given: str, limits: Limits, token: str) -> str:
    """The URL with which DBMate opens a database; it holds the password.

    Args:
        database: The database.
        given: The URL that the user gave, whose parameters DBMate's driver knows.
        limits: Time-outs of the session.
        token: A name for the session, where the server keeps one.
    """
    if database.dialect == "sqlite":
        return f"sqlite:{database.file}?_busy_timeout={round(limits.lock_timeout * 1000)}"
    query = dict(make_url(given).query)
    if database.dialect == "postgresql":
        query |= {"lock_timeout": str(round(limits.lock_timeout * 1000)), "application_name": token}
        if limits.statement_timeout is not None:
            query["statement_timeout"] = str(round(limits.statement_timeout * 1000))
    else:
        socket = query.pop("unix_socket", None)  # the word of Python's drivers
        if socket is not None:
            query["socket"] = socket
        query.pop("charset", None)
        seconds = str(max(1, round(limits.lock_timeout)))
        query |= {"lock_wait_timeout": seconds, "innodb_lock_wait_timeout": seconds}
        if limits.statement_timeout is not None:
            query["max_statement_time"] = str(limits.statement_timeout)
    scheme = {"postgresql": "postgres", "mysql": "mysql"}[database.dialect]
    url: URL = database.url.set(drivername=scheme, query=query)
    return url.render_as_string(hide_password=False)
