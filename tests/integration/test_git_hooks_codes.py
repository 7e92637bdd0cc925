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
from opentelemetry.instrumentation.schema._schemas.source import parse_definitions

from tests.integration.git_repository import Repository

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
    lock.origins[ref] = Origin("app/schemas.py", parse_definitions(text)["LeadIn"].tree)
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


def _said(repository: Repository, base: str | None = None) -> list[str]:
    return [f"{each.file}:{each.line}: {each.code} {each.what}" for each in repository.check(base).findings]


def test_deleted_migrations(repository: Repository) -> None:
    """A merged migration that is deleted is found, and an exception may stand in a migration beside it."""
    repository.git("rm", "-q", "migrations/versions/0002_index.py")
    repository.git("rm", "-q", "schema.lock")
    deleted = (
        "migrations/versions/0002_index.py:1: merged-edited is merged, but deleted here: a database at 0002 can "
        "no longer upgrade or downgrade"
    )
    assert _said(repository) == [deleted]
    repository.commit()
    assert _said(repository, "origin/main") == [deleted]
    file = repository.root / "migrations/versions/0001_lead.py"
    repository.write(
        "migrations/versions/0001_lead.py", f"# otel-schema: allow merged-edited never deployed\n{file.read_text()}"
    )
    assert _said(repository, "origin/main") == []


def test_renamed_migrations(repository: Repository) -> None:
    """A merged migration may be renamed, its comments and layout may change; an edit beside a rename is found."""
    repository.git("mv", "migrations/versions/0002_index.py", "migrations/versions/0002_name.py")
    assert _said(repository) == []
    file = repository.root / "migrations/versions/0002_name.py"
    text = file.read_text()
    repository.write("migrations/versions/0002_name.py", f'"""Index."""\n# why\n{text.replace("(", "( ")}')
    assert _said(repository) == []
    repository.write("migrations/versions/0002_name.py", text.replace("ix_lead_name", "ix"))
    assert [each.partition(": ")[2][:13] for each in _said(repository)] == ["merged-edited"]
    repository.git("mv", "db/migrations/20260102000000_lead.sql", "db/migrations/20260102000000_renamed.sql")
    assert not [each for each in _said(repository) if each.startswith("db")]
    moved = repository.root / "db/migrations/20260102000000_renamed.sql"
    repository.write("db/migrations/20260102000000_renamed.sql", f"-- a comment\n\n{moved.read_text()}\n")
    assert not [each for each in _said(repository) if each.startswith("db")]
    repository.write("db/migrations/20260102000000_renamed.sql", moved.read_text().replace("integer", "bigint"))
    assert [each for each in _said(repository) if each.startswith("db")] == [
        "db/migrations/20260102000000_renamed.sql:1: merged-edited is merged, but edited here: a database that ran "
        "20260102000000 does not run it again"
    ]


def test_an_old_exception_allows_no_new_edit(repository: Repository) -> None:
    """An exception for an edit counts in the change that adds it, and not for the next edit."""
    name = "migrations/versions/0002_index.py"
    text = (repository.root / name).read_text()
    repository.write(name, "# otel-schema: allow merged-edited it never ran anywhere\n" + text.replace('"ix_', '"i_'))
    assert _said(repository) == []
    repository.commit()
    assert _said(repository, "origin/main") == []
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")
    repository.write(name, (repository.root / name).read_text().replace('"i_', '"j_'))
    assert [each.partition(" is ")[0] for each in _said(repository)] == [f"{name}:2: merged-edited"]


def test_an_old_exception_allows_no_new_column(repository: Repository) -> None:
    """Likewise for a model: the comment has to come with the change."""
    text = (repository.root / "app/models.py").read_text()
    allow = "# otel-schema: allow no-migration another service migrates this table\n"
    repository.write("app/models.py", allow + text.replace("50", "60"))
    assert _said(repository) == []
    repository.commit()
    repository.write("app/models.py", allow + text.replace("50", "70"))
    assert _said(repository) == [
        "app/models.py:2: no-migration the columns of Lead changed, but no migration was added"
    ]


def test_models_that_move_or_go(repository: Repository) -> None:
    """A class that moved to another file is no change, a deleted one is, and those of tests are not looked at."""
    text = (repository.root / "app/models.py").read_text()
    repository.git("mv", "app/models.py", "app/leads.py")
    assert _said(repository) == []
    repository.git("rm", "-q", "-f", "app/leads.py")
    assert _said(repository) == ["app/models.py:1: no-migration Lead was removed, but no migration was added"]
    for name in ("tests/models.py", "app/test_models.py", "app/conftest.py"):
        repository.write(name, text.replace("Lead", "Other"))
    assert len(_said(repository)) == 1
    repository.write("app/models.py", "class Lead(Base:\n")
    assert len(_said(repository)) == 1, "what is no Python declares nothing"
    repository.write("migrations/versions/rename.sql", "-- a kind of the project's own\n")
    assert _said(repository) == []


def test_inserted_below_merged_ones(repository: Repository) -> None:
    """A new migration that a merged one is made to follow is out of order."""
    head = 'revision = "0001b"\ndown_revision = "0001"\n'
    repository.write("migrations/versions/0001b_new.py", head + "def upgrade(): pass\ndef downgrade(): pass\n")
    text = (repository.root / "migrations/versions/0002_index.py").read_text()
    repository.write("migrations/versions/0002_index.py", text.replace('"0001"', '"0001b"'))
    assert _said(repository) == [
        "migrations/versions/0001b_new.py:2: out-of-order comes before 0002 (0002_index.py), which is merged: a "
        "database that ran it never runs this one",
        "migrations/versions/0002_index.py:1: merged-edited is merged, but edited here: a database that ran 0002 "
        "does not run it again",
    ]


