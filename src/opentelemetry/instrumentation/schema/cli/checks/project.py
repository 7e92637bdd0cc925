"""The project that doctor is run in: its database's address, its Git hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .. import git
from .check import Check

_POOLERS: Final = re.compile(r"pgbouncer|pooler|pgcat|odyssey|supavisor", re.IGNORECASE)
_POOLER_PORT: Final = 6432
_DATABASES: Final = ("postgres", "postgresql", "mysql", "mariadb")


def checks(directory: Path, variables: Mapping[str, str]) -> Iterator[Check]:
    """What would hinder migrations or hooks here."""
    yield from poolers(variables)
    yield from hooks(directory)


def poolers(variables: Mapping[str, str]) -> Iterator[Check]:
    """Variables with the URL of what looks like a pooler; the URL itself is never shown."""
    for name, value in sorted(variables.items()):
        try:
            url = urlsplit(value)
            host, port = url.hostname or "", url.port
        except ValueError:
            continue
        if url.scheme.partition("+")[0] in _DATABASES and (port == _POOLER_PORT or _POOLERS.search(host)):
            where = f"{host}:{port}" if port else host
            message = (
                f"{name} leads to {where}, which looks like a pooler. A pooler of transactions gives up the lock of a "
                "migration after its first statement: give `otel-schema upgrade --url` the server itself"
            )
            yield Check("pooler", "finding", message)


def hooks(directory: Path) -> Iterator[Check]:
    """pre-commit's hooks where Git looks for hooks elsewhere: they never run."""
    if not (directory / ".pre-commit-config.yaml").exists():
        return
    path = git.hooks_path(directory)
    if path is not None:
        message = (
            f"core.hooksPath is {path}, so Git runs no hook of pre-commit, which refuses to be installed: "
            "git config --unset-all core.hooksPath, or run `otel-schema hooks install`, which honours it"
        )
        yield Check("hooks", "finding", message)
