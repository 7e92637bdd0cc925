"""The table of faults: real processes killed or broken against real servers; what is said equals what is there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tests.databases import Server, postgresql_server
from tests.integration.migrated import KINDS, TABLE, Folder, Project, dbmate_folder

DEADLINE = 200.0
ADD = 'op.add_column("a", sa.Column("x", sa.Integer()))'
SLEEP = {
    "postgresql": 'op.execute("SELECT pg_sleep(60)")',
    "mysql": 'op.execute("SELECT sleep(60)")',
    "sqlite": "import time; time.sleep(60)",
}


@pytest.fixture(params=KINDS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project at r1, whose r2 is each test's own, on a database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/app.db"
    else:
        server: Server = request.getfixturevalue(request.param)
        url = server.fresh()
    made = Project(tmp_path / "project", url)
    made.revision("r1", None, TABLE, 'op.drop_table("a")')
    done = made.do("upgrade")
    assert done.code == 0, done.all
    return made


@pytest.fixture
def on_postgresql(postgresql: Server, tmp_path: Path) -> Project:
    """The same on PostgreSQL alone."""
    made = Project(tmp_path / "project", postgresql.fresh())
    made.revision("r1", None, TABLE, 'op.drop_table("a")')
    done = made.do("upgrade")
    assert done.code == 0, done.all
    return made


def kind(project: Project) -> str:
    return re.split(r"[+:]", project.url)[0]


def until(what: Callable[[], object]) -> object:
    end = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


def seen(project: Project | Folder) -> tuple[list[str], dict[str, set[str]]]:
    """The truth of an SQLite file; nothing while a run that writes has it locked."""
    try:
        return project.truth()
    except sa.exc.OperationalError:
        return [], {}


def sleeping(project: Project) -> bool:
    """Whether the step has come to its sleep."""
    if kind(project) == "sqlite":
        return "x" in seen(project)[1].get("a", ())
    query = {
        "postgresql": "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND state = 'active'"
        " AND pid <> pg_backend_pid() AND datname = current_database()",
        "mysql": "SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep' AND db = database()",
    }[kind(project)]
    engine = sa.create_engine(project.url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).first() is not None


def sleeps(project: Project, command: str = "upgrade") -> subprocess.Popen[str]:
    """A run that has added a column and sleeps now."""
    project.revision("r2", "r1", f"{ADD}\n{SLEEP[kind(project)]}", 'op.drop_column("a", "x")')
    process = project.start(command)
    until(lambda: sleeping(project) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def check_truth(project: Project, said: str) -> None:
    """What was said of a run that was cut off in r2, after its first statement, is what the database holds."""
    heads, columns = project.truth()
    assert heads == ["r1"]
    if kind(project) == "postgresql":
        assert columns == {"a": {"id"}}
        assert "is unchanged, at r1" in said, said
    else:
        assert columns == {"a": {"id", "x"}}
        assert "records r1, but its schema differs:\n  + a: column x" in said, said


def test_tool_killed(project: Project) -> None:
    """Alembic's process killed by `kill -9` in a step: the outcome is what the server says when its session is gone."""
    process = sleeps(project)
    (child,) = children(process.pid)
    os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1, err
    assert "the process was ended by SIGKILL" in out
    check_truth(project, out)
    assert project.history()[-1]["outcome"] == ("failed" if kind(project) == "postgresql" else "partial")


@pytest.mark.nightly
def test_command_killed(project: Project) -> None:
    """otel-schema killed by `kill -9`: Alembic ends with it, the lock is free, and the next run says what happened."""
    process = sleeps(project)
    (child,) = children(process.pid)
    process.kill()
    process.communicate()
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])
    assert [line["event"] for line in project.history()] == ["started", "finished", "started"]
    if kind(project) == "postgresql":  # it does not notice that its client is gone before the sleep is over
        project.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%'"
            " AND pid <> pg_backend_pid() AND datname = current_database()"
        )
    project.revision("r2", "r1", 'op.add_column("a", sa.Column("y", sa.Integer()))', 'op.drop_column("a", "y")')
    again = project.do("upgrade")
    assert again.code == 0, again.all
    assert "has no recorded end: somebody killed it, or it is still running" in again.err
    assert project.truth()[0] == ["r2"]


