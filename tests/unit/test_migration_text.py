"""What is read from the text of migrations and models: losses, downgrades, columns, exceptions."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._migrations import classify
from opentelemetry.instrumentation.schema._migrations.git_hooks import content, destructive, sql
from opentelemetry.instrumentation.schema._migrations.git_hooks.codes import find_allowances
from opentelemetry.instrumentation.schema._migrations.git_hooks.tables import find_tables
from opentelemetry.instrumentation.schema._migrations.operations import MigrationScript


def _lost(sql_text: str) -> list[str]:
    return [each.what for each in destructive.find_in_sql(sql_text)]


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("DROP TABLE lead", ["drops the table lead"]),
        ('drop table if exists "Lead Table" cascade', ["drops the table Lead Table"]),
        ("DROP TABLE a; DROP SCHEMA b CASCADE; drop database c;", 3),
        ("DROP OWNED BY app", ["drops everything that a role owns"]),
        ("DROP TYPE mood CASCADE", ["drops the type mood and every column that uses it"]),
        ("TRUNCATE TABLE ONLY app.lead", ["empties the table app.lead"]),
        ("DELETE FROM lead WHERE id = 1", ["deletes rows of lead"]),
        ("WITH old AS (SELECT 1) DELETE FROM lead USING old", ["deletes rows of lead"]),
        ("DELETE l FROM lead l JOIN x ON true", ["deletes rows of lead"]),
        ("ALTER TABLE lead DROP COLUMN name", ["drops the column lead.name"]),
        ("ALTER TABLE IF EXISTS ONLY lead DROP IF EXISTS `name` CASCADE", ["drops the column lead.name"]),
        ("ALTER TABLE lead ADD x numeric(5, 2), DROP COLUMN a, DROP b", 2),
        ("ALTER TABLE lead DROP PARTITION p1", ["drops a partition of lead"]),
        ("DO $$ BEGIN IF true THEN DROP TABLE lead; END IF; END $$", ["drops the table lead"]),
        ("/* first */ DROP -- a\n TABLE lead", ["drops the table lead"]),
        # and what destroys nothing
        ("-- DROP TABLE lead", []),
        ("/* DROP TABLE lead */ SELECT 1", []),
        ("SELECT 'DROP TABLE lead; DELETE FROM x'", []),
        ("INSERT INTO t VALUES ('it''s; DROP TABLE x', E'\\'; DROP TABLE y')", []),
        ("ALTER TABLE lead ALTER COLUMN name DROP NOT NULL, ALTER name DROP DEFAULT", []),
        ("ALTER TABLE lead DROP CONSTRAINT ck, DROP INDEX ix, DROP PRIMARY KEY, DROP FOREIGN KEY fk", []),
        ("DROP INDEX ix; DROP VIEW v; DROP FUNCTION f(); DROP TYPE unused", []),
        ("CREATE TABLE x (id int REFERENCES y ON DELETE CASCADE)", []),
        ("CREATE FUNCTION f() RETURNS void AS $body$ DELETE FROM lead; $body$ LANGUAGE sql", []),
        ("CREATE TRIGGER t AFTER INSERT ON lead BEGIN DELETE FROM other; END", []),
        ("CREATE TEMP TABLE scratch AS SELECT 1; DROP TABLE scratch", []),
        ("UPDATE lead SET name = 'x'", []),
        ("", []),
    ],
)
def test_sql_that_destroys(text: str, lost: list[str] | int) -> None:
    """SQL that drops, empties or deletes is found, in whatever way it is written, and what only looks so is not."""
    found = _lost(text)
    assert found == lost if isinstance(lost, list) else len(found) == lost


@given(st.text(max_size=200), st.sampled_from(["", "'", '"', "$$", "/*", "--", "DROP TABLE ", "ALTER TABLE a DROP "]))
def test_any_text_is_read(text: str, start: str) -> None:
    """No text of SQL stops the reader, and a statement's line is in the text."""
    whole = start + text
    for each in sql.statements(whole):
        assert 0 <= each.line <= whole.count("\n")
    _lost(whole)
    sql.normalize(whole)


