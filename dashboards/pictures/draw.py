"""Draws the dashboards from their JSON and the data of running stacks, with Grafana's own libraries in Chromium.

    make dashboards-pictures               # needs Chromium, the font Inter, Prometheus and Alertmanager
    PYTHONPATH=examples/leads_api python -m dashboards.pictures.draw --scenario calm --dashboard schema-health

Each scenario is real processes under real requests: the leads API with faults, and with its collectors killed; two
teams, one of which has faults; many processes, a few on a quiet day, the same without rules, and without requests.
Writes docs/images/dashboards/*.png, and beside them of which JSON they are: `--check` compares that alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images" / "dashboards"
JSON = ROOT / "dashboards" / "grafana"
DRAWN = IMAGES / "drawn.json"
MADE = ROOT / "build" / "pictures"
SECONDS = 180
TOP = 966
"""Pixels of the landing page down to its table of alerts: what the README shows."""

TEAM_DASHBOARDS = ("schema-health", "schema-validation")
WIDTH = 1440


class Picture(NamedTuple):
    """A dashboard in a scenario, with rows unfolded where somebody who looks for the cause would unfold them.

    Its height is that of the dashboard if it is 0.
    """

    scenario: str
    dashboard: str
    mode: str = "light"
    unfolded: bool = False
    team: str = ""
    height: int = 0

    @property
    def name(self) -> str:
        """Name of the picture's file, without its suffix."""
        where = f"team-{self.team}" if self.team else self.scenario
        parts = [self.dashboard, where, "top" if self.height else "", "dark" if self.mode == "dark" else ""]
        return "-".join(filter(None, parts))


def pictures() -> list[Picture]:
    """Every picture: each dashboard in the incident; the landing page in every scenario, light and dark."""
    names = [path.stem for path in sorted(JSON.glob("*.json"))]
    found = [Picture("incident", name, unfolded=name == "schema-pipeline") for name in names]
    found += [Picture("incident", "schema-health", "dark"), Picture("calm", "schema-health")]
    found += [Picture("calm", "schema-health", "dark"), Picture("calm", "schema-validation", "dark")]
    found += [Picture(scenario, "schema-health") for scenario in ("scale", "gone", "norules", "idle")]
    found += [Picture("calm", "schema-pipeline"), Picture("incident", "schema-health", "dark", height=TOP)]
    return [*found, *(Picture("teams", name, team=team) for name in TEAM_DASHBOARDS for team in ("a", "b"))]


def hashes() -> dict[str, str]:
    """Dashboard → hash of what its JSON draws.

    Descriptions are tooltips, and a new alert in the queries that list all alerts changes no picture.
    """
    found = {}
    for path in sorted(JSON.glob("*.json")):
        dashboard = json.loads(path.read_text())
        panels = dashboard["panels"]
        for each in [dashboard, *panels, *(inner for row in panels for inner in row.get("panels", []))]:
            each.pop("description", None)
        asking = [*dashboard["annotations"]["list"], *(panel for panel in dashboard["panels"] if "targets" in panel)]
        for target in (one for each in asking for one in each.get("targets", [each.get("target")])):
            if 'alertname=~"' in target["expr"]:
                target["expr"] = "ALERTS"
        found[path.stem] = hashlib.sha256(json.dumps(dashboard, sort_keys=True).encode()).hexdigest()
    return found


def check() -> int:
    """0 if each committed picture is of the committed JSON."""
    drawn, now = json.loads(DRAWN.read_text()) if DRAWN.exists() else {}, hashes()
    stale = [one for one in pictures() if drawn.get(one.name) != now[one.dashboard] or not _path(one).exists()]
    for one in stale:
        print(f"{_path(one)} is not of the committed JSON: make dashboards-pictures", file=sys.stderr)
    return 1 if stale else 0


def _path(picture: Picture) -> Path:
    return IMAGES / f"{picture.name}.png"


