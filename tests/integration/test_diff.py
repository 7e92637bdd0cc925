"""`otel-schema lock` and `otel-schema diff` in a real Git repository, each run in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
from click.testing import CliRunner
from opentelemetry.instrumentation.schema._schemas import approvals, describe, lockfile
from opentelemetry.instrumentation.schema._schemas.fields import TypeSpec
from opentelemetry.instrumentation.schema.cli.group import otel_schema

ROOT = Path(__file__).parents[2]
FINDINGS = json.loads((ROOT / "docs" / "findings.schema.json").read_text())
LEAD = """
from typing import Annotated, Literal
from pydantic import BaseModel, Field, field_validator

class Company(BaseModel):
    name: str

class Lead(BaseModel):
    name: Annotated[str, Field(max_length=100)]
    source: Literal["web", "fair"]
    company: Company
    note: str | None = None
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Repository:
    """A project with `app/schemas.py` in a Git repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "app" / "schemas.py"

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Ann Lee", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", "-C", str(self.root), *identity, *arguments], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")

    def run(self, *arguments: str, **environment: str) -> Ran:
        program = "from opentelemetry.instrumentation.schema.cli import main; main()"
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=self.root, env=env, capture_output=True, text=True
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments: str) -> Ran:
        """As `run`, in this process: for what imports none of the code."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.root)
            patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
            run = CliRunner().invoke(otel_schema, arguments)
        return Ran(run.exit_code, run.stdout, run.stderr)

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def findings(self, *arguments: str) -> dict[str, Any]:
        ran = self.run("diff", "--json", *arguments)
        assert ran.code in (0, 1, 3), ran.err
        return json.loads(ran.out)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a lock of the first version, committed."""
    made = Repository(tmp_path_factory.mktemp("first"))
    made.file.parent.mkdir()
    (made.root / "app" / "__init__.py").touch()
    made.file.write_text(LEAD)
    made.git("init", "-q", "-b", "main")
    ran = made.run("lock", "app.schemas")
    assert ran == (0, "schema.lock: 2 schemas, 0 tables, 0 migration heads\n", "")
    made.commit()
    return made.root


@pytest.fixture
def repository(first: Path, tmp_path: Path) -> Repository:
    """A copy of it."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return Repository(tmp_path)


def test_no_change(repository: Repository) -> None:
    """Code that is as it was locked has no finding, and comments, docstrings and layout are no change."""
    repository.change("class Lead(BaseModel):", 'class Lead(BaseModel):\n    """Someone."""  # or other\n')
    ran = repository.run("diff")
    assert ran == (0, "HEAD → the code: no change (2 schemas compared)\n", "")
    assert repository.run("lock", "--check").code == 0
    assert repository.run("lock", "--check", "--no-import").code == 0


def test_breaking_change(repository: Repository) -> None:
    """A breaking change exits with 1 and is said with file, line, both values and the reason."""
    repository.change("max_length=100", "max_length=40")
    ran = repository.run("diff")
    assert ran.code == 1
    assert "BREAKING   request   name: length: at most 100 → at most 40" in ran.out
    assert "app/schemas.py:9" in ran.out
    assert "The new schema refuses values that the old one accepts." in ran.out
    assert ran.out.endswith("HEAD → the code: 1 breaking, 1 compatible (2 schemas compared)\n")


def test_compatible_change(repository: Repository) -> None:
    """An optional field is compatible and exits with 0; a removed one too, but it is warned of."""
    repository.change("    note: str | None = None\n", "    remark: int | None = None\n")
    ran = repository.run("diff")
    assert ran.code == 0
    assert "warning    request   note: field removed" in ran.out
    assert "values that clients still send are lost" in ran.out
    assert "2 warnings, 2 compatible (2 schemas compared)" in ran.out


def test_rename_is_one_finding(repository: Repository) -> None:
    """A field of the same type in the same place is said to be renamed, once a direction."""
    repository.change("note:", "remark:")
    found = repository.findings()["findings"]
    assert [(each["code"], each["direction"]) for each in found] == [
        ("field-renamed", "request"),
        ("field-renamed", "response"),
    ]
    assert found[0]["message"] == "field renamed: note → remark"


