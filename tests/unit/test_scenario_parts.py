"""The scenario's own parts that need no program: times scaled by one factor, and the timeline."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import yaml
from opentelemetry.instrumentation.schema._monitoring import rendering, thresholds

SCENARIO = Path(__file__).parents[2] / "examples" / "scenario"


def load(name: str) -> ModuleType:
    """A module of the scenario, under a name that no other module has."""
    spec = importlib.util.spec_from_file_location(f"scenario_{name}", SCENARIO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scale, timeline = load("scale"), load("timeline")


def test_every_time_of_the_rules_is_scaled() -> None:
    """Windows, `for` and intervals are a tenth; names of recorded series and thresholds stay."""
    _, rules = next(iter(rendering.rules(thresholds.DEFAULTS)))
    fast = scale.Scale(10.0).config(rules)
    alerts = {
        rule["alert"]: rule for group in yaml.safe_load(fast)["groups"] for rule in group["rules"] if "alert" in rule
    }
    assert alerts["HighValidationErrorRate"]["for"] == "30000ms"
    assert "validation_errors_total[6000ms]" in alerts["HighValidationErrorRate"]["expr"]
    assert alerts["HighValidationErrorRate"]["expr"].rstrip().endswith("> 0.01")
    recorded = [line for line in rules.splitlines() if "record:" in line]
    assert [line for line in fast.splitlines() if "record:" in line] == recorded
    assert scale.Scale(1.0).config(rules) == rules


def test_an_alert_is_known_from_when_to_when() -> None:
    """An alert that fires, ends and fires again is two stretches; it fires while its end is not known."""
    line = timeline.Timeline()
    for names in (["A"], ["A", "B"], ["B"], ["A"]):
        line.firing(names)
    assert [alert.name for alert in line.alerts] == ["A", "B", "A"]
    assert line.fires("A")
    assert not line.fires("B")
    assert line.fired("B")


def test_the_picture_is_well_formed() -> None:
    """Figures, revisions, alerts and moments are drawn, with text as text."""
    line = timeline.Timeline()
    line.figure("error rate", 12.0)
    line.figure("p95", float("nan"))
    line.revision("0002")
    line.revision("0002")
    line.revision("0002b")
    line.firing(["HighValidationTime"])
    line.happened("the team hears: <degraded> & rolls back", "notification")
    drawn = ElementTree.fromstring(timeline.draw(line, "Act <1>"))
    said = "".join(drawn.itertext())
    assert all(word in said for word in ("Act <1>", "HighValidationTime", "<degraded> & rolls back", "revision"))
    assert [revision for _, revision in line.revisions] == ["0002", "0002b"]
    assert "p95" not in line.figures
