"""Loads a project's revision files, orders them as they would run, and describes them, without a database."""

from __future__ import annotations

import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import HeadMaintainer
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from ..classify import classify_step
from ..database import reason
from .alembic_errors import place
from .alembic_render import Renderer


class StoppedError(Exception):
    """A run stops early; `kind` tells the parent why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def load(config: Config) -> ScriptDirectory:
    """The revisions of this checkout.

    Raises:
        CommandError: if Alembic cannot order them.
        StoppedError: if a file is missing or cannot be loaded, or two files have one revision.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        script = ScriptDirectory.from_config(config)
        try:
            _ = script.revision_map.heads
        except KeyError as error:
            raise StoppedError(
                "files",
                f"a revision file is missing: a down_revision names {reason(error)}, and no file has that revision",
            ) from error
        except (CommandError, RevisionError):
            raise
        except BaseException as error:  # a file may call sys.exit
            at = place(error, script.dir)
            raise StoppedError(
                "files",
                f"a revision file cannot be loaded: {type(error).__name__}: {reason(error)}{f' ({at})' if at else ''}. "
                "Correct it, because Alembic loads every file",
            ) from error
    for each in said:
        text = str(each.message)
        if "present more than once" in text:
            raise StoppedError("files", f"two files have one revision id: {text}. Give one of them another id")
        if "is not present" in text:
            raise StoppedError("files", f"a revision file is missing: {text}. Restore it from version control")
    return script


def below(script: ScriptDirectory, heads: tuple[str, ...]) -> list[str]:
    """The revisions below the heads, the newest first."""
    lines = script.iterate_revisions(heads, "base") if heads else ()
    return [each.revision for each in lines if each.revision not in heads]


def steps(script: ScriptDirectory, direction: str, target: str, heads: tuple[str, ...]) -> list[Any]:
    """The steps of a direction to a target, in their order.

    Raises:
        CommandError: if there is no such target.
    """
    if direction == "upgrade":
        return [*script._upgrade_revs(target, heads)]  # pyright: ignore
    for each in script.walk_revisions():
        if not hasattr(each.module, "downgrade"):  # the description of its step reports that
            each.module.downgrade = None  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return [*script._downgrade_revs(target, heads)]  # pyright: ignore
    except AssertionError as error:
        raise CommandError(f"there is nothing to revert from {', '.join(heads) or 'base'} to {target}") from error


class _Heads(HeadMaintainer):
    """Computes the heads after some steps, without a version table."""

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.discard(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads.discard(from_)
        self.heads.add(to_)


def after(script: ScriptDirectory, steps: list[Any], heads: tuple[str, ...]) -> list[str]:
    """The heads after the steps."""
    heads_then = _Heads(None, heads)  # pyright: ignore[reportArgumentType]
    for step in steps:
        heads_then.update_to_step(step)
    return sorted(heads_then.heads)


def describe(renderer: Renderer, step: Any, direction: Any) -> dict[str, Any]:
    """Describe a step for the plan: its SQL, its losses and its class."""
    revision = step.revision
    up, up_sql, down, down_sql = renderer.functions(revision)
    found, why = classify_step(direction, up, down)
    mine = up if direction == "upgrade" else down
    notes = [*mine.source.notes, *(mine.effects.notes if mine.effects else [])]
    text = Path(revision.path).read_text(encoding="utf-8", errors="replace")
    return {
        "revision": revision.revision,
        "down": list(revision._versioned_down_revisions),
        "title": (revision.doc or "").partition("\n")[0],
        "file": revision.path,
        "sha256": digest(revision.path),
        "sql": up_sql if direction == "upgrade" else down_sql,
        "kind": found,
        "why": why,
        "losses": [vars(loss) for loss in (mine.effects.losses if mine.effects else [])],
        "notes": notes,
        "autocommit": "autocommit_block" in text,
    }


def digest(path: str) -> str:
    """SHA-256 of a file."""
    return sha256(Path(path).read_bytes()).hexdigest()