def test_code_is_not_judged(repository: Repository) -> None:
    """A validator that came exits with 3, and nothing calls the change compatible."""
    repository.change(
        "    note: str | None = None\n",
        "    note: str | None = None\n"
        '    @field_validator("note")\n    @classmethod\n    def polite(cls, v):\n        return v\n',
    )
    ran = repository.run("diff")
    assert ran.code == 3
    assert "NOT JUDGED" in ran.out
    assert not COMPATIBLE.search(ran.out)
    repository.run("lock")
    repository.commit()
    repository.change("return v", "return v.strip()")
    assert repository.run("diff").code == 3, "the validator's body changed"


def test_holder_breaks_with_what_it_holds(repository: Repository) -> None:
    """A schema that holds a breaking one is breaking itself, and the text names it."""
    repository.change("class Company(BaseModel):\n    name: str", "class Company(BaseModel):\n    name: int")
    report = repository.findings()
    assert {(row["subject"], row["request"]) for row in report["verdicts"]} == {
        ("app.schemas:Company", "breaking"),
        ("app.schemas:Lead", "breaking"),
    }
    assert "app.schemas:Company (app/schemas.py:6), part of app.schemas:Lead" in repository.run("diff").out


def test_two_locks(repository: Repository) -> None:
    """Two lock files are compared without Git and without importing anything."""
    (repository.root / "old.lock").write_text((repository.root / "schema.lock").read_text())
    repository.change("max_length=100", "max_length=40")
    repository.run("lock")
    ran = repository.run("diff", "old.lock", "schema.lock", PYTHONPATH="/nowhere")
    assert (ran.code, "old.lock → schema.lock: 1 breaking" in ran.out) == (1, True)


def test_locked_reads_the_lock_alone(repository: Repository) -> None:
    """With --locked nothing is imported, and a lock that the source has left behind is an error."""
    repository.change("max_length=100", "max_length=40")
    stale = repository.run("diff", "--locked")
    assert stale.code == 2
    assert stale.err == (
        "Error: schema.lock is stale: app.schemas:Lead (app/schemas.py) was changed. Write it again: otel-schema lock\n"
    )
    repository.run("lock")
    (repository.root / "app" / "__init__.py").write_text("raise RuntimeError")
    assert repository.run("diff", "--locked").code == 1


def test_one_direction(repository: Repository) -> None:
    """--direction judges one direction alone."""
    repository.change("max_length=100", "max_length=40")
    assert repository.run("diff", "--direction", "response").code == 0
    assert repository.run("diff", "--direction", "request").code == 1


# -- the lock


def test_stale_lock(repository: Repository) -> None:
    """--check says what differs and exits with 1, with and without an import."""
    repository.change("max_length=100", "max_length=40")
    ran = repository.run("lock", "--check")
    assert ran.code == 1
    assert '-  field "name": {"kind": "string", "max_length": 100}' in ran.out
    assert '+  field "name": {"kind": "string", "max_length": 40}' in ran.out
    assert ran.out.endswith("schema.lock is stale. Write it again, and commit it: otel-schema lock\n")
    ran = repository.run("lock", "--check", "--no-import")
    assert (ran.code, ran.out.splitlines()[0]) == (1, "app/schemas.py: app.schemas:Lead was changed")
    repository.change("class Lead", "class Person")
    assert "app.schemas:Lead is no longer there" in repository.run("lock", "--check", "--no-import").out
    repository.file.write_text("class")
    assert "is in a file that is not valid Python" in repository.run("lock", "--check", "--no-import").out
    repository.file.unlink()
    assert "was in a file that no longer exists" in repository.run("lock", "--check", "--no-import").out


def test_the_same_lock_everywhere(repository: Repository) -> None:
    """Two processes with two hash seeds write the same lock, whatever the order of the classes."""
    text = (repository.root / "schema.lock").read_text()
    for seed in ("1", "2"):
        assert repository.run("lock", PYTHONHASHSEED=seed).out.endswith("unchanged\n")
    assert (repository.root / "schema.lock").read_text() == text


def test_a_proxy_among_the_variables(repository: Repository) -> None:
    """A variable that raises at every question, as Flask's current_app does, keeps no schema from the lock."""
    repository.change(
        "class Company",
        "class Proxy:\n    def __getattribute__(self, name):\n        raise RuntimeError\n\n"
        "proxy = Proxy()\n\nclass Company",
    )
    repository.change("from pydantic", "import fastapi, jsonschema, sqlalchemy\nfrom pydantic")
    assert repository.run("lock")[:2] == (0, "schema.lock: 2 schemas, 0 tables, 0 migration heads, unchanged\n")


