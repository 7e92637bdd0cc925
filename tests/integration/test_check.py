"""`otel-schema check` on an application and real databases."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from opentelemetry.instrumentation.schema._schemas.fit_findings import Conflict, explain
from opentelemetry.instrumentation.schema.cli.group import otel_schema

from tests.databases import Server

FINDINGS = json.loads((Path(__file__).parents[2] / "docs" / "findings.schema.json").read_text())
MODELS = """
from datetime import datetime
import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()

class Lead(Base):
    __tablename__ = "leads"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(100), nullable=False)
    price = sa.Column(sa.Numeric(8, 2), nullable=False, server_default="0")
    status = sa.Column(sa.Enum("new", "won", name="lead_status"), nullable=False)
    total = sa.Column(sa.Numeric(10, 2), sa.Computed("price * 2", persisted=True))
    created_at = sa.Column(sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
"""
SCHEMAS = """
from decimal import Decimal
from typing import Annotated, Literal
from pydantic import BaseModel, Field

class LeadIn(BaseModel):
    name: Annotated[str, Field(max_length={length})]
    price: Annotated[Decimal, Field(max_digits={digits}, decimal_places={places})]
    status: Literal["new", "won"]
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Project:
    """An application in a directory, in a package whose name no other test has."""

    number = 0

    def __init__(self, root: Path) -> None:
        Project.number += 1
        self.root, self.package = root, f"shop{Project.number}"
        self.shop = root / self.package
        self.shop.mkdir()
        (self.shop / "__init__.py").touch()
        (self.shop / "models.py").write_text(MODELS)
        self.schemas()

    def schemas(self, length: int = 100, places: int = 2, more: str = "") -> None:
        self._forget()
        text = SCHEMAS.format(length=length, places=places, digits=6 + places) + more
        (self.shop / "schemas.py").write_text(text)

    def _forget(self) -> None:
        """The next run imports the modules as they are then; who holds their classes holds them weakly."""
        for name in [each for each in sys.modules if each.partition(".")[0] == self.package]:
            del sys.modules[name]
        gc.collect()

    def settings(self, text: str) -> None:
        (self.root / "pyproject.toml").write_text(f"[tool.otel-schema]\n{text}\n".replace("shop.", f"{self.package}."))

    def check(self, *arguments: str, modules: tuple[str, ...] = ("shop.schemas", "shop.models")) -> Ran:
        named = [each.replace("shop", self.package) for each in modules]
        path, here, written = sys.path[:], Path.cwd(), sys.dont_write_bytecode
        os.chdir(self.root)
        sys.dont_write_bytecode = True
        try:
            run = CliRunner().invoke(otel_schema, ["check", *named, *arguments])
        finally:
            os.chdir(here)
            sys.path[:] = path
            sys.dont_write_bytecode = written
            self._forget()
        assert "Traceback" not in run.stderr, run.stderr
        return Ran(run.exit_code, *(each.replace(self.package, "shop") for each in (run.stdout, run.stderr)))

    def data(self, *arguments: str) -> dict[str, Any]:
        found = json.loads(self.check(*arguments, "--json").out)
        jsonschema.validate(found, FINDINGS)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def made(url: str, sql: list[str] = []) -> str:  # noqa: B006
    """A database with the models' tables, and what differs."""
    engine, scope = sa.create_engine(url), dict[str, Any]()
    exec(MODELS, scope)
    with engine.begin() as connection:
        scope["Base"].metadata.create_all(connection)
        for each in sql:
            connection.exec_driver_sql(each)
    engine.dispose()
    return url


def codes(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["code"], each["path"], each.get("severity", "")) for each in found["findings"]]


def test_what_fits_ends_with_0(project: Project) -> None:
    """Without a mismatch the exit code is 0; columns that the server fills in are never required."""
    ran = project.check("--database", "postgresql")
    assert ran.code == 0, ran.out
    assert "no mismatch (1 schema compared)" in ran.out
    assert "shop.schemas:LeadIn → leads (by name: 3 of 3 fields are columns)" in ran.out
    assert "compared with the SQLAlchemy models: give --url" in ran.out


