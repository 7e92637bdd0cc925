"""`upgrade` where nobody reads what it prints, and where a signal comes before it has changed anything."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._migrations import mutex
from opentelemetry.instrumentation.schema._migrations.database import parse

from tests.integration.migrated import TABLE, Folder, Project

CODE = "from opentelemetry.instrumentation.schema.cli import main; main()"
DEADLINE = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A DBMate project of two files on SQLite, with nothing applied."""
    made = Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    made.migration("001_a", "CREATE TABLE a (id INTEGER);", "DROP TABLE a;")
    made.migration("002_b", "CREATE TABLE b (id INTEGER);", "DROP TABLE b;")
    return made


@pytest.mark.parametrize(
    "where",
    [
        "2>/dev/full",
        *(
            pytest.param(each, marks=pytest.mark.nightly)
            for each in (
                "| true",
                "--json | true",
                "2>&1 | head -1",
                ">/dev/full",
                "2>&-",
                ">&- 2>&-",
                "> /dev/full 2>&1",
            )
        ),
    ],
)
def test_nobody_reads(folder: Folder, where: str) -> None:
    """A run goes on, is recorded, and ends with the exit code of the database's state."""
    words, _, pipe = where.partition("|")
    reader = f"| {pipe}" if pipe else ""
    script = f'set -o pipefail; "$1" -c "$2" upgrade --url "$3" {words} {reader}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, CODE, folder.plain],
        cwd=folder.path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    assert folder.truth()[0] == ["001", "002"]
    assert [line.get("outcome") for line in folder.history()] == [None, "applied"]
    if where == ">/dev/full":
        assert "warning: cannot write to stdout: No space left on device" in done.stderr


def test_signal_while_another_run_holds_the_lock(folder: Folder) -> None:
    """Ctrl-C ends the waiting at once, with 130, and nothing is run."""
    with mutex.hold(parse(folder.plain)):
        process = folder.start("upgrade", "--url", folder.plain, "--wait", str(DEADLINE))
        said = _read_until(process, "waiting up to")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE / 2)
    assert process.returncode == 130, (said, out, err)
    assert "Error: SIGINT stopped the command. Nothing was run" in err
    assert folder.truth() == ([], {})
    assert not folder.history()


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["upgrade", "rollback"])
def test_signal_while_the_plan_is_made(tmp_path: Path, command: str, number: signal.Signals) -> None:
    """An env.py that hangs can be stopped; the exit code is that of the signal, and nothing is run."""
    project = Project(tmp_path / "project", f"sqlite:///{tmp_path}/app.db")
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    env = project.path / "migrations/env.py"
    env.write_text("import sys, time\nopen('hangs', 'w').close()\ntime.sleep(600)\n")
    process = project.start(command)
    _until_exists(project.path / "hangs", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number, (out, err)
    assert f"Error: {number.name} stopped the command. Nothing was run" in err
    assert "Traceback" not in err


@pytest.mark.nightly
def test_the_terminal_is_closed(tmp_path: Path) -> None:
    """SIGHUP in the middle of a step: the run ends, and its end is recorded."""
    project = Project(tmp_path / "project", f"sqlite:///{tmp_path}/app.db")
    project.revision("r1", None, f"{TABLE}\nopen('hangs', 'w').close()\nimport time; time.sleep(600)", "pass")
    process = project.start("upgrade")
    _until_exists(project.path / "hangs", process)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 129, (out, err)
    assert "the process was ended by SIGHUP" in out
    assert [line.get("outcome") for line in project.history()] == [None, "partial"]


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a process prints on stderr, up to some words."""
    assert process.stderr is not None
    end, said = time.monotonic() + DEADLINE, b""
    while words.encode() not in said:
        ready, _, _ = select.select([process.stderr], [], [], max(0.0, end - time.monotonic()))
        assert ready, said
        read = os.read(process.stderr.fileno(), 4096)
        assert read, said
        said += read
    return said.decode()


def _until_exists(file: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + DEADLINE
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
