"""Servers of Python apps: how many processes a command starts, and which one serves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

FORKING: Final = ("gunicorn", "hypercorn", "granian", "uwsgi")
"""Servers that serve in a child process, even with one worker."""

SERVERS: Final = (*FORKING, "uvicorn", "fastapi", "flask", "daphne", "manage.py")
WORKERS: Final = re.compile(r"(?:^| )(?:-w|--workers|--processes)[ =]?(\d+)(?: |$)")


def server_of(words: Sequence[str]) -> str:
    """The server that a command names; "" if it names none."""
    return next((name for word in words if (name := Path(word).name) in SERVERS), "")


def serves_in_a_child(words: Sequence[str], variables: Mapping[str, str]) -> str:
    """Why a server serves in another process than its first; "" if the first one serves.

    The Prometheus exporter opens its port in the first one, and then has nothing to show.
    """
    server = server_of(words)
    if server in FORKING:
        return f"{server} serves in a process that it forks"
    if server in ("uvicorn", "fastapi") and "--reload" in words:
        return "--reload serves in a child process"
    if server == "fastapi" and "dev" in words and "--no-reload" not in words:
        return "fastapi dev reloads, in a child process"
    debug = "--debug" in words or variables.get("FLASK_DEBUG", "").lower() in ("1", "true", "yes")
    if server == "flask" and "--no-reload" not in words and ("--reload" in words or debug):
        return "flask run --debug reloads, in a child process"
    if server == "manage.py" and "runserver" in words and "--noreload" not in words:
        return "runserver reloads, in a child process"
    return ""
