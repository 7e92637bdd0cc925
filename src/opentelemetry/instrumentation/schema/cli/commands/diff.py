"""`otel-schema diff`: which changes of schemas break clients."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from ..._prometheus.http import Access
from ..._prometheus.selector import Selector
from ..._schemas import approvals, lockfile, source
from ..._schemas.approvals import Approval, ApprovalError
from ..._schemas.compare import compare
from ..._schemas.fields import Document
from ..._schemas.findings import Comparison, Finding
from ..._schemas.lockfile import Lock, LockError
from ..._schemas.staleness import find_stale, source_name
from ..._schemas.verdicts import LEVELS, Level
from .. import git, importing, project, reporting, traffic
from ..connection import match_option, reads_urls
from ..output import UsageError, echo, finish
from ..project import Project
from ..reporting import Item, Report
from .lock import content_below, read

_ITEM_LEVELS: Final[dict[Level, reporting.Level]] = {
    "breaking": "error",
    "unknown": "unknown",
    "warning": "warning",
    "compatible": "note",
}
_WORDS: Final[dict[Level, str]] = {
    "breaking": "BREAKING",
    "unknown": "NOT JUDGED",
    "warning": "warning",
    "compatible": "compatible",
}


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        lock: Its schemas.
        name: What it is called: a ref, a file, or `the code`.
    """

    lock: Lock
    name: str


@click.command()
@click.argument("old", metavar="[REF|LOCK]", default="HEAD")
@click.argument("new", metavar="[LOCK]", required=False)
@click.option("--locked", is_flag=True, help="Compare with the lock file as it is, without importing the code.")
@click.option(
    "--module",
    "-m",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import this module.  [default: the lock's modules]",
)
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The directory that contains the modules.",
)
@click.option("--lock", "lock_file", metavar="FILE", help="The lock file.  [default: schema.lock]")
@click.option("--direction", type=click.Choice(["request", "response"]), help="Judge only requests, or only responses.")
@click.option(
    "--prometheus", "prometheus_url", metavar="URL", help="Show how much traffic each breaking change affects."
)
@click.option("--since", metavar="DURATION", default="7d", show_default=True, help="How far --prometheus looks back.")
@click.option("--approve", "approved", metavar="FINGERPRINT", multiple=True, help="Approve this finding.")
@click.option("--reason", metavar="TEXT", help="Why you approve it.")
@click.option("--until", metavar="DATE", help="The last day on which the approval counts, such as 2027-01-31.")
@click.option("--by", metavar="NAME", help="Who approves it.  [default: Git's user.name]")
@reporting.format_option
@match_option
@reads_urls
def diff(
    old: str,
    new: str | None,
    locked: bool,
    modules: tuple[str, ...],
    app_dir: Path,
    lock_file: str | None,
    direction: str | None,
    prometheus_url: str | None,
    since: str,
    approved: tuple[str, ...],
    reason: str | None,
    until: str | None,
    by: str | None,
    format_: str,
    selector: Selector,
    access: Access,
) -> None:
    """Say which schema changes break clients, and why.

    Compares the current code with the schema.lock of a Git REF (default: HEAD), without checking it out; or compares
    two lock files. Judges each schema as a request and as a response. Judges each table by what old code writes and
    reads until the deployment ends.

    Exits with 1 if a change breaks clients and nobody approved it, with 3 if nothing breaks but diff cannot judge a
    change, and with 2 if it cannot compare the two.
    """
    settings = project.load(Path.cwd(), modules)
    if lock_file:
        settings = replace(settings, lock=lock_file)
    before = _old(old, settings)
    after = _new(new, locked, settings, before, app_dir.resolve())
    _require_libraries(before.lock, after.lock)
    comparison = compare(before.lock.schemas, after.lock.schemas)
    found = {each.fingerprint for each in comparison.findings}
    if direction is not None:
        comparison = replace(comparison, findings=[each for each in comparison.findings if each.direction == direction])
    known = _approvals(settings)
    if approved:
        _approve(settings, known, comparison.findings, approved, reason, until, by)
        known = _approvals(settings)
    elif reason or until or by:
        raise UsageError("--reason, --until and --by work only with --approve FINGERPRINT: add it")
    said = traffic.remarks(comparison, prometheus_url, since, access, selector) if prometheus_url else {}
    report = _report(before, after, comparison, found, known, said, settings)
    echo(reporting.render(report, format_))
    finish(report.exit_code)


def _old(name: str, settings: Project) -> Side:
    if Path(name).is_file():
        return Side(read(Path(name)), name)
    text = git.show(name, settings.lock_path)
    try:
        return Side(lockfile.loads(text, f"{settings.lock} at {name}"), name)
    except LockError as error:
        raise UsageError(str(error)) from error


