"""A project with Alembic or DBMate migrations in a folder of its own, and what its database truly holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from opentelemetry.instrumentation.schema.cli.group import otel_schema
from sqlalchemy.pool import NullPool

from tests.databases import Server

KINDS = [
    "postgresql",
    pytest.param("mariadb", marks=pytest.mark.nightly),
    pytest.param("sqlite", marks=pytest.mark.nightly),
]

ENV = """
from alembic import context
from sqlalchemy import create_engine, pool
url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, %s)
        with context.begin_transaction():
            context.run_migrations()
"""

APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}  # click 8.1
RUNNER = CliRunner(**APART)


@dataclass
class CommandOutput:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return f"{self.out}\n{self.err}"


@dataclass
class Project:
    """A folder with alembic.ini and revisions for one database."""

    path: Path
    url: str
    options: str = ""

    def __post_init__(self) -> None:
        (self.path / "migrations/versions").mkdir(parents=True)
        (self.path / "alembic.ini").write_text(
            "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\n"
            f"sqlalchemy.url = {self.url.replace('%', '%%')}\n"
        )
        (self.path / "migrations/env.py").write_text(ENV % self.options)

    def revision(self, name: str, down: str | None, up: str, undo: str | None = "pass", head: str = "") -> Path:
        """Write a revision."""
        file = self.path / f"migrations/versions/{name}_.py"
        text = f'"""{name.title()}."""\nimport sqlalchemy as sa\nfrom alembic import context, op\n{dedent(head)}\n'
        text += f"revision = {name!r}\ndown_revision = {down!r}\n\ndef upgrade():\n{indent(dedent(up), '    ')}\n"
        if undo is not None:
            text += f"\ndef downgrade():\n{indent(dedent(undo), '    ')}\n"
        file.write_text(text)
        return file

    def line(self) -> None:
        """Three plain revisions: a table, a column, another table."""
        self.revision("r1", None, TABLE, 'op.drop_table("a")')
        self.revision("r2", "r1", 'op.add_column("a", sa.Column("b", sa.Integer()))', 'op.drop_column("a", "b")')
        self.revision("r3", "r2", TABLE.replace('"a"', '"c"'), 'op.drop_table("c")')

    def do(self, *arguments: str) -> CommandOutput:
        """Run otel-schema in this process."""
        here = Path.cwd()
        os.chdir(self.path)
        try:
            done = RUNNER.invoke(otel_schema, list(arguments))
        finally:
            os.chdir(here)
        return CommandOutput(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """Start otel-schema as a process."""
        code = "from opentelemetry.instrumentation.schema.cli import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, stdout=pipe, stderr=pipe, text=True, **more)

    def sql(self, *statements: str) -> None:
        """Run statements on a fresh connection."""
        engine = sa.create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def truth(self) -> tuple[list[str], dict[str, set[str]]]:
        """Heads, and the columns of each table, on a fresh connection that is not the commands'."""
        engine = sa.create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            tables = set(inspector.get_table_names())
            heads: list[str] = []
            for table, column in (("alembic_version", "version_num"), ("schema_migrations", "version")):
                if table in tables:
                    rows = connection.exec_driver_sql(f"SELECT {column} FROM {table} ORDER BY 1")
                    heads += [row[0] for row in rows]
                    tables.discard(table)
            columns = {name: {each["name"] for each in inspector.get_columns(name)} for name in tables}
        engine.dispose()
        return heads, columns

    def history(self) -> list[dict[str, Any]]:
        """The lines of the history file."""
        file = self.path / ".otel-schema/history.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


TABLE = 'op.create_table("a", sa.Column("id", sa.Integer(), primary_key=True))'


class Folder(Project):
    """A folder with DBMate's migrations; `plain` is the URL as DBMate takes it."""

    def __init__(self, path: Path, url: str, plain: str) -> None:
        self.path, self.url, self.plain = path, url, plain
        (path / "db/migrations").mkdir(parents=True)

    def migration(self, name: str, up: str, down: str | None) -> Path:
        """Write a migration."""
        file = self.path / f"db/migrations/{name}.sql"
        file.write_text(f"-- migrate:up\n{up}\n" + ("" if down is None else f"\n-- migrate:down\n{down}\n"))
        return file

    def do(self, *arguments: str, url: str | None = None) -> CommandOutput:
        """Run otel-schema in this process."""
        return super().do(*arguments, "--url", url or self.plain)


def dbmate_folder(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder without migrations, on an empty database of a kind."""
    if kind == "sqlite":
        return Folder(tmp_path / "project", f"sqlite:///{tmp_path}/app.db", f"sqlite:{tmp_path}/app.db")
    server: Server = request.getfixturevalue(kind)
    url = server.fresh()
    scheme = {"postgresql": "postgres", "mariadb": "mysql"}[kind]
    plain = url.replace(url.partition(":")[0], scheme) + ("?sslmode=disable" if scheme == "postgres" else "")
    return Folder(tmp_path / "project", url, plain)