def test_modules_from_pyproject(repository: Repository) -> None:
    """pyproject.toml names modules, lock and migrations."""
    (repository.root / "migrations").mkdir()
    (repository.root / "migrations" / "20260101_a.sql").write_text("-- migrate:up")
    (repository.root / "pyproject.toml").write_text(
        '[tool.otel-schema]\nmodules = ["app.*"]\nlock = "api.lock"\nmigrations = ["migrations"]\n'
    )
    assert repository.run("lock").out == "api.lock: 2 schemas, 0 tables, 1 migration head\n"
    assert 'heads dbmate migrations: ["20260101"]' in (repository.root / "api.lock").read_text()


def test_schema_that_cannot_be_read_is_left_out(repository: Repository) -> None:
    """A model that nothing can validate with does not keep the others from the lock, and is named."""
    repository.change("class Lead", "class Open(BaseModel):\n    x: 'Unknown'\n\nclass Lead")
    for command, out in (("lock", "schema.lock: 2 schemas"), ("diff", "no change (2 schemas compared)")):
        ran = repository.run(command)
        assert (ran.code, out in ran.out) == (0, True)
        assert ran.err.startswith("warning: app.schemas:Open is left out, because it cannot be read: TypeError: app.s")


# -- what could not be compared

COMPATIBLE = re.compile(r"compatible|no change|nothing|fine\b|\bok\b|✓|up to date|0 breaking", re.IGNORECASE)


NARROWED = "c6a4aefccc21"
"""The fingerprint of a name that may have 40 characters now, and no longer 100."""


def damaged(repository: Repository, text: str) -> None:
    (repository.root / "schema.lock").write_text(text)


