"""Source distributions, which carry the tests, and what the tests need beyond the environment that runs this.

Both are kept in a cache directory outside of the repository (`SUITES_CACHE`, else
`~/.cache/opentelemetry-instrumentation-schema/suites`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from importlib.metadata import version
from pathlib import Path

from libraries import Suite

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("SUITES_CACHE") or Path.home() / ".cache/opentelemetry-instrumentation-schema/suites")
PIP_TIMEOUT = 900  # s


def release(suite: Suite) -> str:
    """The release that is tested: the suite's own, else the one installed here, which constraints.txt pins."""
    return suite.release or version(suite.distribution)


def source(suite: Suite) -> Path:
    """The unpacked source distribution, downloaded unless it is in the cache."""
    wanted = f"{suite.distribution}=={release(suite)}"
    folder = CACHE / "sources" / wanted
    if not folder.exists():
        parts = CACHE / "sources" / f"{wanted}.part"
        shutil.rmtree(parts, ignore_errors=True)
        _pip("download", "--no-deps", "--no-binary", suite.distribution, "--dest", str(parts), wanted)
        (file,) = parts.glob("*.tar.gz")
        with tarfile.open(file) as archive:
            archive.extractall(parts, filter="data")
        file.unlink()
        (unpacked,) = parts.iterdir()
        unpacked.rename(folder)
        parts.rmdir()
    return folder


def layer(label: str, suite: Suite, unpacked: Path) -> Path:
    """A folder for `PYTHONPATH`, with what the tests need and this environment lacks or has in another release.

    pip installs it into a virtual environment that sees this environment's packages too, and so leaves them out.
    """
    needs = [f"{suite.distribution}=={release(suite)}", *(need.format(source=unpacked) for need in suite.requirements)]
    home = CACHE / "layers" / f"{label}-{hashlib.sha256(repr((sys.prefix, needs)).encode()).hexdigest()[:8]}"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    pinned = (REPOSITORY / "constraints.txt").read_text().splitlines()
    own = {_distribution(need) for need in needs if re.search("[<=>]", need)}
    others = [line for line in pinned if _distribution(line) not in own]
    constraints, ready = home / "constraints.txt", home / "ready"
    wanted = "\n".join([*needs, *others])
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(home, with_pip=False, clear=True)
        (packages / "beneath.pth").write_text(sysconfig.get_path("purelib"))
        constraints.write_text("\n".join(others))
        _pip("--python", str(home / "bin/python"), "install", "-c", str(constraints), *needs)
        ready.write_text(wanted)
    return packages


def _distribution(need: str) -> str:
    return re.split(r"[\[<=> ]", need)[0].lower()


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=PIP_TIMEOUT)
