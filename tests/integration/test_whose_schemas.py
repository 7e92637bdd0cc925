"""Whose schemas are observed, in every shape that an application and its libraries are installed in.

Each case writes its distributions as pip does (files, METADATA, RECORD, entry points), and runs in a process of its
own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DRIVER = Path(__file__).with_name("ownership_driver.py")
MODEL = "from pydantic import BaseModel\nclass {name}(BaseModel):\n    n: int\n"


class Result(NamedTuple):
    """What a process printed at its end.

    Attributes:
        schemas: Name → validations.
        left_out: Distribution → schemas.
        application: The distributions that were taken to make it.
        warnings: Of this package.
    """

    schemas: dict[str, float]
    left_out: dict[str, int]
    application: list[str]
    warnings: list[str]


class Machine:
    """Where distributions are installed, and programs run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "lib" / "site-packages"
        self.app = folder / "app"
        self.path = [self.app, self.site]
        for each in self.path:
            each.mkdir(parents=True)

    def wheel(
        self,
        name: str,
        files: dict[str, str],
        requires: Sequence[str] = (),
        scripts: dict[str, str] | None = None,
        into: Path | None = None,
        origin: dict[str, Any] | None = None,
        metadata: bool = True,
    ) -> None:
        """Install a distribution.

        Args:
            name: Its name.
            files: Path → content.
            requires: Requirements, as in its metadata.
            scripts: Console script → `module:function`.
            into: A folder other than this machine's site-packages.
            origin: `direct_url.json`.
            metadata: Whether it has any.
        """
        target = into or self.site
        for file, content in files.items():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).write_text(content)
        listed = [f"{file},sha256=x,1" for file in files]
        for script, function in (scripts or {}).items():
            module, attribute = function.split(":")
            path = self.folder / "bin" / script
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"import sys\nfrom {module} import {attribute}\nsys.exit({attribute}())\n")
            listed.append(f"../../bin/{script},sha256=x,1")
        if not metadata:
            return
        info = target / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}\nText: x\n")
        if scripts:
            lines = "".join(f"{script} = {function}\n" for script, function in scripts.items())
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{lines}")
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
        (info / "RECORD").write_text("\n".join([*listed, f"{info.name}/RECORD,,", ""]))

    def run(self, *command: str, **environment: str) -> Result:
        """What a program saw; it is instrumented before anything of it runs, as by `opentelemetry-instrument`."""
        hook = self.folder / "hook"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text("import ownership_driver\nownership_driver.start()\n")
        return self._run([hook, *self.path], command, environment)

    def serve(
        self,
        load: str,
        *requests: tuple[str, str, Any],
        server: str = "uvicorn",
        blocked: bool = False,
        **environment: str,
    ) -> Result:
        """What a server's process saw."""
        told = {"load": load, "requests": requests, "server": server, "blocked": blocked}
        return self._run(self.path, [str(DRIVER), json.dumps(told)], environment)

    def _run(self, path: Sequence[Path], command: Sequence[str], environment: dict[str, str]) -> Result:
        folders = [*map(str, path), str(DRIVER.parent)]
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), **environment},
            cwd=self.app,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return Result(**json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


LIBRARY = {"lib/__init__.py": MODEL.format(name="Theirs")}
FASTAPI = """
from fastapi import FastAPI
from shop.models import Lead, Row
from lib import Theirs
Row(n=1)
app = FastAPI()
@app.post("/leads")
def create(lead: Lead):
    Row(n=lead.n), Theirs(n=1)
    return lead.n
"""
SHOP = {
    "shop/__init__.py": "",
    "shop/models.py": MODEL.format(name="Lead") + "class Row(BaseModel):\n    n: int\n",
    "shop/main.py": FASTAPI,
}
LEAD = ("POST", "/leads", {"n": 1})


def put(folder: Path, files: dict[str, str]) -> None:
    """Source files, installed by nobody."""
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content)


# -- what is third-party


