"""`otel-schema init` on projects of each framework: what it writes is valid, and the command it names shows numbers."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from opentelemetry.instrumentation.schema.cli.group import otel_schema

from processes import clean_environment, free_port, listens, program

ROOT = Path(__file__).parents[2]
SCHEMA = "from pydantic import BaseModel\n\nclass Order(BaseModel):\n    quantity: int\n\n"
FASTAPI = (
    f"from fastapi import FastAPI\n{SCHEMA}app = FastAPI()\n\n@app.post('/orders')\n"
    "def create(order: Order) -> Order:\n    return order\n"
)
FLASK = (
    f"from flask import Flask, request\n{SCHEMA}app = Flask(__name__)\n\n@app.post('/orders')\ndef create():\n"
    "    return Order.model_validate(request.get_json()).model_dump()\n"
)
SETTINGS = "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'shop.urls'\n"
URLS = (
    f"import json\nfrom django.http import JsonResponse\nfrom django.urls import path\n{SCHEMA}"
    "def create(request):\n    return JsonResponse(Order.model_validate(json.loads(request.body)).model_dump())\n\n"
    "urlpatterns = [path('orders', create)]\n"
)
PROJECTS: dict[str, dict[str, str]] = {
    "fastapi": {"main.py": FASTAPI},
    "flask": {"app.py": FLASK},
    "django": {
        "manage.py": "import os\nimport sys\n\nfrom django.core.management import execute_from_command_line\n\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nexecute_from_command_line(sys.argv)\n",
        "shop/settings.py": SETTINGS,
        "shop/urls.py": URLS,
        "shop/asgi.py": "from django.core.asgi import get_asgi_application\n\napplication = get_asgi_application()\n",
    },
}
COMPOSE = """\
services:
  web:
    build: .
    ports: ["8000:8000"]
    depends_on: [db]
  db:
    image: postgres:16
"""


class Loader(yaml.SafeLoader):
    """Compose's own tags stand for their values."""


Loader.add_constructor("!reset", lambda _, node: [])


