"""`otel-schema check`: whether the schemas of an API still fit the database."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from ..._schemas import fit, fit_live, fit_pairing, source
from ..._schemas.fields import Document, SchemaSpec
from ..._schemas.fit_columns import NAMES, SYSTEMS, System, system_of
from ..._schemas.fit_findings import SEVERITIES, Mismatch, Severity
from ..._schemas.fit_pairing import Pairing, PairingError
from .. import accepting, project, reporting
from ..accepting import Accepted
from ..output import UsageError, echo, finish
from ..project import Application, Project
from ..reporting import Item, Report

_WORDS: Final[dict[Severity, str]] = {"critical": "ALTERED", "error": "REFUSED", "warning": "warning"}


@dataclass(frozen=True)
class _Tables:
    """What schemas are compared with.

    Attributes:
        system: The kind of database.
        name: What it is called.
        tables: By reference, as values go through them.
        drifts: Where model and database differ.
        absent: Tables of the models that the database does not have.
        remarks: What is to be said of them.
    """

    system: System
    name: str
    tables: Document
    drifts: tuple[fit_live.Drift, ...] = ()
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


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
    application = project.read_application(settings, app_dir.resolve(), "check")
    for ref, reason in application.unread.items():
        echo(f"warning: {ref} is left out, because it cannot be read: {reason}", err=True)
    if url is not None:
        tables = _live(url, database_schema, application, settings)
    else:
        tables = _modelled(application, database or settings.database)
    pairs = _pair(application, tables, settings)
    report = _report(application, tables, pairs, accepted, fail_on, settings)
    echo(reporting.render(report, format_))
    finish(report.exit_code)


# -- the tables


def _modelled(application: Application, database: str | None) -> _Tables:
    """The models' own tables."""
    system = system_of(database) if database else _system_of_engines(application)
    if system is None and database:
        raise UsageError(
            f"pyproject.toml: [tool.otel-schema] database {database!r} is not supported: choose from "
            f"{', '.join(SYSTEMS)}"
        )
    if system is None:
        raise UsageError(
            "cannot tell which kind of database the models are for: give --url to compare with a database, or say "
            'the kind, as in --database postgresql or in pyproject.toml: [tool.otel-schema] database = "postgresql"'
        )
    tables = _tables(application, _dialect(system))
    if not tables:
        raise UsageError("the modules define no SQLAlchemy table: also name the module of the models, or give --url")
    remark = "compared with the SQLAlchemy models: give --url to compare with a database"
    return _Tables(system, f"the models for {NAMES[system]}", tables, remarks=(remark,))


def _tables(application: Application, dialect: Any) -> Document:
    """The models' tables, in the words of a kind of database."""
    refs = [ref for ref, spec in application.document.items() if spec.library == "sqlalchemy"]
    if not refs:
        return {}
    reader = importlib.import_module("...integrations.sqlalchemy.fields", __package__)
    found: Document = {}
    for ref in refs:
        found |= reader.fields(application.objects[ref], dialect=dialect)
    return found


def _dialect(system: System) -> Any:
    name = {"mariadb": "mysql"}.get(system, system)
    return importlib.import_module(f"sqlalchemy.dialects.{name}").dialect()


def _system_of_engines(application: Application) -> System | None:
    """The kind of database that the application's engines are for, where it has any and they agree."""
    if "sqlalchemy" not in sys.modules:
        return None
    found: set[str] = set()
    for module in application.modules:
        for value in list(vars(module).values()):
            if type(value).__name__ in ("Engine", "AsyncEngine") and type(value).__module__.startswith("sqlalchemy"):
                found.add(str(value.dialect.name))
    return system_of(found.pop()) if len(found) == 1 else None


def _live(url: str, database_schema: str | None, application: Application, settings: Project) -> _Tables:
    """The tables of a database, with what the models do to values on their way."""
    try:
        from ..._migrations import database as databases
        from ..._migrations.errors import MigrationError
    except ImportError as error:
        raise UsageError(f"--url needs SQLAlchemy: pip install sqlalchemy ({error})") from error
    reader = importlib.import_module("...integrations.sqlalchemy.fields", __package__)
    try:
        found = databases.parse(url)
        with found.connect() as connection:
            system = system_of(connection.dialect.name)
            try:
                live: Document = reader.reflected(connection, database_schema)
            except Exception as error:
                hint = f". Does the database have the schema {database_schema}?" if database_schema else ""
                raise UsageError(f"cannot read the tables of {found}: {databases.reason(error)}{hint}") from error
            modelled = _tables(application, connection.dialect)
    except MigrationError as error:
        raise UsageError(str(error)) from error
    assert system is not None, "databases.parse() takes no other"
    if not live:
        raise UsageError(f"{found} contains no table: run the migrations first, or give --database-schema")
    models = {each.name.rpartition(".")[2]: each for each in modelled.values()}
    tables: Document = {}
    drifts: list[fit_live.Drift] = []
    for ref, table in live.items():
        model = models.pop(table.name.rpartition(".")[2], None)
        tables[ref] = fit_live.merge_tables(model, table)
        if model is not None:
            drifts += fit_live.find_drift(model, table)
    remarks = tuple(_same_thing(settings, live))
    return _Tables(system, str(found), tables, tuple(drifts), tuple(each.name for each in models.values()), remarks)


