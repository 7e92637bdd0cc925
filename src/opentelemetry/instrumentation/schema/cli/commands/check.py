"""`otel-schema check`: whether the schemas of an API still fit the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import click

from ..._schemas import fit, fit_pairing, source
from ..._schemas.fields import Document, SchemaSpec
from ..._schemas.fit_columns import SYSTEMS, System
from ..._schemas.fit_findings import SEVERITIES, Mismatch, Severity
from ..._schemas.fit_pairing import Pairing, PairingError
from .. import accepting, importing, project, reporting
from ..accepting import Accepted
from ..compared_tables import ComparedTables, live_tables, modelled_tables
from ..importing import ImportedSchemas
from ..output import UsageError, echo, finish
from ..project import Project
from ..reporting import Item, Report

_WORDS: Final[dict[Severity, str]] = {"critical": "ALTERED", "error": "REFUSED", "warning": "warning"}


@click.command()
@click.argument("modules", nargs=-1)
@click.option(
    "--url", metavar="URL", envvar="OTEL_SCHEMA_DATABASE_URL", help="Compare with the tables of this database."
)
@click.option("--database-schema", metavar="NAME", help="The database schema that holds the tables.")
@click.option("--database", type=click.Choice(SYSTEMS), help="Without --url: the kind of database that the models use.")
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default="error",
    show_default=True,
    help="Exit with 1 on findings of at least this severity: critical (a value is ALTERED), error (a value is REFUSED) "
    "or warning.",
)
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The directory that contains the modules.",
)
@reporting.format_option
def check(
    modules: tuple[str, ...],
    url: str | None,
    database_schema: str | None,
    database: System | None,
    fail_on: Severity,
    app_dir: Path,
    format_: str,
) -> None:
    """Say where the schemas of the API no longer fit the database.

    Imports MODULES, pairs each schema with a table, and compares their fields with the columns: those in the database
    of --url, else those of the SQLAlchemy models. Without MODULES, check takes those in pyproject.toml
    ([tool.otel-schema] modules).

    Exits with 1 on findings, and with 2 if it cannot compare.
    """
    settings = project.load(Path.cwd(), modules)
    accepted = accepting.read(settings.accept)
    imported = importing.import_schemas(settings, app_dir.resolve(), "check")
    for ref, reason in imported.unread.items():
        echo(f"warning: {ref} is left out, because it cannot be read: {reason}", err=True)
    if url is not None:
        tables = live_tables(url, database_schema, imported, settings)
    else:
        tables = modelled_tables(imported, database or settings.database)
    pairs = _pair(imported, tables, settings)
    report = _report(imported, tables, pairs, accepted, fail_on, settings)
    echo(reporting.render(report, format_))
    finish(report.exit_code)


# -- pairs


def _pair(imported: ImportedSchemas, tables: ComparedTables, settings: Project) -> list[Pairing]:
    mapped = {
        ref.rpartition(".")[2]: thing.__name__ for ref, thing in imported.objects.items() if isinstance(thing, type)
    }
    classes = {ref: mapped.get(ref.rpartition(".")[2], "") for ref in tables.tables}
    try:
        pairs = fit_pairing.pair(imported.document, tables.tables, settings.tables, classes)
    except PairingError as error:
        raise UsageError(str(error)) from error
    pairs = [each for each in pairs if each.declared or not _only_inherited(imported.document, each.schema)]
    if not pairs:
        raise UsageError(
            "found no table for any schema, so there is nothing to compare. Declare one: __schema_table__ = "
            '"leads" in the class, or in pyproject.toml [tool.otel-schema.tables] "app.schemas:LeadIn" = "leads"'
        )
    return pairs


def _only_inherited(document: Document, ref: str) -> bool:
    """Whether a schema is a base of others, and nothing validates with it: no route uses a `LeadBase`."""
    unused = document[ref].name.endswith("Base") and not document[ref].directions
    return unused and any(each.directions for each in document.values())


# -- the report


def _report(
    imported: ImportedSchemas,
    tables: ComparedTables,
    pairs: list[Pairing],
    accepted: list[Accepted],
    fail_on: Severity,
    settings: Project,
) -> Report:
    today = date.today()
    counting = [each for each in accepted if each.counts(today)]
    items: list[Item] = []
    used: set[int] = set()
    found: list[Mismatch] = []
    for each in pairs:
        schema = imported.document[each.schema]
        found += fit.compare(schema, imported.document, tables.tables[each.table], tables.system, each.declared)
    for mismatch in sorted(found, key=lambda each: (each.schema, SEVERITIES.index(each.severity))):
        allowed = [each for each in counting if each.covers(mismatch)]
        used |= {id(each) for each in allowed}
        items.append(_item(mismatch, allowed[0] if allowed else None, fail_on, imported, settings.root))
    items += _drift_items(tables, fail_on)
    remarks = [f"{each.schema} → {tables.tables[each.table].name} ({each.how})" for each in pairs]
    remarks += [*tables.remarks, *_unpaired(imported, pairs), *_unjudged(imported, pairs)]
    for each in accepted:
        if not each.counts(today):
            remarks.append(f"pyproject.toml: the accept entry for {each} ended on {each.until} and no longer counts")
        elif id(each) not in used:
            remarks.append(
                f"pyproject.toml: the accept entry for {each} ({each.reason}) matches no finding any more: remove it"
            )
    result, summary = _summary(items, pairs, tables)
    return Report(
        command="check",
        result=result,
        summary=summary,
        items=items,
        verdicts=[
            {"subject": each.schema, "table": tables.tables[each.table].name, "paired": each.how} for each in pairs
        ],
        remarks=remarks,
        details={"database": tables.name},
    )


def _item(
    mismatch: Mismatch, accepted: Accepted | None, fail_on: Severity, imported: ImportedSchemas, root: Path
) -> Item:
    fails = SEVERITIES.index(mismatch.severity) <= SEVERITIES.index(fail_on)
    file, line = _place(imported, mismatch, root)
    return Item(
        code=mismatch.kind,
        level="error" if fails else "warning",
        subject=mismatch.schema,
        group=mismatch.way,
        path=mismatch.field or mismatch.column,
        message=mismatch.message,
        why=mismatch.why,
        fingerprint=mismatch.fingerprint,
        file=file,
        line=line,
        approval=accepted.reason if accepted is not None else None,
        details={
            "word": _WORDS[mismatch.severity],
            "table": mismatch.table,
            "column": mismatch.column,
            "severity": mismatch.severity,
            "effect": mismatch.effect,
        },
    )


def _place(imported: ImportedSchemas, mismatch: Mismatch, root: Path) -> tuple[str | None, int | None]:
    """File and line of a field, where its class defines it; else the class's."""
    origin = imported.origin(mismatch.schema, root)
    if origin.file is None:
        return None, None
    name = origin.name or imported.document[mismatch.schema].name
    try:
        place = source.read_definitions(root.resolve() / origin.file).get(name)
    except (OSError, SyntaxError):
        return origin.file, None
    return origin.file, None if place is None else place.lines.get(mismatch.field, place.line)


