"""`otel-schema doctor` finds what loses data in a real environment, behind a command and at a real endpoint."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema.cli.group import otel_schema
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from processes import HOST, free_port

GOOD = {"OTEL_METRIC_EXPORT_INTERVAL": "15000"}
CLEARED = [
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_EXPORTER",
    "OTEL_SDK_DISABLED",
    "WEB_CONCURRENCY",
    "GUNICORN_CMD_ARGS",
]
SCRIPTS = Path(sys.executable).parent
_collector = socket.create_server((HOST, 0))
atexit.register(_collector.close)
COLLECTOR = f"http://{HOST}:{_collector.getsockname()[1]}"
"""Somebody who accepts connections, as a collector does."""


def output(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code, and what a person reads."""
    settings: dict[str, str | None] = dict.fromkeys(CLEARED) | {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR} | environment
    result = CliRunner().invoke(otel_schema, ["doctor", *arguments], env=settings)
    return result.exit_code, result.output


def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, set[str]]]:
    """The exit code, and the results by check."""
    code, document = output("--json", *arguments, **environment)
    assert code in (0, 1, 3), document
    found: dict[str, set[str]] = {}
    for check in json.loads(document)["checks"]:
        found.setdefault(check["name"], set()).add(check["result"])
    return code, found


@contextmanager
def endpoint(buckets: tuple[float, ...] = semconv.VALIDATION_BUCKETS) -> Iterator[int]:
    """A /metrics endpoint with one validation in it, or none if there is no bucket; gives its port."""
    registry = CollectorRegistry()
    if buckets:
        Histogram(semconv.VALIDATION_DURATION.prometheus, "", registry=registry, buckets=buckets).observe(0.02)
    with serving(registry) as port:
        yield port


@contextmanager
def serving(registry: CollectorRegistry) -> Iterator[int]:
    server, thread = start_http_server(0, HOST, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("environment", "check"),
    [
        ({}, "interval"),  # the SDK's 60 s
        ({"OTEL_METRIC_EXPORT_INTERVAL": "46000"}, "interval"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "often"}, "interval"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "interval"),
        ({**GOOD, "OTEL_SDK_DISABLED": "true"}, "switches"),
        ({**GOOD, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, schema"}, "switches"),
        ({"OTEL_METRICS_EXPORTER": "none"}, "switches"),
        ({**GOOD, "OTEL_METRICS_EXEMPLAR_FILTER": "always_off"}, "switches"),
        ({**GOOD, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA"}, "switches"),
        (
            {
                **GOOD,
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
            },
            "switches",
        ),
        ({**GOOD, "OTEL_TRACES_EXPORTER": "pigeon"}, "packages"),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "WEB_CONCURRENCY": "4"}, "processes"),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "GUNICORN_CMD_ARGS": "--bind :80 --workers=2"}, "processes"),
    ],
)
def test_environment_that_loses_data(environment: dict[str, str], check: str) -> None:
    """Each variable that loses data is one finding, and no other check complains."""
    code, found = doctor(**environment)
    assert code == 1
    assert {name for name, results in found.items() if results != {"fine"}} == {check}


@pytest.mark.parametrize("environment", [GOOD, {"OTEL_METRICS_EXPORTER": "prometheus", "WEB_CONCURRENCY": "1"}])
def test_environment_that_loses_nothing(environment: dict[str, str]) -> None:
    """What the documentation tells to set has no finding."""
    code, found = doctor(**environment)
    assert (code, {*map(frozenset, found.values())}) == (0, {frozenset({"fine"})})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def script(folder: Path, name: str, first: str, second: str = "") -> str:
    """A program that says so if it is run."""
    file = folder / name
    file.write_text(f"#!{first}\n{second}\nopen('ran', 'w')\n")
    file.chmod(0o755)
    return str(file)