@pytest.mark.parametrize(
    "target",
    ["lib/site-packages", "app/vendor", "opt/python", "opt/python/lib/python3.12/site-packages", "usr/dist-packages"],
)
def test_a_distribution_is_third_party_wherever_it_lies(machine: Machine, target: str) -> None:
    """The same wheel is left out in site-packages, under `--target` and in a Lambda layer, and nothing else is."""
    folder = machine.folder / target
    machine.wheel("lib", LIBRARY, into=folder)
    machine.path.append(folder)
    put(machine.app, SHOP)
    result = machine.serve("shop.main:app", LEAD)
    assert result.schemas == {"Lead": 1, "Row": 2}
    assert result.left_out["lib"] == 1


def test_a_folder_that_the_app_puts_on_the_path_itself(machine: Machine) -> None:
    """Vendored libraries are third-party also where `sys.path` learns of them after the start."""
    machine.wheel("lib", LIBRARY, into=machine.app / "vendor")
    here = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'vendor'))\n"
    put(machine.app, {**SHOP, "shop/__init__.py": here})
    assert machine.serve("shop.main:app", LEAD).schemas == {"Lead": 1, "Row": 2}


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_folder_by_its_name(machine: Machine, folder: str) -> None:
    """What Debian installs without a list of files is third-party by where it lies."""
    target = machine.folder / "usr" / folder
    machine.wheel("lib", LIBRARY, into=target, metadata=False)
    machine.path.append(target)
    put(machine.app, SHOP)
    result = machine.serve("shop.main:app", LEAD)
    assert result.schemas == {"Lead": 1, "Row": 2}
    assert result.left_out["lib"] == 1


@pytest.mark.parametrize("metadata", [True, False], ids=["dist-info", "stripped"])
def test_a_function_folder(machine: Machine, metadata: bool) -> None:
    """Function and libraries in one folder are told apart by the metadata; without it all count as own."""
    put(machine.app, SHOP)
    machine.wheel("lib", LIBRARY, into=machine.app, metadata=metadata)
    schemas = machine.serve("shop.main:app", LEAD).schemas
    assert schemas == {"Lead": 1, "Row": 2} | ({} if metadata else {"Theirs": 1})


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ({"url": "file:///src/lib", "dir_info": {}}, True),
        ({"url": "https://example.com/lib.git", "vcs_info": {"vcs": "git", "commit_id": "0"}}, True),
        ({"url": "file:///wheels/lib-1.0-py3-none-any.whl", "archive_info": {}}, False),
    ],
    ids=["folder", "repository", "archive"],
)
def test_where_it_was_installed_from(machine: Machine, origin: dict[str, Any], own: bool) -> None:
    """PEP 610: a folder or a repository makes a distribution the application's, an archive says nothing."""
    machine.wheel("lib", LIBRARY, origin=origin)
    put(machine.app, SHOP)
    assert ("Theirs" in machine.serve("shop.main:app", LEAD).schemas) is own


def test_a_zipapp(machine: Machine) -> None:
    """In a zipapp, the metadata of what was installed into it tells libraries from the application."""
    inside = machine.folder / "inside"
    machine.wheel("lib", LIBRARY, into=inside)
    put(inside, {"shop/__init__.py": MODEL.format(name="Lead"), "__main__.py": ZIPAPP})
    archive = machine.folder / "shop.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for each in inside.rglob("*"):
            file.write(each, each.relative_to(inside))
    result = machine.run(str(archive))
    assert result.schemas == {"Lead": 1}
    assert result.left_out == {"lib": 1}


ZIPAPP = "from lib import Theirs\nfrom shop import Lead\nLead(n=1), Theirs(n=1)\n"

# -- an application that is itself installed


