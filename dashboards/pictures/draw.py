"""Draws every dashboard from its JSON and the data of a running stack: the leads API with faults, under traffic.

    npm ci && python draw.py      # in this folder; needs Chromium, the font Inter, Prometheus and Alertmanager

Writes docs/images/dashboards/*.png, and beside them of which JSON they are: `--check` compares that alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images" / "dashboards"
DRAWN = IMAGES / "drawn.json"
SECONDS = 150


def hashes() -> dict[str, str]:
    """Dashboard → hash of its JSON."""
    folder = ROOT / "dashboards" / "grafana"
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.json"))}


def check() -> int:
    """0 if each committed picture is of the committed JSON."""
    drawn = json.loads(DRAWN.read_text()) if DRAWN.exists() else {}
    stale = [name for name, digest in hashes().items() if drawn.get(name) != digest or not _picture(name).exists()]
    for name in stale:
        print(f"{_picture(name)} is not of the committed JSON: make dashboards-pictures", file=sys.stderr)
    return 1 if stale else 0


def _picture(name: str) -> Path:
    return IMAGES / f"{name}.png"


def draw() -> None:
    for folder in ("tests/pipeline", "tests/dashboards", "examples/leads_api"):
        sys.path.insert(0, str(ROOT / folder))
    from opentelemetry.instrumentation.schema._monitoring import thresholds

    from programs import built
    from stack import stack
    from test_live import DASHBOARDS, SCALED

    programs = [shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        with stack(Path(home), built("small"), *programs, thresholds.DEFAULTS | SCALED) as running:
            began = time.time()
            running.traffic(SECONDS)
            inputs = {name: _asked(running.roads["collector"], DASHBOARDS[name], began + 30) for name in DASHBOARDS}
        for name, given in inputs.items():
            path = Path(home) / f"{name}.json"
            path.write_text(json.dumps(given))
            command = ["node", str(Path(__file__).with_name("shoot.mjs")), str(path), str(_picture(name))]
            subprocess.run(command, check=True, timeout=300)  # noqa: S603 (our own command)
    DRAWN.write_text(json.dumps(hashes(), indent=1) + "\n")


def _asked(server: Any, dashboard: dict[str, Any], since: float) -> dict[str, Any]:
    """A dashboard and what Prometheus answers to each of its queries, by panel."""
    import promql
    from test_live import variables

    values, now = variables(server, dashboard), time.time()
    answers = {}
    for panel in dashboard["panels"]:
        answers[panel["id"]] = [
            server.api("query", query=promql.resolved(target["expr"], values))["result"]
            if target.get("instant")
            else server.api("query_range", query=promql.resolved(target["expr"], values), start=since, end=now, step=5)[
                "result"
            ]
            for target in panel.get("targets", [])
        ]
    return {"dashboard": dashboard, "answers": answers, "from": int(since * 1000), "to": int(now * 1000)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="draw nothing; 1 if a picture is not of its JSON")
    if parser.parse_args().check:
        return check()
    draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