@pytest.mark.nightly
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped(project: Project, number: int, code: int) -> None:
    """SIGTERM and Ctrl-C stop the step on the server too, and the command says what is left before it ends."""
    process = sleeps(project)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == code, (out, err)
    assert time.monotonic() - began < 50, "it waited for the statement"
    assert f"the process was ended by {signal.Signals(number).name}" in out
    check_truth(project, out)


@pytest.mark.nightly
def test_connection_lost(project: Project) -> None:
    """The server ends the session in the middle of a step."""
    if kind(project) == "sqlite":
        pytest.skip("no connection to lose")
    process = sleeps(project)
    if kind(project) == "postgresql":
        project.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%'"
            " AND pid <> pg_backend_pid() AND datname = current_database()"
        )
    else:
        engine = sa.create_engine(project.url, poolclass=NullPool)
        with engine.connect() as connection:
            query = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep' AND db = database()"
            connection.exec_driver_sql(f"KILL {connection.exec_driver_sql(query).scalar_one()}")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1, err
    assert "in r2: " in out
    check_truth(project, out)


@pytest.mark.nightly
def test_server_gone(tmp_path: Path) -> None:
    """The whole server goes away: nobody knows what it holds, and that is what is said, with exit code 3."""
    with postgresql_server() as server:
        project = Project(tmp_path / "project", server.fresh())
        project.revision("r1", None, TABLE, 'op.drop_table("a")')
        assert project.do("upgrade").code == 0
        process = sleeps(project)
        pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3, (out, err)
    assert "unknown" in out
    assert "cannot connect to postgresql://" in out
    assert "otel-schema status" in out
    assert project.history()[-1]["outcome"] == "unknown"


def test_constraint_at_commit(on_postgresql: Project) -> None:
    """A deferred constraint fails at COMMIT, after every step said that it was done: nothing is there."""
    on_postgresql.revision(
        "r2",
        "r1",
        'op.execute("CREATE TABLE p (id int PRIMARY KEY)")\n'
        'op.execute("CREATE TABLE q (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)")\n'
        'op.execute("INSERT INTO q VALUES (7)")',
        'op.drop_table("q")\nop.drop_table("p")',
    )
    done = on_postgresql.do("upgrade")
    assert done.code == 1, done.all
    assert "failed: " in done.out
    assert "[23503]" in done.out
    assert "is unchanged, at r1" in done.out
    assert on_postgresql.truth() == (["r1"], {"a": {"id"}})
    assert "7" not in str(on_postgresql.history()[-1]["error"])


@pytest.mark.nightly
def test_autocommit_block(on_postgresql: Project) -> None:
    """What an autocommit block committed stays when the step fails after it, and each line of it is named."""
    on_postgresql.revision(
        "r2",
        "r1",
        f"{ADD}\nwith op.get_context().autocommit_block():\n"
        '    op.create_index("ix", "a", ["x"], postgresql_concurrently=True)\nop.drop_table("missing")',
        "pass",
    )
    done = on_postgresql.do("upgrade")
    assert done.code == 1, done.all
    assert "partial in r2" in done.out
    assert "+ public.a: column x integer" in done.out
    assert "+ public.a: index CREATE INDEX ix" in done.out
    assert on_postgresql.truth() == (["r1"], {"a": {"id", "x"}})


@pytest.mark.nightly
def test_rows_before_a_table_changes(mariadb: Server, tmp_path: Path) -> None:
    """MariaDB commits rows with the next change of a table: no look at the schema shows that, and it is said."""
    project = Project(tmp_path / "project", mariadb.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    assert project.do("upgrade").code == 0
    project.revision(
        "r2",
        "r1",
        'op.execute("INSERT INTO a (id) VALUES (1)")\nop.execute("CREATE TABLE z (id int)")\n'
        'op.execute("DROP TABLE z")\nop.drop_table("missing")',
        "pass",
    )
    done = project.do("upgrade", "--allow-data-loss", "z")
    assert done.code == 1, done.all
    assert "partial in r2" in done.out
    assert "rows that r2 changed before it failed may be committed" in done.out


@pytest.mark.nightly
def test_two_runs_at_once(project: Project) -> None:
    """Of two runs one waits for the other and then has nothing to do; without waiting it names who holds the lock."""
    first = sleeps(project)
    refused = project.do("upgrade", "--wait", "0")
    assert refused.code == 2, refused.all
    assert re.search(r"another run migrates .*: (session|process) \d+ .*holds the lock", refused.err)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=DEADLINE)
    if kind(project) != "postgresql":
        project.sql("ALTER TABLE a DROP COLUMN x")
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    both = [project.start("upgrade") for _ in range(2)]
    ends = [each.communicate(timeout=DEADLINE)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], ends
    assert project.truth() == (["r2"], {"a": {"id", "x"}})
    assert sum("applied: " in out for out in ends) == 1
    assert sum("nothing to do" in out for out in ends) == 1
    assert not list(project.path.parent.glob("*.lock"))


