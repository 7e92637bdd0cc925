"""What the surroundings decide: what is installed, and what is set."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from processes import clean_environment
from sink import Sink
from tests.integration import export_path

ROOT = Path(__file__).parents[2]
LIBRARIES = ["pydantic", "jsonschema", "marshmallow", "sqlalchemy", "starlette", "fastapi", "flask"]

APP = """
from pydantic import BaseModel, ValidationError

class Lead(BaseModel):
    number: int

for number in (1, "2", "many"):
    try:
        print(Lead(number=number))
    except ValidationError as error:
        print(error.error_count(), "error")
"""
PRINTED = "number=1\nnumber=2\n1 error\n"

ASKING = """
from fastapi.testclient import TestClient
from leads_api.app import app

with TestClient(app) as client:
    for path in ("/healthz", "/leads?limit=2", "/leads?limit=0"):
        print(client.get(path).status_code)
"""
ANSWERED = "200\n200\n422\n"


def python(
    script: str, directory: Path, *before: str | Path, executable: Path | str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, by what stands before its Python, with no setting but the given."""
    file = directory / "script.py"
    file.write_text(dedent(script))
    return subprocess.run(
        [*before, executable, file],
        env=clean_environment() | variables,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


def printed(script: str, directory: Path, **variables: str) -> str:
    """What a script prints that ends well and says nothing else."""
    run = python(script, directory, **variables)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def test_merely_installed(tmp_path: Path) -> None:
    """An app that is not started under OpenTelemetry loads nothing of ours, and its validators are Pydantic's own."""
    script = f"""
        import importlib, sys
        for name in {LIBRARIES}:
            importlib.import_module(name)
        class Lead(sys.modules["pydantic"].BaseModel):
            number: int
        print([name for name in sys.modules if name.startswith("opentelemetry.instrumentation")])
        print(type(Lead.__pydantic_validator__).__module__)
    """
    assert printed(script, tmp_path) == "[]\npydantic_core._pydantic_core\n"


def test_switched_on_it_loads_no_library(tmp_path: Path) -> None:
    """Importing and instrumenting import neither the SDK nor any library that the app does not."""
    script = f"""
        import sys
        from opentelemetry.instrumentation.schema import SchemaInstrumentor
        SchemaInstrumentor().instrument()
        print([name for name in sys.modules if name.split(".")[0] in {LIBRARIES}])
        print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
    """
    assert printed(script, tmp_path) == "[]\n[]\n"


WITHOUT_PROVIDER = """
    {before}
    import gc
    from opentelemetry.instrumentation.schema import SchemaInstrumentor
    from opentelemetry.instrumentation.schema._recording.cells import Cell
    SchemaInstrumentor().instrument()
    from pydantic import TypeAdapter
    adapter = TypeAdapter(list[int])
    print([adapter.validate_python(["1"]) for _ in range(2000)] == [[1]] * 2000)
    print(sum(len(thing.values) for thing in gc.get_objects() if type(thing) is Cell))
    SchemaInstrumentor().uninstrument()
    print(adapter.validate_json("[2]"))
"""


@pytest.mark.parametrize(
    "before",
    ["import opentelemetry.sdk.metrics", "import sys; sys.modules['opentelemetry.sdk'] = None"],
    ids=["SDK without a provider", "no SDK"],
)
def test_without_a_provider(before: str, tmp_path: Path) -> None:
    """With the API's own providers the app works as ever, and nothing is kept for a reader that never comes."""
    assert printed(WITHOUT_PROVIDER.format(before=before), tmp_path) == "True\n0\n[2]\n"


def test_a_bad_value_warns_once(tmp_path: Path, sink: Sink) -> None:
    """One warning names the variable, its value and what is used instead; the app runs."""
    variables = export_path.by_otlp_at_the_end(sink) | {
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_SCHEMA_SLOW_MS": "fast",
    }
    run = python(APP, tmp_path, export_path.INSTRUMENT, **variables)
    assert run.stdout == PRINTED
    (warning,) = [line for line in run.stderr.splitlines() if "SCHEMA" in line]
    assert warning.startswith("OTEL_PYTHON_SCHEMA_SLOW_MS='fast' is not valid")
    assert warning.endswith("using 10.0")
    assert export_path.total(sink.metric_points("schema.validation.duration")).total() == 3


def test_sdk_disabled(tmp_path: Path, sink: Sink) -> None:
    """OTEL_SDK_DISABLED: nothing is sent, nothing is said."""
    run = python(
        APP, tmp_path, export_path.INSTRUMENT, OTEL_SDK_DISABLED="true", **export_path.by_otlp_at_the_end(sink)
    )
    assert (run.returncode, run.stdout) == (0, PRINTED)
    assert "schema" not in run.stderr
    assert (sink.metric_points("schema.validation.duration"), sink.spans()) == ([], [])


@pytest.mark.parametrize(
    ("setting", "requests", "schemas"),
    [
        ({}, {"GET /healthz": 1, "GET /leads": 2}, {"query.limit", "list[LeadOut]"}),
        ({"OTEL_PYTHON_EXCLUDED_URLS": "healthz"}, {"GET /leads": 2}, {"query.limit", "list[LeadOut]"}),
        ({"OTEL_PYTHON_SCHEMA_DISABLED": "starlette"}, {}, None),
        ({"OTEL_PYTHON_SCHEMA_EXCLUDE": "leads_api.*:*"}, {"GET /healthz": 1, "GET /leads": 2}, {"query.limit"}),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "schema"}, {}, set()),
    ],
    ids=["nothing", "a URL", "a library", "schemas", "us"],
)
def test_what_to_leave_alone(
    setting: Mapping[str, str],
    requests: Mapping[str, int],
    schemas: set[str] | None,
    tmp_path: Path,
    sink: Sink,
) -> None:
    """The settings that leave something out leave out just that; the server spans come all the same."""
    run = python(
        ASKING,
        tmp_path,
        export_path.INSTRUMENT,
        **export_path.environment(tmp_path, **export_path.by_otlp_at_the_end(sink), **setting),
    )
    assert run.stdout == ANSWERED
    assert +export_path.total(sink.metric_points("api.requests"), "endpoint") == dict(requests)
    if schemas is not None:
        assert export_path.total(sink.metric_points("schema.validation.duration"), "schema.name").keys() == schemas
    served = [span.name for span in sink.spans() if span.kind == "SERVER"]
    assert served.count("GET /leads") == 2


