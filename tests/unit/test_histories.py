"""What migration files say of revisions, without a database and without Alembic."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema._schemas import migrations, revisions, version_tables
from opentelemetry.instrumentation.schema._schemas.revisions import Revision, RevisionGraph
from opentelemetry.instrumentation.schema._schemas.version_tables import VersionTableName, compare_with_files, recognize


def line(*revisions_: tuple[object, ...]) -> RevisionGraph:
    """Alembic's files: id, down, depends_on, labels."""
    made = []
    for each in revisions_:
        id_, down, depends, labels = (*each, (), (), ())[:4]
        made.append(Revision(str(id_), tuple(down), Path(f"{id_}.py"), tuple(depends), tuple(labels)))  # type: ignore[arg-type]
    return RevisionGraph("alembic", made)


STRAIGHT = line(("a",), ("b", ["a"]), ("c", ["b"]))
FORK = line(("a",), ("b", ["a"]), ("c", ["a"]))
MERGED = line(("a",), ("b", ["a"]), ("c", ["a"]), ("m", ["b", "c"]))
LABELLED = line(("a",), ("b", ["a"], [], ["one"]), ("c", ["a"], [], ["two"]))
APART = line(("a",), ("b", ["a"]), ("x",), ("y", ["x"], ["b"]))
TWICE = line(("a",), ("b", ["a"]), ("b", ["a"]))
CIRCLE = line(("a", ["c"]), ("b", ["a"]), ("c", ["b"]))


@pytest.mark.parametrize(
    ("history", "found", "expected"),
    [
        (STRAIGHT, ["c"], "current"),
        (STRAIGHT, ["a"], "behind"),
        (STRAIGHT, [], "behind"),
        (STRAIGHT, ["z"], "ahead"),
        (STRAIGHT, ["b", "z"], "diverged"),
        (FORK, ["b"], "diverged"),
        (FORK, ["b", "c"], "diverged"),
        (MERGED, ["b", "c"], "behind"),
        (MERGED, ["m"], "current"),
        (LABELLED, ["b", "c"], "current"),
        (LABELLED, ["b"], "behind"),
        (LABELLED, ["b", "z"], "ahead"),
        (APART, ["y"], "current"),  # the row of b goes when y, which depends on it, is applied
        (APART, ["b", "x"], "behind"),
        (TWICE, ["b"], "diverged"),
        (TWICE, ["a"], "behind"),
        (CIRCLE, ["b"], "current"),
        (line(), ["a"], "unknown"),
        (None, ["a"], "unknown"),
    ],
)
def test_state(history: RevisionGraph | None, found: list[str], expected: str) -> None:
    """The state follows from the heads in the database and the files alone."""
    assert compare_with_files(history, found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["1", "2", "3"], "current"),
        (["1", "3"], "behind"),
        ([], "behind"),
        (["1", "2", "3", "4"], "ahead"),
    ],
)
def test_state_of_dbmate(found: list[str], expected: str) -> None:
    """DBMate's table holds every version: a gap is a migration still to be applied."""
    history = RevisionGraph("dbmate", revisions.parse_dbmate([Path("3_c.sql"), Path("1_a.sql"), Path("2_b.sql")]))
    assert compare_with_files(history, found) == expected


def test_pending_comes_after_what_it_needs() -> None:
    """Pending revisions are ordered so that each follows all that it needs, dependencies of other branches too."""
    assert [each.id for each in APART.pending([])] in (["a", "b", "x", "y"], ["x", "a", "b", "y"])
    assert [each.id for each in MERGED.pending(["b"])] == ["c", "m"]
    assert {each.id for each in CIRCLE.pending([])} == {"a", "b", "c"}
    assert STRAIGHT.pending(["z"]) == ()


def test_duplicates_stay_visible() -> None:
    """Two files of one revision are told with their paths, for Alembic itself takes one of them and goes on."""
    assert list(TWICE.duplicates) == ["b"]
    assert len(TWICE.duplicates["b"]) == 2
    history = RevisionGraph("dbmate", revisions.parse_dbmate([Path("1_a.sql"), Path("1_b.sql")]))
    assert list(history.duplicates) == ["1"]