def test_an_installed_flask_app(machine: Machine) -> None:
    """15 refused requests of an app from a wheel are 15 failed validations, not a rate of 0 %."""
    flask = """
from flask import Flask, request
from pydantic import ValidationError
from shop.models import Lead, Row
from lib import Theirs
Row(n=1)
def create_app():
    app = Flask("shop")
    @app.post("/leads")
    def create():
        Theirs(n=1)
        try: return {"n": Lead(**request.json).n}
        except ValidationError: return {}, 400
    return app
"""
    machine.wheel("lib", LIBRARY)
    machine.wheel("shop", {**SHOP, "shop/main.py": flask}, requires=["flask", "lib"])
    result = machine.serve("shop.main:create_app()", *[("POST", "/leads", {"n": "x"})] * 15, server="gunicorn")
    assert result.application == ["shop"]
    assert result.schemas["Lead"] == 15
    assert "Theirs" not in result.schemas


@pytest.mark.parametrize("load", ["shop.main:app", "wsgi:app"])
def test_an_installed_fastapi_app(machine: Machine, load: str) -> None:
    """Who imports the module that makes the app is not who makes it; what ran before it was served is seen too."""
    machine.wheel("lib", LIBRARY)
    machine.wheel("shop", SHOP, requires=["fastapi", "lib>=1"])
    put(machine.app, {"wsgi.py": "from shop.main import app\n"})
    result = machine.serve(load, LEAD, blocked=True)
    assert result.application == ["shop"]
    assert result.schemas == {"Lead": 1, "Row": 1}  # the one at import was before anything was known
    assert result.left_out["lib"] == 1


def test_a_companys_app_factory(machine: Machine) -> None:
    """A library that makes the app for its caller is no application, though a handler is its own."""
    factory = """
from fastapi import FastAPI
from pydantic import BaseModel
class Health(BaseModel):
    ok: bool
def create_app():
    app = FastAPI()
    @app.get("/health")
    def health(): return Health(ok=True).ok
    return app
"""
    shop = """
from company.platform import create_app
from shop.models import Lead
app = create_app()
@app.post("/leads")
def create(): return Lead(n=1).n
"""
    machine.wheel("company-platform", {"company/platform/__init__.py": factory}, requires=["fastapi"])
    machine.wheel("shop", {**SHOP, "shop/main.py": shop}, requires=["company-platform"])
    result = machine.serve("shop.main:app", LEAD, ("GET", "/health", None), blocked=True)
    assert result.application == ["shop"]
    assert result.schemas["Lead"] == 1
    assert "Health" not in result.schemas
    assert result.left_out["company-platform"] == 1


def test_a_host_with_two_plugins(machine: Machine) -> None:
    """Whoever handles routes is the application too: a host knows its plug-ins from entry points only."""
    for name in ("one", "two"):
        plugin = f"""
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
class Of{name}(BaseModel):
    n: int
router = APIRouter()
@router.post("/{name}")
def create(): return Of{name}(n=1).n
sub = FastAPI()
sub.include_router(router)
"""
        machine.wheel(f"host-{name}", {f"host_{name}.py": plugin}, requires=["host"])
    host = """
import importlib
from fastapi import FastAPI
from lib import Theirs
app = FastAPI()
app.include_router(importlib.import_module("host_one").router)
app.mount("/sub", importlib.import_module("host_two").sub)
"""
    machine.wheel("lib", LIBRARY)
    machine.wheel("host", {"host.py": host}, requires=["fastapi", "lib", 'host-two ; extra == "all"'])
    result = machine.serve("host:app", ("POST", "/one", None), ("POST", "/sub/two", None), blocked=True)
    assert result.application == ["host", "host-one", "host-two"]
    assert {"Ofone", "Oftwo"} <= result.schemas.keys()


def test_an_admin_that_mounts_its_own_app(machine: Machine) -> None:
    """sqladmin calls `Starlette()` itself, and handles routes: it is an add-on all the same."""
    pytest.importorskip("sqladmin", reason="needs Python 3.11")
    shop = """
from fastapi import FastAPI
from sqladmin import Admin
from sqlalchemy import create_engine
from shop.models import Lead
app = FastAPI()
Admin(app, create_engine("sqlite://"))
@app.post("/leads")
def create(): return Lead(n=1).n
"""
    machine.wheel("shop", {**SHOP, "shop/main.py": shop}, requires=["fastapi", "sqladmin"])
    result = machine.serve("shop.main:app", LEAD, ("GET", "/admin/", None))
    assert result.application == ["shop"]
    assert result.schemas["Lead"] == 1


