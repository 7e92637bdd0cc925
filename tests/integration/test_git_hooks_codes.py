"""What `otel-schema hooks check` finds, in scratch repositories with a real Git."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._migrations.git_hooks.codes import CODES
from opentelemetry.instrumentation.schema._schemas import lockfile
from opentelemetry.instrumentation.schema._schemas.fields import SchemaSpec, TypeSpec
from opentelemetry.instrumentation.schema._schemas.lockfile import Lock, Origin
from opentelemetry.instrumentation.schema._schemas.source import places_of

from git_repository import Repository

PAGE = (Path(__file__).parents[2] / "docs" / "git-hooks.md").read_text()
BLOCK = re.compile(
    r"```(?:python|sql)\n(?:#|--) (?P<file>[\w/.]+)(?P<off> \(not staged\))?\n(?P<text>.*?)```", re.DOTALL
)


def _section(code: str) -> str:
    return PAGE.partition(f"### `{code}`\n")[2].partition("\n### ")[0].partition("\n## ")[0]


def _write(repository: Repository, text: str) -> int:
    blocks = list(BLOCK.finditer(text))
    for each in blocks:
        repository.write(each["file"], each["text"], stage=not each["off"])
    return len(blocks)


def _locked(repository: Repository) -> None:
    """A lock of the schema in `app/schemas.py`."""
    text = (repository.root / "app/schemas.py").read_bytes()
    ref = "app.schemas:LeadIn"
    lock = Lock(modules=("app.schemas",))
    lock.schemas[ref] = SchemaSpec(
        name="LeadIn", module="app.schemas", library="pydantic", type=TypeSpec(kind="object")
    )
    lock.origins[ref] = Origin("app/schemas.py", places_of(text)["LeadIn"].tree)
    lock.heads["alembic migrations/versions"] = ("0002",)
    repository.write("schema.lock", lockfile.dumps(lock))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's trunk, pushed to `origin`, on a branch of its own."""
    made = Repository(tmp_path_factory.mktemp("trunk") / "project")
    assert _write(made, PAGE.partition("<!-- trunk -->")[2].partition("\n### ")[0]) == 5
    _locked(made)
    made.commit("trunk")
    made.git("update-ref", "refs/remotes/origin/main", "HEAD")
    made.git("checkout", "-q", "-b", "feature")
    return made.root


@pytest.fixture
def repository(trunk: Path, tmp_path: Path) -> Repository:
    shutil.copytree(trunk, tmp_path / "project")
    return Repository(tmp_path / "project", new=False)


def test_the_page_lists_every_code() -> None:
    """Each code has a section with why, a bad and a good example, and there is no section of another."""
    assert re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE) == list(CODES)
    for code in CODES:
        why, bad, good = re.fullmatch(r"(.*?)\nBad:\n(.*?)\nGood:\n(.*)", _section(code), re.DOTALL).groups()  # pyright: ignore
        assert len(why.strip()) > 60
        assert BLOCK.search(bad)
        assert BLOCK.search(good)


@pytest.mark.parametrize("code", CODES)
def test_the_examples_of_the_page(repository: Repository, code: str) -> None:
    """A bad example has the code's finding and no other but what follows from it, a good one has none."""
    bad, _, good = _section(code).partition("\nGood:\n")
    repository.git("checkout", "-q", "-b", "good")
    _write(repository, bad)
    bad_codes = set(repository.codes()) - {"stale-lock"}  # the heads that the lock names
    if code == "stale-lock":
        bad_codes = set(repository.codes())
    assert bad_codes == {code}
    repository.git("reset", "-q", "--hard")
    repository.git("clean", "-fdq")
    _write(repository, good)
    if "revision =" in good:
        lock = (repository.root / "schema.lock").read_text()
        revision = re.findall(r'^revision = "(\d+)"', good, re.MULTILINE)[-1]
        repository.write("schema.lock", lock.replace('["0002"]', f'["{revision}"]'))
    assert repository.codes() == []