def test_alembic_files_are_parsed_not_imported(tmp_path: Path) -> None:
    """Each way to write a migration's names is read; code in it never runs, and what is no migration is passed over."""
    for name, text in {
        "1.py": "revision = 'a'\ndown_revision = None\nraise SystemExit('executed')",
        "2.py": "revision: str = 'b'\ndown_revision: Union[str, None] = 'a'\nbranch_labels = ('l',)",
        "3.py": "revision = revision_id = 'c'\ndown_revision = ['b', 'a']\ndepends_on = 'l'",
        "4.py": "revision = compute()",
        "5.py": "def broken(:",
        ".#2.py": "revision = 'b'",
        "6.py": "revision = 'd'\ndown_revision = 'c'\nx = " + "(" * 300 + ")" * 300,
    }.items():
        (tmp_path / name).write_text(text)
    found = RevisionGraph("alembic", revisions.read_alembic(tmp_path))
    assert [each.id for each in found.revisions] == ["a", "b", "c"]
    assert found.by_id["c"].down == ("b", "a")
    assert found.by_id["b"].labels == ("l",)
    assert found.parents("c") == ("b", "a", "b")


INTEGER = "it is another tool's: version_num is integer, not text"
CASES = [
    ("alembic", [("alembic_version", "version_num", "character varying(32)")], ""),
    (
        "alembic",
        [("alembic_version", "version_num", "integer")],
        INTEGER,
    ),
    ("alembic", [("alembic_version", "v", "text")], "it has no column version_num"),
    ("dbmate", [("schema_migrations", "version", "character varying(128)")], ""),
    ("dbmate", [("schema_migrations", "version", "varchar(255)")], ""),
    (
        "dbmate",
        [("schema_migrations", "version", "bigint"), ("schema_migrations", "dirty", "boolean")],
        "it is golang-migrate's: it has a column dirty",
    ),
    (
        "dbmate",
        [("schema_migrations", "version", "bigint"), ("schema_migrations", "inserted_at", "timestamp")],
        "it is another tool's: it has a column inserted_at",
    ),
    (
        "dbmate",
        [("schema_migrations", "version", "character varying")],
        "it is Rails': version is character varying without a length",
    ),
    (
        "dbmate",
        [("schema_migrations", "version", "varchar(255)"), ("ar_internal_metadata", "key", "varchar(255)")],
        "it is Rails': the table ar_internal_metadata is beside it",
    ),
]


@pytest.mark.parametrize(("tool", "columns", "problem"), CASES)
def test_namesakes(tool: revisions.ToolName, columns: list[tuple[str, str, str]], problem: str) -> None:
    """A table of another tool that has the name of ours is told by its columns."""
    rows = [("leads", "public", "public", *column, True, True) for column in columns]
    (found,) = recognize([VersionTableName(tool, version_tables.NAMES[tool])], rows)
    assert (found.problem, found.namespace) == (problem, "leads")


def test_namespaces() -> None:
    """Outside the default schema the namespace names the schema; tables of schemas nobody asked for are not ours."""
    rows = [
        ("leads", "public", schema, "alembic_version", "version_num", "varchar(32)", schema == "public", True)
        for schema in ("app", "public", "stranger")
    ]
    found = recognize(
        [VersionTableName("alembic", "alembic_version"), VersionTableName("alembic", "alembic_version", "app")], rows
    )
    assert [each.namespace for each in found] == ["leads", "leads|app"]
    assert recognize(version_tables.USUAL, [("leads", "public", *[None] * 6)]) == []


