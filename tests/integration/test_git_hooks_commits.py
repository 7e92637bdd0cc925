"""Git hooks, run by a real `git commit` in scratch repositories."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest

from tests.integration.git_repository import BIN, Repository

FINDINGS = json.loads((Path(__file__).parents[2] / "docs" / "findings.schema.json").read_text())
MODEL = "class Lead(Base):\n    __tablename__ = 'lead'\n    name = Column(String({}))\n"
DROP = 'op.drop_column("lead", "name")'
BACK = "op.add_column(0)"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A project with one migration on `main`, which is also `origin/main`, checked out on `feature`."""
    made = Repository(tmp_path / "my project")
    made.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
    made.write("migrations/env.py", "")
    made.write("app/models.py", MODEL.format(50))
    made.migration("0001", None)
    made.commit()
    made.git("update-ref", "refs/remotes/origin/main", "HEAD")
    made.git("checkout", "-q", "-b", "feature")
    return made


@pytest.fixture
def hooked(repository: Repository) -> Repository:
    """The same with our hooks."""
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 0, ran
    return repository


def test_a_commit_is_stopped(hooked: Repository) -> None:
    """A commit with a finding is stopped, with one line that says where, which code, what, and the fix."""
    hooked.migration("0002", "0001", DROP, back=BACK)
    ran = hooked.commit(code=1)
    # Git gives a hook's output to the terminal's error stream
    assert ran.err == (
        "migrations/versions/0002_change.py:5: destructive drops the column lead.name. If nothing needs this data any "
        "more, say so in this file: # otel-schema: allow destructive REASON\n"
        "otel-schema: 1 finding in 2 migrations\n"
    )
    hooked.migration("0002", "0001", DROP, back=BACK, head="# otel-schema: allow destructive nobody reads it\n")
    ran = hooked.commit()
    assert "destructive allowed by a comment in the file: drops the column lead.name" in ran.err
    assert "otel-schema: no finding, 1 allowed in 2 migrations" in ran.err


def test_nothing_is_imported_for_it(repository: Repository) -> None:
    """The check loads no application, no Alembic, SQLAlchemy or parser of SQL: what starts fast stays so."""
    repository.migration("0002", "0001", 'op.execute("SELECT 1")')
    program = (
        "import sys; sys.argv = ['otel-schema', 'hooks', 'check']\n"
        "from opentelemetry.instrumentation.schema.cli import main\n"
        "try: main()\n"
        "finally: print(*{'alembic', 'sqlalchemy', 'sqlglot', 'app', 'opentelemetry.sdk'} & {*sys.modules})"
    )
    ran = repository.run(sys.executable, "-c", program)
    assert ran == (0, "otel-schema: no finding in 2 migrations\n\n", "")


def test_other_commits_are_let_be(hooked: Repository) -> None:
    """A commit that touches nothing of this passes without a word."""
    hooked.write("README", "hello\n")
    assert hooked.commit() == (0, "", "")


