"""A migration under an application of several workers: each worker's revision changes, and no request fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path
from time import sleep
from typing import NamedTuple

import pytest

from processes import until
from sink import Sink
from tests.databases import Server, free_port
from tests.integration.migrated import TABLE, Project

APP = """
import json
import os
import time
import sqlalchemy as sa
from fastapi import FastAPI

engine = sa.create_engine(os.environ["URL"])
app = FastAPI()

@app.get("/leads")
def leads() -> int:
    connection = engine.connect()
    answer = connection.execute(sa.text("SELECT 1")).scalar_one()
    began = time.time()
    connection.close()  # the revision is read here, if that is due
    database = engine.dialect._otel_schema_watched.database
    ended, until = time.time(), database.due - time.monotonic() + time.time() if database.failed else 0.0
    row = [os.getpid(), began, ended, [each.found for each in database.readings], until]
    with open("returned.jsonl", "a") as log:
        log.write(json.dumps(row) + chr(10))
    return answer
"""
COMMITTED = """
import pathlib
import time
if not context.is_offline_mode():
    pathlib.Path(__file__).with_name("committed").write_text(str(time.time()))
"""
WORKERS = 4
REVISIONS = ("r1", "r2", "r3", "r4")  # several, since workers read in step, and one commit may come just before
INTERVAL = 1.0
"""Seconds between two reads."""


class Returned(NamedTuple):
    """A connection that a worker's request returned.

    Attributes:
        began: When the return began, in Unix s.
        ended: When it had ended, the read with it.
        found: The version table's heads, as known then; None if not known.
        pause: If the last read failed, when the next one is due; else 0.
    """

    began: float
    ended: float
    found: list[str] | None
    pause: float


@pytest.mark.nightly
def test_each_worker_sees_the_migration(postgresql: Server, tmp_path: Path) -> None:
    """Each of four workers publishes the new revision within an interval of the commit; every request is answered."""
    project = Project(tmp_path / "project", postgresql.fresh())
    project.revision("r1", None, TABLE, 'op.drop_table("a")')
    assert project.do("upgrade").code == 0
    with (project.path / "migrations/env.py").open("a") as env:
        env.write(COMMITTED)
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
            "OTEL_PYTHON_SCHEMA_REVISION_INTERVAL": str(INTERVAL),
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process",
        }
        uvicorn = [
            programs / "uvicorn",
            "served:app",
            "--port",
            str(port),
            "--workers",
            str(WORKERS),
            "--no-access-log",
        ]
        uvicorn.append("--no-access-log")
        server = subprocess.Popen(
            [programs / "opentelemetry-instrument", *uvicorn], cwd=project.path, env=environment, start_new_session=True
        )
        ended, failed, answered, commits = threading.Event(), [], [0], []

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
            for old, new in pairwise(REVISIONS):
                project.revision(new, old, f'op.add_column("a", sa.Column("{new}", sa.Integer()))')
                done = project.do("upgrade")
                assert done.code == 0, done.all
                commits.append(float((project.path / "migrations/committed").read_text()))
                assert until(lambda new=new: seen(sink, new) >= WORKERS, 240), f"{new} in each worker"
            before = answered[0]
            assert until(lambda: answered[0] > before + 50, 240), "requests afterwards"
        finally:
            ended.set()
            for each in clients:
                each.join()
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
        assert not failed
        within_an_interval(sink, project.path, commits)


def within_an_interval(sink: Sink, folder: Path, commits: list[float]) -> None:
    """What the workers themselves noted: when each knew a new revision, and when it published it."""
    workers: dict[int, list[Returned]] = {}
    for line in (folder / "returned.jsonl").read_text().splitlines():
        process, began, ended, found, pause = json.loads(line)
        workers.setdefault(process, []).append(Returned(began, ended, found[0] if found else None, pause))
    assert len(workers) == WORKERS
    for (old, new), committed in zip(pairwise(REVISIONS), commits, strict=True):
        for process, rows in workers.items():
            rows.sort(key=lambda row: row.ended)
            known = next(row.ended for row in rows if row.found == [new])
            # A busy machine makes reads slow: such a one says unknown, and the next comes after ten intervals.
            due = max(committed + INTERVAL, *(row.pause for row in rows if row.ended <= known))
            first = min(row.began for row in rows if row.began >= due)
            assert known <= max(row.ended for row in rows if row.began <= first), (process, new, known - committed)
            print(f"worker {process}: {new} {known - committed:.2f} s after the commit")
            for point in sink.metric_points("schema.db.info"):
                if point.resource["process.pid"] == process and point.time_ns / 1e9 > known and point.value:
                    assert point.attributes.get("schema.db.revision") != old


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
