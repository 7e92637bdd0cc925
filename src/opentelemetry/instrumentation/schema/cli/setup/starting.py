"""How a project's server is started: as its files say, as is usual for its framework, and in one process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..servers import FORKING, SERVERS, WORKERS, server_of
from .application import FoundApplication
from .sources import requires, text_of

_DOCKERFILE: Final = re.compile(r"^ +(?:build:.*)?dockerfile:[ \t]*[\"']?([^\s\"'#{},]+)", re.MULTILINE)
_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(\))?")


def stated_command(directory: Path, root: Path, service: str) -> str:
    """The start command in a Procfile, a compose service or a Dockerfile: the first that names a server.

    Args:
        directory: The project's.
        root: The folder that the application is started in.
        service: The text of its service in the compose file.
    """
    folders = [root] if root == directory else [root, directory]
    commands = (_served(folders, line) for line in _lines(folders, service))
    return next((command for command in commands if command), "")


def service_command(service: str, folders: list[Path]) -> str:
    """The start command in the text of a compose service; "" where it names no server."""
    commands = (_served(folders, line) for line in _composed(service))
    return next((command for command in commands if command), "")


def usual_command(app: FoundApplication) -> str:
    """How the application is started where no file says it."""
    if app.framework == "fastapi" and app.target:
        return _asgi(app.target)
    if app.framework == "flask":
        return _development(app)
    if app.target.rpartition(":")[0].endswith("asgi") and requires(app.root, "uvicorn"):
        return f"uvicorn {app.target}"
    if app.target and requires(app.root, "gunicorn"):
        return f"gunicorn {app.target.replace('.asgi:', '.wsgi:')}"
    return _development(app)


def processes(command: str) -> int:
    """How many processes a command starts; 0 where it does not say. A server that forks is never one."""
    found = WORKERS.search(command)
    number = int(found[1]) if found else 0
    return max(number, 2) if server_of(command.split()) in FORKING else number


def in_one_process(command: str, app: FoundApplication) -> str:
    """The command without workers and without a reloader: each would take the port of `/metrics` from the app."""
    server = server_of(command.split())
    if server in FORKING:
        named = _TARGET.search(command)
        target = named[0] if named else app.target
        return _development(FoundApplication(app.framework, app.root, target, app.settings))
    words = re.sub(r" --reload(?= |$)", "", WORKERS.sub(" ", command)).strip()
    if server == "fastapi" and " dev" in words:
        return f"{words} --no-reload"
    if server == "flask" and " run" in words and "--no-reload" not in words:
        return f"{words} --no-reload"
    if server == "manage.py" and "--noreload" not in words:
        return f"{words} --noreload"
    return words


def _asgi(target: str) -> str:
    return f"uvicorn --factory {target[:-2]}" if target.endswith("()") else f"uvicorn {target}"


def _development(app: FoundApplication) -> str:
    """What every project of the framework has, in one process."""
    if app.framework == "fastapi":
        return _asgi(app.target)
    if app.framework == "flask":
        return f"flask --app {shlex.quote(app.target)} run --no-reload"
    return "python manage.py runserver --noreload"


def _lines(folders: list[Path], service: str) -> Iterator[str]:
    for folder in folders:
        yield from re.findall(r"^web:[ \t]*(.+)$", text_of(folder / "Procfile"), re.MULTILINE)
    yield from _composed(service)
    named = [folder / name for folder in folders for name in _DOCKERFILE.findall(service)]
    for path in (*named, *(folder / "Dockerfile" for folder in folders)):
        docker = text_of(path).replace("\\\n", " ")
        yield from re.findall(r"^(?:CMD|ENTRYPOINT)[ \t]+(.+)$", docker, re.MULTILINE)


def _composed(service: str) -> Iterator[str]:
    """The command of a compose service: on its line, as a list below it, or as a text of several lines."""
    for found in re.finditer(
        r"^( +)(?:command|entrypoint):[ \t]*(.*)\n((?:\1[ \t-].*\n|[ \t]*\n)*)", service, re.MULTILINE
    ):
        _, line, below = found.groups()
        if line and line[0] not in ">|#&":
            yield line + (below if line.startswith("[") and "]" not in line else "")
        elif items := re.findall(r"^[ \t]*-[ \t]+(.+)$", below, re.MULTILINE):
            yield shlex.join(item.strip("\"' ") for item in items)
        else:
            yield " ".join(below.split())


def _served(folders: list[Path], line: str, deep: bool = True) -> str:
    """From the server's name on, and no further than the shell's end of a command."""
    words = _words(line)
    for at, word in enumerate(words):
        name = Path(word).name
        if name == "manage.py" and words[at + 1 : at + 2] != ["runserver"]:
            continue
        if name in SERVERS and words[at + 1 :]:
            rest = words[at:]
            end = next((n for n, one in enumerate(rest) if one in ("&&", "||", ";", "&", "|")), len(rest))
            python = ["python"] if name == "manage.py" else []
            return " ".join(map(_quoted, [*python, name, *rest[1:end]]))
        if deep and word.endswith(".sh"):
            for folder in folders:
                for script in (folder / word.lstrip("/"), folder / name, folder / "scripts" / name):
                    for inner in text_of(script).replace("\\\n", " ").splitlines():
                        if found := _served(folders, inner, deep=False):
                            return found
    return ""


def _words(line: str) -> list[str]:
    """The words of a command in a shell's form or as a list of JSON."""
    line = line.strip()
    if line.startswith("["):
        pairs = re.findall(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([^\s,\[\]]+)", line)
        plain = ["".join(pair) for pair in pairs]
    else:
        try:
            plain = shlex.split(line, comments=True)
        except ValueError:
            return []
    in_a_shell = plain[:1] and Path(plain[0]).name in ("sh", "bash") and plain[1:2] in (["-c"], ["-lc"])
    if in_a_shell and plain[2:]:
        return _words(plain[2])
    return [part for word in plain for part in re.split(r"(;)$", word) if part]


def _quoted(word: str) -> str:
    """A word as the shell reads it; a variable such as $PORT stays one."""
    return word if re.fullmatch(r"[\w@%+=:,./${}-]+", word) else shlex.quote(word)