UP = "import sqlalchemy as sa\nfrom alembic import op\nfrom helpers import text\nNAMES = ['a']\nSQL = 'DROP TABLE a'\n"


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ("op.drop_table('lead', schema='app')", ["drops the table lead"]),
        ("op.drop_column(table_name='lead', column_name='name')", ["drops the column lead.name"]),
        (
            "with op.batch_alter_table('lead') as batch:\n      batch.drop_column('name')",
            ["drops the column lead.name"],
        ),
        ("for each in NAMES:\n      op.drop_table(each)", ["drops the table each"]),
        ("op.execute(SQL)", ["drops the table a"]),
        ("op.execute(sa.text('TRUNCATE ' + name))", ["empties the table {}"]),
        ("for each in ('DROP TABLE a', 'DROP TABLE b'):\n      op.execute(each)", 2),
        ("op.get_bind().execute(text(f'DELETE FROM {name}'))", ["deletes rows of {name}"]),
        ("op.get_bind().exec_driver_sql('''\n  DROP TABLE a;\n  DROP TABLE b''')", 2),
        ("op.execute(lead.delete().where(lead.c.id == 1))", ["deletes rows of lead"]),
        ("op.get_bind().execute(sa.delete(Lead))", ["deletes rows of Lead"]),
        ("session.query(Lead).filter(True).delete()", ["deletes rows of Lead"]),
        ("session.delete(lead)", ["deletes the row lead"]),
        ("helper()\n\ndef helper():\n  op.drop_table('a')\n  upgrade()", ["drops the table a"]),
        ("op.alter_column('t', 'c', existing_type=sa.String(9), type_=sa.String(5))", 1),
        ("op.alter_column('t', 'c', existing_type=sa.Text(), type_=sa.VARCHAR(length=5))", 1),
        ("op.alter_column('t', 'c', existing_type=sa.BigInteger(), type_=sa.Integer())", 1),
        ("op.alter_column('t', 'c', existing_type=sa.Numeric(9, 4), type_=sa.Numeric(9, 2))", 1),
        ("op.alter_column('t', 'c', existing_type=sa.Float(), type_=sa.Integer())", 1),
        ("op.alter_column('t', 'c', existing_type=sa.DateTime(timezone=True), type_=sa.DateTime())", 1),
        ("op.alter_column('t', 'c', existing_type=sa.DateTime(), type_=sa.Date())", 1),
        # and what destroys nothing
        ("op.create_table('a')\n    op.drop_table('a')", []),
        ("op.drop_index('ix')\n    op.drop_constraint('ck', 't')", []),
        ("op.alter_column('t', 'c', existing_type=sa.String(5), type_=sa.String(9))", []),
        ("op.alter_column('t', 'c', existing_type=sa.String(5), type_=sa.Text())", []),
        ("op.alter_column('t', 'c', existing_type=sa.Integer(), type_=sa.BigInteger())", []),
        ("op.alter_column('t', 'c', existing_type=sa.Numeric(5, 2), type_=sa.Numeric(9, 2))", []),
        ("op.alter_column('t', 'c', existing_type=sa.String(5), nullable=False)", []),
        ("op.alter_column('t', 'c', new_column_name='d')", []),
        ("files.delete('x')\n    cache.drop_table('x')", []),
        ("op.execute(computed())", []),
    ],
)
def test_operations_that_destroy(body: str, lost: list[str] | int) -> None:
    """Operations and SQL are found wherever an upgrade calls them, and what only looks so is not."""
    script = MigrationScript(ast.parse(f"{UP}def upgrade():\n    {body}\n"))
    found = [each.what for each in destructive.find_in_script(script, "upgrade")]
    assert found == lost if isinstance(lost, list) else len(found) == lost


