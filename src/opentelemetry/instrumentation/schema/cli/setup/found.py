"""What a project is made of, read from its files: nothing is imported or run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import application, starting
from .sources import text_of

_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_CONTEXT: Final = re.compile(r"^ +(?:build:(?:[ \t]*\{.*?context:)?|context:)[ \t]*[\"']?([^\s\"'#{},]+)", re.MULTILINE)
_COMMAND: Final = re.compile(r"^ +(?:command|entrypoint):", re.MULTILINE)
_PORTS: Final = re.compile(r"^ +(?:ports|expose):|loadbalancer", re.MULTILINE)
_PYTHONPATH: Final = re.compile(r"^(?!#).*\bPYTHONPATH(?:=|[ \t]*:[ \t]*|[ \t]+)[\"']?([^\s\"'$]+)", re.MULTILINE)
_SERVICE: Final = re.compile(r"^(?P<indent> +)(?P<name>[\w.-]+):[ \t]*(?:#.*)?$")


@dataclass(frozen=True)
class FoundProject:
    """A project.

    Attributes:
        name: Of its folder.
        framework: `fastapi`, `flask` or `django`; "" where none was found.
        root: The folder that its server is started in, below the project: "." for the project itself.
        command: How its server is started, as its files say or as is usual for the framework; "" where unknown.
        single: How it is started in one process.
        workers: How many processes the command starts; 0 where it does not say.
        settings: Django's settings module.
        migrations: `alembic`, `dbmate`, or "".
        compose: Its compose files, below the project, in the order in which Compose reads them.
        service: The compose service that serves the application; "" where none is built here.
        pythonpath: What its container's PYTHONPATH is already; "" where it is not set.
        github: Whether it has workflows of GitHub.
        git: Whether it is a Git repository.
    """

    name: str
    framework: str
    root: str
    command: str
    single: str
    workers: int
    settings: str
    migrations: str
    compose: tuple[str, ...]
    service: str
    pythonpath: str
    github: bool
    git: bool


def look(directory: Path) -> FoundProject:
    """What is in a directory.

    Raises:
        OSError: if it cannot be read.
    """
    app = application.find(directory)
    root = app.root if app else directory
    compose = _compose_files(directory)
    services = _merged(text_of(directory / name) for name in reversed(compose))
    service = _service_of(services, directory, root)
    command = starting.stated_command(directory, root, services.get(service, ""))
    if app and not command:
        command = starting.usual_command(app)
    return FoundProject(
        name=directory.resolve().name,
        framework=app.framework if app else "",
        root=root.relative_to(directory).as_posix(),
        command=command,
        single=starting.in_one_process(command, app) if app else "",
        workers=starting.processes(command),
        settings=app.settings if app else "",
        migrations=_migrations(root) or _migrations(directory),
        compose=compose,
        service=service,
        pythonpath=_pythonpath(services.get(service, ""), root, directory),
        github=(directory / ".github" / "workflows").is_dir(),
        git=(directory / ".git").exists(),
    )


def _pythonpath(service: str, *folders: Path) -> str:
    for text in (service, *(text_of(folder / "Dockerfile") for folder in folders)):
        if found := _PYTHONPATH.search(text):
            return found[1]
    return ""


def _compose_files(directory: Path) -> tuple[str, ...]:
    """The file that `docker compose` reads, and the one that it reads over it."""
    name = next((name for name in _COMPOSE if (directory / name).is_file()), "")
    if not name:
        return ()
    stem = name.rpartition(".")[0]
    over = (f"{stem}.override.yml", f"{stem}.override.yaml")
    return (name, *(found for found in over if (directory / found).is_file()))


def _migrations(directory: Path) -> str:
    if (directory / "alembic.ini").exists() or "[tool.alembic]" in text_of(directory / "pyproject.toml"):
        return "alembic"
    return "dbmate" if (directory / "db" / "migrations").is_dir() else ""


def _services(compose: str) -> dict[str, str]:
    """The text of each service; read by its indentation."""
    lines = iter(compose.splitlines(keepends=True))
    found: dict[str, str] = {}
    if not any(line.rstrip() == "services:" for line in lines):
        return found
    name = indent = ""
    for line in lines:
        if line.strip() and not line[0].isspace() and not line.startswith("#"):
            break
        service = _SERVICE.match(line)
        if service and (not indent or service["indent"] == indent):
            indent, name = service["indent"], service["name"]
            found[name] = ""
        elif name:
            found[name] += line
    return found


def _merged(files: Iterable[str]) -> dict[str, str]:
    """The text of each service in all files, what a later file says first."""
    found: dict[str, str] = {}
    for text in files:
        for name, body in _services(text).items():
            found[name] = found.get(name, "") + body
    return found


def _service_of(services: Mapping[str, str], directory: Path, root: Path) -> str:
    """The service that serves the application: of those that are built here, or the only one."""
    if len(services) == 1:
        return next(iter(services))
    built = {name: body for name, body in services.items() if re.search(r"^\s+build:", body, re.MULTILINE)}

    def fits(name: str) -> tuple[bool, bool, bool]:
        body = built[name]
        context = _CONTEXT.search(body)
        folder = (directory / context[1]).resolve() if context else directory.resolve()
        holds = folder == root.resolve() or folder in root.resolve().parents
        serves = bool(starting.service_command(body, [root, directory]))
        # without a command of its own it runs what its image is for; a job or a worker says something else
        return holds, serves or not _COMMAND.search(body), bool(_PORTS.search(body))

    return max(built, key=fits, default="")
