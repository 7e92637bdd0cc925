"""Writes the dashboards, and with them everything that is rendered with the default values.

python -m dashboards.generate          # write
python -m dashboards.generate --check  # exit with 1 if a committed file is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

from dashboards import caches, health, migrations, pipeline, validation, versions

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "collector-config"
PAGES = {
    "schema-health": health.dashboard,
    "schema-validation": validation.dashboard,
    "schema-cache": caches.dashboard,
    "schema-versions": versions.dashboard,
    "schema-migrations": migrations.dashboard,
    "schema-pipeline": pipeline.dashboard,
}


UNASKED = {
    "variables": ("auto", "auto_count", "auto_min", "definition"),
    "links": ("placement",),  # hides a link in a menu, from Grafana 12.3 on
    "annotations": ("placement", "builtIn"),
    "panels": ("repeatDirection",),
    "options": ("footer",),
}
"""What the SDK adds without being asked, and Grafana's classic schema does not know or does not mean well."""


def build_dashboard(name: str) -> Any:
    """A dashboard with its marks, without what the SDK adds of its own."""
    document = json.loads(JSONEncoder(sort_keys=True).encode(PAGES[name]()))
    _drop("variables", document["templating"]["list"])
    _drop("links", document["links"])
    _drop("annotations", document["annotations"]["list"])
    for panel in _panels(document):
        _drop("panels", [panel])
        _drop("options", [panel.get("options", {})] if panel["type"] == "table" else [])
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        if "links" in defaults:
            defaults["links"] = [
                {key: link[key] for key in ("title", "url", "targetBlank")} for link in defaults["links"]
            ]
    return document


def _panels(document: Any) -> Iterator[Any]:
    for panel in document.get("panels") or []:
        yield panel
        yield from _panels(panel)


def _drop(kind: str, found: list[Any]) -> None:
    for one in found:
        for key in UNASKED[kind]:
            one.pop(key, None)


def outputs() -> Iterator[tuple[Path, str]]:
    """Path and content of every generated file."""
    for name in PAGES:
        document = build_dashboard(name)
        yield HERE / "templates" / f"{name}.json", rendering.as_json(document)
        yield HERE / "grafana" / f"{name}.json", rendering.as_json(rendering.filled(document, thresholds.DEFAULTS))
    for name, text in rendering.rules(thresholds.DEFAULTS):
        yield CONFIGS / "prometheus" / "rules" / name, text
    for name, text in rendering.alertmanager(thresholds.DEFAULTS):
        yield CONFIGS / "alertmanager" / name, text
    yield HERE / "kubernetes" / "prometheusrule.yaml", rendering.prometheus_rule(thresholds.DEFAULTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    check = parser.parse_args().check
    stale = [(path, text) for path, text in outputs() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if check:
            print(f"{path} is not what dashboards/generate.py writes: make dashboards", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
