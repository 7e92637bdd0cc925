"""`otel-schema export`: the user's thresholds, labels and addresses everywhere, and nothing that cannot be."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds, values, writing
from opentelemetry.instrumentation.schema.cli.commands import export


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(export.export, arguments)
    return result.exit_code, result.output


def test_thresholds_reach_rules_dashboards_and_alertmanager(tmp_path: Path) -> None:
    """A threshold changes rule, text and panel alike; labels and addresses arrive; everything stays valid."""
    code, output = run(
        str(tmp_path),
        *("--set", "error_ratio=0.02", "--set", "error_for=90s", "--set", "p95_seconds=0.05"),
        *("--set", "grafana_url=https://grafana.shop.example", "--label", "team=leads"),
    )
    assert code == 0, output
    rules = yaml.safe_load((tmp_path / "prometheus/rules/schema.rules.yml").read_text())
    alert = rules["groups"][0]["rules"][0]
    assert alert["expr"].endswith("> 0.02")
    assert alert["for"] == "90s"
    assert alert["labels"] == {"severity": "warning", "team": "leads"}
    assert alert["annotations"]["description"] == "Validation errors have exceeded 2% for the past 90 seconds."
    assert alert["annotations"]["dashboard_url"].startswith("https://grafana.shop.example/d/")
    board = json.loads((tmp_path / "grafana/schema-validation.json").read_text())
    panel = board["panels"][1]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 0.05
    assert "50ms" in panel["fieldConfig"]["defaults"]["links"][0]["url"]
    checks = [
        ["promtool", "check", "rules", *map(str, (tmp_path / "prometheus/rules").glob("*.yml"))],
        ["amtool", "check-config", str(tmp_path / "alertmanager/alertmanager.yml")],
    ]
    for check in checks:
        assert subprocess.run(check, capture_output=True).returncode == 0
    assert "@{" not in "".join(path.read_text() for path in tmp_path.rglob("*.*"))


def test_prometheus_rule_holds_the_same_groups() -> None:
    """The PrometheusRule has the groups of the rule files, all of them, in order."""
    custom = yaml.safe_load(rendering.prometheus_rule(thresholds.DEFAULTS))
    groups = [group for _, text in rendering.rules(thresholds.DEFAULTS) for group in yaml.safe_load(text)["groups"]]
    assert custom["kind"] == "PrometheusRule"
    assert custom["spec"]["groups"] == groups


@pytest.mark.parametrize(
    "given",
    ["nothing=1", "error_ratio=1.5", "error_ratio=x", "error_ratio=-1", "error_for=5", "error_for=", "p95_seconds=1e-3",
     'smtp=a"b', "grafana_url={{ evil }}", "mail_to=a\nb"],
)  # fmt: skip
def test_refused(tmp_path: Path, given: str) -> None:
    """What no file can hold is refused with 2, by name, before anything is written."""
    code, output = run(str(tmp_path), "--set", given)
    assert code == 2
    assert given.partition("=")[0] in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("label", ["severity=low", "a-b=c", "team", 'team="x"', "team={{ x }}"])
def test_refused_label(tmp_path: Path, label: str) -> None:
    """A label that is none, or that the rules set themselves, is refused with 2."""
    assert run(str(tmp_path), "--label", label)[0] == 2


def test_list() -> None:
    """`--list` names every parameter with its default and where it comes from."""
    code, output = run("--list")
    assert code == 0
    for parameter in thresholds.PARAMETERS:
        assert parameter.name in output
        assert parameter.why in output


def test_every_parameter_is_used() -> None:
    """No parameter is without effect."""
    text = "".join(path.read_text() for path in rendering.templates().iterdir())
    forms = {
        "own_labels": "own",
        "collector_job": "collector",
        "collector_selector": "collector",
        "teams": "team_routes",
    }
    kubernetes = {"rule_name", "rule_namespace", "rule_labels"}  # see test_prometheus_rule_is_selected
    used = {
        parameter.name: f"@{{{forms.get(parameter.name, parameter.name)}" in text for parameter in thresholds.PARAMETERS
    }
    assert {name for name, found in used.items() if not found} == kubernetes


@pytest.mark.parametrize(
    "name", ["prometheus/rules/schema.rules.yml", "grafana/schema-health.json", "alertmanager/schema.tmpl"]
)
def test_never_over_what_was_edited(tmp_path: Path, name: str) -> None:
    """A file that was edited is not replaced, nor anything else; --only leaves it out, --force replaces it."""
    assert run(str(tmp_path))[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert len(before) == len([*rendering.files(thresholds.DEFAULTS), *rendering.configs()])
    edited = tmp_path / name
    text = edited.read_text().replace("alert", "alarm", 1)
    edited.write_text(text)
    code, output = run(str(tmp_path), "--set", "error_ratio=0.02", "--set", "p95_seconds=0.05")
    assert code == 2
    assert str(edited) in output
    assert all(way in output for way in ("--diff", "--only", "--force"))
    assert {path: path.read_bytes() for path in before if path != edited} == {
        path: content for path, content in before.items() if path != edited
    }
    code, output = run(str(tmp_path), "--set", "error_ratio=0.02", "--only", "kubernetes/*")
    assert code == 0
    assert "0.02" in (tmp_path / "kubernetes/prometheusrule.yaml").read_text()
    assert edited.read_text() == text
    assert run(str(tmp_path), "--force")[0] == 0
    assert edited.read_text() != text


def test_never_over_what_others_wrote(tmp_path: Path) -> None:
    """A file that export did not write is not replaced; one that it wrote is, with other values."""
    foreign = tmp_path / "prometheus" / "rules" / "schema.rules.yml"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("groups: []\n")
    code, output = run(str(tmp_path))
    assert (code, foreign.read_text()) == (2, "groups: []\n")
    assert f"{foreign} was not written by" in output
    foreign.unlink()
    assert run(str(tmp_path))[0] == 0
    assert run(str(tmp_path), "--set", "error_ratio=0.02")[0] == 0
    assert "> 0.02" in foreign.read_text()


def test_diff(tmp_path: Path) -> None:
    """--diff shows what would change and writes nothing; it exits with 1 if something would, else with 0."""
    assert run(str(tmp_path))[0] == 0
    assert run(str(tmp_path), "--diff") == (0, "")
    code, output = run(str(tmp_path), "--diff", "--set", "error_ratio=0.02", "--only", "*schema.rules.yml")
    assert code == 1
    assert (
        "\n+        expr: sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m])) > 0.02\n" in output
    )
    assert "> 0.02" not in (tmp_path / "prometheus/rules/schema.rules.yml").read_text()


def test_only_what_matches_nothing(tmp_path: Path) -> None:
    """--only with a pattern that no file matches is refused with the files that there are."""
    code, output = run(str(tmp_path), "--only", "rules/*")
    assert code == 2
    assert "prometheus/rules/schema.rules.yml" in output


def test_receivers_are_kept(tmp_path: Path) -> None:
    """Receivers that somebody edited stay, also with --force, and Alertmanager's config has them at its end."""
    assert run(str(tmp_path))[0] == 0
    receivers, config = tmp_path / "alertmanager/receivers.yml", tmp_path / "alertmanager/alertmanager.yml"
    assert run(str(tmp_path), "--set", "slack_channel=#other")[0] == 0
    assert "#other" in receivers.read_text()  # nobody edited it yet
    edited = receivers.read_text() + "  - name: night-watch\n"
    receivers.write_text(edited)
    assert run(str(tmp_path), "--set", "group_wait=7s", "--force")[0] == 0
    assert receivers.read_text() == edited
    assert "group_wait: 7s" in config.read_text()
    assert config.read_text().endswith("- name: night-watch\n")
    assert subprocess.run(["amtool", "check-config", str(config)], capture_output=True).returncode == 0
    code, output = run(str(tmp_path), "--set", "teams=leads")
    assert code == 2
    assert "a route names leads, a receiver that is not in this file" in output


