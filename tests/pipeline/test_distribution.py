"""The collector is built from its lock, once, and a build that cannot be is explained by the module's name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unify
from tests.pipeline.programs import CONFIGS

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

DISTRIBUTION = CONFIGS / "distribution"


def build(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, directory / "build.py", "small"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the distribution to break."""
    return Path(shutil.copytree(DISTRIBUTION, tmp_path / "distribution"))


def test_second_build_builds_nothing(otelcol: Path) -> None:
    """A binary that is built is found again, outside of the repository."""
    done = build(DISTRIBUTION)
    assert not done.stderr  # a build says that it takes minutes
    assert Path(done.stdout.strip()) == otelcol
    assert CONFIGS.parent not in otelcol.parents


def test_versions_are_those_of_the_manifest(otelcol: Path) -> None:
    """The binary holds exactly the manifest's modules at the manifest's versions, core and contrib at one version."""
    output = subprocess.run([otelcol, "components"], capture_output=True, text=True, check=True).stdout
    manifest = (DISTRIBUTION / "small" / "manifest.yaml").read_text()
    wanted = set(re.findall(r"gomod: (\S+ v\S+)", manifest))
    assert set(re.findall(r"module: (\S+ v\S+)", output)) == wanted
    assert {line.split()[1] for line in wanted} == {"v0.161.0", "v1.67.0"}


@pytest.mark.parametrize(("change", "said"), [("v0.161.0", "does not belong to"), ("exporter/debugexporter", "go.mod")])
def test_mismatch_is_refused(copy: Path, change: str, said: str) -> None:
    """A component at another release, or one that the lock does not hold, is refused by name before the build."""
    manifest = copy / "small" / "manifest.yaml"
    other = {"v0.161.0": "v0.160.0", "exporter/debugexporter": "exporter/nopexporter"}[change]
    lines = manifest.read_text().splitlines()
    broken = next(index for index, line in enumerate(lines) if "gomod" in line and change in line)
    lines[broken] = lines[broken].replace(change, other)
    manifest.write_text("\n".join(lines))
    done = build(copy)
    assert done.returncode == 1
    assert said in done.stderr
    assert lines[broken].split()[2] in done.stderr


def test_module_that_cannot_be_had_is_named(copy: Path, otelcol: Path, tmp_path: Path) -> None:
    """Where a module is refused the build fails with its name in the last line, and leaves nothing in the cache."""
    cache = tmp_path / "cache"
    empty = {"GOPROXY": "off", "GOMODCACHE": str(tmp_path / "modules"), "XDG_CACHE_HOME": str(cache)}
    # the machine's own Go, else the one that built `otelcol`
    empty["PATH"] = f"{os.environ['PATH']}{os.pathsep}{otelcol.parents[1] / 'toolchain' / 'go' / 'bin'}"
    done = build(copy, **empty)
    assert done.returncode == 1
    assert "cannot be had: go.opentelemetry.io/collector/cmd/builder@v0.161.0" in done.stderr.splitlines()[-1]
    assert not [path for path in (cache / "otelcol-schema").iterdir() if path.is_dir()]


def test_full_holds_everything_small_does() -> None:
    """The full distribution differs from the small one by additions only."""
    small, full = (
        set(re.findall(r"gomod: (\S+ v\S+)", (DISTRIBUTION / name / "manifest.yaml").read_text()))
        for name in ("small", "full")
    )
    assert small < full


def test_one_version_of_each_module() -> None:
    """All builds but Jaeger have one version of each Go module, except in families that come with a release."""
    builds = {path.parent.name: unify.modules(path.parent) for path in DISTRIBUTION.glob("*/go.mod")}
    assert set(builds) - unify.ALONE == {"small", "full", "prometheus3"}
    builds = {name: versions for name, versions in builds.items() if name not in unify.ALONE}
    assert unify.disagreements(builds) == {}
    older = {**builds["small"], "golang.org/x/net": "v0.1.0", "go.opentelemetry.io/otel": "v1.0.0"}
    assert {change.partition("@")[0] for change in unify.disagreements({**builds, "small": older})["small"]} == {
        "golang.org/x/net",
        "go.opentelemetry.io/otel",
    }


def test_versions_of_go_modules_sort() -> None:
    """Releases sort by number, and what leads to a release comes before it."""
    ordered = ["v0.0.0-20250101-a", "v0.0.0-20260101-a", "v0.9.0", "v0.24.1-0.20260101-a", "v0.24.1", "v1.0.0"]
    assert sorted([ordered[at] for at in (3, 5, 1, 4, 0, 2)], key=unify.order) == ordered