def test_a_commands_own_interpreter_is_looked_at(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind launchers, settings and scripts the interpreter that would run the app is asked, and the app not run."""
    monkeypatch.chdir(tmp_path)
    app = script(tmp_path, "serve", str(bare))
    long = script(tmp_path, "long", "/bin/sh", f"""'''exec' {bare} "$0" "$@"\n' '''""")
    searched = script(tmp_path, "searched", "/usr/bin/env -S python -u")
    instrument = str(SCRIPTS / "opentelemetry-instrument")
    settings = ["--metric_export_interval", "15000", "--traces_exporter=otlp"]
    for command in (
        [str(bare), "-m", "app"],
        [app],
        [long],
        ["env", "-u", "HOME", f"PATH={bare.parent}:/usr/bin", searched],
        ["nice", "-n", "5", "nohup", app, "--workers", "3"],
        [instrument, *settings, app],
        [instrument, *settings, str(bare), "-m", "app"],
    ):
        code, said = output("--", *command, **GOOD)
        assert code == 1
        assert f"no OpenTelemetry SDK is installed in {bare}" in said, (command, said)
        assert 'pip install "opentelemetry-instrumentation-schema[quickstart]"' in said
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("command", "check"),
    [
        ("env OTEL_SDK_DISABLED=true PYTHON", "switches"),
        ("env -i PYTHON", "interval"),  # the SDK's 60 s
        ("INSTRUMENT --metric_export_interval 60000 PYTHON app.py", "interval"),
        ("INSTRUMENT --disabled_instrumentations=schema PYTHON app.py", "switches"),
        ("INSTRUMENT --metrics_exporter prometheus UVICORN app:app --workers 4", "processes"),
        ("INSTRUMENT --metrics_exporter prometheus GUNICORN -w4 app:app", "processes"),
        ("INSTRUMENT --metrics_exporter prometheus GUNICORN app:app", "processes"),  # it forks one
        ("INSTRUMENT --metrics_exporter prometheus -- GUNICORN --config g.py app:app", "processes"),
        ("INSTRUMENT --metrics_exporter prometheus UVICORN --reload app:app", "processes"),
        ("INSTRUMENT --metrics_exporter prometheus FLASK --app app run --debug", "processes"),
        ("INSTRUMENT --metrics_exporter prometheus PYTHON manage.py runserver", "processes"),
        ("env OTEL_METRICS_EXPORTER=prometheus PYTHON -m uvicorn a --workers=2", "processes"),
    ],
)
def test_a_commands_own_settings_are_looked_at(command: str, check: str) -> None:
    """What a command sets on its way to the app, and how many workers it starts, is judged as if it were set here."""
    command = command.replace("INSTRUMENT", str(SCRIPTS / "opentelemetry-instrument"))
    words = [str(SCRIPTS / word.lower()) if word.isupper() else word for word in command.split()]
    code, found = doctor("--", *words, **GOOD)
    assert code == 1
    lost = {"endpoint"} if "env -i" in command else set[str]()  # with the other variables the collector's address
    assert {name for name, results in found.items() if "finding" in results} == {check} | lost
    assert ("note" in found.get("command", set())) is ("opentelemetry-instrument" not in command)


def test_a_command_whose_python_is_not_found_is_no_verdict() -> None:
    """Of a command that runs no Python that can be told, its packages are unknown, and the fix is said."""
    for command in (["sh", "-c", "python app.py"], ["no-such-program"], ["env"]):
        code, said = output("--", *command, **GOOD)
        assert code == 3
        assert f"cannot find the Python that {command[0]} runs: give the interpreter after --" in said


def test_a_python_that_does_not_answer_is_no_verdict(tmp_path: Path) -> None:
    """An interpreter that fails is named with its last words."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    python.chmod(0o755)
    code, said = output("--", str(python), **GOOD)
    assert (code, f"{python} did not answer: broken" in said) == (3, True)


def test_nothing_behind_the_dashes() -> None:
    """Dashes without a command are a usage error in one line."""
    code, said = output("--")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "found no command after --" in said


def test_with_the_cli_alone_there_is_nothing_to_look_at(bare: Path, tmp_path: Path) -> None:
    """Installed with `[cli]` alone it checks URLs and says that it saw no app; without a URL it says what to give."""
    # what pip would install for the extra, and nothing of the SDK or the libraries that are observed
    wanted = (
        *("click", "rich", "markdown-it-py", "mdurl", "pygments", "wrapt", "packaging", "typing-extensions"),
        *("opentelemetry-api", "opentelemetry-semantic-conventions", "opentelemetry-instrumentation"),
    )
    program = (
        "import importlib.metadata as m, sys, os, shutil\n"
        "to = sys.argv[1]\n"
        "for name in sys.argv[2:]:\n"
        "    for file in m.distribution(name).files:\n"
        "        at = os.path.join(to, str(file))\n"
        "        if '..' not in str(file) and not str(file).endswith('.pyc'):\n"
        "            os.makedirs(os.path.dirname(at), exist_ok=True)\n"
        "            shutil.copy(file.locate(), at)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), *wanted], check=True)
    (tmp_path / "opentelemetry/instrumentation/schema").symlink_to(Path(semconv.__file__).parent)
    main = [str(bare), "-c", "from opentelemetry.instrumentation.schema.cli import main; main()", "doctor"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    nothing = subprocess.run(main, capture_output=True, text=True, env=environment)
    assert (nothing.returncode, nothing.stdout) == (2, ""), nothing
    assert "found no app in the environment of otel-schema" in nothing.stderr
    with endpoint() as port:
        url = f"http://{HOST}:{port}/metrics"
        seen = subprocess.run([*main, url], capture_output=True, text=True, env=environment)
    assert seen.returncode == 0, seen
    assert "the app's environment was not checked" in seen.stdout
    assert "SDK" not in seen.stdout


@pytest.mark.parametrize(
    ("buckets", "code", "check"),
    [
        (semconv.VALIDATION_BUCKETS, 0, {"telemetry": {"fine"}, "buckets": {"fine"}}),
        ((0.005, 0.025, 1.0), 1, {"telemetry": {"fine"}, "buckets": {"finding"}}),
        ((), 3, {"telemetry": {"unknown"}}),
    ],
)
def test_endpoint(buckets: tuple[float, ...], code: int, check: dict[str, set[str]]) -> None:
    """An endpoint is judged by its buckets, with an app's environment only where a command is given."""
    with endpoint(buckets) as port:
        url = f"http://{HOST}:{port}/metrics"
        assert doctor(url) == (code, {"environment": {"note"}, **check})
        app = {
            "command": {"note"},
            "packages": {"fine"},
            "switches": {"fine"},
            "endpoint": {"fine"},
            "interval": {"fine"},
        }
        assert doctor(url, "--", sys.executable, **GOOD) == (code, {**app, **check})


def test_what_the_app_lost_is_a_finding() -> None:
    """Measurements that the instrumentation dropped or got wrong are told from the app's own endpoint."""
    registry = CollectorRegistry()
    Counter("schema_telemetry_dropped", "", ["schema_telemetry_instrument"], registry=registry).labels("x").inc(3)
    with serving(registry) as port:
        code, found = doctor(f"{HOST}:{port}/metrics", **GOOD)
    assert (code, found["lost"]) == (1, {"finding"})


def test_what_the_app_leaves_out_is_said() -> None:
    """Distributions whose schemas are not observed are named, which is no finding."""
    registry = CollectorRegistry()
    Gauge("schema_left_out", "", ["schema_distribution"], registry=registry).labels("stripe").set(12)
    with serving(registry) as port:
        code, said = output(f"{HOST}:{port}/metrics", **GOOD)
    assert code == 0
    assert "not observed: stripe (12)" in said


def test_nobody_there() -> None:
    """A URL that nobody answers at is an environment error, in one line."""
    code, said = output(f"{HOST}:{free_port()}", **GOOD)
    assert (code, len(said.splitlines())) == (2, 1)
    assert "cannot read" in said
