"""Every config file is valid, starts without a complaint, listens on loopback only, and agrees with the conventions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import semconv

from addresses import OWN
from tests.pipeline.certificates import certificates
from tests.pipeline.programs import AGENT, CONFIGS, GATEWAY, ROOT, STANDALONE, Collector, built, listening

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

COMBINATIONS = {
    "agent": AGENT,
    "gateway": GATEWAY,
    "standalone": STANDALONE,
    "agent-tls": (*AGENT, "overlays/tls-send.yaml"),
    "gateway-tls": (*GATEWAY, "overlays/tls-receive.yaml"),
    "standalone-tls": (*STANDALONE, "overlays/tls-receive.yaml"),
    "gateway-tls-both": (*GATEWAY, "overlays/tls-receive.yaml", "overlays/tls-send.yaml"),
    "remote-write": (*STANDALONE, "overlays/remote-write.yaml"),
    "prometheus-otlp": (*STANDALONE, "overlays/prometheus-otlp.yaml"),
    "unsampled": (*STANDALONE, "overlays/unsampled.yaml"),
    "agent-balanced": (*AGENT, "overlays/balance.yaml"),
    "agent-balanced-tls": (*AGENT, "overlays/tls-send.yaml", "overlays/balance.yaml", "overlays/balance-tls.yaml"),
}
FULL = {"agent-balanced", "agent-balanced-tls"}
NAMES = [pytest.param(name, marks=[pytest.mark.nightly] if name in FULL else []) for name in COMBINATIONS]


@pytest.fixture(scope="module", params=NAMES)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Collector:
    home = tmp_path_factory.mktemp(request.param)
    binary = built("full" if request.param in FULL else "small")
    return Collector(binary, COMBINATIONS[request.param], home, **certificates(home))


@cache
def printed(collector: Collector) -> dict[str, Any]:
    """Return the merged config, as `print-config` shows it."""
    command = [collector.command[0], "print-config", "--format=json", *collector.flags]
    done = subprocess.run(command, env=collector.env, cwd=collector.home, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def secrets(collector: Collector) -> list[str]:
    """Return the words of its token and key files."""
    texts = [Path(collector.env[f"OTELCOL_{name}_FILE"]).read_text() for name in ("TOKENS", "KEY")]
    return [word for text in texts for word in text.split() if len(word) > 20]


@cache
def components(binary: str) -> dict[str, str]:
    """Return the module of each component that a binary holds, by the component's name."""
    output = subprocess.run([binary, "components"], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"name: (\S+)\n\s+module: (\S+)", output))


def test_every_file_is_in_a_tested_combination() -> None:
    """No collector config is shipped that no test starts."""
    files = {str(path.relative_to(CONFIGS)) for path in (*CONFIGS.glob("*.yaml"), *CONFIGS.glob("overlays/*.yaml"))}
    assert files == {file for combination in COMBINATIONS.values() for file in combination}


def test_starts_without_a_complaint(collector: Collector) -> None:
    """The config starts with no warning, deprecation or secret in the log, and opens ports on loopback only."""
    with collector:
        assert collector.process is not None
        addresses = listening(collector.process.pid)
    # nobody is at the next hop in this test, which gRPC says at once
    log = [line for line in collector.log.read_text().splitlines() if "addrConn.createTransport" not in line]
    assert not [line for line in log if any(secret in line for secret in secrets(collector))]
    assert not [line for line in log if re.search(r"\t(warn|error)\t|deprecat", line, re.I)]
    assert len(addresses) >= 4  # OTLP twice, health, own metrics
    assert all(address.startswith("0100007F:") for address in addresses), addresses


def test_validates(collector: Collector) -> None:
    """The config passes `validate`, which builds every pipeline and compiles every condition."""
    command = [collector.command[0], "validate", *collector.flags]
    done = subprocess.run(command, env=collector.env, cwd=collector.home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_batch_processor(collector: Collector) -> None:
    """No pipeline has a batch processor, which loses what it holds and hides refusals from the sender."""
    pipelines = printed(collector)["service"]["pipelines"].values()
    assert not [name for pipeline in pipelines for name in pipeline["processors"] if name.startswith("batch")]


def test_memory_limiter_is_first(collector: Collector) -> None:
    """Whatever comes from outside passes the memory limiter before anything else."""
    pipelines = printed(collector)["service"]["pipelines"].values()
    assert all(
        pipeline["processors"][0] == "memory_limiter" for pipeline in pipelines if "otlp" in pipeline["receivers"]
    )


def test_secrets_are_not_printed(collector: Collector) -> None:
    """`print-config` shows no token and no key."""
    assert not [secret for secret in secrets(collector) if secret in json.dumps(printed(collector))]


def test_official_contrib_has_every_component(collector: Collector) -> None:
    """Each component that a config names is in the official contrib distribution, so that it runs the same files."""
    modules = components(collector.command[0])
    short = {
        "go.opentelemetry.io/collector/": "core/",
        "github.com/open-telemetry/opentelemetry-collector-contrib/": "contrib/",
    }
    official = (CONFIGS / "distribution" / "contrib-0.159.0.txt").read_text().split("\n")
    config = printed(collector)
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
        for name in config.get(kind) or {}:
            module = modules[name.split("/")[0]]
            for prefix, abbreviation in short.items():
                module = module.replace(prefix, abbreviation)
            assert module in official


def ours(config: dict[str, Any]) -> dict[str, Any]:
    """Return the guard's one group of statements that is for a single scope."""
    groups = config["processors"]["transform/guard"]["metric_statements"]
    (group,) = [group for group in groups if any("scope.name ==" in text for text in group.get("conditions") or [])]
    return group


def test_guard_knows_every_attribute(otelcol: Path, tmp_path: Path) -> None:
    """The guard keeps exactly the attributes that the conventions give to counters and histograms."""
    config = printed(Collector(otelcol, STANDALONE, tmp_path))
    statement = ours(config)["statements"][0]
    known = {key for instrument in semconv.INSTRUMENTS if instrument.kind != "gauge" for key in instrument.attributes}
    kept = set(re.findall(r'"([a-z_.]+)"', statement)) - {"sum"}
    assert kept == known | {semconv.OVERFLOW}


def test_guard_knows_our_scope(otelcol: Path, tmp_path: Path) -> None:
    """The guard works on the instrumentation's own scope and on no other."""
    config = printed(Collector(otelcol, STANDALONE, tmp_path))
    assert f'scope.name == "{semconv.SCOPE}"' in ours(config)["conditions"][0]


def test_every_variable_is_documented() -> None:
    """docs/pipeline.md has one row for each variable that a config or `make pipeline` reads, with its default."""
    texts = [path.read_text() for path in CONFIGS.rglob("*.yaml") if "distribution" not in path.parts]
    read = {match for text in texts for match in re.findall(r"\$\{env:(\w+):-([^}]+)\}", text)} | set(OWN.items())
    page = (ROOT / "docs" / "pipeline.md").read_text()
    assert set(re.findall(r"^\| `([A-Z_0-9]+)` \| `([^`]+)` \|", page, re.M)) == read


@pytest.mark.parametrize("config", ["app.yml", "collector.yml", "remote-write.yml"])
def test_prometheus_configs(config: str, prometheus: str) -> None:
    """promtool accepts the config (the one for OTLP needs Prometheus 3, and is started by its topology's test)."""
    promtool = shutil.which("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "config", CONFIGS / "prometheus" / config], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
