"""Apps whose counters come from a formula, small projects that migrate SQLite, and a proxy that may refuse."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.http_servers import Quiet, serving
from tests.pipeline.certificates import certificates

BIN = Path(sys.executable).parent
PER_SECOND = 400.0
REVISIONS = {
    "0001": (None, 'op.create_table("leads", sa.Column("name", sa.String(40)))', 'op.drop_table("leads")'),
    "0002": ("0001", 'op.add_column("leads", sa.Column("region", sa.String(4)))', 'op.drop_column("leads", "region")'),
}
LATER = ("0003", ("0002", 'op.create_index("leads_name", "leads", ["name"])', 'op.drop_index("leads_name", "leads")'))
MOVE = "UPDATE alembic_version SET version_num = '0003'"
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

url = context.config.get_main_option("sqlalchemy.url") or os.environ["SHOP_URL"]
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
MODELS = """
from pydantic import BaseModel, Field
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Lead(Base):
    __tablename__ = "leads"
    name: Mapped[str | None] = mapped_column(String(40), primary_key=True)

class LeadIn(BaseModel):
    name: str = Field(max_length=40)
"""
FITS = '[tool.otel-schema]\nmodules = ["shop_models"]\n'
TEST = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"  # bcrypt of `test`
SERVES = "[tool.otel-schema]\nserves_by_revision = true\n"


@dataclass
class Shop:
    """A project with its database, and an app on it which refuses a third of all leads from revision 0002 on.

    Attributes:
        home: The project.
        suffers: Whether the app refuses leads.
    """

    home: Path
    project: str
    suffers: bool = True
    _counted: tuple[float, float] = (0.0, 0.0)
    _at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        (self.home / "migrations" / "versions").mkdir(parents=True)
        (self.home / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
        (self.home / "migrations" / "env.py").write_text(ENV)
        (self.home / "pyproject.toml").write_text(self.project)
        (self.home / "shop_models.py").write_text(MODELS)
        for name, how in REVISIONS.items():
            self.add(name, how)
        with sqlite3.connect(self.home / "shop.db") as database:
            database.executescript(
                "CREATE TABLE leads (name VARCHAR(40)); CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL"
                " PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')"
            )
        database.close()

    @property
    def name(self) -> str:
        """Its job."""
        return self.home.name

    def add(self, name: str, how: tuple[str | None, str, str]) -> None:
        """Add a revision."""
        below, up, down = how
        (self.home / "migrations" / "versions" / f"{name}.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = {name!r}, {below!r}\n"
            f"def upgrade():\n    {up}\ndef downgrade():\n    {down}\n"
        )

    def migrated_on(self) -> None:
        """Somebody else applies the revision after the newest."""
        self.add(*LATER)
        with sqlite3.connect(self.home / "shop.db", timeout=10) as database:
            database.executescript(f"CREATE INDEX leads_name ON leads (name); {MOVE}")
        database.close()

    def revision(self) -> str:
        """What the database records."""
        database = sqlite3.connect(self.home / "shop.db", timeout=10)
        try:
            return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])
        finally:
            database.close()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of the history."""
        file = self.home / ".otel-schema" / "history.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [data for data in map(json.loads, lines) if data["event"] == event]

    def metrics(self) -> str:
        """Its counters now, as a Prometheus scrapes them."""
        now = time.monotonic()
        requests, errors = self._counted
        grown, self._at = (now - self._at) * PER_SECOND, now
        refused = 0.3 if self.suffers and self.revision() >= "0002" else 0.01
        requests, errors = self._counted = requests + grown, errors + refused * grown
        where = 'http_request_method="POST",http_route="/leads"'
        return (
            f"# TYPE api_requests_total counter\napi_requests_total{{{where}}} {requests:.0f}\n"
            "# TYPE validation_errors_total counter\n"
            f'validation_errors_total{{schema_name="LeadIn",error_type="ValidationError",{where}}} {errors:.0f}\n'
        )

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a command in the project."""
        return subprocess.Popen(
            [str(BIN / arguments[0]), *arguments[1:]],
            cwd=self.home,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
                "SHOP_URL": f"sqlite:///{self.home / 'shop.db'}",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def watched(self, prometheus: str, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start a command that watches the app."""
        where = ["--prometheus", prometheus, "--match", f'job="{self.name}"', "--export-interval", "500ms"]
        return self.start("otel-schema", *command, *where, **env)


@contextmanager
def exposed(shops: Mapping[str, Shop]) -> Iterator[str]:
    """Serve the metrics of all, and return the scrape jobs of a Prometheus."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.answer(200, shops[self.path.strip("/")].metrics().encode())

    with serving(Handler) as port:
        yield "".join(
            f"  - job_name: {name}\n    metrics_path: /{name}\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
            for name in shops
        )


@dataclass(frozen=True)
class ServerLogin:
    """TLS by an authority of its own, and the password `test` of the user `operator`.

    Attributes:
        config: For `--web.config.file` of Prometheus and Alertmanager.
        authority: The certificate of the authority.
    """

    config: Path
    authority: Path

    @classmethod
    def made(cls, home: Path) -> ServerLogin:
        """With new certificates."""
        paths = certificates(home)
        config = {
            "tls_server_config": {"cert_file": paths["OTELCOL_CERT_FILE"], "key_file": paths["OTELCOL_KEY_FILE"]},
            "basic_auth_users": {"operator": TEST},
        }
        (home / "web.yml").write_text(json.dumps(config))
        return cls(home / "web.yml", Path(paths["OTELCOL_CA_FILE"]))

    def ask(self, url: str, body: bytes | None = None, kind: str = "text/plain") -> tuple[int, bytes, str]:
        """Ask as the operator: status, body and content type."""
        encoded = base64.b64encode(b"operator:test").decode()
        headers = {"Authorization": f"Basic {encoded}", "Content-Type": kind}
        trust = ssl.create_default_context(cafile=str(self.authority))
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), context=trust) as answer:
                return answer.status, answer.read(), answer.headers["Content-Type"] or "text/plain"
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), "text/plain"


def plain(url: str, body: bytes | None = None, kind: str = "text/plain") -> tuple[int, bytes, str]:
    """Ask a server without a lock."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind})) as answer:
            return answer.status, answer.read(), answer.headers["Content-Type"] or "text/plain"
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), "text/plain"


@contextmanager
def proxy(
    url: str, refuses: Callable[[Mapping[str, str]], int], ask: Callable[..., tuple[int, bytes, str]] = plain
) -> Iterator[str]:
    """A proxy in front of a server, which answers with a status of its own unless that is 0; gives its URL."""

    class Handler(Quiet):
        def _pass(self, body: bytes | None) -> None:
            if code := refuses({name.lower(): value for name, value in self.headers.items()}):
                self.answer(code, b"no")
                return
            self.answer(*ask(url + self.path, body, self.headers.get("Content-Type", "text/plain")))

        def do_GET(self) -> None:
            self._pass(None)

        def do_POST(self) -> None:
            self._pass(self.rfile.read(int(self.headers["Content-Length"])))

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"
