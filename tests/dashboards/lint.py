"""Rules for dashboards: those of the community's dashboard-linter, and what experience adds.

https://github.com/grafana/dashboard-linter/tree/main/docs/rules

    python -m tests.dashboards.lint FILE.json ...     # exits with 1 if it finds something
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.dashboards import promql

VARIABLE = re.compile(r"\$\{?([A-Za-z]\w*)")
RATES = re.compile(r"\b(?:rate|irate)\s*\([^\[\]]*\[([^\]]+)\]")
COUNTING = re.compile(r"\b(?:rate|irate|increase|resets|sum|count|topk|absent)\s*(?:by\s*\([^)]*\)\s*)?\(")
WITHOUT_QUERIES = {"row", "text", "news", "dashlist", "alertlist"}
TARGETLESS = re.compile(r"^(?:\w+:|ALERTS(?:_FOR_STATE)?$|up$|otelcol_)")
"""Series without the apps' instances: recorded, Prometheus's own, the collectors'. Their panels cannot filter by the
variable `instance`, and those of the collectors, and of what is recorded over all jobs, not by `job` either."""
JOBLESS = re.compile(r"^(?:all:|schema_rules:|\w+:otelcol_)")


class Finding(NamedTuple):
    """A broken rule and where."""

    rule: str
    where: str


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard.get("panels", []):
        yield panel
        yield from panels(panel)


def lint(dashboard: dict[str, Any]) -> list[Finding]:
    """Every finding in a classic dashboard."""
    findings = [*_variables(dashboard), *_dashboard(dashboard)]
    for panel in panels(dashboard):
        findings += _panel(panel)
        findings += [
            Finding(rule, panel.get("title", ""))
            for target in panel.get("targets", [])
            for rule in _target(panel, target)
        ]
    return findings


def _variables(dashboard: dict[str, Any]) -> Iterator[Finding]:
    declared = {variable["name"]: variable for variable in dashboard.get("templating", {}).get("list", [])}
    sources = [variable for variable in declared.values() if variable["type"] == "datasource"]
    if (
        len(sources) != 1
        or sources[0]["name"] != "datasource"
        or sources[0].get("label") not in ("Data source", "Data Source")
    ):
        yield Finding("template-datasource", "exactly one, named datasource, labelled Data source")
    for name in ("job", "instance"):
        variable = declared.get(name)
        if not variable or not variable.get("multi") or not variable.get("includeAll"):
            yield Finding(f"template-{name}", "a variable of several values, with All")
        elif not variable.get("allValue"):
            yield Finding(f"template-{name}", "All as a pattern: no query spells out a hundred instances")
    for variable in declared.values():
        if variable["type"] != "query":
            continue
        if not _is_variable(variable.get("datasource")):
            yield Finding("template-datasource", variable["name"])
        if variable.get("refresh") != 2:
            yield Finding("template-on-time-change-reload", variable["name"])
        query = variable["query"]["query"] if isinstance(variable["query"], dict) else variable["query"]
        if inner := re.fullmatch(r"label_values\((.*),\s*\w+\)", query):
            try:
                promql.parsed(_plain(inner[1]))
            except ValueError as error:
                yield Finding("template-label-promql", f"{variable['name']}: {error}")
    text = json.dumps({key: value for key, value in dashboard.items() if key != "templating"})
    queries = " ".join(json.dumps(variable.get("query", "")) for variable in declared.values())
    used = set(VARIABLE.findall(text)) | set(VARIABLE.findall(queries))
    for name in sorted(name for name in used - set(declared) if not name.startswith("__")):
        yield Finding("undefined-variable", name)
    for name in sorted(set(declared) - used):
        yield Finding("unused-variable", name)


def _dashboard(dashboard: dict[str, Any]) -> Iterator[Finding]:
    identities = Counter(panel.get("id") or 0 for panel in panels(dashboard))
    for identity, number in identities.items():
        if number > 1 or identity == 0:
            yield Finding("panel-id", str(identity))
    for key in ("id", "version", "__inputs", "__requires"):
        if dashboard.get(key) is not None:
            yield Finding("exported-leftover", key)
    if not dashboard.get("uid"):
        yield Finding("no-uid", "")
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.get("panels", []):
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        if cells & taken or grid["x"] + grid["w"] > 24:
            yield Finding("grid", panel.get("title", ""))
        taken |= cells
    links = [link for link in dashboard.get("links", []) if link.get("type") == "dashboards"]
    for link in links:
        if not (link.get("keepTime") and link.get("includeVars")):
            yield Finding("link-forgets", link.get("title", ""))


def _panel(panel: dict[str, Any]) -> Iterator[Finding]:
    title = panel.get("title", "")
    if panel["type"] == "row":
        return
    if not title or not panel.get("description"):
        yield Finding("panel-title-description", title)
    if panel["type"] in WITHOUT_QUERIES:
        return
    if not panel.get("targets"):
        yield Finding("panel-no-targets", title)
    if not _is_variable(panel.get("datasource")):
        yield Finding("panel-datasource", title)
    fields = panel.get("fieldConfig", {})
    overridden = [p for override in fields.get("overrides", []) for p in override["properties"] if p["id"] == "unit"]
    renamed = [step.get("options", {}).get("renameByName", {}) for step in panel.get("transformations", [])]
    numbers = panel["type"] != "table" or any(name.startswith("Value") for names in renamed for name in names)
    if numbers and not fields.get("defaults", {}).get("unit") and not overridden:
        yield Finding("panel-units", title)


def _target(panel: dict[str, Any], target: dict[str, Any]) -> Iterator[str]:
    expr = target.get("expr")
    if not expr:
        return
    if not _is_variable(target.get("datasource", panel.get("datasource"))):
        yield "target-datasource"
    try:
        selectors = promql.selectors(_plain(expr))
    except ValueError:
        yield "target-promql"
        return
    for window in RATES.findall(expr):
        if window != "$__rate_interval":
            yield "target-rate-interval"
    for selector in selectors:
        (name,) = selector.names if len(selector.names) == 1 else ("",)
        if not TARGETLESS.match(name):
            for label in ("job", "instance"):
                if (label, "Re", f"${label}") not in selector.matchers:
                    yield f"target-{label}"
        elif ":" in name and not JOBLESS.match(name) and ("job", "Re", "$job") not in selector.matchers:
            yield "target-job"
        if name.endswith("_total") and not COUNTING.search(expr):
            yield "target-counter-agg"


def _plain(expr: str) -> str:
    """An expression that parses: Grafana's durations replaced; other variables stand in strings only."""
    return promql.resolved(expr)


def _is_variable(datasource: Any) -> bool:
    uid = datasource.get("uid") if isinstance(datasource, dict) else datasource
    return uid in ("$datasource", "${datasource}")


def main(paths: list[str]) -> int:
    found = 0
    for path in paths:
        for finding in lint(json.loads(Path(path).read_text())):
            found += 1
            print(f"{path}: {finding.rule}: {finding.where}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
