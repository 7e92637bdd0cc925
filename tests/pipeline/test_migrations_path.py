"""A run of `alembic` on its way: wrapper, collector, Prometheus, rule, alert; and out of it again by the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from programs import STANDALONE, Collector, Prometheus, eventually, free_port

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
