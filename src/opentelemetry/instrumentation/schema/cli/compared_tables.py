"""The tables with which `check` compares schemas: those of a database, or those of the SQLAlchemy models."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._schemas import fit_live
from .._schemas.fields import Document
from .._schemas.fit_columns import NAMES, SYSTEMS, System, system_of
from . import project
from .importing import ImportedSchemas
from .output import UsageError
from .project import Project


@dataclass(frozen=True)
class ComparedTables:
    """The tables with which schemas are compared.

    Attributes:
        system: The kind of database.
        name: The database, or the models, for people.
        tables: By reference, as values go through them.
        drifts: Where model and database differ.
        absent: Tables of the models that the database does not have.
        remarks: Further lines for people.
    """

    system: System
    name: str
    tables: Document
    drifts: tuple[fit_live.Drift, ...] = ()
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def modelled_tables(imported: ImportedSchemas, database: str | None) -> ComparedTables:
    """The tables of the SQLAlchemy models.

    Raises:
        UsageError: if the kind of database is not known, or the models define no table.
    """
    system = system_of(database) if database else _system_of_engines(imported)
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
    tables = _tables(imported, _dialect(system))
    if not tables:
        raise UsageError("the modules define no SQLAlchemy table: also name the module of the models, or give --url")
    remark = "compared with the SQLAlchemy models: give --url to compare with a database"
    return ComparedTables(system, f"the models for {NAMES[system]}", tables, remarks=(remark,))


def _tables(imported: ImportedSchemas, dialect: Any) -> Document:
    """The models' tables, in the words of a kind of database."""
    refs = [ref for ref, spec in imported.document.items() if spec.library == "sqlalchemy"]
    if not refs:
        return {}
    reader = importlib.import_module("..integrations.sqlalchemy.fields", __package__)
    found: Document = {}
    for ref in refs:
        found |= reader.fields(imported.objects[ref], dialect=dialect)
    return found


def _dialect(system: System) -> Any:
    name = {"mariadb": "mysql"}.get(system, system)
    return importlib.import_module(f"sqlalchemy.dialects.{name}").dialect()


def _system_of_engines(imported: ImportedSchemas) -> System | None:
    """The kind of database that the application's engines are for, where it has any and they agree."""
    if "sqlalchemy" not in sys.modules:
        return None
    found: set[str] = set()
    for module in imported.modules:
        for value in list(vars(module).values()):
            if type(value).__name__ in ("Engine", "AsyncEngine") and type(value).__module__.startswith("sqlalchemy"):
                found.add(str(value.dialect.name))
    return system_of(found.pop()) if len(found) == 1 else None


def live_tables(url: str, database_schema: str | None, imported: ImportedSchemas, settings: Project) -> ComparedTables:
    """The tables of a database, with what the models do to values on their way.

    Raises:
        UsageError: if the database cannot be read, or contains no table.
    """
    try:
        from .._migrations import database as databases
        from .._migrations.errors import MigrationError
    except ImportError as error:
        raise UsageError(f"--url needs SQLAlchemy: pip install sqlalchemy ({error})") from error
    reader = importlib.import_module("..integrations.sqlalchemy.fields", __package__)
    try:
        found = databases.parse(url)
        with found.connect() as connection:
            system = system_of(connection.dialect.name)
            try:
                live: Document = reader.reflected(connection, database_schema)
            except Exception as error:
                hint = f". Does the database have the schema {database_schema}?" if database_schema else ""
                raise UsageError(f"cannot read the tables of {found}: {databases.reason(error)}{hint}") from error
            modelled = _tables(imported, connection.dialect)
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
    return ComparedTables(
        system, str(found), tables, tuple(drifts), tuple(each.name for each in models.values()), remarks
    )


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