def test_severities_decide(project: Project) -> None:
    """What corrupts ranks above what is refused, and `--fail-on` says from which severity on the exit code is 1."""
    project.schemas(length=200, places=3)
    found = project.data("--database", "postgresql")
    assert codes(found) == [("precision", "price", "critical"), ("length", "name", "error")]
    assert found["exit_code"] == 1
    assert found["findings"][0]["file"] == "shop/schemas.py"
    assert found["findings"][0]["line"] == 8
    project.schemas(length=200)
    assert project.check("--database", "postgresql", "--fail-on", "critical").code == 0
    assert project.check("--database", "postgresql").code == 1
    assert project.check("--database", "sqlite").code == 0, "SQLite keeps texts of any length"


def test_a_reason_is_needed_to_accept(project: Project) -> None:
    """An accepted mismatch is printed with its reason and does not count; what it no longer covers is reported."""
    project.schemas(length=200)
    project.settings('database = "postgresql"\n[[tool.otel-schema.accept]]\nkind = "length"\nreason = "cut by the job"')
    ran = project.check()
    assert ran.code == 0
    assert "approved by cut by the job" in ran.out
    assert "1 accepted" in ran.out
    project.schemas()
    assert (
        "the accept entry for kind length (cut by the job) matches no finding any more: remove it"
        in project.check().out
    )
    entry = '[[tool.otel-schema.accept]]\nkind = "length"\nreason = "x"\nuntil = 2020-01-01'
    project.settings(f'database = "postgresql"\n{entry}')
    project.schemas(length=200)
    ran = project.check()
    assert ran.code == 1
    assert "ended on 2020-01-01 and no longer counts" in ran.out


BAD = {
    'kind = "length"': "number 1 has no reason: add one",
    'reason = "x"': "would accept everything: name a schema, field, table, column or kind",
    'kind = "size"\nreason = "x"': "there is no kind 'size': choose from type, nullable",
    'model = "x"\nreason = "x"': "has an unknown key, model: use schema, field",
    'kind = "length"\nreason = "x"\nuntil = "soon"': "until must be a date without quotes",
}


@pytest.mark.parametrize("entry", BAD, ids=lambda entry: entry.replace("\n", " "))
def test_bad_entries(project: Project, entry: str) -> None:
    """An entry that accepts without reason, everything, or nothing is an error that says how to write it."""
    project.settings(f'database = "postgresql"\n[[tool.otel-schema.accept]]\n{entry}')
    ran = project.check()
    assert ran.code == 2
    assert BAD[entry] in ran.err


