"""Rules, dashboards and Alertmanager's config, rendered from templates with the values of the parameters.

A template has marks: `@{name}` or `@{name:form}` for a parameter or a form of the scope, `@{labels}` for the labels of
`--label`. In a dashboard's JSON, an element or key with `@{label}` is repeated for each own label beside `job`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from .scope import Scope, listed
from .thresholds import formatted

RULES: Final = ("schema.rules.yml", "schema-migrations.rules.yml", "schema-slo.rules.yml", "collector.rules.yml")
DASHBOARDS: Final = (
    "schema-health", "schema-validation", "schema-cache", "schema-versions", "schema-migrations", "schema-pipeline",
)  # fmt: skip
RECEIVERS: Final = "receivers.yml"
"""Alertmanager's receivers. People edit this file, so `export` keeps one that exists."""

_MARK: Final = re.compile(r"@\{(\w+)(?::(\w+))?\}")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_PER_LABEL: Final = "@{label}"
_ONE_LINE: Final = ' | reReplaceAll "[[:cntrl:]]+" " "'
_TEXTS: Final = {
    "schema": _ONE_LINE,
    # in a name, what Slack would read as a mention or a link is text
    "schema.slack": _ONE_LINE + ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;"',
}
"""Alertmanager's notification texts → the template functions that each value in them passes."""


def templates() -> Path:
    """Where the templates are: inside the installed package, or in a checkout beside `src`."""
    packaged = Path(__file__).with_name("templates")
    return packaged if packaged.is_dir() else Path(__file__).parents[5] / "dashboards" / "templates"


def render(template: str, values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> str:
    """A template with its marks replaced."""
    scope = Scope(values)

    def replace(mark: re.Match[str]) -> str:
        name, form = mark.groups()
        if name == "labels":  # all labels, except one that the rule sets itself
            chosen = {key: value for key, value in (labels or {}).items() if key != form}
            return "".join(f", {key}: {_quoted(value)}" for key, value in chosen.items())
        scoped = scope.form(name, form)
        return formatted(name, values[name], form) if scoped is None else scoped

    return _MARK.sub(replace, template)


def rules(values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Name and content of each rule file, the names without the prefix."""
    for name in RULES:
        yield name, render(_template(name), values, labels)


def prometheus_rule(values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> str:
    """The same groups as a PrometheusRule of the Prometheus operator."""
    prefix = Scope(values).form("prefix", "files")
    head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
    head += f"metadata:\n  name: {prefix}{values['rule_name']}\n"
    if values["rule_namespace"]:
        head += f"  namespace: {_quoted(values['rule_namespace'])}\n"
    pairs = [pair.partition("=") for pair in listed(values["rule_labels"])]
    if pairs:
        head += f"  labels: {{{', '.join(f'{key}: {_quoted(value)}' for key, _, value in pairs)}}}\n"
    bodies = [text.split("\ngroups:\n", 1)[1] for _, text in rules(values, labels)]
    groups = "".join(f"  {line}\n" if line else "\n" for body in bodies for line in body.splitlines())
    return f"{head}spec:\n  groups:\n{groups}"


def alertmanager(values: Mapping[str, str], receivers: str | None = None) -> Iterator[tuple[str, str]]:
    """Name and content of Alertmanager's config, its receivers and its notification texts.

    Args:
        values: of the parameters.
        receivers: the text of the edited receivers; None for those of the template.
    """
    teams = listed(values["teams"])
    if receivers is None:
        receivers = render(_template(RECEIVERS), values)
        receivers += "".join(render(_template("team-receivers.yml"), {**values, "team": team}) for team in teams)
    routes = "".join(render(_template("team-route.yml"), {**values, "team": team}) for team in teams)
    config = render(_template("alertmanager.yml"), {**values, "team_routes": routes})
    yield "alertmanager.yml", f"{config}\n{receivers}"
    yield RECEIVERS, receivers
    texts = _template("schema.tmpl")
    yield (
        "schema.tmpl",
        "\n".join(render(texts, {**values, "text": name, "clean": clean}) for name, clean in _TEXTS.items()),
    )


def dashboard(name: str, values: Mapping[str, str]) -> str:
    """A dashboard's JSON."""
    return as_json(filled(json.loads(_template(f"{name}.json")), values))


def filled(node: Any, values: Mapping[str, str]) -> Any:
    """JSON with its marks replaced. A string that is only the mark of a number becomes a number."""
    if isinstance(node, str):
        rendered = render(node, values)
        mark = _MARK.fullmatch(node)
        return float(rendered) if mark and mark[2] in (None, "above") and _NUMBER.fullmatch(rendered) else rendered
    if isinstance(node, dict):
        pairs = cast("dict[str, Any]", node).items()
        return {
            key: filled(value, values) for before, inner in pairs for key, value in _repeated(before, inner, values)
        }
    if isinstance(node, list):
        elements = cast("list[Any]", node)
        return [filled(one, values) for element in elements for one in _for_each_label(element, values)]
    return node


def _repeated(key: str, value: Any, values: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    if _PER_LABEL not in key:
        yield key, value
        return
    for label in Scope(values).further:
        yield key.replace(_PER_LABEL, label), json.loads(json.dumps(value).replace(_PER_LABEL, label))


def _for_each_label(element: Any, values: Mapping[str, str]) -> list[Any]:
    """The element; if a text directly in it has the mark, one element for each label."""
    direct = cast("dict[str, Any]", element).values() if isinstance(element, dict) else [element]
    if not any(isinstance(text, str) and _PER_LABEL in text for text in direct):
        return [element]
    text = json.dumps(element)
    return [json.loads(text.replace(_PER_LABEL, label)) for label in Scope(values).further]


def as_json(document: object) -> str:
    """JSON as the committed dashboards have it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def files(
    values: Mapping[str, str], labels: Mapping[str, str] | None = None, receivers: str | None = None
) -> Iterator[tuple[str, str]]:
    """Path and content of everything that `export` writes."""
    prefix = Scope(values).form("prefix", "files")
    for name, text in rules(values, labels):
        yield f"prometheus/rules/{prefix}{name}", text
    yield f"kubernetes/{prefix}prometheusrule.yaml", prometheus_rule(values, labels)
    for name, text in alertmanager(values, receivers):
        yield f"alertmanager/{name}", text
    for name in DASHBOARDS:
        yield f"grafana/{prefix}{name}.json", dashboard(name, values)


def origin(name: str) -> str:
    """A hash of the templates of a dashboard or of rules, which differs between packages; "" for other files.

    Args:
        name: of a written file, with any prefix.
    """
    for template in (*RULES, *(f"{one}.json" for one in DASHBOARDS)):
        if Path(name).name.endswith(template):
            return hashlib.sha256(_template(template).encode()).hexdigest()[:12]
    return ""


def configs() -> Iterator[tuple[str, str]]:
    """Path and content of the configs of collector and Prometheus. They have no marks: their settings are variables."""
    packaged = Path(__file__).with_name("configs")
    root = packaged if packaged.is_dir() else Path(__file__).parents[5] / "collector-config"
    for folder, pattern in (("collector", "*.yaml"), ("collector", "*s/*.yaml"), ("", "prometheus/*.yml")):
        for path in sorted(root.glob(pattern)):
            yield Path(folder, path.relative_to(root)).as_posix(), path.read_text(encoding="utf-8")


def _template(name: str) -> str:
    return (templates() / name).read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    """A string of YAML. Not JSON's escapes: YAML refuses the surrogates of 🚀."""
    return json.dumps(text, ensure_ascii=False)