def test_several_roots_and_branches(repository: Repository) -> None:
    """A migration that follows none is a second head, unless it starts a branch with a label; a merge joins heads."""
    empty = "def upgrade(): pass\ndef downgrade(): pass\n"
    repository.write("migrations/versions/9_root.py", f'revision = "9"\ndown_revision = None\n{empty}')
    repository.git("rm", "-q", "schema.lock")
    assert _said(repository) == [
        "migrations/versions/9_root.py:2: several-heads 9 and 0002 (0002_index.py) are all heads, and `alembic "
        "upgrade head` refuses to choose"
    ]
    labelled = f'revision = "9"\ndown_revision = None\nbranch_labels = ("other",)\n{empty}'
    repository.write("migrations/versions/9_root.py", labelled)
    assert _said(repository) == []
    repository.write("migrations/versions/9_root.py", f'revision: str = "9"\ndown_revision: str = "0001"\n{empty}')
    assert len(_said(repository)) == 1
    joined = f'revision = "10"\ndown_revision = (\n    "9",\n    "0002",\n)\n{empty}'
    repository.write("migrations/versions/10_join.py", joined)
    assert _said(repository) == []
    repository.commit()
    repository.git("rm", "-q", "migrations/versions/10_join.py")
    assert [each.partition(" ")[2][:13] for each in _said(repository)] == ["several-heads"]


def test_what_was_wrong_before(repository: Repository) -> None:
    """What a commit does not touch is not held against it; with nothing staged all is judged."""
    repository.write("migrations/versions/0003_gone.py", 'revision = "0003"\ndown_revision = "gone"\n')
    repository.commit()
    repository.write("README", "hello\n")
    assert _said(repository) == []
    repository.commit()
    assert _said(repository) == [
        "migrations/versions/0003_gone.py:2: missing-parent follows gone, which is not staged: Alembic cannot load "
        "any migration"
    ]


def test_copies(repository: Repository) -> None:
    """The copy of a file is said with the other, for Alembic and DBMate."""
    for name in ("migrations/versions/0002_index.py", "db/migrations/20260102000000_lead.sql"):
        copy = name.replace(".", "_copy.")
        repository.write(copy, (repository.root / name).read_text())
    assert _said(repository) == [
        "db/migrations/20260102000000_lead_copy.sql:1: duplicate-revision 20260102000000 is also the "
        "revision of 20260102000000_lead.sql: one of them never runs",
        "migrations/versions/0002_index_copy.py:1: duplicate-revision 0002 is also the revision of "
        "0002_index.py: one of them never runs",
    ]


def test_directories_below(repository: Repository) -> None:
    """DBMate reads no directory below its own, and neither do we."""
    old = "-- migrate:up\nDROP TABLE lead;\n"
    repository.write("db/migrations/archive/20200101000000_old.sql", old)
    assert _said(repository) == []
    repository.write("db/migrations/20270101000000_new.sql", old)
    assert len(_said(repository)) == 2


def test_the_lock(repository: Repository) -> None:
    """A lock is held against classes that changed, moved, are gone or no Python, and against the head."""
    lock = "but schema.lock has the old version"
    for text, line, why in (
        ("x = 1\nclass LeadIn(BaseModel):\n    name: int\n", 2, "was changed"),
        ("class Lead(BaseModel):\n    name: str\n", 1, "is no longer there"),
        ("class LeadIn(:\n", 1, "is in a file that is not valid Python: invalid syntax, line 1"),
    ):
        repository.write("app/schemas.py", text)
        assert _said(repository) == [f"app/schemas.py:{line}: stale-lock app.schemas:LeadIn {why}, {lock}"]
    allow = "# otel-schema: allow stale-lock the next commit writes it\n"
    repository.write("app/schemas.py", f"{allow}class LeadIn(BaseModel):\n    name: int\n")
    assert _said(repository) == []
    repository.git("rm", "-q", "-f", "app/schemas.py")
    gone = "app.schemas:LeadIn was in a file that no longer exists"
    assert _said(repository) == [f"schema.lock:1: stale-lock {gone}, {lock}"]
    repository.git("checkout", "-q", "HEAD", "--", "app/schemas.py")
    text = (repository.root / "schema.lock").read_text()
    repository.write("schema.lock", text.replace('["0002"]', '["0001"]'))
    assert _said(repository) == [
        "migrations/versions/0002_index.py:1: stale-lock schema.lock records the head 0001, but the "
        "head of the migrations is 0002"
    ]
    repository.write("schema.lock", "<<<<<<< ours\n")
    assert [each.partition(": schema")[0] for each in _said(repository)] == ["schema.lock:1: stale-lock cannot be read"]


def test_names_that_are_no_text(repository: Repository) -> None:
    """A file whose name is no UTF-8 is read, and said as far as it is printable."""
    repository.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
    name = b"0003_\xff.py".decode("utf-8", "surrogateescape")
    text = (
        'revision = "0003"\ndown_revision = "0002"\ndef upgrade():\n  op.drop_table("t")\ndef downgrade():\n  op.f()\n'
    )
    repository.write(f"migrations/versions/{name}", text)
    ran = repository.otel_schema("hooks", "check", "--json")
    assert ran.code == 1
    assert "destructive" in ran.out
    assert "destructive" in repository.otel_schema("hooks", "check").out
