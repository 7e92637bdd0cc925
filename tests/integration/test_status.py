"""`otel-schema status`: real databases, a real Git repository, a real Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from opentelemetry.instrumentation.schema._migrations import database as reached
from opentelemetry.instrumentation.schema._migrations import refs
from opentelemetry.instrumentation.schema._migrations.git_hooks.git import Git
from opentelemetry.instrumentation.schema._schemas.version_tables import MAX_ROWS
from opentelemetry.instrumentation.schema.cli.group import otel_schema

from processes import HOST, answers, free_port, program
from tests.databases import Server

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="no prometheus on PATH"
)
SECRET = "s3cr3t-word"


class Project(NamedTuple):
    """A repository: main has a and b, the branch `feature` also c, the tag v1 only a; the work tree is at main."""

    root: Path

    def git(self, *arguments: str) -> None:
        """Run Git."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)

    def revision(self, name: str, down: str | None) -> None:
        """Commit a migration."""
        (self.root / f"alembic/versions/{name}.py").write_text(f"revision = {name!r}\ndown_revision = {down!r}\n")
        self.git("add", ".")
        self.git("commit", "-m", name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The repository, which is the working directory."""
    made = Project(tmp_path / "project")
    (made.root / "alembic/versions").mkdir(parents=True)
    (made.root / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n")
    made.git("init", "-b", "main")
    made.revision("a", None)
    made.git("tag", "v1")
    made.revision("b", "a")
    made.git("switch", "-c", "feature")
    made.revision("c", "b")
    made.git("switch", "main")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., str]:
    """Make an SQLite database with a version table that holds these heads, and return its URL."""

    def make(name: str, *heads: str, table: str | None = None) -> str:
        url = f"sqlite:///{tmp_path / name}.db"
        versioned(url, *heads, table=table)
        return url

    return make


def versioned(url: str, *heads: str, table: str | None = None) -> None:
    """Fill Alembic's table."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(table or "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        for head in heads:
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{head}')")
    engine.dispose()


def status(*arguments: str) -> Result:
    """Run the command."""
    os.environ["COLUMNS"] = "160"
    return CliRunner().invoke(otel_schema, ["status", *arguments])


def documents(result: Result) -> dict[str, dict[str, Any]]:
    """What --json printed, by environment."""
    return {each["environment"]: each for each in json.loads(result.stdout)["environments"]}


def test_side_by_side(project: Project, database: Callable[..., str]) -> None:
    """Each environment has its revision, state, what is pending, and the refs that hold its revision."""
    urls = [f"--url={name}={database(name, *heads)}" for name, *heads in (("prod", "a"), ("test", "b"), ("next", "c"))]
    result = status(*urls, "--json")
    assert result.exit_code == 0, result.output
    found = documents(result)
    shown = {name: (each["revisions"], each["state"], each["pending"], each["refs"]) for name, each in found.items()}
    assert shown == {
        "prod": (["a"], "behind", ["b"], {"a": shown["prod"][3]["a"]}),
        "test": (["b"], "current", [], {"b": shown["test"][3]["b"]}),
        "next": (["c"], "ahead", [], {"c": ["feature"]}),
    }
    assert set(shown["prod"][3]["a"]) == {"feature", "main", "v1"}
    assert set(shown["test"][3]["b"]) == {"feature", "main"}
    table = status(*urls)
    assert table.exit_code == 0
    for word in ("prod", "behind", "current", "ahead", "feature", "Environments"):
        assert word in table.stdout


def test_a_revision_that_no_ref_holds(project: Project, database: Callable[..., str]) -> None:
    """A database with a revision of no branch and no tag is a finding that says what to do."""
    result = status("--url", f"prod={database('prod', 'stranger')}")
    assert result.exit_code == 1
    assert "prod: no Git ref contains revision stranger. If its commit is pushed" in result.output
    assert "git fetch --all --tags" in result.output


def test_a_branch_that_grew_beside(project: Project, database: Callable[..., str]) -> None:
    """A revision of another branch that does not follow this checkout's head is diverged, not ahead."""
    project.git("switch", "-c", "beside", "v1")
    project.revision("x", "a")
    project.git("switch", "main")
    result = status("--url", f"prod={database('prod', 'x')}", "--json")
    assert (result.exit_code, documents(result)["prod"]["state"]) == (0, "diverged")


def test_duplicates_are_told(project: Project, database: Callable[..., str]) -> None:
    """Two files of one revision are named, though Alembic takes one of them."""
    shutil.copy(project.root / "alembic/versions/b.py", project.root / "alembic/versions/b_copy.py")
    result = status("--url", f"prod={database('prod', 'b')}")
    assert "2 files have the revision b: b.py, b_copy.py" in result.output
    assert "diverged" in result.output


def test_rows_that_cannot_be_are_told(project: Project, database: Callable[..., str]) -> None:
    """Rows that contradict each other, and an empty row, are no state that files explain."""
    both = status("--url", f"prod={database('prod', 'a', 'b')}", "--json")
    assert documents(both)["prod"]["state"] == "diverged"
    assert "the rows of alembic_version contradict each other (a, b)" in documents(both)["prod"]["problem"]
    empty = status("--url", f"prod={database('other', '')}", "--json")
    assert empty.exit_code == 3
    assert "it has a row without a revision" in documents(empty)["prod"]["problem"]


def test_a_file_that_is_not_python(project: Project, database: Callable[..., str]) -> None:
    """What cannot be parsed is left out of the pending migrations, and named."""
    (project.root / "alembic/versions/z.py").write_text("revision = 'z'\ndown_revision = 'b'\ndef upgrade(:\n")
    result = status("--url", f"prod={database('prod', 'b')}")
    assert result.exit_code == 0
    assert "z.py is not valid Python, so its revision is left out: correct it" in result.output


def test_credentials(
    project: Project, postgresql: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A password is in no output and in no argument of a child, whether the database answers or not."""
    ran: list[str] = []
    real = subprocess.Popen.__init__

    def spy(self: Any, args: Any, *more: Any, **options: Any) -> None:
        ran.append(repr(args))
        real(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", spy)
    good = postgresql.fresh().replace("leads@", f"leads:{SECRET}@")
    versioned(good, "b")
    monkeypatch.setenv("PROD_URL", good)
    closed = f"postgresql://leads:{SECRET}@127.0.0.1:{free_port()}/leads"
    outputs = [
        status("--url", "prod=$PROD_URL", "--url", f"gone={closed}"),
        status("--url", good, "--json"),
        status("--url", f"oracle://scott:{SECRET}@host/name"),
        status("--url", f"prod=postgresql://leads:{SECRET}@host:port/x"),
    ]
    assert [each.exit_code for each in outputs] == [3, 0, 2, 2]
    assert "gone: cannot connect to" in outputs[0].output
    assert not any(SECRET in each.output for each in outputs)
    assert SECRET not in "".join(capfd.readouterr())
    assert ran
    assert not any(SECRET in each for each in ran)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no database is named: give one --url for each environment"),
        (["--url", "$UNSET_URL"], "the environment variable UNSET_URL is not set. Export it, or give the URL itself"),
        (["--url", "nonsense"], "--url is not a database URL: write it as postgresql://user:password@host:5432/name"),
        (["--url", "prod=mssql://host/name"], "prod: mssql is not supported"),
        (["--url", "sqlite://"], "name a file, as in sqlite:///app.db"),
        (["--url", "sqlite:///x.db", "--prometheus", "http://127.0.0.1:9/"], "127.0.0.1:9"),
    ],
)
def test_usage_errors(project: Project, arguments: list[str], said: str) -> None:
    """What is wrong with the command line ends with 2, and the message names the thing and the fix."""
    result = status(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_no_driver_that_waits(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an asynchronous driver another one is needed, and the message says which package has it."""
    monkeypatch.setattr(reached, "_DRIVERS", {"postgresql": (("psycopg", "no_such_module"),)})
    result = status("--url", "postgresql+asyncpg://host/name")
    assert result.exit_code == 2
    assert "reading postgresql needs a driver without an event loop beside asyncpg: pip install" in result.output


def test_migrations_that_cannot_be_read(project: Project) -> None:
    """A migration that cannot be opened ends with 2, and the message names its directory and the setting."""
    (project.root / "alembic/versions/d.py").symlink_to("nowhere.py")
    result = status("--url", "sqlite:///x.db")
    assert result.exit_code == 2
    assert "cannot read migrations in" in result.output
    assert "See [tool.otel-schema] migrations" in result.output


def test_no_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without migrations ends with 2 and says where they are looked for."""
    monkeypatch.chdir(tmp_path)
    result = status("--url", "sqlite:///x.db")
    assert result.exit_code == 2
    assert "run this in the directory that contains alembic.ini" in result.output


def test_what_cannot_be_read(project: Project, database: Callable[..., str], postgresql: Server) -> None:
    """A missing file, a missing table, a namesake and a missing privilege end with 3, each with its reason."""
    text = project.root / "text.db"
    text.write_text("no database" * 100)
    versioned_url = postgresql.fresh()
    versioned(versioned_url, "b")
    name = versioned_url.rpartition("/")[2]
    postgresql.run(name, "CREATE ROLE reader LOGIN")
    try:
        reasons = {
            f"sqlite:///{project.root / 'none.db'}": "does not exist: check the path",
            database(
                "empty", table="CREATE TABLE t (x)"
            ): "has no table alembic_version that this user can see: no migration ran there",
            f"sqlite:///{text}": f"cannot list the tables of sqlite:{text}: file is not a database",
            database("full", *map(str, range(MAX_ROWS + 1))): f"it has more than {MAX_ROWS} rows",
            database(
                "namesake", table="CREATE TABLE alembic_version (version_num INTEGER)"
            ): "it is another tool's: version_num is INTEGER, not text",
            database("damaged", "b"): "cannot read alembic_version of sqlite:",
            versioned_url.replace("leads@", "reader@"): "no privilege: GRANT SELECT ON alembic_version TO reader",
        }
        with (project.root.parent / "damaged.db").open("r+b") as file:
            file.seek(4096)  # the first page is left: it says which tables there are
            file.write(b"\xff" * 4096)
        for url, reason in reasons.items():
            result = status("--url", f"prod={url}")
            assert result.exit_code == 3, result.output
            assert reason in result.output
    finally:
        postgresql.run(name, "DROP ROLE reader")


def test_without_git(project: Project, database: Callable[..., str]) -> None:
    """Outside a repository the refs are not known, which is said, and is no finding."""
    shutil.rmtree(project.root / ".git")
    result = status("--url", f"prod={database('prod', 'b')}")
    assert result.exit_code == 0
    assert "the Git refs are unknown" in result.output
    (project.root / "elsewhere").mkdir()
    project.git("init", "-q", "alembic")
    (project.root / "alembic.ini").write_text(
        "[alembic]\nscript_location = alembic\nversion_locations = alembic/versions elsewhere\n"
    )
    result = status("--url", f"prod={database('prod2', 'b')}")
    assert result.exit_code == 0
    assert "elsewhere is not below" in result.output
    assert "its migrations are in no ref" in result.output


def test_many_refs_are_few_processes(
    project: Project, database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refs that share their migrations are read once."""
    for number in range(110):
        (project.root / f".git/refs/tags/t{number}").write_text((project.root / ".git/refs/heads/main").read_text())
    ran: list[tuple[str, ...]] = []
    real = Git.run

    def spy(self: Git, *arguments: str, **options: Any) -> bytes | None:
        ran.append(arguments)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Git, "run", spy)
    result = status("--url", database("prod", "b"))
    assert result.exit_code == 0
    assert "reading the migrations of 113 refs" in result.stderr
    assert len(ran) < 15
    monkeypatch.setattr(refs, "MAX_REFS", 5)
    assert "status read only the latest 5 Git refs" in status("--url", database("prod5", "b")).output


DB = 'schema_db_info{{instance="{}",schema_migration_tool="alembic",schema_db_revision="{}",schema_db_state="{}"}}'
TARGET = 'target_info{{instance="{}",service_version="{}",vcs_ref_head_revision="{}",deployment_environment_name="{}"}}'
API = 'schema_info{{instance="{}",schema_name="Lead",schema_module="app",schema_version="{}"}}'
METRICS = {
    DB.format("p1", "a", "behind"): 1,
    DB.format("p1", "0", "behind"): 0,
    DB.format("s1", "b", "current"): 1,
    TARGET.format("p1", "1.4", "0123456789abcdef", "prod"): 1,
    TARGET.format("s1", "1.5", "fedcba9876543210", "test"): 1,
    API.format("p1", "3"): 1,
    API.format("s1", "4"): 1,
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that has just scraped two environments."""
    home, now = tmp_path_factory.mktemp("prometheus"), int(time.time())
    lines: list[str] = []
    for name in sorted({key.partition("{")[0] for key in METRICS}):
        lines.append(f"# TYPE {name} gauge")
        lines += [
            f"{key} {value} {now + second}"
            for key, value in METRICS.items()
            if key.startswith(name)
            for second in range(-60, 600, 60)
        ]
    (home / "data.om").write_text("\n".join([*lines, "# EOF", ""]))
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", home / "data.om", home / "data"]
    subprocess.run(backfill, check=True, capture_output=True)
    (home / "prometheus.yml").write_text("")
    url = f"http://{HOST}:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--storage.tsdb.retention.time=30d",
    ]
    with program("Prometheus", command, home / "prometheus.log", lambda: answers(f"{url}/-/ready")):
        yield url


@needs_prometheus
def test_beside_what_apps_report(project: Project, database: Callable[..., str], prometheus: str) -> None:
    """With a Prometheus, each environment has its release, commit, API versions, and the state that its apps see."""
    urls = [f"--url=prod={database('prod', 'a')}", f"--url=test={database('test', 'b')}"]
    result = status(*urls, "--prometheus", prometheus, "--json")
    assert result.exit_code == 0, result.output
    found = documents(result)
    assert found["prod"]["apps"] == {
        "releases": ["1.4"],
        "commits": ["0123456789abcdef"],
        "states": [{"revision": "a", "state": "behind", "series": 1}],
        "versions": {"Lead": ["3"]},
    }
    assert found["test"]["apps"]["versions"] == {"Lead": ["4"]}
    table = status(*urls, "--prometheus", prometheus).stdout
    for word in ("1.4", "1.5", "0123456789ab", "b current (1)", "Lead 4"):
        assert word in table
    (project.root / "second").mkdir()
    same = database("same", "b"), database("project/second/same", "b")
    result = status(*(f"--url={each}" for each in same), "--prometheus", prometheus)
    assert (
        "several databases have the same name, so status cannot tell their apps apart: name the environments, --url "
        "NAME=URL" in result.output
    )
    result = status(*urls, "--prometheus", f"{prometheus}/metrics")
    assert (result.exit_code, "is not a Prometheus: give its base URL, such as http:" in result.output) == (2, True)
    other = status("--url", f"canary={database('canary', 'b')}", "--prometheus", prometheus)
    assert "canary: no app in Prometheus reports this database" in other.output
    assert "Prometheus has: prod, test" in other.output
