"""`make scenario`: its scale, its traffic, its picture; and that it fails where a stage does not happen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from leads_api.mixes import STEADY
from scenario.__main__ import photograph
from scenario.clients import Deck
from scenario.scale import Scale
from scenario.timeline import Timeline, draw

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "collector-config"
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def durations(text: str) -> list[float]:
    """Every duration in an expression, in s; a label's value is none."""
    found = re.findall(r"(?<![\w.])(\d+)(ms|s|m|h|d)\b", re.sub(r'"[^"]*"', "", text))
    return [int(number) * SECONDS[unit] for number, unit in found]


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("prometheus/rules/*.yml")), ids=lambda file: file.name)
def test_every_time_of_a_rule_is_divided(file: Path) -> None:
    """FAST divides each range, step, offset and `for` of the shipped rules by ten, and changes nothing else."""
    text = file.read_text()
    before, after = (yaml.safe_load(each)["groups"] for each in (text, Scale(10).config(text)))
    for old, new in zip(before, after, strict=True):
        for rule, fast in zip(old["rules"], new["rules"], strict=True):
            for part in ("expr", "for"):
                whole = str(rule.get(part, ""))
                assert durations(str(fast.get(part, ""))) == pytest.approx([each / 10 for each in durations(whole)])
            assert {key: value for key, value in fast.items() if key not in ("expr", "for")} == {
                key: value for key, value in rule.items() if key not in ("expr", "for")
            }


def test_every_time_of_the_routes_is_divided() -> None:
    """FAST divides each wait of the shipped routes by ten."""
    text = (CONFIGS / "alertmanager" / "alertmanager.yml").read_text()
    before, after = (yaml.safe_load(each)["route"] for each in (text, Scale(10).config(text)))

    def waits(route: dict[str, object]) -> list[float]:
        own = [durations(str(value))[0] for key, value in route.items() if key.endswith(("wait", "interval"))]
        return own + [each for below in route.get("routes", []) for each in waits(below)]  # type: ignore[attr-defined]

    assert waits(after) == pytest.approx([each / 10 for each in waits(before)])


def test_rare_requests_come_evenly() -> None:
    """Half a minute of traffic never holds more than one request more of a kind than its share."""
    deck, total, window = Deck(STEADY), sum(STEADY.values()), 600
    dealt = [deck.deal() for _ in range(20 * window)]
    for start in range(0, len(dealt) - window, 50):
        for kind, count in Counter(dealt[start : start + window]).items():
            assert count <= window * STEADY[kind] / total + 2, kind.__name__


def test_an_alert_is_known_from_when_to_when() -> None:
    """An alert that fires, ends and fires again is two stretches."""
    line = Timeline()
    for names in (["A"], ["A", "B"], ["B"], ["A"]):
        line.firing(names)
    assert [alert.name for alert in line.alerts] == ["A", "B", "A"]
    assert line.fired("B")


def test_a_timeline_names_what_happened() -> None:
    """The picture is an SVG with each figure's line, each alert's bar and each moment's words."""
    timeline = Timeline(limit=0.05)
    timeline.began -= 60
    for name, value in (("error rate", 28.0), ("p95", 140.0), ("cache hit rate", 0.0)):
        timeline.figure(name, value)
    timeline.revision("0002b")
    timeline.firing(["HighValidationTime"])
    timeline.happened("the team hears: <degraded>", "notification")
    picture = ElementTree.fromstring(draw(timeline, "Act 1"))
    words = {element.text for element in picture.iter() if element.text}
    assert {"Act 1", "p95", "limit 50 ms", "HighValidationTime", "the team hears: <degraded>"} <= words
    assert len([each for each in picture.iter() if each.tag.endswith("polyline")]) == 3


def test_no_browser_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Chromium there is the SVG alone, and a sentence says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    svg = tmp_path / "timeline.svg"
    svg.write_text(draw(Timeline(), "Act 1"))
    assert "apt-get install chromium" in photograph(svg)
    assert not svg.with_suffix(".png").exists()


def played(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Act 1, ten times faster."""
    return subprocess.run(
        [sys.executable, "-m", "scenario", "--fast", "--acts=1", *options, f"--out={out}"],
        cwd=ROOT, capture_output=True, text=True, timeout=880,
        env={**os.environ, "PYTHONPATH": "examples/leads_api:examples"},
    )  # fmt: skip


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_jaeger_keeps_the_traces(tmp_path: Path) -> None:
    """Act 1 finds the exemplar's trace in a real Jaeger, and every stage happens."""
    done = played(tmp_path, "--store=jaeger")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("broken", "stage"),
    [
        ("exemplar", "5 the p95 panel's exemplar leads to field, rule and slow query"),
        ("route", "4 the team hears of HighValidationTime"),
        ("guard", "4 the guard says degraded"),
        ("worker", "8 counts equal the clients'"),
    ],
)
def test_a_broken_stage_fails_the_run(broken: str, stage: str, tmp_path: Path) -> None:
    """Where a part of the chain does not work, act 1 exits with 1 and names the stage."""
    done = played(tmp_path, f"--break={broken}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"✗ act 1: {stage}" in done.stdout
    assert f"**Missing: {stage}" in (tmp_path / "act-1" / "report.md").read_text()