@pytest.mark.parametrize("installed", [True, False], ids=["wheel", "sources"])
def test_an_mcp_server(machine: Machine, installed: bool) -> None:
    """The SDK makes the app, and the models of the tools' arguments: those are the application's, the SDK is not."""
    pytest.importorskip("mcp", reason="needs Python 3.11")
    shop = """
from mcp.server.mcpserver import MCPServer
from starlette.responses import Response
from shop.models import Lead
server = MCPServer("shop")
@server.tool()
def import_lead(lead: Lead, dry: bool = False) -> int: return lead.n
@server.custom_route("/call", methods=["POST"])
async def call(request):
    await server.call_tool("import_lead", {"lead": {"n": 1}})
    return Response()
app = server.streamable_http_app()
"""
    if installed:
        machine.wheel("shop", {**SHOP, "shop/main.py": shop}, requires=["mcp"])
    else:
        put(machine.app, {**SHOP, "shop/main.py": shop})
    result = machine.serve("shop.main:app", ("POST", "/call", {}))
    assert result.application == (["shop"] if installed else [])
    assert result.schemas == {"import_leadArguments": 1, "import_leadOutput": 1}
    assert result.left_out["mcp-types"] >= 1


def test_a_namespace_over_two_wheels(machine: Machine) -> None:
    """Of one namespace package, the wheel that makes the app is the application's, and the other is not."""
    api = SHOP["shop/main.py"].replace("shop.models", "company.api.models").replace("lib ", "company.core ")
    machine.wheel("company-core", {"company/core.py": MODEL.format(name="Theirs")})
    machine.wheel(
        "company-api",
        {"company/api/__init__.py": "", "company/api/models.py": SHOP["shop/models.py"], "company/api/main.py": api},
        requires=["fastapi", "company-core"],
    )
    result = machine.serve("company.api.main:app", LEAD, blocked=True)
    assert result.application == ["company-api"]
    assert result.schemas == {"Lead": 1, "Row": 1}
    assert result.left_out["company-core"] == 1


def test_an_installed_django_project(machine: Machine) -> None:
    """`ROOT_URLCONF` says whose a Django project is, also where it imports its packages by a shorter name."""
    files = {
        "project/__init__.py": "import pathlib, sys\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n",
        "project/core/__init__.py": "",
        "project/core/urls.py": """
from django.http import HttpResponse
from django.urls import path
from pydantic import BaseModel
from lib import Theirs
class Lead(BaseModel):
    n: int
def create(request):
    Lead(n=1), Theirs(n=1)
    return HttpResponse("1")
urlpatterns = [path("leads", create)]
""",
        "project/wsgi.py": """
from django.conf import settings
settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF="core.urls", MIDDLEWARE=[])
from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
""",
    }
    machine.wheel("lib", LIBRARY)
    machine.wheel("project", files, requires=["django", "lib"])
    result = machine.serve("project.wsgi:app", LEAD, server="gunicorn")
    assert result.application == ["project"]
    assert result.schemas == {"Lead": 1}
    assert result.left_out == {"lib": 1}


WORKER = """
from celery import Celery
from lib import Theirs
from shop.models import Lead
app = Celery("shop")
@app.task
def create(): Lead(n=1), Theirs(n=1)
def main(): create.apply()
if __name__ == "__main__": main()
"""


def test_an_installed_worker(machine: Machine) -> None:
    """Who calls `Celery()` makes the application that a worker runs, whatever command runs it."""
    machine.wheel("lib", LIBRARY)
    machine.wheel("shop", {**SHOP, "shop/worker.py": WORKER}, requires=["celery", "lib"])
    put(machine.app, {"celery_worker.py": "from shop import worker\nworker.main()\n"})
    result = machine.run(str(machine.app / "celery_worker.py"))
    assert result.application == ["shop"]
    assert result.schemas == {"Lead": 1}
    assert result.left_out == {"lib": 1}