@pytest.mark.nightly
def test_older_code(on_postgresql: Project) -> None:
    """A checkout without the database's revision changes nothing, and says which image and commit has it."""
    file = on_postgresql.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    assert on_postgresql.do("upgrade", "--image", "shop:1.2").code == 0
    file.unlink()
    for command in (["upgrade"], ["rollback", "r1"], ["rollback"]):
        done = on_postgresql.do(*command)
        assert done.code == 2, done.all
        assert "is at r2, and this checkout has no file of that revision" in done.err
        assert "r2 was applied by image shop:1.2" in done.err
    assert on_postgresql.truth() == (["r2"], {"a": {"id", "x"}})


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("undo", "words"),
    [
        (None, "it has no downgrade"),
        ('raise NotImplementedError("no way back")', "its downgrade raises"),
        ("pass", "its downgrade does nothing"),
        ('op.get_bind().execute(sa.text("SELECT 1"))', "may read rows or ask for the dialect"),
    ],
)
def test_no_way_back(on_postgresql: Project, undo: str | None, words: str) -> None:
    """A rollback over a step that cannot be undone, or not for sure, is refused before anything runs."""
    on_postgresql.revision("r2", "r1", ADD, undo)
    assert on_postgresql.do("upgrade").code == 0
    done = on_postgresql.do("rollback")
    assert done.code == 1, done.all
    assert "r2_.py" in done.err
    assert words in done.err
    assert "Nothing was run" in done.err
    assert on_postgresql.truth() == (["r2"], {"a": {"id", "x"}})


@pytest.mark.nightly
def test_missing_file(on_postgresql: Project) -> None:
    """A revision whose file is gone from the middle of the line is named."""
    on_postgresql.revision("r3", "r2", ADD, "pass")
    done = on_postgresql.do("upgrade")
    assert done.code == 2, done.all
    assert "a revision file is missing" in done.err
    assert "r2" in done.err


@pytest.fixture
def reader(project: Project) -> Iterator[sa.Connection]:
    """A session that has read table a and not ended its transaction."""
    more = {"application_name": "report"} if kind(project) == "postgresql" else {}
    engine = sa.create_engine(project.url, poolclass=NullPool, connect_args=more)
    with engine.connect() as connection:
        if kind(project) == "sqlite":
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            connection.exec_driver_sql("SELECT * FROM a")
        yield connection


def test_long_reader(project: Project, reader: sa.Connection) -> None:
    """A lock that is not to be had in time: who blocks is named, it is tried again where that is safe."""
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    done = project.do("upgrade", "--lock-timeout", "1.2", "--retries", "1", "--retry-pause", "0.2")
    if kind(project) == "sqlite":  # already the first look at the version table waits
        assert done.code in (1, 3), done.all
        assert "locked" in done.all
        return
    assert done.code == 1, done.all
    assert "lock time-out after 1.2 s in r2" in done.err
    if kind(project) == "postgresql":
        assert re.search(
            r"session \d+ \(report, idle in transaction, its transaction is \d+ s old\) blocked the migration\.",
            done.err,
        )
        assert done.err.count("lock time-out") == 2
        assert "trying again in" in done.err
    else:
        assert re.search(r"session \d+ \(root, Sleep, its transaction is \d+ s old\).* blocked ", done.err), done.err
        assert "no retry: the database may have kept a part of the step" in done.err
    assert "is unchanged, at r1" in done.out
    assert project.truth() == (["r1"], {"a": {"id"}})


