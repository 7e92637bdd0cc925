"""Provisioning and the compose file: of their schema, with configs that a test runs, and in step with each other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.dashboards.test_dashboards import DASHBOARDS
from tests.pipeline.programs import STANDALONE, built

ROOT = Path(__file__).parents[2]
HERE = ROOT / "dashboards"
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SOURCES = yaml.safe_load((HERE / "provisioning" / "datasources" / "schema.yaml").read_text())["datasources"]


def test_compose_schema() -> None:
    """The compose file is one by the Compose Specification's own schema."""
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({**COMPOSE, "services": {"x": {"imagine": "y"}}})


def mounted(service: str) -> dict[str, Path]:
    """Path in the container → path here, of what is mounted from the repository."""
    pairs = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {inside: (HERE / outside).resolve() for outside, inside, *_ in pairs if outside.startswith(".")}


@pytest.mark.parametrize("service", SERVICES)
def test_images_and_mounts(service: str) -> None:
    """Every image is pinned to a release by digest, and everything mounted exists and is read-only."""
    assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", SERVICES[service]["image"])
    for outside in mounted(service).values():
        assert outside.is_dir()
    assert all(v.endswith(":ro") for v in SERVICES[service]["volumes"] if v.startswith("."))


@pytest.mark.parametrize("service", SERVICES)
def test_least_privileges(service: str) -> None:
    """No service is root or has a capability, but for the one that gives volumes to their users and ends."""
    settings = SERVICES[service]
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in settings
    if service == "volumes":
        assert settings["cap_add"] == ["CHOWN"]
        assert settings["network_mode"] == "none"
        assert "restart" not in settings
    else:
        assert "user" not in settings
        assert "cap_add" not in settings


def config(service: str) -> list[Path]:
    """The config files that a service's command names, as they are here."""
    found = []
    for argument in SERVICES[service]["command"]:
        if match := re.fullmatch(r"--?config(?:\.file)?=(.+)", argument):
            folder, _, name = match[1].rpartition("/")
            found.append(mounted(service)[folder] / name)
    return found


def test_configs_are_the_tested_ones() -> None:
    """Each service starts with a config that exists and that other tests run, and its own tool accepts it."""
    collector = config("collector")
    assert [path.relative_to(ROOT / "collector-config").as_posix() for path in collector] == list(STANDALONE)
    for command in (
        [str(built("small")), "validate", *(f"--config={path}" for path in collector)],
        ["promtool", "check", "config", *map(str, config("prometheus"))],
        ["amtool", "check-config", *map(str, config("alertmanager"))],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for store in ("jaeger", "tempo"):
        assert all(path.is_file() for path in config(store))


def test_prometheus_reaches_alertmanager_and_loads_the_rules() -> None:
    """The Prometheus of the compose file notifies its Alertmanager and loads every rule file."""
    (path,) = config("prometheus")
    settings = yaml.safe_load(path.read_text())
    (group,) = settings["alerting"]["alertmanagers"]
    (address,) = group["static_configs"][0]["targets"]
    assert f"--web.listen-address={address}" in SERVICES["alertmanager"]["command"]
    (pattern,) = settings["rule_files"]
    assert {p.name for p in path.parent.glob(pattern)} == {p.name for p in (path.parent / "rules").iterdir()}


def test_provisioned_folder_is_mounted() -> None:
    """Grafana looks for the dashboards where they are mounted, and starts on one of them."""
    provider = yaml.safe_load((HERE / "provisioning" / "dashboards" / "schema.yaml").read_text())["providers"][0]
    folder = mounted("grafana")[provider["options"]["path"]]
    assert {path.stem for path in folder.glob("*.json")} == set(DASHBOARDS)
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/schema-health.json"


def test_data_sources() -> None:
    """Exemplars and the panels' links lead to data sources that are provisioned; the interval is the documented one."""
    by_uid = {source["uid"]: source for source in SOURCES}
    settings = by_uid["prometheus"]["jsonData"]
    assert settings["timeInterval"] == "15s"
    assert {destination["datasourceUid"] for destination in settings["exemplarTraceIdDestinations"]} <= set(by_uid)
    links = [
        link["url"]
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]
    named = {uid for url in links for uid in re.findall(r"%22datasource%22:%22(\w+)%22", url)}
    assert named == {"tempo", "jaeger"}
    assert named <= set(by_uid)
