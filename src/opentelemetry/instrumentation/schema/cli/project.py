"""The project of a command: its settings in pyproject.toml, and its migrations."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from .._schemas import approvals, lockfile, migrations
from .._schemas.revisions import RevisionGraph
from .output import UsageError


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
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: it is not text in UTF-8") from error
    if "tool.otel-schema" not in text:
        return {}
    try:
        toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError as error:
        raise UsageError(
            f"reading [tool.otel-schema] in {file} needs tomli on this Python: pip install tomli"
        ) from error
    try:
        document: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from error
    tools: Any = document.get("tool")
    # a comment may name the table
    found: Any = cast("dict[str, Any]", tools).get("otel-schema", {}) if isinstance(tools, dict) else {}
    if not isinstance(found, dict):
        raise UsageError(f"{file}: [tool.otel-schema] must be a table")
    return cast("dict[str, Any]", found)


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