def _new(name: str | None, locked: bool, settings: Project, before: Side, app_dir: Path) -> Side:
    if name is not None:
        return Side(read(Path(name)), name)
    if locked:
        lock = read(settings.lock_path)
        found = find_stale(lock, content_below(settings.root))
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            raise UsageError(
                f"{settings.lock} is stale: {found[0].ref} ({found[0].file}) {found[0].why}{more}. "
                "Write it again: otel-schema lock"
            )
        return Side(lock, settings.lock)
    if not settings.modules:
        known = read(settings.lock_path).modules if settings.lock_path.exists() else before.lock.modules
        settings = replace(settings, modules=known)
    lock, unread = importing.read_lock(settings, app_dir)
    for ref, reason in unread.items():
        if ref in before.lock.schemas:
            raise UsageError(f"cannot compare {ref}: the lock has it, but it cannot be read now: {reason}")
        echo(f"warning: {ref} is left out, because it cannot be read: {reason}", err=True)
    return Side(lock, "the code")


def _require_libraries(old: Lock, new: Lock) -> None:
    """A library that is not installed looks like one whose schemas were all removed."""
    libraries = {each.library for each in old.schemas.values()} - {each.library for each in new.schemas.values()}
    for library in sorted(libraries & {*importing.READERS}):
        if importlib.util.find_spec(library) is None:
            raise UsageError(
                f"the old lock contains schemas of {library}, which is not installed here: install it, then run diff "
                "again"
            )


def _approvals(settings: Project) -> dict[str, Approval]:
    path = settings.approvals_path
    try:
        return approvals.loads(path.read_text(encoding="utf-8"), path.name) if path.exists() else {}
    except (ApprovalError, UnicodeDecodeError) as error:
        raise UsageError(str(error)) from error


def _approve(
    settings: Project,
    known: dict[str, Approval],
    findings: list[Finding],
    fingerprints: tuple[str, ...],
    reason: str | None,
    until: str | None,
    by: str | None,
) -> None:
    if not reason:
        raise UsageError("--approve needs a reason: add one, such as --reason 'all clients send it since May'")
    who = by or git.user(settings.root)
    if not who:
        raise UsageError("--approve needs a name: add --by NAME, or set Git's user.name")
    try:
        end = date.fromisoformat(until) if until else None
    except ValueError as error:
        raise UsageError(f"--until {until} is not a date such as 2027-01-31") from error
    if end is not None and end < date.today():
        raise UsageError(f"--until {until} is in the past, so the approval would not count: give a later date")
    found = {each.fingerprint: each for each in findings}
    path = settings.approvals_path
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for each in fingerprints:
        finding = found.get(each)
        if finding is None:
            raise UsageError(f"no finding has the fingerprint {each}: copy one from the output of diff")
        if finding.level not in ("breaking", "unknown"):
            raise UsageError(f"finding {each} needs no approval, because it breaks nothing: {finding.what}")
        for same in (other for other in findings if other.cause == finding.cause):
            said = f"{same.schema} {same.direction} {same.path}: {same.what}".replace("\n", " ")
            try:
                text = approvals.add_approval(text, Approval(same.fingerprint, end, who, reason), said)
            except ApprovalError as error:
                raise UsageError(str(error)) from error
    path.write_text(text, encoding="utf-8")


# -- the report


def _report(
    before: Side,
    after: Side,
    comparison: Comparison,
    present: set[str],
    known: dict[str, Approval],
    said: dict[str, tuple[str, ...]],
    settings: Project,
) -> Report:
    today = date.today()
    counting = {each.fingerprint: each for each in known.values() if each.is_valid(today)}
    unused = _used_by_no_route(before.lock, after.lock)
    items = [
        _item(
            each,
            after.lock,
            before.lock,
            counting.get(each.fingerprint),
            said.get(each.fingerprint, ()),
            comparison.below,
            unused,
            settings.root,
        )
        for each in sorted(comparison.findings, key=lambda each: (each.schema, LEVELS.index(each.level)))
    ]
    states: list[dict[str, str]] = []
    remarks: list[str] = []
    for approval in known.values():
        state = "gone" if approval.fingerprint not in present else "counts"
        if not approval.is_valid(today):
            state = "expired"
            remarks.append(
                f"{settings.approvals}: the approval of {approval.fingerprint} ended on {approval.until} and no longer "
                "counts"
            )
        elif state == "gone":
            remarks.append(
                f"{settings.approvals}: the approval of {approval.fingerprint} ({approval.reason}) matches no finding "
                "any more: remove its line"
            )
        states.append(
            {"fingerprint": approval.fingerprint, "state": state, "by": approval.by, "reason": approval.reason}
        )
    verdicts = _verdicts(comparison, counting.keys())
    result, summary = _summary(items, verdicts, {**before.lock.schemas, **after.lock.schemas})
    return Report(
        command="diff",
        result=result,
        summary=f"{before.name} → {after.name}: {summary}",
        items=items,
        verdicts=verdicts,
        remarks=remarks,
        details={"old": before.name, "new": after.name, "approvals": states},
    )