def test_a_pull_request_meets_what_no_verify_let_through(hooked: Repository) -> None:
    """`--base` finds what `--no-verify` committed, and text, JSON, GitHub, JUnit and Markdown say so."""
    hooked.migration("0002", "0001", DROP, back=BACK)
    hooked.commit("change", 0, "--no-verify")
    hooked.write("README", "hello\n")
    hooked.commit()
    assert hooked.otel_schema("hooks", "check").code == 0, "as the next commit it is fine"
    said = {}
    for format_ in ("text", "json", "github", "junit", "markdown"):
        ran = hooked.otel_schema("hooks", "check", "--base", "origin/main", "--format", format_)
        assert (ran.code, ran.err) == (1, ""), ran
        said[format_] = ran.out
    assert said["text"].startswith("migrations/versions/0002_change.py:5: destructive drops the column lead.name. If")
    report = json.loads(said["json"])
    jsonschema.validate(report, FINDINGS)
    assert (report["command"], report["result"], report["exit_code"]) == ("hooks check", "findings", 1)
    assert report["merged"] == hooked.git("rev-parse", "origin/main").out.strip()
    assert [(each["code"], each["file"], each["line"]) for each in report["findings"]] == [
        ("destructive", "migrations/versions/0002_change.py", 5)
    ]
    assert said["github"].startswith(
        "::error file=migrations/versions/0002_change.py,line=5,title=destructive::drops the column lead.name. If"
    )
    suite = ElementTree.fromstring(said["junit"])[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite.find("testcase/failure").get("type") == "destructive"  # pyright: ignore[reportOptionalMemberAccess]
    assert "| error | `migrations/versions/0002_change.py:5` | `destructive` drops the column" in said["markdown"]


def test_pre_commits_range_is_a_base(hooked: Repository) -> None:
    """`pre-commit run --from-ref` sets a variable, and the check takes it for the base."""
    hooked.migration("0002", "0001", DROP, back=BACK)
    hooked.commit("change", 0, "--no-verify")
    assert hooked.otel_schema("hooks", "check").code == 0
    assert hooked.otel_schema("hooks", "check", PRE_COMMIT_FROM_REF="origin/main").code == 1


def test_amend(hooked: Repository) -> None:
    """What is not merged may be amended: the migration of the last commit, or a model whose migration comes with it."""
    hooked.write("app/models.py", MODEL.format(60))
    assert "no-migration the columns of Lead changed" in hooked.commit(code=1).err
    hooked.migration("0002", "0001")
    hooked.commit()
    hooked.migration("0002", "0001", 'op.create_index("other", "lead", ["name"])')
    hooked.git("commit", "-q", "--amend", "--no-edit")
    hooked.write("app/models.py", MODEL.format(70))
    assert "no-migration" in hooked.git("commit", "-q", "--amend", "--no-edit", code=1).err


def test_merge_of_two_heads(hooked: Repository) -> None:
    """A merge that would have two heads is stopped, whether Git makes it alone or after a conflict."""
    hooked.migration("0002", "0001")
    hooked.write("notes", "mine\n")
    hooked.commit()
    hooked.git("checkout", "-q", "main")
    hooked.migration("0003", "0001")
    hooked.commit("change", 0, "--no-verify")
    hooked.git("checkout", "-q", "feature")
    ran = hooked.git("merge", "main", code=1)
    assert "several-heads" in ran.err
    assert "0002" in ran.err
    assert "0003 " in ran.err
    hooked.migration("0004", None, "pass", back="pass")
    joined = hooked.root / "migrations/versions/0004_change.py"
    joined.write_text(joined.read_text().replace("down_revision = None", 'down_revision = ("0002", "0003")'))
    hooked.git("add", "-A")
    hooked.commit()
    hooked.git("checkout", "-q", "main")
    hooked.write("notes", "theirs\n")
    hooked.migration("0005", "0003")
    hooked.commit("change", 0, "--no-verify")
    hooked.git("checkout", "-q", "feature")
    assert "CONFLICT" in hooked.git("merge", "main", code=1).out
    hooked.write("notes", "both\n")
    assert "several-heads" in hooked.commit(code=1).err


def test_merge_of_the_trunk(hooked: Repository) -> None:
    """What a merge brings from the trunk is not the branch's: no model without a migration, no edit, no loss."""
    hooked.write("notes", "mine\n")
    hooked.commit()
    hooked.git("checkout", "-q", "main")
    hooked.migration("0001", None, 'op.create_index("mended", "lead", ["name"])')
    hooked.migration("0002", "0001", DROP, back="pass")
    hooked.write("app/models.py", MODEL.format(60))
    hooked.commit("change", 0, "--no-verify")
    hooked.git("update-ref", "refs/remotes/origin/main", "HEAD")
    hooked.git("checkout", "-q", "feature")
    assert hooked.git("merge", "main").code == 0
    hooked.git("reset", "-q", "--hard", "HEAD^")
    hooked.git("merge", "-q", "--no-commit", "main")
    hooked.migration("0002", "0001", DROP, back="op.add_column(0)")
    assert hooked.codes() == ["merged-edited", "destructive"], "what the merge brings is merged, and edited in it"
    hooked.git("checkout", "-q", "main", "--", "migrations")
    assert hooked.commit().code == 0


def test_rebase(hooked: Repository) -> None:
    """A rebase is not disturbed, also not one that stops at each commit."""
    hooked.migration("0002", "0001")
    hooked.commit()
    hooked.write("notes", "mine\n")
    hooked.commit()
    hooked.git("checkout", "-q", "main")
    hooked.write("README", "hello\n")
    hooked.commit()
    hooked.git("update-ref", "refs/remotes/origin/main", "HEAD")
    hooked.git("checkout", "-q", "feature")
    hooked.git("rebase", "-q", "main")
    hooked.git("rebase", "-q", "-i", "HEAD~2", GIT_SEQUENCE_EDITOR="sed -i s/pick/edit/")
    hooked.migration("0002", "0001", 'op.create_index("other", "lead", ["name"])')
    hooked.git("commit", "-q", "--amend", "--no-edit")
    hooked.git("rebase", "--continue")
    hooked.git("rebase", "--continue")
    assert hooked.codes("main") == []
    hooked.migration("0002", "0001", DROP, back=BACK)
    assert hooked.commit(code=1).code == 1


def test_linked_work_tree(hooked: Repository, tmp_path: Path) -> None:
    """The hooks of a repository run in its linked work trees, and can be installed and removed from there."""
    hooked.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"), "main")
    linked = Repository(tmp_path / "linked", new=False)
    linked.migration("0002", "0001", DROP, back=BACK)
    assert "destructive" in linked.commit(code=1).err
    assert linked.otel_schema("hooks", "uninstall").code == 0
    assert not (hooked.root / ".git/hooks/pre-commit").exists()
    assert linked.otel_schema("hooks", "install").code == 0
    assert (hooked.root / ".git/hooks/pre-commit").exists()
    assert "destructive" in linked.commit(code=1).err


def test_partial_staging(hooked: Repository) -> None:
    """What is staged decides, and not what the editor shows; what is left out is said."""
    hooked.migration("0002", "0001", DROP, back=BACK)
    hooked.migration("0002", "0001", stage="no")
    ran = hooked.commit(code=1)
    assert "destructive" in ran.err
    assert "0002_change.py:1: not-staged has changes that this commit leaves out. Stage it: git add" in ran.err
    hooked.git("add", "-A")
    hooked.migration("0002", "0001", DROP, back=BACK, stage="no")
    assert set(hooked.codes()) == {"not-staged"}
    assert "destructive" in hooked.commit("change", 1, "-a").err


def test_commit_of_named_files(hooked: Repository) -> None:
    """`git commit FILE` commits what it names, and a migration that is staged beside it is left out."""
    hooked.write("app/models.py", MODEL.format(60))
    hooked.migration("0002", "0001")
    ran = hooked.git("commit", "-q", "-m", "change", "app/models.py", code=1)
    assert "app/models.py:1: no-migration the columns of Lead changed, but no migration was added. Write one" in ran.err
    assert "0002_change.py:1: not-staged is a migration that this commit leaves out" in ran.err
    hooked.commit()


def test_intent_to_add(hooked: Repository) -> None:
    """A file of which Git has the name alone, by `git add -N`, is not staged."""
    hooked.write("app/models.py", MODEL.format(60))
    hooked.migration("0002", "0001", stage="no")
    hooked.git("add", "-N", "migrations")
    assert hooked.codes() == ["no-migration", "not-staged"]


def test_unrelated_commits_are_only_warned(hooked: Repository) -> None:
    """A migration that lies about does not stop a commit that touches no table and no migration."""
    hooked.migration("0002", "0001", stage="no")
    hooked.write("README", "hello\n")
    ran = hooked.commit()
    assert "0002_change.py:1: not-staged warning: is a migration that this commit leaves out" in ran.err
    hooked.write(".gitignore", "migrations/versions/0002*\n")
    assert hooked.commit() == (0, "", "")


@pytest.mark.parametrize("name", ["0002 with spaces.py", "0002_größe_лид.py", '0002_"quoted".py', "0002_'one.py"])
def test_file_names(hooked: Repository, name: str) -> None:
    """Names with spaces, quotes and letters of other alphabets are read and said as they are."""
    hooked.migration("0002", "0001", DROP, back=BACK, name=name)
    assert f"migrations/versions/{name}:5: destructive" in hooked.commit(code=1).err
    assert name in hooked.otel_schema("hooks", "check", "--base", "origin/main").out


def test_line_ends(hooked: Repository) -> None:
    """Files with CRLF are read, and converting the line ends of a merged one is no edit."""
    merged = hooked.root / "migrations/versions/0001_change.py"
    hooked.write("migrations/versions/0001_change.py", merged.read_bytes().replace(b"\n", b"\r\n"))
    assert hooked.codes() == []
    file = hooked.migration("0002", "0001", DROP, back=BACK, head="# otel-schema: allow destructive unread\n")
    hooked.write("migrations/versions/0002_change.py", file.read_bytes().replace(b"\n", b"\r\n"))
    hooked.commit()
    hooked.git("config", "core.autocrlf", "true")
    file = hooked.migration("0003", "0002", DROP, back=BACK)
    hooked.write("migrations/versions/0003_change.py", file.read_bytes().replace(b"\n", b"\r\n"))
    assert "0003_change.py:5: destructive" in hooked.commit(code=1).err


def test_first_commit(tmp_path: Path) -> None:
    """Before the first commit everything is new, and nothing is merged."""
    made = Repository(tmp_path / "new")
    made.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
    made.write("migrations/env.py", "")
    made.migration("0001", None, DROP, back="pass")
    assert made.codes() == ["destructive", "no-downgrade"]
    assert made.otel_schema("hooks", "install").code == 0
    assert made.commit(code=1).code == 1


def test_sha256(tmp_path: Path) -> None:
    """A repository whose objects have SHA-256 names is read too."""
    made = Repository(tmp_path / "long", new=False)
    made.root.mkdir()
    made.git("init", "-q", "-b", "main", "--object-format=sha256")
    made.migration("0001", None)
    made.commit()
    made.git("checkout", "-q", "-b", "feature")
    made.migration("0001", None, DROP, back=BACK)
    assert made.codes() == ["merged-edited", "destructive"]


def test_without_a_trunk_nothing_is_merged(repository: Repository) -> None:
    """On the only branch of a repository without a remote, migrations may be edited."""
    repository.git("update-ref", "-d", "refs/remotes/origin/main")
    repository.git("checkout", "-q", "main")
    repository.migration("0001", None, 'op.create_index("other", "lead", ["name"])')
    assert repository.codes() == []
    repository.git("checkout", "-q", "feature")
    assert repository.codes() == ["merged-edited"], "the local main is merged while another branch is checked out"


def test_setting_of_the_trunk(repository: Repository) -> None:
    """`[tool.otel-schema] base` says which ref holds what is merged."""
    repository.write("pyproject.toml", '[tool.otel-schema]\nbase = "feature"\n')
    repository.migration("0002", "0001")
    repository.commit()
    repository.migration("0002", "0001", 'op.create_index("other", "lead", ["name"])')
    ran = repository.otel_schema("hooks", "check")
    assert ran.code == 1
    assert (
        "0002_change.py:1: merged-edited is merged, but edited here: a database that ran 0002 does not run it"
        in ran.out
    )


def test_projects_that_never_roll_back(repository: Repository) -> None:
    """With `downgrades = false` no migration needs a downgrade, and rollback is off and says so."""
    repository.migration("0002", "0001", back="pass")
    assert (
        "no-downgrade downgrade() does nothing, but upgrade() changes something"
        in repository.otel_schema("hooks", "check").out
    )
    repository.write("pyproject.toml", "[tool.otel-schema]\ndowngrades = false\n")
    assert repository.otel_schema("hooks", "check").code == 0
    ran = repository.otel_schema("rollback", "--url", "sqlite:///x.db")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: this project has no downgrades (pyproject.toml")
    repository.write("pyproject.toml", '[tool.otel-schema]\ndowngrades = "no"\n')
    ran = repository.otel_schema("hooks", "check")
    assert ran == (2, "", "Error: pyproject.toml: [tool.otel-schema] downgrades must be a bool\n")


def test_the_version_tables_name(repository: Repository) -> None:
    """The version table is the one that env.py configures."""
    repository.write("migrations/env.py", "context.configure(version_table='our_versions')\n")
    repository.migration("0002", "0001", 'op.execute("DELETE FROM our_versions")')
    ran = repository.otel_schema("hooks", "check")
    assert "0002_change.py:5: version-table uses our_versions, in which Alembic records the revision" in ran.out


# -- what cannot be looked at


def _fails(ran: object, *words: str) -> None:
    code, out, err = ran  # pyright: ignore[reportGeneralTypeIssues]
    assert (code, out) == (2, "")
    assert re.fullmatch(r"Error: [^\n]+\n", err)
    for word in words:
        assert word in err


def test_no_repository(tmp_path: Path) -> None:
    """Outside of a work tree the check, install and uninstall end with 2 and say so."""
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    outside = Repository(tmp_path, new=False)
    for command in ("check", "install", "uninstall"):
        _fails(outside.otel_schema("hooks", command, GIT_CEILING_DIRECTORIES="/"), "is not in a Git work tree")


def test_no_git(repository: Repository) -> None:
    """Without Git on the PATH the check ends with 2 and says so."""
    _fails(repository.otel_schema("hooks", "check", PATH="/nowhere"), "git is not installed, or not on the PATH")


def test_nothing_to_look_at(tmp_path: Path) -> None:
    """A project without migrations and lock ends with 2, and is not taken for one without a finding."""
    made = Repository(tmp_path / "empty")
    _fails(made.otel_schema("hooks", "check"), "no migrations and no schema.lock in", "[tool.otel-schema] migrations")


def test_refs_that_are_not_there(repository: Repository, tmp_path: Path) -> None:
    """An unknown base, and one without a common commit as in a shallow clone, end with 2 and the fix."""
    _fails(
        repository.otel_schema("hooks", "check", "--base", "origin/gone"),
        "origin/gone is not a ref of this repository: fetch it (git fetch origin), or name another",
    )
    repository.git("commit", "-q", "--allow-empty", "-m", "empty")
    repository.git(
        "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{repository.root}", str(tmp_path / "s")
    )
    shallow = Repository(tmp_path / "s", new=False)
    _fails(
        shallow.otel_schema("hooks", "check", "--base", "origin/main"), "no commit in common", "git fetch --unshallow"
    )


# -- install and uninstall


def _tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = (each for each in directory.rglob("*") if each.is_file())
    return {str(each.relative_to(directory)): (each.stat().st_mode, each.read_bytes()) for each in files}


def test_uninstall_restores(repository: Repository) -> None:
    """A hook that was there runs first, with its arguments and input, and is the same again after uninstall."""
    hooks = repository.root / ".git/hooks"
    old = hooks / "pre-commit"
    old.write_bytes(b"#!/usr/bin/env python3\nprint('old hook')\n")
    old.chmod(0o750)
    before = _tree(hooks)
    ran = repository.otel_schema("hooks", "install")
    assert (ran.code, ran.err) == (0, "")
    assert "wrote" in ran.out
    assert "the hook that was there is now pre-commit.before-otel-schema, and runs first" in ran.out
    assert "wrote no pre-push hook, because there is no schema.lock. Write it: otel-schema lock" in ran.out
    assert repository.otel_schema("hooks", "install").code == 0, "again"
    repository.migration("0002", "0001", DROP, back=BACK)
    said = repository.commit(code=1).err
    assert said.startswith("old hook\n")
    assert "destructive" in said
    ran = repository.otel_schema("hooks", "uninstall")
    assert ran.out == f"restored {old}\nremoved {hooks / 'pre-merge-commit'}\n"
    assert _tree(hooks) == before
    assert repository.otel_schema("hooks", "uninstall") == (0, "found no hooks of otel-schema\n", "")


def test_the_old_hook_stops_first(hooked: Repository) -> None:
    """Where the hook that was there fails, ours does not run."""
    hooks = hooked.root / ".git/hooks"
    old = hooks / "pre-commit.before-otel-schema"
    old.write_text("#!/bin/sh\necho no\nexit 3\n")
    old.chmod(0o755)
    hooked.migration("0002", "0001", DROP, back=BACK)
    assert hooked.commit(code=1).err == "no\n"


def test_an_edited_hook_is_kept(hooked: Repository) -> None:
    """A hook of ours that somebody edited is not removed, and uninstall ends with 2."""
    hook = hooked.root / ".git/hooks/pre-commit"
    hook.write_text(hook.read_text() + "echo more\n")
    _fails(hooked.otel_schema("hooks", "uninstall"), "pre-commit: remove the added lines, then run this again")
    assert hook.exists()


def test_a_hook_in_the_way(repository: Repository) -> None:
    """A hook of another, where one was renamed already, is left alone, and install ends with 2."""
    hooks = repository.root / ".git/hooks"
    for name in ("pre-commit", "pre-commit.before-otel-schema"):
        (hooks / name).write_text("#!/bin/sh\n")
    _fails(repository.otel_schema("hooks", "install"), "pre-commit, and pre-commit.before-otel-schema exists too")


def test_without_the_program(hooked: Repository) -> None:
    """Where otel-schema is gone, the hook says so in a line and stops the commit."""
    hook = hooked.root / ".git/hooks/pre-commit"
    hook.write_text(hook.read_text().replace(str(BIN), "/nowhere"))
    hooked.write("README", "hello\n")
    ran = hooked.git("commit", "-m", "x", code=1, PATH="/usr/bin:/bin")
    assert ran.err == "otel-schema is not installed: install it, or remove pre-commit from Git's hooks\n"


def test_hooks_in_the_work_tree(repository: Repository) -> None:
    """With core.hooksPath in the work tree, three lines go to the start of each hook, and go again."""
    repository.git("config", "core.hooksPath", ".githooks")
    old = repository.write(".githooks/pre-commit", "#!/bin/sh\r\necho mine\nexit 0")
    old.chmod(0o755)
    before = _tree(old.parent)
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 0
    assert f"added three lines to {old}. Commit it, so that everybody has them" in ran.out
    assert f"{old} already has the lines" in repository.otel_schema("hooks", "install").out
    assert str(BIN) not in old.read_text(), "others have their programs elsewhere"
    old.write_bytes(old.read_bytes().replace(b"\r", b""))
    repository.migration("0002", "0001", DROP, back=BACK)
    ran = repository.git("commit", "-m", "x", code=1, PATH=f"{BIN}:{os.environ['PATH']}")
    assert "destructive" in ran.err
    assert "mine" not in ran.err
    old.write_bytes(old.read_bytes().replace(b"#!/bin/sh\n", b"#!/bin/sh\r\n"))
    assert repository.otel_schema("hooks", "uninstall").code == 0
    assert _tree(old.parent) == before


def test_hooks_that_are_no_shell_script(repository: Repository) -> None:
    """A shared hook in another language is left as it is, and install ends with 2 and the command to run."""
    repository.git("config", "core.hooksPath", ".githooks")
    old = repository.write(".githooks/pre-commit", "#!/usr/bin/env python3\n")
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 2
    assert f"not written: {old} is not a shell script. Make it run: otel-schema hooks check" in ran.out
    assert old.read_text() == "#!/usr/bin/env python3\n"


def test_hooks_of_all_repositories(repository: Repository, tmp_path: Path) -> None:
    """With core.hooksPath outside of the repository nothing is written, and install ends with 2 and the lines."""
    (tmp_path / "everywhere").mkdir()
    repository.git("config", "core.hooksPath", str(tmp_path / "everywhere"))
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 2
    assert "outside of this repository: no hook was written" in ran.out
    assert f"Add to {tmp_path / 'everywhere' / 'pre-commit'}: otel-schema hooks check || exit $?" in ran.out
    assert not _tree(tmp_path / "everywhere")


def test_a_project_below_the_top(tmp_path: Path) -> None:
    """A project below the top is checked as such, and what lies beside it is not its."""
    made = Repository(tmp_path / "mono")
    made.write("back end/alembic.ini", "[alembic]\nscript_location = migrations\n")
    made.write("back end/migrations/env.py", "")
    made.write("back end/migrations/versions/1.py", "revision = '1'\ndown_revision = '0'\ndef upgrade(): pass\n")
    made.write("front/models.py", MODEL.format(1))
    made.write("back end/schema.lock", "no lock\n")
    ran = made.otel_schema("hooks", "install", "--project", "back end")
    assert ran.code == 0
    hooks = made.root / ".git/hooks"
    assert (hooks / "pre-commit").read_text().endswith("\notel-schema hooks check --project 'back end'\n")
    assert (hooks / "pre-push").read_text().endswith("\n(cd 'back end' && otel-schema lock --check)\n")
    said = made.commit(code=1).err
    assert "back end/migrations/versions/1.py:2: missing-parent follows 0, which is not staged" in said
    assert "back end/schema.lock:1: stale-lock cannot be read: schema.lock is not a lock file" in said
    assert "front" not in said
    assert made.otel_schema("hooks", "uninstall", "--project", "back end").code == 0
    assert not [each for each in _tree(hooks) if not each.endswith(".sample")]


def test_pre_push(hooked: Repository, tmp_path: Path) -> None:
    """Where there is a lock, a push is stopped while the lock is stale: that imports the application."""
    hooked.write("app/__init__.py", "")
    hooked.write("app/schemas.py", "from pydantic import BaseModel\nclass LeadIn(BaseModel):\n    name: str\n")
    (hooked.root / "app/models.py").unlink()
    assert hooked.run(str(BIN / "otel-schema"), "lock", "app.schemas").code == 0
    assert "pre-push" in hooked.otel_schema("hooks", "install").out
    hooked.git("add", "-A")
    hooked.commit("change", 0, "--no-verify")
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote")], check=True)
    hooked.git("push", "-q", str(tmp_path / "remote"), "feature")
    hooked.write("app/schemas.py", "from pydantic import BaseModel\nclass Other(BaseModel):\n    name: str\n")
    hooked.commit("change", 0, "--no-verify")
    ran = hooked.git("push", "-q", str(tmp_path / "remote"), "feature", code=1)
    assert "schema.lock is stale. Write it again, and commit it: otel-schema lock" in ran.out + ran.err


@pytest.mark.nightly
def test_two_projects(repository: Repository) -> None:
    """A second project of a repository does not replace the hook of the first: both are checked, and both go again."""
    repository.write("shop/alembic.ini", "[alembic]\nscript_location = migrations\n")
    repository.write("shop/migrations/env.py", "")
    hooks = repository.root / ".git/hooks"
    before = _tree(hooks)
    assert repository.otel_schema("hooks", "install").code == 0
    ran = repository.otel_schema("hooks", "install", "--project", "shop")
    assert "pre-commit again, also for otel-schema hooks check\n" in ran.out
    text = (hooks / "pre-commit").read_text()
    assert text.endswith("}\notel-schema hooks check || exit\notel-schema hooks check --project shop\n")
    repository.migration("0002", "0001", DROP, back=BACK)
    assert "destructive" in repository.commit(code=1).err
    repository.git("reset", "-q", "--hard")
    repository.write("shop/migrations/env.py", "")
    text = "revision = 'a'\ndown_revision = None\n\ndef upgrade():\n    op.drop_table('x')\n"
    repository.write("shop/migrations/versions/a.py", text)
    repository.write("shop/alembic.ini", "[alembic]\nscript_location = migrations\n")
    assert "shop/migrations/versions/a.py:5: destructive" in repository.commit(code=1).err
    assert repository.otel_schema("hooks", "uninstall").code == 0
    assert _tree(hooks) == before


@pytest.mark.nightly
def test_two_projects_in_shared_hooks(repository: Repository) -> None:
    """In hooks of the work tree, the second project adds a line of its own."""
    repository.write("shop/alembic.ini", "[alembic]\n")
    repository.git("config", "core.hooksPath", ".githooks")
    assert repository.otel_schema("hooks", "install").code == 0
    hook = repository.root / ".githooks/pre-commit"
    assert f"added a line to {hook}" in repository.otel_schema("hooks", "install", "--project", "shop").out
    assert hook.read_text().count("otel-schema hooks check") == 2
    assert f"{hook} already has the lines" in repository.otel_schema("hooks", "install").out
    assert f"removed {hook}" in repository.otel_schema("hooks", "uninstall").out


def test_hooks_that_git_never_runs(repository: Repository) -> None:
    """With an empty core.hooksPath Git runs no hook, so nothing is written, and install ends with 2."""
    repository.git("config", "core.hooksPath", "")
    ran = repository.otel_schema("hooks", "install")
    assert ran.code == 2, ran
    assert "so Git runs no hook. Run: git config --unset core.hooksPath" in ran.out
    assert not (repository.root / "pre-commit").exists()


@pytest.mark.nightly
def test_what_git_says(repository: Repository) -> None:
    """Where Git refuses to read a repository, its own reason is shown: an owner, a damaged index, a broken HEAD."""
    index = repository.root / ".git/index"
    whole = index.read_bytes()
    index.write_bytes(b"junk" * 20)
    _fails(repository.otel_schema("hooks", "check"), "git ls-files", "failed: ", "index file corrupt")
    index.write_bytes(whole)
    _fails(
        repository.otel_schema("hooks", "check", GIT_TEST_ASSUME_DIFFERENT_OWNER="1"),
        "is not in a Git work tree (detected dubious ownership in repository",
    )
    (repository.root / ".git/HEAD").write_text("garbage")
    _fails(repository.otel_schema("hooks", "check"), "is not in a Git work tree (", "): run this in the project")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (b"[tool]\notel-schema = 3\n# tool.otel-schema\n", "[tool.otel-schema] must be a table"),
        (b"# \xe9 tool.otel-schema\n", "it is not text in UTF-8"),
        (b"[tool.otel-schema\n", "is not valid TOML"),
        (b"[tool.otel-schema]\nmigrations = 'x'\n", "[tool.otel-schema] migrations must be a list"),
    ],
)
def test_damaged_settings(repository: Repository, toml: bytes, said: str) -> None:
    """A pyproject.toml that says something else than settings is named; it is no bug of ours."""
    repository.write("pyproject.toml", toml)
    _fails(repository.otel_schema("hooks", "check"), said)


def test_settings_in_a_comment(repository: Repository) -> None:
    """A comment that names our table is no table."""
    repository.write("pyproject.toml", "# see tool.otel-schema\n[project]\nname = 'x'\n")
    assert repository.otel_schema("hooks", "check").code == 0
