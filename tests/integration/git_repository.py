"""A scratch repository with migrations, driven by real Git."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from opentelemetry.instrumentation.schema._migrations.git_hooks.check import CheckResult, HookScope, check
from opentelemetry.instrumentation.schema._migrations.git_hooks.staged import Staged
from opentelemetry.instrumentation.schema._migrations.git_hooks.staged_migrations import MigrationPaths
from opentelemetry.instrumentation.schema.cli.group import otel_schema

BIN = Path(sys.executable).parent
ALEMBIC = MigrationPaths("alembic", ("migrations/versions",), "alembic_version")
DBMATE = MigrationPaths("dbmate", ("db/migrations",), "schema_migrations")


class CommandOutput(NamedTuple):
    code: int
    out: str
    err: str


class Repository:
    """A repository, with the environment that its Git runs in."""

    def __init__(self, root: Path, new: bool = True) -> None:
        self.root = root
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("GIT", "PRE_COMMIT", "DBMATE"))}
        self.environment = clean | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_EDITOR": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for who in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{who}_NAME": "Ann Lee", f"GIT_{who}_EMAIL": "ann@example.com"}
        if new:
            root.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "-b", "main")

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> CommandOutput:
        done = subprocess.run(
            command,
            cwd=cwd or self.root,
            env=self.environment | environment,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
        return CommandOutput(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str, code: int | None = 0, **environment: str) -> CommandOutput:
        ran = self.run("git", *arguments, **environment)
        assert code is None or ran.code == code, ran
        return ran

    @contextmanager
    def _inside(self, environment: dict[str, str]) -> Iterator[None]:
        """This process as one that was started in the repository."""
        old, directory = dict(os.environ), os.getcwd()
        os.environ.clear()
        os.environ.update(self.environment | environment)
        os.chdir(self.root)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(old)
            os.chdir(directory)

    def otel_schema(self, *arguments: str, **environment: str) -> CommandOutput:
        """The command in this process, which saves the start of another; the hooks start one."""
        out, err = io.StringIO(), io.StringIO()
        code: object = None
        with self._inside(environment), redirect_stdout(out), redirect_stderr(err):
            try:
                otel_schema.main(args=list(arguments), prog_name="otel-schema")
            except SystemExit as end:
                code = end.code
        return CommandOutput(int(str(code)), out.getvalue(), err.getvalue())

    def write(self, name: str, text: str | bytes, stage: bool = True) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        if stage:
            self.git("add", "--", name)
        return file

    def migration(
        self, revision: str, down: str | None, up: str = 'op.create_index("ix", "lead", ["name"])', **more: str
    ) -> Path:
        name = more.get("name", f"{revision}_change.py")
        return self.write(
            f"migrations/versions/{name}",
            f"{more.get('head', '')}revision = {revision!r}\ndown_revision = {down!r}\n\n"
            f"def upgrade():\n    {up}\n\ndef downgrade():\n    {more.get('back', 'op.drop_index(0)')}\n",
            stage=more.get("stage") != "no",
        )

    def commit(self, message: str = "change", code: int | None = 0, *arguments: str) -> CommandOutput:
        return self.git("commit", "-q", "-m", message, *arguments, code=code)

    def check(self, base: str | None = None, downgrades: bool = True) -> CheckResult:
        """What the check finds, in this process."""
        with self._inside({}):
            places = tuple(each for each in (ALEMBIC, DBMATE) if (self.root / each.directories[0]).is_dir())
            return check(Staged(self.root, base), HookScope(migrations=places, downgrades=downgrades))

    def codes(self, base: str | None = None, downgrades: bool = True) -> list[str]:
        return [each.code for each in self.check(base, downgrades).findings]
