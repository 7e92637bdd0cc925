"""Alembic's runs: the spans, and an outcome that is what the database holds afterwards."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import HeadMaintainer, MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from opentelemetry.instrumentation.schema import faults
from opentelemetry.instrumentation.schema.integrations.alembic import _database, _tracked
from opentelemetry.trace import StatusCode
from sqlalchemy.engine import Engine, make_url

from tests.databases import Server
from tests.integration.alembic_project import DRIVERS, PSYCOPG, SYNC, SYSTEMS, Project, heads, leads, project
from tests.telemetry import Telemetry

__all__ = ["project"]  # a fixture

TIMESTAMP = "schema.migration.last_run.timestamp"


def outcomes(telemetry: Telemetry) -> list[tuple[str | None, str]]:
    """Direction and outcome of each point of the gauge, the latest last."""
    points = sorted(telemetry.points(TIMESTAMP), key=lambda point: point[1])
    return [(of.get("schema.migration.direction"), of["schema.migration.outcome"]) for of, _ in points]


def names(telemetry: Telemetry) -> list[str]:
    return [span.name for span in telemetry.spans() if span.name.startswith("schema.migrate")]


@pytest.mark.parametrize("driver", DRIVERS)
def test_up_and_down(driver: str, project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A run has a child for each revision; gauges name database, direction and outcome; an async env.py too."""
    leads(made := project(driver))
    before = time.time()
    command.upgrade(made.config, "head")
    command.downgrade(made.config, "r1")
    assert names(telemetry) == [
        *(f"schema.migrate.step {each}" for each in ("r1", "r2", "r3")),
        "schema.migrate upgrade",
        *(f"schema.migrate.step {each}" for each in ("r3", "r2")),
        "schema.migrate downgrade",
    ]
    runs = {span.name: span for span in telemetry.spans()}
    up = runs["schema.migrate upgrade"]
    steps = [span for span in telemetry.spans() if span.name.startswith("schema.migrate.step")][:3]
    assert {span.parent.span_id for span in steps if span.parent} == {up.context.span_id}
    kind = driver.partition("+")[0]
    namespace = {} if kind == "sqlite" else {"db.namespace": make_url(made.url).database}
    expected = {
        "schema.migration.tool": "alembic",
        "db.system.name": SYSTEMS[kind],
        "schema.migration.direction": "upgrade",
        "schema.migration.outcome": "applied",
        **namespace,
    }
    assert expected.items() <= dict(up.attributes or {}).items()
    assert steps[0].attributes is not None
    assert steps[0].attributes["schema.migration.revision"] == "r1"
    assert outcomes(telemetry) == [("upgrade", "applied"), ("downgrade", "rolled_back")]
    for of, at in telemetry.points(TIMESTAMP):
        assert namespace.items() <= of.items()
        assert before <= at <= time.time()
    assert [value > 0 for _, value in telemetry.points("schema.migration.last_run.duration")] == [True, True]
    assert heads(made) == {"r1"}