def _codes(text: str, downgrades: bool = True) -> list[tuple[str, int]]:
    return [(each.code, each.line) for each in content.check_alembic("x.py", text, "alembic_version", downgrades)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def upgrade():\n  op.f()\n", [("no-downgrade", 1)]),
        ("def upgrade():\n  op.f()\ndef downgrade():\n  '''No.'''\n  ...\n  return None\n", [("no-downgrade", 3)]),
        ("def upgrade():\n  pass\ndef downgrade():\n  pass\n", []),  # a merge of heads
        ("def upgrade():\n  op.f()\ndef downgrade():\n  raise NotImplementedError\n", []),
        ("def upgrade():\n  op.f()\nfrom helpers import downgrade\n", []),
        ("def upgrade():\n  op.f()\ndowngrade = other\n", []),
        (
            "def upgrade(n):\n  globals()['upgrade_' + n]()\ndef downgrade(n):\n  globals()['downgrade_' + n]()\n"
            "def upgrade_a():\n  op.drop_table('t')\ndef downgrade_a():\n  pass\n",
            [("destructive", 6), ("no-downgrade", 7)],
        ),
        ("def upgrade(:\n", [("unreadable", 1)]),
        ("x = 1\0", [("unreadable", 1)]),
        ("def upgrade():\n  op.drop_table('alembic_version')\ndef downgrade():\n  op.f()\n", 2),
        ("def upgrade():\n  op.f()\ndef downgrade():\n  op.execute('DELETE FROM Alembic_Version')\n", 1),
        ("def upgrade():\n  op.execute('-- alembic_version')\ndef downgrade():\n  op.f()\n", []),
    ],
)
def test_migrations_of_alembic(text: str, found: list[tuple[str, int]] | int) -> None:
    """Downgrades that are missing or do nothing are found, of each database, and nothing honest is."""
    codes = _codes(text)
    assert codes == found if isinstance(found, list) else len(codes) == found
    assert not [code for code, _ in _codes(text, downgrades=False) if code == "no-downgrade"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n", []),
        ("-- migrate:up\r\nSELECT 1;\r\n-- migrate:down\r\nSELECT 2;\r\n", []),
        ("--migrate:up transaction:false\nSELECT 1;\n--migrate:down transaction:false\nSELECT 2;\n", []),
        ("-- migrate:up\nSELECT 1;\n", [("no-downgrade", 1)]),
        ("-- migrate:up\nSELECT 1;\n\n-- migrate:down\n-- nothing\n", [("no-downgrade", 4)]),
        ("-- migrate:up\n-- migrate:down\n", []),
        ("SELECT 1;\n", [("unreadable", 1)]),
        ("-- migrate:up\n\nSELECT 1;\nDROP TABLE a;\n-- migrate:down\nDROP TABLE b;\n", [("destructive", 4)]),
        ("-- migrate:up\nSELECT 1;\n-- migrate:down\n\nDELETE FROM schema_migrations;\n", [("version-table", 5)]),
    ],
)
def test_migrations_of_dbmate(text: str, found: list[tuple[str, int]]) -> None:
    """A file is read by its two sections, and its findings stand at their lines."""
    findings = content.check_dbmate("1.sql", text, "schema_migrations", True)
    assert [(each.code, each.line) for each in findings] == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("name = Column(String)", "name: Mapped[str | None] = mapped_column(String())"),
        ("name = sa.Column(sa.String(length=5), nullable=False)", "name: Mapped[str] = mapped_column(String(5))"),
        ("name = Column(Integer, nullable=False, index=False)", "name: Mapped[int]"),
        ("id = Column(Integer, primary_key=True)", "id: Mapped[int] = mapped_column(primary_key=True)"),
        ("name = Column(String, default='x', doc='y')", "name = deferred(Column(String, default=f))"),
        ("at = Column(DateTime)", "at: Mapped[Optional[datetime.datetime]] = mapped_column()"),
        (
            "a = Column(Integer)\n  b = Column(Integer)",
            "b = Column(Integer)\n  def f(self): ...\n  a = Column(Integer)",
        ),
        ("u = Column(ForeignKey('x.id'))", "u: Mapped[Optional[int]] = mapped_column(ForeignKey('x.id'))"),
        ("a = Column(Text)\n  r = relationship('B')", "a = Column(Text)\n  r: Mapped['B'] = relationship(back='c')"),
    ],
)
def test_columns_that_are_the_same(one: str, other: str) -> None:
    """Columns that are written otherwise and are the same in the database are the same."""
    first, second = (find_tables(f"class A(Base):\n  {each}\n".encode())["A"].facts for each in (one, other))
    assert first == second


@pytest.mark.parametrize(
    "changed",
    [
        "name = Column(String(6), nullable=False)",
        "name = Column(String(5))",
        "name = Column(Text(5), nullable=False)",
        "name = Column(String(5), nullable=False, unique=True)",
        "name = Column(String(5), nullable=False, server_default='')",
        "name = Column('title', String(5), nullable=False)",
        "title = Column(String(5), nullable=False)",
        "name: Mapped[str | None] = mapped_column(String(5))",
        "name = Column(String(5), nullable=False)\n  __table_args__ = (Index('ix', 'name'),)",
        "name = Column(String(5), nullable=False)\n  @declared_attr\n  def x(cls):\n    return Column(Integer)",
    ],
)
def test_columns_that_differ(changed: str) -> None:
    """What the database would have otherwise makes another table."""
    base = b"class A(Base):\n  name = Column(String(5), nullable=False)\n"
    assert find_tables(base)["A"].facts != find_tables(f"class A(Base):\n  {changed}\n".encode())["A"].facts