def _same_thing(settings: Project, live: Document) -> Iterator[str]:
    """What makes a comparison one of a thing with itself: tables that the models made."""
    lines = project.migrations_of(settings)
    for line in lines:
        for directory in line.directories:
            for file, number in _create_all(directory):
                where = file.relative_to(settings.root) if file.is_relative_to(settings.root) else file
                yield (
                    f"{where}:{number} calls create_all(): this migration creates the tables from the models, so "
                    "check compares the models with themselves. Write each table in the migration"
                )
    names = {each.name.rpartition(".")[2] for each in live.values()}
    known = {line.table.name for line in lines}
    if lines and not known & names:
        yield (
            f"the database has no table {' or '.join(sorted(known))}, so migrations may not have created its tables. "
            "If create_all() did, check compares the models with themselves"
        )


def _create_all(directory: Path) -> Iterator[tuple[Path, int]]:
    for file in sorted(directory.glob("*.py")):
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_all":
                yield file, node.lineno


# -- pairs


def _pair(application: Application, tables: _Tables, settings: Project) -> list[Pairing]:
    mapped = {
        ref.rpartition(".")[2]: thing.__name__ for ref, thing in application.objects.items() if isinstance(thing, type)
    }
    classes = {ref: mapped.get(ref.rpartition(".")[2], "") for ref in tables.tables}
    try:
        pairs = fit_pairing.pair(application.document, tables.tables, settings.tables, classes)
    except PairingError as error:
        raise UsageError(str(error)) from error
    pairs = [each for each in pairs if each.declared or not _only_inherited(application.document, each.schema)]
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
    application: Application,
    tables: _Tables,
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
        schema = application.document[each.schema]
        found += fit.compare(schema, application.document, tables.tables[each.table], tables.system, each.declared)
    for mismatch in sorted(found, key=lambda each: (each.schema, SEVERITIES.index(each.severity))):
        allowed = [each for each in counting if each.covers(mismatch)]
        used |= {id(each) for each in allowed}
        items.append(_item(mismatch, allowed[0] if allowed else None, fail_on, application, settings.root))
    items += _drift_items(tables, fail_on)
    remarks = [f"{each.schema} → {tables.tables[each.table].name} ({each.how})" for each in pairs]
    remarks += [*tables.remarks, *_unpaired(application, pairs), *_unjudged(application, pairs)]
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
    mismatch: Mismatch, accepted: Accepted | None, fail_on: Severity, application: Application, root: Path
) -> Item:
    fails = SEVERITIES.index(mismatch.severity) <= SEVERITIES.index(fail_on)
    file, line = _place(application, mismatch, root)
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


def _place(application: Application, mismatch: Mismatch, root: Path) -> tuple[str | None, int | None]:
    """File and line of a field, where its class defines it; else the class's."""
    origin = application.origin(mismatch.schema, root)
    if origin.file is None:
        return None, None
    name = origin.name or application.document[mismatch.schema].name
    try:
        place = source.read_definitions(root.resolve() / origin.file).get(name)
    except (OSError, SyntaxError):
        return origin.file, None
    return origin.file, None if place is None else place.lines.get(mismatch.field, place.line)


def _drift_items(tables: _Tables, fail_on: Severity) -> Iterator[Item]:
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


def _unpaired(application: Application, pairs: list[Pairing]) -> Iterator[str]:
    paired = {each.schema for each in pairs}
    rest = [ref for ref, each in sorted(application.document.items()) if ref not in paired and _comparable(each)]
    if rest:
        more = f" and {len(rest) - 5} more" if len(rest) > 5 else ""
        yield f"not compared, because they have no table: {', '.join(rest[:5])}{more}"


def _comparable(schema: SchemaSpec) -> bool:
    return (
        schema.library != "sqlalchemy" and schema.type.kind == "object" and bool(schema.fields) and schema.table != ""
    )


def _unjudged(application: Application, pairs: list[Pairing]) -> Iterator[str]:
    """Validators may narrow or change a value, so what a field's type says is not what reaches the database."""
    names = [
        f"{each.schema}.{field.name}"
        for each in pairs
        for field in application.document[each.schema].fields
        if field.type.checks
    ]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield (
            "writes of these fields are not judged, because validators may change or refuse values: "
            f"{', '.join(names[:5])}{more}"
        )


def _summary(items: list[Item], pairs: list[Pairing], tables: _Tables) -> tuple[str, str]:
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