def test_what_cannot_be_compared_ends_with_2(project: Project) -> None:
    """Nothing to compare is never a success: each message names what is missing, and the fix."""
    for arguments, modules, said in (
        ((), (), r"no module is named: name the modules, as in `otel-schema check app.main`"),
        ((), ("shop.schemas", "shop.models"), r"cannot tell which kind of database the models are for: give --url"),
        (("--database", "sqlite"), ("shop.nothing",), "cannot import shop.nothing"),
        (("--url", "nonsense"), ("shop.models",), "--url is not a database URL"),
        (("--url", "oracle://a/b"), ("shop.models",), "oracle is not supported"),
        (("--url", "sqlite:///gone.db"), ("shop.models",), "gone.db does not exist"),
        (("--database", "sqlite"), ("shop.models",), "found no table for any schema"),
    ):
        ran = project.check(*arguments, modules=modules)
        assert (ran.code, ran.out) == (2, ""), ran
        assert re.search(said, ran.err), ran.err
    project.settings('[tool.otel-schema.tables]\n"shop.schemas:LeadIn" = "customers"')
    assert "the table 'customers', which does not exist. Tables: leads" in project.check("--database", "sqlite").err
    project.settings('[tool.otel-schema.tables]\n"Nobody" = "leads"')
    assert (
        "names the schema 'Nobody', which is not among the schemas that were read"
        in project.check("--database", "sqlite").err
    )
    project.settings('database = "dbase"')
    assert "database 'dbase' is not supported: choose from postgresql, mariadb, sqlite" in project.check().err
    project.settings("")
    (project.shop / "plain.py").touch()
    said = project.check("--database", "sqlite", modules=("shop.plain",)).err
    assert "the modules define no SQLAlchemy table: also name the module of the models" in said
    sa.create_engine(f"sqlite:///{project.root}/empty.db").connect().close()
    (project.root / "empty.db").touch()
    assert "contains no table: run the migrations first" in project.check("--url", "sqlite:///empty.db").err
    (project.root / "text.db").write_text("no database" * 100)
    assert "text.db: file is not a database" in project.check("--url", "sqlite:///text.db").err
    said = project.check("--url", "sqlite:///empty.db", "--database-schema", "other").err
    assert re.search(r"cannot read the tables of \S+empty.db: .+ Does the database have the schema other\?", said), said


def test_libraries_that_are_missing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SQLAlchemy for a URL, or tomli for the settings, the message says what to install."""
    package = "opentelemetry.instrumentation.schema._migrations"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, f"{package}.database", None)
        patch.delattr(f"{package}.database", raising=False)
        ran = project.check("--url", "sqlite:///x.db")
        assert (ran.code, ran.out) == (2, "")
        assert "--url needs SQLAlchemy: pip install sqlalchemy" in ran.err
    project.settings('database = "postgresql"')
    monkeypatch.setitem(sys.modules, "tomllib" if sys.version_info >= (3, 11) else "tomli", None)
    assert "needs tomli on this Python: pip install tomli" in project.check().err


def test_declared_pairs(project: Project) -> None:
    """Where a pair is declared, in the class or in pyproject.toml, a missing column is an error and not a warning."""
    other = """
class Import(BaseModel):
    __schema_table__ = 'leads'
    name: Annotated[str, Field(max_length=100)]
    fax: str
"""
    project.schemas(more=other)
    found = project.data("--database", "postgresql")
    assert ("missing-column", "fax", "error") in codes(found)
    assert ("required-column", "status", "error") in codes(found)
    project.schemas(more=other.replace("'leads'", "''"))
    assert codes(project.data("--database", "postgresql")) == []
    project.schemas(more=other.replace("    __schema_table__ = 'leads'\n", ""))
    project.settings('[tool.otel-schema.tables]\n"shop.schemas:Import" = "leads"')
    assert ("missing-column", "fax", "error") in codes(project.data("--database", "postgresql"))


def test_live_postgresql(project: Project, postgresql: Server) -> None:
    """On PostgreSQL labels, defaults and CHECK constraints are the server's; its password is never printed."""
    url = made(
        postgresql.fresh(),
        [
            "ALTER TYPE lead_status ADD VALUE 'lost'",
            "ALTER TABLE leads ALTER price SET DEFAULT 5",
            "ALTER TABLE leads ADD CHECK (price >= 0 AND price <= 100)",
            "ALTER TABLE leads ALTER name TYPE varchar(50)",
        ],
    )
    found = project.data("--url", url.replace("leads@", "leads:secret@"))
    assert "secret" not in json.dumps(found)
    assert codes(found) == [
        ("length", "name", "error"),
        ("range", "price", "error"),
        ("drift", "price", "warning"),
        ("drift", "price", "warning"),
        ("drift", "status", "warning"),
    ]
    text = project.check("--url", url).out
    assert "enum labels: the model has new, won; the database has lost, new, won" in text
    assert "server default: the model has '0'; the database has 5" in text
    assert "CHECK constraint: the model has none; the database has from 0 to 100" in text