ERRORS: dict[str, tuple[Any, list[str], str]] = {
    "no ref": (None, ["diff", "nope"], "nope is neither a ref of this repository nor a file: fetch it"),
    "no option as ref": (None, ["diff", "--", "--output=x"], "--output=x is neither a ref"),
    "lock that is no text": (
        lambda r: (r.root / "schema.lock").write_bytes(b"\xff\xfe"),
        ["diff", "--locked"],
        "schema.lock is not a lock file: it is not text in UTF-8. Write it: otel-schema lock",
    ),
    "no lock at that ref": (
        lambda r: (r.git("rm", "-q", "--cached", "schema.lock"), r.git("commit", "-q", "-m", "x")),
        ["diff", "HEAD"],
        "schema.lock is not in HEAD: nothing to compare with. Commit one there first: otel-schema lock",
    ),
    "no repository": (
        lambda r: (r.root / ".git").rename(r.root / "git"),
        ["diff"],
        "is not in a Git repository: give two lock files",
    ),
    "import failed": (
        lambda r: r.change("from pydantic", "import nowhere\nfrom pydantic"),
        ["diff"],
        "cannot import app.schemas: ModuleNotFoundError: No module named 'nowhere'. Install what it needs",
    ),
    "import ends the process": (
        lambda r: r.change("from pydantic", "raise SystemExit(0)\nfrom pydantic"),
        ["diff"],
        "cannot import app.schemas: SystemExit: 0.",
    ),
    "module not there": (None, ["diff", "-m", "other"], "cannot import other: ModuleNotFoundError: No module named"),
    "wrong directory": (
        None,
        ["lock", "other"],
        "Run this in the directory that contains it, or give that directory with --app-dir.",
    ),
    "no package": (None, ["lock", "app.schemas.*"], "app.schemas is not a package: name it without `.*`"),
    "schema cannot be read": (
        lambda r: r.change("class Lead(BaseModel):", "class Lead(BaseModel):\n    other: 'Unknown'"),
        ["diff"],
        "cannot compare app.schemas:Lead: the lock has it, but it cannot be read now: TypeError: app.schemas:Lead is",
    ),
    "library missing": (
        lambda r: (
            damaged(r, (r.root / "schema.lock").read_text().replace('"pydantic"', '"marshmallow"')),
            r.commit(),
            (r.root / "marshmallow.py").write_text("raise ImportError"),
            (r.root / "sitecustomize.py").write_text(
                "import importlib.util as u\nf = u.find_spec\n"
                "u.find_spec = lambda name, *a: None if name == 'marshmallow' else f(name, *a)\n"
            ),
        ),
        ["diff"],
        "the old lock contains schemas of marshmallow, which is not installed here: install it, then run diff again",
    ),
    "not a lock": (lambda r: damaged(r, "hello"), ["diff", "--locked"], "schema.lock is not a lock file: its"),
    "lock of another format": (
        lambda r: damaged(r, "# schema.lock 9: x"),
        ["diff", "--locked"],
        "this version of otel-schema does not read the format of schema.lock",
    ),
    "lock with a conflict": (
        lambda r: damaged(r, (r.root / "schema.lock").read_text().replace("modules:", "<<<<<<< ours\nmodules:")),
        ["diff", "--locked"],
        "schema.lock is damaged at line 3: a merge conflict. Write it again: otel-schema lock",
    ),
    "lock with a damaged line at that ref": (
        lambda r: (damaged(r, (r.root / "schema.lock").read_text().replace('{"kind"', '{"kin"', 1)), r.commit()),
        ["diff", "HEAD", "schema.lock"],
        "schema.lock at HEAD is damaged at line ",
    ),
    "lock at that ref in another encoding": (
        lambda r: ((r.root / "schema.lock").write_bytes(b"# schema.lock 1: \xff"), r.commit()),
        ["diff", "HEAD", "schema.lock"],
        "printed no UTF-8",
    ),
    "lock with a damaged line": (
        lambda r: damaged(r, (r.root / "schema.lock").read_text().replace('{"kind"', '{"kin"', 1)),
        ["diff", "--locked"],
        "schema.lock is damaged at line ",
    ),
    "lock not there": (lambda r: (r.root / "schema.lock").unlink(), ["diff", "--locked"], "Write it: otel-schema lock"),
    "check without a lock": (
        lambda r: (r.root / "schema.lock").unlink(),
        ["lock", "--check", "app.schemas"],
        "schema.lock does not exist. Write it: otel-schema lock",
    ),
    "check of the source without a lock": (
        lambda r: (r.root / "schema.lock").unlink(),
        ["lock", "--check", "--no-import"],
        "schema.lock does not exist. Write it: otel-schema lock",
    ),
    "no modules": (lambda r: (r.root / "schema.lock").unlink(), ["lock"], "no module is named: name the modules"),
    "no import without check": (None, ["lock", "--no-import"], "--no-import works only with --check"),
    "pyproject is damaged": (
        lambda r: (r.root / "pyproject.toml").write_text("[tool.otel-schema]\nx ="),
        ["diff"],
        "pyproject.toml is not valid TOML",
    ),
    "pyproject has the wrong type": (
        lambda r: (r.root / "pyproject.toml").write_text('[tool.otel-schema]\nmodules = "app"'),
        ["diff"],
        "pyproject.toml: [tool.otel-schema] modules must be a list",
    ),
    "pyproject pairs with a list": (
        lambda r: (r.root / "pyproject.toml").write_text('[tool.otel-schema.tables]\nLeadIn = ["leads"]'),
        ["diff", "--locked"],
        '[tool.otel-schema.tables] must contain lines such as "app.schemas:LeadIn" = "leads"',
    ),
    "pyproject accepts a text": (
        lambda r: (r.root / "pyproject.toml").write_text('[tool.otel-schema]\naccept = ["length"]'),
        ["diff", "--locked"],
        "each [[tool.otel-schema.accept]] must be a table with a reason",
    ),
    "migrations cannot be read": (
        lambda r: (
            (r.root / "migrations").mkdir(),
            (r.root / "migrations" / "a.py").mkdir(),
            (r.root / "pyproject.toml").write_text('[tool.otel-schema]\nmigrations = ["migrations"]'),
        ),
        ["lock"],
        "/migrations: [Errno 21] Is a directory",
    ),
    "migrations not there": (
        lambda r: (r.root / "pyproject.toml").write_text('[tool.otel-schema]\nmigrations = ["nowhere"]'),
        ["lock"],
        "cannot read migrations in",
    ),
    "approvals are damaged": (
        lambda r: (r.root / "schema.approvals").write_text("abc | - | Ann"),
        ["diff"],
        "schema.approvals, line 1: this line must have four parts",
    ),
    "approval without a reason": (None, ["diff", "--locked", "--approve", "0" * 12], "--approve needs a reason"),
    "approval of nothing": (
        None,
        ["diff", "--locked", "--approve", "0" * 12, "--reason", "x", "--by", "Ann"],
        f"no finding has the fingerprint {'0' * 12}: copy one from the output of diff",
    ),
    "approval by nobody": (
        None,
        ["diff", "--locked", "--approve", "0" * 12, "--reason", "x"],
        "--approve needs a name: add --by NAME",
    ),
    "reason of two lines": (
        lambda r: damaged(r, (r.root / "schema.lock").read_text().replace('"max_length": 100', '"max_length": 40')),
        ["diff", "HEAD", "schema.lock", "--approve", NARROWED, "--reason", "x\ny", "--by", "Ann"],
        "--by and --reason must each be one line of printable text",
    ),
    "approval until no date": (
        None,
        ["diff", "--locked", "--approve", "0" * 12, "--reason", "x", "--by", "Ann", "--until", "soon"],
        "--until soon is not a date such as 2027-01-31",
    ),
    "approval that ended": (
        None,
        ["diff", "--locked", "--approve", "0" * 12, "--reason", "x", "--by", "Ann", "--until", "2020-01-31"],
        "--until 2020-01-31 is in the past",
    ),
    "reason alone": (
        None,
        ["diff", "--locked", "--reason", "x"],
        "--reason, --until and --by work only with --approve FINGERPRINT: add it",
    ),
    "no Prometheus": (None, ["diff", "--locked", "--prometheus", "127.0.0.1:9"], "cannot read http://127.0.0.1:9"),
    "no duration": (
        None,
        ["diff", "--locked", "--prometheus", "127.0.0.1:9", "--since", "week"],
        "--since: 'week' is not a duration",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_what_could_not_be_compared(repository: Repository, case: str) -> None:
    """Exit code 2, a message that names the thing and the fix, and no word that reads as a verdict."""
    arrange, arguments, message = ERRORS[case]
    if arrange is not None:
        arrange(repository)
    path = {"PYTHONPATH": str(repository.root)} if case == "library missing" else {}
    imports = arguments[:1] == ["lock"] or "-m" in arguments or arguments == ["diff"]
    ran = repository.run(*arguments, **path) if imports else repository.here(*arguments)
    assert ran.code == 2, ran
    assert message in ran.err
    assert ran.out == ""
    assert not COMPATIBLE.search(ran.err.replace("nothing to compare with", ""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{header}\n  fields: []", "line 2: the line belongs to no schema"),
        ("{header}\nschema app:Lead\n  kind", "line 3: the line has no `: `"),
        ("{header}\nschema app:Lead\n  kind: {{", "line 3: "),
        ("{header}\nschema app:Lead\n  number: 3", "line 3: a key is unknown, missing"),
        ("{header}\nschema app:Lead\n  kind: 5\n", "line 3: kind cannot be 5"),
        ('{header}\nschema app:Lead\n  field "a": {{"kind": "enum", "values": 7}}', "line 3: values cannot be 7"),
        ("{header}\nlead app:Lead", "line 2: a lock file has no key 'lead'"),
    ],
)
def test_damaged_locks(text: str, said: str) -> None:
    """A lock that cannot be read is an error that names its line and what is wrong there."""
    header = lockfile.dumps(lockfile.Lock()).splitlines()[0]
    with pytest.raises(lockfile.LockError, match=re.escape(f"x.lock is damaged at {said}")):
        lockfile.loads(text.format(header=header), "x.lock")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("abc | - | Ann | why", "'abc' is not a fingerprint. Copy one that `otel-schema diff` prints"),
        (f"{NARROWED} | - | | why", "who approved it is missing"),
        (f"{NARROWED} | - | Ann |", "the reason is missing"),
        (f"{NARROWED} | soon | Ann | why", "'soon' is neither a date such as 2027-01-31 nor -"),
    ],
)
def test_damaged_approvals(line: str, said: str) -> None:
    """A line that approves nothing is an error that names it, and what it needs."""
    with pytest.raises(approvals.ApprovalError, match=re.escape(f"schema.approvals, line 2: {said}")):
        approvals.loads(f"# approved\n{line}\n")


