"""Rolls back an upgrade that made production worse, if that is safe; otherwise says why it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from .. import run
from ..errors import MigrationError
from ..history import HistoryFile
from ..plan import SAFE, Plan, Tool, format_heads
from ..run import Options, RunResult, Say

_PROGRAM: Final = "from opentelemetry.instrumentation.schema.cli import main; main()"
_CHECK_SECONDS: Final = 120


def find_code_mismatch(plan: Plan, serves_by_revision: bool) -> str:
    """Find out why the running code would not fit the database after a rollback; empty if it fits.

    A rollback changes the database and not the code. So we compare the code with the schema before the upgrade, to
    which a rollback returns.

    Args:
        plan: The plan of the upgrade, before it runs.
        serves_by_revision: Whether the project says that the app adapts to the revision of the database.
    """
    if serves_by_revision:
        return ""
    url = plan.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _PROGRAM, "check"]
    try:
        done = subprocess.run(  # noqa: S603 (ourselves)
            command,
            env={**os.environ, "OTEL_SCHEMA_DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=_CHECK_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        known = format_heads(plan.before, plan.tool)
        return f"cannot tell whether the running code fits {known} ({type(error).__name__})"
    if done.returncode == 0:
        return ""
    if done.returncode == 1:
        return f"the running code does not fit {format_heads(plan.before, plan.tool)}: see otel-schema check"
    said = " ".join(done.stderr.split())[-300:]
    return (
        f"cannot tell whether the running code fits {format_heads(plan.before, plan.tool)} ({said}). If the app itself "
        "serves the schema that fits the revision, set serves_by_revision = true in pyproject.toml, [tool.otel-schema]"
    )


def find_unrehearsed(plan: Plan, history: HistoryFile) -> list[str]:
    """Find the revisions of a plan whose files, as they are now, were never rehearsed according to the history."""
    known = history.rehearsed_files()
    return [step.revision for step in plan.steps if step.sha256 not in known]


def roll_back(
    tool: Tool, upgrade: Plan, history: HistoryFile, options: Options, say: Say, on_begin: Callable[[Plan], None]
) -> tuple[RunResult | None, str]:
    """Roll the database back to the revisions before an upgrade.

    Args:
        tool: The tool of the upgrade.
        upgrade: The plan of the upgrade.
        history: The file in which the rollback is recorded.
        options: The options of the upgrade.
        say: Prints progress.
        on_begin: Called with the plan just before the rollback changes the database.

    Returns:
        The result, or None if nothing was run; and why nothing was run, or an empty text.
    """
    target = format_heads(upgrade.before, upgrade.tool)
    try:
        with run.plan_under_lock(tool, "downgrade", target, replace(options, by_guard=True), say) as back:
            why = _find_obstacle(upgrade, back)
            if why:
                return None, why
            run.refuse_unsafe(back, options)
            on_begin(back)
            return run.execute(tool, back, history, replace(options, by_guard=True), say), ""
    except MigrationError as error:
        return None, str(error)


def _find_obstacle(upgrade: Plan, back: Plan) -> str:
    if tuple(sorted(back.before)) != tuple(sorted(upgrade.after)):
        at = format_heads(back.before, back.tool)
        expected = format_heads(upgrade.after, back.tool)
        return f"another migration ran in the meantime: {back.database} is at {at}, not at {expected}"
    if tuple(sorted(back.after)) != tuple(sorted(upgrade.before)):
        return f"a rollback would end at {format_heads(back.after, back.tool)}"
    unsafe = [step for step in back.steps if step.kind not in SAFE]
    if unsafe:
        return f"{unsafe[0].revision} is {unsafe[0].kind}: {unsafe[0].why}"
    return ""


def file_digests(files: Mapping[str, object]) -> list[str]:
    """SHA-256 of migration files, as in plans."""
    found: list[str] = []
    for file in files.values():
        try:
            with open(str(file), "rb") as content:
                found.append(sha256(content.read()).hexdigest())
        except OSError:
            continue
    return found
