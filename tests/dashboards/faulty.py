"""The leads API with faults beside it: what a healthy app never shows must be seen on a dashboard too."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from opentelemetry.instrumentation.schema import observe_cache, semconv
from opentelemetry.instrumentation.schema._migrations.telemetry import RunRecorder, Target
from opentelemetry.instrumentation.schema._recording import recorder
from opentelemetry.trace import NoOpTracer
from pydantic import BaseModel, ValidationError, field_validator

from leads_api.app import app


class Fragile(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def crash(cls, value: int) -> int:
        raise KeyError(value)


class Strict(BaseModel):
    value: int


class Archive(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def wait(cls, value: int) -> int:
        time.sleep(0.4 + value % 10 / 10)
        return value


@app.post("/archive", response_model=None)
def archive() -> None:
    """A schema that is slow, beside many that are quick."""
    Archive(value=time.monotonic_ns() // 1000)


@app.post("/fragile", response_model=None)
def fragile() -> None:
    """A validator that crashes; its caller lives on."""
    with contextlib.suppress(KeyError):
        Fragile(value=1)


@app.post("/flood", response_model=None)
def flood() -> None:
    """More failures in a second than get a span, outside of any request."""
    thread = threading.Thread(target=fail, args=(250,))
    thread.start()
    thread.join()


def fail(times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(ValidationError):
            Strict.model_validate({})


ENV = """
from alembic import context
with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
revision, down_revision = "{revision}", {down!r}
def upgrade():
    {up}
def downgrade():
    op.execute("DROP TABLE {revision}")
"""


def migrate() -> None:
    """Runs of Alembic on a database beside the app's: applied, rolled back, failed, and stopped half-way."""
    with tempfile.TemporaryDirectory() as name:
        versions = Path(name) / "versions"
        versions.mkdir()
        (Path(name) / "env.py").write_text(ENV)

        def add(revision: str, down: str | None, up: str) -> None:
            text = REVISION.format(revision=revision, down=down, up=up)
            (versions / f"{revision}.py").write_text(text)

        config = Config()
        config.set_main_option("script_location", name)
        config.attributes["engine"] = engine = sa.create_engine(f"sqlite:///{name}/crm.sqlite3")
        add("r1", None, 'op.execute("CREATE TABLE r1 (id INTEGER)")')
        add("r2", "r1", 'op.execute("CREATE TABLE r2 (id INTEGER)")')
        command.upgrade(config, "head")
        command.downgrade(config, "-1")
        for broken in (
            'op.execute("nonsense")',
            'op.execute("CREATE TABLE half (id INTEGER)"); op.execute("nonsense")',
        ):
            add("r2", "r1", broken)
            with contextlib.suppress(sa.exc.OperationalError):
                command.upgrade(config, "head")
        engine.dispose()


def judge() -> None:
    """A verdict of each signal, as the guard publishes them."""
    judged = RunRecorder(NoOpTracer())
    for signal in ("errors", "time", "queries"):
        judged.record_verdict(Target("alembic", "crm"), "degraded" if signal == "errors" else "pass", signal)
    name = semconv.GUARD_TIMESTAMP.name
    if recorder.active is not None:
        recorder.active.observers[name] = judged.observers[name]


migrate()
judge()

# our own failure: the app hands over a callable that raises
observe_cache("broken", lambda: [][0])

__all__ = ["app"]