@pytest.mark.nightly
def test_reader_that_ends(on_postgresql: Project) -> None:
    """A second try succeeds when the reader has ended."""
    on_postgresql.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    engine = sa.create_engine(on_postgresql.url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM a")
        process = on_postgresql.start("upgrade", "--lock-timeout", "0.5", "--retry-pause", "2")
        assert process.stderr is not None
        until(lambda: "trying again" in process.stderr.readline())
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, (out, err)
    assert on_postgresql.truth()[0] == ["r2"]


@pytest.mark.nightly
def test_edited_file(on_postgresql: Project) -> None:
    """A file that was edited after it was applied is named at the next run."""
    on_postgresql.revision("r1", None, f"{TABLE}\n# edited", 'op.drop_table("a")')
    on_postgresql.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    done = on_postgresql.do("upgrade")
    assert done.code == 0, done.all
    assert "r1 (r1_.py) was edited after it was applied" in done.err
    status = on_postgresql.do("status", "--url", f"staging={on_postgresql.url}")
    assert "staging: r1 (r1_.py) was edited after it was applied" in status.out


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("history", "words"),
    [("alembic.ini/history", "cannot read the history"), ("/dev/full", "not a file"), ("/proc/h", "cannot write the")],
)
def test_history_cannot_be_written(on_postgresql: Project, history: str, words: str) -> None:
    """No run begins whose record cannot be written."""
    on_postgresql.revision("r2", "r1", ADD, "pass")
    done = on_postgresql.do("upgrade", "--history", history)
    assert done.code == 2, done.all
    assert words in done.err
    assert "--history" in done.err
    assert on_postgresql.truth()[0] == ["r1"]


@contextmanager
def small_disk(at: Path, owner: str | None = None) -> Iterator[Path]:
    """A disk of 512 KiB."""
    at.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", at], check=False).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        if owner is not None:
            shutil.chown(at, owner, owner)
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=False)


@pytest.fixture
def on_small_disk(kind_: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Project, Path]]:
    """A project at r1 whose tables are on a small disk, and that disk."""
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with ExitStack() as disks:
        if kind_ == "sqlite":
            disk = disks.enter_context(small_disk(tmp_path / "disk"))
            url = f"sqlite:///{disk}/app.db"
        else:
            server: Server = request.getfixturevalue(kind_)
            url = server.fresh()
            name = url.rpartition("/")[2]
            if kind_ == "mariadb":
                disk = disks.enter_context(small_disk(server.folder / "data" / name, "mysql"))
            else:
                disk = disks.enter_context(small_disk(server.folder / "disk", "postgres"))
                server.run("", f"CREATE TABLESPACE small LOCATION '{disk}'")
                server.run("", f"ALTER DATABASE {name} SET default_tablespace = small")
                disks.callback(
                    lambda: (server.run("", f"DROP DATABASE {name}"), server.run("", "DROP TABLESPACE small"))
                )
        project = Project(tmp_path / "project", url)
        project.revision("r1", None, TABLE, 'op.drop_table("a")')
        done = project.do("upgrade")
        assert done.code == 0, done.all
        yield project, disk


@pytest.mark.nightly
@pytest.mark.parametrize("kind_", ["postgresql", "mariadb", "sqlite"])
def test_disk_full(on_small_disk: tuple[Project, Path]) -> None:
    """A disk that fills up in a step: what is said is what the database holds, and the reason is the disk."""
    project, disk = on_small_disk
    if kind(project) == "mysql":  # rows that find no room end the whole server, MariaDB 10.11: a table does not
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - 40_000))
        copied = ""
    else:
        text = "hex(randomblob(500))" if kind(project) == "sqlite" else "repeat('x', 1000)"
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
        copied = f'op.execute("{numbers} INSERT INTO b SELECT {text} FROM n")'
    project.revision("r2", "r1", f'{ADD}\nop.execute("CREATE TABLE b (t text)")\n{copied}', "pass")
    done = project.do("upgrade")
    assert done.code == 1, done.all
    assert re.search("disk is full|No space left on device|errno: 135", done.out), done.out
    heads, columns = project.truth()
    assert heads == ["r1"]
    assert ("+ b: table" in done.out) == ("b" in columns), done.out
    assert ("+ a: column x" in done.out) == ("x" in columns["a"]), done.out
    assert ("is unchanged, at r1" in done.out) == (columns == {"a": {"id"}}), done.out


