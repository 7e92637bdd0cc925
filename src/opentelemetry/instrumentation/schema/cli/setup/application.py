"""Which application a project has: its framework, how a server names it, and the folder that it is started in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .sources import python_files, text_of

_CONSTRUCTORS: Final = {"FastAPI": "fastapi", "Flask": "flask", "APIFlask": "flask"}
_MARKS: Final = ("pyproject.toml", "requirements.txt", "Dockerfile", "Pipfile", "setup.py", "Procfile")
"""What lies in the folder that a server is started in."""

_SETTINGS: Final = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\]?\s*[,=]\s*[\"']([\w.]+)")


@dataclass(frozen=True)
class FoundApplication:
    """A project's application.

    Attributes:
        framework: `fastapi`, `flask` or `django`.
        root: The folder that its modules are imported from, and that it is started in.
        target: As a server takes it: `shop.main:app`, or `shop:create_app()` for a factory; "" where unknown.
        settings: Django's settings module.
    """

    framework: str
    root: Path
    target: str
    settings: str = ""


def find(directory: Path) -> FoundApplication | None:
    """The application that is nearest to the top, one in a variable before one that a factory makes."""
    factory: FoundApplication | None = None
    paths = list(python_files(directory))
    for path in paths:
        text = text_of(path)
        if path.name == "manage.py" and "django" in text.lower():
            return _django(path.parent, text)
        if not any(name in text for name in _CONSTRUCTORS) or (tree := _parsed(text)) is None:
            continue
        for name, called in _assigned(tree.body):
            if framework := _CONSTRUCTORS.get(called):
                root = _root(directory, path, tree)
                return FoundApplication(framework, root, f"{_module(root, path)}:{name}")
        factory = factory or _factory(directory, path, tree)
    return _called(directory, paths, factory) if factory else None


def _called(directory: Path, paths: list[Path], factory: FoundApplication) -> FoundApplication:
    """The variable that holds what a factory made, if a module has one; else the factory."""
    function = factory.target.rpartition(":")[2][:-2]
    for path in paths:
        text = text_of(path)
        if f"{function}(" not in text or (tree := _parsed(text)) is None:
            continue
        for name, called in _assigned(tree.body):
            if called == function:
                root = _root(directory, path, tree)
                return FoundApplication(factory.framework, root, f"{_module(root, path)}:{name}")
    return factory


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _factory(directory: Path, path: Path, tree: ast.Module) -> FoundApplication | None:
    """A function that makes an application and returns it."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        returned = {
            one.value.id for one in ast.walk(node) if isinstance(one, ast.Return) and isinstance(one.value, ast.Name)
        }
        for name, called in _assigned(node.body):
            if name in returned and (framework := _CONSTRUCTORS.get(called)):
                root = _root(directory, path, tree)
                return FoundApplication(framework, root, f"{_module(root, path)}:{node.name}()")
    return None


def _django(root: Path, manage: str) -> FoundApplication:
    entries = [path for name in ("asgi.py", "wsgi.py") for path in sorted((*root.glob(f"*/{name}"), *root.glob(name)))]
    named = next((found for text in (manage, *map(text_of, entries)) if (found := _SETTINGS.search(text))), None)
    settings = named[1] if named else ""
    package = settings.partition(".")[0]
    own = [path for path in entries if path.parent.name == package] or entries
    return FoundApplication("django", root, f"{_module(root, own[0])}:application" if own else "", settings)


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names that a body gives to what it calls, and what it calls, also below `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With | ast.AsyncWith):
            yield from _assigned([*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())])
            continue
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            yield target.id, called


def _root(directory: Path, path: Path, tree: ast.Module) -> Path:
    """The folder from which most of what a module imports is found; else where its outermost package lies."""
    tops = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            else []
        )
    }
    folders = [folder for folder in path.parents if folder == directory or directory in folder.parents]

    def found(folder: Path) -> int:
        return sum((folder / top).is_dir() or (folder / f"{top}.py").is_file() for top in tops)

    base = next((folder for folder in folders if any((folder / name).exists() for name in _MARKS)), directory)
    usual = base / "src" if base / "src" in folders else base
    if (path.parent / "__init__.py").exists():
        usual = next((folder for folder in folders if not (folder / "__init__.py").exists()), usual)
    return max(folders, key=lambda folder: (found(folder), folder == usual))


def _module(root: Path, path: Path) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)