def test_projects(tmp_path: Path) -> None:
    """The tools' own settings say where migrations are and which table is theirs, without running them."""
    for name in ("alembic/versions", "other/versions", "db/a", "db/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/alembic\n[second]\nscript_location = other\n[loggers]\nkeys = root\n"
    )
    (tmp_path / "other/env.py").write_text(
        "import os\nos._exit(3)\nSCHEMA = 'app'\n"
        "context.configure(url, version_table='versions', version_table_schema=SCHEMA)\n"
    )
    for name in ("db/a/1_x.sql", "db/b/2_y.sql"):
        (tmp_path / name).touch()
    (tmp_path / ".env").write_text("DATABASE_URL=secret\nDBMATE_MIGRATIONS_TABLE='app.ran'\n")
    first, second, third = migrations.find(tmp_path, {"DBMATE_MIGRATIONS_DIR": "db/a,db/b"})
    assert first.table == VersionTableName("alembic", "alembic_version")
    assert first.directories == (tmp_path / "alembic/versions",)
    assert second.table == VersionTableName("alembic", "versions", "app")
    assert third.table == VersionTableName("dbmate", "ran", "app")
    assert third.read_graph().heads == ("2",)


def test_projects_by_other_settings(tmp_path: Path) -> None:
    """`[tool.alembic]`, several version directories and `package:path` are understood too."""
    for name in ("pkg/migrations/versions", "more"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.alembic]\nscript_location = 'pkg:migrations'\n"
        "version_locations = ['%(here)s/pkg/migrations/versions', '%(here)s/more']\n"
    )
    (only,) = migrations.find(tmp_path, {})
    assert only.directories == (tmp_path / "pkg/migrations/versions", tmp_path / "more")
    assert migrations.find(tmp_path / "more", {}) == []


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has such a file")
def test_unreadable_dotenv(tmp_path: Path) -> None:
    """A `.env` that this user may not read hides no migrations of Alembic; with files of DBMate it is an error."""
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    versions = tmp_path / "migrations/versions"
    versions.mkdir(parents=True)
    (versions / "r1_.py").write_text("revision = 'r1'\ndown_revision = None\n")
    (tmp_path / ".env").symlink_to("/proc/self/mem")  # a file whose first byte nobody can read, not even root
    assert [each.tool for each in migrations.find(tmp_path, {})] == ["alembic"]
    (tmp_path / "db/migrations").mkdir(parents=True)
    (tmp_path / "db/migrations/001_a.sql").write_text("-- migrate:up\n-- migrate:down\n")
    with pytest.raises(OSError, match="Input/output error"):
        migrations.find(tmp_path, {})


def test_circles_and_missing_dependencies() -> None:
    """Revisions that follow each other in a circle are found, without those before and after it."""
    graph = RevisionGraph(
        "alembic",
        [
            Revision("a", (), Path("a.py")),
            Revision("b", ("a", "d"), Path("b.py")),
            Revision("c", ("b",), Path("c.py")),
            Revision("d", ("c",), Path("d.py"), depends_on=("gone", "main")),
            Revision("e", ("d",), Path("e.py")),
            Revision("f", ("f",), Path("f.py")),
            Revision("g", ("lost",), Path("g.py"), labels=("main",)),
        ],
    )
    assert graph.cycle == {"b", "c", "d", "f"}
    assert graph.unresolved == {"d": ("gone",), "g": ("lost",)}
    line = [Revision(str(each), (str(each - 1),) if each else (), Path(f"{each}.py")) for each in range(500)]
    assert RevisionGraph("alembic", line).cycle == frozenset()


def test_rows_that_contradict_each_other() -> None:
    """A revision and one before it cannot both be heads of a database; two branches can, and a dependency can."""
    graph = RevisionGraph(
        "alembic",
        [
            Revision("a", (), Path("a.py")),
            Revision("b", ("a",), Path("b.py")),
            Revision("c", ("a",), Path("c.py")),
            Revision("x", (), Path("x.py"), depends_on=("a",)),
        ],
    )
    assert graph.contradicting({"a", "b"})
    assert compare_with_files(graph, {"a", "b"}) == "diverged"
    for fine in ({"a"}, {"b", "c"}, {"a", "x"}, set[str](), {"gone", "a"}):
        assert not graph.contradicting(fine)
    assert not RevisionGraph("dbmate", graph.revisions).contradicting({"a", "b"})