@pytest.mark.parametrize("command", ["script", "module", "launcher"])
def test_an_installed_program(machine: Machine, command: str) -> None:
    """The console script or `python -m` says whose a program is, unless it launches what others made."""
    program = "from lib import Theirs\nfrom shop.models import Lead\ndef main(): Lead(n=1), Theirs(n=1)\n"
    machine.wheel("lib", LIBRARY)
    name = "gunicorn" if command == "launcher" else "import-leads"
    machine.wheel(
        "shop",
        {**SHOP, "shop/cli.py": program, "shop/__main__.py": "from shop.cli import main\nmain()\n"},
        scripts={name: "shop.cli:main"},
    )
    result = machine.run(*(["-m", "shop"] if command == "module" else [str(machine.folder / "bin" / name)]))
    own = command != "launcher"
    assert result.application == (["shop"] if own else [])
    assert result.schemas == ({"Lead": 1} if own else {})
    assert result.left_out == ({"lib": 1} if own else {"lib": 1, "shop": 1})


# -- classes that a library makes


def test_a_class_made_in_a_factory(machine: Machine) -> None:
    """A class that a library makes of the application's own, or for it, is the application's; its own is its own."""
    library = """
from marshmallow import Schema, fields
from pydantic import BaseModel, TypeAdapter, create_model
class Base(BaseModel):
    n: int
def partial(cls): return create_model("Partial", __base__=cls)
def arguments(): return create_model("Arguments", __base__=Base)
def statement():
    class Inner(BaseModel):
        n: int
    return Inner
def schema(): return type("Made", (Schema,), {"n": fields.Int()})
Internal = create_model("Internal", n=(int, 1))
def adapter(): return TypeAdapter(list[int])
"""
    program = """
import lib
from pydantic import BaseModel, HttpUrl, TypeAdapter
class Lead(BaseModel):
    n: int
for made in (lib.partial(Lead), lib.arguments(), lib.statement(), lib.Internal): made(n=1)
lib.schema()().load({"n": 1})
lib.adapter().validate_python([1])
for kind in (HttpUrl, bool): TypeAdapter(kind).validate_python("http://x" if kind is HttpUrl else True)
"""
    machine.wheel("lib", {"lib.py": library})
    put(machine.app, {"program.py": program})
    result = machine.run(str(machine.app / "program.py"))
    assert result.schemas == {
        "Partial": 1, "Arguments": 1, "statement.<locals>.Inner": 1, "Made": 1, "HttpUrl": 1, "bool": 1,
    }  # fmt: skip
    assert result.left_out == {"lib": 2}


# -- what is said of it


def test_the_warning_after_the_first_minute(machine: Machine) -> None:
    """One line names what is used in requests and left out, with a value that lets all of it in."""
    machine.wheel("lib", {**LIBRARY, "libtwo/__init__.py": "", "unused.py": ""})
    put(machine.app, SHOP)
    (warning,) = machine.serve("shop.main:app", LEAD).warnings
    assert "lib (1 schema)" in warning
    assert "fastapi" not in warning
    include = warning.partition("OTEL_PYTHON_SCHEMA_INCLUDE=")[2].split()[0]
    assert include == "lib:*,lib.*,libtwo:*,libtwo.*,unused:*,unused.*"
    result = machine.serve("shop.main:app", LEAD, OTEL_PYTHON_SCHEMA_INCLUDE=include)
    assert result.schemas == {"Lead": 1, "Row": 2, "Theirs": 1}
    assert result.warnings == []


def test_what_no_request_uses_is_not_warned_of(machine: Machine) -> None:
    """A program without requests, or whose requests use its own schemas only, says nothing."""
    machine.wheel("lib", LIBRARY)
    put(machine.app, {"program.py": "from lib import Theirs\nTheirs(n=1)\n"})
    result = machine.run(str(machine.app / "program.py"))
    assert result.left_out == {"lib": 1}
    assert result.warnings == []