@contextmanager
def running(scenario: str, home: Path) -> Iterator[tuple[str, str]]:
    """A scenario's Prometheus after some minutes, as its address and the interval of its samples."""
    from opentelemetry.instrumentation.schema._monitoring import thresholds

    from dashboards.pictures import fleet
    from tests.dashboards.stack import stack
    from tests.dashboards.test_live import SCALED
    from tests.pipeline.programs import built

    prometheus, alertmanager = (shutil.which(name) for name in ("prometheus", "prometheus-alertmanager"))
    if not prometheus or not alertmanager:
        raise SystemExit("Prometheus or Alertmanager is not on PATH (Debian: prometheus, prometheus-alertmanager)")
    print(f"{scenario}: {SECONDS} s of traffic", file=sys.stderr, flush=True)
    values = thresholds.DEFAULTS | SCALED
    if scenario == "teams":
        from tests.dashboards import test_two_teams as teams

        found = {"prometheus": prometheus, "prometheus-alertmanager": alertmanager}
        with teams.shared(home, **found) as shared:
            began = time.monotonic()
            shared.await_firing(teams.APP_ALERTS, 'environment="a"', 300)
            time.sleep(max(0, SECONDS - (time.monotonic() - began)))
            yield shared.server.url, "2s"
        return
    if scenario in ("scale", "calm", "idle", "norules"):
        size = "calm" if scenario == "norules" else scenario
        with fleet.installation(size, home, prometheus, values, rules=scenario != "norules") as server:
            time.sleep(SECONDS)
            yield server.url, "15s"
        return
    with stack(home, built("small"), prometheus, alertmanager, values) as running:
        running.traffic(SECONDS)
        if scenario == "gone":
            for collector in running.collectors:
                collector.kill()
            running.traffic(SECONDS // 2)
        yield running.servers["collector"].url, "5s"


def draw(scenarios: list[str], dashboards: list[str]) -> None:
    """Draw every picture, or those of some scenarios and dashboards."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, str] = {}
    for scenario in dict.fromkeys(one.scenario for one in pictures()):
        chosen = [one for one in pictures() if one.scenario == scenario and one.dashboard in (dashboards or hashes())]
        if not chosen or scenario not in (scenarios or [scenario]):
            continue
        with tempfile.TemporaryDirectory() as home, running(scenario, Path(home) / "stack") as (url, interval):
            asked = [_asked(one, Path(home)) for one in chosen]
            shoot(url, interval, asked, Path(home))
            found = [
                f"{Path(one['json']).stem}: {fault}"
                for one in asked
                for fault in faults(json.loads(Path(one["json"]).read_text()))
            ]
            if found:
                raise SystemExit("\n".join(found))
        drawn |= {one.name: hashes()[one.dashboard] for one in chosen}
    drawn = (json.loads(DRAWN.read_text()) if DRAWN.exists() else {}) | drawn  # as it is now: others may draw too
    named = {one.name for one in pictures()}
    for path in IMAGES.glob("*.png"):
        if path.stem not in named:
            path.unlink()
    DRAWN.write_text(json.dumps({name: drawn[name] for name in sorted(named & drawn.keys())}, indent=1) + "\n")


def _asked(picture: Picture, home: Path) -> dict[str, Any]:
    path = JSON / f"{picture.dashboard}.json"
    if picture.team:
        from opentelemetry.instrumentation.schema._monitoring import rendering

        from tests.dashboards import test_two_teams as teams

        path = home / f"{picture.name}-exported.json"
        path.write_text(rendering.dashboard(picture.dashboard, teams.team(picture.team)))
    MADE.mkdir(parents=True, exist_ok=True)
    return {
        "dashboard": str(path), "mode": picture.mode, "open": picture.unfolded, "png": str(_path(picture)),
        "height": picture.height, "json": str(MADE / f"{picture.name}.json"),
    }  # fmt: skip


def shoot(prometheus: str, interval: str, asked: list[dict[str, Any]], home: Path) -> None:
    """Draw dashboards with the data of a Prometheus, of the last minutes.

    Args:
        prometheus: its address.
        interval: of the samples, as the data source's `timeInterval`.
        asked: for each, `dashboard` (a path), `mode`, `png`, `json` (for what Grafana's libraries made of it).
        home: a folder for the time being.
    """
    now = int(time.time() * 1000)
    common = {
        "from": now - (SECONDS - 20) * 1000,
        "to": now,
        "width": WIDTH,
        "mode": "light",
        "open": False,
        "height": 0,
    }
    source = {"timeInterval": interval, "httpMethod": "POST"}
    source["exemplarTraceIdDestinations"] = [{"name": "trace_id", "datasourceUid": "tempo"}]  # type: ignore[assignment]
    spec = home / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "prometheus": prometheus,
                "scrape": interval,
                "jsonData": source,
                "pictures": [common | one for one in asked],
            }
        )
    )
    command = ["node", str(Path(__file__).with_name("shoot.mjs")), str(spec)]
    subprocess.run(command, check=True, timeout=900)  # noqa: S603 (our own command)


def faults(made: dict[str, Any]) -> Iterator[str]:
    """The faults that are visible in what Grafana's libraries drew of a dashboard.

    Args:
        made: the `json` of a picture.
    """
    for variable in made["variables"]:
        if variable.get("error") or not variable.get("options"):
            yield f"variable {variable['name']}: {variable.get('error') or 'no value'}"
    for panel in made["panels"]:
        if panel.get("error"):
            yield f"{panel['title']}: {panel['error']}"
        for frame in panel["frames"]:
            for field in frame["fields"]:
                if (
                    field["type"] == "time" or field["shown"] == "limit"
                ):  # the links are those of the panel's other lines
                    continue
                where = f"{panel['title']}: {field['shown']}"
                if len(frame["fields"]) > 2 and re.match(r"Value|schema_|http_|\{", field["shown"]):
                    yield f"{where} is no name for people"
                for text in field["texts"]:
                    if re.search(r"NaN|\bundefined\b|\bnull\b|Infinity", text["text"]):
                        yield f"{where} says {text['text']}"
                for link in field["links"]:
                    if re.search(r"\$\{|undefined|%E2%80%93|–|=(&|$)", link["href"]):
                        yield f"{where} leads to {link['href']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="draw nothing; 1 if a picture is not of its JSON")
    parser.add_argument(
        "--scenario", action="append", default=[], choices=list(dict.fromkeys(one.scenario for one in pictures()))
    )
    parser.add_argument("--dashboard", action="append", default=[], choices=list(hashes()))
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    draw(arguments.scenario, arguments.dashboard)
    return 0


if __name__ == "__main__":
    sys.exit(main())
