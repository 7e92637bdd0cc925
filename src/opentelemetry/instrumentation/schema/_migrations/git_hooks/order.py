"""What is wrong between migrations: heads, revisions, parents, and what was merged."""

from __future__ import annotations

from collections.abc import Iterator

from ..._schemas.revisions import Revision
from .codes import Finding
from .line import Line


def between(here: Line, everything: bool) -> Iterator[Finding]:
    """The findings between the migrations of a line.

    Args:
        here: The line of migrations.
        everything: Whether to judge also what this change did not touch.
    """
    changed = {here.by_file[name].id for name in here.changed}
    yield from _duplicates(here)
    if here.tool == "dbmate":
        yield from _late(here)
        return
    yield from _parents(here)
    yield from _heads(here, changed, everything)
    yield from _inserted(here, changed)


def edited(here: Line, gone: set[str]) -> Iterator[Finding]:
    """Merged migrations that are edited or deleted.

    Args:
        here: The line of migrations.
        gone: The paths that this change edits or deletes.
    """
    for revision, blob in sorted(here.merged.items()):
        if blob is None:
            continue
        was = next(name for name, each in here.merged_files.items() if each == blob)
        now = here.history.by_id.get(revision)
        name = now.file.as_posix() if now else was
        if was not in gone and name not in gone:
            continue
        if now is None:
            yield Finding(
                code="merged-edited",
                file=was,
                line=1,
                what=f"is merged, and deleted here: a database at {revision} cannot upgrade or downgrade",
                fix="Restore it, and undo it in a new migration; an exception may be in any migration beside it",
                others=tuple(here.by_file),
            )
        elif not here.same(name, blob):
            yield Finding(
                code="merged-edited",
                file=name,
                line=here.line(name, "revision"),
                what=f"is merged, and edited here: databases that ran {revision} do not run it again",
                fix="Restore it, and write the change as a new migration",
            )


def _newest(here: Line, several: tuple[Revision, ...] | list[Revision]) -> Revision:
    """The one that this change brings, else the last by name."""
    return max(several, key=lambda each: (each.file.as_posix() in here.changed, each.file))


def _duplicates(here: Line) -> Iterator[Finding]:
    for revision, files in here.history.duplicates.items():
        found = _newest(here, [here.by_file[each.as_posix()] for each in files])
        others = ", ".join(each.name for each in files if each != found.file)
        variable = "the number at the start of its name" if here.tool == "dbmate" else "its revision"
        yield Finding(
            code="duplicate-revision",
            file=found.file.as_posix(),
            line=1 if here.tool == "dbmate" else here.line(found.file.as_posix(), "revision"),
            what=f"{revision} is also {others}: one of them never runs",
            fix=f"Change {variable} in the one that no database ran",
            others=tuple(each.as_posix() for each in files),
        )


def _parents(here: Line) -> Iterator[Finding]:
    for name, each in here.by_file.items():
        for down in each.down:
            if down not in here.history:
                yield Finding(
                    code="missing-parent",
                    file=name,
                    line=here.line(name, "down_revision"),
                    what=f"follows {down}, which is not staged: Alembic cannot load any migration",
                    fix="Stage its file, or set down_revision to the head of this branch",
                )


def _heads(here: Line, changed: set[str], everything: bool) -> Iterator[Finding]:
    heads = here.history.heads
    roots = [each for each in here.history.revisions if not each.down]
    new = [each for each in roots if len(roots) > 1 and not each.labels and (everything or each.id in changed)]
    if len(heads) < 2 or not (here.history.forks or new):
        return
    found = _newest(here, [here.history.by_id[each] for each in heads])
    others = [each for each in heads if each != found.id]
    name = found.file.as_posix()
    yield Finding(
        code="several-heads",
        file=name,
        line=here.line(name, "down_revision"),
        what=f"{found.id} and {here.called(others)} are all heads: `alembic upgrade head` refuses to choose",
        fix=f"Set down_revision = {others[0]!r} here, or join them: alembic merge heads",
        others=tuple(here.history.by_id[each].file.as_posix() for each in heads),
    )


def _inserted(here: Line, changed: set[str]) -> Iterator[Finding]:
    merged = here.merged.keys()
    before = here.history.ancestors(merged) - merged
    for each in sorted(before & changed):
        name = here.history.by_id[each].file.as_posix()
        after = next((one.id for one in here.history.revisions if each in one.down and one.id in merged), "others")
        yield Finding(
            code="out-of-order",
            file=name,
            line=here.line(name, "down_revision"),
            what=f"comes before {here.called([after])}, which is merged: a database that ran it never runs this one",
            fix="Let it follow the merged head",
        )


def _late(here: Line) -> Iterator[Finding]:
    last = max(here.merged, default=None)
    for name in here.changed:
        each = here.by_file[name]
        if last is not None and each.id < last and each.id not in here.merged:
            yield Finding(
                code="out-of-order",
                file=name,
                line=1,
                what=f"is older than {last}, which is merged: databases run it after that, or with --strict not at all",
                fix="Give its name a later number: dbmate new makes one",
            )
