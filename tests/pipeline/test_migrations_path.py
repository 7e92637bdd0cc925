"""A run of `alembic` on its way: wrapper, collector, Prometheus, rule, alert; and out of it again by the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from sink import Sink
from tests.pipeline.programs import STANDALONE, Collector, Prometheus, eventually, free_port

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

ENV = """
from alembic import context
from sqlalchemy import create_engine
with create_engine("sqlite:///leads.db").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
revision, down_revision = "a1", None
def upgrade():
    op.execute("CREATE TABLE IF NOT EXISTS leads (id INTEGER)")
    op.execute("{second}")
"""


def test_a_half_migration_alerts_until_the_next_one_is_applied(otelcol: Path, prometheus: str, tmp_path: Path) -> None:
    """A run that stops half-way is a gauge in Prometheus and an alert; the run that mends it ends the alert."""
    versions = tmp_path / "migrations/versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (tmp_path / "migrations/env.py").write_text(ENV)

    def upgrade(second: str, otlp: str) -> int:
        (versions / "a1.py").write_text(REVISION.format(second=second))
        programs = Path(sys.executable).parent
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_SERVICE_NAME": "leads-api",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
            "OTEL_LOGS_EXPORTER": "none",
        }
        command = [programs / "opentelemetry-instrument", programs / "alembic", "upgrade", "head"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    def runs(server: Prometheus) -> dict[str, float]:
        found = server.query('schema_migration_last_run_timestamp_seconds{job="leads-api"}')
        return {labels["schema_migration_outcome"]: value for labels, value in found}

    with Collector(otelcol, STANDALONE, tmp_path / "collector", OTELCOL_NEXT="127.0.0.1:9") as collector:
        home = tmp_path / "prometheus"
        (home / "rules").mkdir(parents=True)
        for name, text in rendering.rules(thresholds.DEFAULTS):
            (home / "rules" / name).write_text(text)
        ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"], 9093: free_port()}
        with Prometheus(prometheus, "collector.yml", home, ports) as server:
            firing = 'ALERTS{alertname="MigrationPartial", alertstate="firing", job="leads-api"}'
            began = time.time()
            assert upgrade("nonsense", collector.otlp) == 1
            eventually(lambda: set(runs(server)) == {"partial"}, "the run that stopped")
            assert began <= runs(server)["partial"] <= time.time()
            eventually(lambda: server.query(firing) != [], "the alert")
            assert upgrade("CREATE INDEX i ON leads (id)", collector.otlp) == 0
            eventually(lambda: server.query(firing) == [], "the end of the alert")
            assert runs(server)["applied"] > runs(server)["partial"]


@pytest.mark.nightly
def test_runs_of_otel_schema_reach_trace_store_and_prometheus(otelcol: Path, prometheus: str, tmp_path: Path) -> None:
    """`otel-schema upgrade` and `rollback` export spans of runs, revisions and statements, and the gauges."""
    versions = tmp_path / "migrations/versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (tmp_path / "migrations/env.py").write_text(ENV)
    head = "from alembic import op\nimport sqlalchemy as sa\n"
    for name, down, table in (("a1", None, "one"), ("a2", "a1", "two")):
        (versions / f"{name}.py").write_text(
            f"{head}revision, down_revision = {name!r}, {down!r}\ndef upgrade():\n"
            f"    op.create_table({table!r}, sa.Column('id', sa.Integer()))\n"
            f'    op.execute("INSERT INTO {table} VALUES (4711)")\n'
            f"def downgrade():\n    op.drop_table({table!r})\n"
        )

    def run(*arguments: str, endpoint: str) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}",
        }
        command = [Path(sys.executable).parent / "otel-schema", *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)

    with Sink() as sink:
        hop = {"OTELCOL_NEXT": sink.grpc_endpoint.removeprefix("http://"), "OTELCOL_DECISION_WAIT": "1s"}
        with Collector(otelcol, STANDALONE, tmp_path / "collector", **hop) as collector:
            ports = {8889: collector.ports["metrics"], 8888: collector.ports["telemetry"], 9093: free_port()}
            with Prometheus(prometheus, "collector.yml", tmp_path / "prometheus", ports) as server:
                run("upgrade", endpoint=collector.otlp)
                run("rollback", "a1", "--allow-data-loss", "two", endpoint=collector.otlp)

                def outcomes() -> set[str]:
                    found = server.query('schema_migration_last_run_timestamp_seconds{job="otel-schema"}')
                    return {labels["schema_migration_outcome"] for labels, _ in found}

                eventually(lambda: outcomes() == {"applied", "rolled_back"}, "the gauges of both runs")
            up = sink.wait_for(lambda: sink.spans("schema.migrate upgrade"))[0]
            sink.wait_for(lambda: sink.spans("schema.migrate downgrade"))
            spans = sink.trace(up.trace_id)
            names = {span.span_id: span.name for span in spans}
            assert sorted((names.get(span.parent_span_id, ""), span.name) for span in spans) == [
                ("", "schema.migrate upgrade"),
                ("schema.migrate upgrade", "schema.migrate.step a1"),
                ("schema.migrate upgrade", "schema.migrate.step a2"),
                ("schema.migrate.step a1", "CREATE"),
                ("schema.migrate.step a1", "INSERT"),
                ("schema.migrate.step a2", "CREATE"),
                ("schema.migrate.step a2", "INSERT"),
            ]
            assert all(up.start_ns <= span.start_ns <= span.end_ns <= up.end_ns for span in spans)
            assert up.attributes["schema.migration.outcome"] == "applied"
            assert not any("4711" in str(span.attributes) for span in spans)
