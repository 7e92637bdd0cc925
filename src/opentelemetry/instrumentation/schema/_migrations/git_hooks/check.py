"""Runs all checks of the hooks on a commit that is about to be made, or on a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from . import content, models, order
from .codes import COMPARING, HookFinding, find_allowances
from .staged import Staged
from .staged_migrations import MigrationPaths, StagedMigrations, decode


@dataclass(frozen=True, kw_only=True)
class HookScope:
    """What to check. Paths are relative to the top of the work tree, with `/`.

    Attributes:
        root: The project's directory; empty if it is the top.
        migrations: Where the migrations are.
        lock: The lock file.
        downgrades: Whether migrations need a downgrade.
    """

    root: str = ""
    migrations: tuple[MigrationPaths, ...] = ()
    lock: str = "schema.lock"
    downgrades: bool = True


@dataclass(frozen=True)
class CheckResult:
    """The result of all checks.

    Attributes:
        findings: Findings by file and line, without those that an exception allows.
        allowed: Findings that an exception allows.
        migrations: Number of migrations.
        concerned: Whether the change touches anything that we check.
        merged: The commit up to which the history counts as merged; None if unknown.
    """

    findings: list[HookFinding]
    allowed: list[HookFinding]
    migrations: int
    concerned: bool
    merged: str | None


def check(staged: Staged, scope: HookScope) -> CheckResult:
    """Check the index.

    Raises:
        GitError: if Git fails.
    """
    directories = [each for paths in scope.migrations for each in paths.directories]
    files = staged.files(*directories) if directories else {}
    before = staged.committed(staged.merged, *directories) if staged.merged and directories else None
    all_migrations = [StagedMigrations(each, staged, files, before) for each in scope.migrations]
    migrating = [
        each for each in staged.changes if any(migrations.paths.contains(each) for migrations in all_migrations)
    ]
    tables = models.find_unmigrated_tables(staged, scope.root, all_migrations)
    # Nothing is staged for `pre-commit run --all-files`. A merge may join migrations that were fine on each side.
    everything = not staged.changes or len(staged.parents) > 1
    found: list[HookFinding] = []
    # another file in the directories may be a migration of the project's own kind
    migrated = any(
        each.new and any(migrations.paths.is_below(path) for migrations in all_migrations)
        for path, each in staged.changes.items()
    )
    if all_migrations and not migrated:
        found += tables
    for migrations in all_migrations:
        if everything or any(migrations.paths.contains(each) for each in migrating):
            found += _check_migrations(staged, migrations, scope, everything)
    if not staged.reviews:
        found += _not_staged(staged, all_migrations, bool(migrating or tables))
    found += models.check_lock(staged, scope.lock, scope.root, all_migrations)
    found += _bad_allowances(staged, scope, all_migrations)
    found = sorted(set(found), key=lambda each: (each.file, each.line, each.code, each.what))
    allowed = [each for each in found if _allowed(staged, files, each)]
    return CheckResult(
        [each for each in found if each not in allowed],
        allowed,
        sum(len(each.graph.revisions) for each in all_migrations),
        everything or bool(migrating or tables or found),
        staged.merged,
    )


def _check_migrations(
    staged: Staged, migrations: StagedMigrations, scope: HookScope, everything: bool
) -> Iterator[HookFinding]:
    yield from order.check_order(migrations, everything)
    yield from order.check_edits(migrations, set(staged.changes))
    for name in migrations.files:
        # a file that does not look like a migration may be an unreadable one
        if name in migrations.changed or (name in staged.changes and name not in migrations.by_file):
            text = migrations.text(name)
            judge = content.check_alembic if migrations.tool == "alembic" else content.check_dbmate
            found = judge(name, text, migrations.paths.table, scope.downgrades)
            yield from (each for each in found if name in migrations.by_file or each.code == "unreadable")


def _not_staged(staged: Staged, all_migrations: list[StagedMigrations], concerned: bool) -> Iterator[HookFinding]:
    if not all_migrations:
        return
    for path, new in staged.not_staged(
        *(each for migrations in all_migrations for each in migrations.paths.directories)
    ).items():
        file = staged.top / path
        if not file.is_file() or not any(each.paths.contains(path) for each in all_migrations):
            continue
        if path.endswith(".py") and b"down_revision" not in file.read_bytes():
            continue
        yield HookFinding(
            code="not-staged",
            file=path,
            line=1,
            what="is a migration that this commit leaves out" if new else "has changes that this commit leaves out",
            fix=f"Stage it: git add {path!r}" if " " in path else f"Stage it: git add {path}",
            blocks=concerned,
        )


def _bad_allowances(staged: Staged, scope: HookScope, all_migrations: list[StagedMigrations]) -> Iterator[HookFinding]:
    for path, change in staged.changes.items():
        ours = path.endswith(".py") or any(migrations.paths.contains(path) for migrations in all_migrations)
        if change.new is None or not ours or (scope.root and not path.startswith(f"{scope.root}/")):
            continue
        for each in find_allowances(decode(staged.read(change.new))):
            if each.problem:
                yield HookFinding(
                    code="bad-exception", file=path, line=each.line, what="allows nothing", fix=_sentence(each.problem)
                )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _allowed(staged: Staged, files: dict[str, str], finding: HookFinding) -> bool:
    for path in dict.fromkeys((finding.file, *finding.others)):
        text = _text(staged, files, path)
        old = _text_before(staged, path, finding.code) if finding.code in COMPARING else ""
        for each in find_allowances(text):
            if each.code == finding.code and not each.problem and each.text not in old:
                return True
    return False


def _text(staged: Staged, files: dict[str, str], path: str) -> str:
    change = staged.changes.get(path)
    blob = change.new if change else files.get(path) or staged.files(path).get(path)
    if blob is not None:
        return decode(staged.read(blob))
    file = staged.top / PurePosixPath(path)
    return decode(file.read_bytes()) if change is None and file.is_file() else ""


def _text_before(staged: Staged, path: str, code: str) -> str:
    """The text of a file before the change."""
    if code == "merged-edited" and staged.merged is not None:
        blobs = list(staged.committed(staged.merged, path).values())
    else:
        blobs = [each for each in staged.changes[path].old if each] if path in staged.changes else []
    return "\n".join(decode(staged.read(each)) for each in blobs)