@pytest.mark.parametrize(
    "link", ["prometheus", "prometheus/rules", "prometheus/rules/schema.rules.yml", "alertmanager"]
)
def test_never_through_a_link(tmp_path: Path, link: str) -> None:
    """Nothing is written through a symbolic link, to a file or a folder, dangling or not, not even with --force."""
    folder, outside = tmp_path / "monitoring", tmp_path / "outside"
    outside.mkdir()
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside / ("stranger.yml" if link.endswith(".yml") else ""))
    for more in ([], ["--force"]):
        code, output = run(str(folder), *more)
        assert code == 2
        assert f"{folder / link} is a symbolic link" in output
    assert list(outside.iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """DIRECTORY is what the user names, a link or not."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert run(str(tmp_path / "here"))[0] == 0
    assert (tmp_path / "there/kubernetes/prometheusrule.yaml").is_file()


def test_prometheus_rule_is_selected() -> None:
    """Name, namespace and labels of the PrometheusRule are the user's, so that a Prometheus selects it."""
    given = {
        "rule_name": "schema",
        "rule_namespace": "monitoring",
        "rule_labels": "release=kube-prometheus-stack,a.b/c=d",
    }
    metadata = yaml.safe_load(rendering.prometheus_rule(values.check_values({**given, "prefix": "leads"})))["metadata"]
    labels = {"release": "kube-prometheus-stack", "a.b/c": "d"}
    assert metadata == {"name": "leads-schema", "namespace": "monitoring", "labels": labels}


def test_secrets_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alertmanager's secret files are named by absolute paths, also where the folder was given from here."""
    monkeypatch.chdir(tmp_path)
    assert run("out", "--set", "secrets_dir=secrets")[0] == 0
    text = (tmp_path / "out/alertmanager/alertmanager.yml").read_text()
    files = re.findall(r"_file: \"(.*)\"", text)
    assert len(files) == 4
    assert {str(Path(file).parent) for file in files} == {str(tmp_path / "secrets")}


def test_every_file_is_written_as_rendered(tmp_path: Path) -> None:
    """A file's seal changes nothing of what it says: JSON and YAML are the same without it."""
    assert run(str(tmp_path))[0] == 0
    configs = ("collector/base.yaml", "collector/overlays/tls-send.yaml", "collector/stores/tempo.yaml")
    assert all((tmp_path / path).exists() for path in (*configs, "prometheus/collector.yml"))
    for path, text in [*rendering.files(thresholds.DEFAULTS), *rendering.configs()]:
        written = (tmp_path / path).read_text()
        assert writing.unsealed(written) == text
        if path.endswith(".json"):
            document = json.loads(written)
            del document["__otel_schema_export"]
            assert document == json.loads(text)