def test_which_classes_declare_columns() -> None:
    """Tables, mixins, SQLModel's tables and variables are read; forms, dataclasses and Pydantic's models are not."""
    text = """
from dataclasses import field
T = Table("t", metadata, Column("a", Integer))
class Mixin:
    id = Column(Integer)
class Hero(SQLModel, table=True):
    name: str = Field(max_length=5)
    team: Team = Relationship()
class HeroIn(SQLModel):
    name: str = Field(max_length=5)
class Form(BaseModel):
    name: str = Field(max_length=5)
if TYPE_CHECKING:
    class Inner(Base):
        class Deep(Base):
            x: Mapped[int]
"""
    assert find_tables(text.encode()).keys() == {"T", "Mixin", "Hero", "Inner.Deep"}
    assert "team" not in find_tables(text.encode())["Hero"].facts
    with pytest.raises(SyntaxError):
        find_tables(b"class A:\n  x = Column(\n")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("# otel-schema: allow destructive nobody reads it", ""),
        ("  x = 1  #otel-schema:allow create-all our baseline", ""),
        ("-- otel-schema: allow destructive nobody reads it", ""),
        (
            "# otel-schema: allow destructive",
            "the exception has no reason: write # otel-schema: allow destructive REASON",
        ),
        ("# otel-schema: allow destructiv x", "there is no code 'destructiv': did you mean destructive?"),
        ("# otel-schema: allow", "the exception names no code: the codes are no-migration, not-staged"),
        (
            "# otel-schema: allow bad-exception x",
            "no exception can allow bad-exception: correct the wrong exception instead",
        ),
    ],
)
def test_exceptions(line: str, problem: str) -> None:
    """An exception names a code and a reason; anything else says what is missing."""
    (found,) = find_allowances(f"first\n{line}\r\n")
    assert (found.line, found.problem[: len(problem)], bool(found.problem)) == (2, problem, bool(problem))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("import time; time.sleep(60)", "calls time.sleep, which may do anything"),
        ("shutil.rmtree('/srv')", "calls shutil.rmtree, which may do anything"),
        ("wipe('/srv')", "calls wipe, which may do anything"),
        ("client.Client().get('http://x')", "calls client.Client().get, which may do anything"),
        ("help_me()", "calls time.sleep, which may do anything"),
        ("eval('1')", "runs code that it builds at run time"),
        ("os.getenv('X')", "reads settings (os.getenv)"),
        ("from leads.models import Base", "imports leads.models of the project, and that code may change"),
        ("op.get_bind()", "may read rows or ask for the dialect (op.get_bind)"),
        # and what a plan may run
        ("op.add_column('a', sa.Column('x', geo.Geometry('POINT')))", None),
        ("op.add_column('a', sa.Column('x', sa.String(), server_default=str(uuid.uuid4())))", None),
        ("op.execute(textwrap.dedent('SELECT 1'))", None),
        ("op.bulk_insert(t, [{'at': time.time()}])", None),
        ("op.bulk_insert(t, [{'at': datetime.datetime(2020, 1, 1)}])", None),
    ],
)
def test_what_a_plan_must_not_run(body: str, why: str | None) -> None:
    """A step that calls more than Alembic, SQLAlchemy and what only computes is unknown, and no plan runs it."""
    head = (
        "import datetime, os, shutil, time, uuid, textwrap\nfrom shutil import rmtree as wipe\n"
        "import sqlalchemy as sa\nimport geoalchemy2 as geo\nimport httpx as client\nfrom alembic import op\n"
        "def help_me():\n    time.sleep(1)\n"
    )
    script = MigrationScript(ast.parse(f"{head}def upgrade():\n    {body}\n"))
    found = classify.read_source(script, "upgrade", lambda module: module.startswith("leads"))
    assert found.unknown[:1] == ([why] if why else [])