def test_live_mariadb(project: Project, mariadb: Server) -> None:
    """MariaDB's own CHECK constraints and its missing microseconds are seen."""
    url = made(mariadb.fresh(), ["ALTER TABLE leads ADD CHECK (price <= 100)"])
    project.schemas(
        more="\nfrom datetime import datetime\nclass Stamp(BaseModel):\n"
        "    __schema_table__ = 'leads'\n    created_at: datetime\n"
    )
    found = project.data("--url", url)
    assert ("range", "price", "error") in codes(found)
    assert ("precision", "created_at", "critical") in codes(found)


def test_a_thing_with_itself(project: Project) -> None:
    """`check` says that a migration makes the tables from the models, and that no migration made the database."""
    versions = project.root / "migrations" / "versions"
    versions.mkdir(parents=True)
    (project.root / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    migration = 'revision = "1"\ndown_revision = None\ndef upgrade():\n    Base.metadata.create_all(op.get_bind())\n'
    (versions / "0001_all.py").write_text(migration)
    url = made(f"sqlite:///{project.root}/shop.db")
    out = project.check("--url", url).out
    assert (
        "migrations/versions/0001_all.py:4 calls create_all(): this migration creates the tables from the models" in out
    )
    assert "the database has no table alembic_version, so migrations may not have created its tables" in out


def test_tables_that_are_absent(project: Project, tmp_path: Path) -> None:
    """A table of the models that the database lacks is a finding of its own."""
    models = project.shop / "models.py"
    url = made(f"sqlite:///{tmp_path}/shop.db")
    models.write_text(
        MODELS + '\nclass Note(Base):\n    __tablename__ = "notes"\n    id = sa.Column(sa.Integer, primary_key=True)\n'
    )
    found = project.data("--url", url)
    tables = [(each["code"], each["subject"]) for each in found["findings"] if each["subject"].startswith("table ")]
    assert tables == [("missing-table", "table notes")]


def test_validators_are_not_judged(project: Project) -> None:
    """A field whose validator may change it is named, and nothing is said of its writing."""
    more = """
from pydantic import field_validator
class LeadUpdate(BaseModel):
    name: str
    status: Literal["new", "won"]
    @field_validator("name")
    @classmethod
    def cut(cls, value: str) -> str:
        return value[:100]
"""
    project.schemas(more=more)
    ran = project.check("--database", "postgresql")
    assert ran.code == 0
    assert (
        "writes of these fields are not judged, because validators may change or refuse values: "
        "shop.schemas:LeadUpdate.name" in ran.out
    )


def test_names_tell_the_direction(project: Project) -> None:
    """Without a router, a name such as LeadOut says that a schema is answered and never written."""
    more = "\nclass LeadOut(BaseModel):\n    name: str\n    status: Literal['new']\n"
    project.schemas(more=more + "".join(f"class Other{number}(BaseModel):\n    x: int\n" for number in range(7)))
    found = project.data("--database", "postgresql")
    assert codes(found) == [("enum", "status", "warning")]
    (rest,) = [each for each in found["remarks"] if each.startswith("not compared, because they have no table")]
    assert rest.endswith(":Other4 and 2 more")


CLASSES = (
    MODELS
    + """
class Owner(Base):
    __tablename__ = "owners"
    id = sa.Column(sa.Integer, primary_key=True)

class SentMessage(Base):
    __tablename__ = "sent_messages"
    id = sa.Column(sa.Integer, primary_key=True)
    number = sa.Column(sa.SmallInteger, nullable=False)
    text = sa.Column(sa.String(5))

class Parcel(Base):
    __tablename__ = "parcels"
    id = sa.Column(sa.Integer, primary_key=True)
    owner_id = sa.Column(sa.ForeignKey("owners.id"))
    owner = sa.orm.relationship(Owner)
    status = sa.Column(sa.Text, nullable=False, default="new")
    note = sa.Column(sa.Text, default="none")
    changed_at = sa.Column("update_at", sa.Text, nullable=False)
    updated_at = sa.orm.synonym("changed_at")
"""
)
PARCELS = """
from pydantic import ConfigDict

class OwnerIn(BaseModel):
    id: int | None = None

class ParcelBase(BaseModel):
    model_config = ConfigDict(from_attributes=True, alias_generator=str.upper, populate_by_name=True)
    id: int | None = Field(None, lt=2**31, gt=0)
    owner: OwnerIn | None = None
    status: str | None = None
    note: str | None = None
    updated_at: str

class ParcelCreate(ParcelBase): pass
class ParcelUpdate(ParcelBase): pass
class ParcelReadMinimal(ParcelBase):
    status: str

class Message(BaseModel):
    number: int
    text: str
    topic: str
"""
ROUTES = """
from fastapi import FastAPI
from .schemas import LeadIn, ParcelCreate, ParcelReadMinimal, ParcelUpdate
app = FastAPI()
class Both(ParcelCreate):
    held: ParcelReadMinimal
@app.post("/leads")
def lead(body: LeadIn): ...
@app.post("/parcels", response_model=ParcelReadMinimal)
def create(body: Both): ...
@app.patch("/parcels")
def update(body: ParcelUpdate): ...
"""


def test_what_a_mapped_class_does_with_null(project: Project) -> None:
    """A mapped class takes relationships and synonyms; its INSERT takes a default for null, and its UPDATE does not."""
    (project.shop / "models.py").write_text(CLASSES)
    project.schemas(more=PARCELS)
    found = project.data("--database", "postgresql")
    told = {
        (each["subject"].partition(":")[2], *code) for each, code in zip(found["findings"], codes(found), strict=True)
    }
    assert {each for each in told if each[0].startswith(("Parcel", "Message"))} == {
        ("ParcelBase", "nullable", "status", "warning"),
        ("ParcelCreate", "nullable", "status", "warning"),
        ("ParcelUpdate", "nullable", "status", "error"),
    }
    assert not any(each["subject"].endswith(":Message") for each in found["verdicts"]), "a part of sent_messages' name"


def test_what_routes_do_not_use(project: Project) -> None:
    """With routes, a base class that none uses is not compared, and a model to read is not judged as written."""
    (project.shop / "models.py").write_text(CLASSES)
    (project.shop / "routes.py").write_text(ROUTES)
    project.schemas(more=PARCELS)
    ran = project.check("--database", "postgresql", "--json", modules=("shop.routes", "shop.models"))
    verdicts = {each["subject"].partition(":")[2] for each in json.loads(ran.out)["verdicts"]}
    assert {each for each in verdicts if each.startswith("Parcel")} == {
        "ParcelCreate", "ParcelUpdate", "ParcelReadMinimal",
    }  # fmt: skip
    read = [each for each in json.loads(ran.out)["findings"] if each["subject"].endswith(":ParcelReadMinimal")]
    assert read == []


def test_schemas_that_cannot_be_read(project: Project) -> None:
    """A model that is not completely defined is left out with a line that says so; the others are compared."""
    project.schemas(more="\nclass Later(BaseModel):\n    later: 'NotThereYet'\n")
    ran = project.check("--database", "postgresql")
    assert (ran.code, ran.err.strip()) == (
        0,
        "warning: shop.schemas:Later is left out, because it cannot be read: TypeError: shop.schemas:Later is not "
        "completely defined: call model_rebuild()",
    )


def test_fixes_tell_the_direction() -> None:
    """What a column holds and a field refuses is mended by a wider field; what it refuses, by a narrower one."""
    for kind in ("length", "range", "precision"):
        conflict = Conflict(kind, "refused")
        assert "Limit the field" in explain("write", conflict, "PostgreSQL")
        assert "Let the field accept" in explain("read", conflict, "PostgreSQL")
