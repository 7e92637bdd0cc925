"""Every block of code in the README and the docs runs as it stands there, in the order of its page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import tomllib
import yaml

from processes import clean_environment, free_port, listens, program
from tests.docs.blocks import ROOT, Block, blocks, pages, runner_of

MOST_NOT_RUN = 5
RUNS = {"sh", "python"}
READ: dict[str, Callable[[str], Any]] = {
    "promql": lambda text: [promql_parser.parse(line) for line in text.splitlines() if line.strip()],
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "json": json.loads,
}
SHOWN = {"sql", "text", "mermaid", "traceql", "diff"}  # what is printed or drawn, and no one types
PORTS = (8000, 8001, 5000, 9464, 4318)  # that the pages name; each is another one here, since tests run side by side


def test_few_blocks_are_not_run() -> None:
    """At most five blocks are run by no test, each says why, and none of them installs or starts anything."""
    left = [block for page in pages() for block in blocks(page) if block.reason]
    assert len(left) <= MOST_NOT_RUN, left
    assert all(block.reason.startswith("not run, because ") for block in left), left


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_known_languages(page: Path) -> None:
    """Each block says its language, and what is no program is well-formed in it."""
    for block in blocks(page):
        assert block.language in RUNS | set(READ) | SHOWN, (
            f"{block.page}:{block.line}: {block.language or 'no language'}"
        )
        if block.language in READ:
            READ[block.language](block.text)


@pytest.mark.parametrize("page", [page for page in pages() if runner_of(page)], ids=lambda page: page.name)
def test_other_tests_know_their_page(page: Path) -> None:
    """A file of tests that a page names reads that page."""
    tests = runner_of(page)
    assert tests is not None
    assert f'"{page.name}"' in tests.read_text()


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(block.language in RUNS and not block.reason for block in blocks(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """The commands and programs of a page work, one after the other, in an empty folder."""
    ports = {port: free_port() for port in PORTS}
    environment = {
        **clean_environment(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",  # all of it is in this environment already, and pip says whether that is so
        "UVICORN_PORT": str(ports[8000]),
        "FLASK_RUN_PORT": str(ports[5000]),
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(ports[9464]),
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",  # where no collector is, the end of an app waits as long
        "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
    }
    prepared = Path(__file__).with_name("prepared") / page.relative_to(ROOT).with_suffix("")
    if prepared.exists():  # what the reader has already: an app, a project
        shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    if (script := tmp_path / "prepare.sh").exists():
        _run("prepare.sh", ["bash", "-euo", "pipefail", str(script)], tmp_path, environment | {"ROOT": str(ROOT)})

    def here(text: str) -> str:
        for port, free in ports.items():
            text = re.sub(rf"((?:localhost|127\.0\.0\.1):|--port ){port}\b", rf"\g<1>{free}", text)
        return text

    with ExitStack() as running:
        for block in blocks(page):
            if block.reason or block.nightly or block.elsewhere:
                continue
            if block.file:
                (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / block.file).write_text(block.text)
            elif block.serves:
                port = ports.get(block.serves, block.serves)
                command = _command(block, here(block.text))
                log = tmp_path / f"serves-{block.line}.log"
                running.enter_context(
                    program(_where(block), [*command], log, lambda port=port: listens(port), environment, tmp_path)
                )
            elif block.language in RUNS:
                _run(_where(block), _command(block, here(block.text)), tmp_path, environment)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_long_blocks_run(tmp_path: Path) -> None:
    """What takes minutes works too, in a fresh clone."""
    clone = tmp_path / "opentelemetry-instrumentation-schema"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    for page in pages():
        for block in blocks(page):
            if block.nightly:
                _run(_where(block), _command(block, block.text), clone, clean_environment(), timeout=3600)


def _command(block: Block, text: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", text] if block.language == "sh" else [sys.executable, "-c", text]


def _run(name: str, command: list[str], folder: Path, environment: dict[str, str], timeout: float = 200) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{name}\n{command[-1]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def _where(block: Block) -> str:
    return f"{block.page}:{block.line}"