def written(folder: Path, framework: str, *arguments: str, **more: str) -> str:
    """Write a project, run init on it, and return what it printed."""
    for name, text in {**PROJECTS[framework], **more}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        result = CliRunner().invoke(otel_schema, ["init", str(folder), "--yes", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def shown(folder: Path, start: str) -> str:
    """Types a start command as it stands, sends one request, and returns what /metrics shows."""
    port, metrics = free_port(), free_port()
    environment = {
        **clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "UVICORN_PORT": str(port),
        "FLASK_RUN_PORT": str(port), "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics),
    }  # fmt: skip
    command: list[str | Path] = ["bash", "-c", start.replace("--noreload", f"--noreload {port}")]
    with program("app", command, folder / "log", lambda: listens(port), environment, folder):
        httpx.post(f"http://127.0.0.1:{port}/orders", json={"quantity": 1})
        return httpx.get(f"http://127.0.0.1:{metrics}/metrics").text


IN_A_FOLDER = {
    "backend/app/main.py": FASTAPI.replace(SCHEMA, "from app.models import Order\n"),
    "backend/app/models.py": SCHEMA,
    "backend/requirements.txt": "fastapi",
    "main.py": "",
}


@pytest.mark.parametrize(
    ("framework", "more", "line"),
    [
        pytest.param("fastapi", IN_A_FOLDER, "start", id="fastapi, in a folder of the project"),
        pytest.param("flask", {"Procfile": "web: gunicorn -w 2 app:app\n"}, "try", id="flask, beside workers"),
        pytest.param("django", {}, "start", id="django"),
    ],
)
def test_first_numbers(tmp_path: Path, framework: str, more: dict[str, str], line: str) -> None:
    """The command that init prints, typed as it stands, shows the first validation without a collector."""
    said = written(tmp_path, framework, "--service", "shop", **more)
    command = re.search(rf"^{line}: +(.+)$", said, re.MULTILINE)
    assert command is not None
    assert re.search(
        r'^schema_validation_duration_seconds_count\{.*schema_name="Order".* [12]\.0$',
        shown(tmp_path, command[1]),
        re.MULTILINE,
    )


def answered(folder: Path, *answers: str) -> tuple[str, int]:
    """Run init on a terminal, and give it an answer at each question."""
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    command = [str(Path(sys.executable).with_name("otel-schema")), "init", str(folder)]
    left, said, at, deadline = list(answers), "", 0, time.monotonic() + 240
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment, close_fds=True) as child:
        os.close(its)
        while time.monotonic() < deadline:
            if left and re.search(r"(\]|\?|\)): $", said[at:]):
                at = len(said)
                os.write(ours, f"{left.pop(0)}\n".encode())
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                more = os.read(ours, 65536)
            except OSError:  # the terminal is closed: the command has ended
                break
            said += more.decode()
            if not more:
                break
        else:
            child.kill()
        code = child.wait()
    os.close(ours)
    assert not left, said
    return said, code


def test_questions(tmp_path: Path) -> None:
    """On a terminal, init asks its questions, one after the other, and does what the answers say."""
    (tmp_path / "main.py").write_text(FASTAPI)
    said, code = answered(tmp_path, "leads", "compute", "bare", "y", "prod", "y")
    assert code == 0, said
    questions = re.findall(r"^(Service name|Where does|Does the app|Environment|Write these)", said, re.MULTILINE)
    assert questions == ["Service name", "Where does", "Where does", "Does the app", "Environment", "Write these"]
    assert "'compute' is not one of" in said
    variables = (tmp_path / "otel/schema.env").read_text()
    assert "OTEL_SERVICE_NAME=leads\n" in variables
    assert "deployment.environment.name=prod\n" in variables
    assert "OTEL_METRICS_EXPORTER=otlp\n" in variables


def test_a_no_writes_nothing(tmp_path: Path) -> None:
    """Who answers no to the last question has nothing written; each empty answer is the default in brackets."""
    (tmp_path / "main.py").write_text(FASTAPI)
    said, code = answered(tmp_path, "", "", "", "", "n")
    assert (code, "nothing was written" in said) == (0, True), said
    assert not (tmp_path / "otel").exists()


def test_doctor_runs_at_the_end(tmp_path: Path) -> None:
    """What doctor says of the written set-up is the end of the output, and it has no finding."""
    said = written(tmp_path, "fastapi").partition("otel-schema doctor says:")[2]
    assert "✓ the SDK, its configurator and the chosen exporters are installed" in said
    assert "✗" not in said


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """Everything is below otel/; a second run writes nothing, one after an edit refuses and names the file."""
    written(tmp_path, "fastapi")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path).parts[0] for path in before} == {"main.py", "otel"}
    assert "nothing to write: all files exist already" in written(tmp_path, "fastapi")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    edited = tmp_path / "otel" / "schema.env"
    edited.write_text(edited.read_text() + "MINE=1\n")
    result = CliRunner().invoke(otel_schema, ["init", str(tmp_path), "--yes"])
    assert result.exit_code == 2
    assert str(edited) in result.output


def test_diff_writes_nothing(tmp_path: Path) -> None:
    """--diff shows the variables that would be written, and writes nothing."""
    (tmp_path / "main.py").write_text(FASTAPI)
    result = CliRunner().invoke(otel_schema, ["init", str(tmp_path), "--diff"])
    assert result.exit_code == 1
    assert "+OTEL_METRICS_EXPORTER=prometheus" in result.output
    assert not (tmp_path / "otel").exists()


def test_several_processes(tmp_path: Path) -> None:
    """Workers export by OTLP to a collector, whose config is there with a Prometheus that scrapes it."""
    said = written(tmp_path, "fastapi", "--environment", "prod", Procfile="web: gunicorn -w 4 main:app\n")
    variables = dict(line.split("=", 1) for line in (tmp_path / "otel/schema.env").read_text().splitlines()[1:])
    assert variables["OTEL_METRICS_EXPORTER"] == "otlp"
    assert variables["OTEL_METRIC_EXPORT_INTERVAL"] == "15000"
    assert (tmp_path / "otel/collector/standalone.yaml").exists()
    config = yaml.safe_load((tmp_path / "otel/prometheus/collector.yml").read_text())
    (job, _) = config["scrape_configs"]
    assert job["static_configs"][0]["labels"] == {"environment": "prod"}
    assert "\nstart:    set -a; . otel/schema.env; set +a; opentelemetry-instrument gunicorn -w 4 main:app\n" in said
    assert " OTEL_METRICS_EXPORTER=prometheus " in said
    assert "opentelemetry-instrument uvicorn main:app\n" in said
    checked = ["promtool", "check", "config", "--syntax-only", str(tmp_path / "otel/prometheus/collector.yml")]
    subprocess.run(checked, check=True, stdout=subprocess.DEVNULL)


