"""A migration under an application of several workers: each worker's revision changes, and no request fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from time import sleep

import pytest

from processes import until
from sink import Sink
from tests.databases import Server, free_port
from tests.integration.migrated import TABLE, Project

APP = """
import os
import sqlalchemy as sa
from fastapi import FastAPI

engine = sa.create_engine(os.environ["URL"])
app = FastAPI()

@app.get("/leads")
def leads() -> int:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT 1")).scalar_one()
"""
WORKERS = 4


@pytest.mark.nightly
def test_each_worker_sees_the_migration(postgresql: Server, tmp_path: Path) -> None:
    """Each of four workers publishes the new revision as current, the old one as 0, and every request is answered."""
    project = Project(tmp_path / "project", postgresql.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    assert project.do("upgrade").code == 0
    (project.path / "served.py").write_text(APP)
    port = free_port()
    programs = Path(sys.executable).parent
    with Sink() as sink:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "URL": project.url,
            "OTEL_SERVICE_NAME": "leads",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": "1",
        }
        uvicorn = [programs / "uvicorn", "served:app", "--port", str(port), "--workers", str(WORKERS)]
        server = subprocess.Popen(
            [programs / "opentelemetry-instrument", *uvicorn], cwd=project.path, env=environment, start_new_session=True
        )
        ended, failed, answered = threading.Event(), [], [0]

        def ask() -> None:
            while not ended.is_set():
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/leads", timeout=60) as answer:
                        answered[0] += answer.status == 200
                except (OSError, urllib.error.URLError) as error:
                    if answered[0]:
                        failed.append(error)
                sleep(0.02)

        clients = [threading.Thread(target=ask) for _ in range(8)]
        try:
            for each in clients:
                each.start()
            assert until(lambda: seen(sink, "r1") >= WORKERS, 240), "the first revision in each worker"
            project.revision("r2", "r1", 'op.add_column("a", sa.Column("x", sa.Integer()))', 'op.drop_column("a", "x")')
            done = project.do("upgrade")
            assert done.code == 0, done.all
            assert until(lambda: seen(sink, "r2") >= WORKERS, 240), "the second revision in each worker"
            before = answered[0]
            assert until(lambda: answered[0] > before + 50, 240), "requests afterwards"
        finally:
            ended.set()
            for each in clients:
                each.join()
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
    assert not failed


def seen(sink: Sink, revision: str) -> int:
    """How many processes published a revision."""
    points = sink.metric_points("schema.db.info")
    return len(
        {
            str(point.resource.get("service.instance.id", point.resource))
            for point in points
            if point.attributes.get("schema.db.revision") == revision and point.value == 1
        }
    )
