"""Rules, dashboards and Alertmanager's config, rendered from templates with the values of the parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .thresholds import formatted, is_number

RULES: Final = ("schema.rules.yml", "schema-slo.rules.yml", "collector.rules.yml")
DASHBOARDS: Final = ("schema-health", "schema-validation", "schema-cache", "schema-pipeline")

_MARK: Final = re.compile(r"@\{(\w+)(?::(\w+))?\}")


def source() -> Path:
    """Where templates and dashboards are: inside the installed package, or in a checkout beside `src`."""
    packaged = Path(__file__).with_name("exported")
    return packaged if packaged.is_dir() else Path(__file__).parents[5] / "dashboards"


def render(template: str, values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> str:
    """A template with its marks replaced: `@{name}`, or `@{name:form}`: `percent`, `ms`, `short`, `words`, `why`."""

    def replace(mark: re.Match[str]) -> str:
        name, form = mark.groups()
        if name == "labels":  # all of them, but for one that the rule sets itself
            return "".join(f", {key}: {json.dumps(value)}" for key, value in (labels or {}).items() if key != form)
        return formatted(name, values[name], form)

    return _MARK.sub(replace, template)


def rules(values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Name and content of each rule file."""
    for name in RULES:
        yield name, render((source() / "templates" / name).read_text(), values, labels)


def prometheus_rule(values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> str:
    """The same groups as a PrometheusRule of the Prometheus operator."""
    head = (
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
        "metadata:\n  name: opentelemetry-instrumentation-schema\nspec:\n  groups:\n"
    )
    bodies = [text.split("\ngroups:\n", 1)[1] for _, text in rules(values, labels)]
    return head + "".join(f"  {line}\n" if line else "\n" for body in bodies for line in body.splitlines())


def alertmanager(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and content of Alertmanager's config and its notification template."""
    templates = source() / "templates"
    yield "alertmanager.yml", render((templates / "alertmanager.yml").read_text(), values)
    yield "schema.tmpl", (templates / "schema.tmpl").read_text()


def dashboard(name: str, values: Mapping[str, str]) -> str:
    """A dashboard's JSON. `templates/dashboards.json` holds, by JSON pointer, what depends on a parameter."""
    document = json.loads((source() / "grafana" / f"{name}.json").read_text())
    marks = json.loads((source() / "templates" / "dashboards.json").read_text())
    for pointer, template in marks[name].items():
        *parents, last = pointer.split("/")[1:]
        at: Any = document
        for key in parents:
            at = at[_key(at, key)]
        at[_key(at, last)] = scalar(template, values)
    return as_json(document)


def scalar(template: str, values: Mapping[str, str]) -> str | float:
    """A string of a dashboard with its marks replaced; a number where nothing but a mark of a number is in it."""
    rendered = render(template, values)
    mark = _MARK.fullmatch(template)
    return float(rendered) if mark and mark[2] is None and is_number(rendered) else rendered


def as_json(document: object) -> str:
    """JSON as the committed dashboards have it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def files(values: Mapping[str, str], labels: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Path and content of everything that `export` writes."""
    for name, text in rules(values, labels):
        yield f"prometheus/rules/{name}", text
    yield "kubernetes/prometheusrule.yaml", prometheus_rule(values, labels)
    for name, text in alertmanager(values):
        yield f"alertmanager/{name}", text
    for name in DASHBOARDS:
        yield f"grafana/{name}.json", dashboard(name, values)


def _key(container: Any, key: str) -> str | int:
    return int(key) if isinstance(container, list) else key
