"""The architecture: imports point down only, and what is not used is not imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from opentelemetry.instrumentation import schema

PACKAGE = "opentelemetry.instrumentation.schema"
ROOT = Path(str(schema.__file__)).parent

# Each room, and the rooms that it may import besides itself. A module that is in no room is core.
ROOMS = {
    "cli": {"_migrations", "_prometheus", "_monitoring", "_schemas", "core"},
    "entry": {"_live", "_recording", "core"},
    "_live": {"_recording", "_schemas", "core"},
    "integrations": {"_migrations", "_recording", "_schemas", "core"},
    "_migrations": {"_prometheus", "_schemas", "core"},
    "_schemas": set(),
    "_prometheus": {"core"},
    "_monitoring": {"core"},
    "_recording": {"core"},
    "core": set(),
}
ENTRY = {"", "api", "instrumentor"}
FOLD = "_recording.fold"

# The libraries that each integration may import, besides the core's; the other integrations' are not among them.
OWN = {
    "pydantic": {"pydantic", "pydantic_core"},
    "jsonschema": {"jsonschema", "referencing"},  # which holds its schemas
    "marshmallow": {"marshmallow"},
    "sqlalchemy": {"sqlalchemy"},
    "alembic": {"alembic", "sqlalchemy"},  # which it works on
    "starlette": {"starlette", "anyio"},  # which Starlette runs on
    "fastapi": {"fastapi"},
    "flask": {"flask", "werkzeug"},  # which Flask is made of
    "django": {"django"},
    "ninja": {"ninja"},
    "celery": {"celery"},
    "billiard": {"billiard"},
    "webargs": {"webargs"},
}
CORE = {"opentelemetry", "wrapt", "packaging", "greenlet", "typing_extensions"}  # the last for type checkers
CLI = {"click", "rich"}
MIGRATIONS = {"sqlalchemy", "alembic", "sqlglot"}


class Import(NamedTuple):
    """One imported module, as seen in a file.

    Attributes:
        at: The importing module below the package, such as `integrations.flask`.
        of: What it imports, absolute.
        lazy: Whether inside a function.
        typing: Whether for type checkers only.
    """

    at: str
    of: str
    lazy: bool
    typing: bool

    @property
    def below(self) -> str | None:
        """What it imports, where that is below the package; None elsewhere."""
        if self.of == PACKAGE:
            return ""
        return self.of.removeprefix(f"{PACKAGE}.") if self.of.startswith(f"{PACKAGE}.") else None


def _modules() -> dict[str, Path]:
    found = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    return found


MODULES = _modules()


def _imports(name: str, file: Path) -> Iterator[Import]:
    package = [PACKAGE, *(name.split(".") if name else ())]
    if file.name != "__init__.py":
        package.pop()

    def visit(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, lazy, typing)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            source = base if node.level else str(node.module)
            for alias in node.names:  # `from . import faults` imports a module, `from .faults import swallow` a name
                whole = f"{source}.{alias.name}"
                yield Import(name, whole if whole.removeprefix(f"{PACKAGE}.") in MODULES else source, lazy, typing)
        for child in ast.iter_child_nodes(node):
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from visit(child, lazy or function, typing or checking)

    yield from visit(ast.parse(file.read_text()), False, False)


IMPORTS = [each for name, file in MODULES.items() for each in _imports(name, file)]


def _room(module: str) -> str:
    if module in ENTRY:
        return "entry"
    top = module.partition(".")[0]
    return top if top in ROOMS else "core"


def test_the_files_are_read() -> None:
    """The imports of every file of the package were found, of each room some."""
    assert {_room(each.at) for each in IMPORTS} == set(ROOMS)
    assert Import("_recording.recorder", f"{PACKAGE}._recording.ownership", False, False) in IMPORTS
    assert Import("_recording.cells", f"{PACKAGE}.{FOLD}", True, False) in IMPORTS
    assert Import("_recording.stack", f"{PACKAGE}._recording.schema_cells", False, True) in IMPORTS


def test_imports_point_down() -> None:
    """No module imports one of a room above or beside, not even for a type; the cells reach the fold lazily."""
    for each in IMPORTS:
        if each.below is None:
            continue
        at, of = _room(each.at), _room(each.below)
        assert of == at or of in ROOMS[at], f"{each.at} imports {each.below}, which is not below it"
        if each.at == FOLD:
            cells = each.below == "_recording.cells" and (each.lazy or each.typing)  # for its self-test, and a type
            assert cells or each.below == "faults", each
        assert each.below != FOLD or (each.at == "_recording.cells" and each.lazy), each


def test_one_file_prints() -> None:
    """No command prints but by `cli/output.py`, which lets nothing through that is not printable."""
    for name, file in MODULES.items():
        if not name.startswith("cli.") or name in ("cli.output", "cli.checks.installed"):  # a program of its own
            continue
        called = {
            ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
        }
        assert not called & {"print", "click.echo", "click.secho", "Console", "json.dump"}, name


def test_readers_know_the_shape_of_fields_alone() -> None:
    """An integration imports `fields` and `defaults` alone of `_schemas`, and `_schemas` the standard library."""
    for each in IMPORTS:
        below = each.below or ""
        if each.at.startswith("integrations.") and below.startswith("_schemas"):
            assert below in ("_schemas.fields", "_schemas.defaults"), each
        if each.at.startswith("_schemas"):
            assert below.startswith("_schemas") or each.of.partition(".")[0] in sys.stdlib_module_names, each
    assert [each.below for each in IMPORTS if each.at == "_schemas.fields" and each.below] == []


def test_no_imports_in_a_circle() -> None:
    """What modules import when they are imported has an order, also where they need a type alone."""
    graph: dict[str, set[str]] = {}
    for each in IMPORTS:
        if each.below is not None and not each.lazy and each.below:
            graph.setdefault(each.at, set()).add(each.below)
    assert list(TopologicalSorter(graph).static_order())


def test_who_imports_the_sdk() -> None:
    """The fold, and the SDK of a command that migrates; nobody else, not even for types: an app without one works."""
    importers = {each.at for each in IMPORTS if each.of.startswith("opentelemetry.sdk")}
    assert importers == {FOLD, "_migrations.sdk"}
    assert all(
        each.lazy for each in IMPORTS if each.at == "_migrations.sdk" and each.of.startswith("opentelemetry.sdk")
    )


def test_integrations_record_migrations_alone() -> None:
    """Of `_migrations` an integration imports what records a run, and nothing that drives one."""
    taken = {each.below for each in IMPORTS if each.at.startswith("integrations.")}
    assert {each for each in taken if each and each.startswith("_migrations")} <= {"_migrations.telemetry"}


def _allowed(module: str) -> set[str]:
    parts = module.split(".")
    if parts[0] in ("cli", "_prometheus", "_monitoring"):
        return CLI | {"opentelemetry"}
    if parts[0] == "_migrations":
        return MIGRATIONS | {"opentelemetry"}
    if parts[0] == "integrations" and len(parts) > 1:
        return OWN[parts[1]] | {"opentelemetry"}
    return CORE


@pytest.mark.parametrize("module", MODULES)
def test_only_ones_own_library(module: str) -> None:
    """An integration imports its own library and no other's; the core imports none of them."""
    foreign = {each.of.partition(".")[0] for each in IMPORTS if each.at == module} - sys.stdlib_module_names
    assert foreign <= _allowed(module)


