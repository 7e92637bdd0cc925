#!/usr/bin/env python3
"""Give each Go module one version in all builds: run it after `build.py --lock`, and after an update of any go.mod.

Where builds disagree, the newest version goes into all of them, until nothing changes. Prometheus and the collector
differ only in the modules of FAMILIES: each needs those of its own release. Jaeger stays as it is: its newest release
that is to be had as a Go module compiles only with the OpenTelemetry of its time, and newer modules bring a newer one.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import build

FAMILIES = (
    "go.opentelemetry.io/",
    "github.com/open-telemetry/",
    "github.com/prometheus/",
    "github.com/pb33f/",  # whose types Prometheus shows in its own API
)
ALONE = {"jaeger"}
COLLECTORS = {"small", "full"}  # of one release, so that they agree in the families too


def main() -> int:
    targets = {
        path.parent.name: path.parent for path in sorted(build.HERE.glob("*/go.mod")) if path.parent.name not in ALONE
    }
    try:
        with tempfile.TemporaryDirectory() as scratch:
            works = {name: sources(source, Path(scratch)) for name, source in targets.items()}
            while changes := disagreements({name: modules(work) for name, work in works.items()}):
                for name, wanted in changes.items():
                    print(f"{name}: {len(wanted)} modules", file=sys.stderr)
                    go = build.toolchain(targets[name])
                    build.run([go, "get", *wanted], works[name], go)
                    build.run([go, "mod", "tidy"], works[name], go)
            for name, work in works.items():
                for file in ("go.mod", "go.sum"):
                    shutil.copy(work / file, targets[name])
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def sources(source: Path, scratch: Path) -> Path:
    """Return a folder with a build's lock and the sources that `go mod tidy` reads."""
    work = scratch / source.name
    work.mkdir()
    for file in ("go.mod", "go.sum"):
        shutil.copy(source / file, work)
    manifest = source / "manifest.yaml"
    if not manifest.exists():
        return work
    generated = work / "_build"
    shutil.copytree(build.OWN, generated)
    for file in ("go.mod", "go.sum"):
        shutil.move(work / file, generated)
    go = build.toolchain(source)
    builder = f"{build.BUILDER}@v{build.version(manifest)}"
    command = [go, "run", builder, f"--config={manifest}", "--skip-get-modules", "--skip-compilation"]
    build.run(command, work, go)
    return generated


def modules(folder: Path) -> dict[str, str]:
    """Return the version of each module that a go.mod requires."""
    return dict(re.findall(r"^(?:require )?\t?(\S+) (v\S+)", (folder / "go.mod").read_text(), re.M))


def disagreements(builds: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Return, by build, what it has to get (`module@version`) so that all have one version of each module."""
    by_module: dict[str, dict[str, str]] = defaultdict(dict)
    for name, versions in builds.items():
        for module, version in versions.items():
            by_module[module][name] = version
    wanted: dict[str, list[str]] = defaultdict(list)
    for module, found in by_module.items():
        if module.startswith(FAMILIES):
            found = {name: version for name, version in found.items() if name in COLLECTORS}
        newest = max(found.values(), key=order, default="")
        for name, version in found.items():
            if version != newest:
                wanted[name].append(f"{module}@{newest}")
    return dict(wanted)


def order(version: str) -> tuple[int, int, int, bool, str]:
    """Return a key by which Go's versions sort: a pre-release and a commit before the release that they lead to."""
    numbers, _, commit = version.removeprefix("v").partition("+")[0].partition("-")
    major, minor, patch = (int(part) for part in numbers.split("."))
    return major, minor, patch, not commit, commit


if __name__ == "__main__":
    sys.exit(main())