def _used_by_no_route(*locks: Lock) -> set[str]:
    """Schemas of which routes, where there are any, make no use: code alone does."""
    schemas = [each for lock in locks for each in lock.schemas.values() if each.library != "sqlalchemy"]
    used = {each.ref for each in schemas if each.directions}
    return {each.ref for each in schemas} - used if used else set()


def _verdicts(comparison: Comparison, ignored: Iterable[str]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for ref, directions in sorted(comparison.schemas.items()):
        found: dict[str, str] = {}
        for direction in directions:
            level = comparison.level(ref, direction, ignored)
            found[direction] = {"breaking": "breaking", "unknown": "not judged"}.get(level, "compatible")
        rows.append({"subject": ref, **found})
    return rows


def _summary(items: list[Item], verdicts: list[dict[str, str]], compared: Document) -> tuple[str, str]:
    numbers = {
        level: sum(each.level == level and each.approval is None for each in items) for level in reporting.LEVELS
    }
    approved = sum(each.approval is not None for each in items)
    parts = [
        f"{number} {name}"
        for number, name in (
            (numbers["error"], "breaking"),
            (numbers["unknown"], "not judged"),
            (approved, "approved"),
            (numbers["warning"], "warnings" if numbers["warning"] != 1 else "warning"),
            (numbers["note"], "compatible"),
        )
        if number
    ]
    result = "breaking" if numbers["error"] else "not judged" if numbers["unknown"] else "compatible"
    tables = sum(compared[each["subject"]].library == "sqlalchemy" for each in verdicts)
    names = {"schema": len(verdicts) - tables, "table": tables}
    subjects = " and ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in names.items() if number)
    return result, f"{', '.join(parts) or 'no change'} ({subjects or 'nothing'} compared)"


def _item(
    finding: Finding,
    new: Lock,
    old: Lock,
    approval: Approval | None,
    said: tuple[str, ...],
    held: dict[str, set[str]],
    unused: set[str],
    root: Path,
) -> Item:
    file, line = _place(finding, new, old, root)
    counts = finding.level in ("breaking", "unknown")
    schema = new.schemas.get(finding.schema) or old.schemas[finding.schema]
    group = {"request": "write", "response": "read"} if schema.library == "sqlalchemy" else {}
    holders = [ref for ref, below in held.items() if finding.schema in below and ref != finding.schema]
    details: dict[str, Any] = {
        "word": _WORDS[finding.level],
        "held_by": holders,
        "direction": finding.direction,
        "old": finding.old,
        "new": finding.new,
    }
    if finding.schema in unused:
        details["served"] = False
    if said:
        details["traffic"] = list(said)
    return Item(
        code=finding.rule,
        level=_ITEM_LEVELS[finding.level],
        subject=finding.schema,
        group=group.get(finding.direction, finding.direction),
        path=finding.path,
        message=finding.what,
        why=finding.why,
        fingerprint=finding.fingerprint,
        file=file,
        line=line,
        approval=f"{approval.by}: {approval.reason}" if approval is not None and counts else None,
        details=details,
        remarks=said,
        cause=finding.cause if counts else "",
    )


def _place(finding: Finding, new: Lock, old: Lock, root: Path) -> tuple[str | None, int | None]:
    """File and line of a finding: its field's where the class defines it, else the class's."""
    lock = new if finding.schema in new.origins else old
    origin = lock.origins.get(finding.schema)
    if origin is None or origin.file is None:
        return None, None
    try:
        name = origin.name or source_name(lock.schemas[finding.schema].name)
        place = source.read_definitions(root / origin.file).get(name)
    except (OSError, SyntaxError):
        return origin.file, None
    if place is None:
        return origin.file, None
    wire = finding.path.partition(".")[0]
    names = [each.name for each in lock.schemas[finding.schema].fields if wire in (*each.inputs, each.output)]
    return origin.file, next((place.lines[each] for each in (*names, wire) if each in place.lines), place.line)
