"""What `otel-schema init` reads off a project's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema.cli.setup.found import look

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "import flask\n\nserver: flask.Flask = flask.Flask(__name__)\n"
FACTORY = "from flask import Flask\n\ndef create_app():\n    app = Flask(__name__)\n    return app\n"
INSIDE = "from app.models import Lead\n\nfrom fastapi import FastAPI\n\nif True:\n    app = FastAPI()\n"
MANAGE = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
FLASK_RUN = "flask --app api:app run --no-reload"
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
        ({"wsgi.py": FLASK}, "flask", "flask --app wsgi:server run --no-reload"),
        ({"shop/__init__.py": FACTORY}, "flask", "flask --app 'shop:create_app()' run --no-reload"),
        (
            {"shop/__init__.py": FACTORY, "serve.py": "from shop import create_app\n\nweb = create_app()\n"},
            "flask",
            "flask --app serve:web run --no-reload",
        ),
        (
            {
                "app/main.py": "import fastapi\ndef get_application():\n    it = fastapi.FastAPI()\n    return it\n"
                "app = get_application()\n",
                "app/models.py": "",
            },
            "fastapi",
            "uvicorn app.main:app",
        ),
        ({"api.py": "from apiflask import APIFlask\napp = APIFlask(__name__)\n"}, "flask", FLASK_RUN),
        ({"manage.py": MANAGE, "shop/asgi.py": ""}, "django", "python manage.py runserver --noreload"),
        (
            {"manage.py": MANAGE, "shop/asgi.py": "", "requirements.txt": "Django\nuvicorn==0.4"},
            "django",
            "uvicorn shop.asgi:application",
        ),
        (
            {"manage.py": MANAGE, "shop/asgi.py": "", "pyproject.toml": 'dependencies = ["gunicorn"]'},
            "django",
            "gunicorn shop.wsgi:application",
        ),
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
        ("Dockerfile", "CMD gunicorn main:app \\\n  --workers 3", "gunicorn main:app --workers 3", 3),
        ("Procfile", "web: gunicorn main:app", "gunicorn main:app", 2),
        ("Procfile", "web: poetry run uvicorn main:app", "uvicorn main:app", 0),
        ("compose.yaml", COMPOSE.format(command=">\n      sh -c 'a && uvicorn main:app'"), "uvicorn main:app", 0),
        ("compose.yaml", COMPOSE.format(command="\n      - uvicorn\n      - main:app"), "uvicorn main:app", 0),
        ("compose.yaml", COMPOSE.format(command="\n      [uvicorn, main:app]"), "uvicorn main:app", 0),
        ("Procfile", "web: uvicorn main:app --port $PORT; true", "uvicorn main:app --port $PORT", 0),
    ],
)
def test_stated_command(tmp_path: Path, name: str, text: str, command: str, workers: int) -> None:
    """A command that the project's own files state wins, with its number of workers."""
    found = look(project(tmp_path, **{"main.py": FASTAPI, name: text}))
    assert (found.command, found.workers) == (command, workers)


def test_stated_in_a_named_dockerfile(tmp_path: Path) -> None:
    """A Dockerfile that only the compose file names is read."""
    compose = "services:\n  web:\n    build:\n      context: .\n      dockerfile: docker/web.Dockerfile\n"
    files = {"main.py": FASTAPI, "compose.yaml": compose, "docker/web.Dockerfile": "CMD uvicorn main:app --port 80\n"}
    assert look(project(tmp_path, **files)).command == "uvicorn main:app --port 80"


def test_stated_in_a_script(tmp_path: Path) -> None:
    """A container that starts a script of the project is started by the script's server."""
    files = {
        "main.py": FASTAPI,
        "Dockerfile": "CMD ./boot.sh",
        "boot.sh": "alembic upgrade head\nexec uvicorn main:app\n",
    }
    assert look(project(tmp_path, **files)).command == "uvicorn main:app"


@pytest.mark.parametrize(
    ("stated", "single"),
    [
        ("gunicorn -w 4 main:app", "uvicorn main:app"),
        ("granian --interface asgi main:app", "uvicorn main:app"),
        ("uvicorn main:app --workers 4 --port 80", "uvicorn main:app --port 80"),
        ("uvicorn --reload main:app", "uvicorn main:app"),
        ("fastapi run --workers 4 main.py", "fastapi run main.py"),
        ("fastapi dev main.py", "fastapi dev main.py --no-reload"),
        ("flask --app main run --debug", "flask --app main run --debug --no-reload"),
        ("python manage.py runserver 0.0.0.0:80", "python manage.py runserver 0.0.0.0:80 --noreload"),
    ],
)
def test_one_process(tmp_path: Path, stated: str, single: str) -> None:
    """For one process no worker, no master and no reloader is left, since any of them would hold the port."""
    assert look(project(tmp_path, **{"main.py": FASTAPI, "Procfile": f"web: {stated}\n"})).single == single