def test_compose(tmp_path: Path) -> None:
    """The compose file is one, by the published schema; it adds to the service that is built here."""
    written(tmp_path, "fastapi", **{"compose.yaml": COMPOSE})
    document: dict[str, Any] = yaml.load((tmp_path / "otel/compose.yaml").read_text(), Loader)
    del document["services"]["schema-packages"]["container_name"]  # reset to nothing, which the schema has no word for
    spec = json.loads((ROOT / "tests/dashboards/compose-spec.json").read_text())
    jsonschema.Draft7Validator(spec).validate(document)
    assert document["services"]["web"]["env_file"] == ["otel/schema.env"]
    for service in document["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source == "schema-packages" or (tmp_path / source).exists(), volume


def test_packages_beside_the_app(tmp_path: Path) -> None:
    """Without a change of its command, an app is measured by what PYTHONPATH adds, as the compose file sets it."""
    written(tmp_path, "fastapi")
    from opentelemetry.instrumentation import auto_instrumentation

    port, metrics = free_port(), free_port()
    environment = {
        **clean_environment(), "PYTHONPATH": str(Path(str(auto_instrumentation.__file__)).parent),
        "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics),
    }  # fmt: skip
    command: list[str | Path] = [sys.executable, "-m", "uvicorn", "--port", str(port), "main:app"]
    with program("app", command, tmp_path / "log", lambda: listens(port), environment, tmp_path):
        httpx.post(f"http://127.0.0.1:{port}/orders", json={"quantity": 1})
        assert 'schema_name="Order"' in httpx.get(f"http://127.0.0.1:{metrics}/metrics").text


def test_kubernetes(tmp_path: Path) -> None:
    """The Instrumentation holds the same variables, and the rules are there as a PrometheusRule."""
    written(tmp_path, "fastapi", "--where", "kubernetes", "--service", "shop")
    document = yaml.safe_load((tmp_path / "otel/kubernetes/instrumentation.yaml").read_text())
    env = {one["name"]: one["value"] for one in document["spec"]["python"]["env"]}
    assert env["OTEL_SERVICE_NAME"] == "shop"
    assert (tmp_path / "otel/kubernetes/prometheusrule.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--service", "a b"], "--service 'a b'"),
        (["--where", "compose"], "no compose file here"),
        (["--environment", "prod/eu"], "--environment 'prod/eu'"),
        (["--hooks"], "--hooks: this is not a Git repository with Alembic"),
    ],
)
def test_wrong_answers(tmp_path: Path, arguments: list[str], said: str) -> None:
    """An answer that cannot be is named, and nothing is written."""
    (tmp_path / "main.py").write_text(FASTAPI)
    result = CliRunner().invoke(otel_schema, ["init", str(tmp_path), "--yes", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "otel").exists()


def test_no_application(tmp_path: Path) -> None:
    """A folder without an application that is known leads to the how-to pages."""
    (tmp_path / "main.py").write_text("print('a script')\n")
    result = CliRunner().invoke(otel_schema, ["init", str(tmp_path), "--yes"])
    assert result.exit_code == 2
    assert "docs/how-to" in result.output


def test_hooks_and_ci(tmp_path: Path) -> None:
    """With migrations in a Git repository, hooks are installed, and a workflow that checks pull requests is written."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    more = {"alembic.ini": "[alembic]\nscript_location = migrations\n", ".github/workflows/ci.yml": "on: push\n"}
    more["migrations/versions/0001_first.py"] = "revision = '0001'\ndown_revision = None\n"
    written(tmp_path, "fastapi", "--hooks", **more)
    assert (tmp_path / ".git/hooks/pre-commit").exists()
    workflow = yaml.safe_load((tmp_path / ".github/workflows/schema.yml").read_text())
    assert "otel-schema hooks check" in workflow["jobs"]["migrations"]["steps"][-1]["run"]
