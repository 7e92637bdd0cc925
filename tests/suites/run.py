"""Run a library's own test suite plain and with us switched on: no test may newly fail.

    python tests/suites/run.py pydantic [--version 2.12.5]

The source distribution carries the tests. It and a virtual environment are kept in a cache directory outside of the
repository (`SUITES_CACHE`, else `~/.cache/opentelemetry-instrumentation-schema/suites`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CACHE = Path(os.environ.get("SUITES_CACHE") or Path.home() / ".cache/opentelemetry-instrumentation-schema/suites")
# The ignored warning is one of newer pytests than those an older release was tested with.
PYTEST = (
    "-q", "-p", "suite_plugin", "-p", "no:cacheprovider", "--tb=short", "--continue-on-collection-errors",
    "-W", "ignore:Passing a non-Collection iterable",
)  # fmt: skip
MODES = ("notable", "all", "late")
"""`SPANS` settings, from the first import on; `late` switches on after every test module was imported."""


@dataclass(frozen=True)
class Suite:
    """How a library's own tests are run.

    Attributes:
        requirements: What its tests need: pip's arguments; `{source}` is where the source distribution lies.
        ignored: Paths that test something else, such as benchmarks and type checkers.
        apart: What changes global state and so has a process of its own: pytest's arguments.
        validations: A plausible least number of validations recorded, for each test that passes.
    """

    requirements: tuple[str, ...]
    ignored: tuple[str, ...]
    apart: tuple[tuple[str, ...], ...]
    validations: float


SUITES = {
    "pydantic": Suite(
        requirements=(
            "--group={source}/pyproject.toml:dev", "cloudpickle", "email-validator", "tzdata", "sqlalchemy",
            "eval-type-backport", "typing-extensions",
        ),
        ignored=("tests/benchmarks", "tests/mypy", "tests/typechecking", "tests/pyright", "tests/test_docs.py"),
        # test_plugins.py needs a model built before it is imported, and clears the table of plug-ins for all after it.
        apart=(("tests/test_type_adapter.py", "tests/test_plugins.py"), ("tests/test_plugin_loader.py",)),
        validations=0.75,
    ),
}  # fmt: skip


def main() -> int:
    """Returns 1 if a test newly fails, one of our faults was counted, or too few validations were recorded."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("library", choices=SUITES)
    parser.add_argument("--version", help="of the library; default: the one installed here")
    parser.add_argument("--mode", choices=MODES, action="append", help="default: all of them")
    chosen = parser.parse_args()
    suite, release = SUITES[chosen.library], chosen.version or version(chosen.library)
    source, python = prepare(chosen.library, release, suite)
    plain = run(python, source, suite, "plain")
    print(f"{chosen.library} {release}, plain: {plain['passed']} passed, {len(plain['failed'])} failed")
    bad = False
    for mode in chosen.mode or MODES:
        ours = run(python, source, suite, mode)
        newly = sorted(set(ours["failed"]) - set(plain["failed"]))
        print(f"  {mode}: {ours['passed']} passed, {len(newly)} newly failing, {ours['seconds']:.0f} s", end="; ")
        print(f"{ours['validations']} validations, {ours['spans']} spans, faults {ours['faults'] or 'none'}")
        for test in newly:
            print(f"    newly failing: {test}")
        missing = plain["passed"] - ours["passed"] - len(newly)
        if missing:
            print(f"    {missing} tests did not run")
        few = ours["validations"] < (least := suite.validations * ours["passed"])
        if few:
            print(f"    fewer than {least:.0f} validations: was it switched on?")
        bad = bad or bool(newly or ours["faults"] or few or missing)
    return int(bad)


def prepare(library: str, release: str, suite: Suite) -> tuple[Path, str]:
    """The unpacked source distribution, and a Python with the library, its tests' needs and us."""
    home = CACHE / f"{library}-{release}-py{sys.version_info.major}{sys.version_info.minor}"
    source, python = home / f"{library}-{release}", str(home / "venv/bin/python")
    ready = home / "ready"
    if not ready.exists():
        home.mkdir(parents=True, exist_ok=True)
        venv.create(home / "venv", with_pip=True, clear=True)
        pip = [python, "-m", "pip", "-q"]
        check(*pip, "install", "--upgrade", "pip >= 25.1")
        wanted = f"{library}=={release}"
        check(*pip, "download", "--no-deps", "--no-binary", library, "--dest", str(home), wanted)
        with tarfile.open(home / f"{library}-{release}.tar.gz") as archive:
            archive.extractall(home, filter="data")
        needs = [need.format(source=source) for need in suite.requirements]
        check(*pip, "install", wanted, "opentelemetry-sdk", "-e", str(REPOSITORY), *needs)
        ready.touch()
    # The tests are to import what is installed, not what lies beside them.
    if (source / library).exists():
        (source / library).rename(source / f"{library}.unpacked")
    return source, python


def run(python: str, source: Path, suite: Suite, mode: str) -> dict[str, Any]:
    """Outcomes by test, and what was recorded, of the suite and of the files that run apart."""
    total: dict[str, Any] = {"passed": 0, "failed": [], "validations": 0, "spans": 0, "faults": {}}
    started = time.monotonic()
    rest = [f"--ignore={path}" for path in (*suite.ignored, *(arguments[-1] for arguments in suite.apart))]
    for number, arguments in enumerate((["tests", *rest], *suite.apart)):
        out, log = (source.parent / f"{mode}-{number}.{kind}" for kind in ("json", "log"))
        out.unlink(missing_ok=True)
        done = subprocess.run(
            [python, "-m", "pytest", *PYTEST, *arguments],
            cwd=source,
            env={**os.environ, "PYTHONPATH": str(HERE), "SUITE_MODE": mode, "SUITE_OUT": str(out)},
            capture_output=True,
            text=True,
            check=False,
        )
        log.write_text(done.stdout + done.stderr)
        if not out.exists():
            sys.exit(f"pytest did not end as it should: {log}")
        for key, value in json.loads(out.read_text()).items():
            total[key] = {**total[key], **value} if isinstance(value, dict) else total[key] + value
    return total | {"seconds": time.monotonic() - started}


def check(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