class Bare:
    """An environment that holds the built wheel and Pydantic."""

    def __init__(self, directory: Path) -> None:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT]
        subprocess.run(build, check=True, capture_output=True, timeout=120)
        (self.wheel,) = directory.glob("*.whl")
        venv.create(directory / "venv", symlinks=True)
        self.python = directory / "venv" / "bin" / "python"
        self.instrument = self.python.with_name("opentelemetry-instrument")
        self.install(str(self.wheel), "pydantic")

    def install(self, *what: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", "-q", *what]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def run(self, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return python(APP, directory, self.instrument, executable=self.python, **variables)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """Nothing but the wheel and what it needs: no SDK, no distro."""
    return Bare(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def quickstart(bare: Bare) -> Bare:
    """The same with the extra."""
    bare.install(f"{bare.wheel}[quickstart]")
    return bare


@pytest.mark.timeout(300)
def test_without_an_sdk_one_warning_says_what_to_install(bare: Bare, tmp_path: Path) -> None:
    """Under opentelemetry-instrument with no SDK the app runs, and one warning names the package and the command."""
    run = bare.run(tmp_path)
    assert (run.returncode, run.stdout) == (0, PRINTED)
    (warning,) = run.stderr.splitlines()
    assert "opentelemetry-sdk is not installed" in warning
    assert "pip install 'opentelemetry-instrumentation-schema[quickstart]'" in warning


@pytest.mark.timeout(300)
def test_without_a_distro_one_warning_says_what_to_install(bare: Bare, tmp_path: Path) -> None:
    """An SDK that nobody configures is named just so."""
    bare.install("opentelemetry-sdk")
    run = bare.run(tmp_path)
    assert (run.returncode, run.stdout) == (0, PRINTED)
    (warning,) = run.stderr.splitlines()
    assert "opentelemetry-distro is not installed" in warning


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_quickstart_gives_numbers(quickstart: Bare, tmp_path: Path, sink: Sink) -> None:
    """With the extra, an endpoint is all that needs to be set."""
    run = quickstart.run(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.grpc_endpoint, OTEL_LOGS_EXPORTER="none")
    assert (run.returncode, run.stdout) == (0, PRINTED)
    assert "schema" not in run.stderr
    seen = export_path.total(
        sink.metric_points("schema.validation.duration"), "schema.name", "schema.validation.outcome"
    )
    assert seen == {("Lead", "valid"): 2, ("Lead", "invalid"): 1}
    assert [span.name for span in sink.spans()] == ["schema.validate Lead"]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_declarative_configuration(quickstart: Bare, tmp_path: Path, sink: Sink) -> None:
    """An OTEL_CONFIG_FILE decides: its exporter gets the metrics, its view cuts their attributes."""
    quickstart.install("opentelemetry-configuration")
    exporter = {"otlp_http": {"endpoint": f"{sink.endpoint}/v1/metrics"}}
    view = {
        "selector": {"instrument_name": "schema.validation.duration"},
        "stream": {"attribute_keys": {"included": ["schema.name"]}},
    }
    configuration = {
        "file_format": "1.0",
        "meter_provider": {"readers": [{"periodic": {"interval": 60000, "exporter": exporter}}], "views": [view]},
    }
    file = tmp_path / "otel.yaml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    run = quickstart.run(tmp_path, OTEL_CONFIG_FILE=str(file))
    assert (run.returncode, run.stdout) == (0, PRINTED)
    (point,) = sink.metric_points("schema.validation.duration")
    assert (point.attributes, point.count) == ({"schema.name": "Lead"}, 3)
    assert len(point.bounds) == 17
    assert sink.spans() == []