@pytest.mark.parametrize(
    ("files", "root", "command"),
    [
        ({"backend/app/main.py": INSIDE, "backend/app/models.py": ""}, "backend", "uvicorn app.main:app"),
        ({"server/shop/__init__.py": "", "server/shop/api.py": FASTAPI}, "server", "uvicorn shop.api:app"),
        ({"src/shop/api.py": FASTAPI}, "src", "uvicorn shop.api:app"),
        ({"app/main.py": INSIDE, "app/models.py": ""}, ".", "uvicorn app.main:app"),
        ({"site/manage.py": MANAGE, "site/shop/wsgi.py": ""}, "site", "python manage.py runserver --noreload"),
        (
            {"backend/app/main.py": INSIDE, "backend/app/models.py": "", "backend/Dockerfile": "CMD fastapi run"},
            "backend",
            "fastapi run",
        ),
        ({"backend/main.py": FASTAPI, "backend/requirements.txt": "fastapi"}, "backend", "uvicorn main:app"),
    ],
)
def test_application_below_the_project(tmp_path: Path, files: dict[str, str], root: str, command: str) -> None:
    """A server is started in the folder from which the application's imports are found."""
    found = look(project(tmp_path, **files))
    assert (found.root, found.command) == (root, command)


SERVICES = """\
services:
  prestart:
    build: {context: backend}
    command: bash scripts/prestart.sh
  frontend:
    build: ./frontend
    ports: ["80:80"]
  backend:
    image: backend
  worker:
    build:
      context: ./backend
    command: celery worker
"""


def test_which_service(tmp_path: Path) -> None:
    """Of several services that are built here it is the one that serves the application, also by an override."""
    over = "services:\n  backend:\n    build:\n      context: ./backend\n    ports: ['8000:8000']\n"
    files = {
        "compose.yml": SERVICES, "compose.override.yml": over, "backend/main.py": FASTAPI,
        "backend/Dockerfile": "FROM python", "frontend/app.js": "",
    }  # fmt: skip
    found = look(project(tmp_path, **files))
    assert (found.service, found.compose) == ("backend", ("compose.yml", "compose.override.yml"))


@pytest.mark.parametrize(
    ("compose", "docker", "path"),
    [
        ("      PYTHONPATH: /app", "", "/app"),
        ("      - PYTHONPATH=/srv", "FROM python\nENV PYTHONPATH=/app", "/srv"),
        ("", "FROM python\nENV PYTHONPATH /app:/lib", "/app:/lib"),
        ("", "FROM python\n# PYTHONPATH=/app", ""),
    ],
)
def test_path_of_modules(tmp_path: Path, compose: str, docker: str, path: str) -> None:
    """What a container's PYTHONPATH holds already is kept."""
    body = f"services:\n  web:\n    build: .\n    environment:\n{compose}\n"
    found = look(project(tmp_path, **{"main.py": FASTAPI, "compose.yaml": body, "Dockerfile": docker}))
    assert found.pythonpath == path


@pytest.mark.parametrize(
    "manage",
    [
        "import django, os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n",
        "import django, os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', name)\n",
    ],
)
def test_django_settings(tmp_path: Path, manage: str) -> None:
    """Django's settings module is read off manage.py, else off the module that servers load."""
    files = {"manage.py": manage, "shop/wsgi.py": MANAGE, "shop/settings.py": ""}
    assert look(project(tmp_path, **files)).settings == "shop.settings"


def test_surroundings(tmp_path: Path) -> None:
    """Migrations, the compose service that is built here, workflows and Git are seen; a virtual environment is not."""
    files = {
        "compose.yaml": COMPOSE.format(command="x"), "alembic.ini": "", ".github/workflows/ci.yml": "",
        "environment/pyvenv.cfg": "", "environment/lib/a.py": FASTAPI,
    }  # fmt: skip
    found = look(project(tmp_path, **files))
    assert (found.migrations, found.compose, found.service, found.github) == ("alembic", ("compose.yaml",), "web", True)
    assert (found.framework, found.git) == ("", False)
