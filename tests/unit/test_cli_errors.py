"""Errors of every command: one line, the same exit code with --json, and then one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.instrumentation.schema.cli.group import otel_schema

APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}  # click 8.1
NOWHERE = "http://127.0.0.1:1"

WRONG = [
    "upgrade",
    "upgrade --nope",
    "upgrade --tool make",
    "upgrade --url nothing",
    "upgrade --url postgresql://u:s3cr@t@host/x",
    "upgrade --config missing.ini",
    "upgrade --auto-rollback --config .",
    "upgrade --lock-timeout x",
    "rollback",
    "rollback one two",
    "rehearse",
    "rehearse --url nothing",
    "status",
    "status --url nothing",
    "status --url $NOTHING",
    "diff",
    "diff nothing",
    "diff --direction up",
    "check",
    "check nothing",
    "check --url nothing os",
    "hooks check",
    "hooks check --base nothing",
    "guard",
    f"guard --prometheus {NOWHERE}",
    f"guard --prometheus {NOWHERE} --watch 5",
    "guard --prometheus ftp://x",
    f"doctor {NOWHERE}",
    "doctor --timeout 0",
    f"doctor {NOWHERE} --",
    f"top {NOWHERE}",
    f"top {NOWHERE} --watch",
    "top --window x",
]


@pytest.mark.parametrize("line", WRONG)
def test_errors_as_json(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads JSON gets one object that says the error and the exit code, which is that of the text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    runner = CliRunner(**APART)
    command, *rest = line.split()
    said = runner.invoke(otel_schema, [command, *rest])
    assert said.exit_code == 2, said.output
    assert said.stdout == ""
    assert said.stderr.startswith("Error: ")
    assert said.stderr.count("\n") == 1
    at = 1 if command == "hooks" else 0
    for option in (["--json"], ["--format", "json"]) if command in ("check", "diff", "hooks") else (["--json"],):
        done = runner.invoke(otel_schema, [command, *rest[:at], *option, *rest[at:]])
        document = json.loads(done.stdout)
        assert done.exit_code == 2
        assert document == {
            "version": 1,
            "result": "error",
            "exit_code": 2,
            "message": said.stderr.strip().removeprefix("Error: "),
        }
    assert "s3cr" not in said.stderr
    assert "t@host" not in said.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    """A program without standard streams, as some schedulers start it, ends with its exit code and no traceback."""
    code = "from opentelemetry.instrumentation.schema.cli import main; main()"
    line = f'"$1" -c "$2" export --list {closed}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, code], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
