"""Finds the interpreter and the environment variables that a command would run with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..servers import SERVERS, WORKERS, serves_in_a_child
from . import installed

_LAUNCHERS: Final = ("env", "exec", "nice", "ionice", "nohup", "setsid", "stdbuf", "time", "tini", "dumb-init")
"""Programs that run the rest of their arguments unchanged."""

_PYTHON: Final = re.compile(r"(python|pypy)[0-9.]*(\.exe)?")
_LONG_PATH: Final = re.compile(rb"'''exec' \"?([^\" ]+)\"? ")  # pip's scripts where the path is too long for #!
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class App:
    """The process of an app, as far as it can be known without starting it.

    Attributes:
        variables: Its environment.
        installed: What `installed.look` returns for its interpreter; None if that was not found.
        interpreter: Its path; "" for the one that runs this command.
        instrumented: Whether it runs under `opentelemetry-instrument`; None without a command.
        workers: How many processes its server starts.
        problem: Why nothing is known of its interpreter.
        child: Why its server serves in another process than its first; "" if the first one serves.
    """

    variables: Mapping[str, str]
    installed: Mapping[str, Any] | None
    interpreter: str = ""
    instrumented: bool | None = None
    workers: int = 1
    problem: str = ""
    child: str = ""


def this_process(variables: Mapping[str, str]) -> App:
    """The environment of this process, taken for that of an app."""
    return App(variables, installed.look(), workers=_workers("", variables))


def of(command: Iterable[str], variables: Mapping[str, str]) -> App:
    """What a command would run in. Reads the command, and runs its interpreter but not the command itself.

    Args:
        command: A program and its arguments.
        variables: The environment to start it with.
    """
    words = _Words(list(command), dict(variables))
    found = words.interpreter()
    rest = " ".join(words.rest) if words.is_server else ""
    workers = _workers(rest, words.variables)
    child = serves_in_a_child(list(command), words.variables)
    if found is None:
        problem = (
            f"cannot find the Python that {words.first} runs: give the interpreter after --, as in -- /app/bin/python"
        )
        return App(words.variables, None, "", words.instrumented, workers, problem, child)
    try:
        looked = _ask(found, words.variables)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = str(error).partition("\n")[0]
        return App(
            words.variables, None, found, words.instrumented, workers, f"{found} did not answer: {reason}", child
        )
    return App(words.variables, looked, found, words.instrumented, workers, child=child)


@dataclass
class _Words:
    """A command that is read word by word.

    Attributes:
        rest: The words not read yet.
        variables: The environment, with the variables that the words read so far set.
        instrumented: Whether `opentelemetry-instrument` was among them.
        is_server: Whether the rest are arguments of a server that can start workers.
    """

    rest: list[str]
    variables: dict[str, str]
    instrumented: bool = False
    is_server: bool = False
    first: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.first = self.rest[0]

    def interpreter(self) -> str | None:
        """The Python that would run, the last one where one starts the next."""
        found: str | None = None
        while self.rest:
            word = self.rest.pop(0)
            name = Path(word).name
            if name in _LAUNCHERS:
                self._skip_options(name)
            elif name == "opentelemetry-instrument":
                self.instrumented = True
                found = self._of_program(word)
                self._take_settings()
            else:
                module = self.rest[1:2] if _PYTHON.fullmatch(name) and self.rest[:1] == ["-m"] else [name]
                self.is_server = bool(module) and module[0] in SERVERS
                return self._of_program(word)
        return found

    def _skip_options(self, launcher: str) -> None:
        while self.rest:
            word = self.rest[0]
            assignment = _ASSIGNMENT.fullmatch(word) if launcher == "env" else None
            if assignment:
                self.variables[assignment[1]] = assignment[2]
            elif launcher == "env" and word in ("-i", "-", "--ignore-environment"):
                self.variables.clear()
            elif launcher == "env" and word in ("-u", "--unset") and len(self.rest) > 1:
                self.variables.pop(self.rest.pop(1), None)
            elif word.startswith("-"):
                if re.fullmatch("-[a-z]", word) and len(self.rest) > 1 and self.rest[1].lstrip("-").isdigit():
                    self.rest.pop(1)  # nice -n 5
            else:
                return
            self.rest.pop(0)

    def _take_settings(self) -> None:
        """`opentelemetry-instrument --metrics_exporter otlp` sets OTEL_METRICS_EXPORTER; `--` ends its options."""
        while self.rest and self.rest[0].startswith("--"):
            if self.rest[0] == "--":
                self.rest.pop(0)
                return
            name, equals, value = self.rest.pop(0)[2:].partition("=")
            if not equals and self.rest:
                value = self.rest.pop(0)
            for prefix in ("OTEL_", "OTEL_PYTHON_"):
                self.variables[prefix + name.upper()] = value

    def _of_program(self, word: str) -> str | None:
        program = shutil.which(word, path=self.variables.get("PATH", os.defpath))
        if program is None:
            return None
        if _PYTHON.fullmatch(Path(word).name):
            return program
        try:
            with open(program, "rb") as script:
                head = script.read(1024)
        except OSError:
            return None
        if not head.startswith(b"#!"):
            return None
        line = head.split(b"\n")[0][2:].decode("utf-8", "replace").split()
        if long := _LONG_PATH.search(head):
            line = [long[1].decode("utf-8", "replace")]
        if line and Path(line[0]).name == "env":
            line = [word for word in line[1:] if not word.startswith("-")]
        if not line or not _PYTHON.fullmatch(Path(line[0]).name):
            return None
        return shutil.which(line[0], path=self.variables.get("PATH", os.defpath))


def _workers(arguments: str, variables: Mapping[str, str]) -> int:
    found = WORKERS.search(arguments) or WORKERS.search(variables.get("GUNICORN_CMD_ARGS", ""))
    number = found[1] if found else variables.get("WEB_CONCURRENCY", "")
    return int(number) if re.fullmatch("[0-9]{1,6}", number) else 1


def _ask(interpreter: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
    program = Path(installed.__file__).read_text()
    # instrument and export nothing meanwhile
    quiet = {"OTEL_SDK_DISABLED": "true", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}
    done = subprocess.run(  # noqa: S603 (the user's own command)
        [interpreter, "-c", program],
        env={**variables, **quiet},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])
