"""Everything that the hooks find in what is about to be committed, or in a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from . import content, models, order
from .codes import COMPARING, Finding, exceptions
from .line import Line, Place, decoded
from .staged import Staged


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What to look at. Paths are relative to the top of the work tree, with `/`.

    Attributes:
        root: The project's directory; empty if it is the top.
        places: Of migrations.
        lock: The lock file.
        downgrades: Whether migrations need a downgrade.
    """

    root: str = ""
    places: tuple[Place, ...] = ()
    lock: str = "schema.lock"
    downgrades: bool = True


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        findings: By file and line, without those that an exception allows.
        allowed: Those that one allows.
        migrations: How many there are.
        concerned: Whether the change touches anything that is looked at.
        merged: The commit that is taken for merged; None if none is known.
    """

    findings: list[Finding]
    allowed: list[Finding]
    migrations: int
    concerned: bool
    merged: str | None


def check(staged: Staged, scope: Scope) -> Result:
    """Look at the index.

    Raises:
        GitError: if Git fails.
    """
    directories = [each for place in scope.places for each in place.directories]
    files = staged.files(*directories) if directories else {}
    before = staged.committed(staged.merged, *directories) if staged.merged and directories else None
    lines = [Line(each, staged, files, before) for each in scope.places]
    migrating = [each for each in staged.changes if any(here.place.holds(each) for here in lines)]
    tables = models.changed_tables(staged, scope.root, lines)
    # with nothing staged it is `pre-commit run --all-files`, or by hand; a merge may join what was fine on each side
    everything = not staged.changes or len(staged.parents) > 1
    found: list[Finding] = []
    # what else stands beside the migrations may be one of the project's own kind
    migrated = any(each.new and any(here.place.beside(path) for here in lines) for path, each in staged.changes.items())
    if lines and not migrated:
        found += tables
    for here in lines:
        if everything or any(here.place.holds(each) for each in migrating):
            found += _in_line(staged, here, scope, everything)
    if not staged.reviews:
        found += _not_staged(staged, lines, bool(migrating or tables))
    found += models.lock(staged, scope.lock, scope.root, lines)
    found += _bad_exceptions(staged, scope, lines)
    found = sorted(set(found), key=lambda each: (each.file, each.line, each.code, each.what))
    allowed = [each for each in found if _allowed(staged, files, each)]
    return Result(
        [each for each in found if each not in allowed],
        allowed,
        sum(len(each.history.revisions) for each in lines),
        everything or bool(migrating or tables or found),
        staged.merged,
    )


def _in_line(staged: Staged, here: Line, scope: Scope, everything: bool) -> Iterator[Finding]:
    yield from order.between(here, everything)
    yield from order.edited(here, set(staged.changes))
    for name in here.files:
        # a file that is no migration now may be one that cannot be read
        if name in here.changed or (name in staged.changes and name not in here.by_file):
            text = here.text(name)
            judge = content.alembic if here.tool == "alembic" else content.dbmate
            found = judge(name, text, here.place.table, scope.downgrades)
            yield from (each for each in found if name in here.by_file or each.code == "unreadable")


def _not_staged(staged: Staged, lines: list[Line], concerned: bool) -> Iterator[Finding]:
    if not lines:
        return
    for path, new in staged.not_staged(*(each for here in lines for each in here.place.directories)).items():
        file = staged.top / path
        if not file.is_file() or not any(each.place.holds(path) for each in lines):
            continue
        if path.endswith(".py") and b"down_revision" not in file.read_bytes():
            continue
        yield Finding(
            code="not-staged",
            file=path,
            line=1,
            what="is a migration that this commit leaves out" if new else "has changes that this commit leaves out",
            fix=f"Stage it: git add {path!r}" if " " in path else f"Stage it: git add {path}",
            blocks=concerned,
        )


def _bad_exceptions(staged: Staged, scope: Scope, lines: list[Line]) -> Iterator[Finding]:
    for path, change in staged.changes.items():
        ours = path.endswith(".py") or any(here.place.holds(path) for here in lines)
        if change.new is None or not ours or (scope.root and not path.startswith(f"{scope.root}/")):
            continue
        for each in exceptions(decoded(staged.read(change.new))):
            if each.problem:
                yield Finding(
                    code="bad-exception", file=path, line=each.line, what="allows nothing", fix=_sentence(each.problem)
                )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _allowed(staged: Staged, files: dict[str, str], finding: Finding) -> bool:
    for path in dict.fromkeys((finding.file, *finding.others)):
        text = _text(staged, files, path)
        old = _was(staged, path, finding.code) if finding.code in COMPARING else ""
        for each in exceptions(text):
            if each.code == finding.code and not each.problem and each.text not in old:
                return True
    return False


def _text(staged: Staged, files: dict[str, str], path: str) -> str:
    change = staged.changes.get(path)
    blob = change.new if change else files.get(path) or staged.files(path).get(path)
    if blob is not None:
        return decoded(staged.read(blob))
    file = staged.top / PurePosixPath(path)
    return decoded(file.read_bytes()) if change is None and file.is_file() else ""


def _was(staged: Staged, path: str, code: str) -> str:
    """What a file said before the change that a code is about."""
    if code == "merged-edited" and staged.merged is not None:
        blobs = list(staged.committed(staged.merged, path).values())
    else:
        blobs = [each for each in staged.changes[path].old if each] if path in staged.changes else []
    return "\n".join(decoded(staged.read(each)) for each in blobs)
