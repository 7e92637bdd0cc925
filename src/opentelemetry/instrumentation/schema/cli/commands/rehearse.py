"""`otel-schema rehearse`: each revision up, down and up again on an empty scratch database."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Final

import click

from ..._migrations import outcome, snapshot
from ..._migrations.database import Database, parse
from ..._migrations.errors import MigrationError
from ..._migrations.guard.rollback import file_digests
from ..._migrations.history import NAME, HistoryFile
from ..._migrations.plan import ToolReport
from ..._migrations.process import SIGNALS, catch_interrupts
from .. import reporting
from ..migration_options import TOOLS, find_tool
from ..output import FINE, UsageError, echo, finish
from ..reporting import Item, Report

_SHOWN: Final = 8  # lines of a difference
_VARIABLES: Final = ("DATABASE_URL", "OTEL_SCHEMA_DATABASE_URL", "SQLALCHEMY_DATABASE_URI")
_FAILED: Final = {"up": "the upgrade", "down": "the downgrade", "up again": "the second upgrade"}
_NAMES: Final = {"postgresql": "PostgreSQL", "mysql": "MariaDB or MySQL", "sqlite": "SQLite"}


@click.command()
@click.option(
    "--url",
    metavar="URL",
    required=True,
    envvar="OTEL_SCHEMA_SCRATCH_URL",
    help="An empty database, of the kind that the migrations are for.",
)
@click.option("--tool", type=click.Choice(TOOLS), help="The migration tool.  [default: the one found here]")
@click.option("--config", type=click.Path(path_type=Path), help="alembic.ini, or DBMate's directory of migrations.")
@click.option("-x", "x", multiple=True, metavar="NAME=VALUE", help="Pass this to env.py, as `alembic -x` does.")
@reporting.format_option
def rehearse(url: str, tool: str | None, config: Path | None, x: tuple[str, ...], format_: str) -> None:
    """Upgrade, downgrade and upgrade each revision again on an empty database, and compare the schema at each stop.

    Finds downgrades that undo nothing or only a part, and upgrades that cannot be repeated. Leaves all migrations
    applied on that database.

    Exits with 0 if each revision came back, 1 if one did not, 2 if the database is not empty or is of another kind,
    3 if it cannot read the database, and 130 or 143 if a signal stopped it.
    """
    with catch_interrupts() as noted:
        scratch = parse(url)
        used = find_tool(tool, config, url, x, noted)
        _refuse_stand_in(scratch, used.name, config)
        current = used.read_revisions()
        there = outcome.read(current.database, current.table)
        if there.heads or snapshot.application_lines(there.schema):
            found = snapshot.application_lines(there.schema)[:3] or [f"revision {there.heads[0]}"]
            raise MigrationError(
                f"{scratch} is not empty: it contains {', '.join(found)} …. Name an empty database that nobody uses"
            )
        events = _Events()
        ended = used.rehearse(events)
    report = events.report(ended)
    if report.exit_code == FINE and ended.ok:
        with contextlib.suppress(MigrationError):  # it is only a note, for `upgrade --auto-rollback`
            HistoryFile(Path(os.environ.get("OTEL_SCHEMA_HISTORY") or NAME)).record_rehearsal(
                file_digests(used.files())
            )
    echo(reporting.render(report, format_))
    if ended.killed is not None and ended.killed in SIGNALS:
        finish(128 + ended.killed)
    finish(report.exit_code)


def _refuse_stand_in(scratch: Database, tool: str, config: Path | None) -> None:
    """SQLite, or another server, would answer differently than the one that the migrations are for."""
    real = _real_dialect(tool, config)
    if real not in (None, "sqlite", scratch.dialect):
        raise UsageError(
            f"the migrations are for {_NAMES[real]}, but {scratch} is {_NAMES[scratch.dialect]}, which behaves "
            f"differently: name an empty {_NAMES[real]} database with --url"
        )


def _real_dialect(tool: str, config: Path | None) -> str | None:
    """The dialect that the project names in its settings or in its revisions; None where it names none."""
    found: list[str] = []
    if tool == "alembic":
        ini = config or Path("alembic.ini")
        text = ini.read_text(encoding="utf-8", errors="replace")
        line = re.search(r"^\s*sqlalchemy\.url\s*=\s*(\w+)(?:\+\w+)?:", text, re.M)
        if line and line[1] != "driver":  # of the template
            found.append(line[1])
        for file in sorted(ini.parent.rglob("versions/*.py"))[:1000]:
            said = re.search(r"dialects(?:\.| import )(postgresql|mysql)", file.read_text(errors="replace"))
            if said:
                found.append(said[1])
                break
    variables = (os.environ.get(each) for each in _VARIABLES)
    found.extend(each.partition(":")[0].partition("+")[0] for each in variables if each)
    known = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
    real = next((known[each] for each in found if each in known), None)
    return real or ("sqlite" if any(each.startswith("sqlite") for each in found) else None)


class _Events:
    """Collects the events of a rehearsal, and reports them."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._verdicts: dict[str, dict[str, str]] = {}
        self._way, self._file, self._total = "up", "", 0

    def __call__(self, name: str, facts: dict[str, Any]) -> None:
        if name == "step":
            self._way = facts["way"]
            self._file = Path(facts.get("file") or "").name
            self._total = facts["total"]
            if self._way == "up":
                echo(f"{facts['number']}/{facts['total']} {facts['revision']}", err=True)
            return
        if name != "stop":
            return
        revision, way = facts["revision"], facts["way"]
        row = self._verdicts.setdefault(revision, {"subject": revision, "up": "", "down": "", "up again": ""})
        difference: list[str] = facts["difference"]
        row[way] = "missing" if facts.get("missing") else "differs" if difference else "ok"
        file = Path(facts.get("file") or "").name
        if facts.get("missing"):
            self._add(
                "no-downgrade", "warning", revision, file, "the revision has no downgrade", "A rollback stops here."
            )
        elif difference:
            message = {
                "down": "its downgrade does not restore the schema",
                "up again": "a second upgrade leads to another schema",
            }[way]
            why = "A rollback would leave a schema that no revision describes." if way == "down" else ""
            self._add(
                "fake-reversible" if way == "down" else "not-repeatable",
                "error",
                revision,
                file,
                message,
                why,
                tuple(difference),
            )

    def _add(
        self, code: str, level: Any, revision: str, file: str, message: str, why: str, lines: tuple[str, ...] = ()
    ) -> None:
        more = (f"… and {len(lines) - _SHOWN} more",) if len(lines) > _SHOWN else ()
        self._items.append(
            Item(
                code=code,
                level=level,
                subject=revision,
                message=f"{message} ({file})" if file else message,
                why=why,
                remarks=(*lines[:_SHOWN], *more),
                details={"word": "wrong" if level == "error" else "warning"},
            )
        )

    def report(self, ended: ToolReport) -> Report:
        """The report of all events."""
        done = sum(bool(row["up again"] or row["down"] == "missing") for row in self._verdicts.values())
        if ended.killed is not None:
            self._add("interrupted", "unknown", ended.failed or "", self._file, f"{ended.message}", "Run it again.")
        elif ended.failed is not None and ended.message:
            code = {"up": "upgrade-fails", "down": "downgrade-fails", "up again": "not-repeatable"}[self._way]
            self._add(code, "error", ended.failed, "", f"{_FAILED[self._way]} failed: {ended.message}", "")
        wrong = {each.subject for each in self._items if each.level == "error"}
        rest = self._total - done
        summary = f"{done} of {self._total} revision{'' if self._total == 1 else 's'} rehearsed"
        if ended.failed is not None and rest:
            wrong_before = len(wrong - {ended.failed})
            summary += f", {wrong_before} of them did not come back" if wrong_before else ""
            summary += f"; the rehearsal stopped at {ended.failed}"
        elif wrong:
            summary += f", {len(wrong)} did not come back"
        return Report(
            command="rehearse",
            result="findings" if wrong else "fine",
            summary=summary,
            items=self._items,
            verdicts=list(self._verdicts.values()),
        )
