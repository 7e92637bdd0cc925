"""The steps of a rehearsal with Alembic: each revision up, down and up again, in one run of env.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory

from ..snapshot import Snapshot, difference


def rehearse(
    script: ScriptDirectory, say: Callable[..., None], snapshot: Callable[[], Snapshot | None]
) -> Iterator[Any]:
    """Yield the steps to Alembic; code after a `yield` runs when the step is complete.

    Args:
        script: The revisions.
        say: Called with `step` before and `stop` after each step; `stop` has the lines by which the schema differs.
        snapshot: Reads the schema.
    """
    revisions = [*reversed([*script.iterate_revisions("heads", "base")])]
    for number, revision in enumerate(revisions, 1):
        facts = {"revision": revision.revision, "file": revision.path, "number": number, "total": len(revisions)}
        before = snapshot()
        say("step", way="up", **facts)
        yield MigrationStep.upgrade_from_script(script.revision_map, revision)
        after = snapshot()
        say("stop", way="up", difference=[], **facts)
        if not hasattr(revision.module, "downgrade"):
            say("stop", way="down", missing=True, difference=[], **facts)
            continue
        say("step", way="down", **facts)
        down = MigrationStep.downgrade_from_script(script.revision_map, revision)
        raised: list[str] = []
        down.migration_fn = _unless_it_raises(down.migration_fn, raised)
        yield down
        back = snapshot()
        if raised:
            say("stop", way="down", missing=True, difference=[], why=raised[0], **facts)
        else:
            say("stop", way="down", difference=_between(before, back), **facts)
        up = MigrationStep.upgrade_from_script(script.revision_map, revision)
        if back == after:  # the downgrade changed only the version table, so the upgrade must not run again
            up.migration_fn = _nothing
        say("step", way="up again", **facts)
        yield up
        say("stop", way="up again", difference=_between(after, snapshot()), **facts)


def _between(wanted: Snapshot | None, found: Snapshot | None) -> list[str]:
    return difference(wanted, found) if wanted is not None and found is not None else ["? the schema was not read"]


def _unless_it_raises(function: Any, raised: list[str]) -> Any:
    def run(**arguments: Any) -> None:
        try:
            function(**arguments)
        except NotImplementedError as error:
            raised.append(str(error) or "NotImplementedError")

    return run


def _nothing(**_: Any) -> None:
    pass
