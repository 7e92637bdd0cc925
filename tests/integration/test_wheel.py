"""The wheel, as a user gets it: installed without an extra into an empty environment, with no SDK; and the sdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._monitoring import writing

ROOT = Path(__file__).parents[2]
PACKAGE = "opentelemetry/instrumentation/schema"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program of an environment that holds the wheel, what it requires, and marshmallow."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    library = f"marshmallow=={version('marshmallow')}"
    install = [folder / "bin" / "python", "-m", "pip", "install", "-q", wheel, library]
    subprocess.run(install, capture_output=True, text=True, check=True)

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "bin" / program, *arguments], capture_output=True, text=True, cwd=folder, env={}, check=False
        )

    return run


def test_what_is_in_the_wheel(wheel: Path) -> None:
    """The wheel holds the package, its type marker, its licence and all that `export` writes, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    source = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src").rglob("*.py")
        if "__pycache__" not in file.parts
    }
    assert source | {f"{PACKAGE}/py.typed"} <= set(names)
    assert {"opentelemetry/__init__.py", "opentelemetry/instrumentation/__init__.py"} & set(names) == set()
    configs = {
        file.relative_to(ROOT / "collector-config").as_posix()
        for pattern in ("*.yaml", "*s/*.yaml", "prometheus/*.yml")
        for file in (ROOT / "collector-config").glob(pattern)
    }
    templates = {file.name for file in (ROOT / "dashboards" / "templates").iterdir()}
    assert {f"{PACKAGE}/_monitoring/configs/{name}" for name in configs} <= set(names)
    assert {f"{PACKAGE}/_monitoring/templates/{name}" for name in templates} <= set(names)
    others = [name for name in names if not name.startswith(f"{PACKAGE}/") and ".dist-info/" not in name]
    assert others == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


VALIDATES = """
import sys
from opentelemetry.instrumentation.schema import SchemaInstrumentor, endpoint, validation
SchemaInstrumentor().instrument()
import marshmallow

class Lead(marshmallow.Schema):
    age = marshmallow.fields.Integer()

with endpoint("job"), validation("Row")() as row:
    row.problem("email", "required")
with endpoint("job"):
    print(Lead().load({"age": "1"}), Lead().validate({"age": "x"}))
print(Lead._do_load.__code__.co_filename.split("site-packages/")[1])
SchemaInstrumentor().uninstrument()
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or name in ("click", "rich", "pydantic")])
"""


def test_it_validates_without_an_sdk(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """With the API alone the app imports, instruments and validates as ever, in silence."""
    done = run("python", "-W", "error", "-c", VALIDATES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'age': 1} {'age': ['Not a valid integer.']}",
        f"{PACKAGE}/integrations/marshmallow/install.py",
        "[]",
    ]


def test_its_entry_point_is_found(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """`opentelemetry-instrument` finds the instrumentor under the name `schema`."""
    code = (
        "from importlib.metadata import entry_points\n"
        "(found,) = entry_points(group='opentelemetry_instrumentor', name='schema')\n"
        "print(found.load().__name__)"
    )
    assert run("python", "-c", code).stdout == "SchemaInstrumentor\n"


def test_the_command_without_its_extra(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """`otel-schema` says what to install, and exits 2."""
    done = run("otel-schema", "top")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "opentelemetry-instrumentation-schema[cli]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def built(source: Path, folder: Path) -> tuple[Path, Path]:
    """Build sdist and wheel of a source tree, at a time and with rights of its own."""
    build = [sys.executable, "-m", "build", "--sdist", "--wheel", "--no-isolation", "--outdir", folder, source]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    made = subprocess.run(build, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.nightly
def test_builds_are_reproducible(tmp_path: Path) -> None:
    """Built again from the sdist, in another folder with other times and rights, sdist and wheel are the same bytes."""
    first = built(ROOT, tmp_path / "first")
    with tarfile.open(first[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path / "elsewhere", filter="data")
    (source,) = (tmp_path / "elsewhere").iterdir()
    for path in source.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1, 1))
    second = built(source, tmp_path / "second")
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), one.name
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "dashboards/grafana/schema-health.json", "docs/index.md"):
        assert name in names
    assert [name for name in names if "node_modules" in name or name.startswith((".venv", "build/", ".git/"))] == []


@pytest.mark.nightly
def test_everything_comes_out_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """`otel-schema export` of the installed wheel writes the dashboards, rules and configs of this repository."""
    environment, out = tmp_path / "environment", tmp_path / "out"
    venv.create(environment, with_pip=True)
    install = [environment / "bin" / "python", "-m", "pip", "install", "-q", f"{wheel}[cli]"]
    subprocess.run(install, capture_output=True, text=True, check=True)
    subprocess.run([environment / "bin" / "otel-schema", "export", out], capture_output=True, check=True)
    for here, there in (
        ("dashboards/grafana", "grafana"),
        ("collector-config/prometheus/rules", "prometheus/rules"),
        ("collector-config", "collector"),
        ("collector-config/stores", "collector/stores"),
    ):
        files = [path for path in (ROOT / here).iterdir() if path.suffix in (".json", ".yml", ".yaml")]
        assert files
        for file in files:
            assert writing.unsealed((out / there / file.name).read_text()) == file.read_text(), file
