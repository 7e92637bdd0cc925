"""What CI, builds and releases take from others is pinned, and what is said of it is true."""

from __future__ import annotations

import ast
import datetime
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PIN = re.compile(r"^([\w.-]+)==([\w.+-]+)(?: ; (.+?))?(?: \\)?$", re.M)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(workflow.read_text())["jobs"]


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def workflow_id(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=workflow_id)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    """Each action is a commit with its release beside it, and one release everywhere."""
    lines = re.findall(r"uses: (\S+)(.*)", workflow.read_text())
    assert lines
    for action, comment in lines:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.match(r" # v\d+\.\d+\.\d+$", comment), action
    used = {action for path in WORKFLOWS for action in re.findall(r"uses: (\S+)", path.read_text())}
    assert len({action.partition("@")[0] for action in used}) == len(used)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=workflow_id)
def test_workflows_have_least_permissions(workflow: Path) -> None:
    """A workflow may read, only a release's jobs may sign, no token stays in a checkout, and no secret is used."""
    text = workflow.read_text()
    default = yaml.safe_load(text)["permissions"]
    assert default in ({}, {"contents": "read"})
    more = {name: job["permissions"] for name, job in jobs(workflow).items() if "permissions" in job}
    allowed = {
        "build": {"contents": "read"},
        "attest": {"contents": "read", "id-token": "write", "attestations": "write"},
        "publish": {"id-token": "write"},
    }
    assert more == (allowed if workflow.stem == "release" else {})
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert all("${{" not in step.get("run", "") for step in steps(workflow))  # a branch's name is no shell code


def test_release_publishes_what_was_attested() -> None:
    """A release publishes the files of its own build, attested, in an environment that a person approves."""
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert [release[name].get("needs") for name in ("build", "attest", "publish")] == [None, "build", "attest"]
    assert release["publish"]["environment"] == "pypi"
    assert release["publish"]["steps"][-1]["with"] == {"attestations": True}


def test_python_versions_agree() -> None:
    """The classifiers, the README's badge and CI's matrix name the same versions of Python."""
    versions = re.findall(r"Python :: (3\.\d+)", PROJECT)
    assert jobs(ROOT / ".github" / "workflows" / "tests.yml")["test"]["strategy"]["matrix"]["python"] == versions
    readme = (ROOT / "README.md").read_text()
    assert f"badge/Python-{versions[0]}_to_{versions[-1]}-" in readme
    assert f'requires-python = ">={versions[0]}"' in PROJECT


def test_badges_are_true() -> None:
    """The README's badges say what pyproject.toml says: licence, status, and how src is checked."""
    readme = (ROOT / "README.md").read_text()
    assert ("license-Apache--2.0" in readme, 'license = "Apache-2.0"' in PROJECT) == (True, True)
    assert ("status-beta" in readme, "Development Status :: 4 - Beta" in PROJECT) == (True, True)
    assert ("typed-pyright_strict" in readme, 'strict = ["src"]' in PROJECT) == (True, True)


def test_every_constraint_has_hashes() -> None:
    """constraints-hashes.txt has each line of constraints.txt with the hashes of its files, and names no index."""
    hashed = (ROOT / "constraints-hashes.txt").read_text()
    wanted = {(re.sub(r"[._]", "-", name.lower()), version) for name, version, _ in pins("constraints.txt")}
    assert {(name, version) for name, version, _ in pins("constraints-hashes.txt")} == wanted, "run `make lock`"
    blocks = re.split(r"\n(?=\S)", hashed.strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in hashed


def pins(file: str) -> list[tuple[str, str, str]]:
    return PIN.findall((ROOT / file).read_text())


def test_runtime_dependencies_are_few_and_complete() -> None:
    """The package needs four distributions, and imports no other except where an extra or the app brings it."""
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.M | re.S)
    assert listed is not None
    assert re.findall(r'"([\w-]+)', listed[1]) == [
        "opentelemetry-api",
        "opentelemetry-instrumentation",
        "opentelemetry-semantic-conventions",
        "wrapt",
    ]
    always = {"opentelemetry", "wrapt"}
    source = ROOT / "src" / "opentelemetry" / "instrumentation" / "schema"
    core = [path for path in source.rglob("*.py") if "integrations" not in path.parts]
    imported = {
        (name, str(path.relative_to(source)))
        for path in core
        for node in ast.parse(path.read_text()).body  # what runs at import
        for name in modules(node)
        if name not in sys.stdlib_module_names and name not in always
    }
    optional = {"click", "rich", "prometheus_client", "google", "sqlalchemy", "alembic", "sqlglot"}
    assert {entry for entry in imported if entry[0] not in optional} == set()


def modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [str(node.module).partition(".")[0]]
    return []


def test_dependabot_looks_where_something_is() -> None:
    """Each folder that dependabot is sent to holds what it is to update."""
    files = {"gomod": "go.mod", "npm": "package-lock.json", "docker-compose": "compose.yaml", "pip": "pyproject.toml"}
    for update in yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]:
        for folder in update.get("directories", [update.get("directory")]):
            name = files.get(update["package-ecosystem"], ".github/workflows")
            assert (ROOT / folder.strip("/") / name).exists()


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ("", ["GO-1 in net (govulncheck)", "PYSEC-2 in flask (pip-audit)"]),
        ("GO-1 2030-01-01 not called\nPYSEC-2 2030-01-01 tests only\n", []),
        ("# none\nGO-1 2019-01-01 not called\nPYSEC-2 2030-01-01 tests only", ["GO-1 in net was accepted until 2019"]),
        ("GO-1 2030-01-01 a\nPYSEC-2 2030-01-01 b\nGO-3 2030-01-01 c", ["GO-3 is accepted, and nothing reports it"]),
    ],
)
def test_findings_are_accepted_by_name_and_day(accepted: str, said: list[str]) -> None:
    """A finding fails the audit unless it is accepted and its day has not passed; so does an acceptance of nothing."""
    audit = script("audit")
    found = [audit.Finding("PYSEC-2", "flask", "pip-audit"), audit.Finding("GO-1", "net", "govulncheck")]
    problems = audit.judge(found, audit.accepted(accepted), datetime.date(2020, 1, 1), set(audit.TOOLS))
    assert [problem[: len(start)] for problem, start in zip(problems, said, strict=True)] == said


def test_accepted_findings_can_be_read() -> None:
    """The shipped list has an ID, a day and a reason in each line, and a line without them is named."""
    audit = script("audit")
    audit.accepted(audit.ACCEPTED.read_text())
    with pytest.raises(SystemExit, match="GO-1 never"):
        audit.accepted("GO-1 never\n")


def test_release_is_checked_before_it_is_built() -> None:
    """A tag is refused by what is missing: its form, the version, the changelog's line, public addresses."""
    check = script("release_check").check
    project = 'version = "1.2.3"\n[project.urls]\nSource = "https://git.test/x"\n'
    assert check("v1.2.3", project, "## [1.2.3] - 2026-01-31\n") == []
    assert check("1.2.3", project, "") == ["not a release's tag, such as v1.2.3 or v1.2.3rc1: '1.2.3'"]
    assert [problem.split()[0] for problem in check("v1.2.4", PROJECT, "## [Unreleased]\n")] == [
        "pyproject.toml",
        "CHANGELOG.md",
        "[project.urls]",
    ]