def test_statements_are_below_their_step(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """The span of a statement, made by whoever traces SQL, is a child of the revision that runs it."""
    tracing = sa.event.listens_for(Engine, "before_cursor_execute")

    def traced(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        telemetry.tracer.start_span(statement).end()

    tracing(traced)
    try:
        command.upgrade(leads(project("sqlite")).config, "head")
    finally:
        sa.event.remove(Engine, "before_cursor_execute", traced)
    spans = {span.name: span for span in telemetry.spans()}
    parent = spans["CREATE TABLE notes (id INTEGER PRIMARY KEY)"].parent
    assert parent is not None
    assert parent.span_id == spans["schema.migrate.step r2"].context.span_id


BROKEN = "CREATE TABLE half (id INTEGER PRIMARY KEY);\nALTER TABLE nothing ADD COLUMN x INTEGER"
DEFERRED = """
    op.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
    op.execute("CREATE TABLE b (id INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)")
    op.execute("INSERT INTO b VALUES (1)")
"""
AUTOCOMMIT = """
    op.execute("CREATE TABLE seen (id INTEGER)")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY i ON seen (id)")
"""
PER_STEP = ", transaction_per_migration=True"


@pytest.mark.parametrize(
    ("driver", "options", "steps", "outcome", "holds"),
    [
        (PSYCOPG, "", ["CREATE TABLE a (id INTEGER)", BROKEN], "failed", set()),
        ("postgresql+asyncpg", "", ["CREATE TABLE a (id INTEGER)", BROKEN], "failed", set()),
        (PSYCOPG, PER_STEP, ["CREATE TABLE a (id INTEGER)", BROKEN], "partial", {"s0"}),
        (PSYCOPG, PER_STEP, [BROKEN], "failed", set()),
        (PSYCOPG, "", [DEFERRED], "failed", set()),
        (PSYCOPG, PER_STEP, [DEFERRED], "failed", set()),
        (PSYCOPG, "", ["CREATE TABLE b2 (id INTEGER)", AUTOCOMMIT, BROKEN], "partial", {"s0"}),
        (PSYCOPG, "", [AUTOCOMMIT + "    op.execute('nonsense')\n"], "partial", set()),
        ("mysql+pymysql", "", [BROKEN], "partial", set()),
        ("mysql+aiomysql", "", ["CREATE TABLE a (id INTEGER)", BROKEN], "partial", {"s0"}),
        ("mysql+pymysql", "", ["ALTER TABLE nothing ADD COLUMN x INTEGER"], "failed", set()),
        ("sqlite", "", [BROKEN], "partial", set()),
        ("sqlite+aiosqlite", "", [BROKEN], "partial", set()),
        ("sqlite", "", ["ALTER TABLE nothing ADD COLUMN x INTEGER"], "failed", set()),
    ],
)
def test_the_outcome_of_a_failure_is_what_the_database_holds(
    driver: str,
    options: str,
    steps: list[str],
    outcome: str,
    holds: set[str],
    project: Callable[..., Project],
    telemetry: Telemetry,
) -> None:
    """`failed` where the database is as it was, `partial` where anything of the run stayed, whatever steps reported."""
    made = project(driver, options=options)
    for number, step in enumerate(steps):
        made.add(f"s{number}", step)
    with pytest.raises(sa.exc.DBAPIError) as raised:
        command.upgrade(made.config, "head")
    assert heads(made) & {f"s{number}" for number in range(9)} == holds
    assert outcomes(telemetry) == [("upgrade", outcome)]
    (run,) = [span for span in telemetry.spans() if span.name == "schema.migrate upgrade"]
    assert run.status.status_code is StatusCode.ERROR
    assert run.attributes is not None
    assert run.attributes["error.type"] == type(raised.value).__qualname__
    assert run.attributes["db.response.status_code"]


def test_what_env_py_never_commits_failed(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """An env.py without begin_transaction() exits with 0, and nothing was applied: that is told as failed."""
    if sa.__version__.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 commits by itself")
    env = SYNC.replace(
        "        with context.begin_transaction():\n            context.run_migrations()\n\noffline",
        "        context.run_migrations()\n\noffline",
    )
    assert env != SYNC
    made = leads(project(PSYCOPG, env))
    command.upgrade(made.config, "head")
    assert heads(made) == set()
    assert outcomes(telemetry) == [("upgrade", "failed")]


def test_an_error_after_the_commit_leaves_an_applied_run(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """An env.py that fails after everything is committed has applied it, and the span says which error there was."""
    made = leads(project(PSYCOPG, SYNC + "\nraise ValueError('later')\n"))
    with pytest.raises(ValueError, match="later"):
        command.upgrade(made.config, "head")
    assert outcomes(telemetry) == [("upgrade", "applied")]
    assert telemetry.spans()[-1].status.status_code is StatusCode.ERROR


def test_a_transaction_of_the_callers_own(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A run in a transaction that the caller has open is taken at its word; nobody commits, rolls back or waits."""
    made = leads(project(PSYCOPG))
    engine, config = sa.create_engine(made.url), made.config
    with engine.connect() as connection, connection.begin() as transaction:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert outcomes(telemetry) == [("upgrade", "applied")]
        transaction.rollback()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert not connection.in_transaction()
    engine.dispose()
    assert heads(made) == {"r3"}


@pytest.mark.parametrize("driver", ["sqlite", PSYCOPG])
def test_a_database_that_is_not_reached(driver: str, project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A run that cannot connect failed, and its point names the database, so that the next run's stands beside it."""
    made = leads(project(driver))
    name = make_url(made.url).database
    broken = f"sqlite:////nowhere/{name}" if driver == "sqlite" else f"{driver}://leads@127.0.0.1:1/{name}"
    config = made.config
    config.set_main_option("sqlalchemy.url", broken)
    with pytest.raises(sa.exc.OperationalError):
        command.upgrade(config, "head")
    command.upgrade(made.config, "head")
    assert outcomes(telemetry) == [("upgrade", "failed"), ("upgrade", "applied")]
    assert len({of.get("db.namespace") for of, _ in telemetry.points(TIMESTAMP)}) == 1


def test_an_env_py_that_fails_before_it_connects_has_a_span_and_no_point(
    project: Callable[..., Project], telemetry: Telemetry
) -> None:
    """Where no database is known there is none to tell of."""
    made = leads(project("sqlite", "raise ImportError('settings')"))
    with pytest.raises(ImportError, match="settings"):
        command.upgrade(made.config, "head")
    assert names(telemetry) == ["schema.migrate upgrade"]
    assert telemetry.points(TIMESTAMP) == []


def test_nothing_to_do_has_no_direction(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A run that finds the database at its target is applied, and neither up nor down: no annotation, but a sign."""
    made = leads(project("sqlite"))
    command.upgrade(made.config, "head")
    command.upgrade(made.config, "head")
    assert outcomes(telemetry) == [("upgrade", "applied"), (None, "applied")]


def test_branches_merges_and_dependencies(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """Several heads, a merge and a dependency are steps like others, up and down, and the outcome is the database's."""
    made = leads(project(PSYCOPG))
    made.add("b1", "CREATE TABLE b1 (id INTEGER)", "DROP TABLE b1", down="r1")
    made.add("x1", "CREATE TABLE x1 (id INTEGER)", "DROP TABLE x1", down=None, depends="b1")
    command.upgrade(made.config, "heads")
    assert heads(made) == {"r3", "x1"} | ({"b1"} & heads(made))
    made.add("m1", "pass", down=("r3", "b1"))
    command.upgrade(made.config, "heads")
    command.downgrade(made.config, "base")
    assert heads(made) == set()
    assert outcomes(telemetry) == [("upgrade", "applied"), ("downgrade", "rolled_back")]
    assert set(names(telemetry)) >= {f"schema.migrate.step {each}" for each in ("r1", "b1", "x1", "m1")}


def test_stamp(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A stamp is a run: up or down, by what it did to the version table."""
    made = leads(project("sqlite"))
    command.stamp(made.config, "head")
    command.stamp(made.config, "r1")
    command.stamp(made.config, "r2", purge=True)
    assert heads(made) == {"r2"}
    assert {name for name in names(telemetry) if "step" not in name} == {"schema.migrate stamp"}
    assert outcomes(telemetry)[0] == ("downgrade", "rolled_back")
    assert outcomes(telemetry)[1] == ("upgrade", "applied")


def test_offline_prints_the_same_sql_and_migrates_nothing(
    project: Callable[..., Project], watch: Callable[..., Telemetry], capsys: pytest.CaptureFixture[str]
) -> None:
    """`--sql` prints what it prints without us; its span says that no database was there, and there is no point."""
    made = leads(project(PSYCOPG))
    command.upgrade(made.config, "head", sql=True)
    plain = capsys.readouterr().out
    telemetry = watch()
    command.upgrade(made.config, "head", sql=True)
    assert capsys.readouterr().out == plain
    assert plain.count("CREATE TABLE") == 4
    run = telemetry.spans()[-1]
    assert run.attributes is not None
    assert run.attributes["schema.migration.offline"] is True
    assert "schema.migration.outcome" not in run.attributes
    assert telemetry.points(TIMESTAMP) == []


def test_commands_that_do_not_migrate_are_no_runs(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """`current`, `history`, `check`, `revision --autogenerate` have no span and no point, and find none of ours."""
    env = SYNC.replace("connection=connection", "connection=connection, target_metadata=METADATA")
    made = leads(project("sqlite", "from sqlalchemy import MetaData\nMETADATA = MetaData()\n" + env))
    command.upgrade(made.config, "head")
    runs = names(telemetry), outcomes(telemetry)
    command.current(made.config)
    if hasattr(command, "check"):  # since 1.9
        with pytest.raises(CommandError) as drift:
            command.check(made.config)
        assert str(drift.value).count("_table'") == str(drift.value).count("remove_table'") == 3
    command.history(made.config, indicate_current=True)
    command.revision(made.config, autogenerate=True)
    assert (names(telemetry), outcomes(telemetry)) == runs


def test_a_custom_environment(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """Code that enters an environment of its own and hands the function over later, as Alembic's docs do, is a run."""
    made = leads(project("sqlite"))
    script = ScriptDirectory.from_config(made.config)
    engine = sa.create_engine(made.url)
    with EnvironmentContext(made.config, script) as environment, engine.connect() as connection:
        environment.configure(connection=connection, fn=lambda rev, _context: script._upgrade_revs("head", rev))
        with environment.begin_transaction():
            environment.run_migrations()
    engine.dispose()
    assert names(telemetry)[-1] == "schema.migrate upgrade"
    assert outcomes(telemetry) == [("upgrade", "applied")]


MULTI = """
from alembic import context
from sqlalchemy import create_engine, pool
for url in context.config.get_main_option("urls").split(","):
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


def test_several_databases_in_one_run(postgresql: Server, tmp_path: Path, telemetry: Telemetry) -> None:
    """One run over two databases has a point for each, with its own outcome; the span has the worse one."""
    pytest.importorskip(PSYCOPG.partition("+")[2])
    urls = [postgresql.fresh(PSYCOPG), postgresql.fresh(PSYCOPG)]
    made = leads(Project(tmp_path / "project", urls[0], MULTI))
    engine = sa.create_engine(urls[1])
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (id INTEGER)"))
    engine.dispose()
    config = made.config
    config.set_main_option("urls", ",".join(urls))
    with pytest.raises(sa.exc.ProgrammingError):
        command.upgrade(config, "head")
    found = {of["db.namespace"]: of["schema.migration.outcome"] for of, _ in telemetry.points(TIMESTAMP)}
    assert found == {make_url(urls[0]).database: "applied", make_url(urls[1]).database: "failed"}


def test_file_config_does_not_silence_us(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A stock env.py's fileConfig() disables every logger there is: ours speak again, a mute one stays mute."""
    package = logging.getLogger("opentelemetry.instrumentation.schema.faults")
    mute = logging.getLogger("opentelemetry.instrumentation.schema.mute")
    other = logging.getLogger("somebody.else")
    package.disabled, mute.disabled, other.disabled = False, True, False
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        command.upgrade(leads(project("sqlite")).config, "head")
        assert (package.disabled, mute.disabled, other.disabled) == (False, True, True)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for logger in logging.root.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False


@pytest.mark.parametrize("broken", ["begin", "step", "heads"])
def test_a_fault_of_ours_does_not_reach_the_migration(
    broken: str, project: Callable[..., Project], telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the tracking fails, the migration is applied as ever, and the fault is counted."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(faults, "reraise", False)
    place = {
        "begin": (_tracked.TrackedCommand, "__init__"),
        "step": (_database.MigratedDatabase, "begin_step"),
        "heads": (_database.MigratedDatabase, "outcome"),
    }
    monkeypatch.setattr(*place[broken], fail)
    made = leads(project("sqlite"))
    command.upgrade(made.config, "head")
    assert heads(made) == {"r3"}
    assert sum(faults.take().values()) + telemetry.total("schema.telemetry.errors") >= 1


def test_nothing_is_left_behind(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """After a run no listener, no handler and no function of ours is left; uninstrumented, Alembic is as it was."""
    engine = sa.create_engine((made := leads(project("sqlite"))).url)
    config, picked = made.config, []
    env = made.folder / "migrations/env.py"
    env.write_text(env.read_text() + "\ncontext.config.attributes['picked'].append(context.get_context())\n")
    config.attributes["picked"] = picked
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert not list(connection.dispatch.after_cursor_execute)
    engine.dispose()
    assert picked[0]._migrations_fn.__module__ == "alembic.command"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    telemetry.off()
    for cls, name in (
        (EnvironmentContext, "__enter__"),
        (EnvironmentContext, "__exit__"),
        (MigrationContext, "run_migrations"),
        (MigrationContext, "autocommit_block"),
        (HeadMaintainer, "update_to_step"),
    ):
        assert type(vars(cls)[name]).__name__ == "function"


def test_a_thread_and_somebody_elses_handler_are_left_alone(
    project: Callable[..., Project], telemetry: Telemetry
) -> None:
    """SIGTERM is seen in the main thread alone, and only where nobody else handles it."""
    made = leads(
        project(
            "sqlite",
            SYNC + "\nimport signal; SEEN = signal.getsignal(signal.SIGTERM); "
            "context.config.attributes['seen'].append(SEEN)\n",
        )
    )
    config = made.config
    config.attributes["seen"] = seen = []
    command.upgrade(config, "r1")
    thread = threading.Thread(target=command.upgrade, args=(config, "r2"))
    thread.start()
    thread.join()
    own = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        command.upgrade(config, "r3")
    finally:
        signal.signal(signal.SIGTERM, own)
    assert callable(seen[0])
    assert seen[1:] == [signal.SIG_DFL, signal.SIG_IGN]


def test_sigterm_to_a_child_is_the_childs(project: Callable[..., Project], telemetry: Telemetry) -> None:
    """A process that a migration forks dies of its own SIGTERM, and the run goes on."""
    step = """
        import os, signal, time
        child = os.fork()
        if not child:
            time.sleep(60)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        time.sleep(1.5)
    """
    command.upgrade(project("sqlite").add("r1", step).config, "head")
    assert outcomes(telemetry) == [("upgrade", "applied")]
