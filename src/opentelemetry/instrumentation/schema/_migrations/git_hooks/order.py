"""Checks the order of migrations: heads, duplicate revisions, parents, and merged migrations."""

from __future__ import annotations

from collections.abc import Iterator

from ..._schemas.revisions import Revision
from .codes import HookFinding
from .staged_migrations import StagedMigrations


def check_order(migrations: StagedMigrations, everything: bool) -> Iterator[HookFinding]:
    """Check the order of the migrations of one tool.

    Args:
        migrations: The staged migrations of one tool.
        everything: Whether to check also migrations that this change does not touch.
    """
    changed = {migrations.by_file[name].id for name in migrations.changed}
    yield from _duplicates(migrations)
    if migrations.tool == "dbmate":
        yield from _late(migrations)
        return
    yield from _parents(migrations)
    yield from _heads(migrations, changed, everything)
    yield from _inserted(migrations, changed)


def check_edits(migrations: StagedMigrations, gone: set[str]) -> Iterator[HookFinding]:
    """Find merged migrations that are edited or deleted.

    Args:
        migrations: The staged migrations of one tool.
        gone: The paths that this change edits or deletes.
    """
    for revision, blob in sorted(migrations.merged.items()):
        if blob is None:
            continue
        was = next(name for name, each in migrations.merged_files.items() if each == blob)
        now = migrations.graph.by_id.get(revision)
        name = now.file.as_posix() if now else was
        if was not in gone and name not in gone:
            continue
        if now is None:
            yield HookFinding(
                code="merged-edited",
                file=was,
                line=1,
                what=f"is merged, but deleted here: a database at {revision} can no longer upgrade or downgrade",
                fix="Restore it, and undo it in a new migration. An exception may be in any migration beside it",
                others=tuple(migrations.by_file),
            )
        elif not migrations.is_unchanged(name, blob):
            yield HookFinding(
                code="merged-edited",
                file=name,
                line=migrations.line_of(name, "revision"),
                what=f"is merged, but edited here: a database that ran {revision} does not run it again",
                fix="Restore it, and write the change in a new migration",
            )


def _newest(migrations: StagedMigrations, several: tuple[Revision, ...] | list[Revision]) -> Revision:
    """The migration that this change adds or edits, else the last one by name."""
    return max(several, key=lambda each: (each.file.as_posix() in migrations.changed, each.file))


def _duplicates(migrations: StagedMigrations) -> Iterator[HookFinding]:
    for revision, files in migrations.graph.duplicates.items():
        found = _newest(migrations, [migrations.by_file[each.as_posix()] for each in files])
        others = ", ".join(each.name for each in files if each != found.file)
        variable = "the number at the start of its name" if migrations.tool == "dbmate" else "its revision"
        yield HookFinding(
            code="duplicate-revision",
            file=found.file.as_posix(),
            line=1 if migrations.tool == "dbmate" else migrations.line_of(found.file.as_posix(), "revision"),
            what=f"{revision} is also the revision of {others}: one of them never runs",
            fix=f"Change {variable} in the file that no database has run",
            others=tuple(each.as_posix() for each in files),
        )


def _parents(migrations: StagedMigrations) -> Iterator[HookFinding]:
    cycle = migrations.graph.cycle
    for name, each in migrations.by_file.items():
        for parent in migrations.graph.unresolved.get(each.id, ()):
            follows = parent in each.down
            yield HookFinding(
                code="missing-parent",
                file=name,
                line=migrations.line_of(name, "down_revision" if follows else "depends_on"),
                what=f"{'follows' if follows else 'depends on'} {parent}, which is not staged: Alembic cannot load any "
                "migration",
                fix="Stage its file, or set down_revision to the head of this branch"
                if follows
                else "Stage its file, or correct depends_on",
            )
        if each.id in cycle:
            yield HookFinding(
                code="missing-parent",
                file=name,
                line=migrations.line_of(name, "down_revision"),
                what=f"follows {', '.join(each.down)}, which follows it: Alembic cannot load any migration",
                fix="Set down_revision to the migration that comes before it",
            )


def _heads(migrations: StagedMigrations, changed: set[str], everything: bool) -> Iterator[HookFinding]:
    heads = migrations.graph.heads
    roots = [each for each in migrations.graph.revisions if not each.down]
    new = [each for each in roots if len(roots) > 1 and not each.labels and (everything or each.id in changed)]
    if len(heads) < 2 or not (migrations.graph.forks or new):
        return
    found = _newest(migrations, [migrations.graph.by_id[each] for each in heads])
    others = [each for each in heads if each != found.id]
    name = found.file.as_posix()
    yield HookFinding(
        code="several-heads",
        file=name,
        line=migrations.line_of(name, "down_revision"),
        what=f"{found.id} and {migrations.format_revisions(others)} are all heads, and `alembic upgrade head` "
        "refuses to choose",
        fix=f"Set down_revision = {others[0]!r} here, or merge them: alembic merge heads",
        others=tuple(migrations.graph.by_id[each].file.as_posix() for each in heads),
    )


def _inserted(migrations: StagedMigrations, changed: set[str]) -> Iterator[HookFinding]:
    merged = migrations.merged.keys()
    before = migrations.graph.ancestors(merged) - merged
    for each in sorted(before & changed):
        name = migrations.graph.by_id[each].file.as_posix()
        after = next((one.id for one in migrations.graph.revisions if each in one.down and one.id in merged), "others")
        yield HookFinding(
            code="out-of-order",
            file=name,
            line=migrations.line_of(name, "down_revision"),
            what=f"comes before {migrations.format_revisions([after])}, which is merged: a database that ran it never "
            "runs this one",
            fix="Set its down_revision to the merged head",
        )


def _late(migrations: StagedMigrations) -> Iterator[HookFinding]:
    last = max(migrations.merged, default=None)
    for name in migrations.changed:
        each = migrations.by_file[name]
        if last is not None and each.id < last and each.id not in migrations.merged:
            yield HookFinding(
                code="out-of-order",
                file=name,
                line=1,
                what=f"is older than {last}, which is merged: a database runs it later, or with --strict never",
                fix="Give its file a later number; `dbmate new` makes one",
            )
