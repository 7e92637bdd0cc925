"""What `otel-schema init` reads off a project's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema.cli.setup.found import look

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "import flask\n\nserver: flask.Flask = flask.Flask(__name__)\n"
FACTORY = "from flask import Flask\n\ndef create_app():\n    app = Flask(__name__)\n    return app\n"
MANAGE = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
COMPOSE = """\
services:
  db:
    image: postgres
  web:
    build: .
    command: {command}
    environment:
      build: no
volumes:
  data: {{}}
"""


def project(folder: Path, **files: str) -> Path:
    """A folder with files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "framework", "command"),
    [
        ({"main.py": FASTAPI}, "fastapi", "uvicorn main:app"),
        ({"src/shop/api.py": FASTAPI}, "fastapi", "uvicorn shop.api:app"),
        ({"shop/__init__.py": FASTAPI}, "fastapi", "uvicorn shop:app"),
        ({"wsgi.py": FLASK}, "flask", "flask --app wsgi:server run"),
        ({"shop/__init__.py": FACTORY}, "flask", "flask --app 'shop:create_app()' run"),
        ({"manage.py": MANAGE, "shop/asgi.py": ""}, "django", "uvicorn shop.asgi:application"),
        ({"manage.py": MANAGE, "shop/wsgi.py": ""}, "django", "gunicorn shop.wsgi:application"),
        ({"tests/app.py": FASTAPI, "README.md": "FastAPI()"}, "", ""),
        ({"broken.py": "FastAPI(", "good.py": FASTAPI}, "fastapi", "uvicorn good:app"),
    ],
)
def test_framework_and_command(tmp_path: Path, files: dict[str, str], framework: str, command: str) -> None:
    """The application is found where it is made, and started as is usual for its framework."""
    found = look(project(tmp_path, **files))
    assert (found.framework, found.command) == (framework, command)


@pytest.mark.parametrize(
    ("name", "text", "command", "workers"),
    [
        ("Procfile", "web: gunicorn -w 4 main:app\nworker: celery", "gunicorn -w 4 main:app", 4),
        ("Dockerfile", 'FROM python\nCMD ["uvicorn", "main:app", "--workers", "2"]', "uvicorn main:app --workers 2", 2),
        ("Dockerfile", "FROM python\nCMD exec uvicorn main:app --workers=3", "uvicorn main:app --workers=3", 3),
        ("Dockerfile", 'CMD ["sh", "-c", "alembic upgrade head && uvicorn main:app"]', "uvicorn main:app", 0),
        ("compose.yaml", COMPOSE.format(command="fastapi run main.py"), "fastapi run main.py", 0),
        ("Dockerfile", 'CMD ["python", "main.py"]', "uvicorn main:app", 0),
    ],
)
def test_stated_command(tmp_path: Path, name: str, text: str, command: str, workers: int) -> None:
    """A command that the project's own files state wins, with its number of workers."""
    found = look(project(tmp_path, **{"main.py": FASTAPI, name: text}))
    assert (found.command, found.workers) == (command, workers)


def test_surroundings(tmp_path: Path) -> None:
    """Migrations, the compose service that is built here, workflows and Git are seen; a virtual environment is not."""
    files = {
        "compose.yaml": COMPOSE.format(command="x"), "alembic.ini": "", ".github/workflows/ci.yml": "",
        "environment/pyvenv.cfg": "", "environment/lib/a.py": FASTAPI,
    }  # fmt: skip
    found = look(project(tmp_path, **files))
    assert (found.migrations, found.compose, found.service, found.github) == ("alembic", "compose.yaml", "web", True)
    assert (found.framework, found.git) == ("", False)
