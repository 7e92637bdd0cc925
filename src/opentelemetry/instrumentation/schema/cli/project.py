"""The project of a command: its settings in pyproject.toml, its modules, its schemas."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from .._prometheus.text import printable
from .._schemas import approvals, lockfile, migrations, source
from .._schemas.fields import Document, SchemaSpec, TypeSpec, reference
from .._schemas.lockfile import Lock, Origin
from .._schemas.revisions import RevisionGraph
from .._schemas.staleness import source_name
from .output import UsageError

READERS: Final = ("pydantic", "marshmallow", "jsonschema", "sqlalchemy")
"""Libraries whose schemas are read, each by `integrations/<library>/fields.py`, if the application imported it."""


@dataclass(frozen=True)
class Project:
    """The settings in `[tool.otel-schema]` of pyproject.toml and on the command line.

    Attributes:
        root: The directory that holds pyproject.toml and the lock.
        modules: What to import; `package.*` stands for every module of the package.
        lock: Path of the lock, relative to `root`.
        approvals: Path of the approvals, likewise.
        migrations: Directories of migrations, likewise; found in alembic.ini where none is given.
        downgrades: Whether migrations can be rolled back; without, the hooks ask for no downgrade.
        base: The Git ref that merged migrations are on; found by its usual names where none is given.
        database: Its kind, such as `postgresql`.
        tables: Schema → its table; empty for none.
        accept: Mismatches of API and database that are accepted, as pyproject.toml has them.
        serves_by_revision: Whether the app serves by the revision that it finds: a rollback needs no other code.
    """

    root: Path
    modules: tuple[str, ...] = ()
    lock: str = lockfile.NAME
    approvals: str = approvals.NAME
    migrations: tuple[str, ...] = field(default=())
    downgrades: bool = True
    base: str | None = None
    database: str | None = None
    tables: dict[str, str] = field(default_factory=dict[str, str])
    accept: tuple[dict[str, Any], ...] = ()
    serves_by_revision: bool = False

    @property
    def lock_path(self) -> Path:
        """Where the lock is."""
        return self.root / self.lock

    @property
    def approvals_path(self) -> Path:
        """Where the approvals are."""
        return self.root / self.approvals


_SETTINGS: Final[dict[str, type]] = {
    "modules": list, "migrations": list, "lock": str, "approvals": str, "downgrades": bool, "base": str,
    "database": str, "tables": dict, "accept": list,
    "serves_by_revision": bool,
}  # fmt: skip
_TEXTS: Final = ("modules", "migrations")


def load(root: Path, modules: tuple[str, ...] = ()) -> Project:
    """Read the settings of the project in `root`.

    Raises:
        UsageError: if pyproject.toml is damaged or has an unknown setting.
    """
    project = Project(root)
    found = _tool_table(root / "pyproject.toml")
    changes: dict[str, Any] = {}
    for key, value in found.items():
        if key not in _SETTINGS:
            continue  # a setting of another command
        if not isinstance(value, _SETTINGS[key]):
            raise UsageError(f"pyproject.toml: [tool.otel-schema] {key} must be a {_SETTINGS[key].__name__}")
        changes[key] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        if key in _TEXTS:
            changes[key] = tuple(str(each) for each in changes[key])
    if not all(isinstance(each, str) for each in changes.get("tables", {}).values()):
        raise UsageError(
            'pyproject.toml: [tool.otel-schema.tables] must contain lines such as "app.schemas:LeadIn" = "leads"'
        )
    if not all(isinstance(each, dict) for each in changes.get("accept", ())):
        raise UsageError("pyproject.toml: each [[tool.otel-schema.accept]] must be a table with a reason")
    project = replace(project, **changes)
    return replace(project, modules=modules) if modules else project


def _tool_table(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    text = file.read_text(encoding="utf-8")
    if "tool.otel-schema" not in text:
        return {}
    try:
        toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError as error:
        raise UsageError(
            f"reading [tool.otel-schema] in {file} needs tomli on this Python: pip install tomli"
        ) from error
    try:
        return toml.loads(text)["tool"]["otel-schema"]
    except toml.TOMLDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from error


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
    found = read_application(project, app_dir, "lock")
    root = project.root.resolve()
    origins = {
        ref: _origin(*_defined(found.objects.get(ref), spec), spec.name, root) for ref, spec in found.document.items()
    }
    return Lock(project.modules, found.document, origins, heads(project)), found.unread


@dataclass(frozen=True)
class Application:
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


def read_application(project: Project, app_dir: Path, command: str) -> Application:
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
    return Application(modules, document, objects, unread)


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


@functools.lru_cache(4096)
def code_digest(function: Any) -> str | None:
    """Digest of a function's source, without comments and layout; None where there is none to read."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    try:
        return source.code_digest(inspect.getsource(function))
    except (OSError, TypeError):
        return None


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


def heads(project: Project) -> dict[str, tuple[str, ...]]:
    """The heads of the project's migrations, by tool and directory.

    Raises:
        UsageError: if a directory is not there.
    """
    found: dict[str, tuple[str, ...]] = {}
    for each in migrations_of(project):
        read = read_history(each)
        if read.revisions or project.migrations:
            names = ",".join(_relative(directory, project.root) for directory in each.directories)
            found[f"{each.tool} {names}"] = read.heads
    return found


def migrations_of(project: Project) -> list[migrations.Migrations]:
    """The project's lines of migrations: those that pyproject.toml names, else what the tools' settings say.

    Raises:
        UsageError: if a directory is not there.
    """
    named = [project.root / name for name in project.migrations]
    for directory in named:
        if not directory.is_dir():
            raise UsageError(
                f"cannot read migrations in {directory}: there is no such directory. "
                "Correct [tool.otel-schema] migrations in pyproject.toml"
            )
    try:
        return [migrations.at(each) for each in named] or migrations.find(project.root)
    except OSError as error:
        raise UsageError(f"cannot read migrations: {error}. See [tool.otel-schema] migrations") from error


def read_history(line: migrations.Migrations) -> RevisionGraph:
    """What the files of a line of migrations say.

    Raises:
        UsageError: if they cannot be read.
    """
    try:
        return line.read_graph()
    except OSError as error:
        places = ", ".join(map(str, line.directories))
        raise UsageError(f"cannot read migrations in {places}: {error}. See [tool.otel-schema] migrations") from error


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()
