"""Finds the migrations of a project and their version table, from the text of its settings.

Nothing is imported or executed, so we do not know values that `env.py` computes.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from . import pyproject, revisions
from .revisions import RevisionGraph, ToolName
from .version_tables import NAMES, VersionTableName, parse_table_name

DBMATE_DIRECTORY: Final = "db/migrations"


class Migrations(NamedTuple):
    """The migrations of a project that share one tool and one version table.

    Attributes:
        tool: The tool.
        directories: Directories of the files.
        table: The version table.
    """

    tool: ToolName
    directories: tuple[Path, ...]
    table: VersionTableName

    def read_graph(self) -> RevisionGraph:
        """Read the files.

        Raises:
            OSError: if they cannot be read.
        """
        read = revisions.read_dbmate if self.tool == "dbmate" else revisions.read_alembic
        return RevisionGraph(self.tool, read(*self.directories))


def find(root: Path, environment: Mapping[str, str] = os.environ) -> list[Migrations]:
    """Find migrations by alembic.ini, `[tool.alembic]` in pyproject.toml, and DBMate's variables or `.env`.

    Args:
        root: The directory in which the tools are run.
        environment: Environment with DBMate's variables, which come before `.env`.

    Raises:
        OSError: if a file that is there cannot be read.
    """
    return [*_alembic(root), *_dbmate(root, environment)]


def at(directory: Path) -> Migrations:
    """The migrations in a directory: DBMate's where it holds .sql files, else Alembic's.

    Args:
        directory: Of .sql files, Alembic's `versions`, or what holds that beside `env.py`.
    """
    if any(directory.glob("*.sql")):
        return Migrations("dbmate", (directory,), VersionTableName("dbmate", NAMES["dbmate"]))
    home = directory if (directory / "env.py").is_file() else directory.parent
    versions = directory / "versions"
    return Migrations("alembic", (versions if versions.is_dir() else directory,), _table(home / "env.py"))


def _alembic(root: Path) -> Iterator[Migrations]:
    seen: set[tuple[Path, ...]] = set()
    for settings in (*_ini(root / "alembic.ini"), *_pyproject(root)):
        home = _resolve_location(root, settings.get("script_location", ""))
        if home is None:
            continue
        listed = settings.get("version_locations", "")
        places = [_resolve_location(root, each) for each in _split(listed, settings)] if listed else [home / "versions"]
        directories = tuple(each for each in places if each is not None and each.is_dir())
        if directories and directories not in seen:
            seen.add(directories)
            yield Migrations("alembic", directories, _table(home / "env.py"))


def _ini(file: Path) -> Iterator[dict[str, str]]:
    """Each section with a `script_location`: `alembic -n` chooses one."""
    if not file.is_file():
        return
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        parser.read(file, encoding="utf-8")
    for section in parser.sections():
        settings = dict(parser.items(section))
        if "script_location" in settings:
            yield {key: value.replace("%(here)s", str(file.parent)) for key, value in settings.items()}


def _pyproject(root: Path) -> Iterator[dict[str, str]]:
    """`[tool.alembic]`, where this Python can read it."""
    settings: dict[str, str] = {}
    for key, value in pyproject.read_table(root, "alembic").items():
        text = "\n".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)
        settings[key] = text.replace("%(here)s", str(root))
    if settings:
        yield {"path_separator": "newline", **settings}


_SEPARATORS: Final = {"os": re.escape(os.pathsep), "space": r"\s+", "newline": r"\n", ":": ":", ";": ";"}


def _split(text: str, settings: Mapping[str, str]) -> Iterator[str]:
    """Several paths, as Alembic splits them: by `path_separator`, or in old files by commas and spaces."""
    named = settings.get("path_separator") or settings.get("version_path_separator") or ""
    for each in re.split(_SEPARATORS.get(named.strip(), r"[\s,]+"), text):
        if each.strip():
            yield each.strip()


def _resolve_location(root: Path, location: str) -> Path | None:
    """A path, or `package:path` without importing the package."""
    package, colon, rest = location.partition(":")
    if not location:
        return None
    if not colon or Path(location).is_absolute() or not re.fullmatch(r"\w[\w.]*", package) or len(package) == 1:
        return root / location
    top, *below = package.split(".")
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = find_spec(top)
        for parent in (root / top, *map(Path, (spec and spec.submodule_search_locations) or ())):
            if parent.is_dir():
                return parent.joinpath(*below, *rest.split(":"))
    return None


def _table(env: Path) -> VersionTableName:
    """The version table that `env.py` configures, by its syntax tree."""
    name, schema = NAMES["alembic"], None
    try:
        module = ast.parse(env.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return VersionTableName("alembic", name)
    constants = dict(revisions.read_literals(module))
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "configure":
            given = {each.arg: _text(each.value, constants) for each in node.keywords}
            name, schema = given.get("version_table") or name, given.get("version_table_schema") or schema
    return VersionTableName("alembic", name, schema)


def _text(node: ast.expr, constants: Mapping[str, object]) -> str | None:
    value = constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
    return value if isinstance(value, str) else None


class DbmateSettings(NamedTuple):
    """What DBMate's variables say.

    Attributes:
        directories: Where its files are.
        table: Its version table, as it was written: with or without a database schema.
    """

    directories: tuple[Path, ...]
    table: str


def dbmate_settings(root: Path, environment: Mapping[str, str] = os.environ) -> DbmateSettings:
    """Read DBMate's variables, from the environment or else from `.env`.

    Raises:
        OSError: if `.env` is there and cannot be read.
    """
    settings = {**_dotenv(root / ".env"), **{key: each for key, each in environment.items() if key in _VARIABLES}}
    listed = settings.get("DBMATE_MIGRATIONS_DIR") or DBMATE_DIRECTORY
    directories = tuple(root / each.strip() for each in listed.split(",") if each.strip())
    return DbmateSettings(directories, settings.get("DBMATE_MIGRATIONS_TABLE") or NAMES["dbmate"])


def _dbmate(root: Path, environment: Mapping[str, str]) -> Iterator[Migrations]:
    try:
        directories, table = dbmate_settings(root, environment)
    except OSError:  # only others may read `.env`
        if any((root / DBMATE_DIRECTORY).glob("*.sql")):
            raise
        return
    there = tuple(each for each in directories if each.is_dir() and any(each.glob("*.sql")))
    if there:
        yield Migrations("dbmate", there, parse_table_name("dbmate", table))


_VARIABLES: Final = ("DBMATE_MIGRATIONS_DIR", "DBMATE_MIGRATIONS_TABLE")
_LINE: Final = re.compile(r"""\s*(?:export\s+)?(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^#\s]*))""")


def _dotenv(file: Path) -> dict[str, str]:
    """Read DBMate's variables from `.env`, as DBMate does; we do not read others, which may be secrets."""
    if not file.is_file():
        return {}
    lines: Iterable[str] = file.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [match for match in map(_LINE.match, lines) if match is not None and match[1] in _VARIABLES]
    return {match[1]: match[2] or match[3] or match[4] or "" for match in found}
