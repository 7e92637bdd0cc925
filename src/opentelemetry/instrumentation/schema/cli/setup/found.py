"""What a project is made of, read from its files: nothing is imported or run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FRAMEWORKS: Final = ("fastapi", "flask", "django")
_CONSTRUCTORS: Final = {"FastAPI": "fastapi", "Flask": "flask"}
_FACTORIES: Final = ("create_app", "make_app", "get_app")
_SERVERS: Final = ("uvicorn", "gunicorn", "hypercorn", "granian", "fastapi", "flask", "daphne")
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_SKIPPED: Final = {"node_modules", "site-packages", "__pycache__", "tests", "test", "docs", "build", "dist", "otel"}
_MOST_FILES: Final = 2000
_LARGEST: Final = 1_000_000
_WORKERS: Final = re.compile(r"(?:^| )(?:-w|--workers)[ =]?(\d+)(?: |$)")
_SERVICE: Final = re.compile(r"^(?P<indent> +)(?P<name>[\w.-]+):[ \t]*(?:#.*)?$")


@dataclass(frozen=True)
class Project:
    """A project.

    Attributes:
        name: Of its folder.
        framework: One of FRAMEWORKS; "" where none was found.
        command: How its server is started, as its files say or as is usual for the framework; "" where unknown.
        workers: How many processes the command starts; 0 where it does not say.
        settings: Django's settings module.
        migrations: `alembic`, `dbmate`, or "".
        compose: Its compose file, below the project; "" where there is none.
        service: The compose service that is built here; "" where none is.
        github: Whether it has workflows of GitHub.
        git: Whether it is a Git repository.
    """

    name: str
    framework: str
    command: str
    workers: int
    settings: str
    migrations: str
    compose: str
    service: str
    github: bool
    git: bool


def look(directory: Path) -> Project:
    """What is in a directory.

    Raises:
        OSError: if it cannot be read.
    """
    framework, app, settings = _application(directory)
    compose = next((name for name in _COMPOSE if (directory / name).is_file()), "")
    command = _stated_command(directory, compose) or _usual_command(framework, app, settings)
    workers = _WORKERS.search(command)
    return Project(
        name=directory.resolve().name,
        framework=framework,
        command=command,
        workers=int(workers[1]) if workers else 0,
        settings=settings,
        migrations=_migrations(directory),
        compose=compose,
        service=_built_service(_text(directory / compose)) if compose else "",
        github=(directory / ".github" / "workflows").is_dir(),
        git=(directory / ".git").exists(),
    )


def _sources(directory: Path) -> Iterator[Path]:
    """Python files, those near the top first."""
    pending, seen = [directory], 0
    while pending and seen < _MOST_FILES:
        folder = pending.pop(0)
        for path in sorted(folder.iterdir()):
            if path.is_symlink() or path.name.startswith("."):
                continue
            if path.is_dir():
                if path.name not in _SKIPPED and not (path / "pyvenv.cfg").exists():
                    pending.append(path)
            elif path.suffix == ".py" and path.stat().st_size < _LARGEST:
                seen += 1
                yield path


def _application(directory: Path) -> tuple[str, str, str]:
    """The framework, the application as a server takes it (`shop.main:app`), and Django's settings module."""
    factory = ("", "", "")
    for path in _sources(directory):
        text = _text(path)
        if path.name == "manage.py" and (named := re.search(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)", text)):
            package = named[1].rpartition(".")[0]
            kind = "asgi" if (directory / package.replace(".", "/") / "asgi.py").exists() else "wsgi"
            return "django", f"{package}.{kind}:application" if package else "", named[1]
        if not any(name in text for name in _CONSTRUCTORS):
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        module = _module(directory, path)
        for name, framework in _constructed(tree.body):
            return framework, f"{module}:{name}", ""
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in _FACTORIES and not factory[0]:
                factory = next(
                    ((framework, f"{module}:{node.name}()", "") for _, framework in _constructed(node.body)), factory
                )
    return factory


def _constructed(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names that a body gives to new applications, and their frameworks."""
    for node in body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            if called in _CONSTRUCTORS:
                yield target.id, _CONSTRUCTORS[called]


def _module(directory: Path, path: Path) -> str:
    parts = list(path.relative_to(directory).with_suffix("").parts)
    if parts[0] == "src":
        parts.pop(0)
    if parts and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def _stated_command(directory: Path, compose: str) -> str:
    """The start command in a Procfile, the compose file or a Dockerfile: the first that names a server."""
    procfile = re.findall(r"^web:[ \t]*(.+)$", _text(directory / "Procfile"), re.MULTILINE)
    composed = re.findall(r"^ +command:[ \t]*(\S.*)$", _text(directory / compose), re.MULTILINE) if compose else []
    docker = re.findall(r"^CMD[ \t]+(.+)$", _text(directory / "Dockerfile"), re.MULTILINE)
    for line in (*procfile, *composed, *docker):
        words = _words(line)
        if any(Path(word).name in _SERVERS for word in words):
            at = next(n for n, word in enumerate(words) if Path(word).name in _SERVERS)
            return shlex.join(words[at:])
    return ""


def _words(line: str) -> list[str]:
    """The words of a command in a shell's form or as a list of JSON."""
    line = line.strip()
    if line.startswith("["):
        words = re.findall(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'", line)
        plain = [first or second for first, second in words]
        in_a_shell = plain[:2] in (["sh", "-c"], ["bash", "-c"], ["/bin/sh", "-c"])
        return _words(plain[2]) if in_a_shell and plain[2:] else plain
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _usual_command(framework: str, app: str, settings: str) -> str:
    if framework == "fastapi" or (framework == "django" and ".asgi:" in app):
        return f"uvicorn {app}" if not app.endswith("()") else f"uvicorn --factory {app[:-2]}"
    if framework == "flask":
        return f"flask --app {shlex.quote(app)} run"
    if framework == "django":
        return f"gunicorn {app}" if app else "python manage.py runserver --noreload"
    return ""


def _migrations(directory: Path) -> str:
    if (directory / "alembic.ini").exists() or "[tool.alembic]" in _text(directory / "pyproject.toml"):
        return "alembic"
    return "dbmate" if (directory / "db" / "migrations").is_dir() else ""


def _built_service(compose: str) -> str:
    """The first service that is built here, else the only one; read by its indentation."""
    lines = iter(compose.splitlines())
    if not any(line.rstrip() == "services:" for line in lines):
        return ""
    names: list[str] = []
    built = indent = ""
    for line in lines:
        if line and not line[0].isspace() and not line.startswith("#"):
            break
        found = _SERVICE.match(line)
        if found and (not indent or found["indent"] == indent):
            indent = found["indent"]
            names.append(found["name"])
        elif names and not built and re.match(r"\s+build:", line):
            built = names[-1]
    return built or (names[0] if len(names) == 1 else "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""