def test_a_fault_of_ours(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected is shown whole, and no exit code of a verdict."""
    monkeypatch.setattr(approvals, "loads", lambda *_: 1 / 0)
    (repository.root / "schema.approvals").touch()
    ran = repository.here("diff", "--locked")
    assert (ran.code, ran.out) == (2, "")
    assert "ZeroDivisionError" in ran.err
    assert "this is a bug in otel-schema: please report it with the lines above" in ran.err


def test_git_is_missing(repository: Repository) -> None:
    """Without Git the error says so."""
    ran = repository.run("diff", PATH="/nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "git is not installed, or not on the PATH" in ran.err


# -- approvals


def test_approved_finding(repository: Repository) -> None:
    """An approved finding is printed as approved, with its reason, and no longer counts; the next commit has it too."""
    repository.change("max_length=100", "max_length=40")
    (fingerprint,) = [each["fingerprint"] for each in repository.findings()["findings"] if each["level"] == "error"]
    ran = repository.run("diff", "--approve", fingerprint, "--reason", "no client sends more", "--by", "Ann Lee")
    assert ran.code == 0
    assert "approved   request   name: length" in ran.out
    assert "approved by Ann Lee: no client sends more" in ran.out
    assert f"{fingerprint} | - | Ann Lee | no client sends more\n" in (repository.root / "schema.approvals").read_text()
    repository.change("class Company", "# moved down\n\n\nclass Company")
    ran = repository.run("diff", "--format", "github")
    assert (ran.code, "::warning file=app/schemas.py" in ran.out, "::error" in ran.out) == (0, True, False)
    assert "::approved by Ann Lee: no client sends more: name: length: at most 100 → at most 40." in ran.out
    repository.change("max_length=40", "max_length=30")
    assert repository.run("diff").code == 1, "another value is another finding"


def test_order_is_no_part_of_a_finding() -> None:
    """A finding has one text, and so one fingerprint, whatever the order of its values; other values have another."""
    many = tuple("abcdefghijkl")
    assert describe.values_text(many) == describe.values_text(many[::-1]) != describe.values_text((*many[:-1], "z"))
    members = TypeSpec(kind="integer"), TypeSpec(kind="string")
    texts = [describe.type_text(TypeSpec(kind="union", members=each)) for each in (members, members[::-1])]
    assert texts[0] == texts[1]


def test_approval_of_what_is_gone(repository: Repository) -> None:
    """An approval whose finding is gone is reported."""
    (repository.root / "schema.approvals").write_text("0123456789ab | - | Ann | why\n")
    ran = repository.run("diff")
    assert (ran.code, "the approval of 0123456789ab (why) matches no finding any more" in ran.out) == (0, True)


def test_approval_of_the_other_direction(repository: Repository) -> None:
    """With --direction, an approval of a finding in the other direction is not reported as one of nothing."""
    repository.change("max_length=100", "max_length=40")
    assert repository.run("diff", "--approve", NARROWED, "--reason", "x", "--by", "Ann").code == 0
    ran = repository.run("diff", "--direction", "response")
    assert (ran.code, "matches no finding" in ran.out) == (0, False)


def test_tables_are_counted_as_tables(repository: Repository) -> None:
    """The last line counts schemas and tables apart, and a table's findings are of what old code writes and reads."""
    old = (repository.root / "schema.lock").read_text()
    table = '\ntable leads\n  library: "sqlalchemy"\n  kind: "object"\n'
    column = '  field "id": {"kind": "integer"}\n'
    (repository.root / "old.lock").write_text(f"{old}{table}{column}")
    (repository.root / "new.lock").write_text(f"{old}{table}")
    out = repository.here("diff", "old.lock", "new.lock").out
    assert out.endswith("(2 schemas and 1 table compared)\n")
    assert "\n  BREAKING   write     id: column removed: " in out
    assert "\n  BREAKING   read      id: column removed: " in out


def test_approval_that_ended(repository: Repository) -> None:
    """An approval counts through its last day, and not after it."""
    repository.change("max_length=100", "max_length=40")
    (fingerprint,) = [each["fingerprint"] for each in repository.findings()["findings"] if each["level"] == "error"]
    for days, code in ((0, 0), (-1, 1)):
        last = (date.today() + timedelta(days)).isoformat()
        (repository.root / "schema.approvals").write_text(f"{fingerprint} | {last} | Ann | why\n")
        ran = repository.run("diff")
        assert (ran.code, "and no longer counts" in ran.out) == (code, code == 1)


def test_approval_that_is_not_needed(repository: Repository) -> None:
    """What breaks nothing cannot be approved."""
    repository.change("max_length=100", "max_length=40")
    (fingerprint,) = [each["fingerprint"] for each in repository.findings()["findings"] if each["level"] == "note"]
    ran = repository.run("diff", "--approve", fingerprint, "--reason", "x", "--by", "Ann")
    assert (ran.code, "needs no approval, because it breaks nothing" in ran.err) == (2, True)


# -- formats


def test_json_fits_its_schema(repository: Repository) -> None:
    """What --format json prints fits the published JSON Schema, in each result."""
    validator = jsonschema.Draft202012Validator(FINDINGS)
    validator.validate(repository.findings())
    repository.change("max_length=100", "max_length=40")
    repository.change("note:", "remark:")
    report = repository.findings()
    validator.validate(report)
    assert (report["result"], report["exit_code"]) == ("breaking", 1)


def test_github_shows_ten(repository: Repository) -> None:
    """Of more than ten errors the worst come first, and the tenth says how many more there are."""
    fields = "".join(f"    f{number}: int\n" for number in range(14))
    repository.change("    note: str | None = None\n", f"    note: str | None = None\n{fields}")
    ran = repository.run("diff", "--format", "github")
    errors = [line for line in ran.out.splitlines() if line.startswith("::error")]
    assert len(errors) == 10
    assert errors[0].startswith("::error file=app/schemas.py,line=13,title=app.schemas%3ALead request::f0: field added")
    assert errors[-1].endswith("%0Aand 4 more: see the log, or run otel-schema diff")
    assert ran.out.count("field added: integer, required") == 14


def test_junit_is_read(repository: Repository) -> None:
    """JUnit has a case a schema, and a failure where it breaks."""
    repository.change("max_length=100", "max_length=40")
    tree = ElementTree.fromstring(repository.run("diff", "--format", "junit").out)
    cases = {case.get("name"): case.find("failure") is not None for case in tree.iter("testcase")}
    assert cases == {"app.schemas:Company": False, "app.schemas:Lead": True}


def test_markdown_is_a_table(repository: Repository) -> None:
    """Markdown has a row a finding, and a bar in a value does not make another column."""
    repository.change('Literal["web", "fair"]', 'Literal["web", "a|b"]')
    out = repository.run("diff", "--format", "markdown").out
    rows = [line for line in out.splitlines() if line.startswith("| BREAKING")]
    assert len(rows) == 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)