LONG = {
    "postgresql": "SELECT pg_sleep(60);",
    "mysql": "SELECT sleep(60);",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n;",  # never ends
}


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.nightly), signal.SIGTERM])
@pytest.mark.parametrize("name", KINDS)
def test_dbmate_stopped(name: str, number: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """dbmate killed, or the command stopped, in a statement: the server has ended it when the outcome is said."""
    folder = dbmate_folder(name, request, tmp_path)
    folder.migration("001_a", "CREATE TABLE a (id int);", "DROP TABLE a;")
    add = f"ALTER TABLE a ADD COLUMN x int;\n{LONG[kind(folder)]}"
    folder.migration("002_b", add, "ALTER TABLE a DROP COLUMN x;")
    process = folder.start("upgrade", "--url", folder.plain)
    until(lambda: busy(folder) or process.poll() is not None)
    if number == signal.SIGKILL:
        until(lambda: children(process.pid))
        os.kill(children(process.pid)[0], number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == (1 if number == signal.SIGKILL else 143), (out, err)
    assert f"the process was ended by {signal.Signals(number).name}" in out
    heads, columns = folder.truth()
    assert heads == ["001"]
    if kind(folder) == "mysql":
        assert columns == {"a": {"id", "x"}}
        assert "records 001, but its schema differs:\n  + a: column x" in out
        assert not sleeping(folder)
    else:
        assert columns == {"a": {"id"}}
        assert "its schema is exactly that of 001" in out


def busy(folder: Folder) -> bool:
    """Whether dbmate's second file runs; what it does to SQLite no other connection sees."""
    if kind(folder) == "sqlite":
        return seen(folder)[0] == ["001"] and Path(f"{folder.plain.removeprefix('sqlite:')}-journal").exists()
    return sleeping(folder)


@pytest.mark.nightly
def test_back_again(project: Project) -> None:
    """`--on-failure rollback` undoes the completed steps where the database is at a revision; the exit code stays 1."""
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    project.revision("r3", "r2", 'op.drop_table("missing")', TABLE)
    done = project.do("upgrade", "--on-failure", "rollback")
    assert done.code == 1, done.all
    assert project.truth() == (["r1"], {"a": {"id"}})
    assert "next: correct r3, then run otel-schema upgrade again" in done.out
    if kind(project) == "postgresql":
        assert "no rollback: the database is at that revision already" in done.err
    else:
        assert "rolled back: " in done.out


def half(project: Project) -> None:
    """A second upgrade stops in the middle of its first step."""
    project.revision("r2", "r1", TABLE.replace('"a"', '"c"') + '\nop.drop_table("missing")', 'op.drop_table("c")')
    assert project.do("upgrade").code == 1


@pytest.mark.nightly
def test_rollback_after_a_failed_upgrade(project: Project) -> None:
    """Without a target, it never undoes an earlier upgrade than the last: nothing if that changed nothing."""
    half(project)
    before = project.truth()
    done = project.do("rollback")
    assert project.truth() == before
    if kind(project) == "postgresql":
        assert done.code == 0, done.all
        assert "nothing to do" in done.out
        assert "failed and changed nothing, so there is nothing to undo" in done.err
    else:
        assert done.code == 1, done.all
        assert "stopped in the middle of a step, and left changes that no revision describes" in done.err
        assert "as in otel-schema rollback base" in done.err
        again = project.do("upgrade")
        assert "stopped in the middle of a step: if nobody has removed its changes since, they stay" in again.err


@pytest.mark.nightly
def test_rollback_after_a_halfway_upgrade(project: Project) -> None:
    """Without a target, it goes back to where the upgrade began if every step is whole, else it refuses."""
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    project.revision("r3", "r2", 'op.drop_table("missing")')
    assert project.do("upgrade").code == 1
    done = project.do("rollback")
    assert done.code == 0, done.all
    assert project.truth() == (["r1"], {"a": {"id"}})
    again = project.do("rollback")
    assert again.code == 0, again.all
    assert "so there is nothing to undo. To go further back, name the revision" in again.err
    assert project.truth()[0] == ["r1"]


@pytest.mark.nightly
def test_rollback_after_a_killed_upgrade(project: Project) -> None:
    """Without a target, it refuses where the last run has no recorded end."""
    project.revision("r2", "r1", ADD, 'op.drop_column("a", "x")')
    history = project.path / ".otel-schema/history.jsonl"
    assert project.do("upgrade").code == 0
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:-1]))
    done = project.do("rollback")
    assert done.code == 1, done.all
    assert "has no recorded end: somebody killed it, or it is still running" in done.err
    assert project.truth()[0] == ["r2"]
