"""Our Git hooks beside those of the real pre-commit, husky and lefthook."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.git_repository import BIN, Repository

ROOT = Path(__file__).parents[2]
DROP = 'op.drop_column("lead", "name")'
LOCAL = """
repos:
  - repo: local
    hooks:
      - id: first
        name: first
        language: system
        entry: "true"
        always_run: true
        pass_filenames: false
"""

pre_commit_installed = pytest.mark.skipif(not (BIN / "pre-commit").exists(), reason="needs pre-commit")
npm_installed = pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "project")
    home = os.environ.get("HOME", "/root")
    made.environment |= {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        "HOME": home,
    }
    made.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
    made.write("migrations/env.py", "")
    made.migration("0001", None)
    made.commit()
    return made


def _stopped(repository: Repository) -> str:
    """What a commit with a finding says when it is stopped; it is taken back."""
    repository.migration("0002", "0001", DROP, back="op.add_column(0)")
    ran = repository.commit(code=1)
    repository.git("reset", "-q", "--hard")
    return ran.out + ran.err


def _hooks(repository: Repository) -> dict[str, bytes]:
    hooks = repository.root / ".git/hooks"
    return {each.name: each.read_bytes() for each in hooks.iterdir() if each.suffix != ".sample"}


@pre_commit_installed
def test_beside_pre_commit(repository: Repository) -> None:
    """pre-commit's hook runs first and ours after it, and uninstall leaves pre-commit's as it was."""
    repository.write(".pre-commit-config.yaml", LOCAL)
    repository.commit()
    assert repository.run("pre-commit", "install").code == 0
    before = _hooks(repository)
    assert repository.otel_schema("hooks", "install").code == 0
    said = _stopped(repository)
    assert said.index("first") < said.index("destructive")
    repository.write("README", "hello\n")
    assert "first" in repository.commit().err
    assert repository.otel_schema("hooks", "uninstall").code == 0
    assert _hooks(repository) == before


@pre_commit_installed
def test_below_pre_commit(repository: Repository) -> None:
    """Installed after ours, pre-commit runs ours as its legacy hook, and uninstall takes ours from there."""
    repository.write(".pre-commit-config.yaml", LOCAL)
    repository.commit()
    assert repository.otel_schema("hooks", "install").code == 0
    assert repository.run("pre-commit", "install").code == 0
    assert "pre-commit.legacy" in _hooks(repository)
    assert "destructive" in _stopped(repository)
    assert repository.otel_schema("hooks", "uninstall").code == 0
    assert _hooks(repository).keys() == {"pre-commit"}
    repository.write("README", "hello\n")
    assert "first" in repository.commit().err


@pre_commit_installed
def test_pre_commit_twice(repository: Repository) -> None:
    """pre-commit above ours above an older pre-commit ends, and stops a commit with a finding."""
    repository.write(".pre-commit-config.yaml", LOCAL)
    repository.commit()
    assert repository.run("pre-commit", "install").code == 0
    assert repository.otel_schema("hooks", "install").code == 0
    assert repository.run("pre-commit", "install").code == 0
    assert "destructive" in _stopped(repository)
    repository.write("README", "hello\n")
    assert repository.commit().code == 0


@pre_commit_installed
@pytest.mark.nightly  # builds an environment from the package index
def test_hooks_of_this_repository(repository: Repository, tmp_path: Path) -> None:
    """pre-commit makes an environment from `.pre-commit-hooks.yaml`, and runs the check in it, also over a range."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    revision = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    repository.write(
        ".pre-commit-config.yaml",
        f"repos:\n  - repo: {source}\n    rev: {revision}\n    hooks:\n"
        "      - id: otel-schema-migrations\n      - id: otel-schema-lock\n",
    )
    repository.commit()
    ran = repository.run("pre-commit", "install", "-t", "pre-commit", "-t", "pre-push", "-t", "pre-merge-commit")
    assert ran.code == 0, ran
    said = _stopped(repository)
    assert "migrations (otel-schema)" in said
    assert "0002_change.py:5: destructive drops the column lead.name" in said
    repository.git("checkout", "-q", "-b", "feature")
    repository.migration("0002", "0001", DROP, back="op.add_column(0)")
    repository.commit("change", 0, "--no-verify")
    ran = repository.run("pre-commit", "run", "--from-ref", "main", "--to-ref", "HEAD")
    assert ran.code == 1
    assert "destructive" in ran.out
    ran = repository.run("pre-commit", "run", "--hook-stage", "pre-push", "otel-schema-lock")
    assert ran.code == 1
    assert "no module is named: name the modules" in ran.out, "it ran, with the otel-schema of this environment"


def _npm(repository: Repository, *packages: str) -> None:
    repository.write("package.json", '{"name": "project", "private": true}\n')
    repository.write(".gitignore", "node_modules\n")
    ran = repository.run("npm", "install", "--silent", "--no-audit", "--no-fund", "--save-dev", *packages)
    assert ran.code == 0, ran
    repository.environment["PATH"] = f"{repository.root}/node_modules/.bin{os.pathsep}{repository.environment['PATH']}"


@npm_installed
@pytest.mark.nightly  # installs from npm
def test_husky(repository: Repository) -> None:
    """Under husky the three lines go into `.husky/pre-commit`, run before its own, and are gone after uninstall."""
    _npm(repository, "husky@9")
    assert repository.run("husky").code == 0
    assert repository.git("config", "core.hooksPath").out == ".husky/_\n"
    own = repository.write(".husky/pre-commit", "echo husky\n")
    repository.git("add", "-A")
    repository.commit()
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 0
    assert f"added three lines to {own}. Commit it, so that everybody has them" in ran.out
    assert repository.run("husky").code == 0, "husky writes its own files again, and keeps ours"
    repository.git("add", "-A")
    assert "husky" in repository.commit().err
    assert "destructive" in _stopped(repository)
    assert repository.otel_schema("hooks", "uninstall").code == 0
    assert own.read_text() == "echo husky\n"
    assert sorted(each.name for each in (repository.root / ".husky").iterdir()) == ["_", "pre-commit"]


@npm_installed
@pytest.mark.nightly  # installs from npm
def test_lefthook(repository: Repository) -> None:
    """For lefthook the lines are printed, and once they are in its file it runs the check."""
    _npm(repository, "lefthook@2")
    file = repository.write("lefthook.yml", "")
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 2
    said, _, lines = ran.out.partition("\n\n")
    assert said == "lefthook writes Git's hooks. Add to lefthook.yml, then run `lefthook install`:"
    file.write_text(lines)
    repository.git("add", "-A")
    assert repository.run("lefthook", "install").code == 0
    repository.commit()
    assert "destructive" in _stopped(repository)
    assert repository.otel_schema("hooks", "install") == (0, "lefthook.yml already has the lines\n", "")
    before = _hooks(repository)
    ran = repository.otel_schema("hooks", "uninstall")
    assert (ran.code, ran.out) == (2, "remove the lines of otel-schema from lefthook.yml\n")
    assert _hooks(repository) == before
