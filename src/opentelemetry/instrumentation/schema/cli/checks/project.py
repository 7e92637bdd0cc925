"""Checks the project in the current directory: database address, Git hooks, exported dashboards."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..._monitoring import writing
from .. import git
from .check import Check

_POOLERS: Final = re.compile(r"pgbouncer|pooler|pgcat|odyssey|supavisor", re.IGNORECASE)
_POOLER_PORT: Final = 6432
_DEEPEST: Final = 3
"""Levels of folders to search for exported files."""

_DATABASES: Final = ("postgres", "postgresql", "mysql", "mariadb")


def checks(directory: Path, variables: Mapping[str, str]) -> Iterator[Check]:
    """All checks of the project."""
    yield from poolers(variables)
    yield from hooks(directory)
    yield from exports(directory)


def poolers(variables: Mapping[str, str]) -> Iterator[Check]:
    """Variables whose URL looks like a pooler's. Never shows the URL."""
    for name, value in sorted(variables.items()):
        try:
            url = urlsplit(value)
            host, port = url.hostname or "", url.port
        except ValueError:
            continue
        if url.scheme.partition("+")[0] in _DATABASES and (port == _POOLER_PORT or _POOLERS.search(host)):
            where = f"{host}:{port}" if port else host
            message = (
                f"{name} leads to {where}, which looks like a pooler. A transaction pooler releases the lock of a "
                "migration after its first statement: give `otel-schema upgrade --url` the URL of the server itself"
            )
            yield Check("pooler", "finding", message)


def hooks(directory: Path) -> Iterator[Check]:
    """Whether Git looks for hooks elsewhere, so that pre-commit's hooks never run."""
    if not (directory / ".pre-commit-config.yaml").exists():
        return
    path = git.hooks_path(directory)
    if path is not None:
        message = (
            f"core.hooksPath is {path}, so Git runs no hook of pre-commit, which refuses to be installed: "
            "git config --unset-all core.hooksPath, or run `otel-schema hooks install`, which honours it"
        )
        yield Check("hooks", "finding", message)


def exports(directory: Path) -> Iterator[Check]:
    """Dashboards and rules that another version of this package wrote: they may query metrics that are gone."""
    old: dict[Path, int] = {}
    for path in _exported(directory):
        try:
            if writing.outdated(path):
                top = path.relative_to(directory).parent
                old[top] = old.get(top, 0) + 1
        except OSError:
            continue
    if old:
        named = ", ".join(f"{number} in {folder}" for folder, number in sorted(old.items()))
        message = (
            f"dashboards or rules of another version of this package: {named}. Write them again by `otel-schema export "
            "DIRECTORY`, with the --set that you used, or by `otel-schema init`"
        )
        yield Check("exports", "finding", message)


def _exported(directory: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(directory):
        depth = len(Path(folder).relative_to(directory).parts)
        folders[:] = [
            name
            for name in sorted(folders)
            if depth < _DEEPEST and not name.startswith(".") and name not in ("node_modules", "site-packages")
        ]
        yield from (Path(folder, name) for name in sorted(files) if name.endswith((".json", ".rules.yml")))
