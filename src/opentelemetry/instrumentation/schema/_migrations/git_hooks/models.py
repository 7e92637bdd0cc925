"""What is wrong between the staged models and what follows from them: migrations and the lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from ..._schemas import lockfile
from ..._schemas.lockfile import Lock, LockError
from ..._schemas.source import places_of
from ..._schemas.staleness import source_name, stale
from .codes import Finding
from .line import Line, decoded
from .staged import Staged
from .tables import Table, tables_of

_TESTS: Final = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
_WRITE: Final = {"alembic": "alembic revision --autogenerate", "dbmate": "dbmate new"}
_LOCK_AGAIN: Final = "Write it again, and stage it: otel-schema lock"


def changed_tables(staged: Staged, root: str, lines: list[Line]) -> list[Finding]:
    """The tables that this change declares otherwise than before. A class that only moved is none."""
    now: dict[str, dict[str, tuple[str, Table]]] = {}
    before: list[dict[str, set[str]]] = [{} for _ in staged.parents]
    gone: dict[str, tuple[str, int]] = {}
    for path, change in staged.changes.items():
        if not path.endswith(".py") or not _below(path, root) or _TESTS.search(path):
            continue
        if any(each.place.holds(path) for each in lines):
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
    found: list[Finding] = []
    fix = f"Write one ({_WRITE[lines[0].tool]}), and stage it" if lines else ""
    for name, tables in now.items():
        for facts, (path, table) in tables.items():
            if all(facts not in side.get(name, ()) for side in before):
                found.append(_unmigrated(path, table.line, f"the columns of {name} changed", fix))
    for name, (path, line) in gone.items():
        if name not in now and all(name in side for side in before):
            found.append(_unmigrated(path, line, f"{name} is no longer there", fix))
    return found


def _unmigrated(path: str, line: int, what: str, fix: str) -> Finding:
    return Finding(code="no-migration", file=path, line=line, what=f"{what}, but no migration was added", fix=fix)


def _below(path: str, root: str) -> bool:
    return not root or path.startswith(f"{root}/")


def _tables(staged: Staged, blob: str | None) -> dict[str, Table]:
    try:
        return tables_of(staged.read(blob)) if blob else {}
    except SyntaxError:  # whoever runs it is told
        return {}


def lock(staged: Staged, path: str, root: str, lines: list[Line]) -> Iterator[Finding]:
    """Where the staged lock does not fit the staged source, as far as this change touches either."""
    blob = staged.files(path).get(path)
    if blob is None:
        return
    try:
        locked = lockfile.loads(decoded(staged.read(blob)), PurePosixPath(path).name)
    except LockError as error:
        yield Finding(code="stale-lock", file=path, line=1, what=f"cannot be read: {error}", fix=_LOCK_AGAIN)
        return
    whole = path in staged.changes
    yield from _stale(staged, path, root, locked, whole)
    for here in lines:
        names = ",".join(each.removeprefix(f"{root}/") if root else each for each in here.place.directories)
        heads = locked.heads.get(f"{here.tool} {names}")
        if heads is not None and set(heads) != set(here.history.heads) and (whole or here.changed):
            last = [here.history.by_id[each].file.as_posix() for each in here.history.heads]
            yield Finding(
                code="stale-lock",
                file=last[-1] if last else path,
                line=1,
                what=f"{path} says that the head is {', '.join(heads) or 'none'}, and it is "
                f"{', '.join(here.history.heads) or 'none'}",
                fix=_LOCK_AGAIN,
                others=tuple(last),
            )


def _stale(staged: Staged, path: str, root: str, locked: Lock, whole: bool) -> Iterator[Finding]:
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
    for each in stale(replace(locked, origins=origins), texts.get):
        file = f"{prefix}{each.file}"
        name = origins[each.ref].name or source_name(locked.schemas[each.ref].name)
        yield Finding(
            code="stale-lock",
            file=file if each.file in texts else path,
            line=_line(texts, each.file, name),
            what=f"{each.ref} {each.why}, but {path} has the old one",
            fix=_LOCK_AGAIN,
        )


def _line(texts: Mapping[str, bytes], file: str, name: str) -> int:
    try:
        place = places_of(texts[file]).get(name) if file in texts else None
    except SyntaxError:
        place = None
    return place.line if place else 1
