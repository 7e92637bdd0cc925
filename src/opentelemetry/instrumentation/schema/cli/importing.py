"""Imports an application's modules, and reads the schemas and tables that their packages define."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from .._prometheus.text import printable
from .._schemas import source
from .._schemas.code import code_digest
from .._schemas.fields import Document, SchemaSpec, TypeSpec, reference
from .._schemas.lockfile import Lock, Origin
from .._schemas.staleness import source_name
from .output import UsageError
from .project import Project, heads

READERS: Final = ("pydantic", "marshmallow", "jsonschema", "sqlalchemy")
"""Libraries whose schemas are read, each by `integrations/<library>/fields.py`, if the application imported it."""


def load_modules(names: Iterable[str], app_dir: Path) -> list[ModuleType]:
    """Import modules, with `app_dir` first on the path; what they print goes to stderr.

    Raises:
        UsageError: if one cannot be imported.
    """
    if str(app_dir) not in sys.path:
        sys.path.insert(0, str(app_dir))
    loaded: list[ModuleType] = []
    for name in names:
        every = name.endswith(".*")
        module = _load(name.removesuffix(".*"))
        loaded.append(module)
        if every:
            path = getattr(module, "__path__", None)
            if path is None:
                raise UsageError(f"{name}: {module.__name__} is not a package: name it without `.*`")
            found = (each.name for each in pkgutil.walk_packages(path, f"{module.__name__}."))
            loaded.extend(_load(each) for each in found if not each.endswith(".__main__"))
    return loaded


def _load(name: str) -> ModuleType:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script that calls sys.exit() when it is imported
        said = printable(str(error).partition("\n")[0])
        hint = "Install what it needs, or name another module"
        if isinstance(error, ModuleNotFoundError) and name.startswith(str(error.name)):
            hint = "Run this in the directory that contains it, or give that directory with --app-dir"
        raise UsageError(f"cannot import {name}: {type(error).__name__}: {said}. {hint}.") from error


def read_lock(project: Project, app_dir: Path) -> tuple[Lock, dict[str, str]]:
    """The lock of the code as it is: imports the modules and reads every schema that their packages define.

    Returns:
        The lock, and each schema that could not be read with the reason. An incomplete model is one: it cannot
        validate either.

    Raises:
        UsageError: if there is no module to import, or one cannot be imported.
    """
    found = import_schemas(project, app_dir, "lock")
    root = project.root.resolve()
    origins = {
        ref: _origin(*_defined(found.objects.get(ref), spec), spec.name, root) for ref, spec in found.document.items()
    }
    return Lock(project.modules, found.document, origins, heads(project)), found.unread


@dataclass(frozen=True)
class ImportedSchemas:
    """What an application's packages define.

    Attributes:
        modules: The packages' modules that were imported.
        document: Its schemas and tables, by reference.
        objects: Reference → what was read: a class, a table, the data of a JSON Schema.
        unread: What could not be read, with the reason.
    """

    modules: list[ModuleType]
    document: Document
    objects: dict[str, Any]
    unread: dict[str, str]

    def origin(self, ref: str, root: Path) -> Origin:
        """Where a schema or table is defined."""
        spec = self.document[ref]
        return _origin(*_defined(self.objects.get(ref), spec), spec.name, root.resolve())


def import_schemas(project: Project, app_dir: Path, command: str) -> ImportedSchemas:
    """Import the modules, and read every schema and table that their packages define.

    Args:
        project: Which modules.
        app_dir: Where they are.
        command: The command, for messages.

    Raises:
        UsageError: if there is no module to import, or one cannot be imported.
    """
    if not project.modules:
        raise UsageError(
            f"no module is named: name the modules, as in `otel-schema {command} app.main`, or in pyproject.toml: "
            '[tool.otel-schema] modules = ["app.main"]'
        )
    load_modules(project.modules, app_dir)
    packages = {name.partition(".")[0] for name in project.modules}
    modules = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] in packages and module]
    document: Document = {}
    objects: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for schema, found in _schemas(modules, unread):
        objects.setdefault(next(iter(found)), schema)
        for ref, spec in found.items():
            document.setdefault(ref, spec)
    _add_directions(document, modules)
    return ImportedSchemas(modules, document, objects, unread)


_NOTHING: Final = TypeSpec(kind="never")


def _schemas(modules: list[ModuleType], unread: dict[str, str]) -> Iterator[tuple[Any, Document]]:
    for library in READERS:
        if library not in sys.modules:
            continue
        reader = importlib.import_module(f"..integrations.{library}.fields", __package__)
        for schema in reader.schemas(modules):
            try:
                yield schema, reader.fields(schema, code_digest)
            except Exception as error:
                name = str(getattr(schema, "name", "") or type(schema).__qualname__)
                ref = reference(*_defined(schema, SchemaSpec(name=name, module=None, library=library, type=_NOTHING)))
                unread[ref] = printable(f"{type(error).__name__}: {error}".partition("\n")[0])


def _add_directions(document: Document, modules: list[ModuleType]) -> None:
    """Note where frameworks use schemas, and the schemas in them."""
    if "fastapi" not in sys.modules:
        return
    from .._schemas.fields import reachable

    routes = importlib.import_module("..integrations.fastapi.fields", __package__)
    used: dict[str, set[str]] = {}
    for ref, direction in routes.directions(modules):
        for each in reachable(ref, document):
            used.setdefault(each, set()).add(direction)
    for ref, directions in used.items():
        document[ref] = replace(document[ref], directions=tuple(sorted(directions)))


def _defined(schema: Any, spec: SchemaSpec) -> tuple[str | None, str]:
    """The module that defines a schema, and the schema's name in it."""
    if isinstance(schema, type):
        return schema.__module__, source_name(schema.__qualname__)
    if isinstance(schema, tuple):  # of a variable
        return cast("Any", schema).module, cast("Any", schema).name
    return spec.module, source_name(spec.name)


def _origin(module: str | None, name: str, schema: str, root: Path) -> Origin:
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None:
        return Origin()
    path = Path(file).resolve()
    if not path.is_relative_to(root) or {"site-packages", "dist-packages"} & {*path.parts}:
        return Origin()
    try:
        place = source.read_definitions(path).get(name)
    except (OSError, SyntaxError):
        place = None
    if place is None:
        return Origin()
    return Origin(path.relative_to(root).as_posix(), place.tree, None if name == source_name(schema) else name)