BASE = """
class Base(BaseModel):
    id: int
    @field_validator("id")
    @classmethod
    def positive(cls, value: int) -> int:
        assert value > 0
        return value

class One(Base): pass
class Two(Base): pass
class Three(Base): pass
class Four(Base): pass
"""


def test_code_that_many_schemas_share(repository: Repository) -> None:
    """A validator of a base class that changed is one finding to read and to approve, and one a schema for machines."""
    repository.file.write_text(LEAD + BASE)
    assert repository.run("lock").code == 0
    repository.commit()
    repository.change("value > 0", "value > 1")
    findings = repository.findings()["findings"]
    assert len(findings) == 10, "five schemas, two directions"
    for format_ in ("text", "github", "markdown"):
        ran = repository.run("diff", "--format", format_)
        assert (ran.code, ran.out.count("positive@"), ran.out.count("more (approve one")) == (3, 4, 2), ran
    assert (
        "the same change in 4 more (approve one, and all are approved): app.schemas:Four, app.schemas:One, app.s"
        in ran.out
    )
    shown = [each["fingerprint"] for each in findings if each["subject"] == "app.schemas:Base"]
    approve = [f"--approve={each}" for each in shown]
    assert repository.run("diff", *approve, "--reason", "no id was 1", "--by", "Ann").code == 0
    assert len((repository.root / "schema.approvals").read_text().split("| Ann |")) == 11


def test_schemas_that_no_route_uses(repository: Repository) -> None:
    """With routes, a schema that none uses says so; without, nothing is said of routes."""
    repository.change("max_length=100", "max_length=40")
    assert "no route uses it" not in repository.run("diff").out
    (repository.root / "app" / "routes.py").write_text(
        "from fastapi import FastAPI\nfrom .schemas import Company\napp = FastAPI()\n"
        "@app.post('/')\ndef add(body: Company): ...\n"
    )
    ran = repository.run("diff", "-m", "app.routes")
    assert "app.schemas:Lead (app/schemas.py:" in ran.out
    assert re.search(r"^app.schemas:Lead .*, no route uses it$", ran.out, re.MULTILINE), ran.out
    report = repository.findings("-m", "app.routes")
    jsonschema.Draft202012Validator(FINDINGS).validate(report)
    assert {each["subject"] for each in report["findings"] if each.get("served") is False} == {"app.schemas:Lead"}
