"""Checks whether migrations and the lock follow the staged models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from ..._schemas import lockfile
from ..._schemas.lockfile import Lock, LockError
from ..._schemas.source import parse_definitions
from ..._schemas.staleness import find_stale, source_name
from .codes import HookFinding
from .staged import Staged
from .staged_migrations import StagedMigrations, decode
from .tables import DeclaredTable, find_tables

_TESTS: Final = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
_WRITE: Final = {"alembic": "alembic revision --autogenerate", "dbmate": "dbmate new"}
_LOCK_AGAIN: Final = "Write it again, and stage it: otel-schema lock"


def find_unmigrated_tables(staged: Staged, root: str, all_migrations: list[StagedMigrations]) -> list[HookFinding]:
    """Find tables whose declaration this change edits; a class that only moved does not count."""
    now: dict[str, dict[str, tuple[str, DeclaredTable]]] = {}
    before: list[dict[str, set[str]]] = [{} for _ in staged.parents]
    gone: dict[str, tuple[str, int]] = {}
    for path, change in staged.changes.items():
        if not path.endswith(".py") or not _below(path, root) or _TESTS.search(path):
            continue
        if any(each.paths.contains(path) for each in all_migrations):
            continue
        staged.load(blob for blob in (*change.old, change.new) if blob)
        new = _tables(staged, change.new)
        for name, table in new.items():
            now.setdefault(name, {})[table.facts] = (path, table)
        for side, blob in zip(before, change.old, strict=True):
            for name, table in _tables(staged, blob).items():
                side.setdefault(name, set()).add(table.facts)
                if name not in new:
                    gone[name] = (path, 1)
    found: list[HookFinding] = []
    fix = f"Write one ({_WRITE[all_migrations[0].tool]}), and stage it" if all_migrations else ""
    for name, tables in now.items():
        for facts, (path, table) in tables.items():
            if all(facts not in side.get(name, ()) for side in before):
                found.append(_unmigrated(path, table.line, f"the columns of {name} changed", fix))
    for name, (path, line) in gone.items():
        if name not in now and all(name in side for side in before):
            found.append(_unmigrated(path, line, f"{name} was removed", fix))
    return found


def _unmigrated(path: str, line: int, what: str, fix: str) -> HookFinding:
    return HookFinding(code="no-migration", file=path, line=line, what=f"{what}, but no migration was added", fix=fix)


def _below(path: str, root: str) -> bool:
    return not root or path.startswith(f"{root}/")


def _tables(staged: Staged, blob: str | None) -> dict[str, DeclaredTable]:
    try:
        return find_tables(staged.read(blob)) if blob else {}
    except SyntaxError:  # Python itself reports that
        return {}


def check_lock(staged: Staged, path: str, root: str, all_migrations: list[StagedMigrations]) -> Iterator[HookFinding]:
    """Check whether the staged lock fits the staged source, as far as this change touches either."""
    blob = staged.files(path).get(path)
    if blob is None:
        return
    try:
        locked = lockfile.loads(decode(staged.read(blob)), PurePosixPath(path).name)
    except LockError as error:
        yield HookFinding(code="stale-lock", file=path, line=1, what=f"cannot be read: {error}", fix=_LOCK_AGAIN)
        return
    whole = path in staged.changes
    yield from _stale(staged, path, root, locked, whole)
    for migrations in all_migrations:
        names = ",".join(each.removeprefix(f"{root}/") if root else each for each in migrations.paths.directories)
        heads = locked.heads.get(f"{migrations.tool} {names}")
        if heads is not None and set(heads) != set(migrations.graph.heads) and (whole or migrations.changed):
            last = [migrations.graph.by_id[each].file.as_posix() for each in migrations.graph.heads]
            yield HookFinding(
                code="stale-lock",
                file=last[-1] if last else path,
                line=1,
                what=f"{path} records the head {', '.join(heads) or 'none'}, but the head of the migrations is "
                f"{', '.join(migrations.graph.heads) or 'none'}",
                fix=_LOCK_AGAIN,
                others=tuple(last),
            )


def _stale(staged: Staged, path: str, root: str, locked: Lock, whole: bool) -> Iterator[HookFinding]:
    prefix = f"{root}/" if root else ""
    origins = {
        ref: origin
        for ref, origin in locked.origins.items()
        if origin.file is not None and (whole or f"{prefix}{origin.file}" in staged.changes)
    }
    if not origins:
        return
    files = staged.files(*{f"{prefix}{origin.file}" for origin in origins.values()})
    staged.load(files.values())
    texts = {file.removeprefix(prefix): staged.read(blob) for file, blob in files.items()}
    for each in find_stale(replace(locked, origins=origins), texts.get):
        file = f"{prefix}{each.file}"
        name = origins[each.ref].name or source_name(locked.schemas[each.ref].name)
        yield HookFinding(
            code="stale-lock",
            file=file if each.file in texts else path,
            line=_line(texts, each.file, name),
            what=f"{each.ref} {each.why}, but {path} has the old version",
            fix=_LOCK_AGAIN,
        )


def _line(texts: Mapping[str, bytes], file: str, name: str) -> int:
    try:
        place = parse_definitions(texts[file]).get(name) if file in texts else None
    except SyntaxError:
        place = None
    return place.line if place else 1