def _drift_items(tables: ComparedTables, fail_on: Severity) -> Iterator[Item]:
    level: reporting.Level = "error" if fail_on == "warning" else "warning"
    words = {"labels": "enum labels", "default": "server default", "check": "CHECK constraint"}
    for each in tables.drifts:
        yield Item(
            code="drift",
            level=level,
            subject=f"table {each.table}",
            path=each.column,
            message=f"{words[each.what]}: the model has {each.model}; the database has {each.database}",
            why="Alembic does not compare this by default: write a migration, or correct the model.",
            details={"table": each.table, "column": each.column, "severity": "warning", "word": "warning"},
        )
    for name in tables.absent:
        yield Item(
            code="missing-table",
            level=level,
            subject=f"table {name}",
            message="the models define this table, and the database does not have it",
            why="Run the migrations, or remove the model.",
            details={"table": name, "severity": "warning", "word": "warning"},
        )


def _unpaired(imported: ImportedSchemas, pairs: list[Pairing]) -> Iterator[str]:
    paired = {each.schema for each in pairs}
    rest = [ref for ref, each in sorted(imported.document.items()) if ref not in paired and _comparable(each)]
    if rest:
        more = f" and {len(rest) - 5} more" if len(rest) > 5 else ""
        yield f"not compared, because they have no table: {', '.join(rest[:5])}{more}"


def _comparable(schema: SchemaSpec) -> bool:
    return (
        schema.library != "sqlalchemy" and schema.type.kind == "object" and bool(schema.fields) and schema.table != ""
    )


def _unjudged(imported: ImportedSchemas, pairs: list[Pairing]) -> Iterator[str]:
    """Validators may narrow or change a value, so what a field's type says is not what reaches the database."""
    names = [
        f"{each.schema}.{field.name}"
        for each in pairs
        for field in imported.document[each.schema].fields
        if field.type.checks
    ]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield (
            "writes of these fields are not judged, because validators may change or refuse values: "
            f"{', '.join(names[:5])}{more}"
        )


def _summary(items: list[Item], pairs: list[Pairing], tables: ComparedTables) -> tuple[str, str]:
    open_ = [each for each in items if each.approval is None]
    numbers = {name: sum(each.details["severity"] == name for each in open_) for name in SEVERITIES}
    parts = [
        f"{number} {name}{'s' * (number > 1 and name != 'critical')}" for name, number in numbers.items() if number
    ]
    accepted = len(items) - len(open_)
    parts += [f"{accepted} accepted"] if accepted else []
    schemas = f"{len(pairs)} schema{'' if len(pairs) == 1 else 's'}"
    result = "mismatch" if any(each.counts for each in items) else "fits"
    text = f"mismatches: {', '.join(parts)}" if parts else "no mismatch"
    return result, f"{tables.name}: {text} ({schemas} compared)"
