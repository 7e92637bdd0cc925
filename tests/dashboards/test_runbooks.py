"""Every alert has a runbook, and what the runbook tells to ask can be asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.dashboards import promql
from tests.dashboards.vocabulary import SERIES, rules

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
ALERTS = sorted({str(rule["alert"]) for rule in rules() if "alert" in rule})
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Silence"]


def queries(alert: str) -> list[str]:
    """The PromQL of a runbook."""
    return re.findall(r"```promql\n(.*?)\n\s*```", (RUNBOOKS / f"{alert}.md").read_text(), re.S)


def test_one_for_each_alert() -> None:
    """There is a runbook for every alert, for nothing else, and the index names them all."""
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README") == ALERTS
    assert re.findall(r"\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text()) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_runbook(alert: str) -> None:
    """A runbook has its five sections in order, and its queries parse and read series and labels that exist."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    found = queries(alert)
    assert found
    for query in found:
        for selector in promql.selectors(query):
            for name in selector.names:
                assert name in SERIES, query
                assert selector.labels <= SERIES[name], query


def test_links_between_runbooks() -> None:
    """A runbook links to runbooks that exist."""
    for path in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
            assert (RUNBOOKS / target).exists(), (path.name, target)
