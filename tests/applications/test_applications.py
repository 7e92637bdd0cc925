"""Published applications under `opentelemetry-instrument`, their settings untouched: every count is the client's own.

The applications are installed wheels. Between them: FastAPI, Flask mounted in FastAPI, Flask with marshmallow, Django;
an asynchronous database; two workers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema import semconv

from processes import beside_python
from sink import Sink
from tests.applications.installed import CANARY, Application, Call, Missing, install, serve, total

ROOT = Path(__file__).parents[2]
NAMES = [instrument.name for instrument in semconv.INSTRUMENTS]

TOKEN = "0123456789abcdef0123456789abcdef01234567"

PREFECT = Application(
    "prefect==3.9.1",
    ("prefect", "server", "start", "--host", "127.0.0.1", "--port", "{port}"),
    "/api/health",
    "/api/health",
    (
        Call("POST", "/api/flows/", "/api/flows/", 201, {"name": CANARY}),
        Call("POST", "/api/flows/", "/api/flows/", 422, {"title": CANARY}, invalid=1),
        Call("POST", "/api/flows/", "/api/flows/", 422, "{" + CANARY, invalid=1),
        Call("POST", "/api/flows/filter", "/api/flows/filter", 200, {}),
        Call("POST", "/api/flows/filter", "/api/flows/filter", 422, {"limit": CANARY}, invalid=1),
        Call("POST", "/api/flows/count", "/api/flows/count", 200, {}),
        Call("GET", f"/api/flows/{CANARY}", None, 404),  # the id is a UUID
        Call("POST", "/api/work_pools/", "/api/work_pools/", 201, {"name": CANARY, "type": "process"}),
        Call("POST", "/api/work_pools/", "/api/work_pools/", 422, {"name": f"{CANARY}/", "type": "process"}, invalid=1),
        Call("GET", "/api/admin/version", "/api/admin/version", 200),
        Call("GET", f"/api/{CANARY}", None, 404),
    ),
    module="prefect.",
    environment={"PREFECT_HOME": "{home}/prefect", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
)

EXPERIMENTS = "/api/2.0/mlflow/experiments"
MLFLOW = Application(
    "mlflow==3.17.2",
    (
        "mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2",
        "--backend-store-uri", "sqlite:///{home}/mlflow.db", "--artifacts-destination", "{home}/artifacts",
    ),
    "/health",
    "/health",
    (
        Call("POST", *2 * [f"{EXPERIMENTS}/create"], 200, {"name": CANARY}),
        Call("POST", *2 * [f"{EXPERIMENTS}/create"], 400, {"name": 3}),
        Call("POST", *2 * [f"{EXPERIMENTS}/search"], 200, {"max_results": 9}),
        Call("GET", "/version", "/version", 200),
        Call("POST", "/v1/traces", "/v1/traces", 422, {CANARY: CANARY}, invalid=1),
        Call("GET", f"/{CANARY}", "/{path}", 404),  # of the mount at /, below which Flask has no such route
    ),
    module="mlflow.",
    single=False,
)  # fmt: skip

LABEL_STUDIO = Application(
    "label-studio==1.23.2",
    (
        "label-studio", "start", "--no-browser", "--port", "{port}", "--data-dir", "{home}/data",
        "--username", "a@example.com", "--password", "only for tests", "--user-token", TOKEN,
    ),
    "/health",
    "health/",
    (
        Call("GET", "/api/projects", "^api/projects/", 401),
        Call("POST", "/api/projects", "^api/projects/", 401, {"title": CANARY}),
        Call("GET", "/version", "version/", 200),
        Call("GET", f"/{CANARY}", None, 404),
    ),
    module="label_studio.",
    environment={"LATEST_VERSION_CHECK": "false", "COLLECT_ANALYTICS": "false"},
)  # fmt: skip

SUPERSET = Application(
    "apache-superset==6.0.0",
    (
        "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "--timeout", "120", "superset.app:create_app()",
    ),
    "/health",
    "/health",
    (
        Call("POST", "/api/v1/security/login", "/api/v1/security/login", 200,
             {"username": "admin", "password": "only for tests", "provider": "db"}),
        # of a schema of flask-appbuilder, and so left out
        Call("POST", "/api/v1/security/login", "/api/v1/security/login", 400, {"username": 3}),
        Call("GET", "/api/v1/dashboard/", "/api/v1/dashboard/", 401),
        Call("POST", "/api/v1/security/login", "/api/v1/security/login", 200,
             {"username": "admin", "password": "only for tests", "provider": "db"},
             headers={"Authorization": "Bearer {access_token}"}),
        Call("GET", "/api/v1/security/csrf_token/", "/api/v1/security/csrf_token/", 200,
             headers={"X-CSRFToken": "{result}"}),
        Call("POST", "/api/v1/dashboard/", "/api/v1/dashboard/", 201, {"dashboard_title": CANARY}),
        Call("POST", "/api/v1/dashboard/", "/api/v1/dashboard/", 400, {"dashboard_title": 3, CANARY: CANARY},
             invalid=1),
        Call("POST", "/api/v1/chart/", "/api/v1/chart/", 400, {"slice_name": CANARY}, invalid=1),
        Call("GET", f"/{CANARY}", None, 404),
    ),
    module="superset.",
    environment={"SUPERSET_SECRET_KEY": "only for tests", "FLASK_APP": "superset", "SUPERSET_HOME": "{home}"},
    prepare=(
        ("superset", "db", "upgrade"),
        ("superset", "fab", "create-admin", "--username", "admin", "--firstname", "a", "--lastname", "b",
         "--email", "a@example.com", "--password", "only for tests"),
        ("superset", "init"),
    ),
    extra=("rich",),  # which it imports and does not require
    single=False,
)  # fmt: skip

APPLICATIONS = [PREFECT, MLFLOW, LABEL_STUDIO, SUPERSET]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda application: application.requirement)
def test_a_real_application(application: Application, wheel: Path, tmp_path: Path) -> None:
    """It answers as without us; each request and each broken schema counts once; nothing of the data is exported."""
    try:
        install(application, wheel)
    except Missing as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{application.requirement} cannot be installed: {reason}")
    prompt = str(beside_python("otel-schema"))
    with Sink() as nobody:
        plain = serve(application, tmp_path / "plain", nobody, NAMES, False, prompt)
        assert not nobody.metric_points("api.requests")
    with Sink() as sink:
        ours = serve(application, tmp_path / "ours", sink, NAMES, True, prompt)
    print(
        f"\n{application.requirement}: {ours.idle.total()} series before the first request, {ours.used.total()} after "
        f"{len(ours.log)} requests"
    )
    assert ours.answers == plain.answers
    assert [status for status, _ in ours.answers] == [call.status for call in application.calls]
    assert total(sink, "api.requests", "http.request.method", "http.route") == ours.requests()
    invalid = sum((call.invalid for call in application.calls), 0)
    assert sum(total(sink, "validation.errors").values()) == invalid
    assert not total(sink, "schema.telemetry.errors", "schema.telemetry.component", "error.type")
    assert not total(sink, "schema.telemetry.dropped", "schema.telemetry.instrument")
    names = [str(point) for name in NAMES for point in sink.metric_points(name)] + [str(span) for span in sink.spans()
             if span.scope == semconv.SCOPE]  # fmt: skip
    assert not [line for line in names if CANARY in line]
    assert ours.used.total() < 4000
    if application.single:
        shown = {row["endpoint"]: row for row in ours.top["endpoints"] if row["requests"]}
        assert {name: row["requests"] for name, row in shown.items()} == {
            f"{method} {route or '(no route)'}": number for (method, route), number in ours.requests().items()
        }
        assert sum(row["errors"] for row in shown.values()) == invalid
