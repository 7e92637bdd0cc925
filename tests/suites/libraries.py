"""Which libraries' own tests are run, and what each suite needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

ON = ("notable", "all")
"""Settings of `SPANS`, switched on before the library is imported."""
LATE = "late"
"""Switched on after every test module was imported."""


@dataclass(frozen=True)
class Suite:
    """How a library's own tests are run.

    Attributes:
        distribution: What is installed, and where the tests lie in the source distribution.
        least: A plausible least number of what is recorded (`validations`, `queries`, `requests`) for each test that
            passes.
        requirements: What its tests need: pip's arguments; `{source}` is where the source distribution lies. One with
            a release goes before constraints.txt.
        release: The one to test; None for the one installed here, which constraints.txt pins.
        tests: Where the tests are: pytest's arguments.
        ignored: Paths that test something else, such as benchmarks and type checkers.
        apart: What changes global state and so has a process of its own: pytest's arguments, the last one being what
            the rest of the suite leaves out.
        options: Further arguments of pytest.
        environ: Environment variables; `{source}` as above.
        known: Tests that newly fail for a reason which cannot be removed, and the reason.
        modes: In which modes it is run.
        linked: Whether each test is one request that starts with a validation, so that its queries are linked to it.
    """

    distribution: str
    least: dict[str, float]
    requirements: tuple[str, ...] = ()
    release: str | None = None
    tests: tuple[str, ...] = ("tests",)
    ignored: tuple[str, ...] = ()
    apart: tuple[tuple[str, ...], ...] = ()
    options: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict[str, str])
    known: dict[str, str] = field(default_factory=dict[str, str])
    modes: tuple[str, ...] = ON
    linked: bool = False


SQLALCHEMY = Suite(
    "SQLAlchemy",
    least={"queries": 0.3},
    requirements=("aiosqlite", "greenlet", "pytest-xdist"),
    tests=("test/orm", "test/engine", "test/sql"),
    # They remove every listener of the class Engine, also ours.
    apart=(("-n", "0", "test/engine/test_execute.py"), ("-n", "0", "test/engine/test_deprecations.py")),
    known={
        "test/engine/test_execute.py::EngineEventsTest::test_add_event_after_connect":
            "asserts that no engine has a listener yet; after an earlier test's, ours stands on the class Engine",
    },
    options=("-n", "2", "--import-mode=prepend"),  # Python has a package `test` too
    linked=True,
)  # fmt: skip

SUITES = {
    "jsonschema": Suite(
        "jsonschema",
        least={"validations": 0.9},
        requirements=("jsonpath-ng", "jsonschema[format]"),
        tests=("--pyargs", "jsonschema.tests"),
        environ={
            "JSON_SCHEMA_TEST_SUITE": "{source}/json",
            "OTEL_PYTHON_SCHEMA_INCLUDE": "jsonschema.*",  # its tests are installed with it, as a stranger's would be
        },
    ),
    "marshmallow": Suite(
        "marshmallow", least={"validations": 0.25}, requirements=("simplejson",)
    ),
    "marshmallow-3": Suite(
        "marshmallow", least={"validations": 0.25}, requirements=("simplejson",), release="3.26.2"
    ),
    "pydantic": Suite(
        "pydantic",
        least={"validations": 0.75},
        requirements=(
            "--group={source}/pyproject.toml:dev", "cloudpickle", "email-validator", "tzdata", "sqlalchemy",
            "eval-type-backport", "typing-extensions",
        ),
        ignored=("tests/benchmarks", "tests/mypy", "tests/typechecking", "tests/pyright", "tests/test_docs.py"),
        # test_plugins.py needs a model built before it is imported, and clears the table of plug-ins for all after it.
        apart=(("tests/test_type_adapter.py", "tests/test_plugins.py"), ("tests/test_plugin_loader.py",)),
        modes=(*ON, LATE),
    ),
    "sqlalchemy": SQLALCHEMY,
    "sqlalchemy-2.0": replace(SQLALCHEMY, release="2.0.58"),
    "alembic": Suite(
        "alembic",
        least={"queries": 0.5},
        requirements=("tzdata", "zimports", "black"),
        linked=True,
    ),
    "starlette": Suite(
        "starlette",
        least={"requests": 0.3},
        requirements=("starlette[full]", "blockbuster", "httpx2[zstd]", "importlib-metadata", "trio"),
    ),
    "fastapi": Suite(
        "fastapi",
        least={"requests": 0.5, "validations": 0.5},
        requirements=(
            "a2wsgi", "anyio[trio]", "dirty-equals", "email-validator", "httpx2[zstd]", "inline-snapshot", "logfire",
            "opentelemetry-exporter-otlp-proto-http", "orjson", "pwdlib[argon2]", "pydantic-extra-types",
            "pydantic-settings", "pyjwt", "pytest-xdist", "python-slugify", "pyyaml", "sentry-sdk", "sqlmodel",
            "strawberry-graphql", "typer", "ujson",
        ),
        ignored=("tests/benchmarks", "tests/memory_benchmarks"),
    ),
    "flask": Suite(
        "flask",
        least={"requests": 0.5},
        requirements=("asgiref", "greenlet", "pytest < 9.1", "python-dotenv"),
    ),
}  # fmt: skip

SUBSET = {
    "jsonschema": replace(
        SUITES["jsonschema"],
        requirements=("jsonpath-ng",),
        tests=("--pyargs", "jsonschema.tests.test_validators", "jsonschema.tests.test_exceptions"),
    ),
    "marshmallow": replace(SUITES["marshmallow"], tests=("tests/test_schema.py", "tests/test_decorators.py")),
    "pydantic": replace(
        SUITES["pydantic"],
        requirements=("dirty-equals", "pytest-run-parallel", "pytz"),
        tests=tuple(f"tests/test_{part}.py" for part in ("model_validator", "root_model", "validate_call")),
        ignored=(),
        apart=(),
        options=("-o", "addopts="),
        modes=ON,
    ),
    "starlette": replace(
        SUITES["starlette"],
        requirements=("blockbuster", "httpx2", "trio"),
        tests=("tests/test_routing.py", "tests/test_applications.py"),
    ),
    "fastapi": replace(
        SUITES["fastapi"],
        requirements=("dirty-equals", "httpx2", "inline-snapshot", "pytest-xdist"),
        tests=tuple(f"tests/test_tutorial/test_{part}" for part in ("body", "body_nested_models", "query_params")),
        ignored=(),
    ),
    "flask": replace(
        SUITES["flask"], requirements=("asgiref", "pytest < 9.1"), tests=("tests/test_basic.py", "tests/test_views.py")
    ),
}
"""For each change: no test of these needs much beyond what is installed here."""