def test_integrations_do_not_import_each_other() -> None:
    """What an integration imports of the integrations is itself."""
    for each in IMPORTS:
        if each.at.startswith("integrations.") and (each.below or "").startswith("integrations"):
            assert each.below is not None
            assert each.below.split(".")[1] == each.at.split(".")[1], each


def test_every_integration_has_the_same_shape() -> None:
    """Each says which versions it takes, and how it is installed."""
    names = {name.split(".")[1] for name in MODULES if name.startswith("integrations.")}
    assert names == set(OWN)
    for name in names:
        body = ast.parse(MODULES[f"integrations.{name}.install"].read_text()).body
        assigned = {ast.unparse(target) for node in body if isinstance(node, ast.Assign) for target in node.targets}
        (install,) = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "install"]
        assert "REQUIRES" in assigned
        assert [arg.arg for arg in install.args.args] == ["recorder", "patches"]


def _loaded(code: str) -> set[str]:
    """The modules that are loaded after a program ran in a process of its own."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


UNUSED = set().union(*OWN.values()) | {"opentelemetry.sdk", "greenlet"} | CLI


@pytest.mark.parametrize(
    "code",
    [
        f"import {PACKAGE}",
        f"from {PACKAGE} import SchemaInstrumentor; SchemaInstrumentor().instrument()",
        f"import {PACKAGE}.cli",
    ],
    ids=["imported", "instrumented", "cli"],
)
def test_what_is_not_used_is_not_imported(code: str) -> None:
    """Neither the import nor `instrument()` loads the SDK, a patched library, an integration or the CLI's extra."""
    loaded = _loaded(code)
    assert PACKAGE in loaded
    assert loaded & UNUSED == set()
    assert [module for module in loaded if module.startswith(f"{PACKAGE}.integrations.")] == []


def test_a_library_loads_its_own_integration_alone() -> None:
    """An app that imports marshmallow pays for marshmallow."""
    loaded = _loaded(f"from {PACKAGE} import SchemaInstrumentor; SchemaInstrumentor().instrument(); import marshmallow")
    assert {module for module in loaded if module.startswith(f"{PACKAGE}.integrations.")} == {
        f"{PACKAGE}.integrations.marshmallow",
        f"{PACKAGE}.integrations.marshmallow._overrides",
        f"{PACKAGE}.integrations.marshmallow.install",
    }
    assert loaded & UNUSED == {"marshmallow"}


def test_tests_are_packages() -> None:
    """Each folder of tests is a package, so that two of them can hold files of one name."""
    tests = Path(__file__).parents[1]
    folders = {file.parent for file in tests.rglob("*.py") if not {"prepared", "suites"} & set(file.parts)}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
